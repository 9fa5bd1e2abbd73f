//! Every limit of the store in one place, with its unit. They bound memory, frames and waiting time; the tests of the
//! modules that enforce them walk up to each.

use std::time::Duration;

/// Longest key of a row in bytes, without the two bytes of the table number.
pub const KEY_MAX_BYTES: usize = 1024;
/// Longest stored value in bytes, version byte and seal included.
pub const VALUE_MAX_BYTES: usize = 64 * 1024;
/// What a row costs in a frame besides key and value, at most, in bytes; counted for every row a transaction writes.
pub const ROW_ENVELOPE_BYTES: usize = 9;
/// Most row bytes (keys, values, envelopes, index rows) one transaction may write.
pub const TX_MAX_BYTES: usize = 1024 * 1024;
/// A group is closed at this many transactions.
pub const GROUP_MAX_TX: usize = 256;
/// A group is closed once its frame payload reaches this many bytes.
pub const GROUP_MAX_BYTES: usize = 1024 * 1024;
/// Largest journal frame in bytes: a full group plus the one transaction that filled it, with room for the envelopes.
pub const FRAME_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Transactions that may wait for the sequencer; the next one is answered `Busy`.
pub const QUEUE_MAX_TX: usize = 16_384;
/// Queries and disk reads that may wait for the reader pool; the next one is answered `Busy`.
pub const READ_QUEUE_MAX: usize = 1024;
/// Threads of the reader pool.
pub const READER_THREADS: usize = 2;
/// A row look-up that has to touch the disk waits at most this long for a reader.
pub const LOOKUP_DEADLINE: Duration = Duration::from_millis(2000);
/// A snapshot should be gone by then; longer reads on the pool are counted (`Stats::long_reads`).
pub const VIEW_MAX: Duration = Duration::from_secs(30);
/// Most rows one scan may return.
pub const SCAN_MAX_ROWS: usize = 10_000;
/// A scan stops (a page) or fails (inside a transaction) once its rows exceed this many bytes.
pub const SCAN_MAX_BYTES: usize = 4 * 1024 * 1024;
/// Longest operation name in bytes.
pub const OP_MAX_BYTES: usize = 64;
/// Longest caller description in bytes; longer ones are cut at a character boundary.
pub const CALLER_MAX_BYTES: usize = 255;
/// Longest name of a counter in bytes.
pub const COUNTER_NAME_MAX_BYTES: usize = 64;
/// Ids stay below this, so that a JavaScript number holds them exactly.
pub const ID_LIMIT: u64 = 1 << 53;
/// A clock that jumps forward by more than this against the boot-time clock is held back, in milliseconds.
pub const CLOCK_JUMP_MAX_MS: u64 = 60_000;
/// The durable floor in the control file is refreshed at most this often.
pub const FLOOR_INTERVAL: Duration = Duration::from_secs(1);
/// Table numbers 1..=9 belong to the store itself.
pub const RESERVED_TABLES: u16 = 9;
