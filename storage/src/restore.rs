//! Making a store out of a copy of its engine and the frames that follow it: restoring to a point in time. The result
//! continues in an epoch of its own, so that its frames cannot be mistaken for those of the history it leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::apply::Rules;
use crate::catalog::{Catalog, number_of};
use crate::checkpoint::head_of;
use crate::control::{ControlError, ControlFile, ControlState, EpochStart};
use crate::disk::HostDisk;
use crate::engine::rocks::RocksEngine;
use crate::engine::{BatchOp, Engine, Space};
use crate::error::{EngineError, TxError};
use crate::frame::{FrameError, decode};
use crate::head::Head;
use crate::journal::{Journal, UpkeepRows};
use crate::keyring::KeyRing;
use crate::open::check::bookkeeping;
use crate::open::{CONTROL_FILE, ENGINE_DIR};
use crate::options::OpenOptions;
use crate::overlay::{Layers, Overlay};
use crate::store::derive_id;

/// Frames are committed together up to this many bytes of rows.
const BATCH_BYTES: usize = 1 << 20;
/// Epochs of different nodes differ in their remainder by this, so that two nodes never open the same one.
const EPOCH_STEP: u64 = 16;

/// Why a restore stops. Nothing it made may be used then.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory holds something already.
    #[error("{} exists already", .0.display())]
    NotEmpty(PathBuf),
    /// The table list of this build is wrong.
    #[error("{0}")]
    Tables(String),
    /// A frame that is none.
    #[error("frame after lsn {after}: {error}")]
    Frame {
        /// Lsn of the frame before.
        after: u64,
        /// What is wrong.
        error: FrameError,
    },
    /// A frame of other data.
    #[error("frame of lsn {0} belongs to another cluster")]
    Foreign(u64),
    /// A frame is missing, or it is one of another history.
    #[error("frame of lsn {found} does not follow from lsn {head}")]
    Gap {
        /// Where the store stands.
        head: u64,
        /// The frame's number.
        found: u64,
    },
    /// A change that this release cannot apply.
    #[error(transparent)]
    Row(#[from] TxError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The control file could not be written.
    #[error("control file: {0}")]
    Control(#[from] ControlError),
}

/// What a frame says about itself, for those who keep frames without reading their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFacts {
    /// Its number.
    pub lsn: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Now of its last transaction, Unix milliseconds.
    pub now_at: u64,
    /// Whose data it is.
    pub cluster_id: [u8; 16],
}

/// Checks a frame's form and checksum and tells what it is.
///
/// # Errors
/// [`FrameError`].
pub fn frame_facts(bytes: &[u8]) -> Result<FrameFacts, FrameError> {
    let position = decode(bytes)?.position;
    Ok(FrameFacts {
        lsn: position.lsn,
        epoch: position.epoch,
        now_at: position.now_at,
        cluster_id: position.cluster_id,
    })
}

/// A store in the making.
pub struct Restore {
    dir: PathBuf,
    engine: RocksEngine,
    catalog: Catalog,
    keys: KeyRing,
    journal: Journal,
    cluster_id: [u8; 16],
    head: Head,
    waiting: Waiting,
}

/// Frames that were applied and not committed yet.
#[derive(Default)]
struct Waiting {
    rows: Overlay,
    frames: Vec<([u8; 8], Vec<u8>, UpkeepRows)>,
}

impl Restore {
    /// Begins in `dir`, whose folder `db` is a copy of an engine ([`crate::Store::checkpoint`]) and which holds no
    /// control file yet.
    ///
    /// # Errors
    /// [`RestoreError`]; `Engine` when the copy is not whole.
    pub fn begin(dir: &Path, options: OpenOptions) -> Result<Self, RestoreError> {
        let control = dir.join(CONTROL_FILE);
        if control.exists() {
            return Err(RestoreError::NotEmpty(control));
        }
        let catalog = Catalog::new(options.tables, Vec::new()).map_err(RestoreError::Tables)?;
        let engine = RocksEngine::open(&dir.join(ENGINE_DIR), &options.memory, false)?;
        let (cluster_id, head) = head_of(engine.view().as_ref())?;
        let journal =
            bookkeeping(engine.view().as_ref(), options.journal).map_err(|wrong| EngineError::Corrupt(wrong.reason))?;
        Ok(Self {
            dir: dir.to_owned(),
            engine,
            catalog,
            keys: options.keys,
            journal,
            cluster_id,
            head,
            waiting: Waiting::default(),
        })
    }

    /// Where it stands.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Applies the next frame; one that is part of the copy already is left out (false).
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn apply(&mut self, bytes: &[u8]) -> Result<bool, RestoreError> {
        let after = self.head.lsn;
        let frame = decode(bytes).map_err(|error| RestoreError::Frame { after, error })?;
        let at = frame.position;
        if at.cluster_id != self.cluster_id {
            return Err(RestoreError::Foreign(at.lsn));
        }
        if at.lsn <= after {
            return Ok(false);
        }
        if at.lsn != after + 1 || at.prev_chain != self.head.chain || at.epoch < self.head.epoch {
            return Err(RestoreError::Gap {
                head: after,
                found: at.lsn,
            });
        }
        let below = Layers {
            overlays: [None; 3],
            engine: &self.engine,
        };
        let rules = Rules {
            catalog: &self.catalog,
            keys: &self.keys,
        };
        rules.add_frame(&mut self.waiting.rows, below, &frame)?;
        let upkeep = self.journal.append(at.lsn, bytes.len() as u64, at.now_at).rows();
        self.waiting.frames.push((at.lsn.to_be_bytes(), bytes.to_vec(), upkeep));
        self.head = Head {
            lsn: at.lsn,
            epoch: at.epoch,
            chain: frame.chain,
            now_at: at.now_at,
        };
        if self.waiting.rows.bytes() >= BATCH_BYTES {
            self.commit()?;
        }
        Ok(true)
    }

    fn commit(&mut self) -> Result<(), RestoreError> {
        let Waiting { rows, frames } = std::mem::take(&mut self.waiting);
        let mut batch = Vec::with_capacity(rows.rows().len() + 2 * frames.len());
        for (key, value) in rows.rows() {
            let number = number_of(key);
            let space = self.catalog.space(number).ok_or(TxError::UnknownTable(number))?;
            batch.push(match value {
                Some(value) => BatchOp::Put(space, key, value),
                None => BatchOp::Delete(space, key),
            });
        }
        for (lsn_key, frame, upkeep) in &frames {
            batch.push(BatchOp::Put(Space::Journal, lsn_key, frame));
            batch.extend(upkeep.ops());
        }
        let (head_key, head_row) = (Head::key(), self.head.encode(&self.cluster_id));
        batch.push(BatchOp::Put(Space::Meta, &head_key, &head_row));
        Ok(self.engine.commit(&batch)?)
    }

    /// Completes the store: from here on [`crate::Store::open`] takes the directory. The node is a new one, its id taken
    /// from `entropy`, and its next frame opens a new epoch.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn finish(mut self, entropy: &[u8; 32]) -> Result<Head, RestoreError> {
        self.commit()?;
        let (node_id, epoch) = (derive_id("node id", entropy), self.head.epoch + EPOCH_STEP);
        let fresh = ControlState::fresh(self.cluster_id, node_id);
        let state = ControlState {
            initialised: true,
            epoch,
            history: vec![EpochStart {
                epoch,
                node_id,
                first_lsn: self.head.lsn + 1,
                chain_before: self.head.chain,
            }],
            floor_lsn: self.head.lsn,
            floor_chain: self.head.chain,
            ..fresh
        };
        // The engine is closed first: the control file says that it is complete.
        let (dir, head) = (self.dir.clone(), self.head);
        drop(self);
        let disk: Arc<dyn crate::disk::Disk> = Arc::new(HostDisk);
        ControlFile::create(&disk, &dir.join(CONTROL_FILE), state)?;
        Ok(head)
    }
}

#[cfg(test)]
mod tests;
