//! How late the network runtime runs: a task that wakes every few milliseconds and measures by how much it was late.
//! It is both the liveness check and the first sign of overload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Between two beats.
pub const BEAT: Duration = Duration::from_millis(5);

/// A runtime without a beat for so long is not alive.
const ALIVE_MAX: Duration = Duration::from_secs(10);

/// Lateness of the runtime.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    begun: Instant,
    /// Milliseconds from `begun` to the last beat.
    last_ms: Arc<AtomicU64>,
    lag: Histogram,
}

impl Heartbeat {
    /// Starts beating on the current runtime, until it ends.
    #[must_use]
    pub fn start() -> Self {
        // 0.1 ms up to about 3 s.
        let lag = Histogram::new(exponential_buckets(0.000_1, 2.8, 11));
        let heart = Self {
            begun: Instant::now(),
            last_ms: Arc::default(),
            lag,
        };
        let beating = heart.clone();
        tokio::spawn(async move { beating.beat().await });
        heart
    }

    /// One that never beats, for a process without a runtime to watch; always alive.
    #[must_use]
    pub fn still() -> Self {
        Self {
            begun: Instant::now(),
            last_ms: Arc::new(AtomicU64::new(u64::MAX)),
            lag: Histogram::new([1.0]),
        }
    }

    async fn beat(&self) {
        loop {
            let slept = Instant::now();
            tokio::time::sleep(BEAT).await;
            self.lag.observe(slept.elapsed().saturating_sub(BEAT).as_secs_f64());
            self.last_ms.store(millis(self.begun.elapsed()), Ordering::Relaxed);
        }
    }

    /// Did the runtime make progress lately?
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let now_ms = millis(self.begun.elapsed());
        now_ms.saturating_sub(self.last_ms.load(Ordering::Relaxed)) < millis(ALIVE_MAX)
    }

    /// Lateness of the beats, in seconds.
    #[must_use]
    pub fn lag(&self) -> Histogram {
        self.lag.clone()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beating_runtime_is_alive_and_a_stuck_one_is_not() {
        let heart = Heartbeat::start();
        let deadline = Instant::now() + Duration::from_secs(10);
        while heart.last_ms.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(BEAT).await;
        }
        assert!(heart.is_alive());
        let stuck = Heartbeat {
            begun: Instant::now().checked_sub(ALIVE_MAX * 2).unwrap(),
            last_ms: Arc::default(),
            lag: heart.lag(),
        };
        assert!(!stuck.is_alive());
        assert!(Heartbeat::still().is_alive());
    }
}
