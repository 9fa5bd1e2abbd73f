//! The store of Seawall: bytes and nothing but bytes.
//!
//! Tables are constants that the caller declares ([`table()`]) and lists at open. Every write goes through one sequencer
//! ([`Store::write`]) as a closure over an ordered view ([`Tx`]); a writer thread makes whole groups durable with one
//! sync, each with a journal frame ([`frame`]) in the same batch. Reads go to a row cache, to the engine's memory, or to
//! a small pool of reader threads ([`Store::get`], [`Store::query`]).
//!
//! Below lies an engine ([`engine::Engine`]): ordered bytes with atomic synced batches. What must not go through the
//! sequencer — event streams — goes to segment logs with a group-synced writer of their own.
//!
//! There is no clock and no generator of random numbers here; both arrive as arguments.

mod apply;
mod cache;
mod catalog;
mod checkpoint;
mod commit;
pub mod control;
#[cfg(test)]
#[path = "../tests/copied/mod.rs"]
mod copied;
mod diagnose;
mod disk;
pub mod engine;
mod error;
pub mod fault;
mod files;
mod floors;
pub mod frame;
mod head;
mod histogram;
mod journal;
mod key;
mod keyring;
pub mod limits;
mod node;
mod open;
mod options;
mod overlay;
mod readers;
mod record;
mod restore;
mod room;
mod segment;
mod sequencer;
mod shared;
#[cfg(feature = "simulation")]
pub mod simulation;
mod span;
mod stamp;
mod stats;
mod store;
mod table;
mod tx;
mod verify;
mod view;
mod wait;
mod writer;

pub use checkpoint::{Checkpoint, Digest};
pub use commit::Commit;
pub use diagnose::{Diagnosis, LsnRange, diagnose};
pub use error::{CodecError, EngineError, ReadError, TxError, WriteError};
pub use head::Head;
pub use histogram::{BUCKETS, Histogram, HistogramReading};
pub use journal::JournalLimits;
pub use key::{Key, split_key};
pub use keyring::{KeyFileError, KeyRing, SEAL_OVERHEAD_BYTES, SealError, Secret32};
pub use node::{NodeError, NodeStart, NodeStore};
pub use open::{OpenError, OpenFailure, Recovery};
pub use options::{FatalFn, MemoryBudget, OpenOptions, ProgressFn};
pub use readers::Query;
pub use record::{Record, decode_body, decode_record, decode_row, encode_record};
pub use restore::{FrameFacts, Restore, RestoreError, frame_facts};
pub use room::DiskRoom;
pub use segment::{
    Append, AppendError, SEGMENT_KEYS_MAX, SEGMENT_RECORD_MAX_BYTES, SearchKey, SegmentHit, SegmentLog, SegmentOptions,
    SegmentPage, SegmentPosition, SegmentRecord, SegmentStats,
};
pub use span::{EngineRange, Span};
pub use stamp::{BootClock, Stamp};
pub use stats::{QueueWaits, Stats, TableStats};
pub use store::{Lookup, Store};
pub use table::{CheckFn, Class, Index, IndexDef, IndexFn, Preset, Retention, Table, TableDef, table};
pub use tx::Tx;
pub use verify::VerifyReport;
pub use view::{Page, View};
pub use wait::block_on;
