//! How much of the processors' time checks may have before all others: no clock and no threads here.

/// Span of a budget, in nanoseconds.
pub const WINDOW_NS: u64 = 100_000_000;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Checks go first.
    pub first: bool,
    /// The budget of this window is spent as of this look.
    pub just_spent: bool,
    /// How long the window was that is over as of this look, in nanoseconds.
    pub ended_ns: Option<u64>,
}

/// The budget of a window.
#[derive(Debug)]
pub struct Budget {
    max_ns: u64,
    began_ns: u64,
    used_before_ns: u64,
    spent: bool,
}

impl Budget {
    /// So many percent of the time of so many processors.
    pub fn new(percent: u32, processors: usize) -> Self {
        let all_ns = WINDOW_NS.saturating_mul(processors as u64);
        Self {
            max_ns: all_ns / 100 * u64::from(percent.min(100)),
            began_ns: 0,
            used_before_ns: 0,
            spent: false,
        }
    }

    /// Looks at the time and at the processor time of the threads of checks so far, both since any moment; a new window begins
    /// when the time of the old one is over.
    pub fn look(&mut self, now_ns: u64, used_ns: u64) -> Verdict {
        let span_ns = now_ns.saturating_sub(self.began_ns);
        if span_ns >= WINDOW_NS {
            (self.began_ns, self.used_before_ns, self.spent) = (now_ns, used_ns, false);
            return Verdict {
                first: true,
                just_spent: false,
                ended_ns: Some(span_ns),
            };
        }
        let spent = self.spent || used_ns.saturating_sub(self.used_before_ns) >= self.max_ns;
        let just_spent = spent && !self.spent;
        self.spent = spent;
        Verdict {
            first: !spent,
            just_spent,
            ended_ns: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn checks_go_first_until_their_part_of_the_window_is_spent() {
        let mut budget = Budget::new(75, 1);
        let firsts: Vec<bool> = (0..25)
            .map(|look| budget.look(look * 10 * MS, look * 10 * MS).first)
            .collect();
        // All of a processor's time: 75 of each 100 ms, seen at the look after.
        let of_window = [true, true, true, true, true, true, true, true, false, false];
        let expected: Vec<bool> = of_window.iter().copied().cycle().take(25).collect();
        assert_eq!(firsts, expected);
    }

    #[test]
    fn a_spent_window_counts_once_and_stays_spent() {
        let mut budget = Budget::new(50, 1);
        let spent = (0..10).filter(|look| budget.look(look * 10 * MS, look * 10 * MS).just_spent);
        assert_eq!(spent.count(), 1);
        assert!(
            !budget.look(95 * MS, 40 * MS).first,
            "a thread that left takes its time with it"
        );
        assert!(budget.look(100 * MS, 100 * MS).first);
    }

    #[test]
    fn the_budget_is_of_all_processors() {
        let mut budget = Budget::new(75, 4);
        assert!((0..30).all(|look| budget.look(look * 10 * MS, look * 20 * MS).first));
    }

    #[test]
    fn a_window_ends_at_the_first_look_after_its_time() {
        let mut budget = Budget::new(75, 1);
        let ends: Vec<Option<u64>> = [90, 120, 130, 220].map(|now| budget.look(now * MS, 0).ended_ns).into();
        assert_eq!(ends, [None, Some(120 * MS), None, Some(100 * MS)]);
    }
}
