//! The bytes of a segment. All integers are big-endian.
//!
//! File header, 64 bytes: magic `SWSEG001`, format u32 (1), number u64, zeros, CRC-32C of the first 60 bytes. Then
//! groups, each written with one sync: magic `SWGR`, payload bytes u32, records u32, CRC-32C of these 12 bytes, payload.
//! A record: bytes after its own two words u32, CRC-32C of them u32, instant u64, key count u8, keys (kind u8, hash
//! u64), body. Behind the last group the file is zeros.

use super::SearchKey;

/// Length of the file header in bytes.
pub(super) const FILE_HEADER_BYTES: u32 = 64;
/// Length of a group header in bytes.
pub(super) const GROUP_HEADER_BYTES: usize = 16;
/// Length and checksum in front of a record.
pub(super) const RECORD_HEADER_BYTES: usize = 8;
/// Longest body of a record in bytes.
pub const SEGMENT_RECORD_MAX_BYTES: usize = 64 * 1024;
/// Most search keys of a record.
pub const SEGMENT_KEYS_MAX: usize = 16;
const KEY_BYTES: usize = 9;
const FILE_MAGIC: &[u8; 8] = b"SWSEG001";
const FORMAT: u32 = 1;
const GROUP_MAGIC: &[u8; 4] = b"SWGR";

/// A record as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRecord {
    /// Its instant, Unix milliseconds, as the appender gave it.
    pub at: u64,
    /// Its search keys.
    pub keys: Vec<SearchKey>,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// The header of a segment file.
pub(super) fn file_header(number: u64) -> [u8; FILE_HEADER_BYTES as usize] {
    let mut header = [0; FILE_HEADER_BYTES as usize];
    let fields = [&FILE_MAGIC[..], &FORMAT.to_be_bytes(), &number.to_be_bytes()].concat();
    header.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    if let Some((covered, crc)) = header.split_last_chunk_mut::<4>() {
        *crc = crc32c::crc32c(covered).to_be_bytes();
    }
    header
}

/// What a file header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileHeader {
    /// A segment of this format with this number.
    Segment(u64),
    /// A segment of a newer format.
    Newer(u32),
    /// Not a whole header.
    Damaged,
}

pub(super) fn parse_file_header(header: &[u8]) -> FileHeader {
    let parsed = || {
        let (covered, crc) = header.split_last_chunk::<4>()?;
        let rest = covered.strip_prefix(FILE_MAGIC)?;
        let (format, rest) = rest.split_first_chunk::<4>()?;
        let number = u64::from_be_bytes(*rest.first_chunk()?);
        (crc32c::crc32c(covered).to_be_bytes() == *crc).then_some((u32::from_be_bytes(*format), number))
    };
    match parsed() {
        Some((FORMAT, number)) => FileHeader::Segment(number),
        Some((format, _)) => FileHeader::Newer(format),
        None => FileHeader::Damaged,
    }
}

/// The header of a group with this payload.
pub(super) fn group_header(payload_bytes: u32, records: u32) -> [u8; GROUP_HEADER_BYTES] {
    let mut header = [0; GROUP_HEADER_BYTES];
    let fields = [&GROUP_MAGIC[..], &payload_bytes.to_be_bytes(), &records.to_be_bytes()].concat();
    let crc = crc32c::crc32c(&fields).to_be_bytes();
    header
        .iter_mut()
        .zip(fields.iter().chain(&crc))
        .for_each(|(to, from)| *to = *from);
    header
}

/// Payload bytes and records of a group; `None` when this is no whole group header.
pub(super) fn parse_group_header(header: &[u8]) -> Option<(u32, u32)> {
    let (covered, crc) = header.split_at_checked(12)?;
    if crc32c::crc32c(covered).to_be_bytes() != *crc.first_chunk::<4>()? {
        return None;
    }
    let (payload, records) = covered.strip_prefix(GROUP_MAGIC)?.split_first_chunk::<4>()?;
    Some((
        u32::from_be_bytes(*payload),
        u32::from_be_bytes(*records.first_chunk()?),
    ))
}

/// Whether a group can begin here. No record begins with these bytes: as a length they are over every limit.
pub(super) fn may_begin_group(bytes: &[u8]) -> bool {
    bytes.starts_with(GROUP_MAGIC)
}

/// Stored length of a record in bytes.
pub(super) fn record_bytes(body: &[u8], keys: &[SearchKey]) -> usize {
    RECORD_HEADER_BYTES + 8 + 1 + keys.len() * KEY_BYTES + body.len()
}

/// The stored form of a record. Body and keys must be within their limits.
pub(super) fn render_record(at: u64, body: &[u8], keys: &[SearchKey]) -> Vec<u8> {
    let mut out = Vec::with_capacity(record_bytes(body, keys));
    let covered = u32::try_from(record_bytes(body, keys) - RECORD_HEADER_BYTES).unwrap_or(0);
    out.extend_from_slice(&covered.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&at.to_be_bytes());
    out.push(u8::try_from(keys.len()).unwrap_or(0));
    for (kind, hash) in keys {
        out.push(*kind);
        out.extend_from_slice(&hash.to_be_bytes());
    }
    out.extend_from_slice(body);
    let crc = crc32c::crc32c(out.get(RECORD_HEADER_BYTES..).unwrap_or_default());
    if let Some(place) = out.get_mut(4..RECORD_HEADER_BYTES) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    out
}

/// How many bytes follow a record's header, and their checksum.
pub(super) fn parse_record_header(header: &[u8]) -> Option<(u32, u32)> {
    let (length, crc) = header.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*length), u32::from_be_bytes(*crc.first_chunk()?)))
}

/// A record and its stored length, at the front of `bytes`; `None` when it is not whole.
pub(super) fn parse_record(bytes: &[u8]) -> Option<(SegmentRecord, usize)> {
    let (header, rest) = bytes.split_at_checked(RECORD_HEADER_BYTES)?;
    let (length, crc) = parse_record_header(header)?;
    let covered = rest.get(..usize::try_from(length).ok()?)?;
    if crc32c::crc32c(covered) != crc {
        return None;
    }
    let (at, rest) = covered.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first()?;
    let (keys, body) = rest.split_at_checked(usize::from(*count) * KEY_BYTES)?;
    let keys = keys.chunks_exact(KEY_BYTES).filter_map(|key| {
        let (kind, hash) = key.split_first()?;
        Some((*kind, u64::from_be_bytes(*hash.first_chunk()?)))
    });
    let record = SegmentRecord {
        at: u64::from_be_bytes(*at),
        keys: keys.collect(),
        body: body.to_vec(),
    };
    Some((record, RECORD_HEADER_BYTES + covered.len()))
}

/// All records of a group's payload with their offsets in it; `None` when the group is not whole.
pub(super) fn parse_group(payload: &[u8], records: u32) -> Option<Vec<(u32, SegmentRecord)>> {
    let (mut found, mut at) = (Vec::new(), 0usize);
    for _ in 0..records {
        let (record, length) = parse_record(payload.get(at..)?)?;
        found.push((u32::try_from(at).ok()?, record));
        at += length;
    }
    (at == payload.len()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record() -> impl Strategy<Value = SegmentRecord> {
        let keys = prop::collection::vec(any::<SearchKey>(), 0..SEGMENT_KEYS_MAX);
        (any::<u64>(), keys, any::<Vec<u8>>()).prop_map(|(at, keys, body)| SegmentRecord { at, keys, body })
    }

    proptest! {
        #[test]
        fn groups_round_trip_and_notice_damage(records in prop::collection::vec(record(), 1..6), hit: prop::sample::Index) {
            let stored: Vec<_> = records.iter().map(|r| render_record(r.at, &r.body, &r.keys)).collect();
            for (record, stored) in records.iter().zip(&stored) {
                prop_assert_eq!(stored.len(), record_bytes(&record.body, &record.keys));
            }
            let mut payload = stored.concat();
            let count = u32::try_from(records.len()).unwrap();
            let parsed = parse_group(&payload, count).unwrap();
            prop_assert_eq!(parsed.into_iter().map(|(_, record)| record).collect::<Vec<_>>(), records);
            prop_assert!(parse_group(&payload, count + 1).is_none());
            prop_assert!(parse_group(&payload, count - 1).is_none());
            let at = hit.index(payload.len());
            payload[at] ^= 1;
            prop_assert!(parse_group(&payload, count).is_none());
        }

        #[test]
        fn any_bytes_never_panic(raw: Vec<u8>, records in 0u32..9) {
            let _ = (parse_group(&raw, records), parse_group_header(&raw), parse_file_header(&raw), parse_record(&raw));
        }

        #[test]
        fn headers_round_trip(number: u64, payload_bytes: u32, records: u32) {
            prop_assert_eq!(parse_file_header(&file_header(number)), FileHeader::Segment(number));
            prop_assert_eq!(parse_group_header(&group_header(payload_bytes, records)), Some((payload_bytes, records)));
        }
    }

    #[test]
    fn header_damage_is_noticed() {
        let (file, group) = (file_header(7), group_header(8, 9));
        for bit in 0..file.len() * 8 {
            let mut bad = file;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_file_header(&bad), FileHeader::Damaged);
        }
        for bit in 0..group.len() * 8 {
            let mut bad = group;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse_group_header(&bad), None);
        }
        assert_eq!(parse_group_header(&[0; 16]), None);
    }
}
