//! A scratch copy of this host's data, in a folder of the data directory: table files are links, so that it takes a moment and little
//! room however much there is. It becomes a store of its own, in an epoch of its own, and is removed when it is dropped.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_domain::ports::Clock as _;
use seawall_domain::tables;
use seawall_storage::{KeyRing, OpenOptions, Restore};

use crate::cli::failure::Failure;
use crate::clock::{SystemClock, boottime_ms};
use crate::data_dir::DataDir;
use crate::entropy::OsEntropy;

/// The folder of the data directory that a copy lies in.
pub const FOLDER: &str = "rehearsal-tmp";
/// What the name of a copy that is kept begins with; the time follows.
const KEPT: &str = "rehearsal-kept-";
/// Folder of the engine in a data directory.
const ENGINE: &str = "db";
/// Held by the process that uses a data directory.
const LOCK: &str = "lock";
/// Room that a rehearsal may need for what its players write.
const ROOM_BYTES: u64 = 1 << 30;

/// How the engine was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// By the running server, which went on.
    ByTheServer,
    /// By this process, while no server had the data.
    WhileStopped,
}

impl Made {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Made::ByTheServer => "made by the running server, which went on",
            Made::WhileStopped => "made while no server had the data",
        }
    }
}

/// A copy; removed when dropped, unless it is kept.
pub struct Scratch {
    path: PathBuf,
    /// Where it goes when it is kept.
    kept: Option<PathBuf>,
    /// The folder, locked: it is there and ours.
    held: Option<File>,
}

impl Scratch {
    /// The directory: a data directory of its own once it is complete.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it will be afterwards; `None` when it is removed.
    #[must_use]
    pub fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    /// Removes what an earlier rehearsal left that was killed.
    ///
    /// # Errors
    /// When another rehearsal is under way, or the disk has too little room.
    pub fn claim(data: &DataDir, keeps: bool) -> Result<Self, Failure> {
        let path = data.root().join(FOLDER);
        if path.exists() {
            if lock(&path)?.is_none() {
                let why = format!("{}: another rehearsal is under way", path.display());
                return Err(Failure::Failed(why));
            }
            fs::remove_dir_all(&path).map_err(|error| Failure::file(&path, "removed", &error))?;
        }
        let stat = rustix::fs::statvfs(data.root());
        let stat = stat.map_err(|error| Failure::file(data.root(), "looked at", &error.into()))?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free_bytes < ROOM_BYTES {
            return Err(Failure::Failed(format!(
                "{}: {} MiB are free, and a rehearsal asks for {}",
                data.root().display(),
                free_bytes >> 20,
                ROOM_BYTES >> 20
            )));
        }
        Ok(Self {
            path,
            kept: keeps.then(|| data.root().join(format!("{KEPT}{}", SystemClock.now_at()))),
            held: None,
        })
    }

    /// The running server has made the copy: from now on it is ours.
    ///
    /// # Errors
    /// When it is not there.
    pub fn take(&mut self) -> Result<(), Failure> {
        self.held = lock(&self.path)?;
        Ok(())
    }

    /// Copies the engine while no server has the data.
    ///
    /// # Errors
    /// When one has it, or the file system's.
    pub fn copy(&mut self, data: &DataDir) -> Result<(), Failure> {
        let lock_file = data.root().join(LOCK);
        // A directory that no store was ever opened in has none.
        let held = if lock_file.exists() {
            lock(&lock_file)?
        } else {
            lock(data.root())?
        };
        let _held = held.ok_or_else(|| {
            Failure::Failed(format!(
                "{}: a process uses the data, and no server answers on the admin socket; name its socket with --socket, or stop it",
                data.root().display()
            ))
        })?;
        DataDir::create(&self.path).map_err(|error| Failure::Failed(error.to_string()))?;
        self.take()?;
        let (from, into) = (data.root().join(ENGINE), self.path.join(ENGINE));
        link_all(&from, &into).map_err(|error| Failure::file(&from, "copied", &error))
    }

    /// Makes a store of the copied engine: with the keys of the original, and as a node of its own.
    ///
    /// # Errors
    /// When the copy is not whole.
    pub fn complete(&self, data: &DataDir) -> Result<(), Failure> {
        let own = DataDir::create(&self.path).map_err(|error| Failure::Failed(error.to_string()))?;
        fs::copy(data.cluster_key(), own.cluster_key())
            .map_err(|error| Failure::file(&data.cluster_key(), "copied", &error))?;
        let keys = KeyRing::load(&own.cluster_key())
            .map_err(|error| Failure::Failed(format!("{}: {error}", own.cluster_key().display())))?;
        let options = OpenOptions::new(tables::TABLES, keys, Arc::new(boottime_ms), OsEntropy.bytes());
        let broken = |error: seawall_storage::RestoreError| {
            Failure::Failed(format!("the copy of the data is of no use: {error}"))
        };
        Restore::begin(&self.path, options)
            .and_then(|making| making.finish(&OsEntropy.bytes()))
            .map_err(broken)?;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.held.is_none() {
            return;
        }
        if let Some(kept) = &self.kept {
            let _ = fs::rename(&self.path, kept);
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the copy cannot be removed; the next rehearsal tries again");
        }
    }
}

/// The lock of a file or folder; `None` when another process holds it.
fn lock(path: &Path) -> Result<Option<File>, Failure> {
    let file = File::open(path).map_err(|error| Failure::file(path, "read", &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Failure::file(path, "locked", &error)),
    }
}

/// Copies the files of a folder. Table files never change, so they are linked where the file system can.
fn link_all(from: &Path, into: &Path) -> std::io::Result<()> {
    fs::create_dir(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, into) = (entry.path(), into.join(entry.file_name()));
        let is_table = from.extension().is_some_and(|extension| extension == "sst");
        if entry.file_type()?.is_file() && !(is_table && fs::hard_link(&from, &into).is_ok()) {
            fs::copy(&from, &into)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_linked_and_goes_away() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::create(&root.path().join("data")).unwrap();
        let engine = data.root().join(ENGINE);
        fs::create_dir(&engine).unwrap();
        fs::write(engine.join("1.sst"), "table").unwrap();
        fs::write(engine.join("2.log"), "journal").unwrap();
        let mut scratch = Scratch::claim(&data, false).unwrap();
        scratch.copy(&data).unwrap();
        let copied = scratch.path().join(ENGINE);
        fs::write(copied.join("2.log"), "other").unwrap();
        fs::remove_file(copied.join("1.sst")).unwrap();
        drop(scratch);
        assert!(!data.root().join(FOLDER).exists());
        assert_eq!(fs::read_to_string(engine.join("1.sst")).unwrap(), "table");
        assert_eq!(fs::read_to_string(engine.join("2.log")).unwrap(), "journal");
    }

    #[test]
    fn data_in_use_and_a_second_rehearsal_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::create(&root.path().join("data")).unwrap();
        fs::create_dir(data.root().join(ENGINE)).unwrap();
        fs::write(data.root().join(LOCK), "").unwrap();
        let mut scratch = Scratch::claim(&data, false).unwrap();
        let held = lock(&data.root().join(LOCK)).unwrap().unwrap();
        let refused = scratch.copy(&data).unwrap_err().to_string();
        assert!(refused.contains("a process uses the data"), "{refused}");
        drop(held);
        scratch.copy(&data).unwrap();
        assert!(Scratch::claim(&data, false).is_err(), "it is under way");
        // One that was killed is in nobody's way.
        scratch.held = None;
        drop(scratch);
        assert!(data.root().join(FOLDER).exists());
        drop(Scratch::claim(&data, false).unwrap());
        assert!(!data.root().join(FOLDER).exists());
        // One that is kept is in nobody's way either.
        let mut scratch = Scratch::claim(&data, true).unwrap();
        scratch.copy(&data).unwrap();
        let kept = scratch.kept().unwrap().to_owned();
        drop(scratch);
        assert!(kept.join(ENGINE).is_dir() && !data.root().join(FOLDER).exists());
    }
}
