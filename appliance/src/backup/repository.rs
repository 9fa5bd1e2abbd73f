//! The objects of a repository: put there sealed, read back checked, listed, removed. Every wait has a deadline.

use std::io::Read;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{Error as StoreError, GetResultPayload, ObjectStore, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;

use super::key::BackupKey;
use super::progress::Progress;
use super::seal::{CHUNK_BYTES, Opener, Sealer};
use super::target::Target;
use super::{BackupError, hex};
use crate::entropy::OsEntropy;

/// One operation on the storage, its retries included; a stream: between two of its parts.
const OPERATION_MAX: Duration = Duration::from_secs(150);
/// A part of an upload, in bytes. An object below it is one request.
const PART_BYTES: usize = 8 << 20;
/// Parts under way at once.
const PARTS_MAX: usize = 2;
/// Bytes read from a file of a directory at once.
const READ_BYTES: usize = 1 << 20;
/// Largest object that is read whole (manifests), in bytes.
const SMALL_MAX_BYTES: u64 = 64 << 20;
/// Objects listed under one prefix at most.
const LIST_MAX: usize = 4_000_000;
/// Says whose repository it is.
const CARD: &str = "repository.json";
const CARD_FORMAT: u32 = 1;

/// What the card of a repository says.
#[derive(Debug, Serialize, Deserialize)]
struct Card {
    format: u32,
    cluster_id: String,
    key: String,
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name in the repository.
    pub name: String,
    /// Bytes as stored.
    pub bytes: u64,
    /// When it was put there, Unix milliseconds, by the storage's clock.
    pub modified_at: u64,
}

/// An open repository.
pub struct Repository {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    shown: String,
    /// The backup key.
    pub key: BackupKey,
}

impl Repository {
    /// Opens the repository at `target`; see [`Target::open`].
    ///
    /// # Errors
    /// [`BackupError::Target`].
    pub fn open(
        target: &Target,
        credentials: Option<&FilePath>,
        key: BackupKey,
        create: bool,
    ) -> Result<Self, BackupError> {
        let store = target.open(credentials, create)?;
        Ok(Self {
            store,
            prefix: Path::from(target.prefix()),
            shown: target.to_string(),
            key,
        })
    }

    /// How messages name it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    async fn within<T>(&self, doing: impl Future<Output = Result<T, StoreError>>) -> Result<T, BackupError> {
        match tokio::time::timeout(OPERATION_MAX, doing).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(StoreError::NotFound { path, .. })) => Err(BackupError::Missing(path)),
            Ok(Err(error)) => Err(BackupError::Storage(self.shown.clone(), error.to_string())),
            Err(_) => Err(BackupError::Storage(
                self.shown.clone(),
                format!("no answer within {} s", OPERATION_MAX.as_secs()),
            )),
        }
    }

    /// Checks that this repository belongs to the cluster and the key; writes that into a new one.
    ///
    /// # Errors
    /// [`BackupError::Key`] for another key, [`BackupError::Target`] for another cluster.
    pub async fn claim(&self, cluster_id: &[u8; 16]) -> Result<(), BackupError> {
        match self.card().await {
            Ok(card) if card.cluster_id == hex(cluster_id) => Ok(()),
            Ok(card) => Err(BackupError::Target(format!(
                "{} holds the backups of another platform (cluster {}); give this one a target of its own",
                self.shown, card.cluster_id
            ))),
            Err(BackupError::Missing(_)) => {
                let card = Card {
                    format: CARD_FORMAT,
                    cluster_id: hex(cluster_id),
                    key: self.key.fingerprint(),
                };
                let text = serde_json::to_vec(&card).map_err(|error| BackupError::Host(error.to_string()))?;
                self.put_small(CARD, text).await
            }
            Err(error) => Err(error),
        }
    }

    /// Checks that there is a repository and that it is of this key; answers whose it is.
    ///
    /// # Errors
    /// [`BackupError::Key`], or [`BackupError::Target`] when there is none.
    pub async fn recognise(&self) -> Result<String, BackupError> {
        match self.card().await {
            Ok(card) => Ok(card.cluster_id),
            Err(BackupError::Missing(_)) => Err(BackupError::Target(format!("{} holds no backups", self.shown))),
            Err(error) => Err(error),
        }
    }

    async fn card(&self) -> Result<Card, BackupError> {
        let bytes = self.get_small(CARD).await?;
        let card: Card = serde_json::from_slice(&bytes)
            .map_err(|error| BackupError::Damaged(format!("{CARD} is not understood: {error}")))?;
        if card.format != CARD_FORMAT {
            return Err(BackupError::Damaged(format!(
                "{CARD}: format {} was written by a newer release",
                card.format
            )));
        }
        if card.key != self.key.fingerprint() {
            return Err(BackupError::Key(format!(
                "this backup key ({}) is not the one of {} ({}); use the key file that was kept with these backups",
                self.key.fingerprint(),
                self.shown,
                card.key
            )));
        }
        Ok(card)
    }

    /// Puts a small object there as it is.
    ///
    /// # Errors
    /// [`BackupError::Storage`].
    pub async fn put_small(&self, name: &str, bytes: Vec<u8>) -> Result<(), BackupError> {
        let path = self.path(name);
        self.within(self.store.put(&path, bytes.into())).await.map(drop)
    }

    /// Reads a small object.
    ///
    /// # Errors
    /// [`BackupError::Missing`] when it is not there.
    pub async fn get_small(&self, name: &str) -> Result<Bytes, BackupError> {
        let found = self.within(self.store.get(&self.path(name))).await?;
        if found.meta.size > SMALL_MAX_BYTES {
            return Err(BackupError::Damaged(format!("{name} has {} bytes", found.meta.size)));
        }
        self.within(found.bytes()).await
    }

    /// Is it there?
    ///
    /// # Errors
    /// [`BackupError::Storage`].
    pub async fn has(&self, name: &str) -> Result<bool, BackupError> {
        match self.within(self.store.head(&self.path(name))).await {
            Ok(_) => Ok(true),
            Err(BackupError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes it; one that is not there is no error.
    ///
    /// # Errors
    /// [`BackupError::Storage`].
    pub async fn remove(&self, name: &str) -> Result<(), BackupError> {
        match self.within(self.store.delete(&self.path(name))).await {
            Err(error) if !matches!(error, BackupError::Missing(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// All objects of a folder, by name.
    ///
    /// # Errors
    /// [`BackupError::Storage`]; also when there are more than four million.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>, BackupError> {
        let path = self.path(folder);
        let cut = self.prefix.as_ref().len();
        let (mut stream, mut found) = (self.store.list(Some(&path)), Vec::new());
        while let Some(meta) = self.within(stream.try_next()).await? {
            let name = meta.location.as_ref().get(cut..).unwrap_or_default();
            found.push(Listed {
                name: name.trim_start_matches('/').to_owned(),
                bytes: meta.size,
                modified_at: u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0),
            });
            if found.len() > LIST_MAX {
                return Err(BackupError::Storage(
                    self.shown.clone(),
                    format!("more than {LIST_MAX} objects in {folder}"),
                ));
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Seals all that `content` gives into the object `name`; answers bytes of content and bytes sent.
    ///
    /// # Errors
    /// [`BackupError`]; the object is not there then.
    pub async fn put(
        &self,
        name: &str,
        content: &mut dyn Read,
        progress: &Progress,
    ) -> Result<(u64, u64), BackupError> {
        let (mut sealer, header) = Sealer::begin(&self.key, name, OsEntropy.bytes());
        let mut upload = BufWriter::with_capacity(Arc::clone(&self.store), self.path(name), PART_BYTES)
            .with_max_concurrency(PARTS_MAX);
        let (mut read, mut sent) = (0, header.len() as u64);
        self.within(upload.put(header.into())).await?;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let filled = fill(content, &mut chunk).map_err(|error| BackupError::Host(format!("{name}: {error}")))?;
            let part = chunk.get(..filled).unwrap_or_default();
            if part.is_empty() {
                break;
            }
            let sealed = sealer.chunk(part)?;
            (read, sent) = (read + part.len() as u64, sent + sealed.len() as u64);
            let put = self.within(upload.put(sealed.into())).await;
            if let Err(error) = put.and_then(|()| progress.add(part.len() as u64)) {
                let _ = self.within(upload.abort()).await; // What is left is no object yet; the first error counts.
                return Err(error);
            }
        }
        let end = sealer.end()?;
        sent += end.len() as u64;
        self.within(upload.put(end.into())).await?;
        let done = async { upload.shutdown().await.map_err(|error| generic(error.to_string())) };
        self.within(done).await?;
        Ok((read, sent))
    }

    /// Opens the object `name` and hands its content on; answers the bytes that came over the wire. All of the content
    /// is genuine once this returns without an error, and not before.
    ///
    /// # Errors
    /// [`BackupError::Damaged`], [`BackupError::Missing`], or what `sink` says.
    pub async fn get(
        &self,
        name: &str,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<u64, BackupError> {
        let found = self.within(self.store.get(&self.path(name))).await?;
        let (mut opener, mut bytes) = (Opener::new(&self.key, name), 0);
        match found.payload {
            GetResultPayload::File(mut file, path) => {
                let mut buffer = vec![0; READ_BYTES];
                loop {
                    let filled = fill(&mut file, &mut buffer).map_err(|error| BackupError::file(&path, &error))?;
                    let part = buffer.get(..filled).unwrap_or_default();
                    if part.is_empty() {
                        break;
                    }
                    bytes += part.len() as u64;
                    opener.feed(part, sink)?;
                }
            }
            GetResultPayload::Stream(mut stream) => {
                while let Some(part) = self.within(stream.try_next()).await? {
                    bytes += part.len() as u64;
                    opener.feed(&part, sink)?;
                }
            }
        }
        opener.end().map(|()| bytes)
    }
}

fn generic(text: String) -> StoreError {
    StoreError::Generic {
        store: "upload",
        source: text.into(),
    }
}

/// Reads until the buffer is full or nothing is left.
fn fill(from: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(got) => filled += got,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
