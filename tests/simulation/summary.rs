//! What a seed, or many of them, came to.

use std::fmt;

/// Counts of one seed or the sum of several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Summary {
    /// Hash of everything that happened; of one seed only.
    pub history: [u8; 32],
    /// Answers that clients got.
    pub acknowledged: u64,
    /// Clients that were told that the outcome is unknown.
    pub unknown: u64,
    /// Starts that succeeded.
    pub lives: u64,
    /// Starts on damaged data that were refused.
    pub refusals: u64,
    /// Frames that were off the journal at the end.
    pub trimmed: u64,
}

impl Summary {
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.lives += other.lives;
        self.refusals += other.refusals;
        self.trimmed += other.trimmed;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} starts, {} writes answered, {} in doubt, {} refusals, {} frames trimmed",
            self.lives, self.acknowledged, self.unknown, self.refusals, self.trimmed
        )
    }
}
