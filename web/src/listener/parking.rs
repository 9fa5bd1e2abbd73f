//! Where idle HTTP/1 connections wait. A player's connection is idle nearly always; while it is, it has no task, no timer
//! and no buffers, only a record here and its socket in an epoll set of the lot's own. The client's next bytes, the end of
//! its time and a drain bring it back into service, where the driver of the connection finds out which it was.
//! See decisions/0701-resting-connections.md.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use seawall_domain::ClientAddress;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::drain::{DrainSignal, DrainState};
use super::stay::{Admitted, resume};
use super::transport::ParkedStream;
use super::turnstile::Line;

/// Between two looks for connections whose time is over; their deadlines are kept as exactly as this.
const LOOK: Duration = Duration::from_secs(1);
/// Connections brought back before others get their turn.
const EVENTS_MAX: usize = 256;
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A connection over which nothing is under way, as little as it can be: everything else is made anew.
pub(super) struct Parked {
    pub(super) stream: ParkedStream,
    /// The client as the connection showed it.
    pub(super) client: ClientAddress,
    pub(super) is_peer_trusted: bool,
    /// Which threads it goes on.
    pub(super) is_for_checks: bool,
    /// How it has begun; nothing of a connection that rests.
    pub(super) begun: Begun,
    /// Where its next request waits for its turn.
    pub(super) line: Line,
    /// When it has been idle for too long.
    pub(super) due: Instant,
    pub(super) admitted: Admitted,
}

/// What is known of a connection before it is served.
#[derive(Default)]
pub(super) struct Begun {
    /// Read from it and not used.
    pub(super) first: Bytes,
    /// Does it speak HTTP/2?
    pub(super) is_h2: bool,
}

/// The parked connections of all listeners.
pub(super) struct ParkingLot {
    epoll: OwnedFd,
    /// `None` once the drain closes connections, when nobody parks any more.
    parked: Mutex<Option<Records>>,
    count: Gauge,
}

#[derive(Default)]
struct Records {
    /// The number of the next to park; none is given twice.
    next: u64,
    by_number: HashMap<u64, Parked>,
}

impl ParkingLot {
    /// An empty lot; `count` shows how many are parked.
    pub(super) fn open(count: Gauge) -> io::Result<Arc<Self>> {
        Ok(Arc::new(ParkingLot {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            parked: Mutex::new(Some(Records::default())),
            count,
        }))
    }

    /// Parks a connection. Where that cannot be, it is served on at once.
    pub(super) fn park(&self, connection: Parked) {
        let mut parked = self.parked.lock();
        let (Some(records), Some(socket)) = (parked.as_mut(), connection.stream.socket()) else {
            drop(parked);
            return resume(connection);
        };
        let number = records.next;
        let wanted = EventFlags::IN | EventFlags::RDHUP | EventFlags::ONESHOT;
        if epoll::add(&self.epoll, socket, EventData::new_u64(number), wanted).is_err() {
            drop(parked);
            return resume(connection);
        }
        // Events are looked at under the same lock, so that none can come before its record.
        records.next += 1;
        records.by_number.insert(number, connection);
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
            let Some(records) = parked.as_mut() else { return false };
            let numbers = events.iter().map(|event| event.data.u64());
            numbers.filter_map(|number| records.by_number.remove(&number)).collect()
        };
        back.into_iter().for_each(|connection| self.bring_back(connection));
        !events.is_empty()
    }

    fn bring_back_overdue(&self) {
        let now = Instant::now();
        let back: Vec<Parked> = match self.parked.lock().as_mut() {
            Some(records) => records
                .by_number
                .extract_if(|_, connection| connection.due <= now)
                .map(|(_, connection)| connection)
                .collect(),
            None => return,
        };
        back.into_iter().for_each(|connection| self.bring_back(connection));
    }

    fn bring_back(&self, connection: Parked) {
        self.count.dec();
        if let Some(socket) = connection.stream.socket() {
            // Only costs an entry in the set when it fails; closing the socket removes that too.
            let _ = epoll::delete(&self.epoll, socket);
        }
        resume(connection);
    }

    /// Brings all back, and lets nobody park any more.
    pub(super) fn close(&self) {
        let all = self.parked.lock().take().unwrap_or_default();
        all.by_number
            .into_values()
            .for_each(|connection| self.bring_back(connection));
    }
}
