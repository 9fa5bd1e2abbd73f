//! A connection's stay: from the threads it was accepted on to those it belongs on, through PROXY header and TLS handshake
//! to HTTP, to the parking lot and back.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use seawall_domain::{ClientAddress, LearntFrom};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::accept::{Accepted, Door};
use super::caps::Place;
use super::config::ProxyProtocol;
use super::connection::{self, Cut, Served, Spoken};
use super::lane::Lane;
use super::parking::{Begun, Parked};
use super::pulse::Pulse;
use super::server::Registered;
use super::transport::{OverSocket, ParkedStream, Parking, Transport};
use crate::codes;
use crate::origin::Origin;

/// A connection's right to be open, from accept to close, in service or parked.
pub(super) struct Admitted {
    pub(super) door: Arc<Door>,
    pub(super) place: Place,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.door.metrics.open.dec();
    }
}

impl Admitted {
    pub(super) fn in_service(self, pulse: Pulse) -> Stay {
        let pulse = Arc::new(pulse);
        Stay {
            _registered: self.door.connections.register(&pulse),
            pulse,
            admitted: self,
        }
    }
}

/// A connection in service.
pub(super) struct Stay {
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
    let stay = parked
        .admitted
        .in_service(Pulse::idle_until(&door.limits, parked.due, parked.line));
    let origin = door.origin(parked.client, parked.is_peer_trusted, None, lane, &stay.pulse);
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
    /// Goes to the threads on which it begins.
    pub(super) fn arrive(self, accepted: Accepted) {
        let door = Arc::clone(&self.admitted.door);
        let threads = door.lanes.of(door.config.begins_for_checks());
        // Bound to the runtime by the task itself; a socket that cannot be is closed.
        match accepted {
            Accepted::Tcp(stream, peer) => threads.spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => self.tcp(stream, peer).await,
                    Err(_) => self.end(None),
                }
            }),
            Accepted::Unix(stream) => threads.spawn(async move {
                match UnixStream::from_std(stream) {
                    Ok(stream) => self.unix(stream).await,
                    Err(_) => self.end(None),
                }
            }),
        };
    }

    /// Serves a connection that is new here; its first bytes say on which threads.
    async fn begin<S>(self, mut stream: S, origin: Arc<Origin>, spoken: Spoken, first: Bytes)
    where
        S: AsyncRead + AsyncWrite + OverSocket + Parking + Unpin + Send + 'static,
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
        S: AsyncRead + AsyncWrite + OverSocket + Parking + Unpin + Send + 'static,
    {
        let (door, pulse) = (Arc::clone(&self.admitted.door), Arc::clone(&self.pulse));
        match connection::serve(
            door.app.clone(),
            Arc::clone(&origin),
            pulse,
            stream,
            begun,
            &door.turnstile,
        )
        .await
        {
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
            line: self.pulse.line(),
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
        let lane = door.lane(door.config.begins_for_checks());
        let origin = door.origin(client, is_peer_trusted, None, lane, &self.pulse);
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
        let lane = Lane::new(door.config.begins_for_checks(), false);
        let origin = door.origin(client, true, Some(uid), lane, &self.pulse);
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
                Begun {
                    first: std::mem::take(&mut first),
                    is_h2,
                },
                &door.turnstile,
            );
            match serving.await {
                Served::Over(cut) => return self.end(cut),
                Served::Idle(idle) => stream = idle,
            }
        }
    }
}
