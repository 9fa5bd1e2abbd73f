//! Passwords that were verified a short while ago, so that a player who returns within the hour costs no password hash.
//!
//! Kept is neither the password nor its stored hash but a keyed hash (BLAKE3) of the password and of which password of
//! which account it is. The key is drawn when the process starts, never leaves it and is wiped at its end, so a copy of
//! the entries alone is worth nothing. Only passwords that matched are kept: a wrong one is never answered from here, it
//! goes to the hash pool and to the limits in front of it. A change of the password, here or by an import, is another
//! mark, so what was kept of the old one is not found any more; and the transaction that follows a check looks again
//! whether the credential is still the one that was read.

use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use seawall_storage::Secret32;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::ids::{AccountId, UnixMs};
use crate::tables::account::CredentialRow;

/// What an entry takes in memory, in bytes, with its share of the map and of the keys that were pushed out lately; for
/// the plan of memory.
pub const CREDENTIAL_CACHE_ENTRY_BYTES: u64 = 144;
/// Entries live for between nine and eleven tenths of the set time, so that those of one rush do not end at once.
const JITTER_TENTHS: u64 = 1;

/// How long and how many passwords are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialCacheOptions {
    /// How long a verified password is remembered, in milliseconds, give or take a tenth; 0 for not at all.
    pub lifetime_ms: u64,
    /// Most entries, about [`CREDENTIAL_CACHE_ENTRY_BYTES`] each; those not used lately give way.
    pub entries_max: usize,
}

impl Default for CredentialCacheOptions {
    /// 30 minutes, 200,000 entries.
    fn default() -> Self {
        Self {
            lifetime_ms: 30 * 60_000,
            entries_max: 200_000,
        }
    }
}

/// Which password of which account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordMark {
    /// Whose.
    pub account: AccountId,
    /// The credential's version; a re-hash of the same password keeps it.
    pub version: u32,
    /// When the password was set. Tells two passwords of the same version apart, should an account ever lose its
    /// password and get another.
    pub changed_at: UnixMs,
}

impl PasswordMark {
    pub(crate) fn of(account: AccountId, row: &CredentialRow) -> Self {
        Self {
            account,
            version: row.version,
            changed_at: row.changed_at,
        }
    }
}

/// What is kept of a password. Wiped when it is pushed out, replaced or forgotten.
#[derive(Clone)]
struct Verified {
    digest: [u8; 32],
    expires_at: UnixMs,
}

impl Drop for Verified {
    fn drop(&mut self) {
        self.digest.zeroize();
    }
}

/// The cache. It has no `Debug` form.
pub struct CredentialCache {
    key: Secret32,
    entries: Cache<AccountId, Verified>,
    lifetime_ms: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl CredentialCache {
    /// An empty cache under a key drawn for it.
    #[must_use]
    pub fn new(options: CredentialCacheOptions, key: Secret32) -> Self {
        Self {
            key,
            entries: Cache::new(options.entries_max.max(1)),
            lifetime_ms: options.lifetime_ms,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Whether this very password was verified lately. `false` says nothing about it.
    #[must_use]
    pub fn recalls(&self, mark: PasswordMark, password: &str, now_at: UnixMs) -> bool {
        if self.lifetime_ms == 0 {
            return false;
        }
        let holds = self.holds(mark, password, now_at);
        let counter = if holds { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        holds
    }

    /// The same, asked again when the turn of the hash has come: a miss was counted then.
    #[must_use]
    pub fn recalls_by_now(&self, mark: PasswordMark, password: &str, now_at: UnixMs) -> bool {
        let holds = self.lifetime_ms != 0 && self.holds(mark, password, now_at);
        self.hits.fetch_add(u64::from(holds), Ordering::Relaxed);
        holds
    }

    fn holds(&self, mark: PasswordMark, password: &str, now_at: UnixMs) -> bool {
        self.entries.get(&mark.account).is_some_and(|verified| {
            self.is_current(&verified, now_at) && bool::from(verified.digest.ct_eq(&*self.digest(mark, password)))
        })
    }

    /// Remembers a password that has just matched. `chance` is drawn evenly and moves the end of the entry.
    pub fn remember(&self, mark: PasswordMark, password: &str, now_at: UnixMs, chance: u16) {
        if self.lifetime_ms == 0 {
            return;
        }
        let spread_ms = 2 * JITTER_TENTHS * self.lifetime_ms / 10;
        let shortest_ms = self.lifetime_ms - spread_ms / 2;
        let lifetime_ms = shortest_ms + spread_ms * u64::from(chance) / u64::from(u16::MAX);
        let verified = Verified {
            digest: *self.digest(mark, password),
            expires_at: now_at.saturating_add(lifetime_ms),
        };
        self.entries.insert(mark.account, verified);
    }

    /// Forgets all of them.
    pub fn forget_all(&self) {
        self.entries.clear();
    }

    /// Hits, misses, entries.
    pub(crate) fn figures(&self) -> (u64, u64, u64) {
        let (hits, misses) = (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed));
        (hits, misses, self.entries.len() as u64)
    }

    /// An entry whose end is further away than any can be was made before the clock was set back: not trusted.
    fn is_current(&self, verified: &Verified, now_at: UnixMs) -> bool {
        let left_ms = verified.expires_at.saturating_sub(now_at);
        left_ms > 0 && left_ms <= self.lifetime_ms + self.lifetime_ms * JITTER_TENTHS / 10
    }

    /// The fields in front have a fixed length, so no two inputs read the same. They are the salt: each password of each
    /// account has its own.
    fn digest(&self, mark: PasswordMark, password: &str) -> Zeroizing<[u8; 32]> {
        // One piece of known size, wiped after: a hasher's state would be larger by far, and so dearer to wipe.
        let mut input = Zeroizing::new(Vec::with_capacity(20 + password.len()));
        input.extend_from_slice(&mark.account.0.to_be_bytes());
        input.extend_from_slice(&mark.version.to_be_bytes());
        input.extend_from_slice(&mark.changed_at.to_be_bytes());
        input.extend_from_slice(password.as_bytes());
        Zeroizing::new(*blake3::keyed_hash(self.key.expose(), &input).as_bytes())
    }
}

#[cfg(test)]
mod tests;
