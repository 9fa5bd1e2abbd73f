//! How hard the process is pressed, in three figures of the last moments: how late the network runtime is, how long
//! writes wait for the sequencer, and how long password hashes wait for a thread. Asking costs a lock each, so it may be
//! done with every request; the store's figures are looked at in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_storage::Store;

use crate::hash_pool::HashThreads;
use crate::heartbeat::Heartbeat;
use crate::metrics::ProcessFigures;
use crate::recent::RecentMean;

/// How often [`Pressure::look`] is to be called.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Resident memory beyond so many times the plan is too much: buffers of busy connections are in no plan.
const MEMORY_TIGHT_TIMES: u64 = 2;

/// The figures.
pub struct Pressure {
    heartbeat: Heartbeat,
    store: Store,
    hash: Arc<HashThreads>,
    begun: Instant,
    commits: Mutex<Commits>,
    planned_bytes: u64,
    memory_is_tight: AtomicBool,
}

/// What was seen of the commit queue.
struct Commits {
    /// Sum in microseconds and number of all waits, as of the last look.
    seen: (u64, u64),
    /// When the number last rose or nothing waited.
    moved_at: Instant,
    waits_us: RecentMean,
}

impl Commits {
    /// Takes in the sum and number of all waits and how many writes wait, as of `now`.
    fn look(&mut self, now: Instant, at_ms: u64, (sum_us, count): (u64, u64), waiting: usize) {
        let (sum_before_us, count_before) = std::mem::replace(&mut self.seen, (sum_us, count));
        let ran = count.saturating_sub(count_before);
        if ran > 0 {
            self.waits_us.add(at_ms, sum_us.saturating_sub(sum_before_us), ran);
        }
        if ran > 0 || waiting == 0 {
            self.moved_at = now;
        } else {
            // Nothing came out, so nothing was measured, while somebody waits.
            let stuck_us = u64::try_from(now.saturating_duration_since(self.moved_at).as_micros());
            self.waits_us.add(at_ms, stuck_us.unwrap_or(u64::MAX), 1);
        }
    }
}

impl Pressure {
    /// The figures of these parts, and of a process planned with so much memory. What needs a look stays 0 until somebody
    /// looks.
    #[must_use]
    pub fn new(heartbeat: Heartbeat, store: Store, hash: Arc<HashThreads>, planned_bytes: u64) -> Self {
        let begun = Instant::now();
        Self {
            heartbeat,
            store,
            hash,
            begun,
            commits: Mutex::new(Commits {
                seen: (0, 0),
                moved_at: begun,
                waits_us: RecentMean::new(millis(LOOK_EVERY)),
            }),
            planned_bytes,
            memory_is_tight: AtomicBool::new(false),
        }
    }

    /// Reads the store's figures and the memory; for a task that does so every [`LOOK_EVERY`]. A few microseconds, whatever
    /// the store and the connections.
    pub fn look(&self) {
        let waits = self.store.queue_waits();
        self.commits.lock().look(
            Instant::now(),
            millis(self.begun.elapsed()),
            (waits.sum_us, waits.count),
            waits.waiting,
        );
        let resident_bytes = ProcessFigures::resident_bytes_now();
        let is_tight = resident_bytes > self.planned_bytes.saturating_mul(MEMORY_TIGHT_TIMES);
        self.memory_is_tight.store(is_tight, Ordering::Relaxed);
    }

    /// Whether the process takes more than twice the memory it was planned with.
    #[must_use]
    pub fn memory_is_tight(&self) -> bool {
        self.memory_is_tight.load(Ordering::Relaxed)
    }

    /// Mean lateness of the network runtime in the last 100 to 200 ms, in milliseconds; of a runtime that stands still, how
    /// long it has.
    #[must_use]
    pub fn loop_lag_ms_mean(&self) -> u64 {
        self.heartbeat.recent_lag_ms()
    }

    /// Mean wait of writes for the sequencer in the last 100 to 200 ms, in milliseconds; of a queue that stands still, how
    /// long it has. 0 when nothing was written.
    #[must_use]
    pub fn commit_wait_ms(&self) -> u64 {
        let at_ms = millis(self.begun.elapsed());
        self.commits.lock().waits_us.mean(at_ms).unwrap_or(0) / 1_000
    }

    /// Mean wait of password hashes in the last 100 to 200 ms, in milliseconds ([`HashThreads::recent_wait_ms`]).
    #[must_use]
    pub fn hash_wait_ms(&self) -> u64 {
        self.hash.recent_wait_ms()
    }

    /// Passwords that were to be hashed so far ([`HashStanding::asked`](crate::hash_pool::HashStanding::asked)).
    #[must_use]
    pub fn hash_jobs(&self) -> u64 {
        self.hash.standing().asked()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_waits_are_those_since_the_last_look_and_a_queue_that_stands_still_shows() {
        let begun = Instant::now();
        let mut commits = Commits {
            seen: (0, 0),
            moved_at: begun,
            waits_us: RecentMean::new(100),
        };
        let at = |ms: u64| begun + Duration::from_millis(ms);
        commits.look(at(0), 0, (900_000, 100), 5);
        assert_eq!(commits.waits_us.mean(0), Some(9_000));
        commits.look(at(100), 100, (900_000, 100), 0);
        commits.look(at(200), 200, (960_000, 102), 3);
        assert_eq!(commits.waits_us.mean(200), Some(30_000));
        commits.look(at(300), 300, (960_000, 102), 4);
        commits.look(at(400), 400, (960_000, 102), 4);
        assert_eq!(commits.waits_us.mean(400), Some(150_000), "100 ms, then 200 ms");
        commits.look(at(500), 500, (960_000, 102), 0);
        assert_eq!(commits.waits_us.mean(600), None);
    }
}
