//! What a store is opened with.

use std::sync::Arc;

use crate::catalog::Observer;
use crate::error::CodecError;
use crate::journal::JournalLimits;
use crate::key::Key;
use crate::keyring::KeyRing;
use crate::record::{Record, decode_record};
use crate::stamp::BootClock;
use crate::table::{Table, TableDef};

/// Called with the reason when nothing more may be committed. In production it must end the process.
pub type FatalFn = Arc<dyn Fn(&str) + Send + Sync>;
/// Called with a sentence for people while a start takes its time.
pub type ProgressFn = Arc<dyn Fn(&str) + Send + Sync>;

/// Memory the store may use, by consumer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// Blocks of table files kept uncompressed by the engine.
    pub block_cache_bytes: u64,
    /// Hot decoded rows.
    pub row_cache_bytes: u64,
    /// Rows not yet written to table files, all spaces together.
    pub memtable_bytes: u64,
}

impl MemoryBudget {
    /// Sum of all consumers.
    pub fn total_bytes(&self) -> u64 {
        self.block_cache_bytes + self.row_cache_bytes + self.memtable_bytes
    }
}

impl Default for MemoryBudget {
    /// Fits a host of 1 GiB: 128 MiB blocks, 64 MiB rows, 64 MiB memtables.
    fn default() -> Self {
        Self {
            block_cache_bytes: 128 << 20,
            row_cache_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
        }
    }
}

/// What a store is opened with.
pub struct OpenOptions {
    /// All tables, in any order.
    pub tables: &'static [&'static TableDef],
    /// The cluster key ring.
    pub keys: KeyRing,
    /// How much of the journal is kept.
    pub journal: JournalLimits,
    /// Memory by consumer.
    pub memory: MemoryBudget,
    /// Called when nothing more may be committed; must end the process in production.
    pub on_fatal: FatalFn,
    /// Told what a long start is doing.
    pub progress: ProgressFn,
    /// The boot-time clock.
    pub boot_ms: BootClock,
    /// 32 unpredictable bytes, from which a fresh store takes its cluster and node ids.
    pub entropy: [u8; 32],
    pub(crate) observers: Vec<Observer>,
}

impl OpenOptions {
    /// Options with default limits, silent progress, and a fatal hook that aborts the process.
    pub fn new(tables: &'static [&'static TableDef], keys: KeyRing, boot_ms: BootClock, entropy: [u8; 32]) -> Self {
        Self {
            tables,
            keys,
            journal: JournalLimits::default(),
            memory: MemoryBudget::default(),
            on_fatal: Arc::new(|_| std::process::abort()),
            progress: Arc::new(|_| {}),
            boot_ms,
            entropy,
            observers: Vec::new(),
        }
    }

    /// Has `call` told of every committed change of `table`, in commit order, before any reply of the group is
    /// released. It runs on the commit path: it must be quick and must not wait for the store. If it panics the store
    /// is finished, because what it mirrors would be wrong.
    #[must_use]
    pub fn observe<K: Key + 'static, V: Record>(
        mut self,
        table: &Table<K, V>,
        call: impl Fn(&K, Option<&V>) + Send + Sync + 'static,
    ) -> Self {
        let decode_and_call = move |key: &[u8], plain: Option<&[u8]>| -> Result<(), CodecError> {
            let value = plain.map(decode_record::<V>).transpose()?;
            call(&K::decode(key)?, value.as_ref());
            Ok(())
        };
        self.observers.push(Observer {
            table: table.def.number,
            call: Box::new(decode_and_call),
        });
        self
    }
}
