//! The store: handle to the sequencer, the readers and the engine. Cheap to clone; the last handle to go shuts it down.

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::Mutex;

use crate::cache::Slot;
use crate::catalog::{Catalog, table_space};
use crate::commit::{Commit, Job, Patience, Write};
use crate::disk::Lock;
use crate::engine::memory::MemoryEngine;
use crate::engine::{Fetched, Space, Tier};
use crate::error::{ReadError, TxError, WriteError};
use crate::head::Head;
use crate::journal::Journal;
use crate::key::Key;
use crate::limits::{LOOKUP_DEADLINE, QUEUE_MAX_TX};
use crate::node::NodeStore;
use crate::open::{FloorKeeper, Opened, Recovery};
use crate::options::OpenOptions;
use crate::readers::{Query, Readers};
use crate::record::{Record, decode_record};
use crate::room::DiskRoom;
use crate::sequencer::{Message, Sequencer};
use crate::shared::{Identity, Shared};
use crate::span::EngineRange;
use crate::stamp::{Stamp, TxClock};
use crate::stats::{QueueWaits, Stats};
use crate::table::{Table, TableDef};
use crate::tx::{Tx, full_key};
use crate::view::View;
use crate::writer::Writer;

/// The future of a row look-up.
pub type Lookup<V> = Query<Option<Arc<V>>>;

/// The store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Sender<Message>,
    readers: Mutex<Option<Arc<Readers>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closed: AtomicBool,
    home: Home,
}

/// What a store has besides its engine: nothing durable for one in memory.
pub(crate) struct Home {
    /// Held so that no other process takes the directory; released last.
    pub(crate) _lock: Option<Lock>,
    pub(crate) floor: Option<FloorKeeper>,
    pub(crate) node: NodeStore,
    pub(crate) recovery: Recovery,
}

impl Store {
    /// A store without files: the same sequencer, journal and apply over ordered maps.
    ///
    /// # Errors
    /// A sentence saying which table entry is wrong, or that the system gives no threads.
    pub fn open_memory(options: OpenOptions) -> Result<Self, String> {
        let OpenOptions {
            tables,
            keys,
            journal,
            memory,
            on_fatal,
            boot_ms,
            entropy,
            observers,
            ..
        } = options;
        let catalog = Catalog::new(tables, observers)?;
        let identity = Identity {
            cluster_id: derive_id("cluster id", &entropy),
            incarnation: 1,
        };
        let engine = Box::new(MemoryEngine::new());
        let start = (Head::start(1), identity);
        let shared = Shared::new(engine, catalog, keys, memory.row_cache_bytes, start, on_fatal);
        let home = Home {
            _lock: None,
            floor: None,
            node: NodeStore::in_memory().map_err(|error| error.to_string())?,
            recovery: Recovery::default(),
        };
        let opened = Opened {
            shared,
            journal: Journal::new(journal, []),
            clock: TxClock::new(boot_ms, 0),
            home,
        };
        Self::start(opened).map_err(|error| error.to_string())
    }

    /// Starts the threads over an engine whose head is known.
    pub(crate) fn start(opened: Opened) -> std::io::Result<Self> {
        let (store, sequencer, writer) = Self::assemble(opened);
        let inner = &store.inner;
        let (readers, mut threads) = Readers::start()?;
        *inner.readers.lock() = Some(Arc::new(readers));
        threads.push(spawn_vital("store-seq", &inner.shared, move || sequencer.run())?);
        threads.push(spawn_vital("store-write", &inner.shared, move || writer.run())?);
        if let Some(floor) = &inner.home.floor {
            threads.push(floor.spawn()?);
        }
        *inner.threads.lock() = threads;
        Ok(store)
    }

    /// The store and what its threads drive, without threads.
    pub(crate) fn assemble(opened: Opened) -> (Self, Sequencer, Writer) {
        let Opened {
            shared,
            journal,
            clock,
            home,
        } = opened;
        let (queue, messages) = bounded(QUEUE_MAX_TX);
        let (to_writer, groups) = bounded(1);
        let (to_sequencer, done) = bounded(1);
        let sequencer = Sequencer::new(Arc::clone(&shared), messages, to_writer, done, clock);
        let writer = Writer::new(Arc::clone(&shared), groups, to_sequencer, journal);
        let inner = Inner {
            shared,
            queue,
            readers: Mutex::new(None),
            threads: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            home,
        };
        let store = Self { inner: Arc::new(inner) };
        (store, sequencer, writer)
    }

    /// Runs `f` in the sequencer, on top of every write queued before. `f` may run again and must depend on nothing but
    /// the transaction. `Ok` keeps its changes, `Err` or a panic drops them.
    pub fn write<T, E, F>(&self, stamp: Stamp, f: F) -> Commit<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<TxError> + Send + 'static,
    {
        self.queue(stamp, None, f)
    }

    /// The same for a write that is wanted only while its caller waits: `f` is not run when, at its turn, the returned
    /// future has been dropped or the boot-time clock is past `until_boot_ms` (milliseconds; answered
    /// [`WriteError::Late`]). Once it has begun it is like any other.
    pub fn write_while_awaited<T, E, F>(&self, stamp: Stamp, until_boot_ms: Option<u64>, f: F) -> Commit<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<TxError> + Send + 'static,
    {
        self.queue(stamp, Some(Patience { until_boot_ms }), f)
    }

    fn queue<T, E, F>(&self, stamp: Stamp, patience: Option<Patience>, f: F) -> Commit<T, E>
    where
        F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<TxError> + Send + 'static,
    {
        if self.inner.closed.load(Ordering::SeqCst) || self.inner.shared.has_failed() {
            return Commit::rejected(WriteError::Closed);
        }
        let (job, commit) = Write::new(stamp, patience, f);
        let job: Box<dyn Job> = job;
        match self.inner.queue.try_send(Message::Run(job, Instant::now())) {
            Ok(()) => commit,
            Err(TrySendError::Full(_)) => Commit::rejected(WriteError::Busy),
            Err(TrySendError::Disconnected(_)) => Commit::rejected(WriteError::Closed),
        }
    }

    /// The latest durable value of a row: from the row cache, from the engine's memory, or from the disk through the
    /// reader pool.
    pub fn get<K: Key, V: Record>(&self, table: &'static Table<K, V>, key: &K) -> Lookup<V> {
        let full = match full_key(&table.def, key) {
            Ok(full) => full,
            Err(error) => return Query::now(Err(error.into())),
        };
        match fetch::<V>(&self.inner.shared, &table.def, &full, Tier::Memory) {
            Ok(Some(row)) => Query::now(Ok(row)),
            Err(error) => Query::now(Err(error)),
            Ok(None) => {
                let shared = Arc::clone(&self.inner.shared);
                self.on_reader(LOOKUP_DEADLINE, move || {
                    Ok(fetch::<V>(&shared, &table.def, &full, Tier::Disk)?.unwrap_or_default())
                })
            }
        }
    }

    /// Runs `f` over one snapshot on the reader pool; it does not run when no reader is free within `deadline`.
    pub fn query<R: Send + 'static>(
        &self,
        deadline: Duration,
        f: impl FnOnce(&View<'_>) -> Result<R, ReadError> + Send + 'static,
    ) -> Query<R> {
        let shared = Arc::clone(&self.inner.shared);
        self.on_reader(deadline, move || f(&View::new(shared.rules(), shared.engine.view())))
    }

    /// The same on this thread, blocking; for start-up loads, tools and tests.
    ///
    /// # Errors
    /// What `f` returns.
    pub fn read<R>(&self, f: impl FnOnce(&View<'_>) -> Result<R, ReadError>) -> Result<R, ReadError> {
        let shared = &self.inner.shared;
        f(&View::new(shared.rules(), shared.engine.view()))
    }

    fn on_reader<R: Send + 'static>(
        &self,
        deadline: Duration,
        read: impl FnOnce() -> Result<R, ReadError> + Send + 'static,
    ) -> Query<R> {
        let readers = self.inner.readers.lock().clone();
        match readers {
            Some(readers) => {
                let shared = Arc::clone(&self.inner.shared);
                readers.query(deadline, move || {
                    let begun = Instant::now();
                    let result = read();
                    shared.note_read(begun.elapsed());
                    result
                })
            }
            None => Query::now(Err(ReadError::Closed)),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    pub(crate) fn home(&self) -> &Home {
        &self.inner.home
    }

    /// Where the durable history ends.
    pub fn head(&self) -> Head {
        *self.inner.shared.head.read()
    }

    /// Shows the frames kept from `from_lsn` on to `visit`, in order, as stored; [`crate::frame::decode`] reads them.
    ///
    /// # Errors
    /// [`ReadError::Engine`] when the engine cannot read.
    pub fn journal(&self, from_lsn: u64, visit: &mut dyn FnMut(&[u8])) -> Result<(), ReadError> {
        let range = EngineRange {
            start: from_lsn.to_be_bytes().to_vec(),
            end: None,
            backward: false,
        };
        let frames = self.inner.shared.engine.view();
        Ok(frames.scan(Space::Journal, &range, &mut |_, frame| {
            visit(frame);
            ControlFlow::Continue(())
        })?)
    }

    /// Identity of the data, the same on every node that holds a copy.
    pub fn cluster_id(&self) -> [u8; 16] {
        self.inner.shared.identity.cluster_id
    }

    /// How often this node's store was started, this start included.
    pub fn incarnation(&self) -> u64 {
        self.inner.shared.identity.incarnation
    }

    /// True once a commit failed: nothing more is written and the process should be gone.
    pub fn has_failed(&self) -> bool {
        self.inner.shared.has_failed()
    }

    /// Tells how much room the disk has; writes are refused accordingly from the next one on.
    pub fn set_disk_room(&self, room: DiskRoom) {
        self.inner.shared.room.set(room);
    }

    /// How much room the disk has, as it was told last.
    pub fn disk_room(&self) -> DiskRoom {
        self.inner.shared.room.read()
    }

    /// Figures for metrics.
    pub fn stats(&self) -> Stats {
        let shared = &self.inner.shared;
        let figures = &shared.figures;
        let (cache_hits, cache_misses, cache_entries, cache_bytes) = shared.cache.figures();
        Stats {
            transactions: figures.transactions.load(Ordering::Relaxed),
            refused: figures.refused.load(Ordering::Relaxed),
            late: figures.late.load(Ordering::Relaxed),
            abandoned: figures.abandoned.load(Ordering::Relaxed),
            queue_length: self.inner.queue.len(),
            read_queue_length: self
                .inner
                .readers
                .lock()
                .as_ref()
                .map_or(0, |readers| readers.waiting()),
            group_transactions: figures.group_transactions.read(),
            group_bytes: figures.group_bytes.read(),
            sync_us: figures.sync_us.read(),
            queue_wait_us: figures.queue_wait_us.read(),
            read_us: figures.read_us.read(),
            long_reads: figures.long_reads.load(Ordering::Relaxed),
            cache_hits,
            cache_misses,
            cache_entries,
            cache_bytes,
            journal_first_lsn: figures.journal_first_lsn.load(Ordering::Relaxed),
            journal_last_lsn: self.head().lsn,
            journal_bytes: figures.journal_bytes.load(Ordering::Relaxed),
            clock_held_back: figures.clock_held_back.load(Ordering::Relaxed),
            engine: shared.engine.properties(),
        }
    }

    /// How writes wait for the sequencer; unlike [`Store::stats`] it asks the engine nothing, so it may be read often.
    #[must_use]
    pub fn queue_waits(&self) -> QueueWaits {
        let waits = self.inner.shared.figures.queue_wait_us.read();
        QueueWaits {
            sum_us: waits.sum,
            count: waits.count(),
            waiting: self.inner.queue.len(),
        }
    }

    /// Finishes what is queued, stops all threads and returns when they are gone. Later writes are answered `Closed`.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    /// The first half of a shutdown, for a store without threads.
    #[cfg(feature = "simulation")]
    pub(crate) fn close(&self) {
        self.inner.close();
    }

    /// Writes the floor now, as the floor thread does from time to time.
    #[cfg(feature = "simulation")]
    pub(crate) fn keep_floor(&self) {
        self.inner.keep_floor();
    }
}

impl Inner {
    fn shutdown(&self) {
        if !self.close() {
            return;
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        let this = std::thread::current().id();
        if threads.iter().any(|thread| thread.thread().id() == this) {
            // The last handle went inside a closure: the threads end by themselves once this one goes on.
            return;
        }
        for thread in threads {
            // A panic of a store thread was reported when it happened.
            let _ = thread.join();
        }
        self.keep_floor();
    }

    /// Lets nothing in any more and tells everyone to finish; false when that was done before.
    fn close(&self) -> bool {
        if self.closed.swap(true, Ordering::SeqCst) {
            return false;
        }
        // The queue drains on its own, so this waits for a place at most as long as the commits ahead take. An error
        // means that the sequencer is gone already.
        let _ = self.queue.send(Message::Stop);
        self.readers.lock().take();
        if let Some(floor) = &self.home.floor {
            floor.stop();
        }
        true
    }

    fn keep_floor(&self) {
        if let Some(floor) = &self.home.floor {
            floor.keep();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A thread without which nothing can be committed: when it panics the store is finished.
fn spawn_vital(
    name: &'static str,
    shared: &Arc<Shared>,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name(name.into()).spawn(move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            shared.fatal(&format!("thread {name} panicked"));
        }
    })
}

/// Takes an id of 16 bytes for one purpose out of unpredictable bytes.
pub(crate) fn derive_id(label: &str, entropy: &[u8; 32]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(entropy);
    hasher.update(label.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}

/// Reads a row through the cache when its table is cached; `None` when only the disk knows.
fn fetch<V: Record>(
    shared: &Shared,
    table: &TableDef,
    full: &[u8],
    tier: Tier,
) -> Result<Option<Option<Arc<V>>>, ReadError> {
    if shared.catalog.table(table.number).is_none() {
        return Err(ReadError::UnknownTable(table.number));
    }
    let slot = if table.cached {
        shared.cache.look_up(full)
    } else {
        Slot::Bypass
    };
    let loader = match slot {
        // Another type under one table number cannot be; reading the row again is right in any case.
        Slot::Hit(record) => match record.downcast::<V>() {
            Ok(row) => return Ok(Some(Some(row))),
            Err(_) => None,
        },
        Slot::Load(loader) => Some(loader),
        Slot::Bypass => None,
    };
    let stored = match shared.engine.get(table_space(table), full, tier)? {
        Fetched::NeedsDisk => return Ok(None),
        Fetched::Absent => return Ok(Some(None)),
        Fetched::Found(stored) => stored,
    };
    let plain = shared.rules().plain(table, full, stored)?;
    let row = decode_record::<V>(&plain).map_err(|error| ReadError::Codec {
        table: table.number,
        error,
    })?;
    let row = Arc::new(row);
    if let Some(loader) = loader {
        let record: Arc<dyn Any + Send + Sync> = Arc::<V>::clone(&row);
        loader.fill(record, plain.len());
    }
    Ok(Some(Some(row)))
}

#[cfg(test)]
mod faults;
#[cfg(test)]
pub(crate) mod tests;
