//! Nonces of signed calls that change something, remembered in memory for as long as their timestamp would pass.
//!
//! When the memory is full calls are refused for a moment; nothing is ever forgotten within the window. After a restart
//! the memory is empty, which the Idempotency-Key that such calls carry makes harmless.

use crate::codes::{OVERLOADED, SIGNATURE_REPLAYED};
use crate::error::Error;
use crate::ids::{KeyId, UnixMs};
use crate::key::SIGNATURE_SKEW_S;
use crate::seen::{Remembering, SeenMemory};

/// Most nonces held; 32 bytes each in memory.
pub const NONCES_MAX: usize = 1 << 20;
/// A nonce must be known for as long as any timestamp it was sent with passes: the skew to both sides.
pub const NONCE_WINDOW_MS: u64 = 2 * SIGNATURE_SKEW_S * 1000;

/// The memory.
pub(crate) struct NonceMemory(SeenMemory);

impl NonceMemory {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(SeenMemory::new(NONCE_WINDOW_MS, capacity))
    }

    /// Remembers a nonce of a key, or says that it was there already or that there is no room.
    pub(crate) fn remember(&self, key: KeyId, nonce: &str, now_at: UnixMs) -> Result<(), Error> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&key.0.to_be_bytes()).update(nonce.as_bytes());
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        match self.0.remember(digest, now_at) {
            Remembering::Fresh => Ok(()),
            Remembering::Seen => Err(SIGNATURE_REPLAYED.error()),
            Remembering::Full => Err(OVERLOADED
                .because("Too many signed calls are remembered; try again after Retry-After.")
                .retry_after_ms(5_000)),
        }
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
