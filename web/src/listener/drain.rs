//! The order of a drain: serving, lame duck (not ready, every HTTP/1 answer closes its connection, still accepting),
//! accept what the kernel queued and then no more, closing (idle connections are told to go), closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Where a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum DrainState {
    /// Not draining.
    Serving = 0,
    /// Not ready, still serving and accepting; answers close their HTTP/1 connections.
    LameDuck = 1,
    /// What the kernel has queued is accepted, then nothing any more.
    StopAccepting = 2,
    /// Connections finish what they are at; idle ones are closed.
    Closing = 3,
    /// What is left is cut.
    Closed = 4,
}

/// How long a drain takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainConfig {
    /// Time for load balancers to notice, in milliseconds; longer than their de-registration takes.
    pub lame_duck_ms: u64,
    /// From the start of the drain to its hard end, in milliseconds.
    pub limit_ms: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        DrainConfig {
            lame_duck_ms: 15_000,
            limit_ms: 25_000,
        }
    }
}

impl DrainConfig {
    /// Without waiting for anybody; for a second signal.
    #[must_use]
    pub fn at_once() -> Self {
        DrainConfig {
            lame_duck_ms: 0,
            limit_ms: 0,
        }
    }

    pub(super) fn lame_duck(&self) -> Duration {
        Duration::from_millis(self.lame_duck_ms.min(self.limit_ms))
    }

    pub(super) fn limit(&self) -> Duration {
        Duration::from_millis(self.limit_ms)
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that had to be cut at the hard end; 0 when the drain was clean.
    pub cut: usize,
}

/// Tells every listener and connection where the drain stands. Cheap to clone; reading it is one atomic load.
#[derive(Debug, Clone)]
pub struct DrainSignal {
    state: Arc<AtomicU8>,
    changed: watch::Sender<DrainState>,
}

impl Default for DrainSignal {
    fn default() -> Self {
        DrainSignal {
            state: Arc::default(),
            changed: watch::Sender::new(DrainState::Serving),
        }
    }
}

impl DrainSignal {
    /// Where the drain stands.
    #[must_use]
    pub fn state(&self) -> DrainState {
        match self.state.load(Ordering::Acquire) {
            0 => DrainState::Serving,
            1 => DrainState::LameDuck,
            2 => DrainState::StopAccepting,
            3 => DrainState::Closing,
            _ => DrainState::Closed,
        }
    }

    /// True from the lame duck on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state() > DrainState::Serving
    }

    /// True once connections are told to go.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.state() >= DrainState::Closing
    }

    /// Goes on to `next`; never back.
    pub fn advance(&self, next: DrainState) {
        self.changed.send_if_modified(|state| {
            let moves = next > *state;
            if moves {
                *state = next;
                self.state.store(next as u8, Ordering::Release);
            }
            moves
        });
    }

    /// Waits until the drain stands at `at` or later.
    pub async fn reached(&self, at: DrainState) {
        let mut watcher = self.changed.subscribe();
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = watcher.wait_for(|state| *state >= at).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_only_moves_on() {
        let drain = DrainSignal::default();
        assert!(!drain.is_draining());
        drain.advance(DrainState::Closing);
        drain.advance(DrainState::LameDuck);
        assert_eq!(drain.state(), DrainState::Closing);
        assert!(drain.is_closing() && drain.is_draining());
        drain.reached(DrainState::LameDuck).await;
    }

    #[test]
    fn a_lame_duck_never_outlives_the_limit() {
        let config = DrainConfig {
            lame_duck_ms: 10_000,
            limit_ms: 4_000,
        };
        assert_eq!(config.lame_duck(), Duration::from_secs(4));
    }
}
