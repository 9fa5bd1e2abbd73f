//! What the store can say about itself, for metrics and `db stats`.

use std::ops::ControlFlow;

use crate::engine::{EngineView, Space};
use crate::histogram::HistogramReading;
use crate::span::{EngineRange, Span};
use crate::store::Store;

/// Rows of a table that are counted for statistics; larger tables are estimated.
const COUNTED_MAX_ROWS: u64 = 10_000;

/// Waits of writes for the sequencer since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueWaits {
    /// All together, in microseconds.
    pub sum_us: u64,
    /// Writes that waited.
    pub count: u64,
    /// Writes waiting now.
    pub waiting: usize,
}

/// Cheap figures, safe to read every second.
#[derive(Debug, Clone)]
pub struct Stats {
    /// Transactions that committed something since the start.
    pub transactions: u64,
    /// Transactions that were refused or panicked since the start.
    pub refused: u64,
    /// Writes not begun since the start because the caller's deadline had passed.
    pub late: u64,
    /// Writes not begun since the start because nobody waited for them any more.
    pub abandoned: u64,
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

impl Store {
    /// Size of every table and index: counted where there are few rows, estimated where there are many.
    pub fn table_stats(&self) -> Vec<TableStats> {
        let shared = self.shared();
        let mut names = shared.catalog.names();
        names.sort_unstable();
        names
            .into_iter()
            .filter_map(|(number, name)| {
                let range = Span::all().numbered(number);
                let space = shared.catalog.space(number)?;
                let counted = count(shared.engine.view().as_ref(), space, &range);
                // The engine knows nothing of rows that are still in memory, so an estimate never goes below the count.
                let (rows, bytes) = match counted {
                    (rows, bytes) if rows < COUNTED_MAX_ROWS => (rows, bytes),
                    (rows, bytes) => {
                        let (all_rows, all_bytes) = shared.engine.estimate(space, &range);
                        (all_rows.max(rows), all_bytes.max(bytes))
                    }
                };
                Some(TableStats {
                    number,
                    name,
                    rows,
                    bytes,
                    exact: counted.0 < COUNTED_MAX_ROWS,
                })
            })
            .collect()
    }
}

/// Rows and bytes of a range, up to the limit. A range that cannot be read counts as far as it could.
fn count(view: &dyn EngineView, space: Space, range: &EngineRange) -> (u64, u64) {
    let (mut rows, mut bytes) = (0, 0);
    let _ = view.scan(space, range, &mut |key, value| {
        rows += 1;
        bytes += (key.len() + value.len()) as u64;
        if rows < COUNTED_MAX_ROWS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    (rows, bytes)
}
