//! The store in a world made of one seed: a disk that forgets, tears and fails ([`SimulatedDisk`]), an engine over it,
//! and the store and a segment log without threads, moved on step by step ([`SimulatedStore`], [`SimulatedLog`]). The
//! worlds and the auditor that live on this are in `tests/simulation`; nothing of it is in a shipped binary.

mod content;
mod dice;
mod disk;
mod engine;
mod log;
mod names;
mod node;
mod world;

pub use dice::Dice;
pub use disk::{DiskImage, SimulatedDisk};
pub use log::SimulatedLog;
pub use node::SimulatedStore;
pub use world::DiskFaults;

/// A mistake the simulation can be told to make, to prove that its auditor notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Syncing a file does nothing.
    SkipFsync,
    /// Syncing a directory does nothing.
    NoDirsync,
    /// The engine says "committed" and syncs with the batch after.
    ReplyBeforeSync,
    /// A start believes the engine, whatever the control file says was durable.
    IgnoreFloor,
    /// The engine loses every so many index entries.
    IndexDrift,
}

impl Defect {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SkipFsync,
        Self::NoDirsync,
        Self::ReplyBeforeSync,
        Self::IgnoreFloor,
        Self::IndexDrift,
    ];
}

#[cfg(test)]
mod tests;
