//! What the threads of a store and its handles have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::apply::Rules;
use crate::cache::RowCache;
use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::head::Head;
use crate::histogram::Histogram;
use crate::keyring::KeyRing;
use crate::limits::VIEW_MAX;
use crate::options::FatalFn;
use crate::room::RoomGauge;

/// Who this store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster_id: [u8; 16],
    pub(crate) incarnation: u64,
}

/// Figures of the commit pipeline.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) group_transactions: Histogram,
    pub(crate) group_bytes: Histogram,
    pub(crate) sync_us: Histogram,
    pub(crate) queue_wait_us: Histogram,
    pub(crate) read_us: Histogram,
    pub(crate) long_reads: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) abandoned: AtomicU64,
    pub(crate) clock_held_back: AtomicU64,
    pub(crate) journal_first_lsn: AtomicU64,
    pub(crate) journal_bytes: AtomicU64,
}

/// Shared state.
pub(crate) struct Shared {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) catalog: Catalog,
    pub(crate) keys: KeyRing,
    pub(crate) cache: RowCache,
    pub(crate) head: RwLock<Head>,
    pub(crate) identity: Identity,
    pub(crate) figures: Figures,
    pub(crate) room: RoomGauge,
    failed: AtomicBool,
    on_fatal: FatalFn,
}

impl Shared {
    pub(crate) fn new(
        engine: Box<dyn Engine>,
        catalog: Catalog,
        keys: KeyRing,
        cache_bytes: u64,
        (head, identity): (Head, Identity),
        on_fatal: FatalFn,
    ) -> Arc<Self> {
        Arc::new(Self {
            engine,
            catalog,
            keys,
            cache: RowCache::new(cache_bytes),
            head: RwLock::new(head),
            identity,
            figures: Figures::default(),
            room: RoomGauge::default(),
            failed: AtomicBool::new(false),
            on_fatal,
        })
    }

    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules {
            catalog: &self.catalog,
            keys: &self.keys,
        }
    }

    /// Accounts for a read on the pool.
    pub(crate) fn note_read(&self, took: Duration) {
        self.figures
            .read_us
            .record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if took > VIEW_MAX {
            self.figures.long_reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nothing more may be committed. In production the hook ends the process and this does not return.
    pub(crate) fn fatal(&self, reason: &str) {
        self.failed.store(true, Ordering::SeqCst);
        (self.on_fatal)(reason);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}
