//! The journal frame: one per commit group, written in the same batch as the group's rows, and the unit of shipping,
//! restoring and verifying. All integers are big-endian.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `SWFR` |
//! | 4 | 2 | format level, 1 |
//! | 6 | 1 | flags, 0 |
//! | 7 | 1 | strictest class of the group: 0 local, 1 remote preferred, 2 remote durable |
//! | 8 | 16 | cluster id |
//! | 24 | 8 | epoch |
//! | 32 | 8 | lsn, dense from 1 |
//! | 40 | 32 | chain of the frame before (zeros before lsn 1) |
//! | 72 | 8 | commit lsn known when it was written (a hint) |
//! | 80 | 8 | now of the last transaction, Unix milliseconds |
//! | 88 | 4 | transactions |
//! | 92 | 4 | payload length |
//! | 96 | 4 | CRC-32C of bytes 0..96 and the payload |
//! | 100 | … | payload |
//!
//! A transaction: `op` (u8 length, UTF-8), `caller` (u8 length, UTF-8), `now` u64, request id 16 bytes, class u8,
//! idempotency key (u8 present, 32 bytes), row count u32, rows. A row: kind u8 (1 put, 2 delete), table u16, key (u16
//! length), and for a put the value as stored (u32 length), sealed where the table is. Index rows are not in frames:
//! whoever applies a frame derives them.
//!
//! `chain = BLAKE3(chain before ++ header ++ payload)`.

mod parse;

pub use parse::{Frame, FrameError, FrameTx, RowChange, decode};

use crate::limits::{CALLER_MAX_BYTES, OP_MAX_BYTES};
use crate::table::Class;

/// Length of the header in bytes.
pub const HEADER_BYTES: usize = 100;
const MAGIC: [u8; 4] = *b"SWFR";
const FORMAT: u16 = 1;
const CRC_AT: usize = 96;

/// A BLAKE3 chain value.
pub type Chain = [u8; 32];

/// What the caller of a transaction says about it; goes into the frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub(crate) op: &'a str,
    pub(crate) caller: &'a str,
    pub(crate) now_at: u64,
    pub(crate) request_id: &'a [u8; 16],
    pub(crate) class: Class,
    pub(crate) idempotency_key: Option<&'a [u8; 32]>,
}

/// Position and ties of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePosition {
    /// The cluster the data belongs to.
    pub cluster_id: [u8; 16],
    /// Epoch it was written in.
    pub epoch: u64,
    /// Its number; dense.
    pub lsn: u64,
    /// Chain of the frame before.
    pub prev_chain: Chain,
    /// Commit lsn known when it was written.
    pub commit_lsn: u64,
    /// Now of its last transaction, Unix milliseconds.
    pub now_at: u64,
}

/// Collects the transactions of a group; room for the header is kept in front, so nothing is copied at the end.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    bytes: Vec<u8>,
    transactions: u32,
    class: Class,
}

impl FrameBuilder {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; HEADER_BYTES],
            transactions: 0,
            class: Class::Local,
        }
    }

    pub(crate) fn transactions(&self) -> u32 {
        self.transactions
    }

    /// Payload collected so far, in bytes.
    pub(crate) fn payload_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    /// Adds a transaction with its rows: full key, and the stored value or `None` for a deletion.
    pub(crate) fn add<'r>(
        &mut self,
        envelope: &Envelope<'_>,
        rows: impl Iterator<Item = (&'r [u8], Option<&'r [u8]>)>,
    ) {
        let out = &mut self.bytes;
        short_text(out, envelope.op, OP_MAX_BYTES);
        short_text(out, envelope.caller, CALLER_MAX_BYTES);
        out.extend_from_slice(&envelope.now_at.to_be_bytes());
        out.extend_from_slice(envelope.request_id);
        out.push(class_byte(envelope.class));
        out.push(u8::from(envelope.idempotency_key.is_some()));
        out.extend_from_slice(envelope.idempotency_key.map_or(&[][..], |key| key));
        let count_at = out.len();
        out.extend_from_slice(&[0; 4]);
        let mut count = 0u32;
        for (row_key, value) in rows {
            row(out, row_key, value);
            count += 1;
        }
        patch(out, count_at, &count.to_be_bytes());
        self.transactions += 1;
        self.class = self.class.max(envelope.class);
    }

    /// Writes the header; the frame and the chain after it.
    pub(crate) fn finish(mut self, at: &FramePosition) -> (Vec<u8>, Chain) {
        let payload_len = u32::try_from(self.payload_bytes()).unwrap_or(u32::MAX);
        let mut head = Vec::with_capacity(CRC_AT);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&FORMAT.to_be_bytes());
        head.extend_from_slice(&[0, class_byte(self.class)]);
        head.extend_from_slice(&at.cluster_id);
        head.extend_from_slice(&at.epoch.to_be_bytes());
        head.extend_from_slice(&at.lsn.to_be_bytes());
        head.extend_from_slice(&at.prev_chain);
        head.extend_from_slice(&at.commit_lsn.to_be_bytes());
        head.extend_from_slice(&at.now_at.to_be_bytes());
        head.extend_from_slice(&self.transactions.to_be_bytes());
        head.extend_from_slice(&payload_len.to_be_bytes());
        patch(&mut self.bytes, 0, &head);
        let crc = checksum(&self.bytes);
        patch(&mut self.bytes, CRC_AT, &crc.to_be_bytes());
        let chain = chain_after(&at.prev_chain, &self.bytes);
        (self.bytes, chain)
    }
}

/// The chain value after `frame`.
fn chain_after(prev_chain: &Chain, frame: &[u8]) -> Chain {
    let mut hasher = blake3::Hasher::new();
    hasher.update(prev_chain);
    hasher.update(frame);
    *hasher.finalize().as_bytes()
}

/// CRC-32C over everything but the checksum itself.
fn checksum(frame: &[u8]) -> u32 {
    let head = frame.get(..CRC_AT).unwrap_or_default();
    let payload = frame.get(HEADER_BYTES..).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c(head), payload)
}

fn patch(bytes: &mut [u8], at: usize, with: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + with.len()) {
        place.copy_from_slice(with);
    }
}

fn class_byte(class: Class) -> u8 {
    match class {
        Class::Local => 0,
        Class::RemotePreferred => 1,
        Class::RemoteDurable => 2,
    }
}

/// A text of at most `max` (≤ 255) bytes behind its length; longer ones are cut at a character boundary.
fn short_text(out: &mut Vec<u8>, text: &str, max: usize) {
    let text = text.get(..text.floor_char_boundary(max.min(255))).unwrap_or_default();
    out.push(u8::try_from(text.len()).unwrap_or(0));
    out.extend_from_slice(text.as_bytes());
}

fn row(out: &mut Vec<u8>, row_key: &[u8], value: Option<&[u8]>) {
    let (number, key) = row_key.split_at_checked(2).unwrap_or((&[0, 0], &[]));
    out.push(if value.is_some() { 1 } else { 2 });
    out.extend_from_slice(number);
    out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(key);
    if let Some(value) = value {
        out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests;
