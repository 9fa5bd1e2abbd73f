//! How content lies in a repository: compressed and sealed in chunks, so that neither side ever holds a file.
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `SWBK` |
//! | 4 | format level, 1 |
//! | 16 | salt |
//! | … | chunks: length u32 of the sealed bytes, then the sealed bytes |
//!
//! A chunk is XChaCha20-Poly1305 over the zstd form of at most 4 MiB of content, under a key of this object's name and
//! salt alone; its nonce is its number, and 1 in the first byte for the last chunk, which is empty. So a chunk that is
//! changed, moved, repeated, taken from another object or cut off is noticed.

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{Key as CipherKey, KeyInit as _, XChaCha20Poly1305, XNonce};

use super::BackupError;
use super::key::BackupKey;

/// Content of a chunk, in bytes.
pub const CHUNK_BYTES: usize = 4 << 20;
const MAGIC: &[u8; 8] = b"SWBK\0\0\0\x01";
const HEADER_BYTES: usize = 24;
/// Largest sealed chunk, in bytes: zstd's worst case and the tag stay far below.
const SEALED_MAX_BYTES: usize = CHUNK_BYTES + (64 << 10);
/// Fast: table files are compressed already, and the work takes processor time from players.
const ZSTD_LEVEL: i32 = 1;

/// Seals one object.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    number: u64,
}

impl Sealer {
    /// Begins the object `name` with a salt nobody used; answers the first bytes too.
    #[must_use]
    pub fn begin(key: &BackupKey, name: &str, salt: [u8; 16]) -> (Self, Vec<u8>) {
        let header = [MAGIC.as_slice(), &salt].concat();
        let cipher = XChaCha20Poly1305::new(&CipherKey::from(*key.seal_key(name, &salt)));
        (Self { cipher, number: 0 }, header)
    }

    /// Seals at most [`CHUNK_BYTES`].
    ///
    /// # Errors
    /// [`BackupError::Host`] when the compressor has no memory.
    pub fn chunk(&mut self, content: &[u8]) -> Result<Vec<u8>, BackupError> {
        self.sealed(content, false)
    }

    /// Ends the object.
    ///
    /// # Errors
    /// As [`Sealer::chunk`].
    pub fn end(mut self) -> Result<Vec<u8>, BackupError> {
        self.sealed(&[], true)
    }

    fn sealed(&mut self, content: &[u8], last: bool) -> Result<Vec<u8>, BackupError> {
        let failed = |what: &str| BackupError::Host(format!("a chunk cannot be sealed: {what}"));
        let packed = zstd::bulk::compress(content, ZSTD_LEVEL).map_err(|error| failed(&error.to_string()))?;
        let sealed = self.cipher.encrypt(&nonce(self.number, last), packed.as_slice());
        let sealed = sealed.map_err(|_| failed("cipher"))?;
        let length = u32::try_from(sealed.len()).map_err(|_| failed("length"))?;
        self.number += 1;
        Ok([length.to_be_bytes().as_slice(), &sealed].concat())
    }
}

/// Opens one object as its bytes arrive.
pub struct Opener<'a> {
    key: &'a BackupKey,
    name: &'a str,
    cipher: Option<XChaCha20Poly1305>,
    number: u64,
    ended: bool,
    waiting: Vec<u8>,
}

impl<'a> Opener<'a> {
    /// An opener of the object `name`.
    #[must_use]
    pub fn new(key: &'a BackupKey, name: &'a str) -> Self {
        Self {
            key,
            name,
            cipher: None,
            number: 0,
            ended: false,
            waiting: Vec::new(),
        }
    }

    /// Takes the next bytes and hands whole chunks of content on.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], or what `sink` says.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.waiting.extend_from_slice(bytes);
        let mut used = 0;
        while let Some(taken) = self.step(used, sink)? {
            used += taken;
        }
        self.waiting.drain(..used);
        Ok(())
    }

    /// One header or chunk at `at`; how many bytes it took, `None` when there are not enough.
    fn step(
        &mut self,
        at: usize,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<Option<usize>, BackupError> {
        let rest = self.waiting.get(at..).unwrap_or_default();
        if self.ended && !rest.is_empty() {
            return Err(self.damaged("goes on behind its end"));
        }
        let Some(cipher) = &self.cipher else {
            let Some(header) = rest.get(..HEADER_BYTES) else {
                return Ok(None);
            };
            let (magic, salt) = header.split_at(MAGIC.len());
            if magic != MAGIC {
                return Err(self.damaged("does not begin as an object of this release does"));
            }
            let salt: [u8; 16] = salt.try_into().map_err(|_| self.damaged("has no salt"))?;
            let key = CipherKey::from(*self.key.seal_key(self.name, &salt));
            self.cipher = Some(XChaCha20Poly1305::new(&key));
            return Ok(Some(HEADER_BYTES));
        };
        let Some(length) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > SEALED_MAX_BYTES {
            return Err(self.damaged("holds a chunk that is too long"));
        }
        let Some(sealed) = rest.get(4..4 + length) else {
            return Ok(None);
        };
        let (content, last) = match cipher.decrypt(&nonce(self.number, false), sealed) {
            Ok(packed) => (packed, false),
            Err(_) => match cipher.decrypt(&nonce(self.number, true), sealed) {
                Ok(packed) => (packed, true),
                Err(_) => return Err(self.damaged("was changed, or sealed under another key")),
            },
        };
        let content = zstd::bulk::decompress(&content, CHUNK_BYTES).map_err(|_| self.damaged("does not decompress"))?;
        self.number += 1;
        self.ended = last;
        if !content.is_empty() {
            sink(&content)?;
        }
        Ok(Some(4 + length))
    }

    /// Nothing more comes.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when the object is cut off.
    pub fn end(self) -> Result<(), BackupError> {
        if self.ended && self.waiting.is_empty() {
            Ok(())
        } else {
            Err(self.damaged("is cut off"))
        }
    }

    fn damaged(&self, what: &str) -> BackupError {
        BackupError::Damaged(format!("{} {what}", self.name))
    }
}

fn nonce(number: u64, last: bool) -> XNonce {
    let mut nonce = [0; 24];
    let [first, .., a, b, c, d, e, f, g, h] = &mut nonce;
    *first = u8::from(last);
    [*a, *b, *c, *d, *e, *f, *g, *h] = number.to_be_bytes();
    XNonce::from(nonce)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> BackupKey {
        BackupKey::new([3; 32]).unwrap()
    }

    fn sealed(name: &str, chunks: &[Vec<u8>]) -> Vec<u8> {
        let (mut sealer, mut out) = Sealer::begin(&key(), name, [9; 16]);
        for chunk in chunks {
            out.extend(sealer.chunk(chunk).unwrap());
        }
        out.extend(sealer.end().unwrap());
        out
    }

    fn opened(key: &BackupKey, name: &str, bytes: &[u8], step: usize) -> Result<Vec<u8>, BackupError> {
        let (mut opener, mut out) = (Opener::new(key, name), Vec::new());
        for part in bytes.chunks(step.max(1)) {
            opener.feed(part, &mut |content| {
                out.extend_from_slice(content);
                Ok(())
            })?;
        }
        opener.end().map(|()| out)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_was_sealed_comes_back_however_it_arrives(chunks: Vec<Vec<u8>>, step in 1usize..200) {
            let bytes = sealed("objects/a", &chunks);
            prop_assert_eq!(opened(&key(), "objects/a", &bytes, step).unwrap(), chunks.concat());
        }

        #[test]
        fn one_changed_byte_anywhere_is_noticed(at: prop::sample::Index, change in 1u8..) {
            let mut bytes = sealed("objects/a", &[b"first".to_vec(), b"second".to_vec()]);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            prop_assert!(opened(&key(), "objects/a", &bytes, 64).is_err());
        }

        #[test]
        fn an_object_cut_anywhere_is_noticed(at: prop::sample::Index) {
            let bytes = sealed("objects/a", &[b"first".to_vec(), b"second".to_vec()]);
            prop_assert!(opened(&key(), "objects/a", &bytes[..at.index(bytes.len())], 64).is_err());
        }
    }

    #[test]
    fn chunks_moved_repeated_or_of_another_object_or_key_are_refused() {
        let bytes = sealed("objects/a", &[b"first".to_vec(), b"again".to_vec()]);
        assert!(opened(&key(), "objects/b", &bytes, 64).is_err(), "another name");
        assert!(opened(&BackupKey::new([4; 32]).unwrap(), "objects/a", &bytes, 64).is_err());
        let (header, chunks) = bytes.split_at(HEADER_BYTES);
        let length = 4 + u32::from_be_bytes(*chunks.first_chunk::<4>().unwrap()) as usize;
        let (first, rest) = chunks.split_at(length);
        assert!(opened(&key(), "objects/a", &[header, first, first, rest].concat(), 64).is_err());
        assert!(opened(&key(), "objects/a", &[header, rest].concat(), 64).is_err());
        assert!(opened(&key(), "objects/a", &[&bytes, b"x".as_slice()].concat(), 64).is_err());
    }

    #[test]
    fn large_content_is_compressed() {
        let content = vec![b'a'; CHUNK_BYTES];
        let bytes = sealed("objects/a", std::slice::from_ref(&content));
        assert!(bytes.len() < CHUNK_BYTES / 100);
        assert_eq!(opened(&key(), "objects/a", &bytes, 4096).unwrap(), content);
    }
}
