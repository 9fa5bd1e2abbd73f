//! Where idle HTTP/1 connections wait. A player's connection is idle nearly always; while it is, it has no task, no timer
//! and no buffers, only a record here and its socket in an epoll set of the lot's own. The client's next bytes, the end of
//! its time and a drain bring it back into service, where the driver of the connection finds out which it was.
//! See decisions/0701-resting-connections.md.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::server::TlsStream;

use super::accept::Stay;
use super::drain::{DrainSignal, DrainState};
use super::transport::{Parking, Transport};
use crate::origin::Origin;

/// Between two looks for connections whose time is over; their deadlines are kept as exactly as this.
const LOOK: Duration = Duration::from_secs(1);
/// Connections brought back before others get their turn.
const EVENTS_MAX: usize = 256;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A stream at rest.
pub(super) enum ParkedStream {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

impl From<Transport> for ParkedStream {
    fn from(stream: Transport) -> Self {
        ParkedStream::Plain(stream)
    }
}

impl From<Box<TlsStream<Transport>>> for ParkedStream {
    fn from(stream: Box<TlsStream<Transport>>) -> Self {
        ParkedStream::Tls(stream)
    }
}

impl ParkedStream {
    fn as_parking(&mut self) -> &mut dyn Parking {
        match self {
            ParkedStream::Plain(stream) => stream,
            ParkedStream::Tls(stream) => stream,
        }
    }
}

/// A connection over which nothing is under way.
pub(super) struct Parked {
    pub(super) stream: ParkedStream,
    pub(super) origin: Arc<Origin>,
    pub(super) stay: Stay,
}

/// The parked connections of all listeners.
pub(super) struct ParkingLot {
    epoll: OwnedFd,
    /// By the number of the connection; `None` once the drain closes connections, when nobody parks any more.
    parked: Mutex<Option<HashMap<u64, Parked>>>,
    count: Gauge,
}

impl ParkingLot {
    /// An empty lot; `count` shows how many are parked.
    pub(super) fn open(count: Gauge) -> io::Result<Arc<Self>> {
        Ok(Arc::new(ParkingLot {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            parked: Mutex::new(Some(HashMap::new())),
            count,
        }))
    }

    /// Parks a connection. Where that cannot be, it is served on at once.
    pub(super) fn park(&self, mut connection: Parked) {
        if connection.stream.as_parking().park().is_err() {
            // The socket went with the error; the connection is over.
            return;
        }
        let number = connection.stay.number();
        let mut parked = self.parked.lock();
        let Some(open) = parked.as_mut() else {
            drop(parked);
            return resume(connection);
        };
        let watched = match connection.stream.as_parking().parked() {
            Some(socket) => epoll::add(
                &self.epoll,
                socket,
                EventData::new_u64(number),
                EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT,
            ),
            None => return,
        };
        if watched.is_err() {
            drop(parked);
            return resume(connection);
        }
        // Events are looked at under the same lock, so that none can come before its record.
        open.insert(number, connection);
        self.count.inc();
    }

    /// Brings connections back until the drain closes them, then all of them.
    pub(super) async fn attend(self: Arc<Self>, drain: DrainSignal) {
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types whose descriptor may change; that of an OwnedFd does not"
        )]
        let readable = self
            .epoll
            .try_clone()
            .and_then(|epoll| AsyncFd::with_interest(epoll, Interest::READABLE));
        let readable = match readable {
            Ok(readable) => readable,
            Err(error) => {
                tracing::error!("idle connections cannot be watched: {error}; they keep their buffers");
                return self.close();
            }
        };
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.reached(DrainState::Closing) => break,
                _ = look.tick() => self.bring_back_overdue(),
                guard = readable.readable() => {
                    let Ok(mut guard) = guard else { break };
                    if !self.bring_back_spoken() {
                        guard.clear_ready();
                    }
                    tokio::task::yield_now().await;
                }
            }
        }
        self.close();
    }

    /// Those whose client spoke or left; true when there may be more.
    fn bring_back_spoken(&self) -> bool {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_MAX);
        let back: Vec<Parked> = {
            let mut parked = self.parked.lock();
            if epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&AT_ONCE)).is_err() {
                return false;
            }
            let Some(open) = parked.as_mut() else { return false };
            events
                .iter()
                .filter_map(|event| open.remove(&event.data.u64()))
                .collect()
        };
        back.into_iter().for_each(|connection| self.bring_back(connection));
        !events.is_empty()
    }

    fn bring_back_overdue(&self) {
        let now = Instant::now();
        let back: Vec<Parked> = match self.parked.lock().as_mut() {
            Some(open) => open
                .extract_if(|_, connection| connection.stay.pulse().due() <= now)
                .map(|(_, connection)| connection)
                .collect(),
            None => return,
        };
        back.into_iter().for_each(|connection| self.bring_back(connection));
    }

    fn bring_back(&self, mut connection: Parked) {
        self.count.dec();
        if let Some(socket) = connection.stream.as_parking().parked() {
            // Only costs an entry in the set when it fails; closing the socket removes that too.
            let _ = epoll::delete(&self.epoll, socket);
        }
        resume(connection);
    }

    fn close(&self) {
        let all = self.parked.lock().take().unwrap_or_default();
        all.into_values().for_each(|connection| self.bring_back(connection));
    }
}

/// Puts a connection back into service.
fn resume(mut connection: Parked) {
    tokio::spawn(async move {
        if connection.stream.as_parking().unpark().is_err() {
            return;
        }
        let Parked { stream, origin, stay } = connection;
        match stream {
            ParkedStream::Plain(stream) => stay.serve_on(stream, origin).await,
            ParkedStream::Tls(stream) => stay.serve_on(stream, origin).await,
        }
    });
}
