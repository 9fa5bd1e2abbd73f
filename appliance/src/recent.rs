//! The mean of what was seen lately, in two spans of fixed length: the one that is running and the one before.

/// A mean over the last one to two spans. Time comes in as milliseconds of whatever clock never steps back.
#[derive(Debug, Clone)]
pub struct RecentMean {
    span_ms: u64,
    begun_ms: u64,
    running: (u64, u64),
    before: (u64, u64),
}

impl RecentMean {
    /// Nothing seen yet; `span_ms` is at least 1.
    #[must_use]
    pub fn new(span_ms: u64) -> Self {
        Self {
            span_ms: span_ms.max(1),
            begun_ms: 0,
            running: (0, 0),
            before: (0, 0),
        }
    }

    /// Counts `count` values that sum up to `sum`.
    pub fn add(&mut self, at_ms: u64, sum: u64, count: u64) {
        self.roll(at_ms);
        self.running.0 = self.running.0.saturating_add(sum);
        self.running.1 = self.running.1.saturating_add(count);
    }

    /// The mean; `None` when nothing was seen.
    pub fn mean(&mut self, at_ms: u64) -> Option<u64> {
        self.roll(at_ms);
        let sum = self.running.0.saturating_add(self.before.0);
        sum.checked_div(self.running.1.saturating_add(self.before.1))
    }

    fn roll(&mut self, at_ms: u64) {
        let spans = at_ms.saturating_sub(self.begun_ms) / self.span_ms;
        if spans == 0 {
            return;
        }
        let running = std::mem::take(&mut self.running);
        self.before = if spans == 1 { running } else { (0, 0) };
        self.begun_ms += spans * self.span_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_two_spans_is_gone() {
        let mut seen = RecentMean::new(100);
        assert_eq!(seen.mean(0), None);
        seen.add(1_005, 10, 1);
        seen.add(1_099, 30, 1);
        assert_eq!(seen.mean(1_099), Some(20));
        seen.add(1_150, 260, 2);
        assert_eq!(seen.mean(1_199), Some(75));
        assert_eq!(seen.mean(1_299), Some(130));
        assert_eq!(seen.mean(1_300), None);
        seen.add(9_000, 0, 1);
        assert_eq!(seen.mean(9_199), Some(0));
        assert_eq!(seen.mean(8_000), Some(0), "a clock that steps back changes nothing");
    }
}
