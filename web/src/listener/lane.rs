//! Which threads serve a connection. Players and game servers have threads of their own, so that however many players ask
//! at once, the kernel gives the token checks a processor when they need one: a runtime's queue knows no ranks, threads do.
//! A connection begins where its listener or its first bytes say; one over which game servers check tokens moves to their
//! threads, and goes back with the first other request. See decisions/0816-two-sets-of-threads.md.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::runtime::Handle;

/// Checks in a row after which a connection is taken for that of a game server: a balancer that mixes its callers on one
/// connection shall not move it to and fro with each request.
const CHECKS_IN_A_ROW: u8 = 4;

/// What the requests of game servers begin with.
const OF_SERVERS: &[u8] = b"POST /server/";

/// The threads there are.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    /// For token checks, operators and health.
    pub(super) checks: Handle,
    /// For players.
    pub(super) players: Handle,
}

/// One connection's lane.
#[derive(Debug)]
pub struct Lane {
    is_for_checks: bool,
    /// Does its listener serve both?
    is_mixed: bool,
    /// Checks since the last other request; on the threads of checks 0 once there was another.
    in_a_row: AtomicU8,
}

impl Lane {
    /// A connection on the threads of checks, or of players; it moves only where both may come.
    pub(crate) fn new(is_for_checks: bool, is_mixed: bool) -> Self {
        let in_a_row = if is_for_checks { CHECKS_IN_A_ROW } else { 0 };
        Lane {
            is_for_checks,
            is_mixed,
            in_a_row: AtomicU8::new(in_a_row),
        }
    }

    /// Its last request was a signed token check, or something of players.
    pub(crate) fn asked(&self, is_check: bool) {
        if !self.is_mixed {
            return;
        }
        let in_a_row = self.in_a_row.load(Ordering::Relaxed);
        let now = if is_check {
            (in_a_row + 1).min(CHECKS_IN_A_ROW)
        } else {
            0
        };
        if now != in_a_row {
            self.in_a_row.store(now, Ordering::Relaxed);
        }
    }

    /// Does a connection that begins so belong on the other threads? Nothing is proven yet; who only claims to be a game
    /// server goes back after one request.
    pub(super) fn is_wrong_for(&self, first: &[u8]) -> bool {
        self.is_mixed && first.starts_with(OF_SERVERS) != self.is_for_checks
    }

    /// Is it on the threads of checks?
    pub(super) fn is_for_checks(&self) -> bool {
        self.is_for_checks
    }

    /// Does it belong on the other threads?
    pub(super) fn moves(&self) -> bool {
        let in_a_row = self.in_a_row.load(Ordering::Relaxed);
        if self.is_for_checks {
            in_a_row == 0
        } else {
            in_a_row == CHECKS_IN_A_ROW
        }
    }
}

impl Lanes {
    /// The threads of a lane.
    pub(super) fn of(&self, is_for_checks: bool) -> &Handle {
        if is_for_checks { &self.checks } else { &self.players }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_moves_after_checks_in_a_row_and_back_with_the_first_other() {
        let lane = Lane::new(false, true);
        for _ in 1..CHECKS_IN_A_ROW {
            lane.asked(true);
        }
        assert!(!lane.moves());
        lane.asked(false);
        for _ in 1..CHECKS_IN_A_ROW {
            lane.asked(true);
            assert!(!lane.moves());
        }
        lane.asked(true);
        lane.asked(true);
        assert!(lane.moves());
        let lane = Lane::new(true, true);
        lane.asked(true);
        assert!(!lane.moves());
        lane.asked(false);
        assert!(lane.moves());
        let lane = Lane::new(true, false);
        lane.asked(false);
        assert!(!lane.moves(), "no players come there");
    }
}
