//! RocksDB behind the engine trait, with the strict settings: every commit synced, recovery that tolerates a torn tail
//! and nothing else, write-ahead logs verified against one another, table files checked as they are written. Its own log
//! is never read for shipping; the journal is ours.

mod wal;

use std::ops::ControlFlow;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, ErrorKind, Options, Range, ReadOptions, ReadTier, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use super::{BatchOp, Capabilities, Engine, EngineView, Fetched, Replayed, Space, Tier, Visit};
use crate::error::EngineError;
use crate::fault;
use crate::options::MemoryBudget;
use crate::span::EngineRange;

/// Bounds the logs that a start has to replay.
const WAL_MAX_BYTES: u64 = 64 << 20;
/// RocksDB's own text logs: files kept, and bytes each.
const INFO_LOGS: usize = 5;
const INFO_LOG_BYTES: usize = 8 << 20;
/// Threads that write memtables out, and threads that merge tables.
const FLUSH_THREADS: i32 = 1;
const COMPACTION_THREADS: i32 = 1;
/// How much they give way to the commit of writes and to token checks, as of `nice`: as much as the threads of players, for
/// behind them players' answers would wait a slice longer.
const BACKGROUND_NICE: i32 = 5;
/// Bloom filter bits per key; about 1 % false positives.
const BLOOM_BITS: f64 = 10.0;
const BLOCK_BYTES: usize = 8 << 10;
/// Parts of indexes and filters.
const METADATA_BLOCK_BYTES: usize = 8 << 10;
/// Share of a memtable that its own filter takes.
const MEMTABLE_BLOOM_SHARE: f64 = 0.05;
/// The space RocksDB insists on; nothing is kept in it.
const DEFAULT_SPACE: &str = "default";
/// Only reachable by name: refuses to start when a log file is missing or cut.
const STRICT_DATABASE: &str = "track_and_verify_wals=true";
/// Only reachable by name: reads every table file back before it is used.
const STRICT_SPACE: &str = "paranoid_file_checks=true";

/// How the C library spells ENOENT, which is all RocksDB passes on.
const NO_SUCH_FILE: &str = "No such file or directory";

/// The RocksDB engine.
pub struct RocksEngine {
    db: DB,
    memory_reads: ReadOptions,
    synced: WriteOptions,
    block_cache: Cache,
    replayed: Replayed,
}

fn engine_error(error: &rocksdb::Error) -> EngineError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Corruption => EngineError::Corrupt(text),
        ErrorKind::Incomplete | ErrorKind::Busy | ErrorKind::TryAgain => EngineError::Busy(text),
        _ => EngineError::Io(text),
    }
}

/// The same while opening: a file of an existing engine that is not there is lost data, and no passing trouble of the
/// disk, as RocksDB reports it.
fn open_error(error: &rocksdb::Error, create: bool) -> EngineError {
    match engine_error(error) {
        EngineError::Io(text) if !create && text.contains(NO_SUCH_FILE) => EngineError::Corrupt(text),
        other => other,
    }
}

/// The same, with the place where a log is damaged: RocksDB does not name it.
fn replay_error(error: &rocksdb::Error, create: bool, end: &wal::End) -> EngineError {
    match (open_error(error, create), end) {
        (
            EngineError::Corrupt(text),
            wal::End::Damaged {
                file,
                whole_end,
                follows,
            },
        ) => EngineError::Corrupt(format!(
            "{text}; {} is whole up to byte {whole_end}, a record that follows at byte {follows} too, and what lies between is not",
            file.display()
        )),
        (other, _) => other,
    }
}

fn database_options(memory: &MemoryBudget, create: bool, end: &wal::End) -> Result<Options, rocksdb::Error> {
    // Taken first: what is built from a string does not keep caches alive that were set before.
    let mut options = Options::default().get_options_from_string(STRICT_DATABASE)?;
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(match end {
        // Ends the replay at the hole, and still refuses when tables are ahead of it.
        wal::End::Holed => DBRecoveryMode::PointInTime,
        wal::End::Plain | wal::End::Damaged { .. } => DBRecoveryMode::TolerateCorruptedTailRecords,
    });
    options.set_recycle_log_file_num(0);
    options.set_max_total_wal_size(WAL_MAX_BYTES);
    options.set_db_write_buffer_size(usize::try_from(memory.memtable_bytes).unwrap_or(usize::MAX));
    options.set_max_background_jobs(FLUSH_THREADS + COMPACTION_THREADS);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(INFO_LOGS);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_stats_persist_period_sec(0);
    Ok(options)
}

/// Starts RocksDB's threads before it starts them itself, from a thread that gives way: they take over its priority. Where
/// that fails, they run as RocksDB starts them.
fn start_background_threads() {
    let start = || {
        let _ = rustix::process::nice(BACKGROUND_NICE);
        if let Ok(mut env) = rocksdb::Env::new() {
            env.set_high_priority_background_threads(FLUSH_THREADS);
            env.set_low_priority_background_threads(COMPACTION_THREADS);
        }
    };
    if let Ok(starter) = std::thread::Builder::new()
        .name("rocksdb-start".to_owned())
        .spawn(start)
    {
        let _ = starter.join();
    }
}

fn space_options(space: Space, memory: &MemoryBudget, cache: &Cache) -> Result<Options, rocksdb::Error> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_format_version(6);
    // In parts of a few KiB: whole ones (a megabyte each for a full table file) push each other out of the cache's shards,
    // and then every look reads and checks one again.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(METADATA_BLOCK_BYTES);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if matches!(space, Space::Point | Space::Meta) {
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_optimize_filters_for_memory(true);
    }
    let mut options = Options::default().get_options_from_string(STRICT_SPACE)?;
    if matches!(space, Space::Point | Space::Meta) {
        // Most looks before a write are for rows that are not there: half of what an import does.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_SHARE);
    }
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    if !matches!(space, Space::Journal) {
        // The journal's rows come in order and go soon. With one compression on all levels its files only change level.
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
    }
    options.set_level_compaction_dynamic_level_bytes(true);
    let share = memory.memtable_bytes / Space::ALL.len() as u64;
    options.set_write_buffer_size(usize::try_from(share).unwrap_or(usize::MAX).max(1 << 20));
    options.set_max_write_buffer_number(3);
    Ok(options)
}

fn spaces(memory: &MemoryBudget) -> Result<(Vec<ColumnFamilyDescriptor>, Cache), EngineError> {
    let block_cache = Cache::new_lru_cache(usize::try_from(memory.block_cache_bytes).unwrap_or(usize::MAX));
    let mut spaces = vec![ColumnFamilyDescriptor::new(DEFAULT_SPACE, Options::default())];
    for space in Space::ALL {
        let options = space_options(space, memory, &block_cache).map_err(|error| engine_error(&error))?;
        spaces.push(ColumnFamilyDescriptor::new(space.name(), options));
    }
    Ok((spaces, block_cache))
}

impl RocksEngine {
    /// Opens the engine in `dir` to read only; nothing in the directory changes.
    ///
    /// # Errors
    /// As [`RocksEngine::open`].
    pub fn open_read_only(dir: &Path, memory: &MemoryBudget) -> Result<Self, EngineError> {
        let (_, end) = wal::look(dir).unwrap_or_default();
        let options = database_options(memory, false, &end).map_err(|error| engine_error(&error))?;
        refuse_unknown_spaces(&options, dir)?;
        let (spaces, block_cache) = spaces(memory)?;
        let db = DB::open_cf_descriptors_read_only(&options, dir, spaces, false)
            .map_err(|error| replay_error(&error, true, &end))?;
        Ok(Self::over(db, block_cache, Replayed::default()))
    }

    /// Opens the engine in `dir`, or creates it there.
    ///
    /// # Errors
    /// [`EngineError`]; `Corrupt` when RocksDB finds durable data missing or damaged, or a space this build does not
    /// know.
    pub fn open(dir: &Path, memory: &MemoryBudget, create: bool) -> Result<Self, EngineError> {
        Self::open_telling(dir, memory, create, &|_| {})
    }

    /// The same; `tell` learns what there is to replay before the replay begins.
    ///
    /// # Errors
    /// As [`RocksEngine::open`].
    pub fn open_telling(
        dir: &Path,
        memory: &MemoryBudget,
        create: bool,
        tell: &dyn Fn(&Replayed),
    ) -> Result<Self, EngineError> {
        // Logs that cannot be read are for RocksDB to refuse; and it removes them once they are replayed.
        let (replayed, end) = wal::look(dir).unwrap_or_default();
        let options = database_options(memory, create, &end).map_err(|error| engine_error(&error))?;
        if !create {
            refuse_unknown_spaces(&options, dir)?;
        }
        tell(&replayed);
        start_background_threads();
        let (spaces, block_cache) = spaces(memory)?;
        let db = DB::open_cf_descriptors(&options, dir, spaces).map_err(|error| replay_error(&error, create, &end))?;
        Ok(Self::over(db, block_cache, replayed))
    }

    fn over(db: DB, block_cache: Cache, replayed: Replayed) -> Self {
        let mut memory_reads = ReadOptions::default();
        memory_reads.set_read_tier(ReadTier::BlockCache);
        let mut synced = WriteOptions::default();
        synced.set_sync(!fault::is_on(fault::Switch::SkipFsync));
        Self {
            db,
            memory_reads,
            synced,
            block_cache,
            replayed,
        }
    }

    fn space(&self, space: Space) -> Result<&ColumnFamily, EngineError> {
        let handle = self.db.cf_handle(space.name());
        handle.ok_or_else(|| EngineError::Corrupt(format!("space {} is missing", space.name())))
    }

    fn batch(&self, ops: &[BatchOp<'_>]) -> Result<WriteBatch, EngineError> {
        let bytes: usize = ops.iter().map(op_bytes).sum();
        let mut batch = WriteBatch::with_capacity_bytes(bytes + 12);
        for op in ops {
            match *op {
                BatchOp::Put(space, key, value) => batch.put_cf(self.space(space)?, key, value),
                BatchOp::Delete(space, key) => batch.delete_cf(self.space(space)?, key),
                BatchOp::DeleteRange(space, from, until) if from < until => {
                    batch.delete_range_cf(self.space(space)?, from, until);
                }
                BatchOp::DeleteRange(..) => {}
            }
        }
        Ok(batch)
    }
}

fn op_bytes(op: &BatchOp<'_>) -> usize {
    const ENVELOPE: usize = 16;
    match op {
        BatchOp::Put(_, a, b) | BatchOp::DeleteRange(_, a, b) => a.len() + b.len() + ENVELOPE,
        BatchOp::Delete(_, a) => a.len() + ENVELOPE,
    }
}

fn refuse_unknown_spaces(options: &Options, dir: &Path) -> Result<(), EngineError> {
    let found = DB::list_cf(options, dir).map_err(|error| open_error(&error, false))?;
    let known = |name: &String| name == DEFAULT_SPACE || Space::ALL.iter().any(|space| space.name() == name);
    match found.iter().find(|name| !known(name)) {
        Some(name) => Err(EngineError::Corrupt(format!(
            "unknown space {name}; it was written by a newer release"
        ))),
        None => Ok(()),
    }
}

impl Engine for RocksEngine {
    fn get(&self, space: Space, key: &[u8], tier: Tier) -> Result<Fetched, EngineError> {
        let handle = self.space(space)?;
        let got = match tier {
            Tier::Memory => self.db.get_pinned_cf_opt(handle, key, &self.memory_reads),
            Tier::Disk => self.db.get_pinned_cf(handle, key),
        };
        match got {
            Ok(Some(value)) => Ok(Fetched::Found(value.to_vec())),
            Ok(None) => Ok(Fetched::Absent),
            Err(error) if tier == Tier::Memory && error.kind() == ErrorKind::Incomplete => Ok(Fetched::NeedsDisk),
            Err(error) => Err(engine_error(&error)),
        }
    }

    fn view(&self) -> Box<dyn EngineView + '_> {
        Box::new(RocksView {
            engine: self,
            snapshot: self.db.snapshot(),
        })
    }

    fn commit(&self, ops: &[BatchOp<'_>]) -> Result<(), EngineError> {
        self.db
            .write_opt(self.batch(ops)?, &self.synced)
            .map_err(|error| engine_error(&error))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            memory_tier: true,
            commit_may_be_unknown: true,
        }
    }

    fn replayed(&self) -> Replayed {
        self.replayed.clone()
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        let checkpoint = Checkpoint::new(&self.db).map_err(|error| engine_error(&error))?;
        // Without a flush: the write-ahead log is part of the copy, and no commit waits for table files.
        checkpoint
            .create_checkpoint_with_log_size(dir, u64::MAX)
            .map_err(|error| engine_error(&error))
    }

    fn properties(&self) -> Vec<(&'static str, u64)> {
        const SUMMED: [(&str, &str); 7] = [
            ("rocksdb_memtables_bytes", "rocksdb.cur-size-all-mem-tables"),
            ("rocksdb_table_files_bytes", "rocksdb.total-sst-files-size"),
            ("rocksdb_live_data_bytes", "rocksdb.estimate-live-data-size"),
            (
                "rocksdb_pending_compaction_bytes",
                "rocksdb.estimate-pending-compaction-bytes",
            ),
            ("rocksdb_table_readers_bytes", "rocksdb.estimate-table-readers-mem"),
            ("rocksdb_running_compactions", "rocksdb.num-running-compactions"),
            ("rocksdb_background_errors", "rocksdb.background-errors"),
        ];
        let sum = |property: &str| -> u64 {
            let of = |space: Space| {
                self.db
                    .property_int_value_cf(self.space(space).ok()?, property)
                    .ok()
                    .flatten()
            };
            Space::ALL.into_iter().filter_map(of).sum()
        };
        let mut figures: Vec<_> = SUMMED
            .into_iter()
            .map(|(name, property)| (name, sum(property)))
            .collect();
        figures.push(("rocksdb_block_cache_bytes", self.block_cache.get_usage() as u64));
        figures
    }

    fn estimate(&self, space: Space, range: &EngineRange) -> (u64, u64) {
        let Ok(handle) = self.space(space) else { return (0, 0) };
        let property = |name: &str| self.db.property_int_value_cf(handle, name).ok().flatten().unwrap_or(0);
        let end = range.end.clone().unwrap_or_else(|| vec![0xff; 32]);
        let bytes = self
            .db
            .get_approximate_sizes_cf(handle, &[Range::new(&range.start, &end)]);
        let bytes = bytes.first().copied().unwrap_or(0);
        // RocksDB estimates rows per space only; a range gets its share by bytes.
        let (all_rows, all_bytes) = (
            property("rocksdb.estimate-num-keys"),
            property("rocksdb.total-sst-files-size"),
        );
        let rows = u128::from(all_rows) * u128::from(bytes) / u128::from(all_bytes.max(1));
        (u64::try_from(rows).unwrap_or(u64::MAX).min(all_rows), bytes)
    }
}

struct RocksView<'e> {
    engine: &'e RocksEngine,
    snapshot: SnapshotWithThreadMode<'e, DB>,
}

impl EngineView for RocksView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.snapshot
            .get_cf(self.engine.space(space)?, key)
            .map_err(|error| engine_error(&error))
    }

    fn scan(&self, space: Space, range: &EngineRange, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut reads = ReadOptions::default();
        reads.set_iterate_lower_bound(range.start.clone());
        if let Some(end) = &range.end {
            reads.set_iterate_upper_bound(end.clone());
        }
        let mut rows = self.snapshot.raw_iterator_cf_opt(self.engine.space(space)?, reads);
        if range.backward {
            rows.seek_to_last();
        } else {
            rows.seek_to_first();
        }
        while let Some((key, value)) = rows.item() {
            if let ControlFlow::Break(()) = visit(key, value) {
                break;
            }
            if range.backward { rows.prev() } else { rows.next() }
        }
        rows.status().map_err(|error| engine_error(&error))
    }
}

#[cfg(test)]
mod tests;
