//! A histogram with one bucket per power of two, cheap enough for every commit.

use std::sync::atomic::{AtomicU64, Ordering};

/// Buckets; bucket `n` counts values below `2^n` and not below `2^(n-1)`.
pub const BUCKETS: usize = 40;

/// Counts values of one unit, which the field that holds it names.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// What a histogram held at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistogramReading {
    /// Counts per bucket; the upper bound of bucket `n` is `2^n - 1`.
    pub buckets: [u64; BUCKETS],
    /// Sum of all values.
    pub sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts one value.
    pub fn record(&self, value: u64) {
        let bucket = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(count) = self.buckets.get(bucket.min(BUCKETS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn read(&self) -> HistogramReading {
        let mut buckets = [0; BUCKETS];
        for (to, from) in buckets.iter_mut().zip(&self.buckets) {
            *to = from.load(Ordering::Relaxed);
        }
        HistogramReading {
            buckets,
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

impl HistogramReading {
    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// An upper bound of the value at `quantile` (0..=1); 0 when nothing was counted.
    pub fn quantile(&self, quantile: f64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a rank"
        )]
        let rank = (self.count() as f64 * quantile).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return (1u64 << bucket) - 1;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_power_of_two() {
        let histogram = Histogram::default();
        for value in [0, 1, 2, 3, 4, 1000, u64::MAX / 4] {
            histogram.record(value);
        }
        let read = histogram.read();
        assert_eq!(read.buckets[..4], [1, 1, 2, 1]);
        assert_eq!((read.buckets[10], read.buckets[BUCKETS - 1], read.count()), (1, 1, 7));
        assert_eq!(read.quantile(0.5), 3);
        assert_eq!(read.quantile(0.8), 1023);
        assert_eq!(Histogram::default().read().quantile(0.99), 0);
    }
}
