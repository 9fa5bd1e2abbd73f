//! Refusals to a connection that keeps asking are held back. HTTP/1 reads the next request only after the answer, so
//! such a socket is read less often; with HTTP/2 it is the stream that waits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Refusals within [`FORGET_MS`] of each other that are answered at once.
const FREE: u64 = 1;
/// A connection that has not asked for so long after its last refusal was answered begins anew, in milliseconds.
const FORGET_MS: u64 = 1_000;
/// The first hold, in milliseconds; it doubles with each further refusal.
const HOLD_MIN_MS: u64 = 25;
/// So many refusals a second to those who ask again at once, about an eighth of a core: the more of them are held, the longer.
/// From 7,200 of them on the longest hold is the bound.
const REFUSALS_PER_S: u64 = 8_000;
/// The longest hold, in milliseconds: less than the second that impatient clients wait, for they come back on new connections.
const HOLD_MAX_MS: u64 = 900;
/// Up to here nobody shortens its hold by what it says it waits; in milliseconds.
const HOLD_ANYWAY_MS: u64 = 500;
/// A request that is let in takes so many refusals off the count: only who is refused nearly always is held back.
const FORGIVEN: u64 = 4;
/// The count stops here.
const STREAK_MAX: u64 = 1_000;
/// Bits of the count in the packed number; the rest is the time of the last refusal.
const STREAK_BITS: u32 = 16;

/// One connection's refusals: when the last was, and how many there were in a row.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// A refusal at `now_ms`; how long to hold it. Beyond [`HOLD_ANYWAY_MS`] at most half of what the caller says it waits,
    /// `patience_ms`: one that gives up comes back on a new connection, which costs more than an answer. `held` others are held
    /// back now.
    pub(crate) fn refused(&self, now_ms: u64, patience_ms: Option<u64>, held: usize) -> Duration {
        let packed = self.0.load(Ordering::Relaxed);
        let (last_ms, streak) = (packed >> STREAK_BITS, packed & ((1 << STREAK_BITS) - 1));
        let is_row = now_ms.saturating_sub(last_ms) <= FORGET_MS;
        let streak = if is_row { (streak + 1).min(STREAK_MAX) } else { 1 };
        let longest_ms = patience_ms.map_or(u64::MAX, |patience_ms| (patience_ms / 2).max(HOLD_ANYWAY_MS));
        let hold_ms = hold_ms(streak, held).min(longest_ms);
        // Two streams at once may count as one; the next refusal makes up for it.
        self.0
            .store((now_ms + hold_ms) << STREAK_BITS | streak, Ordering::Relaxed);
        Duration::from_millis(hold_ms)
    }

    /// A request was let in.
    pub(crate) fn admitted(&self) {
        let packed = self.0.load(Ordering::Relaxed);
        if packed != 0 {
            let streak = packed & ((1 << STREAK_BITS) - 1);
            let left = streak.saturating_sub(FORGIVEN);
            let packed = if left == 0 { 0 } else { packed - streak + left };
            self.0.store(packed, Ordering::Relaxed);
        }
    }
}

/// By how often one connection asks, and by how many do.
fn hold_ms(streak: u64, held: usize) -> u64 {
    match streak.checked_sub(FREE + 1) {
        None => 0,
        Some(doublings) => (HOLD_MIN_MS << doublings.min(8))
            .max(held as u64 * 1_000 / REFUSALS_PER_S)
            .min(HOLD_MAX_MS),
    }
}

/// Counts the refusals held back, so that there is a bound.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicUsize);

/// Room for one held refusal; given back when dropped.
pub(crate) struct HeldOne<'a>(&'a AtomicUsize);

impl Held {
    /// Room, unless `max` are held.
    pub(crate) fn one(&self, max: usize) -> Option<HeldOne<'_>> {
        let held = HeldOne(&self.0);
        (self.0.fetch_add(1, Ordering::Relaxed) < max).then_some(held)
    }

    /// How many are held.
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for HeldOne<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_asking_waits_longer_and_longer_up_to_a_bound() {
        let pace = Pace::default();
        let held: Vec<u64> = (0..10)
            .map(|_| u64::try_from(pace.refused(50_000, None, 0).as_millis()).unwrap())
            .collect();
        assert_eq!(held, [0, 25, 50, 100, 200, 400, 800, 900, 900, 900]);
        let answered_at = 50_000 + HOLD_MAX_MS;
        assert_eq!(pace.refused(answered_at + FORGET_MS, None, 0).as_millis(), 900);
        let answered_at = answered_at + FORGET_MS + HOLD_MAX_MS;
        assert_eq!(
            pace.refused(answered_at + FORGET_MS + 1, None, 0).as_millis(),
            0,
            "forgotten"
        );
    }

    #[test]
    fn the_more_keep_asking_the_longer_each_waits() {
        let second = |held| {
            let pace = Pace::default();
            let first = pace.refused(50_000, None, held);
            assert!(first.is_zero(), "whoever is refused once is told at once");
            pace.refused(50_000, None, held).as_millis()
        };
        assert_eq!([0, 100, 4_000, 100_000].map(second), [25, 25, 500, 900]);
    }

    #[test]
    fn nobody_is_held_until_it_gives_up() {
        let longest = |patience_ms| {
            let pace = Pace::default();
            (0..20).map(|_| pace.refused(50_000, patience_ms, 0).as_millis()).max()
        };
        assert_eq!(longest(Some(1_400)), Some(700));
        assert_eq!(longest(Some(1)), Some(500), "nobody gets round it by saying so");
        assert_eq!(longest(Some(60_000)), longest(None));
    }

    #[test]
    fn who_is_let_in_now_and_then_is_not_held_back() {
        let pace = Pace::default();
        for turn in 0..100 {
            assert_eq!(pace.refused(turn, None, 0).as_millis(), 0);
            pace.admitted();
        }
    }

    #[test]
    fn no_more_are_held_than_there_is_room_for() {
        let held = Held::default();
        let both = (held.one(2), held.one(2));
        assert!(both.0.is_some() && both.1.is_some());
        assert!(held.one(2).is_none());
        assert_eq!(held.count(), 2);
        drop(both);
        assert!(held.one(1).is_some());
    }
}
