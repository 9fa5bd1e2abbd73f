//! Looking a repository over: every signature, and every object against its name, all of them or a sample.

use std::collections::BTreeMap;

use serde::Serialize;

use super::BackupError;
use super::archive::{self, Batch};
use super::manifest::Manifest;
use super::progress::Progress;
use super::repository::Repository;

/// Problems named in full; more are counted.
const PROBLEMS_MAX: usize = 100;

/// What was found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Manifests whose signature is good.
    pub manifests: u64,
    /// Objects read whole and found to be what their name says.
    pub objects: u64,
    /// Batches of the journal read whole and found to hold the frames their name says.
    pub batches: u64,
    /// Objects and batches there are; equal to the two above unless a sample was asked for.
    pub of: u64,
    /// Bytes read.
    pub bytes: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first hundred of them.
    pub problems: Vec<String>,
}

impl Report {
    fn note(&mut self, error: BackupError) -> Result<(), BackupError> {
        match error {
            BackupError::Damaged(_) | BackupError::Missing(_) => {
                self.problem_count += 1;
                if self.problems.len() < PROBLEMS_MAX {
                    self.problems.push(error.to_string());
                }
                Ok(())
            }
            // The storage does not answer, or the work shall stop: nothing is known of what was not read.
            other => Err(other),
        }
    }
}

/// One thing to read.
enum Item {
    File { bytes: u64 },
    Frames(Batch),
}

/// Checks the repository; of objects and batches only `sample` ones when that is given, drawn by `seed`.
///
/// # Errors
/// When the repository cannot be read. What is wrong in it is in the report.
pub async fn check(
    repository: &Repository,
    sample: Option<(usize, [u8; 32])>,
    progress: &Progress,
) -> Result<Report, BackupError> {
    repository.recognise().await?;
    let mut report = Report::default();
    let mut items: BTreeMap<String, Item> = BTreeMap::new();
    for id in Manifest::ids(repository).await? {
        match Manifest::load(repository, &id).await {
            Ok(manifest) => {
                report.manifests += 1;
                items.extend(
                    manifest
                        .files
                        .iter()
                        .map(|file| (file.object(), Item::File { bytes: file.bytes })),
                );
            }
            Err(error) => report.note(error)?,
        }
    }
    let batches = archive::batches(repository).await?;
    items.extend(batches.into_iter().map(|batch| (batch.name(), Item::Frames(batch))));
    report.of = items.len() as u64;
    progress.enter("checking", report.of);
    for (name, item) in drawn(items, sample) {
        match check_item(repository, &name, &item).await {
            Ok(bytes) => {
                report.bytes += bytes;
                match item {
                    Item::File { .. } => report.objects += 1,
                    Item::Frames(_) => report.batches += 1,
                }
            }
            Err(error) => report.note(error)?,
        }
        progress.add(1)?;
    }
    Ok(report)
}

/// The sample: those whose keyed hash is smallest.
fn drawn(items: BTreeMap<String, Item>, sample: Option<(usize, [u8; 32])>) -> Vec<(String, Item)> {
    let mut items: Vec<_> = items.into_iter().collect();
    if let Some((count, seed)) = sample {
        items.sort_by_cached_key(|(name, _)| *blake3::keyed_hash(&seed, name.as_bytes()).as_bytes());
        items.truncate(count);
    }
    items
}

async fn check_item(repository: &Repository, name: &str, item: &Item) -> Result<u64, BackupError> {
    let expected = match item {
        Item::Frames(batch) => return archive::check(repository, batch).await,
        Item::File { bytes } => *bytes,
    };
    let (mut hasher, mut bytes) = (repository.key.content_hasher(), 0);
    let read = repository
        .get(name, &mut |content| {
            hasher.update(content);
            bytes += content.len() as u64;
            Ok(())
        })
        .await?;
    if bytes == expected && name.ends_with(hasher.finalize().to_hex().as_str()) {
        Ok(read)
    } else {
        Err(BackupError::Damaged(format!("{name} is not the content its name says")))
    }
}
