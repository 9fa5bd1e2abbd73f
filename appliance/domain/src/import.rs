//! Taking over the accounts of an old platform, and the way back.
//!
//! The CLI reads the file and sends pieces of it in order; each chunk is parsed here and committed together with the
//! import's progress, so that a killed import resumes exactly where it stood and a repeated one changes nothing.

use crate::ids::{RealmId, UnixMs};

mod apply;
mod chunk;
mod export;
mod life;
pub mod line;
mod row;
#[cfg(test)]
mod tests;
mod time;

/// Largest chunk: some twelve thousand accounts, so that the pause between two chunks costs little.
pub const CHUNK_MAX_BYTES: usize = 4 << 20;

/// File format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportFormat {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated with a header line.
    Csv,
}

/// `import.begin`. Debug output leaves the pepper out.
#[derive(Clone)]
pub struct ImportBegin {
    /// BLAKE3 of the file, hex: names the import, so that the same file resumes.
    pub file_digest: String,
    /// Target realm.
    pub realm_id: RealmId,
    /// Format.
    pub format: ImportFormat,
    /// The header line of a CSV file.
    pub csv_header: Option<String>,
    /// Recipe of lines that name none, e.g. `md5(md5(password)+salt)`, `bcrypt`, `argon2`.
    pub password_recipe: Option<String>,
    /// Pepper for recipes that use one (sealed, needed until finalize).
    pub pepper: Option<String>,
    /// Rename columns of the file: (file column, our field).
    pub columns: Vec<(String, String)>,
    /// Keep the old hash beside the new one until finalize, for the way back.
    pub keep_old_hashes: bool,
    /// Imported accounts keep their uid as player id in every game (default) or get new ones.
    pub uid_is_player_id: bool,
    /// Parse and check only; nothing is written.
    pub dry_run: bool,
}

impl std::fmt::Debug for ImportBegin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportBegin")
            .field("file_digest", &self.file_digest)
            .field("realm_id", &self.realm_id)
            .field("format", &self.format)
            .field("password_recipe", &self.password_recipe)
            .field("has_pepper", &self.pepper.is_some())
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// Where an import stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ImportProgress {
    /// Its id (the file digest's first 32 hex digits).
    pub import_id: String,
    /// Bytes of the file done.
    pub offset_bytes: u64,
    /// Lines done.
    pub lines: u64,
    /// Accounts made.
    pub created: u64,
    /// Accounts changed.
    pub updated: u64,
    /// Lines older than what is stored, or equal to it.
    pub unchanged: u64,
    /// Lines refused.
    pub refused: u64,
    /// Set when finalized.
    pub finalized_at: Option<UnixMs>,
}

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BadLine {
    /// Line number in the file, from 1.
    pub line: u64,
    /// What is wrong; never repeats a password, hash or phone.
    pub reason: String,
}
