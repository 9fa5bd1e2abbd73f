//! How late the runtime of token checks runs: a task that wakes every few milliseconds and measures by how much it was
//! late. It is both the liveness check and the first sign of overload; admission has its own for the players' runtime, which
//! sleeps while nobody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use seawall_web::Beats;

use crate::recent::RecentMean;

/// Between two beats.
pub const BEAT: Duration = Duration::from_millis(5);

/// Span of the recent lateness, in milliseconds.
const RECENT_SPAN_MS: u64 = 100;

/// A runtime without a beat for so long is not alive.
const ALIVE_MAX: Duration = Duration::from_secs(10);

/// Lateness of the runtime.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    begun: Instant,
    /// Milliseconds from `begun` to the last beat.
    last_ms: Arc<AtomicU64>,
    lag: Histogram,
    /// In microseconds.
    recent: Arc<Mutex<RecentMean>>,
    /// All beats so far.
    beats: Arc<AtomicU64>,
    /// By how much they were late, all together, in microseconds.
    late_us: Arc<AtomicU64>,
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
            recent: fresh(),
            beats: Arc::default(),
            late_us: Arc::default(),
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
            recent: fresh(),
            beats: Arc::default(),
            late_us: Arc::default(),
        }
    }

    async fn beat(&self) {
        loop {
            let slept = Instant::now();
            tokio::time::sleep(BEAT).await;
            let lag = slept.elapsed().saturating_sub(BEAT);
            self.lag.observe(lag.as_secs_f64());
            let now_ms = millis(self.begun.elapsed());
            let lag_us = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
            self.recent.lock().add(now_ms, lag_us, 1);
            self.late_us.fetch_add(lag_us, Ordering::Relaxed);
            self.beats.fetch_add(1, Ordering::Relaxed);
            self.last_ms.store(now_ms, Ordering::Relaxed);
        }
    }

    /// Did the runtime make progress lately?
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let now_ms = millis(self.begun.elapsed());
        now_ms.saturating_sub(self.last_ms.load(Ordering::Relaxed)) < millis(ALIVE_MAX)
    }

    /// Mean lateness of the beats of the last 100 to 200 ms, in milliseconds, or how long the beat that is due has been
    /// missing, whichever is more.
    #[must_use]
    pub fn recent_lag_ms(&self) -> u64 {
        let now_ms = millis(self.begun.elapsed());
        let due_ms = self.last_ms.load(Ordering::Relaxed).saturating_add(millis(BEAT));
        let mean_us = self.recent.lock().mean(now_ms).unwrap_or(0);
        now_ms.saturating_sub(due_ms).max(mean_us / 1_000)
    }

    /// All beats so far, for who looks at spans of its own.
    #[must_use]
    pub fn beats(&self) -> Beats {
        Beats {
            count: self.beats.load(Ordering::Relaxed),
            late_us: self.late_us.load(Ordering::Relaxed),
        }
    }

    /// Lateness of the beats, in seconds.
    #[must_use]
    pub fn lag(&self) -> Histogram {
        self.lag.clone()
    }
}

fn fresh() -> Arc<Mutex<RecentMean>> {
    Arc::new(Mutex::new(RecentMean::new(RECENT_SPAN_MS)))
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
        let before = heart.beats();
        assert!(before.count > 0);
        while heart.beats().count == before.count {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(BEAT).await;
        }
        let mean_ms = heart.beats().mean_ms_since(before);
        assert!((0.0..10_000.0).contains(&mean_ms), "{mean_ms}");
        let stuck = Heartbeat {
            begun: Instant::now().checked_sub(ALIVE_MAX * 2).unwrap(),
            last_ms: Arc::default(),
            recent: fresh(),
            ..heart.clone()
        };
        assert!(!stuck.is_alive());
        assert!(stuck.recent_lag_ms() >= 10_000);
        assert_eq!(Heartbeat::still().recent_lag_ms(), 0);
        assert!(Heartbeat::still().is_alive());
    }
}
