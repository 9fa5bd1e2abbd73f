//! The cluster key file: text, so that a person can store it in a safe, 0600, outside the engines.
//!
//! ```text
//! seawall cluster key 1
//! lookup <64 hex digits>
//! key 1 <64 hex digits>
//! current 1
//! check <8 hex digits>        CRC-32C of all lines above
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::{KeyRing, Secret32};
use crate::disk::HostDisk;
use crate::files;

const TITLE: &str = "seawall cluster key 1";

/// Why a cluster key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is none, but the data directory is not fresh: sealed rows would be lost for good.
    #[error("it does not exist but the data directory holds data; restore the file that belongs to this data")]
    Missing,
    /// It is there already.
    #[error("it exists already")]
    Exists,
    /// Others may read it.
    #[error("it is open to other users (mode {0:o}); chmod 600 it")]
    Open(u32),
    /// A line is not what it must be. The text names the line, never its content.
    #[error("line {0} is not understood")]
    Line(usize),
    /// The checksum line does not fit.
    #[error("its checksum does not fit; it was changed or cut")]
    Checksum,
}

impl KeyRing {
    /// Reads the file.
    ///
    /// # Errors
    /// [`KeyFileError`]; `Io` with `NotFound` when there is none.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        use std::os::unix::fs::MetadataExt;
        let mode = std::fs::metadata(path)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open(mode));
        }
        parse(&Zeroizing::new(std::fs::read_to_string(path)?))
    }

    /// Reads the file, or creates it from 32 unpredictable bytes when `data_dir` has never held a store.
    ///
    /// # Errors
    /// [`KeyFileError::Missing`] when the file is absent and the directory is not fresh; otherwise as [`KeyRing::load`].
    pub fn load_or_create(path: &Path, data_dir: &Path, entropy: &[u8; 32]) -> Result<Self, KeyFileError> {
        match Self::load(path) {
            Err(KeyFileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                if data_dir.join(crate::open::CONTROL_FILE).exists() || data_dir.join(crate::open::ENGINE_DIR).exists()
                {
                    return Err(KeyFileError::Missing);
                }
                let ring = Self::from_entropy(entropy);
                files::create_dir(&HostDisk, files::parent(path))?;
                match files::create_new(path, render(&ring).as_bytes()) {
                    Ok(()) => Ok(ring),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(KeyFileError::Exists),
                    Err(error) => Err(error.into()),
                }
            }
            Ok(ring) => {
                files::keep_name(&HostDisk, path)?;
                Ok(ring)
            }
            Err(error) => Err(error),
        }
    }

    /// Replaces the file, for a rotation. The old content is kept when this fails.
    ///
    /// # Errors
    /// [`KeyFileError::Io`].
    pub fn save(&self, path: &Path) -> Result<(), KeyFileError> {
        Ok(files::replace(&HostDisk, path, render(self).as_bytes())?)
    }
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
}

fn render(ring: &KeyRing) -> Zeroizing<String> {
    let (current, keys, lookup) = ring.parts();
    // Sized in advance: a growing string would leave copies of the keys behind.
    let mut text = Zeroizing::new(String::with_capacity(256 + keys.len() * 96));
    text.push_str(TITLE);
    text.push_str("\nlookup ");
    hex(lookup.expose(), &mut text);
    for (id, key) in keys {
        let _ = write!(text, "\nkey {id} ");
        hex(key.expose(), &mut text);
    }
    let _ = writeln!(text, "\ncurrent {current}");
    let check = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "check {check:08x}");
    text
}

fn parse(text: &str) -> Result<KeyRing, KeyFileError> {
    let (body, check) = text.split_once("check ").ok_or(KeyFileError::Checksum)?;
    if u32::from_str_radix(check.trim_end(), 16) != Ok(crc32c::crc32c(body.as_bytes())) {
        return Err(KeyFileError::Checksum);
    }
    let (mut keys, mut lookup, mut current) = (BTreeMap::new(), None, None);
    for (number, line) in (1..).zip(body.lines()) {
        let wrong = || KeyFileError::Line(number);
        let mut words = line.split(' ');
        match (words.next().unwrap_or_default(), number) {
            (_, 1) if line == TITLE => {}
            ("lookup", 2..) => lookup = Some(secret(words.next()).ok_or_else(wrong)?),
            ("key", 2..) => {
                let id = words.next().and_then(|id| id.parse::<u16>().ok()).ok_or_else(wrong)?;
                keys.insert(id, secret(words.next()).ok_or_else(wrong)?);
            }
            ("current", 2..) => current = words.next().and_then(|id| id.parse::<u16>().ok()),
            _ => return Err(wrong()),
        }
    }
    let last = body.lines().count();
    let (Some(lookup), Some(current)) = (lookup, current) else {
        return Err(KeyFileError::Line(last));
    };
    KeyRing::from_parts(current, keys, lookup).ok_or(KeyFileError::Line(last))
}

fn secret(word: Option<&str>) -> Option<Secret32> {
    let word = word.filter(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(word.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Secret32::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn same(a: &KeyRing, b: &KeyRing) -> bool {
        a.current() == b.current()
            && a.ids() == b.ids()
            && a.derive("x").expose() == b.derive("x").expose()
            && a.parts()
                .1
                .iter()
                .zip(b.parts().1)
                .all(|(a, b)| a.1.expose() == b.1.expose())
    }

    #[test]
    fn created_once_on_a_fresh_directory_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (path, data) = (dir.path().join("etc/cluster.key"), dir.path().join("data"));
        let ring = KeyRing::load_or_create(&path, &data, &[1; 32]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(same(&ring, &KeyRing::load_or_create(&path, &data, &[2; 32]).unwrap()));
        let rotated = ring.rotated(&[3; 32]).unwrap();
        rotated.save(&path).unwrap();
        assert!(same(&rotated, &KeyRing::load(&path).unwrap()));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir_all(data.join(crate::open::ENGINE_DIR)).unwrap();
        assert!(matches!(
            KeyRing::load_or_create(&path, &data, &[1; 32]),
            Err(KeyFileError::Missing)
        ));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.key");
        KeyRing::load_or_create(&path, &dir.path().join("data"), &[1; 32]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(KeyRing::load(&path), Err(KeyFileError::Open(0o640))));
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let good = render(&KeyRing::from_entropy(&[1; 32]));
        assert!(parse(&good).is_ok());
        for at in 0..good.len() - 1 {
            let mut bad = good.as_bytes().to_vec();
            bad[at] ^= 1;
            let bad = String::from_utf8(bad).unwrap();
            assert!(parse(&bad).is_err(), "character {at}");
            assert!(parse(&good[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn any_body_under_a_good_checksum_never_panics(body in "(seawall cluster key 1\n)?([a-z0-9 \n]{0,80})") {
            let text = format!("{body}check {:08x}\n", crc32c::crc32c(body.as_bytes()));
            prop_assert!(parse(&text).is_err());
        }
    }
}
