//! Letting old backups go: manifests first, then what no manifest names any more, so that a prune that is cut off leaves
//! litter and never a backup without its files.

use std::collections::HashSet;

use serde::Serialize;

use super::BackupError;
use super::archive;
use super::manifest::{Manifest, OBJECTS};
use super::repository::Repository;

/// Folder of the markers of backups in the making.
pub const RUNNING: &str = "running";
/// A marker older than this was left behind by a process that ended in the middle.
const MARKER_MAX_MS: u64 = 24 * 3_600_000;
const DAY_MS: u64 = 86_400_000;

/// What stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many, whatever their age; at least one.
    pub last: usize,
    /// And all that are no older than this.
    pub days: u64,
}

/// What went.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Ids of the backups that stay.
    pub kept: Vec<String>,
    /// Ids of the backups that went.
    pub removed: Vec<String>,
    /// Objects that went.
    pub objects: u64,
    /// Batches of the journal that went.
    pub batches: u64,
    /// Bytes that went.
    pub bytes: u64,
}

impl Keep {
    /// Parts manifests (oldest first) into those that stay and those that go.
    #[must_use]
    pub fn part(self, manifests: Vec<Manifest>, now_at: u64) -> (Vec<Manifest>, Vec<Manifest>) {
        let old = manifests.len().saturating_sub(self.last.max(1));
        let cutoff_at = now_at.saturating_sub(self.days.saturating_mul(DAY_MS));
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for (index, manifest) in manifests.into_iter().enumerate() {
            if index >= old || manifest.made_at >= cutoff_at {
                kept.push(manifest);
            } else {
                gone.push(manifest);
            }
        }
        (kept, gone)
    }
}

/// Removes what need not be kept.
///
/// # Errors
/// [`BackupError::Busy`] while a backup is being made; [`BackupError::Damaged`] when a manifest cannot be trusted, because
/// then nobody knows which objects it names.
pub async fn prune(repository: &Repository, keep: Keep, now_at: u64) -> Result<Pruned, BackupError> {
    repository.recognise().await?;
    refuse_while_running(repository, now_at).await?;
    let (kept, gone) = keep.part(Manifest::all(repository).await?, now_at);
    let mut pruned = Pruned {
        kept: kept.iter().map(|manifest| manifest.id.clone()).collect(),
        removed: gone.iter().map(|manifest| manifest.id.clone()).collect(),
        ..Pruned::default()
    };
    for manifest in &gone {
        repository.remove(&Manifest::name(&manifest.id)).await?;
    }
    let named: HashSet<String> = kept.iter().flat_map(|m| &m.files).map(|file| file.object()).collect();
    for object in repository.list(OBJECTS).await? {
        if !named.contains(&object.name) {
            repository.remove(&object.name).await?;
            (pruned.objects, pruned.bytes) = (pruned.objects + 1, pruned.bytes + object.bytes);
        }
    }
    // Without a backup to begin with, frames restore nothing.
    let Some(oldest_lsn) = kept.iter().map(|manifest| manifest.lsn).min() else {
        return Ok(pruned);
    };
    for object in repository.list(archive::JOURNAL).await? {
        if archive::Batch::parse(&object.name).is_some_and(|batch| batch.last <= oldest_lsn) {
            repository.remove(&object.name).await?;
            (pruned.batches, pruned.bytes) = (pruned.batches + 1, pruned.bytes + object.bytes);
        }
    }
    Ok(pruned)
}

async fn refuse_while_running(repository: &Repository, now_at: u64) -> Result<(), BackupError> {
    for marker in repository.list(RUNNING).await? {
        if marker.modified_at.saturating_add(MARKER_MAX_MS) > now_at {
            return Err(BackupError::Busy(format!(
                "a backup is being made ({}); prune when it is done, or 24 hours after it was cut off",
                marker.name
            )));
        }
        repository.remove(&marker.name).await?;
    }
    Ok(())
}
