//! Taking over accounts: begin, chunks of raw lines, finalize, and the way back.

use schemars::JsonSchema;
use seawall_domain::{RealmId, import};
use serde::{Deserialize, Serialize};

use super::{Id, mirror};

mirror! {
    /// File format.
    ImportFormat = import::ImportFormat {
        /// One JSON object a line.
        Ndjson,
        /// Comma-separated with a header line.
        Csv,
    }
}

/// A column of the file that has another name than our field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnName {
    /// As in the file.
    pub column: String,
    /// Our field.
    pub field: String,
}

/// Begin an import, or learn where the import of the same file stands.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportBegin {
    /// BLAKE3 of the file, 64 hex digits: names the import, so that the same file resumes.
    pub file_digest: String,
    /// Target realm.
    pub realm_id: Id<RealmId>,
    /// Format.
    pub format: ImportFormat,
    /// The header line of a CSV file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv_header: Option<String>,
    /// Recipe of lines that name none, for example `md5(md5(password)+salt)`, `bcrypt`, `argon2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_recipe: Option<String>,
    /// Pepper of recipes that use one; kept sealed until the import is finalized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pepper: Option<String>,
    /// Columns to rename.
    #[serde(default)]
    pub columns: Vec<ColumnName>,
    /// Keep the old hash beside the new one until finalize, for the way back.
    #[serde(default)]
    pub keep_old_hashes: bool,
    /// Imported accounts keep their uid as player id in every game (default) or get new ones.
    #[serde(default = "yes")]
    pub uid_is_player_id: bool,
    /// Parse and check only; nothing is written.
    #[serde(default)]
    pub dry_run: bool,
}

fn yes() -> bool {
    true
}

impl From<ImportBegin> for import::ImportBegin {
    fn from(ask: ImportBegin) -> Self {
        import::ImportBegin {
            file_digest: ask.file_digest,
            realm_id: ask.realm_id.0,
            format: ask.format.into(),
            csv_header: ask.csv_header,
            password_recipe: ask.password_recipe,
            pepper: ask.pepper,
            columns: ask.columns.into_iter().map(|name| (name.column, name.field)).collect(),
            keep_old_hashes: ask.keep_old_hashes,
            uid_is_player_id: ask.uid_is_player_id,
            dry_run: ask.dry_run,
        }
    }
}

/// Where a chunk begins.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportChunkQuery {
    /// Bytes of the file before this chunk; the import's own progress, else 409 `import.conflict`.
    pub offset_bytes: u64,
}

/// Where an import stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportProgress {
    /// Its id: the first 32 hex digits of the file's digest.
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalized_at: Option<u64>,
}

impl From<import::ImportProgress> for ImportProgress {
    fn from(progress: import::ImportProgress) -> Self {
        ImportProgress {
            import_id: progress.import_id,
            offset_bytes: progress.offset_bytes,
            lines: progress.lines,
            created: progress.created,
            updated: progress.updated,
            unchanged: progress.unchanged,
            refused: progress.refused,
            finalized_at: progress.finalized_at,
        }
    }
}

/// A refused line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BadLine {
    /// Line number in the file, from 1.
    pub line: u64,
    /// What is wrong; never repeats a password, hash or phone.
    pub reason: String,
}

/// A chunk is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportChunked {
    /// Where the import stands now.
    pub progress: ImportProgress,
    /// Lines of this chunk that were refused.
    pub bad_lines: Vec<BadLine>,
}

impl From<(import::ImportProgress, Vec<import::BadLine>)> for ImportChunked {
    fn from((progress, bad): (import::ImportProgress, Vec<import::BadLine>)) -> Self {
        let bad_lines = bad
            .into_iter()
            .map(|bad| BadLine {
                line: bad.line,
                reason: bad.reason,
            })
            .collect();
        ImportChunked {
            progress: progress.into(),
            bad_lines,
        }
    }
}

/// Which page of an export.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// Realm.
    pub realm_id: Id<RealmId>,
    /// `next_cursor` of the page before; absent for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Most accounts of the page, 1-5000, default 1000.
    #[serde(default = "export_limit")]
    pub limit: u32,
}

fn export_limit() -> u32 {
    1000
}
