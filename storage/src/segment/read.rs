//! Reading a segment log: in order from a position, or by search key, newest first. Only what is durable is seen. These
//! calls read files and block; they belong on threads that may.

use std::io;

use super::format::{self, GROUP_HEADER_BYTES, RECORD_HEADER_BYTES, SegmentRecord};
use super::index;
use super::recover;
use super::{SearchKey, Segment, SegmentLog, SegmentPosition};
use crate::disk::{Access, DiskFile};

/// Records read in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPage {
    /// The records, oldest first.
    pub records: Vec<SegmentHit>,
    /// Where to go on; a page without records is at the end.
    pub next: SegmentPosition,
}

/// A record and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentHit {
    /// Where.
    pub position: SegmentPosition,
    /// What.
    pub record: SegmentRecord,
}

/// Bytes read from a segment at once.
const WINDOW_BYTES: u32 = 256 << 10;

impl SegmentLog {
    /// Records from `from` on, at most `max_records` and about `max_bytes` of bodies.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_from(&self, from: SegmentPosition, max_records: usize, max_bytes: usize) -> io::Result<SegmentPage> {
        let mut page = SegmentPage {
            records: Vec::new(),
            next: from,
        };
        let mut bytes = 0;
        for (number, segment) in self.segments_from(from.segment) {
            let offset = if number == from.segment { from.offset } else { 0 };
            let Some(file) = self.open_segment(number)? else {
                continue;
            };
            let mut cursor = Cursor::new(file, offset.max(format::FILE_HEADER_BYTES), segment.end);
            while page.records.len() < max_records && bytes < max_bytes {
                let Some((offset, record)) = cursor.next()? else { break };
                bytes += record.body.len();
                page.records.push(SegmentHit {
                    position: SegmentPosition {
                        segment: number,
                        offset,
                    },
                    record,
                });
            }
            page.next = SegmentPosition {
                segment: number,
                offset: cursor.at,
            };
            if page.records.len() >= max_records || bytes >= max_bytes {
                break;
            }
        }
        Ok(page)
    }

    /// The newest records that carry `key` with an instant in `from_at..until_at`, newest first, at most `limit`, all
    /// before the position `before` when one is given (the last hit of the page before). Hashes may collide: look at
    /// the records.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn search(
        &self,
        key: SearchKey,
        from_at: u64,
        until_at: u64,
        before: Option<SegmentPosition>,
        limit: usize,
    ) -> io::Result<Vec<SegmentHit>> {
        let mut hits = Vec::new();
        let mut segments = self.segments_from(0);
        segments.retain(|(number, segment)| {
            before.is_none_or(|before| *number <= before.segment)
                && segment.max_at >= from_at
                && segment.min_at < until_at
        });
        for (number, segment) in segments.into_iter().rev() {
            let Some(file) = self.open_segment(number)? else {
                continue;
            };
            let offsets = self.offsets(number, &segment, file.as_ref(), key)?;
            for offset in offsets.into_iter().rev() {
                let position = SegmentPosition {
                    segment: number,
                    offset,
                };
                if hits.len() >= limit {
                    return Ok(hits);
                }
                if before.is_some_and(|before| position >= before) {
                    continue;
                }
                match record_at(file.as_ref(), offset)? {
                    Some(record) if record.keys.contains(&key) && (from_at..until_at).contains(&record.at) => {
                        hits.push(SegmentHit { position, record });
                    }
                    _ => {}
                }
            }
        }
        Ok(hits)
    }

    fn segments_from(&self, number: u64) -> Vec<(u64, Segment)> {
        self.state
            .segments
            .read()
            .range(number..)
            .map(|(number, segment)| (*number, segment.clone()))
            .collect()
    }

    /// The file of a segment; `None` when it expired meanwhile.
    fn open_segment(&self, number: u64) -> io::Result<Option<Box<dyn DiskFile>>> {
        match self.state.disk.open(&self.state.path(number), Access::Read) {
            Ok(file) => Ok(Some(file)),
            Err(_) if !self.state.segments.read().contains_key(&number) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Offsets of the records with `key`, ascending; from the segment itself when its index is missing or damaged.
    fn offsets(&self, number: u64, segment: &Segment, file: &dyn DiskFile, key: SearchKey) -> io::Result<Vec<u32>> {
        if let Some(entries) = &segment.entries {
            let entries = entries.read();
            return Ok(entries
                .iter()
                .filter(|entry| entry.has(key))
                .map(|entry| entry.offset)
                .collect());
        }
        let (disk, path) = (self.state.disk.as_ref(), self.state.index_path(number));
        if let Some(offsets) = index::find(disk, &path, key)? {
            return Ok(offsets);
        }
        self.state
            .report(&format!("index of segment {number:x} is damaged and is rebuilt"));
        let scan = recover::scan(file, number)?;
        let offsets = scan
            .entries
            .iter()
            .filter(|entry| entry.has(key))
            .map(|entry| entry.offset)
            .collect();
        if self.state.segments.read().contains_key(&number)
            && let Err(error) = index::write(disk, &path, number, segment, scan.entries)
        {
            // What was found is right; the next search builds the index again.
            self.state
                .report(&format!("index of segment {number:x} could not be written: {error}"));
        }
        Ok(offsets)
    }
}

/// The record at an offset; `None` when it is damaged.
fn record_at(file: &dyn DiskFile, offset: u32) -> io::Result<Option<SegmentRecord>> {
    let mut header = [0; RECORD_HEADER_BYTES];
    file.read_exact_at(&mut header, u64::from(offset))?;
    let Some((length, _)) = format::parse_record_header(&header) else {
        return Ok(None);
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > format::record_bytes(&[], &[]) + format::SEGMENT_KEYS_MAX * 9 + format::SEGMENT_RECORD_MAX_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; RECORD_HEADER_BYTES + length];
    match file.read_exact_at(&mut bytes, u64::from(offset)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(format::parse_record(&bytes).map(|(record, _)| record)),
    }
}

/// Walks the records of one segment up to its durable end.
struct Cursor {
    file: Box<dyn DiskFile>,
    at: u32,
    end: u32,
    window: Vec<u8>,
    window_at: u32,
}

impl Cursor {
    fn new(file: Box<dyn DiskFile>, at: u32, end: u32) -> Self {
        Self {
            file,
            at,
            end,
            window: Vec::new(),
            window_at: at,
        }
    }

    /// Bytes at the cursor: at least `wanted` of them unless the segment ends before.
    fn bytes(&mut self, wanted: usize) -> io::Result<&[u8]> {
        let skip = usize::try_from(self.at - self.window_at).unwrap_or(usize::MAX);
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(0);
        if self.window.len() < skip + wanted.min(left) {
            let length = left.min(wanted.max(usize::try_from(WINDOW_BYTES).unwrap_or(0)));
            self.window.resize(length, 0);
            self.file.read_exact_at(&mut self.window, u64::from(self.at))?;
            self.window_at = self.at;
            return Ok(&self.window);
        }
        Ok(self.window.get(skip..).unwrap_or_default())
    }

    fn next(&mut self) -> io::Result<Option<(u32, SegmentRecord)>> {
        while self.at < self.end {
            let head = self.bytes(GROUP_HEADER_BYTES)?;
            if format::may_begin_group(head)
                && format::parse_group_header(head.get(..GROUP_HEADER_BYTES).unwrap_or_default()).is_some()
            {
                self.at += GROUP_HEADER_BYTES as u32;
                continue;
            }
            let wanted = format::parse_record_header(head).map_or(0, |(length, _)| length);
            let wanted = usize::try_from(wanted)
                .unwrap_or(0)
                .min(2 * format::SEGMENT_RECORD_MAX_BYTES);
            let parsed = format::parse_record(self.bytes(RECORD_HEADER_BYTES + wanted)?);
            let Some((record, length)) = parsed else {
                // Damage: go on at the next whole group.
                self.at = recover::next_group(self.file.as_ref(), self.at + 1, self.end)?.unwrap_or(self.end);
                continue;
            };
            let offset = self.at;
            self.at += u32::try_from(length).unwrap_or(0);
            return Ok(Some((offset, record)));
        }
        Ok(None)
    }
}
