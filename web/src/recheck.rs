//! A sample of token checks is read again from the store, after the answer was sent: what memory said and what is durable
//! must agree. The domain counts contradictions; here is only which answers are looked at again, and that the looking is
//! bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;
use seawall_domain::Platform;
use seawall_domain::verify::Verified;

/// Readings at a time; a sample that comes while so many are under way is passed over.
const READINGS_MAX: usize = 16;

/// Picks the sample.
pub struct Recheck {
    /// One of so many answers is read again; none when 0.
    every: u64,
    answers: AtomicU64,
    readings: Arc<AtomicUsize>,
    done: Counter,
}

impl Recheck {
    /// Reads one of `every` answers again and counts the readings in `done`.
    #[must_use]
    pub fn new(every: u64, done: Counter) -> Self {
        Recheck {
            every,
            answers: AtomicU64::new(0),
            readings: Arc::default(),
            done,
        }
    }

    /// Called with every answer; returns at once. A reading ends by the store's own read deadline.
    pub fn sample(&self, platform: &Platform, token: &str, answer: &Verified) {
        if self.every == 0 || !self.answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            return;
        }
        let readings = Arc::clone(&self.readings);
        if readings.fetch_add(1, Ordering::Relaxed) >= READINGS_MAX {
            readings.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let (platform, token, answer, done) = (platform.clone(), token.to_owned(), answer.clone(), self.done.clone());
        tokio::spawn(async move {
            if platform.session_verify_recheck(&token, &answer).await.is_ok() {
                done.inc();
            }
            readings.fetch_sub(1, Ordering::Relaxed);
        });
    }
}
