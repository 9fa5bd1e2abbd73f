//! The order of a drain: serving, lame duck (not ready, every HTTP/1 answer closes its connection, still accepting),
//! closing (no longer accepting, idle connections are told to go), closed.

use tokio::sync::watch;

/// Where a drain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainState {
    /// Not draining.
    Serving,
    /// Not ready, still serving and accepting; answers close their HTTP/1 connections.
    LameDuck,
    /// The queue of the kernel is being emptied, then nothing is accepted any more.
    StopAccepting,
    /// Connections finish what they are at; idle ones are closed.
    Closing,
    /// What is left is cut.
    Closed,
}

/// Tells every listener and connection where the drain stands. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DrainSignal {
    state: watch::Sender<DrainState>,
}

impl Default for DrainSignal {
    fn default() -> Self {
        DrainSignal {
            state: watch::Sender::new(DrainState::Serving),
        }
    }
}

impl DrainSignal {
    /// Where the drain stands.
    #[must_use]
    pub fn state(&self) -> DrainState {
        *self.state.borrow()
    }

    /// True from the lame duck on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.state() > DrainState::Serving
    }

    /// Goes on to `next`; never back.
    pub fn advance(&self, next: DrainState) {
        self.state.send_if_modified(|state| {
            let moves = next > *state;
            if moves {
                *state = next;
            }
            moves
        });
    }

    /// Waits until the drain stands at `at` or later.
    pub async fn reached(&self, at: DrainState) {
        let mut watcher = self.state.subscribe();
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
        drain.reached(DrainState::LameDuck).await;
    }
}
