//! What the domain needs from outside: time, chance and slow password hashes. The appliance provides the only real
//! implementations; tests provide their own.

use std::future::Future;
use std::pin::Pin;

use crate::error::Error;
use crate::ids::UnixMs;

/// Wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Now. May step backwards; the store never lets that reach a record.
    fn now_at(&self) -> UnixMs;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` from the operating system's generator.
    fn fill(&self, out: &mut [u8]);
}

/// A piece of CPU work (a password hash) for the hash pool.
pub type HashJob = Box<dyn FnOnce() -> HashOutcome + Send + 'static>;

/// What a hash job answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOutcome {
    /// A check: did the password match?
    Matches(bool),
    /// A new hash, as a PHC string.
    Hashed(String),
    /// The stored record cannot be used; the text says why and holds no secret.
    Unusable(String),
}

/// A few threads of their own for password hashes, behind a bounded queue with a deadline.
pub trait HashPool: Send + Sync + 'static {
    /// Runs `job`; [`crate::codes::OVERLOADED`] when the queue is full or the deadline passed before it began.
    fn run(&self, job: HashJob) -> Pin<Box<dyn Future<Output = Result<HashOutcome, Error>> + Send>>;
    /// True while a re-hash may be done inside a login without making others wait.
    fn is_idle(&self) -> bool;
}
