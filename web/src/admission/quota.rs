//! The static quota of a server key: token checks a second, with one second's worth at once. Asked before the body is
//! read, charged once the signature was found good: nobody can use up another's quota by naming their key.

use std::sync::atomic::{AtomicU64, Ordering};

/// One second in microseconds, the unit within.
const SECOND_US: u64 = 1_000_000;

/// When what was charged so far is paid off, in microseconds of a clock that begins near 0.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    paid_off_us: AtomicU64,
}

impl Quota {
    /// How long until the next check is within `per_second`, in milliseconds; none when it is now.
    pub(crate) fn over_for_ms(&self, now_us: u64) -> Option<u64> {
        let ahead_us = self.paid_off_us.load(Ordering::Relaxed).saturating_sub(now_us);
        (ahead_us >= SECOND_US).then(|| (ahead_us - SECOND_US) / 1_000 + 1)
    }

    /// Charges `checks` at `per_second`.
    pub(crate) fn charge(&self, now_us: u64, per_second: u32, checks: u64) {
        let cost_us = checks.saturating_mul(SECOND_US / u64::from(per_second.max(1)));
        let add = |paid_off_us: u64| Some(paid_off_us.max(now_us).saturating_add(cost_us));
        // The closure always gives a value.
        let _ = self.paid_off_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_then_as_many_as_were_granted() {
        let quota = Quota::default();
        let now_us = 5 * SECOND_US;
        for _ in 0..10 {
            assert_eq!(quota.over_for_ms(now_us), None);
            quota.charge(now_us, 10, 1);
        }
        let over_ms = quota.over_for_ms(now_us).unwrap();
        assert!((1..=101).contains(&over_ms), "{over_ms}");
        assert_eq!(
            quota.over_for_ms(now_us + 100_000),
            None,
            "a tenth of a second is one check"
        );
        quota.charge(now_us, 10, 500);
        let over_ms = quota.over_for_ms(now_us).unwrap();
        assert!((50_000..50_200).contains(&over_ms), "a batch is its tokens: {over_ms}");
        assert_eq!(quota.over_for_ms(now_us + 51 * SECOND_US), None);
    }
}
