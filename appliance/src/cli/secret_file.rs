//! Secrets come in by file or standard input and go out to files only their owner reads; never through arguments.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::failure::Failure;

/// Largest secret file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a file, or standard input for `-`; one trailing line end is cut.
///
/// # Errors
/// When it cannot be read, is too large or no text.
pub fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let got = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
    };
    got.map_err(|error| Failure::file(path, "read", &error))?;
    let cut = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line))
        .len();
    text.truncate(cut);
    Ok(text)
}

/// Writes a new file with mode 0600; an existing one is not touched.
///
/// # Errors
/// When it exists or cannot be written.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| Failure::file(path, "written", &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn written_for_the_owner_only_and_never_over_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        write(&path, "a\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&path, "b").is_err());
        assert_eq!(read(&path).unwrap(), "a");
    }

    #[test]
    fn one_line_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        for (text, read_as) in [("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(read(&path).unwrap(), read_as);
        }
    }
}
