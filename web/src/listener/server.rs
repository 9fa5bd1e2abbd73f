//! All listeners together: start, drain, local addresses.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::accept::{self, Door, Source};
use super::address::{Listener, Socket2};
use super::caps::ConnectionCaps;
use super::config::Address;
use super::drain::{DrainConfig, DrainReport, DrainState};
use super::lane::Lanes;
use super::parking::ParkingLot;
use super::pulse::{Phase, Pulse};
use super::turns::Turns;
use super::turnstile::Turnstile;
use crate::app::App;
use crate::limits::BACKLOG;

/// Requests of players that begin in a round for each of their threads: some milliseconds of its time.
const TURNS_PER_ROUND: usize = 128;

/// Where a listener really listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BoundAddress {
    /// TCP, with the port the kernel chose.
    Tcp(SocketAddr),
    /// Unix socket.
    Unix(PathBuf),
}

/// The listeners, serving.
pub struct Server {
    app: App,
    addresses: Vec<(String, BoundAddress)>,
    loops: Mutex<Vec<JoinHandle<()>>>,
    connections: Arc<Connections>,
    lot: Arc<ParkingLot>,
    caps: Arc<ConnectionCaps>,
}

impl Server {
    /// Starts accepting on bound listeners. Token checks, operators and health are served on the current runtime, players on
    /// that of `players`, which may be the same. Must be called within a tokio runtime.
    pub fn start(listeners: Vec<Listener>, app: App, players: &Handle) -> io::Result<Self> {
        let limits = &app.inner.limits;
        let caps = ConnectionCaps::new(limits.connections_max, limits.connections_per_address_max);
        let handshakes = Turns::new(limits.handshakes_max);
        let turns = TURNS_PER_ROUND * players.metrics().num_workers();
        let inner = Arc::clone(&app.inner);
        let turnstile = Turnstile::new(turns, inner.metrics.admission.queued.clone(), move || {
            inner.admission.turns()
        });
        let (drain, rounds) = (app.inner.drain.clone(), Arc::clone(&turnstile).attend(players.clone()));
        tokio::spawn(async move {
            tokio::select! {
                () = drain.reached(DrainState::Closed) => {}
                () = rounds => {}
            }
        });
        let connections = Arc::new(Connections::new(app.inner.metrics.in_service.clone()));
        let lot = ParkingLot::open(app.inner.metrics.resting.clone())?;
        tokio::spawn(Arc::clone(&lot).attend(app.inner.drain.clone()));
        let lanes = Lanes {
            checks: Handle::current(),
            players: players.clone(),
        };
        let mut addresses = Vec::new();
        let mut loops = Vec::new();
        for Listener { config, socket } in listeners {
            let (source, address) = source(socket, &config.address)?;
            let is_outside = matches!(&address, BoundAddress::Tcp(tcp) if !accept::is_loopback(tcp.ip()));
            addresses.push((config.name.clone(), address));
            let own = config.limits.over(limits);
            let own_caps = config
                .limits
                .counts_apart()
                .then(|| ConnectionCaps::new(own.connections_max, own.connections_per_address_max));
            let door = Arc::new(Door {
                app: app.clone(),
                limits: own,
                own_caps,
                facts: Arc::new(config.facts()),
                metrics: app.inner.metrics.listener(&config.name),
                caps: Arc::clone(&caps),
                handshakes: Arc::clone(&handshakes),
                turnstile: Arc::clone(&turnstile),
                connections: Arc::clone(&connections),
                lot: Arc::clone(&lot),
                lanes: lanes.clone(),
                is_exposed_plain: config.tls.is_none() && is_outside,
                own_uid: rustix::process::geteuid().as_raw(),
                config,
            });
            // Accepting is little work and must not wait behind that of players: what is not accepted is soon refused.
            loops.push(tokio::spawn(accept::run(door, source)));
        }
        Ok(Server {
            app,
            addresses,
            loops: Mutex::new(loops),
            connections,
            lot,
            caps,
        })
    }

    /// Name and bound address of every listener, in the order given.
    #[must_use]
    pub fn local_addresses(&self) -> &[(String, BoundAddress)] {
        &self.addresses
    }

    /// Open connections.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.caps.open()
    }

    /// Drains and stops: lame duck, accept what is queued and no more, close idle connections, wait for busy ones up
    /// to the limit, cut the rest. A second call with a shorter time cuts the first short.
    pub async fn drain(&self, config: DrainConfig) -> DrainReport {
        let signal = &self.app.inner.drain;
        let limit = Instant::now() + config.limit();
        self.advance(DrainState::LameDuck);
        tokio::select! {
            () = sleep(config.lame_duck()) => {}
            () = signal.reached(DrainState::StopAccepting) => {}
        }
        self.advance(DrainState::StopAccepting);
        let loops = std::mem::take(&mut *self.loops.lock());
        for accepting in loops {
            // A loop only ends by the signal; a panic in it is a defect that must not stop the drain.
            let _ = accepting.await;
        }
        self.advance(DrainState::Closing);
        // Parked connections are counted from here on.
        self.lot.close();
        self.connections.wake_all();
        let emptied = async {
            tokio::select! {
                () = self.connections.emptied() => {}
                () = signal.reached(DrainState::Closed) => {}
            }
        };
        let _ = timeout_at(limit, emptied).await;
        let cut = self.connections.unfinished();
        self.advance(DrainState::Closed);
        self.connections.wake_all();
        let _ = timeout_at(Instant::now() + Duration::from_secs(1), self.connections.emptied()).await;
        DrainReport { cut }
    }

    fn advance(&self, state: DrainState) {
        self.app.inner.drain.advance(state);
        let standing = self.app.inner.drain.state();
        self.app.inner.metrics.drain_state.set(standing as i64);
        tracing::info!(state = ?standing, connections = self.connections.count(), "drain");
    }
}

/// A second handle of a bound socket, listening.
pub(super) fn duplicate(listener: &Listener) -> io::Result<(Source, BoundAddress)> {
    let socket = match &listener.socket {
        Socket2::Tcp(socket) => Socket2::Tcp(socket.try_clone()?),
        Socket2::Unix(socket) => Socket2::Unix(socket.try_clone()?),
    };
    source(socket, &listener.config.address)
}

/// From here on the kernel queues connections for us.
fn source(socket: Socket2, configured: &Address) -> io::Result<(Source, BoundAddress)> {
    match &socket {
        Socket2::Tcp(socket) => SockRef::from(socket).listen(BACKLOG)?,
        Socket2::Unix(socket) => SockRef::from(socket).listen(BACKLOG)?,
    }
    match socket {
        Socket2::Tcp(socket) => {
            let address = BoundAddress::Tcp(socket.local_addr()?);
            Ok((Source::Tcp(acceptable(socket)?), address))
        }
        Socket2::Unix(socket) => {
            // A socket that was moved into place still names the path it was bound at.
            let path = match configured {
                Address::Unix(path) => path.clone(),
                Address::Tcp(_) => socket
                    .local_addr()?
                    .as_pathname()
                    .map(PathBuf::from)
                    .unwrap_or_default(),
            };
            Ok((Source::Unix(acceptable(socket)?), BoundAddress::Unix(path)))
        }
    }
}

/// A listening socket that tells when it can be accepted from.
#[expect(
    deprecated,
    reason = "its successor is unsafe for types whose descriptor may change; that of a listener does not"
)]
fn acceptable<L: AsRawFd>(listener: L) -> io::Result<AsyncFd<L>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// The connections in service, so that the drain can wake and count them.
#[derive(Debug)]
pub(super) struct Connections {
    next_id: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Pulse>>>,
    gone: Notify,
    in_service: Gauge,
}

/// A connection's entry; removed when dropped.
pub(super) struct Registered {
    connections: Arc<Connections>,
    id: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.connections.in_service.dec();
        let mut open = self.connections.open.lock();
        open.remove(&self.id);
        if open.is_empty() {
            self.connections.gone.notify_waiters();
        }
    }
}

impl Connections {
    /// None; `in_service` shows how many there are.
    fn new(in_service: Gauge) -> Self {
        Connections {
            next_id: AtomicU64::new(0),
            open: Mutex::default(),
            gone: Notify::new(),
            in_service,
        }
    }

    pub(super) fn register(self: &Arc<Self>, pulse: &Arc<Pulse>) -> Registered {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(id, Arc::clone(pulse));
        self.in_service.inc();
        Registered {
            connections: Arc::clone(self),
            id,
        }
    }

    fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// Connections that still wait for something of ours; those we closed and the client did not are done.
    fn unfinished(&self) -> usize {
        self.open
            .lock()
            .values()
            .filter(|pulse| pulse.phase() != Phase::Linger)
            .count()
    }

    fn wake_all(&self) {
        for pulse in self.open.lock().values() {
            pulse.waker.wake();
        }
    }

    async fn emptied(&self) {
        loop {
            let gone = self.gone.notified();
            if self.count() == 0 {
                return;
            }
            gone.await;
        }
    }
}
