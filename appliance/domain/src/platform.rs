//! The platform's inside: the store, the ports, the mirrors, and how a verb commits. Every operation is a method of
//! [`Platform`] in the module of its noun.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use seawall_storage::{KeyRing, ReadError, Secret32, Stamp, Store, Tx, TxError, View, WriteError};
use zeroize::Zeroizing;

use crate::abuse::{AbuseCounters, AbuseLimits, AbuseOptions, SEED_BYTES};
use crate::call::{Call, Caller};
use crate::catalogue::Catalogue;
use crate::challenge::Challenges;
use crate::codes::{DEFECT, NOT_READY, OUTCOME_UNKNOWN, OVERLOAD_DEADLINE, OVERLOADED, STORE_BUSY, STORE_FULL};
use crate::credential_cache::{CredentialCache, CredentialCacheOptions};
use crate::error::Error;
use crate::ids::UnixMs;
use crate::mirrors::Mirrors;
use crate::nonce::{NONCES_MAX, NonceMemory};
use crate::password::HashCost;
use crate::ports::{AuthLog, Clock, Entropy, HashPool};
use crate::waiting_room::{WaitingCounters, WaitingRooms};

/// How long a read may wait for the reader pool.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(2);
/// What a caller is told to wait when the store is busy.
const BUSY_RETRY_MS: u64 = 1_000;
/// What a caller is told to wait when the disk is nearly full: somebody has to make room.
const FULL_RETRY_MS: u64 = 30_000;

/// What a platform is opened with.
pub struct PlatformOptions {
    /// The store, opened with [`crate::tables::TABLES`] and with `mirrors` attached.
    pub store: Store,
    /// The mirrors that were attached to the store's options.
    pub mirrors: Mirrors,
    /// The cluster key ring the store was opened with; lookup hashes are derived from it.
    pub keys: KeyRing,
    /// The authentication log.
    pub auth_log: Arc<dyn AuthLog>,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Threads for password hashes.
    pub hash_pool: Arc<dyn HashPool>,
    /// Cost of new password hashes.
    pub hash_cost: HashCost,
    /// How long verified passwords are remembered.
    pub credential_cache: CredentialCacheOptions,
    /// Limits against abuse.
    pub abuse: AbuseOptions,
}

/// Figures of the domain, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Verify answers that a later reading of the store contradicted; stays 0.
    pub verify_contradicted: u64,
    /// Auth-log records dropped because its queue was full.
    pub auth_log_dropped: u64,
    /// Passwords re-hashed at login.
    pub rehashed: u64,
    /// Revocation records in memory.
    pub revocations: u64,
    /// Bytes of their tables.
    pub revocation_bytes: u64,
    /// Restrictions in memory.
    pub restrictions: u64,
    /// Rows deleted by the sweep.
    pub swept: u64,
    /// Password checks answered from the cache of verified passwords.
    pub credential_cache_hits: u64,
    /// Password checks that looked there and needed a hash.
    pub credential_cache_misses: u64,
    /// Verified passwords in memory.
    pub credential_cache_entries: u64,
    /// Limits against abuse.
    pub abuse: AbuseCounters,
    /// Logins and registrations answered with a challenge.
    pub challenges_issued: u64,
    /// Whether pressure asks for challenges now.
    pub asks_for_challenges: bool,
    /// Waiting rooms for logins.
    pub waiting: WaitingCounters,
}

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) verify_contradicted: AtomicU64,
    pub(crate) auth_log_dropped: AtomicU64,
    pub(crate) rehashed: AtomicU64,
    pub(crate) swept: AtomicU64,
    pub(crate) challenges_issued: AtomicU64,
}

/// Keys of keyed hashes, one per purpose, the same for the life of the cluster.
pub(crate) struct LookupKeys {
    pub(crate) identity: Secret32,
    pub(crate) guest: Secret32,
    pub(crate) device: Secret32,
    pub(crate) idempotency: Secret32,
}

impl LookupKeys {
    pub(crate) fn derive(keys: &KeyRing) -> Self {
        Self {
            identity: keys.derive("identity"),
            guest: keys.derive("guest"),
            device: keys.derive("device"),
            idempotency: keys.derive("idempotency"),
        }
    }
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) mirrors: Mirrors,
    pub(crate) lookup: LookupKeys,
    pub(crate) auth_log: Arc<dyn AuthLog>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) hash_pool: Arc<dyn HashPool>,
    pub(crate) hash_cost: HashCost,
    pub(crate) credential_cache: CredentialCache,
    pub(crate) nonces: NonceMemory,
    pub(crate) abuse: AbuseLimits,
    pub(crate) challenges: Challenges,
    pub(crate) waiting_rooms: WaitingRooms,
    pub(crate) asks_for_challenges: AtomicBool,
    pub(crate) tally: Tally,
    ready: AtomicBool,
}

/// The platform: every operation of the product is a method of this type. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    pub(crate) inner: Arc<Inner>,
}

impl Platform {
    /// Opens the platform: makes what a first start needs, loads the catalogue, all revocations and all restrictions
    /// into memory, and is ready then. Blocks; for start-up code.
    ///
    /// # Errors
    /// The store's, as [`crate::codes::STORE_BUSY`] or [`crate::codes::DEFECT`].
    pub fn open(options: PlatformOptions) -> Result<Self, Error> {
        let platform = Self::open_unready(options);
        platform.start()?;
        platform.load()?;
        Ok(platform)
    }

    /// A platform whose mirrors are not loaded: verify answers `unknown` until [`Platform::load`] finished.
    pub(crate) fn open_unready(options: PlatformOptions) -> Self {
        let PlatformOptions {
            store,
            mirrors,
            keys,
            auth_log,
            clock,
            entropy,
            hash_pool,
            hash_cost,
            credential_cache,
            abuse,
        } = options;
        let lookup = LookupKeys::derive(&keys);
        let credential_cache = CredentialCache::new(credential_cache, drawn_key(&*entropy));
        let nonces = NonceMemory::new(NONCES_MAX);
        let challenges = Challenges::new(keys.derive("challenge"), abuse.challenge);
        let waiting_rooms = WaitingRooms::new(keys.derive("waiting room"), clock.now_at());
        let mut seeds = [0; SEED_BYTES];
        entropy.fill(&mut seeds);
        let abuse = AbuseLimits::new(&abuse, &seeds);
        let (tally, ready) = (Tally::default(), AtomicBool::new(false));
        Self {
            inner: Arc::new(Inner {
                store,
                mirrors,
                lookup,
                auth_log,
                clock,
                entropy,
                hash_pool,
                hash_cost,
                credential_cache,
                nonces,
                abuse,
                challenges,
                waiting_rooms,
                asks_for_challenges: AtomicBool::new(false),
                tally,
                ready,
            }),
        }
    }

    /// Loads the mirrors; the platform is ready then.
    pub(crate) fn load(&self) -> Result<(), Error> {
        let now_at = self.now_at();
        self.inner.store.read(|view| self.inner.mirrors.load(view, now_at))?;
        self.inner.ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the revocations are loaded, so that verify can answer.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.inner.ready.load(Ordering::Acquire)
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let Inner {
            tally, mirrors, abuse, ..
        } = &*self.inner;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (credential_cache_hits, credential_cache_misses, credential_cache_entries) =
            self.inner.credential_cache.figures();
        Counters {
            verify_contradicted: of(&tally.verify_contradicted),
            auth_log_dropped: of(&tally.auth_log_dropped),
            rehashed: of(&tally.rehashed),
            revocations: mirrors.revocations().len() as u64,
            revocation_bytes: mirrors.revocations().allocated_bytes() as u64,
            restrictions: mirrors.restrictions().len() as u64,
            swept: of(&tally.swept),
            credential_cache_hits,
            credential_cache_misses,
            credential_cache_entries,
            abuse: abuse.counters(),
            challenges_issued: of(&tally.challenges_issued),
            asks_for_challenges: self.asks_for_challenges(),
            waiting: self.inner.waiting_rooms.counters(),
        }
    }

    /// Wall clock; answers outside a transaction carry it.
    pub(crate) fn now_at(&self) -> UnixMs {
        self.inner.clock.now_at()
    }

    pub(crate) fn catalogue(&self) -> Guard<Arc<Catalogue>> {
        self.inner.mirrors.catalogue()
    }

    pub(crate) fn entropy<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.inner.entropy.fill(&mut bytes);
        bytes
    }

    /// An error until the platform is ready; everything that hands out or judges tokens begins with it.
    pub(crate) fn require_ready(&self) -> Result<(), Error> {
        if self.ready() {
            Ok(())
        } else {
            Err(NOT_READY.error().retry_after_ms(BUSY_RETRY_MS))
        }
    }

    /// Runs `f` as one transaction of operation `op`. `f` may run again; it must depend on nothing but the transaction
    /// and what it captured.
    pub(crate) async fn commit<T, F>(&self, call: &Call, op: &'static str, f: F) -> Result<T, Error>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        self.inner
            .store
            .write(self.stamp(call, op), f)
            .await
            .map_err(Error::from)
    }

    /// As [`Platform::commit`], for what a player's client will ask for again by itself, and what would undo that when it
    /// came late: not begun once the caller has gone or its deadline has passed.
    pub(crate) async fn commit_while_awaited<T, F>(&self, call: &Call, op: &'static str, f: F) -> Result<T, Error>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        if call.caller != Caller::Client {
            return self.commit(call, op, f).await;
        }
        self.inner
            .store
            .write_while_awaited(self.stamp(call, op), call.begin_by_boot_ms(), f)
            .await
            .map_err(Error::from)
    }

    pub(crate) fn stamp(&self, call: &Call, op: &'static str) -> Stamp {
        Stamp {
            op,
            caller: call.caller.to_string(),
            request_id: call.request_id,
            now_at: self.now_at(),
            entropy: self.entropy(),
            idempotency_key: call
                .idempotency
                .as_ref()
                .map(|idempotency| *blake3::hash(idempotency.key.as_bytes()).as_bytes()),
        }
    }

    /// Reads over one snapshot on the store's reader pool.
    pub(crate) async fn query<R: Send + 'static>(
        &self,
        f: impl FnOnce(&View<'_>) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, Error> {
        self.inner.store.query(READ_DEADLINE, f).await.map_err(Error::from)
    }
}

/// A key that lives as long as the process.
fn drawn_key(entropy: &dyn Entropy) -> Secret32 {
    let mut key = Zeroizing::new([0; 32]);
    entropy.fill(&mut *key);
    Secret32::new(*key)
}

/// A defect, with what was found.
pub(crate) fn defect(what: &str) -> Error {
    DEFECT.because(format!("{what}; report the request id."))
}

fn busy(what: impl std::fmt::Display) -> Error {
    STORE_BUSY
        .because(format!("{what}; nothing was done."))
        .retry_after_ms(BUSY_RETRY_MS)
}

impl From<TxError> for Error {
    fn from(error: TxError) -> Self {
        match error {
            TxError::Engine(error) => busy(error),
            other => defect(&other.to_string()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Busy | ReadError::Deadline | ReadError::Closed | ReadError::Engine(_) => busy(error),
            other => defect(&other.to_string()),
        }
    }
}

impl From<WriteError<Error>> for Error {
    fn from(error: WriteError<Error>) -> Self {
        match error {
            WriteError::Refused(error) => error,
            WriteError::Busy => OVERLOADED.error().retry_after_ms(BUSY_RETRY_MS),
            WriteError::DiskFull => STORE_FULL.error().retry_after_ms(FULL_RETRY_MS),
            WriteError::Late => OVERLOAD_DEADLINE.error().retry_after_ms(BUSY_RETRY_MS),
            WriteError::Closed => busy("The store is shutting down"),
            WriteError::Unknown => OUTCOME_UNKNOWN.error().retry_after_ms(BUSY_RETRY_MS),
            WriteError::Panicked => defect("The operation panicked and left nothing"),
            WriteError::TooLarge => defect("The operation was too large and left nothing"),
        }
    }
}

#[cfg(test)]
mod tests;
