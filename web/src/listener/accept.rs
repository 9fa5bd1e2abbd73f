//! The accept loop of one listener, and what its connections share: caps, PROXY header, TLS handshake. The loop itself
//! waits for nothing but the next connection.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use seawall_domain::{ClientAddress, Code, LearntFrom};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::caps::{ConnectionCaps, Place};
use super::config::{ListenerConfig, ProxyProtocol};
use super::connection::Spoken;
use super::drain::DrainState;
use super::lane::{Lane, Lanes};
use super::parking::ParkingLot;
use super::proxy;
use super::pulse::Pulse;
use super::refusal;
use super::server::Connections;
use super::stay::Admitted;
use super::transport::{OverSocket, Transport};
use super::turns::Turns;
use super::turnstile::{Entry, Line, Turnstile};
use crate::app::App;
use crate::codes;
use crate::limits::Limits;
use crate::metrics::ListenerMetrics;
use crate::origin::{ListenerFacts, Origin};
use crate::trace::RequestIds;

/// Waits after a failure to accept double from the first to the second, in milliseconds.
const ACCEPT_BACKOFF_MS: (u64, u64) = (5, 1_000);
/// Connections accepted in a row before the other tasks of the thread have their go.
const ACCEPTED_AT_ONCE: u32 = 16;

/// A handshake is as much work as so many requests of players.
const HANDSHAKE_WEIGHT: usize = 4;

/// What the connections of one listener share.
pub(super) struct Door {
    pub(super) app: App,
    /// Those of the application, but for what the listener has of its own.
    pub(super) limits: Limits,
    pub(super) config: ListenerConfig,
    pub(super) facts: Arc<ListenerFacts>,
    pub(super) metrics: ListenerMetrics,
    pub(super) caps: Arc<ConnectionCaps>,
    /// Caps of this listener's own, beside those of all.
    pub(super) own_caps: Option<Arc<ConnectionCaps>>,
    pub(super) handshakes: Arc<Turns>,
    pub(super) turnstile: Arc<Turnstile>,
    pub(super) connections: Arc<Connections>,
    pub(super) lot: Arc<ParkingLot>,
    pub(super) lanes: Lanes,
    /// Plain on an address others can reach: only trusted peers are answered.
    pub(super) is_exposed_plain: bool,
    /// Our own user id.
    pub(super) own_uid: u32,
}

/// A stream a listener gave, of no threads yet.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// A socket to accept from. What it gives is bound to a runtime where it is served: to move a socket from one to another
/// costs several system calls.
pub(super) enum Source {
    Tcp(AsyncFd<TcpListener>),
    Unix(AsyncFd<UnixListener>),
}

impl Source {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Source::Tcp(listener) => {
                let accepted = listener.async_io(Interest::READABLE, accepted_from).await;
                let (stream, peer) = accepted?;
                let peer = peer.map(SocketAddr::try_from).and_then(Result::ok);
                // An address of another family cannot come from a TCP listener.
                let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
                Ok(Accepted::Tcp(stream.into(), peer))
            }
            Source::Unix(listener) => {
                let accepted = listener.async_io(Interest::READABLE, accepted_from).await;
                Ok(Accepted::Unix(accepted?.0.into()))
            }
        }
    }
}

/// One call of the system, which makes the stream as a runtime wants it.
fn accepted_from(listener: &impl AsFd) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(acceptfrom_with(listener, flags)?)
}

/// Accepts until the drain says stop; then takes what the kernel still holds, so that nobody is refused.
pub(super) async fn run(door: Arc<Door>, source: Source) {
    let drain = door.app.inner.drain.clone();
    let mut stop = pin!(drain.reached(DrainState::StopAccepting));
    let mut spare = spare_descriptor();
    let (mut backoff_ms, mut in_a_row) = (ACCEPT_BACKOFF_MS.0, 0);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = source.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => {
                backoff_ms = ACCEPT_BACKOFF_MS.0;
                welcome(&door, accepted);
                in_a_row += 1;
                if in_a_row == ACCEPTED_AT_ONCE {
                    in_a_row = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                door.app.inner.metrics.accept_errors.inc();
                tracing::warn!(
                    listener = door.facts.name,
                    "cannot accept: {error}; trying again in {backoff_ms} ms"
                );
                if is_out_of_descriptors(&error) {
                    // Frees one descriptor to take the first in the queue and let it go, which tells that client.
                    drop(spare.take());
                    let _ = source.accept().now_or_never();
                    spare = spare_descriptor();
                }
                sleep(Duration::from_millis(backoff_ms)).await;
                backoff_ms = (backoff_ms * 2).min(ACCEPT_BACKOFF_MS.1);
            }
        }
    }
    while let Some(Ok(accepted)) = source.accept().now_or_never() {
        welcome(&door, accepted);
    }
}

fn spare_descriptor() -> Option<std::fs::File> {
    std::fs::File::open("/dev/null").ok()
}

/// Failures that belong to the connection being accepted and say nothing of the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, WouldBlock};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | WouldBlock
    )
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::MFILE.raw_os_error()) || code == Some(rustix::io::Errno::NFILE.raw_os_error())
}

/// Starts the task of a connection, or refuses it.
fn welcome(door: &Arc<Door>, accepted: Accepted) {
    door.metrics.accepted.inc();
    let place = match door.enter() {
        Ok(place) => place,
        Err(reason) => {
            door.metrics.refused(reason);
            let door = Arc::clone(door);
            tokio::spawn(async move { door.refuse_early(accepted, codes::CONNECTION_LIMIT).await });
            return;
        }
    };
    door.metrics.open.inc();
    let admitted = Admitted {
        door: Arc::clone(door),
        place,
    };
    let pulse = Pulse::new(&door.limits);
    admitted.in_service(pulse).arrive(accepted);
}

impl Door {
    pub(super) fn enter(&self) -> Result<Place, &'static str> {
        let among_all = self.caps.enter()?;
        match &self.own_caps {
            Some(own) => own.enter_within(among_all),
            None => Ok(among_all),
        }
    }

    /// The client a PROXY header names, and what was read beyond it.
    pub(super) async fn client_behind(
        &self,
        stream: &mut tokio::net::TcpStream,
        peer: SocketAddr,
    ) -> Result<(ClientAddress, Bytes), &'static str> {
        if self.config.proxy_protocol == ProxyProtocol::None {
            let client = ClientAddress {
                ip: Some(peer.ip()),
                port: Some(peer.port()),
                learnt_from: LearntFrom::Peer,
            };
            return Ok((client, Bytes::new()));
        }
        let wait = Duration::from_millis(self.limits.proxy_header_ms);
        match timeout(wait, proxy::read_header(stream, self.config.proxy_protocol)).await {
            Ok(Ok((named, first))) => {
                let learnt_from = if named.is_some() {
                    LearntFrom::ProxyProtocol
                } else {
                    LearntFrom::Unnamed
                };
                Ok((
                    ClientAddress {
                        ip: named.map(|a| a.ip()),
                        port: named.map(|a| a.port()),
                        learnt_from,
                    },
                    first,
                ))
            }
            Ok(Err(_)) => Err("proxy_header_bad"),
            Err(_) => Err("proxy_header_timeout"),
        }
    }

    /// The TLS handshake, and which HTTP was agreed on.
    pub(super) async fn shake_hands(
        &self,
        acceptor: tokio_rustls::TlsAcceptor,
        mut transport: Transport,
    ) -> Result<(Box<TlsStream<Transport>>, Spoken), &'static str> {
        let wait = Duration::from_millis(self.limits.handshake_ms);
        let shaken = timeout(wait, async {
            // A handshake takes a place when its first bytes are there, so that silent clients hold none.
            if !transport.is_readable().await {
                return Err("handshake_failed");
            }
            // Whoever is too many waits its turn, for as long as a handshake may take: closing would only bring it back.
            if !self.config.begins_for_checks() {
                let mut entry = Entry::new(&self.turnstile, HANDSHAKE_WEIGHT);
                let passed = poll_fn(|cx| entry.poll_pass_over(cx, Line::HANDSHAKES, &mut transport)).await;
                passed.ok_or("handshake_left")?;
            }
            let place = self.handshakes.take().await;
            // A handshake is much work to do for nobody.
            if transport.has_ended() {
                return Err("handshake_left");
            }
            // The place is for the costly part, from the client's hello to our answer; waiting for the rest costs nothing.
            let mut accept = pin!(acceptor.accept(transport));
            let begun = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await;
            drop(place);
            let ended = match begun {
                Poll::Ready(ended) => ended,
                Poll::Pending => accept.await,
            };
            ended.map_err(|_| "handshake_failed")
        });
        let stream = shaken.await.unwrap_or(Err("handshake_timeout"))?;
        let (_, session) = stream.get_ref();
        if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            self.metrics.resumed.inc();
        }
        let spoken = if session.alpn_protocol() == Some(b"h2") {
            Spoken::H2
        } else {
            Spoken::H1
        };
        Ok((Box::new(stream), spoken))
    }

    pub(super) fn lane(&self, is_for_checks: bool) -> Lane {
        Lane::new(is_for_checks, self.config.is_mixed())
    }

    pub(super) fn origin(
        &self,
        client: ClientAddress,
        is_peer_trusted: bool,
        operator_uid: Option<u32>,
        lane: Lane,
        pulse: &Arc<Pulse>,
    ) -> Arc<Origin> {
        let request_ids = RequestIds::new(self.app.seed());
        Arc::new(Origin {
            listener: Arc::clone(&self.facts),
            client,
            is_peer_trusted,
            operator_uid,
            request_ids,
            lane,
            pulse: Some(Arc::clone(pulse)),
        })
    }

    async fn refuse_early(&self, accepted: Accepted, code: Code) {
        match accepted {
            Accepted::Tcp(stream, _) => {
                if let Ok(stream) = tokio::net::TcpStream::from_std(stream) {
                    self.refuse(stream, code).await;
                }
            }
            Accepted::Unix(stream) => {
                if let Ok(stream) = tokio::net::UnixStream::from_std(stream) {
                    self.refuse(stream, code).await;
                }
            }
        }
    }

    /// Says why, where plain HTTP is spoken; a TLS client is closed on, since a handshake is the work being refused.
    pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, code: Code) {
        if self.config.tls.is_some() {
            return;
        }
        let request_id = RequestIds::new(self.app.seed()).next();
        let answer = refusal::answer(&code.error(), request_id, self.app.inner.clock.now_at());
        let farewell = async {
            stream.write_all(&answer).await?;
            stream.shutdown().await?;
            let mut sink = tokio::io::sink();
            let mut rest = tokio::io::AsyncReadExt::take(&mut stream, crate::limits::DRAIN_MAX_BYTES as u64);
            tokio::io::copy(&mut rest, &mut sink).await
        };
        let _ = timeout(Duration::from_millis(crate::limits::LINGER_MS), farewell).await;
    }
}

/// True for an address only this host can reach.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
