//! Segment logs: append-only streams of records that must not disturb the sequencer — the auth log now, clicks and
//! events later. A log has its own writer thread, which writes whatever has gathered (up to 1 MiB) with one sync.
//!
//! Records carry an instant and search keys `(kind, hash)`. A log is a directory of segments `<number>.seg`, each with a
//! rebuildable index `<number>.idx` once it is sealed. Numbers rise and are never used twice. The bytes are described
//! in [`format`] and [`index`].

mod format;
mod index;
mod queue;
mod read;
mod recover;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, DiskFile, HostDisk, Lock};
use crate::files;
use crate::histogram::{Histogram, HistogramReading};
use crate::options::{FatalFn, ProgressFn};

pub use format::{SEGMENT_KEYS_MAX, SEGMENT_RECORD_MAX_BYTES, SegmentRecord};
pub use queue::{Append, AppendError};
pub use read::{SegmentHit, SegmentPage};

use index::IndexEntry;
use queue::Queue;
#[cfg(not(feature = "simulation"))]
use writer::{Indexer, Writer as SegmentWriter};
#[cfg(feature = "simulation")]
pub(crate) use writer::{Indexer, Writer as SegmentWriter};

/// A search key: what kind of value, and a hash of it. Two values may share a hash; who searches must look at the record.
pub type SearchKey = (u8, u64);

/// Where a record lies. Later records have greater positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentPosition {
    /// Number of the segment.
    pub segment: u64,
    /// Byte in the segment.
    pub offset: u32,
}

impl SegmentPosition {
    /// Before every record.
    pub const START: Self = Self { segment: 0, offset: 0 };
}

/// How a segment log is kept.
#[derive(Clone)]
pub struct SegmentOptions {
    /// Name, for the threads (at most 10 characters are shown) and messages.
    pub name: &'static str,
    /// A segment is sealed at this many bytes; space for it is allocated at once. Below 4 GiB.
    pub max_bytes: u32,
    /// Bytes that may wait for the writer; further appends are answered [`AppendError::Busy`].
    pub queue_bytes: usize,
    /// Sealed segments whose newest record is older than this go in [`SegmentLog::expire`]; `None` keeps them for ever.
    pub keep_ms: Option<u64>,
    /// Called when records cannot be written to a second segment either.
    pub on_fatal: FatalFn,
    /// Told what is worth knowing: cut tails, rebuilt indexes, failed syncs.
    pub report: ProgressFn,
}

impl SegmentOptions {
    /// 64 MiB segments, 16 MiB queue, kept for ever, silent, aborting when nothing can be written.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            max_bytes: 64 << 20,
            queue_bytes: 16 << 20,
            keep_ms: None,
            on_fatal: Arc::new(|_| std::process::abort()),
            report: Arc::new(|_| {}),
        }
    }
}

/// Figures of a segment log.
#[derive(Debug, Clone)]
pub struct SegmentStats {
    /// Segments, the active one included.
    pub segments: usize,
    /// Bytes of all records and their envelopes.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Bytes waiting for the writer.
    pub queued_bytes: usize,
    /// Records per group.
    pub group_records: HistogramReading,
    /// Duration of write and sync of a group, in microseconds.
    pub sync_us: HistogramReading,
    /// Groups whose write or sync failed.
    pub failed_groups: u64,
}

/// What is known of one segment.
#[derive(Debug, Clone)]
struct Segment {
    /// End of what is durable.
    end: u32,
    records: u64,
    min_at: u64,
    max_at: u64,
    /// The index entries, until they are in a file.
    entries: Option<Arc<RwLock<Vec<IndexEntry>>>>,
}

impl Segment {
    fn empty() -> Self {
        let entries = Some(Arc::new(RwLock::new(Vec::new())));
        Self {
            end: format::FILE_HEADER_BYTES,
            records: 0,
            min_at: u64::MAX,
            max_at: 0,
            entries,
        }
    }
}

/// State that the threads and the handle share.
struct State {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: SegmentOptions,
    segments: RwLock<BTreeMap<u64, Segment>>,
    group_records: Histogram,
    sync_us: Histogram,
    failed_groups: AtomicU64,
    /// Groups whose sync fails although their bytes were written.
    #[cfg(test)]
    failing_syncs: AtomicU64,
}

impl State {
    #[cfg(test)]
    fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        let failing = self
            .failing_syncs
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            Err(io::Error::other("injected"))
        } else {
            file.sync_data()
        }
    }

    #[cfg(not(test))]
    fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        file.sync_data()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}.seg"))
    }

    fn index_path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}.idx"))
    }

    fn report(&self, text: &str) {
        (self.options.report)(&format!("segment log {}: {text}", self.options.name));
    }
}

/// A segment log. Dropping it writes what is queued.
pub struct SegmentLog {
    state: Arc<State>,
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: Lock,
}

impl SegmentLog {
    /// Opens the log in `dir`, or creates it. A tail that was torn while it was written, and so never acknowledged, is
    /// cut and reported; missing indexes are rebuilt.
    ///
    /// # Errors
    /// When the directory cannot be used, another process has it, or a segment was written by a newer release.
    pub fn open(dir: &Path, options: SegmentOptions) -> io::Result<Self> {
        let (log, writer, indexer) = Self::assemble(Arc::new(HostDisk), dir, options)?;
        let threads = writer::start(log.state.options.name, writer, indexer)?;
        *log.threads.lock() = threads;
        Ok(log)
    }

    /// The log and what its threads drive, without threads.
    pub(crate) fn assemble(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: SegmentOptions,
    ) -> io::Result<(Self, SegmentWriter, Indexer)> {
        files::create_dir(disk.as_ref(), dir)?;
        let lock = disk.lock_dir(dir)?;
        let busy = || {
            io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is used by another process", dir.display()),
            )
        };
        let lock = lock.ok_or_else(busy)?;
        let queue = Arc::new(Queue::new(options.queue_bytes, options.max_bytes));
        let state = Arc::new(State {
            disk,
            dir: dir.to_owned(),
            options,
            segments: RwLock::new(BTreeMap::new()),
            group_records: Histogram::default(),
            sync_us: Histogram::default(),
            failed_groups: AtomicU64::new(0),
            #[cfg(test)]
            failing_syncs: AtomicU64::new(0),
        });
        recover::load(&state)?;
        let (writer, indexer) = writer::pair(&state, &queue);
        let log = Self {
            state,
            queue,
            threads: Mutex::new(Vec::new()),
            _lock: lock,
        };
        Ok((log, writer, indexer))
    }

    /// Queues a record; the future gives its position once it is durable. Dropping the future does not take it back.
    pub fn append(&self, at: u64, body: &[u8], keys: &[SearchKey]) -> Append {
        self.queue.append(at, body, keys)
    }

    /// Queues a record without waiting for it.
    ///
    /// # Errors
    /// [`AppendError::Busy`] or [`AppendError::TooLarge`]: it was not queued.
    pub fn enqueue(&self, at: u64, body: &[u8], keys: &[SearchKey]) -> Result<(), AppendError> {
        self.queue.enqueue(at, body, keys)
    }

    /// Removes sealed segments whose newest record is older than `keep_ms` before `now_at`; how many went. The newest
    /// segment always stays, so that its number is never used again.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn expire(&self, now_at: u64) -> io::Result<usize> {
        let Some(keep_ms) = self.state.options.keep_ms else {
            return Ok(0);
        };
        let cutoff_at = now_at.saturating_sub(keep_ms);
        let old: Vec<u64> = {
            let segments = self.state.segments.read();
            let newest = segments.keys().next_back().copied();
            let sealed = segments
                .iter()
                .filter(|(number, segment)| segment.entries.is_none() && Some(**number) != newest);
            sealed
                .filter(|(_, segment)| segment.max_at < cutoff_at)
                .map(|(number, _)| *number)
                .collect()
        };
        for number in &old {
            self.remove(*number)?;
        }
        if !old.is_empty() {
            self.state.disk.sync_dir(&self.state.dir)?;
        }
        Ok(old.len())
    }

    /// Removes one segment: from what readers find first, so that none of them misses the file.
    fn remove(&self, number: u64) -> io::Result<()> {
        let Some(segment) = self.state.segments.write().remove(&number) else {
            return Ok(());
        };
        // The index first: a segment without one is rebuilt, an index without its segment would be litter.
        let removed = recover::remove_if_present(&self.state, &self.state.index_path(number))
            .and_then(|()| recover::remove_if_present(&self.state, &self.state.path(number)));
        if removed.is_err() {
            self.state.segments.write().insert(number, segment);
        }
        removed
    }

    /// Every segment's file with its length in bytes up to the end of what is durable, oldest first: what a copy taken
    /// now may hold. A segment may go ([`SegmentLog::expire`]) before it is read.
    pub fn durable_files(&self) -> Vec<(PathBuf, u64)> {
        let segments = self.state.segments.read();
        let files = segments
            .iter()
            .map(|(number, segment)| (self.state.path(*number), u64::from(segment.end)));
        files.collect()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> SegmentStats {
        let segments = self.state.segments.read();
        SegmentStats {
            segments: segments.len(),
            bytes: segments.values().map(|segment| u64::from(segment.end)).sum(),
            records: segments.values().map(|segment| segment.records).sum(),
            queued_bytes: self.queue.queued_bytes(),
            group_records: self.state.group_records.read(),
            sync_us: self.state.sync_us.read(),
            failed_groups: self.state.failed_groups.load(Ordering::Relaxed),
        }
    }

    /// Writes what is queued and ends the threads. Later appends are answered [`AppendError::Closed`].
    pub fn close(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            // A panic of a log thread was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests;
