//! Ports for tests of this crate: a clock that stands, and entropy that repeats.

use parking_lot::Mutex;
use seawall_domain::UnixMs;
use seawall_domain::ports::{Clock, Entropy};

/// A clock that stands.
pub(crate) struct FixedClock(pub(crate) UnixMs);

impl Clock for FixedClock {
    fn now_at(&self) -> UnixMs {
        self.0
    }
}

/// Bytes that follow from a seed.
pub(crate) struct SeededEntropy(Mutex<blake3::OutputReader>);

impl SeededEntropy {
    pub(crate) fn new(seed: u64) -> Self {
        SeededEntropy(Mutex::new(
            blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof(),
        ))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill(out);
    }
}
