//! What the domain needs from outside: time, chance and slow password hashes. The appliance provides the only real
//! implementations; tests provide their own.

use std::future::Future;
use std::pin::Pin;

use crate::error::Error;
use crate::ids::UnixMs;
pub use crate::password::HashMemory;

/// The wall clock, and one that only goes forward.
pub trait Clock: Send + Sync + 'static {
    /// Now. May step backwards; the store never lets that reach a record.
    fn now_at(&self) -> UnixMs;
    /// Milliseconds since boot, sleep included; never steps. Deadlines are counted on it.
    fn boot_ms(&self) -> u64;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` from the operating system's generator.
    fn fill(&self, out: &mut [u8]);
}

/// A piece of CPU work (a password hash) for the hash pool. It works in the memory of the thread that runs it.
pub type HashJob = Box<dyn FnOnce(&mut HashMemory) -> HashOutcome + Send + 'static>;

/// A job, and whose turn it is to take.
pub struct HashAsk {
    /// The game on whose behalf, 0 for none. Games with waiting jobs take turns, so that the rush of one does not
    /// starve the others.
    pub tenant: u32,
    /// How long the caller will wait for the answer from now, in milliseconds; `None` when nobody knows. A job that
    /// cannot be done by then is refused instead of run.
    pub deadline_ms: Option<u64>,
    /// The work.
    pub job: HashJob,
}

/// What a hash job answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOutcome {
    /// A check: did the password match?
    Matches(bool),
    /// A check that needed no hash: the same password matched while this one waited.
    Recalled,
    /// A new hash, as a PHC string.
    Hashed(String),
    /// The stored record cannot be used; the text says why and holds no secret.
    Unusable(String),
}

/// A few threads of their own for password hashes, behind a bounded queue with a deadline.
pub trait HashPool: Send + Sync + 'static {
    /// Runs the job; [`crate::codes::OVERLOADED`] with a time to come back at when it would have to wait for too long or had
    /// to make room for a newer one, [`crate::codes::OVERLOAD_DEADLINE`] when it cannot be done by its `deadline_ms`. A job
    /// whose future was dropped before its turn is not run.
    fn run(&self, ask: HashAsk) -> Pin<Box<dyn Future<Output = Result<HashOutcome, Error>> + Send>>;
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
