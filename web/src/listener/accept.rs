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
use tokio_rustls::server::TlsStream;

use super::caps::{ConnectionCaps, Place};
use super::config::{ListenerConfig, ProxyProtocol};
use super::connection::{self, Cut, Served, Spoken};
use super::drain::DrainState;
use super::lane::{Lane, Lanes};
use super::parking::{Begun, Parked, ParkingLot};
use super::proxy;
use super::pulse::Pulse;
use super::refusal;
use super::server::{Connections, Registered};
use super::transport::{ParkedStream, Parking, Transport};
use crate::app::App;
use crate::codes;
use crate::limits::Limits;
use crate::metrics::ListenerMetrics;
use crate::origin::{ListenerFacts, Origin, Surface};
use crate::trace::RequestIds;

/// Waits after a failure to accept double from the first to the second, in milliseconds.
const ACCEPT_BACKOFF_MS: (u64, u64) = (5, 1_000);
/// Connections accepted in a row before the other tasks of the thread have their go.
const ACCEPTED_AT_ONCE: u32 = 16;

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
    pub(super) lot: Arc<ParkingLot>,
    pub(super) lanes: Lanes,
    /// Are its connections those of the threads of token checks? Where players are served, they are not.
    pub(super) is_for_checks: bool,
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
    let stay = admitted.in_service(pulse);
    if let Err(error) = stay.arrive(accepted) {
        tracing::debug!("a connection was lost when it changed threads: {error}");
    }
}

/// A connection's right to be open, from accept to close, in service or parked.
pub(super) struct Admitted {
    door: Arc<Door>,
    place: Place,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.door.metrics.open.dec();
    }
}

impl Admitted {
    fn in_service(self, pulse: Pulse) -> Stay {
        let pulse = Arc::new(pulse);
        Stay {
            _registered: self.door.connections.register(&pulse),
            pulse,
            admitted: self,
        }
    }
}

/// A connection in service.
struct Stay {
    admitted: Admitted,
    pulse: Arc<Pulse>,
    /// Until the drain need not wait for it any more.
    _registered: Registered,
}

/// Puts a parked connection back into service.
pub(super) fn resume(parked: Parked) {
    let door = Arc::clone(&parked.admitted.door);
    let lane = door.lane(parked.is_for_checks);
    let threads = door.lanes.of(parked.is_for_checks).clone();
    let origin = door.origin(parked.client, parked.is_peer_trusted, None, lane);
    let stay = parked.admitted.in_service(Pulse::idle_until(&door.limits, parked.due));
    let (stream, begun) = (parked.stream, parked.begun);
    threads.spawn(async move {
        match stream {
            ParkedStream::Plain(stream) => match Transport::unparked(stream) {
                Ok(stream) => stay.serve(stream, origin, begun).await,
                Err(_) => stay.end(None),
            },
            ParkedStream::Tls(mut stream) => match stream.get_mut().0.unpark() {
                Ok(()) => stay.serve(stream, origin, begun).await,
                Err(_) => stay.end(None),
            },
        }
    });
}

impl Stay {
    /// Goes to the threads on which it begins: those it was accepted on, unless a handshake with a player comes first.
    fn arrive(self, accepted: Accepted) -> io::Result<()> {
        let door = Arc::clone(&self.admitted.door);
        match accepted {
            Accepted::Tcp(stream, peer) if door.begins_for_checks() => {
                tokio::spawn(async move { self.tcp(stream, peer).await });
            }
            Accepted::Tcp(stream, peer) => {
                let stream = stream.into_std()?;
                door.lanes.players.spawn(async move {
                    match TcpStream::from_std(stream) {
                        Ok(stream) => self.tcp(stream, peer).await,
                        Err(_) => self.end(None),
                    }
                });
            }
            Accepted::Unix(stream) if door.is_for_checks => {
                tokio::spawn(async move { self.unix(stream).await });
            }
            Accepted::Unix(stream) => {
                let stream = stream.into_std()?;
                door.lanes.players.spawn(async move {
                    match UnixStream::from_std(stream) {
                        Ok(stream) => self.unix(stream).await,
                        Err(_) => self.end(None),
                    }
                });
            }
        }
        Ok(())
    }

    /// Serves a connection that is new here; its first bytes say on which threads.
    async fn begin<S>(self, mut stream: S, origin: Arc<Origin>, spoken: Spoken, first: Bytes)
    where
        S: AsyncRead + AsyncWrite + Parking + Unpin + Send + 'static,
    {
        match connection::settle(&mut stream, &self.pulse, spoken, first).await {
            Ok((is_h2, first)) if origin.lane.is_wrong_for(&first) => {
                let begun = Begun { first, is_h2 };
                self.leave(stream, &origin, begun, true);
            }
            Ok((is_h2, first)) => self.serve(stream, origin, Begun { first, is_h2 }).await,
            Err(cut) => self.end(cut),
        }
    }

    async fn serve<S>(self, stream: S, origin: Arc<Origin>, begun: Begun)
    where
        S: AsyncRead + AsyncWrite + Parking + Unpin + Send + 'static,
    {
        let (app, pulse) = (self.admitted.door.app.clone(), Arc::clone(&self.pulse));
        let Begun { first, is_h2 } = begun;
        match connection::serve(app, Arc::clone(&origin), pulse, stream, is_h2, first).await {
            Served::Over(cut) => self.end(cut),
            Served::Idle(stream) => {
                let moves = origin.lane.moves();
                self.leave(stream, &origin, Begun::default(), moves);
            }
        }
    }

    /// Takes the connection apart, to go on other threads at once or to rest. A socket that cannot be moved is closed.
    fn leave<S: Parking>(self, stream: S, origin: &Origin, begun: Begun, moves: bool) {
        let Ok(stream) = stream.park() else {
            return self.end(None);
        };
        let parked = Parked {
            stream,
            client: origin.client,
            is_peer_trusted: origin.is_peer_trusted,
            is_for_checks: origin.lane.is_for_checks() != moves,
            begun,
            due: self.pulse.due(),
            admitted: self.admitted,
        };
        if moves {
            return resume(parked);
        }
        let lot = Arc::clone(&parked.admitted.door.lot);
        lot.park(parked);
    }

    fn end(self, cut: Cut) {
        if let Some(reason) = cut {
            self.admitted.door.metrics.refused(reason);
        }
    }

    async fn tcp(mut self, mut stream: TcpStream, peer: SocketAddr) {
        // Small answers must leave at once; failing to say so is no reason to refuse.
        let _ = stream.set_nodelay(true);
        let door = Arc::clone(&self.admitted.door);
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let is_peer_trusted = door
            .config
            .trusted_peers
            .iter()
            .any(|network| network.contains(peer.ip()));
        let needs_trust = door.is_exposed_plain || door.config.proxy_protocol != ProxyProtocol::None;
        if needs_trust && !is_peer_trusted {
            door.refuse(stream, codes::PEER_FORBIDDEN).await;
            return self.end(Some("peer_forbidden"));
        }
        if !is_peer_trusted && let Err(reason) = self.admitted.place.of_address(peer.ip()) {
            door.refuse(stream, codes::CONNECTION_LIMIT).await;
            return self.end(Some(reason));
        }
        let (client, first) = match door.client_behind(&mut stream, peer).await {
            Ok(told) => told,
            Err(reason) => return self.end(Some(reason)),
        };
        let origin = door.origin(client, is_peer_trusted, None, door.lane(door.begins_for_checks()));
        match &door.config.tls {
            None => {
                let stream = Transport::new(stream, Bytes::new());
                self.begin(stream, origin, Spoken::Unsettled, first).await;
            }
            Some(tls) => match door.shake_hands(tls.acceptor(), Transport::new(stream, first)).await {
                Ok((stream, spoken)) => {
                    // The time for the first byte counts from here, not from the start of the handshake.
                    self.pulse.restart();
                    self.begin(stream, origin, spoken, Bytes::new()).await;
                }
                Err(reason) => self.end(Some(reason)),
            },
        }
    }

    async fn unix(self, stream: UnixStream) {
        let door = Arc::clone(&self.admitted.door);
        let uid = stream.peer_cred().map(|peer| peer.uid());
        let Some(uid) = uid.ok().filter(|uid| *uid == 0 || *uid == door.own_uid) else {
            door.refuse(stream, codes::PEER_FORBIDDEN).await;
            return self.end(Some("peer_forbidden"));
        };
        let client = ClientAddress {
            ip: None,
            port: None,
            learnt_from: LearntFrom::Socket,
        };
        let origin = door.origin(client, true, Some(uid), Lane::new(door.is_for_checks, false));
        let (app, pulse) = (door.app.clone(), Arc::clone(&self.pulse));
        let mut stream = stream;
        let settled = connection::settle(&mut stream, &pulse, Spoken::Unsettled, Bytes::new()).await;
        let (is_h2, mut first) = match settled {
            Ok(settled) => settled,
            Err(cut) => return self.end(cut),
        };
        // Operators' connections are few and are not worth parking.
        loop {
            let serving = connection::serve(
                app.clone(),
                Arc::clone(&origin),
                Arc::clone(&pulse),
                stream,
                is_h2,
                std::mem::take(&mut first),
            );
            match serving.await {
                Served::Over(cut) => return self.end(cut),
                Served::Idle(idle) => stream = idle,
            }
        }
    }
}

impl Door {
    fn enter(&self) -> Result<Place, &'static str> {
        let among_all = self.caps.enter()?;
        match &self.own_caps {
            Some(own) => own.enter_within(among_all),
            None => Ok(among_all),
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

    /// The TLS handshake, and which HTTP was agreed on.
    async fn shake_hands(
        &self,
        acceptor: tokio_rustls::TlsAcceptor,
        transport: Transport,
    ) -> Result<(Box<TlsStream<Transport>>, Spoken), &'static str> {
        let wait = Duration::from_millis(self.limits.handshake_ms);
        let shaken = timeout(wait, async {
            // A handshake takes a place when its first bytes are there, so that silent clients hold none.
            if !transport.is_readable().await {
                return Err("handshake_failed");
            }
            // Whoever is too many waits its turn, for as long as a handshake may take: closing would only bring it back.
            let Ok(_place) = self.handshakes.acquire().await else {
                return Err("handshake_failed");
            };
            acceptor.accept(transport).await.map_err(|_| "handshake_failed")
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

    /// Do both players and game servers come here?
    fn is_mixed(&self) -> bool {
        let both = [Surface::Sdk, Surface::Server];
        both.iter().all(|surface| self.facts.surfaces.contains(surface))
    }

    /// Do its connections begin on the threads of token checks? Where nobody knows yet who comes, until the first bytes
    /// say it, which costs those threads little; a handshake would cost them much.
    fn begins_for_checks(&self) -> bool {
        self.is_for_checks || self.is_mixed() && self.config.tls.is_none()
    }

    fn lane(&self, is_for_checks: bool) -> Lane {
        Lane::new(is_for_checks, self.is_mixed())
    }

    fn origin(
        &self,
        client: ClientAddress,
        is_peer_trusted: bool,
        operator_uid: Option<u32>,
        lane: Lane,
    ) -> Arc<Origin> {
        let request_ids = RequestIds::new(self.app.seed());
        Arc::new(Origin {
            listener: Arc::clone(&self.facts),
            client,
            is_peer_trusted,
            operator_uid,
            request_ids,
            lane,
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
