//! What lies in RocksDB's write-ahead logs before it replays them: what a start found, what it cut, and whether it may.
//! The files are runs of 32 KiB blocks; a record is one piece or several, each in one block behind a header of checksum
//! (4 bytes), length (2) and kind (1).
//!
//! Every record is synced before the next one is written, so a cut of the power can tear the last one only. Of it any
//! pages may be on the disk; those that are not read as zeros, for a log's space is fresh. RocksDB by itself knows only
//! records that end early, and refuses one with a hole as it refuses damage.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::engine::{Replayed, Torn};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// Kinds of pieces. Those not listed are notes of RocksDB to itself.
const ZERO: u8 = 0;
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The least that a disk writes at once.
const SECTOR: usize = 512;
/// The least of a sector that says something when it is zero: at the begin of a record its header, which no flipped bit makes
/// zero; at the end of the file more than values usually end with.
const LEAST: usize = 16;

/// How the logs end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum End {
    /// As RocksDB expects it: whole, or with a last record that ends early.
    #[default]
    Plain,
    /// Parts of the last record never reached the disk.
    Holed,
    /// A record is not whole, and behind it another one begins: what was synced is damaged.
    Damaged {
        /// The log.
        file: PathBuf,
        /// Behind its last whole record.
        whole_end: u64,
        /// Where the record behind the damage begins.
        follows: u64,
    },
}

/// Reads every log in `dir`.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn look(dir: &Path) -> io::Result<(Replayed, End)> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            logs.push(path);
        }
    }
    logs.sort();
    let (mut found, mut end, mut is_whole) = (Replayed::default(), End::Plain, true);
    for path in logs {
        let scan = Scan::of(&mut File::open(&path)?)?;
        found.logs += 1;
        found.bytes += scan.whole_end;
        found.batches += scan.batches;
        // A hole is in the last log and those before it are whole, or it is damage; and damage is told where it begins.
        if !matches!(end, End::Damaged { .. }) {
            end = match scan.end_of(&path) {
                End::Holed if !is_whole => End::Plain,
                other => other,
            };
        }
        is_whole &= scan.written_end <= scan.whole_end;
        // Nothing but zeros is space that was never written.
        if scan.written_end > scan.whole_end {
            found.torn = Some(Torn {
                file: path,
                from_byte: scan.whole_end,
                bytes: scan.end - scan.whole_end,
            });
        }
    }
    Ok((found, end))
}

/// How far one file is good.
#[derive(Debug, Default)]
struct Scan {
    batches: u64,
    /// Behind the last whole record.
    whole_end: u64,
    /// Behind the last byte that is not zero.
    written_end: u64,
    /// Behind the last byte.
    end: u64,
    over: bool,
    /// Behind the whole records a sector, or what belongs to them of one, is zero.
    has_hole: bool,
    /// Where a record begins behind a piece that is not whole.
    follows: Option<u64>,
}

impl Scan {
    fn of(file: &mut File) -> io::Result<Self> {
        let (mut scan, mut block) = (Self::default(), Vec::with_capacity(BLOCK));
        loop {
            block.clear();
            if file.take(BLOCK as u64).read_to_end(&mut block)? == 0 {
                return Ok(scan);
            }
            scan.block(&block);
        }
    }

    fn end_of(&self, path: &Path) -> End {
        match self.follows {
            Some(follows) => End::Damaged {
                file: path.to_owned(),
                whole_end: self.whole_end,
                follows,
            },
            None if self.has_hole && self.written_end > self.whole_end => End::Holed,
            None => End::Plain,
        }
    }

    fn block(&mut self, block: &[u8]) {
        let begin = self.end;
        self.end += block.len() as u64;
        if let Some(last) = block.iter().rposition(|byte| *byte != 0) {
            self.written_end = begin + last as u64 + 1;
        }
        let mut at = 0;
        while !self.over && at + HEADER <= BLOCK {
            let Some((kind, length)) = piece(block.get(at..).unwrap_or_default()) else {
                self.over = true;
                break;
            };
            at += length;
            match kind {
                FIRST | MIDDLE => {}
                WHOLE | LAST => {
                    self.batches += 1;
                    self.whole_end = begin + at as u64;
                }
                _ => self.whole_end = begin + at as u64,
            }
        }
        if self.over {
            self.behind(block, begin, at);
        }
    }

    /// Looks at what lies from `at` on, where a piece is not whole.
    fn behind(&mut self, block: &[u8], begin: u64, at: usize) {
        let mut from = at;
        while from < block.len() {
            let until = ((from / SECTOR + 1) * SECTOR).min(block.len());
            let least = if from == at { HEADER } else { LEAST };
            self.has_hole |= until - from >= least
                && block
                    .get(from..until)
                    .is_some_and(|sector| sector.iter().all(|byte| *byte == 0));
            from = until;
        }
        // The kind first: a checksum at every byte would take its time.
        let begins = |at: &usize| {
            matches!(block.get(at + HEADER - 1), Some(&(WHOLE | FIRST)))
                && piece(block.get(*at..).unwrap_or_default()).is_some()
        };
        if self.follows.is_none() {
            self.follows = (at..block.len()).find(begins).map(|at| begin + at as u64);
        }
    }
}

/// Kind and length, header included, of the piece that begins here; `None` when it is not whole.
fn piece(bytes: &[u8]) -> Option<(u8, usize)> {
    let (checksum, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let checked = rest.get(..=length)?;
    let kind = *checked.first()?;
    let is_good = kind != ZERO && masked(crc32c::crc32c(checked)) == u32::from_le_bytes(*checksum);
    is_good.then_some((kind, HEADER + length))
}

/// As RocksDB stores a checksum, so that a checksum of checksums stays good.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}
