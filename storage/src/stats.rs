//! What the store can say about itself, for metrics and `db stats`.

use crate::histogram::HistogramReading;

/// Cheap figures, safe to read every second.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Transactions that committed something since the start.
    pub transactions: u64,
    /// Transactions that were refused or panicked since the start.
    pub refused: u64,
    /// Writes waiting for the sequencer.
    pub queue_length: usize,
    /// Queries and disk reads waiting for a reader.
    pub read_queue_length: usize,
    /// Transactions per commit group.
    pub group_transactions: HistogramReading,
    /// Payload bytes per commit group.
    pub group_bytes: HistogramReading,
    /// Duration of the engine's synced commit, in microseconds.
    pub sync_us: HistogramReading,
    /// Time from queueing a write to running it, in microseconds.
    pub queue_wait_us: HistogramReading,
    /// Duration of queries and disk reads on the reader pool, in microseconds, waiting left out.
    pub read_us: HistogramReading,
    /// Of these, how many took longer than a snapshot should live (30 s).
    pub long_reads: u64,
    /// Row cache look-ups that found the row.
    pub cache_hits: u64,
    /// Row cache look-ups that did not.
    pub cache_misses: u64,
    /// Rows in the row cache.
    pub cache_entries: u64,
    /// Bytes charged to the row cache.
    pub cache_bytes: u64,
    /// Lsn of the oldest frame kept; 0 when there is none.
    pub journal_first_lsn: u64,
    /// Lsn of the newest frame.
    pub journal_last_lsn: u64,
    /// Bytes of all frames kept.
    pub journal_bytes: u64,
    /// How often a forward clock jump was held back.
    pub clock_held_back: u64,
    /// The engine's own figures; names end in their unit.
    pub engine: Vec<(&'static str, u64)>,
}

/// Size of one table or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStats {
    /// Persisted number.
    pub number: u16,
    /// Name.
    pub name: &'static str,
    /// Rows; an estimate unless `exact`.
    pub rows: u64,
    /// Bytes of keys and values; an estimate (compressed, on disk) unless `exact`.
    pub bytes: u64,
    /// Counted rather than estimated.
    pub exact: bool,
}
