//! Copies of a store at one point of its history, taken while it goes on: the bodies of backups. A copy is proven by
//! opening it and by the digest of its content, which is the same for every store that stands at the same lsn of the
//! same history, however it came there.

use std::ops::ControlFlow;
use std::path::Path;

use crate::catalog::Catalog;
use crate::engine::rocks::RocksEngine;
use crate::engine::{Engine, EngineView, Space};
use crate::error::{CodecError, EngineError, ReadError};
use crate::head::Head;
use crate::options::MemoryBudget;
use crate::span::{EngineRange, Span};
use crate::store::Store;
use crate::table::TableDef;

/// Progress is told every so many rows.
const PROGRESS_ROWS: u64 = 500_000;

/// Memory of a copy that is only read from one end to the other.
const MEMORY: MemoryBudget = MemoryBudget {
    block_cache_bytes: 16 << 20,
    row_cache_bytes: 0,
    memtable_bytes: 8 << 20,
};

/// BLAKE3 over all rows of all tables and indexes, in order.
pub type Digest = [u8; 32];

/// An engine's copy, opened to read only.
pub struct Checkpoint {
    engine: RocksEngine,
    catalog: Catalog,
    head: Head,
    cluster_id: [u8; 16],
}

impl Store {
    /// Copies the engine into `dir`, which must not exist, on the same file system. Table files are linked, so this takes
    /// no space until the store has rewritten them, and no time that depends on their size.
    ///
    /// # Errors
    /// [`EngineError`]; what was copied by then may remain in `dir`.
    pub fn checkpoint(&self, dir: &Path) -> Result<(), EngineError> {
        self.shared().engine.checkpoint(dir)
    }

    /// Frames from `from_lsn` on, in order, as stored: at least one if there is one, and no more once they exceed
    /// `max_bytes` together. The snapshot it reads is gone when it returns, however long the journal is.
    ///
    /// # Errors
    /// [`ReadError::Engine`] when the engine cannot read.
    pub fn journal_page(&self, from_lsn: u64, max_bytes: usize) -> Result<Vec<Vec<u8>>, ReadError> {
        let range = EngineRange {
            start: from_lsn.to_be_bytes().to_vec(),
            end: None,
            backward: false,
        };
        let (mut frames, mut bytes) = (Vec::new(), 0usize);
        let view = self.shared().engine.view();
        view.scan(Space::Journal, &range, &mut |_, frame| {
            bytes = bytes.saturating_add(frame.len());
            if bytes > max_bytes && !frames.is_empty() {
                return ControlFlow::Break(());
            }
            frames.push(frame.to_vec());
            ControlFlow::Continue(())
        })?;
        Ok(frames)
    }

    /// The head and the digest of the content at that head; reads everything. `progress` is told rows.
    ///
    /// # Errors
    /// [`ReadError`] when the engine cannot read.
    pub fn digest(&self, progress: &mut dyn FnMut(u64)) -> Result<(Head, Digest), ReadError> {
        let shared = self.shared();
        let view = shared.engine.view();
        let (_, head) = head_of(view.as_ref())?;
        Ok((head, digest(view.as_ref(), &shared.catalog, progress)?))
    }
}

impl Checkpoint {
    /// Opens a copy. Nothing in it changes.
    ///
    /// # Errors
    /// [`EngineError`]: `Corrupt` when the copy is not whole or not a store of this release.
    pub fn open(dir: &Path, tables: &[&'static TableDef]) -> Result<Self, EngineError> {
        let catalog = Catalog::new(tables, Vec::new()).map_err(EngineError::Corrupt)?;
        let engine = RocksEngine::open_read_only(dir, &MEMORY)?;
        let (cluster_id, head) = head_of(engine.view().as_ref())?;
        Ok(Self {
            engine,
            catalog,
            head,
            cluster_id,
        })
    }

    /// Where its history ends.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Whose data it is.
    #[must_use]
    pub fn cluster_id(&self) -> [u8; 16] {
        self.cluster_id
    }

    /// The digest of its content. `progress` is told rows.
    ///
    /// # Errors
    /// [`EngineError`] when the copy cannot be read.
    pub fn digest(&self, progress: &mut dyn FnMut(u64)) -> Result<Digest, EngineError> {
        digest(self.engine.view().as_ref(), &self.catalog, progress)
    }
}

/// Cluster and head as the engine has them.
pub(crate) fn head_of(view: &dyn EngineView) -> Result<([u8; 16], Head), EngineError> {
    let row = view.get(Space::Meta, &Head::key())?;
    let row = row.ok_or_else(|| EngineError::Corrupt("the head row is missing".into()))?;
    Head::decode(&row).map_err(|error: CodecError| EngineError::Corrupt(format!("the head row: {error}")))
}

fn digest(view: &dyn EngineView, catalog: &Catalog, progress: &mut dyn FnMut(u64)) -> Result<Digest, EngineError> {
    let (mut hasher, mut rows) = (blake3::Hasher::new(), 0u64);
    for (number, _) in catalog.names() {
        let Some(space) = catalog.space(number) else { continue };
        view.scan(space, &Span::all().numbered(number), &mut |key, value| {
            for part in [key, value] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
            rows += 1;
            if rows.is_multiple_of(PROGRESS_ROWS) {
                progress(rows);
            }
            ControlFlow::Continue(())
        })?;
    }
    progress(rows);
    Ok(*hasher.finalize().as_bytes())
}
