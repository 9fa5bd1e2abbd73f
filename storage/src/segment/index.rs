//! The index of a sealed segment: which records carry a search key. It can always be rebuilt from the segment.
//!
//! File: magic `SWIDX001`, segment number u64, segment end u32, records u64, oldest and newest instant u64, entries u32,
//! fan-out 257 × u32 (how many entries have a smaller first hash byte), 256 × CRC-32C of the entries with that byte,
//! CRC-32C of everything so far; then entries of 13 bytes (hash u64, kind u8, offset u32), sorted.

use std::io;
use std::path::Path;

use super::{SearchKey, Segment};
use crate::disk::{Access, Disk, DiskFile};
use crate::files;

const MAGIC: &[u8; 8] = b"SWIDX001";
const FANOUT: usize = 257;
const FIXED_BYTES: usize = 8 + 8 + 4 + 8 + 8 + 8 + 4;
const HEADER_BYTES: usize = FIXED_BYTES + 4 * FANOUT + 4 * 256 + 4;
const ENTRY_BYTES: usize = 13;

/// One key of one record; sorted by hash, kind, offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct IndexEntry {
    pub(super) hash: u64,
    pub(super) kind: u8,
    pub(super) offset: u32,
}

impl IndexEntry {
    pub(super) fn new((kind, hash): SearchKey, offset: u32) -> Self {
        Self { hash, kind, offset }
    }

    pub(super) fn has(&self, key: SearchKey) -> bool {
        (self.kind, self.hash) == key
    }

    fn bucket(&self) -> usize {
        usize::from(self.hash.to_be_bytes()[0])
    }
}

/// Writes the index of a segment.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    number: u64,
    segment: &Segment,
    mut entries: Vec<IndexEntry>,
) -> io::Result<()> {
    entries.sort_unstable();
    let mut counts = [0u32; 256];
    for entry in &entries {
        if let Some(count) = counts.get_mut(entry.bucket()) {
            *count += 1;
        }
    }
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&segment.end.to_be_bytes());
    for value in [segment.records, segment.min_at, segment.max_at] {
        out.extend_from_slice(&value.to_be_bytes());
    }
    out.extend_from_slice(&u32::try_from(entries.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut before = 0u32;
    out.extend_from_slice(&before.to_be_bytes());
    for count in counts {
        before += count;
        out.extend_from_slice(&before.to_be_bytes());
    }
    let body = render(&entries);
    let mut rest = body.as_slice();
    for count in counts {
        let bytes = usize::try_from(count).unwrap_or(0) * ENTRY_BYTES;
        let (bucket, tail) = rest.split_at_checked(bytes).unwrap_or((rest, &[]));
        out.extend_from_slice(&crc32c::crc32c(bucket).to_be_bytes());
        rest = tail;
    }
    out.extend_from_slice(&crc32c::crc32c(&out).to_be_bytes());
    out.extend_from_slice(&body);
    files::replace(disk, path, &out)
}

fn render(entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        out.extend_from_slice(&entry.hash.to_be_bytes());
        out.push(entry.kind);
        out.extend_from_slice(&entry.offset.to_be_bytes());
    }
    out
}

/// The checked header of an index file.
struct Header(Vec<u8>);

impl Header {
    fn read(file: &dyn DiskFile) -> io::Result<Option<Self>> {
        let mut header = vec![0; HEADER_BYTES];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let good = header
            .split_last_chunk::<4>()
            .is_some_and(|(covered, crc)| covered.starts_with(MAGIC) && crc32c::crc32c(covered).to_be_bytes() == *crc);
        Ok(good.then_some(Self(header)))
    }

    fn u32(&self, at: usize) -> u32 {
        self.0
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_be_bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        self.0
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_be_bytes)
    }
}

/// What the index of segment `number` says about it; `None` when there is no good index.
pub(super) fn describe(disk: &dyn Disk, path: &Path, number: u64) -> io::Result<Option<Segment>> {
    let Some(file) = open(disk, path)? else {
        return Ok(None);
    };
    let Some(header) = Header::read(file.as_ref())?.filter(|header| header.u64(8) == number) else {
        return Ok(None);
    };
    let whole = HEADER_BYTES as u64 + u64::from(header.u32(FIXED_BYTES - 4)) * ENTRY_BYTES as u64;
    if file.len()? != whole {
        return Ok(None);
    }
    let [end, records, min_at, max_at] = [
        u64::from(header.u32(16)),
        header.u64(20),
        header.u64(28),
        header.u64(36),
    ];
    Ok(Some(Segment {
        end: u32::try_from(end).unwrap_or(0),
        records,
        min_at,
        max_at,
        entries: None,
    }))
}

fn open(disk: &dyn Disk, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
    match disk.open(path, Access::Read) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Offsets of the records with `key`, ascending; `None` when the index is missing or damaged.
pub(super) fn find(disk: &dyn Disk, path: &Path, key: SearchKey) -> io::Result<Option<Vec<u32>>> {
    let Some(file) = open(disk, path)? else {
        return Ok(None);
    };
    let Some(header) = Header::read(file.as_ref())? else {
        return Ok(None);
    };
    let bucket = IndexEntry::new(key, 0).bucket();
    let (from, until) = (
        header.u32(FIXED_BYTES + 4 * bucket),
        header.u32(FIXED_BYTES + 4 * (bucket + 1)),
    );
    let bytes = usize::try_from(until.saturating_sub(from)).unwrap_or(0) * ENTRY_BYTES;
    let mut entries = vec![0; bytes];
    file.read_exact_at(&mut entries, HEADER_BYTES as u64 + u64::from(from) * ENTRY_BYTES as u64)?;
    if crc32c::crc32c(&entries) != header.u32(FIXED_BYTES + 4 * FANOUT + 4 * bucket) {
        return Ok(None);
    }
    let parsed = entries.chunks_exact(ENTRY_BYTES).filter_map(parse_entry);
    Ok(Some(
        parsed
            .filter(|entry| entry.has(key))
            .map(|entry| entry.offset)
            .collect(),
    ))
}

fn parse_entry(bytes: &[u8]) -> Option<IndexEntry> {
    let (hash, rest) = bytes.split_first_chunk::<8>()?;
    let (kind, offset) = rest.split_first()?;
    Some(IndexEntry {
        hash: u64::from_be_bytes(*hash),
        kind: *kind,
        offset: u32::from_be_bytes(*offset.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::HostDisk;
    use proptest::prelude::*;

    fn segment(records: u64) -> Segment {
        Segment {
            end: 77,
            records,
            min_at: 5,
            max_at: 9,
            entries: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn finds_what_was_put_in(keys in prop::collection::vec((0u8..4, prop::sample::select(vec![0u64, 1, 1 << 56, u64::MAX])), 0..200)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("index");
            let entries: Vec<_> = (0..).zip(&keys).map(|(offset, key)| IndexEntry::new(*key, offset)).collect();
            write(&HostDisk, &path, 3, &segment(keys.len() as u64), entries).unwrap();
            let described = describe(&HostDisk, &path, 3).unwrap().unwrap();
            prop_assert_eq!((described.end, described.records, described.min_at, described.max_at), (77, keys.len() as u64, 5, 9));
            prop_assert!(describe(&HostDisk, &path, 4).unwrap().is_none());
            for kind in 0..4 {
                for hash in [0, 1, 1 << 56, u64::MAX, 42] {
                    let wanted: Vec<u32> = (0..).zip(&keys).filter(|(_, key)| **key == (kind, hash)).map(|(at, _)| at).collect();
                    prop_assert_eq!(find(&HostDisk, &path, (kind, hash)).unwrap().unwrap(), wanted);
                }
            }
        }
    }

    #[test]
    fn damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        write(&HostDisk, &path, 3, &segment(1), vec![IndexEntry::new((1, 2), 64)]).unwrap();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(find(&HostDisk, &path, (1, 2)).unwrap(), None, "byte {at}");
        }
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(describe(&HostDisk, &path, 3).unwrap().is_none());
    }
}
