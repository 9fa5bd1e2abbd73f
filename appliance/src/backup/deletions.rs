//! A restore to an earlier point would bring back accounts that were deleted since. The list of them lies in the journal
//! beyond the point; it is left in the restored directory, and the first start does the deletions again before it serves.

use std::path::Path;

use seawall_domain::{AccountId, Call, DeletionList, Platform};
use seawall_storage::Head;
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::archive::{self, Batch};
use super::repository::Repository;
use crate::data_dir::{DataDir, write_private};
use crate::entropy::OsEntropy;

/// In the data directory, until the first start has done what it says.
const FILE: &str = "deletions-to-reapply.json";

/// What lies beyond a point.
#[derive(Debug, Default)]
pub struct Beyond {
    /// Accounts that are deleted at the end of the archive.
    pub accounts: Vec<AccountId>,
    /// Parts of the archive that cannot be read, and why: deletions in them stay unknown.
    pub unread: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    accounts: Vec<u64>,
}

/// Reads what was archived after `head`, of all histories: a deletion counts in whichever it was asked for.
pub async fn beyond(repository: &Repository, batches: &[Batch], head: Head) -> Beyond {
    let is_beyond = |lsn: u64, epoch: u64| lsn > head.lsn || epoch > head.epoch;
    let mut later: Vec<&Batch> = batches
        .iter()
        .filter(|batch| is_beyond(batch.last, batch.epoch))
        .collect();
    later.sort_by_key(|batch| (batch.epoch, batch.first));
    let (mut list, mut unread) = (DeletionList::default(), Vec::new());
    for batch in later {
        let mut take = |bytes: &[u8]| {
            let frame = archive::read_frame(bytes)?;
            if is_beyond(frame.position.lsn, frame.position.epoch) {
                let read = list.read(&frame);
                read.map_err(|error| BackupError::Damaged(format!("lsn {}: {error}", frame.position.lsn)))?;
            }
            Ok(())
        };
        if let Err(error) = archive::frames(repository, batch, &mut take).await {
            unread.push(error.to_string());
        }
    }
    Beyond {
        accounts: list.into_accounts(),
        unread,
    }
}

/// Leaves the list in a restored directory. Called before the directory can be opened, so that no start can miss it.
///
/// # Errors
/// [`BackupError::Host`] when it cannot be written.
pub fn leave(into: &Path, accounts: &[AccountId]) -> Result<(), BackupError> {
    if accounts.is_empty() {
        return Ok(());
    }
    let pending = Pending {
        accounts: accounts.iter().map(|account| account.0).collect(),
    };
    let path = into.join(FILE);
    let bytes = serde_json::to_vec(&pending).map_err(|error| BackupError::Host(error.to_string()))?;
    write_private(&path, &bytes).map_err(|error| BackupError::file(&path, &error))
}

/// Does what the list of a restore says, once.
///
/// # Errors
/// As a sentence: the list cannot be read, or the store does not take it. Nobody may be served then.
pub fn reapply(dir: &DataDir, platform: &Platform) -> Result<(), String> {
    let path = dir.root().join(FILE);
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    let pending: Pending = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
    let accounts: Vec<AccountId> = pending.accounts.into_iter().map(AccountId).collect();
    let deleted = platform
        .deletion_reapply(&Call::platform(OsEntropy.bytes()), &accounts)
        .map_err(|error| failed(&error))?;
    tracing::warn!(
        listed = accounts.len(),
        deleted,
        "accounts deleted after the point of the restore were deleted again"
    );
    std::fs::remove_file(&path).map_err(|error| failed(&error))
}
