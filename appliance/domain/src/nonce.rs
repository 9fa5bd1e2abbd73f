//! Nonces of signed calls that change something, remembered in memory for as long as their timestamp would pass.
//!
//! Two generations of fixed-size digests: when the older one is past the window it is dropped as a whole. A nonce
//! lives for one to two windows. When the memory is full calls are refused for a moment; nothing is ever forgotten
//! within the window. After a restart the memory is empty, which the Idempotency-Key that such calls carry makes
//! harmless.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::codes::{OVERLOADED, SIGNATURE_REPLAYED};
use crate::error::Error;
use crate::ids::{KeyId, UnixMs};
use crate::key::SIGNATURE_SKEW_S;

/// Most nonces held; 32 bytes each in memory.
pub const NONCES_MAX: usize = 1 << 20;
/// A nonce must be known for as long as any timestamp it was sent with passes: the skew to both sides.
pub const NONCE_WINDOW_MS: u64 = 2 * SIGNATURE_SKEW_S * 1000;

struct Generations {
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
    young_since_at: UnixMs,
}

/// The memory.
pub(crate) struct NonceMemory {
    generations: Mutex<Generations>,
    capacity: usize,
}

impl NonceMemory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            generations: Mutex::new(Generations {
                young: HashSet::new(),
                old: HashSet::new(),
                young_since_at: 0,
            }),
            capacity,
        }
    }

    /// Remembers a nonce of a key, or says that it was there already or that there is no room.
    pub(crate) fn remember(&self, key: KeyId, nonce: &str, now_at: UnixMs) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key.0.to_be_bytes()).update(nonce.as_bytes());
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);

        let mut memory = self.generations.lock();
        if now_at.saturating_sub(memory.young_since_at) > NONCE_WINDOW_MS {
            memory.old = std::mem::take(&mut memory.young);
            if now_at.saturating_sub(memory.young_since_at) > 2 * NONCE_WINDOW_MS {
                memory.old.clear();
            }
            memory.young_since_at = now_at;
        }
        if memory.young.contains(&digest) || memory.old.contains(&digest) {
            return Err(SIGNATURE_REPLAYED.error());
        }
        if memory.young.len() + memory.old.len() >= self.capacity {
            return Err(OVERLOADED
                .because("Too many signed calls are remembered; try again after Retry-After.")
                .retry_after_ms(5_000));
        }
        memory.young.insert(digest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START_AT: UnixMs = 1_700_000_000_000;

    #[test]
    fn a_nonce_counts_once_per_key() {
        let memory = NonceMemory::new(10);
        assert!(memory.remember(KeyId(1), "n1", START_AT).is_ok());
        assert_eq!(
            memory.remember(KeyId(1), "n1", START_AT + 1).unwrap_err().code,
            SIGNATURE_REPLAYED
        );
        assert!(memory.remember(KeyId(2), "n1", START_AT).is_ok());
    }

    #[test]
    fn full_refuses_and_recovers() {
        let memory = NonceMemory::new(3);
        for n in 0..3 {
            memory.remember(KeyId(1), &n.to_string(), START_AT).unwrap();
        }
        let error = memory.remember(KeyId(1), "3", START_AT + 1).unwrap_err();
        assert_eq!((error.code, error.retry_after_ms), (OVERLOADED, Some(5_000)));
        assert_eq!(
            memory.remember(KeyId(1), "0", START_AT + 2).unwrap_err().code,
            SIGNATURE_REPLAYED
        );
        memory.remember(KeyId(1), "3", START_AT + 3 * NONCE_WINDOW_MS).unwrap();
    }

    proptest! {
        #[test]
        fn within_the_window_nothing_is_forgotten(gaps in proptest::collection::vec(0u64..400_000, 1..40)) {
            let memory = NonceMemory::new(1000);
            let (mut now_at, mut sent) = (START_AT, Vec::new());
            for (n, gap) in gaps.into_iter().enumerate() {
                now_at += gap;
                memory.remember(KeyId(1), &n.to_string(), now_at).unwrap();
                sent.push((n, now_at));
                for (old, at) in &sent {
                    if now_at - at <= NONCE_WINDOW_MS {
                        prop_assert!(memory.remember(KeyId(1), &old.to_string(), now_at).is_err());
                    }
                }
            }
        }
    }
}
