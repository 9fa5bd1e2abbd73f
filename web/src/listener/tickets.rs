//! TLS session tickets that outlive the process: keys follow from a persisted seed and a slot of time, so that after a
//! restart, an upgrade or a switchover players resume instead of shaking hands anew all at once.
//!
//! A ticket is `slot (8 bytes, big-endian) | nonce (24) | XChaCha20-Poly1305 of the session`, the slot authenticated.
//! Tickets of the present slot and of the last [`SLOTS_ACCEPTED`] before it are taken.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rustls::server::ProducesTickets;
use seawall_domain::ports::{Clock, Entropy};
use zeroize::Zeroizing;

/// Length of a slot, in milliseconds.
pub const SLOT_MS: u64 = 6 * 3_600_000;
/// Slots before the present one whose tickets are still taken.
pub const SLOTS_ACCEPTED: u64 = 2;
/// Name of the key derivation; another name makes other keys.
const CONTEXT: &str = "seawall tls session ticket v1";
const SLOT_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;

/// Makes and opens tickets.
pub struct Tickets {
    seed: Zeroizing<[u8; 32]>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// From the persisted seed of this platform.
    #[must_use]
    pub fn new(seed: [u8; 32], clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Tickets {
            seed: Zeroizing::new(seed),
            clock,
            entropy,
        }
    }

    fn slot(&self) -> u64 {
        self.clock.now_at() / SLOT_MS
    }

    fn cipher(&self, slot: u64) -> XChaCha20Poly1305 {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.seed.as_ref());
        hasher.update(&slot.to_be_bytes());
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        XChaCha20Poly1305::new((&*key).into())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(SLOT_MS * SLOTS_ACCEPTED / 1000).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let slot = self.slot();
        let aad = slot.to_be_bytes();
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        let sealed = self
            .cipher(slot)
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &aad })
            .ok()?;
        Some([aad.as_slice(), nonce.as_slice(), sealed.as_slice()].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (aad, rest) = ticket.split_at_checked(SLOT_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES)?;
        let slot = u64::from_be_bytes(aad.try_into().ok()?);
        let now = self.slot();
        // A clock that stepped back a little must not end every session: one slot ahead is taken too.
        if slot > now + 1 || slot + SLOTS_ACCEPTED < now {
            return None;
        }
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        self.cipher(slot)
            .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FixedClock, SeededEntropy};

    fn tickets(seed: u8, now_at: u64) -> Tickets {
        Tickets::new(
            [seed; 32],
            Arc::new(FixedClock(now_at)),
            Arc::new(SeededEntropy::new(u64::from(seed))),
        )
    }

    #[test]
    fn a_ticket_opens_with_the_same_seed_within_its_slots_and_nowhere_else() {
        let start = 100 * SLOT_MS;
        let ticket = tickets(1, start).encrypt(b"session").unwrap();
        assert_eq!(
            tickets(1, start).decrypt(&ticket).as_deref(),
            Some(b"session".as_slice())
        );
        assert!(tickets(1, start + SLOT_MS * 3 - 1).decrypt(&ticket).is_some());
        assert!(tickets(1, start + SLOT_MS * 3).decrypt(&ticket).is_none());
        assert!(tickets(1, start - 1).decrypt(&ticket).is_some());
        assert!(tickets(1, start - SLOT_MS - 1).decrypt(&ticket).is_none());
        assert!(tickets(2, start).decrypt(&ticket).is_none());
    }

    #[test]
    fn a_changed_or_cut_ticket_never_opens() {
        let tickets = tickets(1, 100 * SLOT_MS);
        let ticket = tickets.encrypt(b"session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(tickets.decrypt(&changed).is_none(), "byte {at}");
            assert!(tickets.decrypt(&ticket[..at]).is_none(), "cut at {at}");
        }
    }
}
