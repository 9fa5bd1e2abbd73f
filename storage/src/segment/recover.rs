//! Opening a segment log: what the files hold. The last segment of a run ends where its last whole group ends; what
//! lies behind was torn while it was written and is cut. Damage with whole groups behind it is another matter: that was
//! acknowledged, so nothing is cut, and readers pass over it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::format::{self, FileHeader, GROUP_HEADER_BYTES, SegmentRecord};
use super::index::{self, IndexEntry};
use super::{Segment, State};
use crate::disk::{Access, DiskFile};

/// Finds all segments, cuts torn tails, rebuilds missing indexes.
pub(super) fn load(state: &Arc<State>) -> io::Result<()> {
    let mut numbers = Vec::new();
    for name in state.disk.names(&state.dir)? {
        if let Some(number) = name
            .strip_suffix(".seg")
            .and_then(|stem| u64::from_str_radix(stem, 16).ok())
        {
            numbers.push(number);
        } else if let Some(stem) = name.strip_suffix(".tmp") {
            state.report(&format!("removing {stem}.tmp, which was never finished"));
            remove_if_present(state, &state.dir.join(&name))?;
        }
    }
    numbers.sort_unstable();
    for number in numbers {
        let segment = match index::describe(state.disk.as_ref(), &state.index_path(number), number)? {
            Some(segment) => segment,
            None => rebuild(state, number)?,
        };
        state.segments.write().insert(number, segment);
    }
    Ok(())
}

pub(super) fn remove_if_present(state: &State, path: &Path) -> io::Result<()> {
    match state.disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a whole segment, ends it cleanly and writes its index.
fn rebuild(state: &State, number: u64) -> io::Result<Segment> {
    let file = state.disk.open(&state.path(number), Access::Write)?;
    // A process that died here left bytes that no sync saved, or that a failed sync gave up. The first kind is saved
    // now; the second must not be taken for durable.
    file.sync_data()?;
    file.forget_cached()?;
    let scan = scan(file.as_ref(), number)?;
    let length = file.len()?;
    match scan.torn {
        Some(bytes) if !scan.damaged => {
            state.report(&format!("cutting {bytes} bytes of a torn tail off segment {number:x}"));
        }
        _ if scan.damaged => {
            state.report(&format!(
                "segment {number:x} is damaged in the middle; its readable records are kept"
            ));
        }
        _ => {}
    }
    if !scan.damaged && length > u64::from(scan.end) {
        file.set_len(u64::from(scan.end))?;
        file.sync_all()?;
    }
    let segment = Segment {
        end: scan.end,
        records: scan.records,
        min_at: scan.min_at,
        max_at: scan.max_at,
        entries: None,
    };
    index::write(
        state.disk.as_ref(),
        &state.index_path(number),
        number,
        &segment,
        scan.entries,
    )?;
    Ok(segment)
}

/// What a segment file holds.
pub(super) struct Scan {
    /// End of the last whole group.
    pub(super) end: u32,
    pub(super) records: u64,
    pub(super) min_at: u64,
    pub(super) max_at: u64,
    pub(super) entries: Vec<IndexEntry>,
    /// Bytes that are not zero behind the last whole group.
    torn: Option<u64>,
    /// Whole groups follow a place that is none.
    damaged: bool,
}

/// Reads a whole segment file.
pub(super) fn scan(file: &dyn DiskFile, number: u64) -> io::Result<Scan> {
    let mut header = [0; format::FILE_HEADER_BYTES as usize];
    file.read_exact_at(&mut header, 0)?;
    match format::parse_file_header(&header) {
        FileHeader::Segment(found) if found == number => {}
        FileHeader::Newer(level) => {
            let text = format!("segment {number:x} has format {level}, which a newer release wrote");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        _ => {
            let text = format!("segment {number:x} does not begin with its header; move the file away to go on");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
    }
    let mut scan = Scan {
        end: format::FILE_HEADER_BYTES,
        records: 0,
        min_at: u64::MAX,
        max_at: 0,
        entries: Vec::new(),
        torn: None,
        damaged: false,
    };
    walk(file, format::FILE_HEADER_BYTES, u32::MAX, &mut |offset, record| {
        scan.records += 1;
        scan.min_at = scan.min_at.min(record.at);
        scan.max_at = scan.max_at.max(record.at);
        scan.entries
            .extend(record.keys.iter().map(|key| IndexEntry::new(*key, offset)));
        true
    })
    .map(|walked| {
        scan.end = walked.end;
        scan.torn = walked.torn;
        scan.damaged = walked.damaged;
        scan
    })
}

/// Where a walk ended.
pub(super) struct Walked {
    pub(super) end: u32,
    torn: Option<u64>,
    damaged: bool,
}

/// Visits the records of every whole group between two offsets, passing over damage, until the visitor says `false`.
pub(super) fn walk(
    file: &dyn DiskFile,
    from: u32,
    until: u32,
    visit: &mut dyn FnMut(u32, SegmentRecord) -> bool,
) -> io::Result<Walked> {
    let length = u32::try_from(file.len()?).unwrap_or(u32::MAX).min(until);
    let mut walked = Walked {
        end: from,
        torn: None,
        damaged: false,
    };
    let mut at = from;
    while at < length {
        let Some((next, records)) = read_group(file, at, length)? else {
            match next_group(file, at + 1, length)? {
                Some(further) => {
                    walked.damaged = true;
                    at = further;
                    continue;
                }
                None => {
                    walked.torn = nonzero_bytes(file, at, length)?;
                    break;
                }
            }
        };
        for (offset, record) in records {
            if !visit(at + GROUP_HEADER_BYTES as u32 + offset, record) {
                walked.end = next;
                return Ok(walked);
            }
        }
        at = next;
        walked.end = next;
    }
    Ok(walked)
}

type Group = (u32, Vec<(u32, SegmentRecord)>);

/// The group at `at` and where the next one begins; `None` when there is no whole group.
fn read_group(file: &dyn DiskFile, at: u32, length: u32) -> io::Result<Option<Group>> {
    let mut header = [0; GROUP_HEADER_BYTES];
    if u64::from(at) + GROUP_HEADER_BYTES as u64 > u64::from(length) {
        return Ok(None);
    }
    file.read_exact_at(&mut header, u64::from(at))?;
    let Some((payload_bytes, records)) = format::parse_group_header(&header) else {
        return Ok(None);
    };
    let begin = at + GROUP_HEADER_BYTES as u32;
    let Some(next) = begin.checked_add(payload_bytes).filter(|next| *next <= length) else {
        return Ok(None);
    };
    let mut payload = vec![0; usize::try_from(payload_bytes).unwrap_or(0)];
    file.read_exact_at(&mut payload, u64::from(begin))?;
    Ok(format::parse_group(&payload, records).map(|records| (next, records)))
}

const WINDOW_BYTES: usize = 1 << 20;

/// The next place from `from` where a whole group begins.
pub(super) fn next_group(file: &dyn DiskFile, from: u32, length: u32) -> io::Result<Option<u32>> {
    let mut window = vec![0; WINDOW_BYTES];
    let mut at = from;
    while at < length {
        let take = usize::try_from(length - at).unwrap_or(0).min(WINDOW_BYTES);
        let Some(bytes) = window.get_mut(..take) else { break };
        file.read_exact_at(bytes, u64::from(at))?;
        for (step, header) in (0u32..).zip(bytes.windows(GROUP_HEADER_BYTES)) {
            if format::may_begin_group(header) && read_group(file, at + step, length)?.is_some() {
                return Ok(Some(at + step));
            }
        }
        if take < WINDOW_BYTES {
            break;
        }
        at += u32::try_from(WINDOW_BYTES - GROUP_HEADER_BYTES + 1).unwrap_or(0);
    }
    Ok(None)
}

/// How many bytes from `from` to the last byte that is not zero; `None` when all are.
fn nonzero_bytes(file: &dyn DiskFile, from: u32, length: u32) -> io::Result<Option<u64>> {
    let mut window = vec![0; WINDOW_BYTES];
    let (mut at, mut last) = (u64::from(from), None);
    while at < u64::from(length) {
        let take = usize::try_from(u64::from(length) - at)
            .unwrap_or(WINDOW_BYTES)
            .min(WINDOW_BYTES);
        let Some(bytes) = window.get_mut(..take) else { break };
        file.read_exact_at(bytes, at)?;
        if let Some(step) = bytes.iter().rposition(|byte| *byte != 0) {
            last = Some(at + step as u64 + 1 - u64::from(from));
        }
        at += take as u64;
    }
    Ok(last)
}
