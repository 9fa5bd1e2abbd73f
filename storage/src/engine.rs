//! What the store asks of an engine, in bytes. Kept small on purpose: single rows, one short snapshot, one atomic synced
//! batch. The conformance suite below runs against every implementation.

pub mod memory;
pub mod rocks;

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::error::EngineError;
use crate::span::EngineRange;

/// A separate key space of an engine. The list is persisted by name; entries are never renamed or reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The store's own rows and all small tables.
    Meta,
    /// Tables looked up by whole key.
    Point,
    /// Tables and indexes scanned in order.
    Range,
    /// The journal: `lsn` big-endian to frame.
    Journal,
}

impl Space {
    /// All of them, in their fixed order.
    pub const ALL: [Self; 4] = [Self::Meta, Self::Point, Self::Range, Self::Journal];

    /// The persisted name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Point => "point",
            Self::Range => "range",
            Self::Journal => "journal",
        }
    }

    /// Position in [`Space::ALL`].
    pub const fn position(self) -> usize {
        match self {
            Self::Meta => 0,
            Self::Point => 1,
            Self::Range => 2,
            Self::Journal => 3,
        }
    }
}

/// How far a read may go for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Memory only; answers [`Fetched::NeedsDisk`] when that is not enough.
    Memory,
    /// To the disk.
    Disk,
}

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The row's value.
    Found(Vec<u8>),
    /// There is no such row.
    Absent,
    /// Only the disk knows; ask again with [`Tier::Disk`].
    NeedsDisk,
}

/// One change of a batch. Later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOp<'a> {
    /// Writes a row.
    Put(Space, &'a [u8], &'a [u8]),
    /// Removes a row; absent rows are fine.
    Delete(Space, &'a [u8]),
    /// Removes every row from the first key (inclusive) to the second (exclusive).
    DeleteRange(Space, &'a [u8], &'a [u8]),
}

/// What an engine can do, for callers that adapt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Committed batches survive a power cut.
    pub durable: bool,
    /// Reads can be limited to memory; otherwise [`Tier::Memory`] is the same as [`Tier::Disk`].
    pub memory_tier: bool,
    /// A failed commit may still have happened.
    pub commit_may_be_unknown: bool,
}

/// What an engine found in its own logs when it was opened: everything since its table files, written again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Log files.
    pub logs: u64,
    /// Bytes of whole records in them.
    pub bytes: u64,
    /// Whole records. Each is a batch: a group of transactions, or a note of the store itself.
    pub batches: u64,
    /// What follows the last whole record of a file.
    pub torn: Option<Torn>,
}

/// A record that was only half written when the process or the host died. It was never acknowledged, and it is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The log file.
    pub file: PathBuf,
    /// Where it begins, in bytes from the begin of the file.
    pub from_byte: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Called for each row of a scan, in order; `Break` ends it.
pub type Visit<'v> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'v;

/// One consistent state of the engine, for a short time (at most 30 s).
pub trait EngineView {
    /// Reads one row.
    ///
    /// # Errors
    /// [`EngineError`] when the engine cannot read.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Visits the rows of a range in its direction until the visitor breaks.
    ///
    /// # Errors
    /// [`EngineError`] when the engine cannot read; rows visited before stand.
    fn scan(&self, space: Space, range: &EngineRange, visit: &mut Visit<'_>) -> Result<(), EngineError>;
}

/// An engine.
pub trait Engine: Send + Sync + 'static {
    /// Reads the latest committed value of a row.
    ///
    /// # Errors
    /// [`EngineError`] when the engine cannot read.
    fn get(&self, space: Space, key: &[u8], tier: Tier) -> Result<Fetched, EngineError>;

    /// A snapshot of the latest committed state.
    fn view(&self) -> Box<dyn EngineView + '_>;

    /// Makes all changes durable at once, or none of them. Visible to reads once it returns.
    ///
    /// # Errors
    /// [`EngineError`]; with [`Capabilities::commit_may_be_unknown`] the batch may then still exist after a restart.
    fn commit(&self, batch: &[BatchOp<'_>]) -> Result<(), EngineError>;

    /// Makes a copy of the latest committed state in `dir`, which must not exist, on the same file system, without holding
    /// up commits. Files that never change are shared with the original.
    ///
    /// # Errors
    /// [`EngineError`]; an engine without files has nothing to copy.
    fn checkpoint(&self, dir: &std::path::Path) -> Result<(), EngineError> {
        Err(EngineError::Io(format!(
            "this engine cannot be copied to {}",
            dir.display()
        )))
    }

    /// What this engine can do.
    fn capabilities(&self) -> Capabilities;

    /// What opening it found in its logs; nothing for an engine without.
    fn replayed(&self) -> Replayed {
        Replayed::default()
    }

    /// Figures for metrics: `(name, value)`, names end in their unit.
    fn properties(&self) -> Vec<(&'static str, u64)>;

    /// Estimated `(rows, bytes)` in a range, for statistics only.
    fn estimate(&self, space: Space, range: &EngineRange) -> (u64, u64);
}

#[cfg(test)]
pub(crate) mod conformance;
