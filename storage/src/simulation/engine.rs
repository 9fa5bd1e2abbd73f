//! An engine over the simulated disk: the ordered maps of [`MemoryEngine`], a log that every batch is written to and
//! synced in before it is applied, and a base of all rows that a new log begins with. It is as strict as RocksDB is set
//! up here: the torn end of a log is cut, damage before it and missing files refuse, and after one failed write nothing
//! is written any more.
//!
//! Files: `<n>.log` begins with a head (magic, number, sequence of its first batch, CRC-32C); `<n>.base` is one record.
//! A record: length u32, sequence u64, CRC-32C of both and the payload u32, payload (postcard).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Defect, SimulatedDisk};
use crate::disk::{Access, Disk, DiskFile};
use crate::engine::memory::MemoryEngine;
use crate::engine::{BatchOp, Capabilities, Engine, EngineView, Fetched, Space, Tier};
use crate::error::EngineError;
use crate::files;
use crate::span::EngineRange;

const MAGIC: &[u8; 8] = b"SWSIMLOG";
const LOG_HEAD_BYTES: usize = 8 + 8 + 8 + 4;
const RECORD_HEAD_BYTES: usize = 4 + 8 + 4;
/// A log is replaced by a base at this length.
const LOG_MAX_BYTES: usize = 24 << 10;
/// The defect [`Defect::IndexDrift`] loses one of so many index entries.
const DRIFT: u64 = 13;

/// A change as it is stored: kind, position of the space, key, value or end.
#[derive(Serialize, Deserialize)]
struct Stored(u8, u8, Vec<u8>, Vec<u8>);

impl Stored {
    fn of(op: &BatchOp<'_>) -> Self {
        let position = |space: Space| u8::try_from(space.position()).unwrap_or(u8::MAX);
        match *op {
            BatchOp::Put(space, key, value) => Self(1, position(space), key.to_vec(), value.to_vec()),
            BatchOp::Delete(space, key) => Self(2, position(space), key.to_vec(), Vec::new()),
            BatchOp::DeleteRange(space, from, until) => Self(3, position(space), from.to_vec(), until.to_vec()),
        }
    }

    fn op(&self) -> Option<BatchOp<'_>> {
        let space = *Space::ALL.get(usize::from(self.1))?;
        match self.0 {
            1 => Some(BatchOp::Put(space, &self.2, &self.3)),
            2 => Some(BatchOp::Delete(space, &self.2)),
            3 => Some(BatchOp::DeleteRange(space, &self.2, &self.3)),
            _ => None,
        }
    }
}

struct Log {
    number: u64,
    file: Option<Box<dyn DiskFile>>,
    end: usize,
    /// Sequence of the next batch.
    next: u64,
    failed: bool,
}

/// The engine.
pub(super) struct SimulatedEngine {
    disk: SimulatedDisk,
    dir: PathBuf,
    rows: MemoryEngine,
    log: Mutex<Log>,
    entries: Mutex<u64>,
}

#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn io_error(error: std::io::Error) -> EngineError {
    EngineError::Io(error.to_string())
}

fn corrupt(text: impl Into<String>) -> EngineError {
    EngineError::Corrupt(text.into())
}

fn checksum(head: &[u8], payload: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(head), payload).to_be_bytes()
}

fn record(sequence: u64, changes: &[Stored]) -> Result<Vec<u8>, EngineError> {
    let payload = postcard::to_stdvec(changes).map_err(|error| EngineError::Io(error.to_string()))?;
    let length = u32::try_from(payload.len()).map_err(|error| EngineError::Io(error.to_string()))?;
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&checksum(&out, &payload));
    out.extend_from_slice(&payload);
    Ok(out)
}

/// Sequence, changes and stored length of the record at the front of `bytes`; `None` when there is no whole one.
fn parse_record(bytes: &[u8]) -> Option<(u64, Vec<Stored>, usize)> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD_BYTES)?;
    let (covered, crc) = head.split_last_chunk::<4>()?;
    let (length, sequence) = covered.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    if checksum(covered, payload) != *crc {
        return None;
    }
    let sequence = u64::from_be_bytes(*sequence.first_chunk()?);
    Some((
        sequence,
        postcard::from_bytes(payload).ok()?,
        RECORD_HEAD_BYTES + length,
    ))
}

fn log_head(number: u64, sequence: u64) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&number.to_be_bytes());
    head.extend_from_slice(&sequence.to_be_bytes());
    head.extend_from_slice(&crc32c::crc32c(&head).to_be_bytes());
    head
}

impl SimulatedEngine {
    /// Opens the engine in `dir`, or creates it there.
    pub(super) fn open(disk: &SimulatedDisk, dir: &Path, create: bool) -> Result<Self, EngineError> {
        let engine = Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            rows: MemoryEngine::new(),
            log: Mutex::new(Log {
                number: 0,
                file: None,
                end: 0,
                next: 1,
                failed: false,
            }),
            entries: Mutex::new(0),
        };
        {
            let mut log = engine.log.lock();
            if create {
                disk.create_dir(dir).map_err(io_error)?;
            } else {
                engine.recover(&mut log)?;
            }
            // What was read may be in memory only, so everything is written once more before anyone trusts it.
            engine.rebase(&mut log)?;
        }
        Ok(engine)
    }

    fn path(&self, number: u64, kind: &str) -> PathBuf {
        self.dir.join(format!("{number:08}.{kind}"))
    }

    /// Reads the newest base and its log.
    fn recover(&self, log: &mut Log) -> Result<(), EngineError> {
        let names = self.disk.names(&self.dir).map_err(io_error)?;
        let number = |name: &String| name.strip_suffix(".base")?.parse::<u64>().ok();
        let newest = names.iter().filter_map(number).max();
        log.number = newest.ok_or_else(|| corrupt("there is no base"))?;
        let base = self.disk.read(&self.path(log.number, "base")).map_err(io_error)?;
        let (sequence, rows, length) = parse_record(&base).ok_or_else(|| corrupt("the base is damaged"))?;
        if length != base.len() {
            return Err(corrupt("the base has a tail"));
        }
        self.apply(&rows)?;
        log.next = sequence;
        let bytes = self
            .disk
            .read(&self.path(log.number, "log"))
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => corrupt(format!("the log of the base: {error}")),
                _ => io_error(error),
            })?;
        self.replay(log, &bytes)
    }

    fn replay(&self, log: &mut Log, bytes: &[u8]) -> Result<(), EngineError> {
        if !bytes.starts_with(&log_head(log.number, log.next)) {
            return Err(corrupt("the head of the log is damaged"));
        }
        let mut at = LOG_HEAD_BYTES;
        while let Some((sequence, changes, length)) = parse_record(bytes.get(at..).unwrap_or_default()) {
            if sequence != log.next {
                return Err(corrupt(format!(
                    "batch {sequence} of the log stands in the place of {}",
                    log.next
                )));
            }
            self.apply(&changes)?;
            log.next += 1;
            at += length;
        }
        // Only the last batch can be torn: each was synced before the next was written.
        let behind = (at + 1..bytes.len()).any(|from| parse_record(bytes.get(from..).unwrap_or_default()).is_some());
        if behind {
            return Err(corrupt(format!("the log is damaged at byte {at} before whole batches")));
        }
        Ok(())
    }

    fn apply(&self, changes: &[Stored]) -> Result<(), EngineError> {
        let ops: Option<Vec<_>> = changes.iter().map(Stored::op).collect();
        self.rows
            .commit(&ops.ok_or_else(|| corrupt("a change of an unknown kind"))?)
    }

    /// Begins a new log behind a base of all rows. The log comes first, so that a base without one is damage.
    fn rebase(&self, log: &mut Log) -> Result<(), EngineError> {
        let number = log.number + 1;
        let file = self
            .disk
            .open(&self.path(number, "log"), Access::Create)
            .map_err(io_error)?;
        file.write_all_at(&log_head(number, log.next), 0).map_err(io_error)?;
        file.sync_all().map_err(io_error)?;
        self.disk.sync_dir(&self.dir).map_err(io_error)?;
        let base = record(log.next, &self.all_rows()?)?;
        files::replace(&self.disk, &self.path(number, "base"), &base).map_err(io_error)?;
        for kind in ["base", "log"] {
            // The newest base counts, so an old one that stays or comes back does no harm.
            let _ = self.disk.remove_file(&self.path(log.number, kind));
        }
        log.number = number;
        log.file = Some(file);
        log.end = LOG_HEAD_BYTES;
        Ok(())
    }

    fn all_rows(&self) -> Result<Vec<Stored>, EngineError> {
        let (view, mut rows) = (self.rows.view(), Vec::new());
        for space in Space::ALL {
            view.scan(space, &EngineRange::everything(), &mut |key, value| {
                rows.push(Stored::of(&BatchOp::Put(space, key, value)));
                ControlFlow::Continue(())
            })?;
        }
        Ok(rows)
    }

    fn append(&self, log: &mut Log, batch: &[BatchOp<'_>]) -> Result<(), EngineError> {
        if log.end > LOG_MAX_BYTES {
            self.rebase(log)?;
        }
        let changes: Vec<_> = batch.iter().map(Stored::of).collect();
        let bytes = record(log.next, &changes)?;
        let file = log
            .file
            .as_ref()
            .ok_or_else(|| EngineError::Io("no log is open".into()))?;
        let late = self.disk.defect() == Some(Defect::ReplyBeforeSync);
        if late {
            file.sync_data().map_err(io_error)?;
        }
        file.write_all_at(&bytes, log.end as u64).map_err(io_error)?;
        if !late {
            file.sync_data().map_err(io_error)?;
        }
        log.end += bytes.len();
        log.next += 1;
        Ok(())
    }

    /// Whether the defect takes this change away: every so many index entries, the only rows without a value.
    fn drifts(&self, op: &BatchOp<'_>) -> bool {
        let entry = matches!(op, BatchOp::Put(Space::Range, _, value) if value.is_empty());
        if !entry || self.disk.defect() != Some(Defect::IndexDrift) {
            return false;
        }
        let mut entries = self.entries.lock();
        *entries += 1;
        entries.is_multiple_of(DRIFT)
    }
}

impl Engine for SimulatedEngine {
    fn get(&self, space: Space, key: &[u8], tier: Tier) -> Result<Fetched, EngineError> {
        self.rows.get(space, key, tier)
    }

    fn view(&self) -> Box<dyn EngineView + '_> {
        self.rows.view()
    }

    fn commit(&self, batch: &[BatchOp<'_>]) -> Result<(), EngineError> {
        let mut log = self.log.lock();
        if log.failed {
            return Err(EngineError::Io("a write failed before".into()));
        }
        let kept: Vec<_> = batch.iter().filter(|op| !self.drifts(op)).copied().collect();
        if let Err(error) = self.append(&mut log, &kept) {
            log.failed = true;
            return Err(error);
        }
        self.rows.commit(&kept)
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            memory_tier: false,
            commit_may_be_unknown: true,
        }
    }

    fn properties(&self) -> Vec<(&'static str, u64)> {
        let log = self.log.lock();
        vec![("simulated_log_bytes", log.end as u64), ("simulated_batches", log.next)]
    }

    fn estimate(&self, space: Space, range: &EngineRange) -> (u64, u64) {
        self.rows.estimate(space, range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance;

    const DIR: &str = "/db";

    fn open(disk: &SimulatedDisk) -> Result<SimulatedEngine, EngineError> {
        SimulatedEngine::open(disk, Path::new(DIR), false)
    }

    fn put(engine: &SimulatedEngine, number: u64) {
        let key = number.to_be_bytes();
        engine.commit(&[BatchOp::Put(Space::Point, &key, &[7; 100])]).unwrap();
    }

    fn rows(engine: &SimulatedEngine) -> u64 {
        conformance::rows(engine.view().as_ref(), Space::Point, &EngineRange::everything()).len() as u64
    }

    /// An engine of ten batches, closed.
    fn filled() -> (SimulatedDisk, PathBuf) {
        let disk = SimulatedDisk::new(1, None);
        let engine = SimulatedEngine::open(&disk, Path::new(DIR), true).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        (0..10).for_each(|number| put(&engine, number));
        let log = engine.path(1, "log");
        (disk, log)
    }

    #[test]
    fn conforms() {
        conformance::run(&|| {
            let disk = SimulatedDisk::new(1, None);
            Box::new(SimulatedEngine::open(&disk, Path::new(DIR), true).unwrap())
        });
    }

    #[test]
    fn committed_batches_outlive_every_cut_and_new_bases() {
        let (mut disk, _) = filled();
        for round in 1..20 {
            disk = disk.cut_power();
            let engine = open(&disk).unwrap();
            assert_eq!(rows(&engine), round * 10);
            (round * 10..round * 10 + 10).for_each(|number| put(&engine, number));
        }
    }

    #[test]
    fn the_torn_end_of_the_log_is_cut_at_every_length() {
        let (disk, log) = filled();
        let image = disk.image(Path::new(DIR));
        let length = disk
            .files(Path::new(DIR))
            .into_iter()
            .find(|(path, _)| *path == log)
            .unwrap()
            .1;
        for lost in 1..length - LOG_HEAD_BYTES {
            disk.put_back(&image);
            disk.damage(&log, |bytes| bytes.truncate(length - lost));
            let left = rows(&open(&disk).unwrap());
            assert!(left < 10, "{left} after losing {lost}");
        }
    }

    #[test]
    fn damage_before_the_end_and_missing_files_refuse() {
        let (disk, log) = filled();
        let image = disk.image(Path::new(DIR));
        let base = log.with_extension("base");
        let refused = || matches!(open(&disk), Err(EngineError::Corrupt(_)));
        for at in (0..LOG_HEAD_BYTES + 200).step_by(7) {
            disk.put_back(&image);
            disk.damage(&log, |bytes| bytes[at] ^= 1);
            assert!(refused(), "byte {at}");
        }
        for path in [&log, &base] {
            disk.put_back(&image);
            disk.lose(path);
            assert!(refused(), "{}", path.display());
        }
        disk.put_back(&image);
        disk.damage(&base, |bytes| bytes[16] ^= 1);
        assert!(refused());
        disk.put_back(&image);
        assert_eq!(rows(&open(&disk).unwrap()), 10);
    }

    #[test]
    fn after_a_failed_commit_nothing_is_written_and_the_outcome_is_open() {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..60 {
            let disk = SimulatedDisk::new(seed, None);
            let engine = SimulatedEngine::open(&disk, Path::new(DIR), true).unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
            put(&engine, 1);
            disk.set_faults(super::super::DiskFaults {
                sync_fails: 1000,
                ..Default::default()
            });
            let failing = [BatchOp::Put(Space::Point, b"doubtful", &[7; 2000])];
            assert!(engine.commit(&failing).is_err());
            disk.set_faults(super::super::DiskFaults::default());
            assert!(engine.commit(&failing).is_err(), "it stays failed");
            match rows(&open(&disk.cut_power()).unwrap()) {
                1 => lost += 1,
                2 => kept += 1,
                other => panic!("{other}"),
            }
        }
        assert!(kept > 5 && lost > 5, "{kept} {lost}");
    }
}
