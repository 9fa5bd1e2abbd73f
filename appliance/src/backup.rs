//! Backups: copies of everything this host must not lose, sealed and signed, in a directory or in S3-compatible storage,
//! with the journal archived between them, so that any lsn and any instant can be restored.
//!
//! ```text
//! repository.json                   whose data, and a check of the backup key
//! objects/<content id>              one file, compressed and sealed; shared by all backups that hold the same file
//! manifests/<id>.json               one backup: its files and the lsn, chain, epoch and digest they stand at; signed
//! journal/<first>-<last>-…          frames of the journal, compressed and sealed
//! running/<id>                      a backup is being made: nothing may be pruned
//! ```
//!
//! Nothing readable leaves the host but sizes, names of files, lsns and times. The backup key alone opens it all: the
//! cluster key travels inside.

pub mod archive;
pub mod check;
pub mod create;
pub mod deletions;
pub mod drill;
mod error;
pub mod key;
pub mod manifest;
pub mod progress;
pub mod prune;
pub mod repository;
pub mod restore;
pub mod seal;
pub mod service;
pub mod standing;
pub mod target;

#[cfg(test)]
mod tests;

pub use error::BackupError;

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Reads what [`hex`] wrote; `None` for anything else.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(out)
}
