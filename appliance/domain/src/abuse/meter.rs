//! One limit over one dimension: the sketch finds the keys that come often, a cell decides about them exactly.
//!
//! A key may come `burst` times at once and `per_s` times a second for ever. Until it came a quarter of its burst
//! within two windows it has no cell and is let through; so a key may have up to that quarter more, once. In return a
//! wrong count of the sketch costs a cell and never refuses anybody. A window is as long as a used-up burst takes to
//! come back: a key cannot exceed its limit without exceeding the threshold in the sketch before.

use super::cells::{AHEAD_MAX_US, Cells};
use super::key::{Key, Seeds};
use super::options::Limit;
use super::sketch::{COUNT_MAX, Sketch, Slots};

/// Shortest and longest window, in milliseconds.
const WINDOW_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;
/// A burst's share that passes before a key gets its cell.
const SOFT_SHARE: u32 = 4;
/// A clock is set back by a day at most. A time that lies further ahead than that allows is one so long past that it
/// cannot be told from one ahead.
const SET_BACK_MAX_US: u64 = 86_400_000_000;
/// Longest that a used-up burst takes to come back; a larger burst is cut.
const BACK_MAX_US: u64 = 90 * 86_400_000_000;
const _: () = assert!(BACK_MAX_US + SET_BACK_MAX_US < AHEAD_MAX_US);

/// The meter.
pub(super) struct Meter {
    pub(super) limit: Limit,
    tag: u8,
    interval_us: u64,
    /// How far the arrival time may lie ahead of an event that is let through.
    tolerance_us: u64,
    window_ms: u64,
    soft: u32,
    sketch: Sketch,
}

/// Where a meter keeps what it knows of an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    key: Key,
    slots: Slots,
}

impl Meter {
    /// A meter of `limit`; `tag` tells its keys from those of other meters.
    pub(super) fn new(limit: Limit, tag: u8) -> Self {
        let interval_us = limit.interval_us();
        let back_us = interval_us.saturating_mul(u64::from(limit.burst)).min(BACK_MAX_US);
        Self {
            limit,
            tag,
            interval_us,
            tolerance_us: back_us.saturating_sub(interval_us),
            window_ms: (back_us / 1_000).clamp(*WINDOW_MS.start(), *WINDOW_MS.end()),
            soft: (limit.burst / SOFT_SHARE).min(COUNT_MAX),
            sketch: Sketch::default(),
        }
    }

    /// Whether the limit is switched off.
    pub(super) fn is_off(&self) -> bool {
        self.limit.burst == 0
    }

    /// The meter's spot of an id, and begins to bring near what lies there: several are asked for before the first is
    /// waited for.
    pub(super) fn spot(&self, cells: &Cells, seeds: &Seeds, id: u128) -> Spot {
        let key = seeds.key(self.tag, id);
        let spot = Spot {
            key,
            slots: seeds.slots(key),
        };
        if !self.is_off() {
            if self.soft > 0 {
                self.sketch.touch(spot.slots);
            }
            cells.touch(key);
        }
        spot
    }

    /// Counts an event; answers in how many milliseconds the next may come when this one is beyond the limit. What is
    /// beyond the limit is not counted.
    pub(super) fn count(&self, cells: &Cells, spot: Spot, now_ms: u64) -> Option<u64> {
        if self.is_off() {
            return None;
        }
        let is_often = self.soft == 0 || self.sketch.is_often(spot.slots, now_ms / self.window_ms, self.soft);
        let counted = |ahead_us| {
            let ahead_us = self.pulled_in_us(ahead_us);
            match self.wait_ms(ahead_us) {
                None => (ahead_us + self.interval_us, None),
                wait_ms => (ahead_us, wait_ms),
            }
        };
        cells
            .change(spot.key, now_ms.saturating_mul(1_000), is_often, counted)
            .flatten()
    }

    /// In how many milliseconds the next event may come, when one now would be beyond the limit. Counts nothing.
    pub(super) fn peek(&self, cells: &Cells, seeds: &Seeds, id: u128, now_ms: u64) -> Option<u64> {
        if self.is_off() {
            return None;
        }
        let looked = |ahead_us| {
            let ahead_us = self.pulled_in_us(ahead_us);
            (ahead_us, self.wait_ms(ahead_us))
        };
        cells
            .change(seeds.key(self.tag, id), now_ms.saturating_mul(1_000), false, looked)
            .flatten()
    }

    /// How long the arrival time asks to wait, when it lies too far ahead.
    fn wait_ms(&self, ahead_us: u64) -> Option<u64> {
        (ahead_us > self.tolerance_us).then(|| (ahead_us - self.tolerance_us).div_ceil(1_000))
    }

    /// No event puts a time further ahead than one interval beyond the tolerance: a time that lies there was written
    /// before the clock was set back, and is pulled in, or the key would be held back until the clock is there again.
    fn pulled_in_us(&self, ahead_us: u64) -> u64 {
        let most_us = self.tolerance_us + self.interval_us;
        if ahead_us > most_us + SET_BACK_MAX_US {
            return 0;
        }
        ahead_us.min(most_us)
    }

    /// How long after its last event a key is sure to have all its burst again, in milliseconds.
    pub(super) fn back_ms(&self) -> u64 {
        (self.tolerance_us + self.interval_us) / 1_000 + 1
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.sketch.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abuse::options::LimitAction;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    const START_MS: u64 = 1_700_000_000_000;

    fn limit(per_s: f64, burst: u32) -> Limit {
        Limit {
            name: "test",
            per_s,
            burst,
            action: LimitAction::Refuse,
        }
    }

    fn seeds() -> Seeds {
        Seeds::new(&std::array::from_fn(|n| (n as u8).wrapping_mul(91)))
    }

    impl Meter {
        fn count_id(&self, cells: &Cells, seeds: &Seeds, id: u128, now_ms: u64) -> Option<u64> {
            self.count(cells, self.spot(cells, seeds, id), now_ms)
        }
    }

    /// The algorithm as it is written down, with all memory it wants; `None` when the event is beyond the limit.
    #[derive(Default)]
    struct Exact(HashMap<u128, u64>);

    impl Exact {
        fn admits(&mut self, id: u128, now_us: u64, interval_us: u64, burst: u64) -> bool {
            let arrival_us = self.0.entry(id).or_default();
            if *arrival_us > now_us + interval_us * (burst - 1) {
                return false;
            }
            *arrival_us = (*arrival_us).max(now_us) + interval_us;
            true
        }
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let (meter, cells, seeds) = (Meter::new(limit(2.0, 3), 1), Cells::new(70), seeds());
        let ask = |at_ms| meter.count_id(&cells, &seeds, 7, START_MS + at_ms);
        assert_eq!([ask(0), ask(0), ask(0)], [None; 3]);
        assert_eq!(ask(0), Some(500));
        assert_eq!(ask(300), Some(200));
        assert_eq!(ask(500), None);
        assert_eq!(ask(501), Some(499));
        assert_eq!([ask(2_500), ask(2_500), ask(2_500)], [None; 3]);
        assert!(ask(2_500).is_some());
        assert_eq!(meter.peek(&cells, &seeds, 7, START_MS + 2_500), Some(500));
        assert_eq!(meter.peek(&cells, &seeds, 7, START_MS + 3_000), None);
        assert_eq!(meter.peek(&cells, &seeds, 8, START_MS), None);
    }

    #[test]
    fn a_limit_without_a_burst_is_off() {
        let (meter, cells, seeds) = (Meter::new(limit(1.0, 0), 1), Cells::new(70), seeds());
        for _ in 0..1_000 {
            assert_eq!(meter.count_id(&cells, &seeds, 7, START_MS), None);
        }
        assert_eq!((meter.bytes(), cells.bytes()), (0, 0));
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out_for_longer_than_a_burst() {
        let (meter, cells, seeds) = (Meter::new(limit(1.0, 3), 1), Cells::new(70), seeds());
        for _ in 0..3 {
            assert_eq!(meter.count_id(&cells, &seeds, 7, START_MS + 86_400_000), None);
        }
        assert_eq!(meter.peek(&cells, &seeds, 7, START_MS), Some(1_000));
        assert_eq!(meter.count_id(&cells, &seeds, 7, START_MS + 400), Some(600));
        assert_eq!(meter.count_id(&cells, &seeds, 7, START_MS + 1_000), None);
    }

    #[test]
    fn who_comes_back_after_months_begins_anew() {
        let (meter, cells, seeds) = (Meter::new(limit(1.0, 3), 1), Cells::new(70), seeds());
        for days in [0, 50, 100, 150, 200, 1_000] {
            let now_ms = START_MS + days * 86_400_000;
            let answers: Vec<bool> = (0..4)
                .map(|_| meter.count_id(&cells, &seeds, 7, now_ms).is_none())
                .collect();
            assert_eq!(answers, [true, true, true, false], "after {days} days");
        }
    }

    #[test]
    fn no_limit_is_too_strange_to_be_computed() {
        for (per_s, burst) in [
            (f64::NAN, 5),
            (-1.0, 5),
            (0.0, u32::MAX),
            (f64::INFINITY, 1),
            (1e-30, 7),
        ] {
            let (meter, cells, seeds) = (Meter::new(limit(per_s, burst), 1), Cells::new(70), seeds());
            for n in 0..20 {
                let _ = meter.count_id(&cells, &seeds, 1, n);
                let _ = meter.count_id(&cells, &seeds, 1, u64::MAX - n);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Without pressure the meter is the exact algorithm, but for the quarter of a burst that passes before a key
        /// has a cell. A key that the exact one never refused is never refused; and no key gets more than burst, that
        /// quarter and the rate in any stretch of time. Limits with a burst below four decide exactly alike.
        #[test]
        fn it_decides_as_the_exact_algorithm_does(
            burst in 1u32..24,
            interval_ms in 1u64..3_000,
            events in proptest::collection::vec((0u128..6, 0u64..2_000), 1..400),
        ) {
            let limit = limit(1_000.0 / interval_ms as f64, burst);
            let interval_us = limit.interval_us();
            let (meter, cells, seeds) = (Meter::new(limit, 1), Cells::new(10_000), seeds());
            let (mut exact, mut refused, mut admitted) = (Exact::default(), HashSet::new(), HashMap::new());
            let soft = u64::from(burst / SOFT_SHARE);
            let mut now_ms = START_MS;
            for (id, gap_ms) in events {
                now_ms += gap_ms * u64::from(gap_ms % 3 == 0);
                let passes = meter.count_id(&cells, &seeds, id, now_ms).is_none();
                let must_pass = exact.admits(id, now_ms * 1_000, interval_us, u64::from(burst));
                if soft == 0 {
                    prop_assert_eq!(passes, must_pass);
                }
                if !must_pass {
                    refused.insert(id);
                }
                prop_assert!(passes || refused.contains(&id), "refused although the key kept its limit");
                let times: &mut Vec<u64> = admitted.entry(id).or_default();
                if passes {
                    times.push(now_ms * 1_000);
                    for (n, since_us) in times.iter().enumerate() {
                        let stretch_us = now_ms * 1_000 - since_us;
                        let most = u64::from(burst) + soft + stretch_us / interval_us;
                        prop_assert!((times.len() - n) as u64 <= most, "more than {} in {} us", most, stretch_us);
                    }
                }
            }
        }
    }
}
