//! How much work is let in: while there are signs of overload, what is answered less the backlog that the signs show;
//! when they are gone it rises again, the faster the less there is of them. Pure; one step is one window.

/// Windows of trouble in a row that make an overload.
const OVERLOADED_WINDOWS: u32 = 2;
/// In what time a backlog is to be worked off, in milliseconds: who waits 200 ms in it is met by a cut of a fifth.
const DRAIN_MS: f64 = 1_000.0;
/// The least and the most that is cut off what is answered. Never all of it: what is answered is being done, and a
/// spike of lateness must not leave the house empty behind it.
const CUT: (f64, f64) = (0.05, 0.7);
/// Growth by window, whatever the signs are short of trouble.
const GROWTH: f64 = 0.01;
/// Further growth when there are no signs at all; less, the nearer they are to half of what would be trouble. A level
/// that rises by so much too far shows within a few windows.
const GROWTH_AT_EASE: f64 = 0.15;
/// The share of the most that was answered of late up to which the level may double in a window without signs: what was
/// done a moment ago can be done again once the trouble is over, and those who are sent away stay away for seconds.
const WELL_KNOWN: f64 = 0.5;
/// What is left of the most that was answered by the next window; half of it after seven seconds.
const FADING: f64 = 0.99;
/// Windows in a row in which nothing was shed, after which there is no limit.
const QUIET_WINDOWS: u32 = 10;
/// Weight of the newest window in what was good.
const FRESH: f64 = 0.1;
/// Weight of the newest window in what is answered: in a window that stood still little was, and in the next too much.
const FRESH_DONE: f64 = 0.3;

/// What one window has shown, in units of a window of standard length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Asked for.
    pub(crate) offered: f64,
    /// Let in.
    pub(crate) admitted: f64,
    /// Answered.
    pub(crate) completed: f64,
    /// The worst sign by its target; above 1 is trouble.
    pub(crate) trouble: f64,
    /// How long work waits behind other work, in milliseconds.
    pub(crate) wait_ms: f64,
    /// Sure at once, without a second window.
    pub(crate) is_certain: bool,
}

/// The limit, and what it has learnt.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    /// However long the trouble: at least so much of what was good before it.
    keep: f64,
    limit: f64,
    /// Mean of what was admitted and answered while all was well.
    good: f64,
    /// Mean of what was answered in the last windows.
    done: f64,
    /// The most of it, fading.
    most_done: f64,
    troubled_windows: u32,
    quiet_windows: u32,
}

impl Level {
    /// No limit yet; never below `keep` of what was good.
    pub(crate) fn new(keep: f64) -> Self {
        Level {
            keep,
            limit: f64::INFINITY,
            good: 0.0,
            done: 0.0,
            most_done: 0.0,
            troubled_windows: 0,
            quiet_windows: 0,
        }
    }

    /// Units a window; infinite when there is no limit.
    pub(crate) fn units(&self) -> f64 {
        self.limit
    }

    /// Do the signs last?
    pub(crate) fn is_overloaded(&self) -> bool {
        self.troubled_windows >= OVERLOADED_WINDOWS
    }

    /// One window further; never below `floor`.
    pub(crate) fn step(&mut self, seen: Seen, floor: f64) {
        self.done += FRESH_DONE * (seen.completed - self.done);
        self.most_done = self.done.max(self.most_done * FADING);
        if seen.trouble <= 1.0 {
            self.troubled_windows = 0;
            self.rise(seen);
            return;
        }
        self.quiet_windows = 0;
        self.troubled_windows = if seen.is_certain {
            self.troubled_windows.max(OVERLOADED_WINDOWS)
        } else {
            self.troubled_windows.saturating_add(1)
        };
        if self.is_overloaded() {
            self.fall(seen, floor);
        }
    }

    fn fall(&mut self, seen: Seen, floor: f64) {
        let cut = (seen.wait_ms / DRAIN_MS).clamp(CUT.0, CUT.1);
        let least = floor.max(self.good * self.keep);
        self.limit = (self.done * (1.0 - cut)).max(least);
    }

    fn rise(&mut self, seen: Seen) {
        self.good += FRESH * (seen.admitted.min(seen.completed) - self.good);
        if self.limit.is_infinite() {
            return;
        }
        let ease = (1.0 - 2.0 * seen.trouble).max(0.0);
        let growth = if self.limit < WELL_KNOWN * self.most_done {
            ease.max(GROWTH)
        } else {
            GROWTH + GROWTH_AT_EASE * ease
        };
        let is_quiet = seen.offered <= self.limit;
        self.quiet_windows = if is_quiet {
            self.quiet_windows.saturating_add(1)
        } else {
            0
        };
        if self.quiet_windows >= QUIET_WINDOWS {
            self.limit = f64::INFINITY;
            return;
        }
        // A limit that holds nobody back has not been tried: it waits for the offer.
        if !is_quiet {
            self.limit *= 1.0 + growth;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(offered: f64, admitted: f64, completed: f64, trouble: f64) -> Seen {
        Seen {
            offered,
            admitted,
            completed,
            trouble,
            wait_ms: trouble * 20.0,
            is_certain: false,
        }
    }

    /// One that has seen a hundred units a window for long.
    fn busy() -> Level {
        let mut level = Level::new(0.1);
        for _ in 0..100 {
            level.step(seen(100.0, 100.0, 100.0, 0.1), 1.0);
        }
        level
    }

    fn is_near(level: &Level, units: f64) -> bool {
        (level.units() - units).abs() < 0.1
    }

    #[test]
    fn one_late_window_is_no_overload_two_are() {
        let mut level = busy();
        level.step(seen(100.0, 100.0, 100.0, 1.5), 1.0);
        assert_eq!(level.units(), f64::INFINITY);
        level.step(seen(100.0, 100.0, 100.0, 0.1), 1.0);
        level.step(seen(100.0, 100.0, 100.0, 1.5), 1.0);
        assert_eq!(level.units(), f64::INFINITY);
        level.step(seen(100.0, 100.0, 100.0, 1.5), 1.0);
        assert!(is_near(&level, 95.0), "{}", level.units());
        let mut sure = busy();
        let certain = Seen {
            is_certain: true,
            ..seen(100.0, 100.0, 100.0, 1.5)
        };
        sure.step(certain, 1.0);
        assert!(is_near(&sure, 95.0), "{}", sure.units());
    }

    #[test]
    fn the_cut_follows_the_backlog_and_what_is_answered() {
        let fall = |wait_ms| {
            let mut level = busy();
            let worse = Seen {
                is_certain: true,
                wait_ms,
                ..seen(1_000.0, 500.0, 100.0, 9.0)
            };
            level.step(worse, 20.0);
            level.units()
        };
        for (wait_ms, units) in [(10.0, 95.0), (200.0, 80.0), (500.0, 50.0), (9_000.0, 30.0)] {
            assert!((fall(wait_ms) - units).abs() < 0.1, "{wait_ms} ms: {}", fall(wait_ms));
        }
    }

    #[test]
    fn a_window_that_stood_still_does_not_empty_the_house() {
        let mut level = busy();
        for completed in [10.0, 10.0] {
            level.step(
                Seen {
                    wait_ms: 280.0,
                    ..seen(100.0, 100.0, completed, 14.0)
                },
                1.0,
            );
        }
        assert!(level.units() > 35.0, "{}", level.units());
        level.step(
            Seen {
                wait_ms: 150.0,
                ..seen(100.0, 40.0, 250.0, 7.5)
            },
            1.0,
        );
        assert!(
            level.units() > 90.0,
            "what is answered says what can be: {}",
            level.units()
        );
    }

    #[test]
    fn trouble_without_an_end_leaves_the_floor_and_a_part_of_what_was_good() {
        for (keep, floor, left) in [(0.1, 1.0, 10.0), (0.5, 1.0, 50.0), (0.1, 20.0, 20.0)] {
            let mut level = Level { keep, ..busy() };
            for _ in 0..200 {
                level.step(seen(100.0, level.units().min(100.0), 0.0, 50.0), floor);
            }
            assert!(is_near(&level, left), "{}", level.units());
        }
    }

    #[test]
    fn after_the_trouble_it_comes_back_in_a_few_windows_to_half_of_what_was_done_and_then_with_care() {
        let mut level = busy();
        level.limit = 5.0;
        let mut limits = Vec::new();
        for _ in 0..5 {
            let admitted = level.units();
            level.step(seen(1_000.0, admitted, admitted, 0.0), 1.0);
            limits.push(level.units().round());
        }
        assert_eq!(limits, [10.0, 20.0, 40.0, 80.0, 93.0]);
        level.limit = 5.0;
        level.step(seen(1_000.0, 5.0, 5.0, 0.5), 1.0);
        assert!(is_near(&level, 5.05), "not while there are signs: {}", level.units());
    }

    #[test]
    fn it_rises_the_faster_the_less_trouble_there_is_and_is_lifted_when_nothing_is_shed() {
        let mut level = Level {
            limit: 100.0,
            ..Level::new(0.1)
        };
        let mut rises = |trouble| {
            level.limit = 100.0;
            level.step(seen(500.0, 100.0, 100.0, trouble), 1.0);
            level.units()
        };
        assert!((rises(0.0) - 116.0).abs() < 1e-9);
        assert!((rises(0.25) - 108.5).abs() < 1e-9);
        assert!((rises(0.5) - 101.0).abs() < 1e-9);
        assert!((rises(1.0) - 101.0).abs() < 1e-9);
        for _ in 0..QUIET_WINDOWS {
            assert!(level.units().is_finite());
            level.step(seen(10.0, 10.0, 10.0, 0.2), 1.0);
        }
        assert_eq!(level.units(), f64::INFINITY);
    }
}
