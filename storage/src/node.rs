//! What belongs to this node and never leaves it, in a redb file of its own: the history of starts, notes by name
//! (how far backups have come), later sink cursors and local metrics. No transaction spans this and the business store.

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::record::{Record, decode_record, encode_record};

/// Memory for pages, in bytes.
const CACHE_BYTES: usize = 8 << 20;
/// Starts remembered.
const STARTS_MAX: u64 = 1000;
/// Incarnation to start record.
const STARTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("starts");

/// Name to note.
const NOTES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("notes");
/// Largest note, in bytes.
const NOTE_MAX_BYTES: usize = 64 << 10;

/// One start of this node's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStart {
    /// When, Unix milliseconds.
    pub started_at: u64,
    /// Version of the program.
    pub version: String,
    /// When it shut down in order; `None` while it runs, and for ever after a crash.
    pub stopped_at: Option<u64>,
}

impl Record for NodeStart {
    const VERSION: u8 = 1;
}

/// The node's own file cannot be used. The business store is unaffected.
#[derive(Debug, thiserror::Error)]
#[error("node store: {0}")]
pub struct NodeError(String);

impl NodeError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The node store.
pub struct NodeStore {
    database: Database,
}

impl NodeStore {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`NodeError`] when redb cannot.
    pub fn open(path: &Path) -> Result<Self, NodeError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(NodeError::of)?;
        Ok(Self { database })
    }

    /// A node store without a file.
    ///
    /// # Errors
    /// [`NodeError`] when redb cannot.
    pub fn in_memory() -> Result<Self, NodeError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(NodeError::of)?;
        Ok(Self { database })
    }

    /// Notes that this incarnation started.
    ///
    /// # Errors
    /// [`NodeError`] when it could not be made durable.
    pub fn note_start(&self, incarnation: u64, start: &NodeStart) -> Result<(), NodeError> {
        self.write(|starts| {
            put(starts, incarnation, start)?;
            let oldest = incarnation.saturating_sub(STARTS_MAX);
            starts.retain_in(..oldest, |_, _| false).map_err(NodeError::of)
        })
    }

    /// Notes that this incarnation shut down in order.
    ///
    /// # Errors
    /// [`NodeError`] when it could not be made durable.
    pub fn note_stop(&self, incarnation: u64, stopped_at: u64) -> Result<(), NodeError> {
        self.write(|starts| {
            let found = starts
                .get(incarnation)
                .map_err(NodeError::of)?
                .map(|row| decode_record(row.value()));
            match found.transpose().map_err(NodeError::of)? {
                Some(start) => put(
                    starts,
                    incarnation,
                    &NodeStart {
                        stopped_at: Some(stopped_at),
                        ..start
                    },
                ),
                None => Ok(()),
            }
        })
    }

    /// The newest `limit` starts with their incarnation, newest first.
    ///
    /// # Errors
    /// [`NodeError`] when redb cannot read.
    pub fn starts(&self, limit: usize) -> Result<Vec<(u64, NodeStart)>, NodeError> {
        let read = self.database.begin_read().map_err(NodeError::of)?;
        let starts = match read.open_table(STARTS) {
            Ok(starts) => starts,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(NodeError::of(error)),
        };
        let rows = starts.iter().map_err(NodeError::of)?.rev().take(limit);
        rows.map(|row| {
            let (incarnation, start) = row.map_err(NodeError::of)?;
            Ok((
                incarnation.value(),
                decode_record(start.value()).map_err(NodeError::of)?,
            ))
        })
        .collect()
    }

    /// Keeps `bytes` (at most 64 KiB) under `name`, in place of what was there.
    ///
    /// # Errors
    /// [`NodeError`] when they are too many or could not be made durable.
    pub fn set_note(&self, name: &str, bytes: &[u8]) -> Result<(), NodeError> {
        if bytes.len() > NOTE_MAX_BYTES {
            return Err(NodeError(format!("note {name} has {} bytes", bytes.len())));
        }
        let mut write = self.database.begin_write().map_err(NodeError::of)?;
        write.set_quick_repair(true);
        write
            .open_table(NOTES)
            .map_err(NodeError::of)?
            .insert(name, bytes)
            .map_err(NodeError::of)?;
        write.commit().map_err(NodeError::of)
    }

    /// What is kept under `name`.
    ///
    /// # Errors
    /// [`NodeError`] when redb cannot read.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, NodeError> {
        let read = self.database.begin_read().map_err(NodeError::of)?;
        let notes = match read.open_table(NOTES) {
            Ok(notes) => notes,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(NodeError::of(error)),
        };
        let note = notes.get(name).map_err(NodeError::of)?;
        Ok(note.map(|note| note.value().to_vec()))
    }

    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, u64, &[u8]>) -> Result<(), NodeError>,
    ) -> Result<(), NodeError> {
        let mut write = self.database.begin_write().map_err(NodeError::of)?;
        // Recovery after a crash then does not walk the whole file.
        write.set_quick_repair(true);
        change(&mut write.open_table(STARTS).map_err(NodeError::of)?)?;
        write.commit().map_err(NodeError::of)
    }
}

fn put(starts: &mut redb::Table<'_, u64, &[u8]>, incarnation: u64, start: &NodeStart) -> Result<(), NodeError> {
    let bytes = encode_record(start).map_err(NodeError::of)?;
    starts
        .insert(incarnation, bytes.as_slice())
        .map(drop)
        .map_err(NodeError::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(started_at: u64) -> NodeStart {
        NodeStart {
            started_at,
            version: "0.1.0".into(),
            stopped_at: None,
        }
    }

    #[test]
    fn starts_are_remembered_newest_first_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.redb");
        {
            let node = NodeStore::open(&path).unwrap();
            assert_eq!(node.starts(10).unwrap(), []);
            node.note_start(1, &start(100)).unwrap();
            node.note_stop(1, 150).unwrap();
            node.note_start(2, &start(200)).unwrap();
            node.note_stop(77, 1).unwrap();
        }
        let node = NodeStore::open(&path).unwrap();
        let first = NodeStart {
            stopped_at: Some(150),
            ..start(100)
        };
        assert_eq!(node.starts(10).unwrap(), [(2, start(200)), (1, first)]);
        node.note_start(STARTS_MAX + 2, &start(300)).unwrap();
        assert_eq!(node.starts(10).unwrap().len(), 2, "the first is forgotten");
    }

    #[test]
    fn notes_stay_until_they_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.redb");
        {
            let node = NodeStore::open(&path).unwrap();
            assert_eq!(node.note("a").unwrap(), None);
            node.set_note("a", b"one").unwrap();
            node.set_note("a", b"two").unwrap();
            assert!(node.set_note("a", &vec![0; NOTE_MAX_BYTES + 1]).is_err());
        }
        let node = NodeStore::open(&path).unwrap();
        assert_eq!(node.note("a").unwrap(), Some(b"two".to_vec()));
        assert_eq!(node.note("b").unwrap(), None);
    }

    #[test]
    fn works_without_a_file() {
        let node = NodeStore::in_memory().unwrap();
        node.note_start(1, &start(100)).unwrap();
        assert_eq!(node.starts(1).unwrap(), [(1, start(100))]);
    }
}
