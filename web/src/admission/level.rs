//! How much work is let in: falls below what was admitted while there are signs of overload, rises again when they are
//! gone, faster while it is far from what was good before. Pure; one step is one window.

/// Windows of trouble in a row that make an overload.
const OVERLOADED_WINDOWS: u32 = 2;
/// A cut by mild trouble; up to [`CUT_TIMES_MAX`] times it when the trouble is many times its target.
const CUT: f64 = 0.05;
const CUT_TIMES_MAX: f64 = 6.0;
/// Growth by window near the best known level.
const GROWTH: f64 = 0.01;
/// Growth by window while it is far below the best known level.
const GROWTH_FAST: f64 = 0.15;
/// Calm windows after which growth doubles, and doubles again.
const CALM_WINDOWS: u32 = 10;
const DOUBLINGS_MAX: u32 = 2;
/// How near to the best known level fast growth goes.
const NEAR: f64 = 0.9;
/// However bad the signs: at least so much of what is completed is let in, so that a backlog drains and the house does
/// not stand empty behind it.
const DRAIN: f64 = 0.7;
/// As before, when the trouble is [`DEEP`] times its target: the first seconds of a storm let in many times too much.
const DRAIN_DEEP: f64 = 0.3;
const DEEP: f64 = 10.0;
/// However long the trouble: at least so much of what was good before it.
const KEEP: f64 = 0.1;
/// Windows in a row in which nothing was shed, after which there is no limit.
const QUIET_WINDOWS: u32 = 10;
/// Weight of the newest window in what was good.
const FRESH: f64 = 0.1;

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
    /// Sure at once, without a second window.
    pub(crate) is_certain: bool,
}

/// The limit, and what it has learnt.
#[derive(Debug, Clone)]
pub(crate) struct Level {
    limit: f64,
    /// Mean of what was admitted and answered while all was well.
    good: f64,
    /// What to come back to fast after the trouble.
    goal: f64,
    troubled_windows: u32,
    calm_windows: u32,
    quiet_windows: u32,
}

impl Default for Level {
    fn default() -> Self {
        Level {
            limit: f64::INFINITY,
            good: 0.0,
            goal: 0.0,
            troubled_windows: 0,
            calm_windows: 0,
            quiet_windows: 0,
        }
    }
}

impl Level {
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
        if seen.trouble <= 1.0 {
            self.troubled_windows = 0;
            self.rise(seen);
            return;
        }
        self.quiet_windows = 0;
        let was_overloaded = self.is_overloaded();
        self.troubled_windows = if seen.is_certain {
            self.troubled_windows.max(OVERLOADED_WINDOWS)
        } else {
            self.troubled_windows.saturating_add(1)
        };
        if self.is_overloaded() {
            self.fall(seen, floor, !was_overloaded);
        }
    }

    fn fall(&mut self, seen: Seen, floor: f64, begins: bool) {
        self.calm_windows = 0;
        // Before there was a limit, more came in than could be done; what was completed says how much could.
        let could = if seen.completed > 0.0 {
            seen.admitted.min(seen.completed)
        } else {
            seen.admitted
        };
        let base = if self.limit.is_finite() {
            self.limit.min(seen.admitted)
        } else {
            could
        };
        if begins {
            self.goal = base.max(self.good);
        }
        let cut = CUT * (seen.trouble / 2.0).clamp(1.0, CUT_TIMES_MAX);
        let drain = if seen.trouble > DEEP { DRAIN_DEEP } else { DRAIN };
        let least = floor.max(seen.completed * drain).max(self.good * KEEP);
        self.limit = (base * (1.0 - cut)).max(least);
    }

    fn rise(&mut self, seen: Seen) {
        self.good += FRESH * (seen.admitted.min(seen.completed) - self.good);
        if self.limit.is_infinite() {
            return;
        }
        self.calm_windows = self.calm_windows.saturating_add(1);
        let is_at_ease = seen.trouble <= 0.5;
        let growth = if is_at_ease && self.limit < self.goal * NEAR {
            GROWTH_FAST
        } else if is_at_ease {
            let doublings = (self.calm_windows / CALM_WINDOWS).min(DOUBLINGS_MAX);
            GROWTH * f64::from(1u32 << doublings)
        } else {
            GROWTH
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
            is_certain: false,
        }
    }

    #[test]
    fn one_late_window_is_no_overload_two_are() {
        let mut level = Level::default();
        level.step(seen(100.0, 100.0, 100.0, 1.5), 1.0);
        assert_eq!(level.units(), f64::INFINITY);
        level.step(seen(100.0, 100.0, 100.0, 0.1), 1.0);
        level.step(seen(100.0, 100.0, 100.0, 1.5), 1.0);
        assert_eq!(level.units(), f64::INFINITY);
        level.step(seen(100.0, 100.0, 100.0, 1.5), 1.0);
        assert_eq!(level.units(), 95.0);
        let mut sure = Level::default();
        let certain = Seen {
            is_certain: true,
            ..seen(100.0, 100.0, 100.0, 1.5)
        };
        sure.step(certain, 1.0);
        assert_eq!(sure.units(), 95.0);
    }

    #[test]
    fn worse_trouble_cuts_more_and_never_below_the_floor() {
        let fall = |trouble| {
            let mut level = Level::default();
            let worse = Seen {
                is_certain: true,
                ..seen(1_000.0, 100.0, 10.0, trouble)
            };
            level.limit = 100.0;
            level.step(worse, 20.0);
            level.units()
        };
        assert_eq!((fall(1.1), fall(4.0), fall(100.0)), (95.0, 90.0, 70.0));
        let mut level = Level::default();
        for _ in 0..200 {
            level.step(seen(100.0, level.units().min(100.0), 0.0, 50.0), 20.0);
        }
        assert_eq!(level.units(), 20.0);
    }

    #[test]
    fn it_rises_slowly_near_the_goal_and_is_lifted_when_nothing_is_shed() {
        let mut level = Level {
            limit: 95.0,
            goal: 100.0,
            ..Level::default()
        };
        level.step(seen(500.0, 95.0, 95.0, 0.2), 1.0);
        assert!((level.units() - 95.95).abs() < 1e-9, "{}", level.units());
        level.limit = 20.0;
        level.step(seen(500.0, 20.0, 20.0, 0.2), 1.0);
        assert!((level.units() - 23.0).abs() < 1e-9, "{}", level.units());
        for _ in 0..QUIET_WINDOWS {
            assert!(level.units().is_finite());
            level.step(seen(10.0, 10.0, 10.0, 0.2), 1.0);
        }
        assert_eq!(level.units(), f64::INFINITY);
    }
}
