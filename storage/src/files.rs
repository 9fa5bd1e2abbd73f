//! File operations that survive a crash, in one place to be audited. A file is replaced by writing a neighbour, syncing
//! it, renaming it over the old one and syncing the directory: after a crash the old or the new content is there, whole.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Mode of files that hold data.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Mode of directories that hold data.
pub(crate) const DIR_MODE: u32 = 0o700;

/// Makes the names inside a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The directory a path lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Creates a directory and what is missing above it, each name durable; an existing one is fine.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = parent(dir);
    create_dir(above)?;
    match DirBuilder::new().mode(DIR_MODE).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(above),
    }
}

fn neighbour(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Gives `path` this content, or leaves the old one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = neighbour(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&tmp)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&tmp, path)?;
    sync_dir(parent(path))
}

/// Gives `path` this content unless it exists already.
pub(crate) fn create_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = neighbour(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&tmp)?;
    file.write_all(content)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&tmp, path);
    std::fs::remove_file(&tmp)?;
    linked?;
    sync_dir(parent(path))
}

/// Takes the directory for this process; `None` when another one has it. Held until the file is dropped.
pub(crate) fn lock_dir(dir: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replace_and_create_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        create_dir(parent(&path)).unwrap();
        create_new(&path, b"one").unwrap();
        assert_eq!(
            create_new(&path, b"two").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            FILE_MODE
        );
        assert_eq!(
            std::fs::metadata(parent(&path)).unwrap().permissions().mode() & 0o777,
            DIR_MODE
        );
        assert_eq!(
            std::fs::read_dir(parent(&path)).unwrap().count(),
            1,
            "no neighbour stays behind"
        );
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock_dir(dir.path()).unwrap();
        assert!(held.is_some());
        assert!(lock_dir(dir.path()).unwrap().is_none());
        drop(held);
        assert!(lock_dir(dir.path()).unwrap().is_some());
    }
}
