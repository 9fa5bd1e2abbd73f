//! Making a backup while the platform goes on: a linked copy of the engine, the durable part of the logs, the keys and the
//! settings. Files the repository has already are not sent again.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_domain::tables;
use seawall_storage::{Checkpoint, Head, Store};

use super::manifest::{FileEntry, Manifest, OBJECTS};
use super::progress::Progress;
use super::prune::RUNNING;
use super::repository::Repository;
use super::{BackupError, hex};
use crate::auth_log::SegmentAuthLog;
use crate::build_info;
use crate::cli::instant;
use crate::data_dir::DataDir;

/// Files up to this size are read once and held, so that what is hashed is what is sent even if they are replaced.
const HELD_MAX_BYTES: u64 = 64 << 10;
/// Read at once while hashing.
const READ_BYTES: usize = 1 << 20;
/// Folder of the engine in a data directory.
const ENGINE_DIR: &str = "db";
/// The settings file in a restored directory, for a person to look at: it may name paths of the lost host.
const SETTINGS_PATH: &str = "settings/seawall.toml";

/// What is backed up.
#[derive(Clone)]
pub struct Source {
    /// The store.
    pub store: Store,
    /// The authentication log.
    pub auth_log: Arc<SegmentAuthLog>,
    /// Where the rest lies.
    pub dir: DataDir,
    /// The settings file, if there is one.
    pub settings_file: Option<PathBuf>,
}

/// One file to be backed up.
struct Item {
    /// Where it lies now.
    from: PathBuf,
    /// Where it lies in a data directory.
    path: String,
    bytes: u64,
    mode: u32,
    held: Option<Vec<u8>>,
}

/// A copy of the engine that is removed when it is no longer needed.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the copy of a backup cannot be removed; the next one tries again");
        }
    }
}

/// Makes a backup.
///
/// # Errors
/// [`BackupError`]. The repository holds no new backup then, at most objects that the next one uses or a prune removes.
pub async fn create(
    repository: &Repository,
    source: &Source,
    made_at: u64,
    progress: &Progress,
) -> Result<Manifest, BackupError> {
    repository.claim(&source.store.cluster_id()).await?;
    progress.enter("copying", 0);
    let copy = copy_engine(source)?;
    let (head, digest) = read_copy(&copy.0, progress)?;
    let id = id_of(made_at, head.lsn);
    // From here on until the manifest is there, nobody may remove objects that no manifest names.
    let marker = format!("{RUNNING}/{id}");
    repository.put_small(&marker, made_at.to_string().into_bytes()).await?;
    let sent = send(repository, items(source, &copy.0)?, progress).await;
    let manifest = sent.map(|sent| Manifest {
        format: Manifest::FORMAT,
        id: id.clone(),
        cluster_id: hex(&source.store.cluster_id()),
        lsn: head.lsn,
        epoch: head.epoch,
        chain: hex(&head.chain),
        now_at: head.now_at,
        digest: hex(&digest),
        made_at,
        version: build_info::VERSION.into(),
        plain_bytes: sent.files.iter().map(|file| file.bytes).sum(),
        sent_bytes: sent.bytes,
        sent_files: sent.count,
        files: sent.files,
    });
    let written = match manifest {
        Ok(manifest) => {
            let bytes = manifest.seal(&repository.key)?;
            repository
                .put_small(&Manifest::name(&id), bytes)
                .await
                .map(|()| manifest)
        }
        Err(error) => Err(error),
    };
    repository.remove(&marker).await?;
    written
}

/// Sorts by time, says the lsn, and is a file name everywhere: `20261122T091403.120Z-7`.
fn id_of(made_at: u64, lsn: u64) -> String {
    let time: String = instant::show(made_at)
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    format!("{time}-{lsn}")
}

fn copy_engine(source: &Source) -> Result<Copy, BackupError> {
    let path = source.dir.root().join("checkpoint-tmp");
    if path.exists() {
        // Of a process that ended in the middle.
        std::fs::remove_dir_all(&path).map_err(|error| BackupError::file(&path, &error))?;
    }
    let made = source.store.checkpoint(&path);
    let copy = Copy(path);
    made.map_err(|error| BackupError::Host(format!("the store cannot be copied: {error}")))?;
    Ok(copy)
}

/// Opens the copy and reads all of it: where it stands, and the digest that a restore is compared with.
fn read_copy(path: &Path, progress: &Progress) -> Result<(Head, [u8; 32]), BackupError> {
    let unreadable = |error| BackupError::Host(format!("the copy of the store cannot be read: {error}"));
    let copy = Checkpoint::open(path, tables::TABLES).map_err(unreadable)?;
    progress.enter("reading", 0);
    let digest = copy.digest(&mut |_| {}).map_err(unreadable)?;
    progress.add(0)?;
    Ok((copy.head(), digest))
}

fn items(source: &Source, copy: &Path) -> Result<Vec<Item>, BackupError> {
    let mut items = Vec::new();
    for from in files_of(copy)?.into_iter().filter(|from| !is_litter(from)) {
        add(&mut items, from, ENGINE_DIR, None)?;
    }
    for (from, bytes) in source.auth_log.durable_files() {
        add(&mut items, from, "auth-log", Some(bytes))?;
    }
    add(&mut items, source.dir.cluster_key(), "keys", None)?;
    for from in files_of(&source.dir.tls(""))? {
        add(&mut items, from, "tls", None)?;
    }
    add(&mut items, source.dir.root().join("demo.json"), "", None)?;
    if let Some(file) = &source.settings_file {
        add(&mut items, file.clone(), "", None)?;
        if let Some(item) = items.last_mut().filter(|item| item.from == *file) {
            item.path = SETTINGS_PATH.into();
        }
    }
    Ok(items)
}

/// What opening the copy left in it.
fn is_litter(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "LOCK" || name.starts_with("LOG")
}

fn files_of(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |error: std::io::Error| BackupError::file(dir, &error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Adds a file unless it is gone: a segment that was too old to be kept, a demo or a certificate that never was.
fn add(items: &mut Vec<Item>, from: PathBuf, folder: &str, durable: Option<u64>) -> Result<(), BackupError> {
    let found = match std::fs::metadata(&from) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::file(&from, &error)),
    };
    let name = from.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let bytes = durable.unwrap_or(found.len());
    let held = match bytes <= HELD_MAX_BYTES {
        true => Some(hold(&from, bytes).map_err(|error| BackupError::file(&from, &error))?),
        false => None,
    };
    items.push(Item {
        path: if folder.is_empty() {
            name.to_owned()
        } else {
            format!("{folder}/{name}")
        },
        bytes: held.as_ref().map_or(bytes, |held| held.len() as u64),
        mode: found.permissions().mode() & 0o777,
        from,
        held,
    });
    Ok(())
}

fn hold(path: &Path, bytes: u64) -> std::io::Result<Vec<u8>> {
    let mut held = Vec::new();
    File::open(path)?.take(bytes).read_to_end(&mut held)?;
    Ok(held)
}

impl Item {
    fn open(&self) -> Result<Box<dyn Read + '_>, BackupError> {
        if let Some(held) = &self.held {
            return Ok(Box::new(Cursor::new(held)));
        }
        let file = File::open(&self.from).map_err(|error| BackupError::file(&self.from, &error))?;
        Ok(Box::new(file.take(self.bytes)))
    }

    fn id(&self, repository: &Repository, progress: &Progress) -> Result<String, BackupError> {
        let (mut hasher, mut reader) = (repository.key.content_hasher(), self.open()?);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let got = reader
                .read(&mut buffer)
                .map_err(|error| BackupError::file(&self.from, &error))?;
            if got == 0 {
                return Ok(hasher.finalize().to_hex().to_string());
            }
            hasher.update(buffer.get(..got).unwrap_or_default());
            progress.add(0)?;
        }
    }
}

/// What was sent.
#[derive(Default)]
struct Sent {
    files: Vec<FileEntry>,
    bytes: u64,
    count: u64,
}

async fn send(repository: &Repository, items: Vec<Item>, progress: &Progress) -> Result<Sent, BackupError> {
    progress.enter("sending", items.iter().map(|item| item.bytes).sum());
    let listed = repository.list(OBJECTS).await?;
    let mut known: HashSet<String> = listed.into_iter().map(|object| object.name).collect();
    let mut sent = Sent::default();
    for item in items {
        let entry = FileEntry {
            path: item.path.clone(),
            bytes: item.bytes,
            mode: item.mode,
            id: item.id(repository, progress)?,
        };
        if known.insert(entry.object()) {
            let (_, bytes) = repository.put(&entry.object(), &mut *item.open()?, progress).await?;
            sent.bytes += bytes;
            sent.count += 1;
        } else {
            progress.add(item.bytes)?;
        }
        sent.files.push(entry);
    }
    Ok(sent)
}
