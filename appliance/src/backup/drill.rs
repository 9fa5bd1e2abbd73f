//! Proving that a restore works, by doing one: the newest backup but one, brought forward with the archive to the lsn of
//! the newest, must have the digest that was recorded there.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::manifest::Manifest;
use super::progress::Progress;
use super::repository::Repository;
use super::restore::{self, Point, Wish};

/// What a drill found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// When it ended, Unix milliseconds.
    pub at: u64,
    /// The backup it began with.
    pub base: String,
    /// The backup it was compared with; the same one when there is only one.
    pub compared: String,
    /// Its lsn.
    pub lsn: u64,
    /// Frames applied.
    pub frames: u64,
    /// Bytes of files and frames.
    pub bytes: u64,
    /// How long it took.
    pub took_ms: u64,
    /// What is wrong; `None` when the restore is proven.
    pub problem: Option<String>,
}

/// Restores into `scratch`, which is removed before and after.
///
/// # Errors
/// When there is nothing to restore, the storage does not answer, or this host cannot do it. What is wrong with the
/// backups is in the proof.
pub async fn drill(
    repository: &Repository,
    scratch: &Path,
    now_at: &dyn Fn() -> u64,
    progress: &Progress,
) -> Result<Proof, BackupError> {
    let begun = Instant::now();
    remove(scratch)?;
    let done = attempt(repository, scratch, progress).await;
    remove(scratch)?;
    let proof = match done {
        Ok(proof) => proof,
        Err(error @ (BackupError::Damaged(_) | BackupError::Missing(_) | BackupError::Point(_))) => Proof {
            problem: Some(error.to_string()),
            ..Proof::default()
        },
        Err(error) => return Err(error),
    };
    Ok(Proof {
        at: now_at(),
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..proof
    })
}

async fn attempt(repository: &Repository, scratch: &Path, progress: &Progress) -> Result<Proof, BackupError> {
    repository.recognise().await?;
    let mut all = Manifest::all(repository).await?;
    all.sort_by_key(|manifest| (manifest.epoch, manifest.lsn));
    let Some(newest) = all.last() else {
        return Err(BackupError::Host(
            "there is no backup yet; make one first: seawall backup now".into(),
        ));
    };
    let base = all.iter().rev().nth(1).unwrap_or(newest);
    let wish = Wish {
        point: Point::Lsn(newest.lsn),
        base: Some(base.id.clone()),
        epoch: Some(newest.epoch),
    };
    let plan = restore::plan(repository, &wish).await?;
    let restored = restore::restore(repository, &plan, scratch, progress).await?;
    progress.enter("comparing", 0);
    let digest = restore::digest(scratch)?;
    let problem = (digest != newest.digest).then(|| {
        format!(
            "at lsn {} the restored data has digest {digest}, the platform had {}",
            newest.lsn, newest.digest
        )
    });
    Ok(Proof {
        base: base.id.clone(),
        compared: newest.id.clone(),
        lsn: newest.lsn,
        frames: restored.frames,
        bytes: restored.file_bytes + restored.frame_bytes,
        problem,
        ..Proof::default()
    })
}

fn remove(scratch: &Path) -> Result<(), BackupError> {
    match std::fs::remove_dir_all(scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BackupError::file(scratch, &error)),
        _ => Ok(()),
    }
}
