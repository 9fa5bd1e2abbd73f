//! The store without threads: the world around decides who does the next step.

use std::path::Path;
use std::sync::Arc;

use super::engine::SimulatedEngine;
use super::{Defect, SimulatedDisk};
use crate::control::ControlFile;
use crate::disk::Disk;
use crate::node::NodeStore;
use crate::open::{CONTROL_FILE, Ground, OpenError, open_on};
use crate::options::OpenOptions;
use crate::sequencer::{Sequencer, Step};
use crate::store::Store;
use crate::writer::Writer;

/// A store over a simulated disk. Dropping it without [`SimulatedStore::shut_down`] is a crash when the disk was told
/// so before; otherwise the last floor is still written.
pub struct SimulatedStore {
    // Dropped first, so that the store finds nobody to wait for.
    sequencer: Sequencer,
    writer: Writer,
    store: Store,
}

impl SimulatedStore {
    /// Opens the store in `dir`, exactly as [`Store::open`] does on a real disk.
    ///
    /// # Errors
    /// [`OpenError`] as there.
    pub fn open(disk: &SimulatedDisk, dir: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let host: Arc<dyn Disk> = Arc::new(disk.clone());
        if disk.defect() == Some(Defect::IgnoreFloor) {
            forget_floor(&host, dir);
        }
        let ground = Ground {
            disk: host,
            engine: &|dir, create| Ok(Box::new(SimulatedEngine::open(disk, dir, create)?)),
            node: &|_| NodeStore::in_memory(),
        };
        let (store, sequencer, writer) = Store::assemble(open_on(&ground, dir, options)?);
        Ok(Self {
            sequencer,
            writer,
            store,
        })
    }

    /// The handle that clients have. Nothing it is asked for happens before the steps are made.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The sequencer does one thing: runs a write, hears of the writer, or hands a group over. False when it would wait.
    pub fn step_sequencer(&mut self) -> bool {
        self.sequencer.step() == Step::Went
    }

    /// The writer goes one stage on: takes a group, commits it, publishes it, or answers. False when it would wait.
    pub fn step_writer(&mut self) -> bool {
        self.writer.step()
    }

    /// Writes the durable floor into the control file, as a thread does once a second.
    pub fn keep_floor(&self) {
        self.store.keep_floor();
    }

    /// Ends in order: everything queued is finished and the last floor written.
    pub fn shut_down(mut self) {
        self.store.close();
        while self.step_sequencer() || self.step_writer() {}
        self.store.keep_floor();
    }
}

/// The defect: what was durable is forgotten.
fn forget_floor(disk: &Arc<dyn Disk>, dir: &Path) {
    if let Ok(Some(mut control)) = ControlFile::open(disk, &dir.join(CONTROL_FILE)) {
        control.state.floor_lsn = 0;
        control.state.floor_chain = [0; 32];
        // A start without the defect's help is a start with a floor: the seed is spent, nothing else.
        let _ = control.write();
    }
}
