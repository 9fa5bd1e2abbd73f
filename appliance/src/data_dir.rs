//! The data directory: where each part keeps its files, and who may read them. The store takes its lock.
//!
//! ```text
//! db/            the store's engine                       auth-log/   segments of the authentication log
//! control        the store's control file                 keys/       cluster.key: opens sealed values
//! node.redb      what never leaves the host               tls/        self-signed pair, ticket.seed
//! lock           held by the process that uses the store  admin.sock  root-only admin socket
//! reserve        room to give up on a full disk           rehearsal-tmp/  a scratch copy, see rehearse/copy.rs
//! ```

use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    root: PathBuf,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is none.
    #[error("{0}: no data here; start a server first, or name another directory with --data")]
    Missing(PathBuf),
    /// A file operation failed.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
}

impl DataDir {
    /// Makes it if needed.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn create(root: &Path) -> Result<Self, DataDirError> {
        for part in [root.to_owned(), root.join("keys"), root.join("tls")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&part)
                .map_err(|error| DataDirError::File(part, error))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// One that a server made before.
    ///
    /// # Errors
    /// When there is no data.
    pub fn existing(root: &Path) -> Result<Self, DataDirError> {
        if root.join("keys").is_dir() {
            Ok(Self { root: root.to_owned() })
        } else {
            Err(DataDirError::Missing(root.to_owned()))
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Segments of the authentication log.
    #[must_use]
    pub fn auth_log(&self) -> PathBuf {
        self.root.join("auth-log")
    }

    /// The cluster key.
    #[must_use]
    pub fn cluster_key(&self) -> PathBuf {
        self.root.join("keys/cluster.key")
    }

    /// A file of the TLS material.
    #[must_use]
    pub fn tls(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(name)
    }
}

/// Writes a small file so that it is there whole or not at all, readable by its owner only.
///
/// # Errors
/// As the file operations.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?; // mode 0600
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn nobody_else_reads_and_missing_data_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        assert!(
            DataDir::existing(&root)
                .unwrap_err()
                .to_string()
                .contains("no data here")
        );
        DataDir::create(&root).unwrap();
        assert_eq!((mode(&root), mode(&root.join("keys"))), (0o700, 0o700));
        DataDir::create(&root).unwrap();
        DataDir::existing(&root).unwrap();
    }

    #[test]
    fn private_files_are_whole_and_for_the_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), mode(&path)), (b"two".to_vec(), 0o600));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
