//! Imports under way, and the rare uids that could not become account ids.

use seawall_storage::{Preset, Record, Table, TableDef, table};
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, RealmId, UnixMs};
use crate::import::ImportFormat;

/// Imports by id; sealed, for they hold peppers.
pub static IMPORTS: Table<[u8; 16], ImportRow> = table(TableDef {
    preset: Preset::Small,
    sealed: true,
    ..TableDef::new(
        33,
        "imports",
        "Import by the first 16 bytes of its file's digest. Written by import.begin, with every batch of import.chunk and by import.finalize (which drops the pepper), never deleted; at most one per file taken over.",
    )
});

/// Accounts whose uid was already somebody else's id.
pub static IMPORTED_UIDS: Table<(RealmId, u64), AccountId> = table(TableDef {
    ..TableDef::new(
        34,
        "imported_uids",
        "Account by (realm u32, uid u64), only where the account could not take its uid as id. Written by import, deleted by erasure; few rows.",
    )
});

/// An import. `Debug` is missing on purpose: it would print the pepper.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRow {
    /// Target realm.
    pub realm_id: RealmId,
    /// Format of the file.
    pub format: ImportFormat,
    /// Names of a CSV file's columns.
    pub csv_header: Option<String>,
    /// Recipe of lines that name none.
    pub password_recipe: Option<String>,
    /// Pepper of recipes that use one; gone after finalize.
    pub pepper: Option<String>,
    /// Renamed columns: (file column, our field).
    pub columns: Vec<(String, String)>,
    /// Keep old hashes for the way back.
    pub keep_old_hashes: bool,
    /// Uids become player ids.
    pub uid_is_player_id: bool,
    /// Nothing but this row is written.
    pub dry_run: bool,
    /// Bytes of the file done.
    pub offset_bytes: u64,
    /// Lines done.
    pub lines: u64,
    /// Accounts made.
    pub created: u64,
    /// Accounts changed.
    pub updated: u64,
    /// Lines that changed nothing.
    pub unchanged: u64,
    /// Lines refused.
    pub refused: u64,
    /// Start.
    pub started_at: UnixMs,
    /// Set when finalized.
    pub finalized_at: Option<UnixMs>,
    /// Last account whose old hashes finalize has looked at; it works in pages and may be repeated.
    pub finalize_cursor: u64,
    /// An account before the cursor still needs the pepper.
    pub pepper_needed: bool,
}

impl Record for ImportRow {
    const VERSION: u8 = 1;
}
impl Record for AccountId {
    const VERSION: u8 = 1;
}
