//! What a store's directory holds and lacks, read without changing a byte: for `seawall db repair --plan`. It names files
//! and ranges of lsns; it never guesses what a lost row may have been.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use crate::control::{ControlFile, ControlState};
use crate::disk::{Disk, HostDisk};
use crate::engine::rocks::RocksEngine;
use crate::engine::{Engine, EngineView, Space};
use crate::error::EngineError;
use crate::frame::{Chain, decode};
use crate::head::Head;
use crate::journal::JournalLimits;
use crate::open::{CONTROL_FILE, ENGINE_DIR, OpenError, OpenFailure, check};
use crate::options::MemoryBudget;
use crate::span::EngineRange;

/// Ranges listed at most.
const RANGES_MAX: usize = 100;

/// Consecutive lsns, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsnRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis {
    /// Why the store would not open; `None` when it would.
    pub failure: Option<OpenError>,
    /// The control file's content.
    pub control: Option<ControlState>,
    /// One of the two slots of the control file is damaged; the other one is used.
    pub control_slot_damaged: bool,
    /// Where the engine's history ends.
    pub head: Option<Head>,
    /// The frames kept.
    pub journal: Option<LsnRange>,
    /// Frames of the journal that are missing, damaged or do not follow, at most 100 ranges. The rows they changed lie in
    /// the tables all the same.
    pub damaged_frames: Vec<LsnRange>,
    /// Changes that were durable once and are not in the engine.
    pub lost: Option<LsnRange>,
}

/// Looks at a directory that no process uses.
///
/// # Errors
/// [`OpenError`] when another process uses it or it cannot be read.
pub fn diagnose(dir: &Path) -> Result<Diagnosis, OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(HostDisk);
    let io = |error: std::io::Error| OpenError::new(OpenFailure::Io, dir, error.to_string());
    let lock = disk.lock_dir(dir).map_err(io)?;
    let _lock = lock.ok_or_else(|| OpenError::new(OpenFailure::Locked, dir, "another process uses it"))?;
    let (control_path, engine_path) = (dir.join(CONTROL_FILE), dir.join(ENGINE_DIR));
    let mut found = Diagnosis::default();
    match ControlFile::open(&disk, &control_path) {
        Ok(Some(control)) => {
            found.control_slot_damaged = control.repaired;
            found.control = Some(control.state);
        }
        Ok(None) if disk.is_dir(&engine_path) => {
            let reason = "there is an engine but no control file";
            found.fail(OpenError::new(OpenFailure::ControlMissing, &control_path, reason));
        }
        Ok(None) => return Ok(found),
        Err(error) => found.fail(OpenError::control(&control_path, &error)),
    }
    if found.control.as_ref().is_some_and(|control| !control.initialised) {
        // Its first start was interrupted; the next one begins anew, for nothing was acknowledged.
        return Ok(found);
    }
    if !disk.is_dir(&engine_path) {
        let reason = "the control file says it exists";
        found.fail(OpenError::new(OpenFailure::EngineMissing, &engine_path, reason));
        return Ok(found);
    }
    match RocksEngine::open_read_only(&engine_path, &MemoryBudget::default()) {
        Ok(engine) => found.engine(&engine_path, engine.view().as_ref()),
        Err(error) => found.fail(OpenError::engine(&engine_path, &error)),
    }
    Ok(found)
}

impl Diagnosis {
    /// The first reason stands: what comes after follows from it.
    fn fail(&mut self, error: OpenError) {
        self.failure.get_or_insert(error);
    }

    fn engine(&mut self, path: &Path, view: &dyn EngineView) {
        if let Some(control) = self.control.clone()
            && let Err(wrong) = check::history(view, &control, JournalLimits::default())
        {
            self.fail(OpenError::new(wrong.failure, path, wrong.reason));
        }
        let looked = self.head(view).and_then(|()| self.frames(view));
        if let Err(error) = looked {
            self.fail(OpenError::engine(path, &error));
        }
        let floor = self.control.as_ref().map_or(0, |control| control.floor_lsn);
        let head = self.head.map_or(0, |head| head.lsn);
        self.lost = (head < floor).then_some(LsnRange {
            first: head + 1,
            last: floor,
        });
    }

    fn head(&mut self, view: &dyn EngineView) -> Result<(), EngineError> {
        let row = view.get(Space::Meta, &Head::key())?;
        self.head = row.and_then(|row| Head::decode(&row).ok()).map(|(_, head)| head);
        Ok(())
    }

    /// Walks the journal; a frame that is none, or does not follow, is noted with the gap before it.
    fn frames(&mut self, view: &dyn EngineView) -> Result<(), EngineError> {
        let mut last: Option<(u64, Option<Chain>)> = None;
        view.scan(Space::Journal, &EngineRange::everything(), &mut |key, bytes| {
            let at = key.try_into().map_or(0, u64::from_be_bytes);
            let frame = decode(bytes).ok().filter(|frame| frame.position.lsn == at);
            let expected = last.map_or(at, |(lsn, _)| lsn + 1);
            if at > expected {
                self.damaged(expected, at - 1);
            }
            let follows = |chain: Option<_>| {
                frame
                    .as_ref()
                    .is_some_and(|frame| chain.is_none_or(|c| c == frame.position.prev_chain))
            };
            let chain_before = last.and_then(|(lsn, chain)| chain.filter(|_| lsn + 1 == at));
            if !follows(chain_before) {
                self.damaged(at, at);
            }
            let journal = self.journal.get_or_insert(LsnRange { first: at, last: at });
            journal.last = at;
            last = Some((at, frame.map(|frame| frame.chain)));
            ControlFlow::Continue(())
        })
    }

    fn damaged(&mut self, first: u64, last: u64) {
        if let Some(range) = self.damaged_frames.last_mut()
            && range.last + 1 == first
        {
            range.last = last;
        } else if self.damaged_frames.len() < RANGES_MAX {
            self.damaged_frames.push(LsnRange { first, last });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BatchOp;
    use crate::store::Store;
    use crate::store::tests::{options, put, ship};

    /// Twenty frames, shut down in order.
    fn filled() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options()).unwrap();
        for id in 0..20 {
            put(&store, id, ship(1, "gull")).wait().unwrap();
        }
        store.shutdown();
        dir
    }

    fn bytes_of(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .flat_map(|path| {
                if path.is_dir() {
                    bytes_of(&path)
                } else {
                    vec![(path.clone(), std::fs::read(path).unwrap())]
                }
            })
            .collect();
        files.sort();
        files
    }

    /// What is said after a change underneath the store.
    fn after(change: &[BatchOp<'_>]) -> Diagnosis {
        let dir = filled();
        let engine = RocksEngine::open(&dir.path().join(ENGINE_DIR), &MemoryBudget::default(), false).unwrap();
        engine.commit(change).unwrap();
        drop(engine);
        diagnose(dir.path()).unwrap()
    }

    #[test]
    fn a_sound_store_is_said_to_be_and_left_as_it_is() {
        let dir = filled();
        let before = bytes_of(dir.path());
        let found = diagnose(dir.path()).unwrap();
        assert_eq!(bytes_of(dir.path()), before, "nothing was written");
        assert!(found.failure.is_none() && found.lost.is_none() && found.damaged_frames.is_empty());
        assert_eq!(found.head.unwrap().lsn, 20);
        assert_eq!(found.journal, Some(LsnRange { first: 1, last: 20 }));
        assert_eq!(found.control.unwrap().floor_lsn, 20);
        assert!(Store::open(dir.path(), options()).is_ok());
    }

    #[test]
    fn damaged_and_missing_frames_are_named_by_range() {
        let lsn = |lsn: u64| lsn.to_be_bytes();
        let found = after(&[
            BatchOp::Delete(Space::Journal, &lsn(5)),
            BatchOp::Delete(Space::Journal, &lsn(6)),
            BatchOp::Put(Space::Journal, &lsn(7), b"none"),
            BatchOp::Put(Space::Journal, &lsn(12), b"none"),
        ]);
        let ranges = [LsnRange { first: 5, last: 7 }, LsnRange { first: 12, last: 12 }];
        assert_eq!(found.damaged_frames, ranges);
        assert!(found.lost.is_none());
    }

    #[test]
    fn durable_changes_that_are_gone_are_named_by_range() {
        let dir = filled();
        let copy = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), options()).unwrap();
        store.checkpoint(&copy.path().join("db")).unwrap();
        for id in 0..5 {
            put(&store, id, ship(2, "tern")).wait().unwrap();
        }
        store.shutdown();
        drop(store);
        std::fs::remove_dir_all(dir.path().join(ENGINE_DIR)).unwrap();
        std::fs::rename(copy.path().join("db"), dir.path().join(ENGINE_DIR)).unwrap();
        let found = diagnose(dir.path()).unwrap();
        assert_eq!(found.failure.unwrap().failure, OpenFailure::LostData);
        assert_eq!(found.lost, Some(LsnRange { first: 21, last: 25 }));
    }

    #[test]
    fn what_is_missing_or_in_use_is_said() {
        let dir = filled();
        let store = Store::open(dir.path(), options()).unwrap();
        assert_eq!(diagnose(dir.path()).err().unwrap().failure, OpenFailure::Locked);
        store.shutdown();
        drop(store);
        std::fs::remove_file(dir.path().join(CONTROL_FILE)).unwrap();
        let found = diagnose(dir.path()).unwrap();
        assert_eq!(found.failure.unwrap().failure, OpenFailure::ControlMissing);
        assert_eq!(found.head.unwrap().lsn, 20, "the engine is looked at all the same");
        let dir = filled();
        std::fs::remove_dir_all(dir.path().join(ENGINE_DIR)).unwrap();
        let found = diagnose(dir.path()).unwrap();
        assert_eq!(found.failure.unwrap().failure, OpenFailure::EngineMissing);
        let dir = filled();
        std::fs::remove_file(dir.path().join(ENGINE_DIR).join("CURRENT")).unwrap();
        let found = diagnose(dir.path()).unwrap();
        assert!(found.failure.is_some() && found.head.is_none());
    }
}
