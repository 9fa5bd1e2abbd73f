//! The archive of the journal: frames in batches, each an object whose name says which frames of which history it holds.
//!
//! A restored store goes on in an epoch of its own, so the archive may hold several histories. The newest one wins
//! where they part; see [`next_batch`].

use std::io::Cursor as Reader;

use seawall_storage::{Store, frame};
use serde::{Deserialize, Serialize};

use super::progress::Progress;
use super::repository::Repository;
use super::{BackupError, hex};

/// Folder of the batches.
pub const JOURNAL: &str = "journal";
/// Frames of a batch, in bytes, unless one frame alone is larger.
const BATCH_BYTES: usize = 8 << 20;
/// Batches looked at when the end of our own history is sought in the archive.
const SEEK_MAX: usize = 1000;
/// Chain values in names are cut to so many hex digits; the frames hold them whole.
const CHAIN_DIGITS: usize = 16;

/// What the name of a batch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Lsn of its first frame.
    pub first: u64,
    /// Lsn of its last frame.
    pub last: u64,
    /// Epoch of its last frame.
    pub epoch: u64,
    /// Chain before its first frame, beginning of its hex form.
    pub before: String,
    /// Chain after its last frame, beginning of its hex form.
    pub after: String,
}

impl Batch {
    /// Name of its object; names sort by lsn.
    #[must_use]
    pub fn name(&self) -> String {
        let Self {
            first,
            last,
            epoch,
            before,
            after,
        } = self;
        format!("{JOURNAL}/{first:020}-{last:020}-{epoch:020}-{before}-{after}")
    }

    /// Reads a name; `None` when it is none of a batch.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("journal/")?.split('-');
        let batch = Self {
            first: parts.next()?.parse().ok()?,
            last: parts.next()?.parse().ok()?,
            epoch: parts.next()?.parse().ok()?,
            before: parts.next()?.to_owned(),
            after: parts.next()?.to_owned(),
        };
        (parts.next().is_none() && batch.first <= batch.last && batch.name() == name).then_some(batch)
    }
}

fn short(chain: &[u8; 32]) -> String {
    hex(chain.get(..CHAIN_DIGITS / 2).unwrap_or_default())
}

/// How far the archive has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The repository it is about.
    pub target: String,
    /// Its newest batch.
    pub object: String,
    /// Lsn of that one's last frame.
    pub lsn: u64,
    /// Chain after it, in hex.
    pub chain: String,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Frames archived.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames were gone before they were archived: points between the frames before and after cannot be restored.
    pub has_gap: bool,
}

/// All batches of the archive, by lsn.
///
/// # Errors
/// [`BackupError::Storage`].
pub async fn batches(repository: &Repository) -> Result<Vec<Batch>, BackupError> {
    let listed = repository.list(JOURNAL).await?;
    Ok(listed.iter().filter_map(|object| Batch::parse(&object.name)).collect())
}

/// The batch to go on with from `lsn`, and the last of its frames to take. Among those that hold the next frame the
/// newest history wins, but no batch that ends in an epoch before `from_epoch`, which the caller has reached, and none of
/// an epoch after `to_epoch`. Where a newer history branches off inside the batch, it is left there.
#[must_use]
pub fn next_batch(batches: &[Batch], lsn: u64, from_epoch: u64, to_epoch: u64) -> Option<(&Batch, u64)> {
    let held = batches
        .iter()
        .filter(|batch| batch.first <= lsn + 1 && lsn < batch.last);
    let allowed = held.filter(|batch| (from_epoch..=to_epoch).contains(&batch.epoch));
    let batch = allowed.max_by_key(|batch| (batch.epoch, batch.last))?;
    let newer = batches
        .iter()
        .filter(|other| other.epoch > batch.epoch && other.epoch <= to_epoch)
        .filter(|other| other.first > lsn + 1 && other.first <= batch.last);
    let until = newer.map(|other| other.first - 1).min().unwrap_or(batch.last);
    Some((batch, until))
}

/// Archives every frame the store has behind `cursor`, which moves on with each batch that is durable.
///
/// # Errors
/// [`BackupError`]; what was archived by then stays and counts.
pub async fn ship(
    repository: &Repository,
    store: &Store,
    cursor: &mut Option<Cursor>,
    progress: &Progress,
) -> Result<Shipped, BackupError> {
    let (target, mut shipped) = (repository.shown().to_owned(), Shipped::default());
    let known = match cursor.take() {
        Some(known) if known.target == target && repository.has(&known.object).await? => Some(known),
        _ => locate(repository, store, &mut shipped).await?,
    };
    *cursor = known;
    let end_lsn = store.head().lsn;
    loop {
        let (lsn, chain) = cursor
            .as_ref()
            .map_or((0, None), |cursor| (cursor.lsn, Some(cursor.chain.clone())));
        if lsn >= end_lsn {
            return Ok(shipped);
        }
        let page = read_page(store, lsn)?;
        let Some((batch, content, chain_after)) = pack(&page)? else {
            return Ok(shipped);
        };
        let follows = chain.is_none_or(|chain| batch.first == lsn + 1 && chain.starts_with(&batch.before));
        shipped.has_gap |= !follows;
        let name = batch.name();
        repository.put(&name, &mut Reader::new(&content), progress).await?;
        shipped.frames += page.len() as u64;
        shipped.bytes += content.len() as u64;
        *cursor = Some(Cursor {
            target: target.clone(),
            object: name,
            lsn: batch.last,
            chain: hex(&chain_after),
        });
    }
}

fn read_page(store: &Store, lsn: u64) -> Result<Vec<Vec<u8>>, BackupError> {
    store
        .journal_page(lsn + 1, BATCH_BYTES)
        .map_err(|error| BackupError::Host(format!("the journal cannot be read: {error}")))
}

/// A frame, checked.
///
/// # Errors
/// [`BackupError::Damaged`].
pub fn read_frame(bytes: &[u8]) -> Result<frame::Frame<'_>, BackupError> {
    frame::decode(bytes).map_err(|error| BackupError::Damaged(format!("a frame of the journal: {error}")))
}

/// A batch, its content, and the chain after it.
type Packed = (Batch, Vec<u8>, [u8; 32]);

/// Frames as the content of a batch: each with its length in front.
fn pack(page: &[Vec<u8>]) -> Result<Option<Packed>, BackupError> {
    let (Some(first), Some(last)) = (page.first(), page.last()) else {
        return Ok(None);
    };
    let (first, last) = (read_frame(first)?, read_frame(last)?);
    let batch = Batch {
        first: first.position.lsn,
        last: last.position.lsn,
        epoch: last.position.epoch,
        before: short(&first.position.prev_chain),
        after: short(&last.chain),
    };
    let mut content = Vec::with_capacity(page.iter().map(|frame| frame.len() + 4).sum());
    for frame in page {
        let length = u32::try_from(frame.len()).map_err(|_| BackupError::Host("a frame is too long".into()))?;
        content.extend_from_slice(&length.to_be_bytes());
        content.extend_from_slice(frame);
    }
    Ok(Some((batch, content, last.chain)))
}

/// Finds the newest batch that is part of the store's own history.
async fn locate(repository: &Repository, store: &Store, shipped: &mut Shipped) -> Result<Option<Cursor>, BackupError> {
    let mut batches = batches(repository).await?;
    batches.sort_by_key(|batch| std::cmp::Reverse((batch.epoch, batch.last)));
    let end_lsn = store.head().lsn;
    for batch in batches.iter().filter(|batch| batch.last <= end_lsn).take(SEEK_MAX) {
        let page = store
            .journal_page(batch.last, 0)
            .map_err(|error| BackupError::Host(format!("the journal cannot be read: {error}")))?;
        let Some(bytes) = page.first() else { continue };
        let frame = read_frame(bytes)?;
        if frame.position.lsn == batch.last && short(&frame.chain) == batch.after {
            return Ok(Some(Cursor {
                target: repository.shown().to_owned(),
                object: batch.name(),
                lsn: batch.last,
                chain: hex(&frame.chain),
            }));
        }
    }
    // An archive without a part of our journal: what lay between is gone, or it is another history's altogether.
    shipped.has_gap = !batches.is_empty();
    Ok(None)
}

/// Hands every frame of a batch on, in order.
///
/// # Errors
/// [`BackupError::Damaged`], [`BackupError::Missing`], or what `sink` says.
pub async fn frames(
    repository: &Repository,
    batch: &Batch,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<u64, BackupError> {
    let name = batch.name();
    let mut waiting: Vec<u8> = Vec::new();
    let bytes = repository
        .get(&name, &mut |content| {
            waiting.extend_from_slice(content);
            let mut used = 0;
            while let Some((length, rest)) = waiting.get(used..).and_then(<[u8]>::split_first_chunk::<4>) {
                let length = u32::from_be_bytes(*length) as usize;
                let Some(frame) = rest.get(..length) else { break };
                sink(frame)?;
                used += 4 + length;
            }
            waiting.drain(..used);
            Ok(())
        })
        .await?;
    if waiting.is_empty() {
        Ok(bytes)
    } else {
        Err(BackupError::Damaged(format!("{name} ends inside a frame")))
    }
}

/// Checks that a batch holds the frames its name says, each following from the one before.
///
/// # Errors
/// As [`frames`].
pub async fn check(repository: &Repository, batch: &Batch) -> Result<u64, BackupError> {
    let wrong = |lsn: u64| BackupError::Damaged(format!("{}: the frame of lsn {lsn} is out of place", batch.name()));
    let (mut next, mut chain): (u64, Option<[u8; 32]>) = (batch.first, None);
    let bytes = frames(repository, batch, &mut |bytes| {
        let frame = read_frame(bytes)?;
        let at = frame.position;
        let follows = chain.map_or_else(|| short(&at.prev_chain) == batch.before, |chain| chain == at.prev_chain);
        if at.lsn != next || !follows {
            return Err(wrong(at.lsn));
        }
        (next, chain) = (next + 1, Some(frame.chain));
        Ok(())
    })
    .await?;
    let ends_well = next == batch.last + 1 && chain.is_some_and(|chain| short(&chain) == batch.after);
    if ends_well { Ok(bytes) } else { Err(wrong(next)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: u64, last: u64, epoch: u64) -> Batch {
        Batch {
            first,
            last,
            epoch,
            before: "00".repeat(8),
            after: "11".repeat(8),
        }
    }

    /// The lsns at which a walk from `lsn` changes batches, with the epoch taken.
    fn walk(batches: &[Batch], mut lsn: u64, mut epoch: u64, to_epoch: u64) -> Vec<(u64, u64)> {
        let mut path = Vec::new();
        while let Some((batch, until)) = next_batch(batches, lsn, epoch, to_epoch) {
            // As the frames would say: an older epoch's frames up to the branch.
            (lsn, epoch) = (until, if until == batch.last { batch.epoch } else { epoch });
            path.push((until, batch.epoch));
        }
        path
    }

    #[test]
    fn names_come_back_and_others_are_none() {
        let one = batch(1, 20, 3);
        assert_eq!(Batch::parse(&one.name()), Some(one.clone()));
        let name = one.name();
        for wrong in [
            "journal/x",
            "objects/1-2-3-a-b",
            &format!("{name}-1"),
            &name.replacen('0', "", 1),
        ] {
            assert_eq!(Batch::parse(wrong), None, "{wrong}");
        }
        assert!(batch(2, 9, 1).name() < batch(10, 11, 1).name(), "names sort by lsn");
    }

    #[test]
    fn a_walk_goes_on_over_overlaps_and_ends_at_a_gap() {
        let line = [batch(1, 10, 1), batch(5, 20, 1), batch(21, 30, 1), batch(32, 40, 1)];
        assert_eq!(walk(&line, 0, 1, u64::MAX), [(10, 1), (20, 1), (30, 1)]);
        assert_eq!(walk(&line, 7, 1, u64::MAX), [(20, 1), (30, 1)]);
        assert_eq!(walk(&line, 40, 1, u64::MAX), []);
    }

    #[test]
    fn the_newest_history_wins_where_two_part_and_an_older_one_can_be_asked_for() {
        let branched = [
            batch(1, 480, 1),
            batch(481, 700, 1),
            batch(501, 520, 17),
            batch(521, 530, 17),
        ];
        assert_eq!(
            walk(&branched, 400, 1, u64::MAX),
            [(480, 1), (500, 1), (520, 17), (530, 17)]
        );
        assert_eq!(walk(&branched, 400, 1, 1), [(480, 1), (700, 1)]);
        assert_eq!(
            next_batch(&branched, 530, 17, u64::MAX),
            None,
            "the older history goes on, but not for us"
        );
    }
}
