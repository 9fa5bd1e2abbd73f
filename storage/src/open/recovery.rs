//! What a start found in its directory, for the log: where the history ends, what was replayed, what was cut; and
//! what else stands beside the engine.

use std::time::Duration;

use super::FloorKeeper;
use crate::control::ControlState;
use crate::engine::Replayed;
use crate::node::NodeStore;
use crate::store::Store;

/// What a start found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The directory was fresh, so there was nothing to find.
    pub created: bool,
    /// Number of the last durable group.
    pub lsn: u64,
    /// Epoch of the next one.
    pub epoch: u64,
    /// How often this directory was opened, this time included.
    pub incarnation: u64,
    /// The group that the control file knew to be durable. Every frame from it to the last one was read back and follows
    /// from the one before, unless the journal keeps fewer.
    pub floor_lsn: u64,
    /// What the engine found in its logs.
    pub replayed: Replayed,
    /// One slot of the control file was damaged and the other one was used.
    pub control_repaired: bool,
    /// Opening the engine, its replay included.
    pub engine_took: Duration,
    /// Comparing head, journal and control file.
    pub check_took: Duration,
}

impl Store {
    /// What the control file says; `None` for a store in memory.
    pub fn control(&self) -> Option<ControlState> {
        self.home().floor.as_ref().map(FloorKeeper::state)
    }

    /// The node's own store, which is never replicated.
    pub fn node(&self) -> &NodeStore {
        &self.home().node
    }

    /// What the start of this store found; all zero for one in memory.
    pub fn recovery(&self) -> &Recovery {
        &self.home().recovery
    }
}
