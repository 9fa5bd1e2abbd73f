//! The backup key: 32 bytes from which everything a repository needs is derived. It is the one thing an operator must
//! keep apart from the host; who has it and the repository has everything.
//!
//! ```text
//! seawall backup key 1
//! key <64 hex digits>
//! check <16 hex digits>       BLAKE3 of the lines above
//! ```

use std::fmt;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::{BackupError, hex, unhex};
use crate::cli::secret_file;

const TITLE: &str = "seawall backup key 1";

/// Purposes of derived keys; another purpose is another key.
mod purpose {
    pub const CONTENT: &str = "seawall backup 1: id of content";
    pub const SEAL: &str = "seawall backup 1: seal";
    pub const SIGN: &str = "seawall backup 1: sign manifests";
    pub const FINGERPRINT: &str = "seawall backup 1: fingerprint";
}

/// The backup key.
pub struct BackupKey {
    secret: Zeroizing<[u8; 32]>,
    signer: Ed25519KeyPair,
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BackupKey({})", self.fingerprint())
    }
}

impl BackupKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`BackupError::Key`] when the signature library refuses; it has no reason to.
    pub fn new(secret: [u8; 32]) -> Result<Self, BackupError> {
        let secret = Zeroizing::new(secret);
        let seed = Zeroizing::new(blake3::derive_key(purpose::SIGN, secret.as_slice()));
        let signer = Ed25519KeyPair::from_seed_unchecked(seed.as_slice())
            .map_err(|error| BackupError::Key(format!("no signing key can be made: {error}")))?;
        Ok(Self { secret, signer })
    }

    /// Reads a key file, which nobody but its owner may read.
    ///
    /// # Errors
    /// [`BackupError::Key`]; the text never holds any of the key.
    pub fn load(path: &Path) -> Result<Self, BackupError> {
        use std::os::unix::fs::MetadataExt as _;
        let wrong = |what: &str| BackupError::Key(format!("{}: {what}", path.display()));
        let mode = std::fs::metadata(path)
            .map_err(|error| wrong(&error.to_string()))?
            .mode()
            & 0o777;
        if mode & 0o077 != 0 {
            return Err(wrong(&format!("open to other users (mode {mode:o}); chmod 600 it")));
        }
        let text = secret_file::read(path).map_err(|error| wrong(&error.to_string()))?;
        let secret = parse(&Zeroizing::new(text)).ok_or_else(|| wrong("not a whole backup key"))?;
        Self::new(secret)
    }

    /// Makes a key file from unpredictable bytes; an existing one is not touched.
    ///
    /// # Errors
    /// [`BackupError::Key`] when it exists or cannot be written.
    pub fn create(path: &Path, secret: [u8; 32]) -> Result<Self, BackupError> {
        let key = Self::new(secret)?;
        key.save(path)?;
        Ok(key)
    }

    /// Writes the key to a new file.
    ///
    /// # Errors
    /// As [`BackupKey::create`].
    pub fn save(&self, path: &Path) -> Result<(), BackupError> {
        secret_file::write(path, &self.render()).map_err(|error| BackupError::Key(error.to_string()))
    }

    fn render(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(format!(
            "{TITLE}\nkey {}\n",
            *Zeroizing::new(hex(self.secret.as_slice()))
        ));
        Zeroizing::new(format!("{}check {}\n", *body, check_of(&body)))
    }

    /// Names the key without telling it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let full = blake3::derive_key(purpose::FINGERPRINT, self.secret.as_slice());
        hex(full.get(..8).unwrap_or_default())
    }

    /// A hasher for ids of content: without the key nobody can tell whether a known file is in the repository.
    #[must_use]
    pub fn content_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&blake3::derive_key(purpose::CONTENT, self.secret.as_slice()))
    }

    /// The key that seals the object `name` written with `salt`.
    #[must_use]
    pub fn seal_key(&self, name: &str, salt: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let base = Zeroizing::new(blake3::derive_key(purpose::SEAL, self.secret.as_slice()));
        let mut hasher = blake3::Hasher::new_keyed(&base);
        hasher.update(salt);
        hasher.update(name.as_bytes());
        Zeroizing::new(*hasher.finalize().as_bytes())
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.signer.sign(message).as_ref().to_vec()
    }

    /// Is this signature ours?
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = self.signer.public_key().as_ref();
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public)
            .verify(message, signature)
            .is_ok()
    }
}

fn check_of(body: &str) -> String {
    hex(blake3::hash(body.as_bytes()).as_bytes().get(..8).unwrap_or_default())
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let at = text.find("check ")?;
    let (body, check) = text.split_at(at);
    if check.strip_prefix("check ")?.trim_end() != check_of(body) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != TITLE {
        return None;
    }
    unhex(lines.next()?.strip_prefix("key ")?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_file_comes_back_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup.key");
        let made = BackupKey::create(&path, [7; 32]).unwrap();
        let read = BackupKey::load(&path).unwrap();
        assert_eq!(made.fingerprint(), read.fingerprint());
        assert!(read.verifies(b"x", &made.sign(b"x")) && !read.verifies(b"y", &made.sign(b"x")));
        assert!(BackupKey::create(&path, [8; 32]).is_err());
        assert!(!format!("{made:?}").contains("0707"));
    }

    #[test]
    fn damaged_and_open_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup.key");
        BackupKey::create(&path, [7; 32]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("07", "08", 1)).unwrap();
        assert!(BackupKey::load(&path).unwrap_err().to_string().contains("not a whole"));
        std::fs::write(&path, &text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(BackupKey::load(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn other_keys_differ_in_everything() {
        let (one, two) = (BackupKey::new([1; 32]).unwrap(), BackupKey::new([2; 32]).unwrap());
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.content_hasher().finalize(), two.content_hasher().finalize());
        assert_ne!(*one.seal_key("a", &[0; 16]), *two.seal_key("a", &[0; 16]));
        assert_ne!(*one.seal_key("a", &[0; 16]), *one.seal_key("b", &[0; 16]));
        assert_ne!(*one.seal_key("a", &[0; 16]), *one.seal_key("a", &[1; 16]));
        assert!(!two.verifies(b"x", &one.sign(b"x")));
    }
}
