//! Talking with the service manager (systemd): what the process is at, that it makes progress (the watchdog), and the
//! sockets it holds for us. Without one nothing happens.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use parking_lot::Mutex;
use sd_notify::NotifyState;
use seawall_storage::Store;
use seawall_web::Address;

use crate::heartbeat::Heartbeat;
use crate::tasks::{Round, Task};

/// How much longer than planned each step of a start may take, in microseconds.
const START_EXTENSION_US: u32 = 60_000_000;

/// A start goes on.
pub fn starting(status: &str) {
    tell(&[
        NotifyState::Status(status),
        NotifyState::ExtendTimeoutUsec(START_EXTENSION_US),
    ]);
}

/// Everything answers.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The process drains.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// The task that keeps the watchdog quiet, when there is one: at half its interval, only while the runtime runs and the
/// store makes progress.
#[must_use]
pub fn watchdog(heartbeat: Heartbeat, store: Store) -> Option<Task> {
    let interval = sd_notify::watchdog_enabled()?;
    let progress = StoreProgress::new(interval);
    let round = move || -> Round {
        let stats = store.stats();
        let moves = progress.moves(
            stats.transactions.saturating_add(stats.refused),
            stats.queue_length,
            Instant::now(),
        );
        let verdict = if store.has_failed() {
            Err("the store failed; the watchdog is left to bark".to_owned())
        } else if !moves {
            Err("the store's queue stands still; the watchdog is left to bark".to_owned())
        } else if !heartbeat.is_alive() {
            Err("the runtime stands still; the watchdog is left to bark".to_owned())
        } else {
            tell(&[NotifyState::Watchdog]);
            Ok(())
        };
        Box::pin(async { verdict })
    };
    Some(Task {
        name: "watchdog",
        interval: interval / 2,
        round: Box::new(round),
    })
}

/// Tells a store that stands still from an idle one.
struct StoreProgress {
    /// Longest time writes may wait without one being done.
    patience: Duration,
    /// Writes done at the last look that saw progress, and when that was.
    seen: Mutex<(u64, Instant)>,
}

impl StoreProgress {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            seen: Mutex::new((0, Instant::now())),
        }
    }

    fn moves(&self, done: u64, waiting: usize, now: Instant) -> bool {
        let mut seen = self.seen.lock();
        if waiting == 0 || done != seen.0 {
            *seen = (done, now);
        }
        now.saturating_duration_since(seen.1) < self.patience
    }
}

/// A socket the service manager holds for us.
#[derive(Debug)]
pub enum Inherited {
    /// TCP.
    Tcp(TcpListener),
    /// Unix.
    Unix(UnixListener),
}

impl Inherited {
    /// Does it listen at this address?
    fn is_at(&self, address: &Address) -> bool {
        match (self, address) {
            (Inherited::Tcp(socket), Address::Tcp(wanted)) => socket.local_addr().is_ok_and(|found| found == *wanted),
            (Inherited::Unix(socket), Address::Unix(wanted)) => socket
                .local_addr()
                .is_ok_and(|found| found.as_pathname() == Some(wanted.as_path())),
            _ => false,
        }
    }
}

/// The sockets the service manager holds for us (`LISTEN_FDS`), until a listener takes them.
#[derive(Debug, Default)]
pub struct InheritedSockets(Vec<Inherited>);

impl InheritedSockets {
    /// Takes them over; once in a process, before it has threads.
    #[must_use]
    pub fn take() -> Self {
        let mut passed = ListenFd::from_env();
        let sockets = (0..passed.len()).filter_map(|index| {
            if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
                return Some(Inherited::Tcp(socket));
            }
            let socket = passed.take_unix_listener(index).ok().flatten();
            socket.map(Inherited::Unix)
        });
        Self(sockets.collect())
    }

    /// The one at this address.
    pub fn at(&mut self, address: &Address) -> Option<Inherited> {
        let index = self.0.iter().position(|socket| socket.is_at(address))?;
        Some(self.0.swap_remove(index))
    }

    /// Those nobody took are closed: clients must not wait on a socket that is never read.
    pub fn close_rest(self) {
        for socket in self.0 {
            tracing::warn!(
                ?socket,
                "no listener has the address of this inherited socket; it is closed"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_stands_still_only_while_writes_wait_and_none_is_done() {
        let patience = Duration::from_secs(10);
        let progress = StoreProgress::new(patience);
        let begin = Instant::now();
        assert!(progress.moves(5, 3, begin));
        assert!(progress.moves(5, 3, begin + patience / 2));
        assert!(!progress.moves(5, 3, begin + patience), "writes wait, none was done");
        assert!(progress.moves(6, 3, begin + patience), "one was done");
        assert!(progress.moves(6, 0, begin + patience * 3), "nothing waits");
    }

    #[test]
    fn an_inherited_socket_is_found_by_its_address_once() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let address = Address::Tcp(tcp.local_addr().unwrap());
        let mut sockets = InheritedSockets(vec![Inherited::Tcp(tcp), Inherited::Unix(unix)]);
        assert!(sockets.at(&Address::Tcp("127.0.0.1:1".parse().unwrap())).is_none());
        assert!(matches!(sockets.at(&address), Some(Inherited::Tcp(_))));
        assert!(sockets.at(&address).is_none());
        assert!(matches!(sockets.at(&Address::Unix(path)), Some(Inherited::Unix(_))));
    }
}
