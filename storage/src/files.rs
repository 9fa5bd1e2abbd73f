//! File operations that survive a crash, in one place to be audited. A file is replaced by writing a neighbour, syncing
//! it, renaming it over the old one and syncing the directory: after a crash the old or the new content is there, whole.

use std::io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::disk::{Access, Disk, FILE_MODE, HostDisk};

/// The directory a path lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Makes the name of something that was found durable: whoever made it may have died before that.
pub(crate) fn keep_name(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.sync_dir(parent(path)) {
        // Nothing that this program could have made, or a file system that keeps no names durable on demand.
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput) => Ok(()),
        other => other,
    }
}

/// Creates a directory and what is missing above it, each name durable before the next one is made.
pub(crate) fn create_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    if disk.is_dir(dir) {
        return keep_name(disk, dir);
    }
    let above = parent(dir);
    create_dir(disk, above)?;
    match disk.create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => disk.sync_dir(above),
    }
}

fn neighbour(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Gives `path` this content, or leaves the old one.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = neighbour(path);
    let file = disk.open(&tmp, Access::Create)?;
    file.write_all_at(content, 0)?;
    file.sync_all()?;
    disk.rename(&tmp, path)?;
    disk.sync_dir(parent(path))
}

/// Gives `path` this content on the host's disk unless it exists already.
pub(crate) fn create_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let tmp = neighbour(path);
    let mut file = std::fs::OpenOptions::new()
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
    HostDisk.sync_dir(parent(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replace_and_create_new() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        create_dir(&HostDisk, parent(&path)).unwrap();
        create_new(&path, b"one").unwrap();
        assert_eq!(
            create_new(&path, b"two").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        replace(&HostDisk, &path, b"three").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            FILE_MODE
        );
        assert_eq!(
            std::fs::metadata(parent(&path)).unwrap().permissions().mode() & 0o777,
            crate::disk::DIR_MODE
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
        let held = HostDisk.lock_dir(dir.path()).unwrap();
        assert!(held.is_some());
        assert!(HostDisk.lock_dir(dir.path()).unwrap().is_none());
        drop(held);
        assert!(HostDisk.lock_dir(dir.path()).unwrap().is_some());
    }
}
