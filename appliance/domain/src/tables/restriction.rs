//! Restrictions: who may not do what, where, until when, and why.

use seawall_storage::{Class, Index, IndexDef, Record, Table, TableDef, decode_record, table};
use serde::{Deserialize, Serialize};

use crate::account::Action;
use crate::ids::{AccountId, GameId, PlayerId, UnixMs};

/// Restrictions of one subject.
pub static RESTRICTIONS_BY_SUBJECT: Index<[u8; 16], u64> = Index::new(IndexDef {
    number: 109,
    name: "restrictions_by_subject",
    doc: "16 bytes BLAKE3 of the subject: one entry per restriction, ended ones too.",
    of: |_, value, emit| {
        let row: RestrictionRow = decode_record(value)?;
        emit(&row.subject.digest());
        Ok(())
    },
});

/// Restrictions by id; those that have not ended are mirrored in memory.
pub static RESTRICTIONS: Table<u64, RestrictionRow> = table(TableDef {
    class: Class::RemotePreferred,
    personal: true,
    indexes: &[RESTRICTIONS_BY_SUBJECT.def],
    ..TableDef::new(
        32,
        "restrictions",
        "Restriction by id (u64). Written by account.restrict, account.lift and import; deleted by erasure; up to a few per cent of the accounts.",
    )
});

/// Whom a restriction is on, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SubjectRow {
    /// An account.
    Account(AccountId),
    /// One player.
    Player(GameId, PlayerId),
    /// A device by its opaque id of 32 hex digits.
    Device(String),
    /// An address range: the first address as IPv6 (IPv4 mapped) and the length of the prefix, 0-128.
    IpRange([u8; 16], u8),
}

impl SubjectRow {
    /// What the index is built on.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        match self {
            Self::Account(account) => hasher.update(b"account").update(&account.0.to_be_bytes()),
            Self::Player(game, player) => hasher
                .update(b"player")
                .update(&game.0.to_be_bytes())
                .update(&player.0.to_be_bytes()),
            Self::Device(device) => hasher.update(b"device").update(device.as_bytes()),
            Self::IpRange(first, bits) => hasher.update(b"ip_range").update(first).update(&[*bits]),
        };
        let mut digest = [0; 16];
        hasher.finalize_xof().fill(&mut digest);
        digest
    }
}

/// A restriction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestrictionRow {
    /// Whom.
    pub subject: SubjectRow,
    /// What is forbidden.
    pub action: Action,
    /// Only in this game.
    pub game_id: Option<GameId>,
    /// From.
    pub from_at: UnixMs,
    /// Until; for ever when absent. Lifting sets it to the instant of the lift.
    pub until_at: Option<UnixMs>,
    /// Stable reason code.
    pub reason: String,
    /// For the player.
    pub message: Option<String>,
    /// Ticket of the case.
    pub ticket: Option<String>,
    /// When it was made.
    pub created_at: UnixMs,
    /// Who made it: `operator:0`, `import:…`.
    pub created_by: String,
}

impl Record for RestrictionRow {
    const VERSION: u8 = 1;
}
