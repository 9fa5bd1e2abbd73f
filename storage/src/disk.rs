//! What the store asks of a file system: a handful of calls, so that the same code runs over the real one and over the
//! simulated one that forgets and fails (feature `simulation`). Compound operations that survive a crash are built on
//! it in [`crate::files`].

use std::any::Any;
use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, FallocateFlags, fadvise, fallocate};

use crate::fault::{self, Switch};

/// Mode of files that hold data.
pub(crate) const FILE_MODE: u32 = 0o600;
/// Mode of directories that hold data.
pub(crate) const DIR_MODE: u32 = 0o700;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file to read and write; an old one of that name is emptied.
    Create,
}

/// Keeps a directory for this process until it is dropped.
pub(crate) type Lock = Box<dyn Any + Send + Sync>;

/// A file system. Names are durable only after [`Disk::sync_dir`] of their directory.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Opens or creates a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Gives a file another name, over an old file of that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates one directory; those above it exist.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether there is a directory of this name.
    fn is_dir(&self, path: &Path) -> bool;
    /// The names in a directory, in no order.
    fn names(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes the names inside a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes a directory for this process; `None` when another one has it.
    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Lock>>;
}

/// An open file. Bytes are durable only after a sync that succeeded.
pub(crate) trait DiskFile: Send + Sync {
    /// Fills `bytes` from an offset; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at an offset.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Takes the space in advance, so that a sync writes no new file length; not every file system can.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Makes content, and what is needed to read it, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and attributes durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Forgets what memory holds of a synced file, so that the next read tells what the disk holds. After a sync that
    /// failed, the two may differ.
    fn forget_cached(&self) -> io::Result<()>;
}

/// The file system of the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostDisk;

impl Disk for HostDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let create = access == Access::Create;
        let file = OpenOptions::new()
            .read(true)
            .write(access != Access::Read)
            .create(create)
            .truncate(create)
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fault::at_file(to, "before_rename");
        std::fs::rename(from, to)?;
        fault::at_file(to, "after_rename");
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().mode(DIR_MODE).create(dir)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn names(&self, dir: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if fault::is_on(Switch::NoDirsync) {
            return Ok(());
        }
        File::open(dir)?.sync_all()
    }

    fn lock_dir(&self, dir: &Path) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(dir.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl DiskFile for File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Self::set_len(self, bytes)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match fallocate(self, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        if fault::is_on(Switch::SkipFsync) {
            return Ok(());
        }
        Self::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        if fault::is_on(Switch::SkipFsync) {
            return Ok(());
        }
        Self::sync_all(self)
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(fadvise(self, 0, None, Advice::DontNeed)?)
    }
}
