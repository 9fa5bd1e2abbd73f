//! The accept loop of one listener, and a connection's way from the socket to HTTP: caps, PROXY header, TLS handshake.
//! Each connection is a task of its own; the loop itself waits for nothing but the next connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use seawall_domain::{ClientAddress, Code, LearntFrom};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::caps::{ConnectionCaps, Place};
use super::config::{ListenerConfig, ProxyProtocol};
use super::connection::{self, Cut, Spoken};
use super::drain::DrainState;
use super::proxy;
use super::pulse::Pulse;
use super::refusal;
use super::server::Connections;
use crate::app::App;
use crate::codes;
use crate::limits::Limits;
use crate::metrics::ListenerMetrics;
use crate::origin::{ListenerFacts, Origin};
use crate::trace::RequestIds;

/// Waits after a failure to accept double from the first to the second, in milliseconds.
const ACCEPT_BACKOFF_MS: (u64, u64) = (5, 1_000);

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
    pub(super) handshakes: Arc<Semaphore>,
    pub(super) connections: Arc<Connections>,
    /// Plain on an address others can reach: only trusted peers are answered.
    pub(super) is_exposed_plain: bool,
    /// Our own user id.
    pub(super) own_uid: u32,
}

/// A stream a listener gave.
pub(super) enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// A socket to accept from.
pub(super) enum Source {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Source {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Source::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, peer)| Accepted::Tcp(stream, peer)),
            Source::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

/// Accepts until the drain says stop; then takes what the kernel still holds, so that nobody is refused.
pub(super) async fn run(door: Arc<Door>, source: Source) {
    let drain = door.app.inner.drain.clone();
    let mut stop = pin!(drain.reached(DrainState::StopAccepting));
    let mut spare = spare_descriptor();
    let mut backoff_ms = ACCEPT_BACKOFF_MS.0;
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
    let pulse = Arc::new(Pulse::new(&door.limits));
    let registered = door.connections.register(&pulse);
    let door = Arc::clone(door);
    tokio::spawn(async move {
        door.metrics.open.inc();
        let cut = match accepted {
            Accepted::Tcp(stream, peer) => door.tcp(stream, peer, place, pulse).await,
            Accepted::Unix(stream) => door.unix(stream, place, pulse).await,
        };
        if let Some(reason) = cut {
            door.metrics.refused(reason);
        }
        door.metrics.open.dec();
        drop(registered);
    });
}

impl Door {
    fn enter(&self) -> Result<Place, &'static str> {
        let among_all = self.caps.enter()?;
        match &self.own_caps {
            Some(own) => own.enter_within(among_all),
            None => Ok(among_all),
        }
    }

    async fn tcp(&self, mut stream: TcpStream, peer: SocketAddr, mut place: Place, pulse: Arc<Pulse>) -> Cut {
        // Small answers must leave at once; failing to say so is no reason to refuse.
        let _ = stream.set_nodelay(true);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let is_peer_trusted = self
            .config
            .trusted_peers
            .iter()
            .any(|network| network.contains(peer.ip()));
        let needs_trust = self.is_exposed_plain || self.config.proxy_protocol != ProxyProtocol::None;
        if needs_trust && !is_peer_trusted {
            self.refuse(stream, codes::PEER_FORBIDDEN).await;
            return Some("peer_forbidden");
        }
        if !is_peer_trusted && let Err(reason) = place.of_address(peer.ip()) {
            self.refuse(stream, codes::CONNECTION_LIMIT).await;
            return Some(reason);
        }
        let (client, first) = match self.client_behind(&mut stream, peer).await {
            Ok(told) => told,
            Err(reason) => return Some(reason),
        };
        let origin = self.origin(client, is_peer_trusted, None);
        match &self.config.tls {
            None => connection::serve(self.app.clone(), origin, pulse, stream, Spoken::Unsettled, first).await,
            Some(tls) => self.tls(tls.acceptor(), stream, first, origin, pulse).await,
        }
    }

    /// The client a PROXY header names, and what was read beyond it.
    async fn client_behind(
        &self,
        stream: &mut TcpStream,
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

    async fn tls(
        &self,
        acceptor: tokio_rustls::TlsAcceptor,
        stream: TcpStream,
        first: Bytes,
        origin: Arc<Origin>,
        pulse: Arc<Pulse>,
    ) -> Cut {
        let wait = Duration::from_millis(self.limits.handshake_ms);
        let shaken = timeout(wait, async {
            // A handshake takes a place when its first bytes are there, so that silent clients hold none.
            if first.is_empty() && stream.readable().await.is_err() {
                return Err("handshake_failed");
            }
            let Ok(_place) = self.handshakes.try_acquire() else {
                return Err("handshake_limit");
            };
            let stream = Prefixed { prefix: first, stream };
            acceptor.accept(stream).await.map_err(|_| "handshake_failed")
        });
        let stream = match shaken.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(reason)) => return Some(reason),
            Err(_) => return Some("handshake_timeout"),
        };
        let (_, session) = stream.get_ref();
        if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
            self.metrics.resumed.inc();
        }
        let spoken = if session.alpn_protocol() == Some(b"h2") {
            Spoken::H2
        } else {
            Spoken::H1
        };
        // The time for the first byte counts from here, not from the start of the handshake.
        pulse.restart();
        connection::serve(self.app.clone(), origin, pulse, stream, spoken, Bytes::new()).await
    }

    async fn unix(&self, stream: UnixStream, _place: Place, pulse: Arc<Pulse>) -> Cut {
        let uid = stream.peer_cred().map(|peer| peer.uid());
        let Some(uid) = uid.ok().filter(|uid| *uid == 0 || *uid == self.own_uid) else {
            self.refuse(stream, codes::PEER_FORBIDDEN).await;
            return Some("peer_forbidden");
        };
        let client = ClientAddress {
            ip: None,
            port: None,
            learnt_from: LearntFrom::Socket,
        };
        let origin = self.origin(client, true, Some(uid));
        connection::serve(self.app.clone(), origin, pulse, stream, Spoken::Unsettled, Bytes::new()).await
    }

    fn origin(&self, client: ClientAddress, is_peer_trusted: bool, operator_uid: Option<u32>) -> Arc<Origin> {
        let request_ids = RequestIds::new(self.app.seed());
        Arc::new(Origin {
            listener: Arc::clone(&self.facts),
            client,
            is_peer_trusted,
            operator_uid,
            request_ids,
        })
    }

    async fn refuse_early(&self, accepted: Accepted, code: Code) {
        match accepted {
            Accepted::Tcp(stream, _) => self.refuse(stream, code).await,
            Accepted::Unix(stream) => self.refuse(stream, code).await,
        }
    }

    /// Says why, where plain HTTP is spoken; a TLS client is closed on, since a handshake is the work being refused.
    async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S, code: Code) {
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

/// A stream of which some bytes were read already.
struct Prefixed<S> {
    prefix: Bytes,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return std::pin::Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(count));
        std::task::Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
