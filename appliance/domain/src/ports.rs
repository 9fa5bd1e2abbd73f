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

/// What an auth-log port answers later.
pub type LogFuture<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// The append-only authentication log. A record is opaque bytes with a few search keys `(kind, hash)`.
pub trait AuthLog: Send + Sync + 'static {
    /// Queues a record without waiting; it is synced with the next group. `false` when the queue is full.
    fn enqueue(&self, record: Vec<u8>, keys: &[(u8, u64)]) -> bool;
    /// Appends a record; resolves when it is durable.
    fn append(&self, record: Vec<u8>, keys: &[(u8, u64)]) -> LogFuture<()>;
    /// Records that carry the key, newest first, at most `limit`. Hashes may collide: the caller looks again.
    fn search(&self, kind: u8, hash: u64, limit: usize) -> LogFuture<Vec<Vec<u8>>>;
}
