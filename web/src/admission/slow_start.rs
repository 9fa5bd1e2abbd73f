//! After a start: logins and registrations begin at a part of what is asked for and rise while the runtime is calm. Caches are
//! cold then, the estimates of costs are guesses, and everybody who was cut off comes at once. Token checks and refreshes
//! are not held down: what they need is loaded before anything listens.
//!
//! Pure: times come in. One value lives as long as the controller that asks it.

/// The part that is let in at first.
pub const FIRST_ROOM: f64 = 0.3;
/// How much the part rises in a second of calm.
pub const RISE_PER_S: f64 = 0.1;
/// A look counts for at most so long, in milliseconds: of what came after it nobody knows whether it was calm.
pub const LOOK_COUNTS_MS: u64 = 1_000;

/// How much of the logins and registrations asked for is let in after a start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// As of the last look.
    room: f64,
    looked_ms: u64,
    is_calm: bool,
}

impl SlowStart {
    /// A process that starts at `now_ms`, on any clock that does not run backwards.
    #[must_use]
    pub fn begin(now_ms: u64) -> Self {
        SlowStart {
            room: FIRST_ROOM,
            looked_ms: now_ms,
            is_calm: false,
        }
    }

    /// One that is over, or switched off: everything is let in.
    #[must_use]
    pub fn over() -> Self {
        SlowStart {
            room: 1.0,
            looked_ms: 0,
            is_calm: false,
        }
    }

    /// Somebody looked: from `now_ms` on it is calm or not. While it is not, the room stays as it is; holding down what is
    /// too much is the business of levels.
    pub fn look(&mut self, now_ms: u64, is_calm: bool) {
        self.room = self.room(now_ms);
        self.looked_ms = self.looked_ms.max(now_ms);
        self.is_calm = is_calm;
    }

    /// The part that is let in at `now_ms`, from [`FIRST_ROOM`] to 1.
    #[must_use]
    pub fn room(&self, now_ms: u64) -> f64 {
        if !self.is_calm {
            return self.room;
        }
        let calm_ms = now_ms.saturating_sub(self.looked_ms).min(LOOK_COUNTS_MS);
        (self.room + calm_ms as f64 / 1_000.0 * RISE_PER_S).min(1.0)
    }

    /// Is everything let in, for good?
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.room >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN_MS: u64 = 5_000;

    /// Looks every 100 ms from the start; the room after each.
    fn rooms(looks: usize, is_calm: impl Fn(u64) -> bool) -> Vec<f64> {
        let mut slow = SlowStart::begin(BEGUN_MS);
        (0..looks as u64)
            .map(|look| {
                let now_ms = BEGUN_MS + look * 100;
                slow.look(now_ms, is_calm(look * 100));
                slow.room(now_ms)
            })
            .collect()
    }

    fn is_near(room: f64, expected: f64) -> bool {
        (room - expected).abs() < 1e-9
    }

    #[test]
    fn it_begins_at_three_tenths_and_is_over_after_seven_calm_seconds() {
        let rooms = rooms(100, |_| true);
        assert!(is_near(rooms[0], 0.3) && is_near(rooms[10], 0.4) && is_near(rooms[35], 0.65));
        assert!(rooms.is_sorted());
        assert!(rooms[69] < 1.0 && is_near(rooms[70], 1.0) && is_near(rooms[99], 1.0));
    }

    #[test]
    fn it_stands_still_while_it_is_not_calm() {
        let rooms = rooms(100, |at_ms| !(1_000..4_000).contains(&at_ms));
        assert!(is_near(rooms[10], 0.4) && is_near(rooms[39], 0.4) && is_near(rooms[40], 0.4));
        assert!(is_near(rooms[50], 0.5) && !is_near(rooms[99], 1.0));
    }

    #[test]
    fn between_looks_it_rises_and_a_look_counts_for_a_second() {
        let mut slow = SlowStart::begin(0);
        assert!(is_near(slow.room(60_000), 0.3), "nobody has looked");
        slow.look(60_000, true);
        assert!(is_near(slow.room(60_500), 0.35));
        assert!(is_near(slow.room(600_000), 0.4));
        slow.look(600_000, false);
        assert!(is_near(slow.room(700_000), 0.4));
        slow.look(599_000, true);
        assert!(is_near(slow.room(599_500), 0.4), "a look from before changes no time");
    }

    #[test]
    fn once_over_it_stays_over() {
        let mut slow = SlowStart::over();
        assert!(slow.is_over());
        slow.look(1, false);
        assert!(slow.is_over() && is_near(slow.room(2), 1.0));
        let mut slow = SlowStart::begin(0);
        for second in 0..=8 {
            slow.look(second * 1_000, true);
        }
        assert!(slow.is_over());
        slow.look(9_000, false);
        assert!(slow.is_over());
    }
}
