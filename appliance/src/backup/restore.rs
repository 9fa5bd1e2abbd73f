//! Making a data directory out of a backup and the archived journal that follows it, at an exact lsn or instant.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};
use std::sync::Arc;

use seawall_domain::tables;
use seawall_storage::{Checkpoint, Head, KeyRing, OpenOptions as StoreOptions, Restore, RestoreError, frame_facts};

use super::archive::{self, Batch, next_batch};
use super::deletions::{self, Beyond};
use super::manifest::{FileEntry, Manifest};
use super::progress::Progress;
use super::repository::Repository;
use super::{BackupError, hex};
use crate::clock::boottime_ms;
use crate::data_dir::DataDir;
use crate::entropy::OsEntropy;

/// Where a restore ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// At the end of the newest history.
    Newest,
    /// After the frame of this lsn.
    Lsn(u64),
    /// After the last frame that is not later than this, Unix milliseconds.
    At(u64),
}

/// What to restore.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Where to end.
    pub point: Point,
    /// The backup to begin with; else the newest that is not beyond the point.
    pub base: Option<String>,
    /// Leave out histories of later epochs: those that an earlier restore began.
    pub epoch: Option<u64>,
}

/// What will be restored.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The backup to begin with.
    pub base: Manifest,
    /// Where to end.
    pub point: Point,
    /// The archive.
    batches: Vec<Batch>,
    to_epoch: u64,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Where the data stands.
    pub head: Head,
    /// Deletions after the point, which the first start does again.
    pub beyond: Beyond,
    /// Frames applied to the backup.
    pub frames: u64,
    /// Content of the files.
    pub file_bytes: u64,
    /// Bytes of the frames.
    pub frame_bytes: u64,
}

/// Decides what to begin with.
///
/// # Errors
/// [`BackupError::Point`] when no backup leads to the point, [`BackupError::Damaged`] for a manifest that is not ours.
pub async fn plan(repository: &Repository, wish: &Wish) -> Result<Plan, BackupError> {
    repository.recognise().await?;
    let to_epoch = wish.epoch.unwrap_or(u64::MAX);
    let batches = archive::batches(repository).await?;
    let base = match &wish.base {
        Some(id) => Manifest::load(repository, id).await?,
        None => choose(Manifest::all(repository).await?, &batches, wish.point, to_epoch)?,
    };
    Ok(Plan {
        base,
        point: wish.point,
        batches,
        to_epoch,
    })
}

/// The newest backup that is not beyond the point and not part of a history that was left behind.
fn choose(all: Vec<Manifest>, batches: &[Batch], point: Point, to_epoch: u64) -> Result<Manifest, BackupError> {
    let is_before = |manifest: &Manifest| match point {
        Point::Newest => true,
        Point::Lsn(lsn) => manifest.lsn <= lsn,
        Point::At(at) => manifest.now_at <= at,
    };
    let is_left = |manifest: &Manifest| {
        let newer = batches
            .iter()
            .filter(|batch| batch.epoch > manifest.epoch && batch.epoch <= to_epoch);
        newer
            .map(|batch| batch.first)
            .min()
            .is_some_and(|first| first <= manifest.lsn)
    };
    let oldest = all
        .iter()
        .min_by_key(|manifest| manifest.lsn)
        .map(|m| (m.id.clone(), m.lsn));
    let fitting = all
        .into_iter()
        .filter(|m| m.epoch <= to_epoch && is_before(m) && !is_left(m));
    fitting
        .max_by_key(|manifest| (manifest.epoch, manifest.lsn))
        .ok_or_else(|| {
            BackupError::Point(match oldest {
                None => "there is no backup in this repository yet".into(),
                Some((id, lsn)) => {
                    format!("no backup lies before that point; the oldest is {id}, which stands at lsn {lsn}")
                }
            })
        })
}

/// Restores into `into`, which must be empty or not exist yet.
///
/// # Errors
/// [`BackupError`]. What lies in `into` then is not usable and no server starts on it.
pub async fn restore(
    repository: &Repository,
    plan: &Plan,
    into: &Path,
    progress: &Progress,
) -> Result<Restored, BackupError> {
    refuse_if_used(into)?;
    make_dir(into)?;
    progress.enter("files", plan.base.plain_bytes);
    for file in &plan.base.files {
        restore_file(repository, file, into, progress).await?;
    }
    let dir = DataDir::create(into).map_err(|error| BackupError::Host(error.to_string()))?;
    repository.key.save(&into.join("keys/backup.key"))?;
    let keys = KeyRing::load(&dir.cluster_key())
        .map_err(|error| BackupError::Host(format!("{}: {error}", dir.cluster_key().display())))?;
    let options = StoreOptions::new(tables::TABLES, keys, Arc::new(boottime_ms), OsEntropy.bytes());
    let mut making = Restore::begin(into, options).map_err(refused)?;
    progress.enter("frames", 0);
    let (frames, frame_bytes) = follow(repository, plan, &mut making, progress).await?;
    reached(plan, making.head())?;
    sync(into)?;
    let beyond = deletions::beyond(repository, &plan.batches, making.head()).await;
    deletions::leave(into, &beyond.accounts)?;
    let head = making.finish(&OsEntropy.bytes()).map_err(refused)?;
    Ok(Restored {
        head,
        beyond,
        frames,
        file_bytes: plan.base.plain_bytes,
        frame_bytes,
    })
}

fn refused(error: RestoreError) -> BackupError {
    match error {
        RestoreError::Frame { .. } | RestoreError::Foreign(_) | RestoreError::Gap { .. } => {
            BackupError::Damaged(format!("the archive does not continue the backup: {error}"))
        }
        other => BackupError::Host(other.to_string()),
    }
}

fn refuse_if_used(into: &Path) -> Result<(), BackupError> {
    match std::fs::read_dir(into).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(BackupError::NotEmpty(into.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BackupError::file(into, &error)),
    }
}

fn make_dir(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| BackupError::file(path, &error))
}

async fn restore_file(
    repository: &Repository,
    entry: &FileEntry,
    into: &Path,
    progress: &Progress,
) -> Result<(), BackupError> {
    let relative = Path::new(&entry.path);
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(BackupError::Damaged(format!(
            "a file named {} cannot be restored",
            entry.path
        )));
    }
    let path = into.join(relative);
    if let Some(folder) = path.parent() {
        make_dir(folder)?;
    }
    let failed = |error: std::io::Error| BackupError::file(&path, &error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(entry.mode)
        .open(&path)
        .map_err(failed)?;
    let (mut hasher, mut bytes) = (repository.key.content_hasher(), 0);
    let object = entry.object();
    repository
        .get(&object, &mut |content| {
            hasher.update(content);
            bytes += content.len() as u64;
            file.write_all(content).map_err(failed)?;
            progress.add(content.len() as u64)
        })
        .await?;
    if bytes != entry.bytes || hasher.finalize().to_hex().as_str() != entry.id {
        return Err(BackupError::Damaged(format!(
            "{object} is not the content of {}",
            entry.path
        )));
    }
    file.sync_all().map_err(failed)
}

/// Applies frames until the point is reached or the archive ends; answers how many and how many bytes.
async fn follow(
    repository: &Repository,
    plan: &Plan,
    making: &mut Restore,
    progress: &Progress,
) -> Result<(u64, u64), BackupError> {
    let (mut count, mut bytes, mut is_past) = (0, 0, false);
    loop {
        let head = making.head();
        let at_end = is_past || matches!(plan.point, Point::Lsn(lsn) if head.lsn >= lsn);
        let next = next_batch(&plan.batches, head.lsn, head.epoch, plan.to_epoch).filter(|_| !at_end);
        let Some((batch, until)) = next else {
            return Ok((count, bytes));
        };
        archive::frames(repository, batch, &mut |frame| {
            let facts = frame_facts(frame).map_err(|error| BackupError::Damaged(format!("a frame: {error}")))?;
            let is_beyond = match plan.point {
                Point::Newest => false,
                Point::Lsn(lsn) => facts.lsn > lsn,
                Point::At(at) => facts.now_at > at,
            };
            is_past |= is_beyond && facts.lsn > head.lsn;
            if is_past || facts.lsn > until || !making.apply(frame).map_err(refused)? {
                return Ok(());
            }
            (count, bytes) = (count + 1, bytes + frame.len() as u64);
            progress.add(frame.len() as u64)
        })
        .await?;
        if making.head().lsn == head.lsn && !is_past {
            return Err(BackupError::Damaged(format!(
                "{} does not hold the frames its name says",
                batch.name()
            )));
        }
    }
}

fn reached(plan: &Plan, head: Head) -> Result<(), BackupError> {
    match plan.point {
        Point::Lsn(lsn) if head.lsn != lsn => Err(BackupError::Point(format!(
            "lsn {lsn} cannot be reached: from backup {} (lsn {}) the archive goes on without a gap to lsn {} of epoch {} only{}",
            plan.base.id,
            plan.base.lsn,
            head.lsn,
            head.epoch,
            older_history(plan, lsn, head.epoch)
        ))),
        _ => Ok(()),
    }
}

fn older_history(plan: &Plan, lsn: u64, epoch: u64) -> String {
    let older = plan
        .batches
        .iter()
        .filter(|batch| batch.epoch < epoch && (batch.first..=batch.last).contains(&lsn));
    older.map(|batch| batch.epoch).max().map_or_else(String::new, |epoch| {
        format!("; an earlier history holds that lsn, say --epoch {epoch} for it")
    })
}

/// Everything written so far is durable before the control file says that the store is complete.
fn sync(into: &Path) -> Result<(), BackupError> {
    let dir = std::fs::File::open(into).map_err(|error| BackupError::file(into, &error))?;
    rustix::fs::syncfs(dir).map_err(|error| BackupError::file(into, &error.into()))
}

/// The digest of a restored directory's content, in hex; reads all of it.
///
/// # Errors
/// [`BackupError::Host`] when it cannot be read.
pub fn digest(dir: &Path) -> Result<String, BackupError> {
    let unreadable = |error| BackupError::Host(format!("the restored store cannot be read: {error}"));
    let store = Checkpoint::open(&dir.join("db"), tables::TABLES).map_err(unreadable)?;
    Ok(hex(&store.digest(&mut |_| {}).map_err(unreadable)?))
}
