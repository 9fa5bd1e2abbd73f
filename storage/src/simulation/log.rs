//! A segment log without threads over a simulated disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::SimulatedDisk;
use crate::segment::{Indexer, SegmentLog, SegmentOptions, SegmentWriter};

/// A segment log whose writer and indexer move when told.
pub struct SimulatedLog {
    writer: SegmentWriter,
    indexer: Indexer,
    log: SegmentLog,
}

impl SimulatedLog {
    /// Opens the log in `dir`, exactly as [`SegmentLog::open`] does on a real disk.
    ///
    /// # Errors
    /// As there.
    pub fn open(disk: &SimulatedDisk, dir: &Path, options: SegmentOptions) -> io::Result<Self> {
        let (log, writer, indexer) = SegmentLog::assemble(Arc::new(disk.clone()), dir, options)?;
        Ok(Self { writer, indexer, log })
    }

    /// The handle that appenders and readers have.
    pub fn log(&self) -> &SegmentLog {
        &self.log
    }

    /// The writer makes one group durable; false when nothing is queued.
    pub fn step_writer(&mut self) -> bool {
        self.writer.step()
    }

    /// The indexer writes the index of one sealed segment; false when none waits.
    pub fn step_indexer(&mut self) -> bool {
        self.indexer.step()
    }

    /// Ends in order: writes what is queued, seals the segment and writes the indexes.
    pub fn close(mut self) {
        self.log.close();
        self.writer.finish();
        while self.indexer.step() {}
    }
}
