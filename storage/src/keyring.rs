//! The cluster key: a ring of keys under which sealed values are encrypted, kept outside the engines, and the lookup
//! root from which keyed hashes (id cards, phones) are derived. Keys rotate by id; the lookup root never does, because
//! hashes that are keys of rows must stay findable.
//!
//! A sealed value is `key id u16 ++ nonce 24 ++ XChaCha20-Poly1305(value)`, bound to its table and key as associated
//! data, so that a row copied elsewhere does not open.

mod file;

pub use file::KeyFileError;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

/// Length of the nonce in bytes.
pub(crate) const NONCE_BYTES: usize = 24;
/// What sealing adds to a value, in bytes.
pub const SEAL_OVERHEAD_BYTES: usize = 2 + NONCE_BYTES + 16;

/// Why a sealed value cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The key that sealed the row is not in the ring: the wrong or an incomplete `cluster.key` file.
    #[error("cluster key {0} is missing; restore the cluster.key file that belongs to this data")]
    KeyMissing(u16),
    /// The key is there but the value does not open: damaged or moved bytes, or another cluster's key.
    #[error(
        "sealed value does not open under cluster key {0}; the row is damaged or the cluster.key file is another cluster's"
    )]
    Damaged(u16),
    /// Too short to be a sealed value.
    #[error("sealed value is cut short")]
    Short,
    /// The cipher refused the input.
    #[error("value cannot be sealed")]
    Refused,
}

/// Thirty-two secret bytes, wiped when dropped and never printed.
#[derive(Clone)]
pub struct Secret32(Zeroizing<[u8; 32]>);

impl Secret32 {
    /// Takes over the bytes; the caller's copy is wiped.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let secret = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        secret
    }

    /// The bytes, for a cipher or a MAC.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret32(…)")
    }
}

struct Ring {
    current: u16,
    keys: BTreeMap<u16, Secret32>,
    lookup: Secret32,
}

/// The ring. Cheap to clone; its Debug form shows ids only.
#[derive(Clone)]
pub struct KeyRing {
    ring: Arc<Ring>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("current", &self.ring.current)
            .field("ids", &self.ids())
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// A ring of one key with id 1 and a lookup root, both derived from 32 unpredictable bytes.
    pub fn from_entropy(entropy: &[u8; 32]) -> Self {
        let key = Secret32::new(blake3::derive_key("seawall cluster key 1", entropy));
        let lookup = Secret32::new(blake3::derive_key("seawall lookup root", entropy));
        Self {
            ring: Arc::new(Ring {
                current: 1,
                keys: BTreeMap::from([(1, key)]),
                lookup,
            }),
        }
    }

    /// A ring from its parts; `None` when `current` is not among the keys.
    pub fn from_parts(current: u16, keys: BTreeMap<u16, Secret32>, lookup: Secret32) -> Option<Self> {
        keys.contains_key(&current).then(|| Self {
            ring: Arc::new(Ring { current, keys, lookup }),
        })
    }

    /// The same ring with a new current key, derived from 32 unpredictable bytes; old keys stay for old rows. `None`
    /// when every id is used.
    pub fn rotated(&self, entropy: &[u8; 32]) -> Option<Self> {
        let id = self.ring.keys.last_key_value()?.0.checked_add(1)?;
        let mut keys = self.ring.keys.clone();
        keys.insert(
            id,
            Secret32::new(blake3::derive_key("seawall cluster key rotation", entropy)),
        );
        Self::from_parts(id, keys, self.ring.lookup.clone())
    }

    /// Id of the key that seals new values.
    pub fn current(&self) -> u16 {
        self.ring.current
    }

    /// All key ids.
    pub fn ids(&self) -> Vec<u16> {
        self.ring.keys.keys().copied().collect()
    }

    pub(crate) fn parts(&self) -> (u16, &BTreeMap<u16, Secret32>, &Secret32) {
        (self.ring.current, &self.ring.keys, &self.ring.lookup)
    }

    /// A key for keyed hashes of one purpose. The same for the life of the cluster, whatever rotates.
    pub fn derive(&self, label: &str) -> Secret32 {
        let mut hasher = blake3::Hasher::new_keyed(self.ring.lookup.expose());
        hasher.update(label.as_bytes());
        Secret32::new(*hasher.finalize().as_bytes())
    }

    /// Seals `plain` for the row whose full key (table number first) is `row_key`. A nonce must never be used for two
    /// different values.
    pub(crate) fn seal(&self, row_key: &[u8], nonce: &[u8; NONCE_BYTES], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let id = self.ring.current;
        let key = self.ring.keys.get(&id).ok_or(SealError::KeyMissing(id))?;
        let cipher = XChaCha20Poly1305::new(&CipherKey::from(*key.expose()));
        let body = cipher
            .encrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: plain,
                    aad: row_key,
                },
            )
            .map_err(|_| SealError::Refused)?;
        let mut out = Vec::with_capacity(2 + NONCE_BYTES + body.len());
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(nonce);
        out.extend_from_slice(&body);
        Ok(out)
    }

    /// Opens a sealed value of the row whose full key is `row_key`.
    pub(crate) fn open(&self, row_key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, rest) = sealed.split_first_chunk::<2>().ok_or(SealError::Short)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Short)?;
        let id = u16::from_be_bytes(*id);
        let key = self.ring.keys.get(&id).ok_or(SealError::KeyMissing(id))?;
        let cipher = XChaCha20Poly1305::new(&CipherKey::from(*key.expose()));
        cipher
            .decrypt(
                &XNonce::from(*nonce),
                Payload {
                    msg: body,
                    aad: row_key,
                },
            )
            .map_err(|_| SealError::Damaged(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> KeyRing {
        KeyRing::from_entropy(&[7; 32])
    }

    proptest! {
        #[test]
        fn round_trip(key: Vec<u8>, nonce: [u8; 24], plain: Vec<u8>) {
            let sealed = ring().seal(&key, &nonce, &plain).unwrap();
            prop_assert_eq!(sealed.len(), plain.len() + SEAL_OVERHEAD_BYTES);
            prop_assert_eq!(ring().open(&key, &sealed).unwrap(), plain);
        }

        #[test]
        fn opening_never_panics(raw: Vec<u8>) {
            prop_assert!(ring().open(b"row", &raw).is_err());
        }
    }

    #[test]
    fn any_flipped_bit_or_another_row_fails() {
        let sealed = ring().seal(b"row", &[1; 24], b"id card").unwrap();
        assert_eq!(ring().open(b"other row", &sealed), Err(SealError::Damaged(1)));
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(ring().open(b"row", &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn rotation_keeps_old_rows_and_lookup_hashes() {
        let old = ring();
        let sealed = old.seal(b"row", &[1; 24], b"phone").unwrap();
        let new = old.rotated(&[9; 32]).unwrap();
        assert_eq!((new.current(), new.ids()), (2, vec![1, 2]));
        assert_eq!(new.open(b"row", &sealed).unwrap(), b"phone");
        assert_eq!(new.derive("person").expose(), old.derive("person").expose());
        assert_ne!(new.derive("person").expose(), new.derive("phone").expose());
        let fresh = new.seal(b"row", &[2; 24], b"phone").unwrap();
        assert_eq!(old.open(b"row", &fresh), Err(SealError::KeyMissing(2)));
    }

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?} {:?}", ring(), ring().derive("x"));
        assert_eq!(text, "KeyRing { current: 1, ids: [1], .. } Secret32(…)");
    }
}
