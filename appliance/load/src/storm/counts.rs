//! What is counted about a crowd, by tenths of a second since its run began.

// A bucket is there before it is asked for.
#![allow(clippy::indexing_slicing)]

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// Length of a bucket.
pub const BUCKET: Duration = Duration::from_millis(100);
/// Buckets kept: five minutes. What comes later is counted in the last.
const BUCKETS_MAX: usize = 3_000;

/// What happened in a tenth of a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bucket {
    /// Requests that were sent.
    pub attempts: u64,
    /// Those of them that no failure led to.
    pub firsts: u64,
    /// Work units of right answers within their deadlines, by the time of the answer.
    pub goodput: f64,
}

/// What came of challenges, which ask for a proof of work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Proofs {
    /// Challenges that came; those of clients that do no work among them.
    pub asked: u64,
    /// Those of them that met a proof: it was wrong, used, or too late.
    pub again: u64,
    /// Challenges that were solved.
    pub solved: u64,
    /// Challenges that ended before they were solved.
    pub expired: u64,
    /// Challenges for which the loader had no room, though each device would have worked on its own: these clients come later than
    /// the server let them.
    pub dropped: u64,
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            asked,
            again,
            solved,
            expired,
            dropped,
        } = self;
        write!(
            f,
            "{asked} proofs of work asked for, {again} of them again; {solved} solved, {expired} expired, "
        )?;
        write!(f, "{dropped} not begun because the loader had too many")
    }
}

/// What happened to a crowd.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counts {
    buckets: Vec<Bucket>,
    /// Logins of clients who had no good token.
    pub needed_logins: u64,
    /// Logins of clients whose token was good.
    pub extra_logins: u64,
    /// Good tokens and right passwords that were called bad.
    pub false_invalids: u64,
    /// Connections refused or lost, and answers waited for in vain.
    pub lost: u64,
    /// Proofs of work.
    pub proofs: Proofs,
    /// Milliseconds from the beginning until a client was in, in the order in which they came.
    pub in_at_ms: Vec<u64>,
}

impl Counts {
    /// The bucket of a moment, given as the time since the beginning.
    pub fn at(&mut self, since_begin: Duration) -> &mut Bucket {
        let number = usize::try_from(since_begin.as_millis() / BUCKET.as_millis()).unwrap_or(BUCKETS_MAX);
        let number = number.min(BUCKETS_MAX - 1);
        if self.buckets.len() <= number {
            self.buckets.resize(number + 1, Bucket::default());
        }
        &mut self.buckets[number]
    }

    /// Work units a second between two moments; whole buckets count.
    #[must_use]
    pub fn goodput(&self, from: Duration, to: Duration) -> f64 {
        let buckets = self.between(from, to);
        let sum: f64 = buckets.iter().map(|bucket| bucket.goodput).sum();
        sum / (buckets.len().max(1) as f64 * BUCKET.as_secs_f64())
    }

    /// Requests for each one that no failure led to, between two moments.
    #[must_use]
    pub fn amplification(&self, from: Duration, to: Duration) -> f64 {
        let buckets = self.between(from, to);
        let sum = |of: fn(&Bucket) -> u64| buckets.iter().map(of).sum::<u64>() as f64;
        sum(|bucket| bucket.attempts) / sum(|bucket| bucket.firsts).max(1.0)
    }

    /// How long after `from` the goodput was at `level` again and stayed there for `span` on average; `None` when it never was.
    #[must_use]
    pub fn recovered_after(&self, from: Duration, level: f64, span: Duration) -> Option<Duration> {
        let end = u32::try_from(self.buckets.len()).unwrap_or(u32::MAX);
        let first = u32::try_from(from.as_millis().div_ceil(BUCKET.as_millis())).unwrap_or(end);
        let found = (first..end).find(|number| {
            let begin = BUCKET * *number;
            begin + span <= BUCKET * end && self.goodput(begin, begin + span) >= level
        })?;
        Some((BUCKET * found).saturating_sub(from))
    }

    fn between(&self, from: Duration, to: Duration) -> &[Bucket] {
        let number = |at: Duration| usize::try_from(at.as_millis() / BUCKET.as_millis()).unwrap_or(usize::MAX);
        let end = number(to).min(self.buckets.len());
        self.buckets.get(number(from).min(end)..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64) -> Duration {
        BUCKET * u32::try_from(tenths).unwrap()
    }

    #[test]
    fn goodput_and_amplification_of_a_span() {
        let mut counts = Counts::default();
        for tenth in 0..20 {
            let bucket = counts.at(at(tenth) + Duration::from_millis(50));
            bucket.goodput += if (5..10).contains(&tenth) { 0.0 } else { 10.0 };
            bucket.attempts += 3;
            bucket.firsts += 2;
        }
        assert_eq!(counts.goodput(at(0), at(5)), 100.0);
        assert_eq!(counts.goodput(at(0), at(10)), 50.0);
        assert_eq!(counts.amplification(at(3), at(9)), 1.5);
        assert_eq!(counts.goodput(at(90), at(99)), 0.0, "nothing there");
    }

    #[test]
    fn recovery_is_the_first_moment_from_which_the_level_lasts() {
        let mut counts = Counts::default();
        for (tenth, goodput) in [10.0, 10.0, 0.0, 0.0, 10.0, 0.0, 10.0, 10.0, 10.0]
            .into_iter()
            .enumerate()
        {
            counts.at(at(tenth as u64)).goodput = goodput;
        }
        let after = |from, span| counts.recovered_after(at(from), 95.0, at(span));
        assert_eq!(after(2, 1), Some(at(2)));
        assert_eq!(after(2, 2), Some(at(4)), "a peak of one tenth does not count");
        assert_eq!(after(2, 4), None);
        assert_eq!(after(6, 3), Some(at(0)));
    }
}
