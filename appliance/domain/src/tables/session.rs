//! Sessions, their revocations, and the memory of idempotent calls: rows that end by themselves.

use seawall_storage::{Class, Index, IndexDef, Key as _, Record, Retention, Table, TableDef, decode_record, table};
use serde::{Deserialize, Serialize};

use super::account::DeviceHash;
use super::{end_hour, leading};
use crate::ids::{AccountId, GameId, PackageId, PlayerId, SessionId, UnixMs};
use crate::revocation::Revocation;

/// Sessions of an account that were not revoked.
pub static SESSIONS_BY_ACCOUNT: Index<(AccountId, GameId), SessionId> = Index::new(IndexDef {
    number: 103,
    name: "sessions_by_account",
    doc: "(account, game): one entry per session that was not revoked.",
    of: |_, value, emit| {
        let row: SessionRow = decode_record(value)?;
        if row.revoked.is_none() {
            let mut prefix = Vec::with_capacity(12);
            (row.account_id, row.game_id).encode(&mut prefix);
            emit(&prefix);
        }
        Ok(())
    },
});

/// Sessions by the hour in which their refresh token has ended.
pub static SESSIONS_BY_END: Index<u32, SessionId> = Index::new(IndexDef {
    number: 104,
    name: "sessions_by_end",
    doc: "End of the refresh token in hours since 1970: what the sweep follows.",
    of: |_, value, emit| by_end(value, emit),
});

/// Sessions by id.
pub static SESSIONS: Table<SessionId, SessionRow> = table(TableDef {
    retention: Retention::RowExpiry("refresh_expires_at"),
    indexes: &[SESSIONS_BY_ACCOUNT.def, SESSIONS_BY_END.def],
    ..TableDef::new(
        27,
        "sessions",
        "Session by id (u64, rising). Written by login, refresh and revocation; deleted by the sweep once the refresh token has ended; up to 60 million rows.",
    )
});

/// Session revocations by the hour in which they end.
pub static SESSION_REVOCATIONS_BY_END: Index<u32, SessionId> = Index::new(IndexDef {
    number: 105,
    name: "session_revocations_by_end",
    doc: "End in hours since 1970: what the sweep follows.",
    of: |_, value, emit| by_end(value, emit),
});

/// Proofs that a session was revoked, mirrored in memory.
pub static SESSION_REVOCATIONS: Table<SessionId, SessionRevocationRow> = table(TableDef {
    retention: Retention::RowExpiry("expires_at"),
    indexes: &[SESSION_REVOCATIONS_BY_END.def],
    ..TableDef::new(
        28,
        "session_revocations",
        "Revocation by session (u64). Written by logout, by a replacing login and by a reused refresh token; deleted by the sweep once no access token of the session can be alive; up to 10 million rows.",
    )
});

/// Account revocations by the hour in which they end.
pub static ACCOUNT_REVOCATIONS_BY_END: Index<u32, AccountId> = Index::new(IndexDef {
    number: 106,
    name: "account_revocations_by_end",
    doc: "End in hours since 1970: what the sweep follows.",
    of: |_, value, emit| by_end(value, emit),
});

/// Proofs that all sessions of an account up to a bound were revoked, mirrored in memory.
pub static ACCOUNT_REVOCATIONS: Table<AccountId, SubjectRevocationRow> = table(TableDef {
    class: Class::RemotePreferred,
    retention: Retention::RowExpiry("expires_at"),
    indexes: &[ACCOUNT_REVOCATIONS_BY_END.def],
    ..TableDef::new(
        29,
        "account_revocations",
        "Revocation by account (u64). Written by logout everywhere, account.logout and password change; deleted by the sweep once no token under the bound can be alive; at most one per account.",
    )
});

/// Player revocations by the hour in which they end.
pub static PLAYER_REVOCATIONS_BY_END: Index<u32, (GameId, PlayerId)> = Index::new(IndexDef {
    number: 107,
    name: "player_revocations_by_end",
    doc: "End in hours since 1970: what the sweep follows.",
    of: |_, value, emit| by_end(value, emit),
});

/// Proofs that all sessions of a player up to a bound were revoked, mirrored in memory.
pub static PLAYER_REVOCATIONS: Table<(GameId, PlayerId), SubjectRevocationRow> = table(TableDef {
    class: Class::RemotePreferred,
    retention: Retention::RowExpiry("expires_at"),
    indexes: &[PLAYER_REVOCATIONS_BY_END.def],
    ..TableDef::new(
        30,
        "player_revocations",
        "Revocation by (game u32, player u64). Written by player.logout; deleted by the sweep; at most one per player.",
    )
});

/// Account deletions by the hour in which they end.
pub static ACCOUNT_DELETIONS_BY_END: Index<u32, AccountId> = Index::new(IndexDef {
    number: 110,
    name: "account_deletions_by_end",
    doc: "End in hours since 1970: what the sweep follows.",
    of: |_, value, emit| by_end(value, emit),
});

/// Accounts that were deleted while access tokens of theirs may be alive, mirrored in memory. A rule, not a proof
/// against a token: the game server is told that the account is gone, and nobody is sent to log in again.
pub static ACCOUNT_DELETIONS: Table<AccountId, AccountDeletionRow> = table(TableDef {
    class: Class::RemotePreferred,
    retention: Retention::RowExpiry("expires_at"),
    indexes: &[ACCOUNT_DELETIONS_BY_END.def],
    ..TableDef::new(
        35,
        "account_deletions",
        "Deletion by account (u64). Written when an account with a past is deleted; deleted when it is active again, and by the sweep once no access token of it can be alive; at most one per account.",
    )
});

/// Idempotency records by the hour in which they end.
pub static IDEMPOTENCY_BY_END: Index<u32, [u8; 32]> = Index::new(IndexDef {
    number: 108,
    name: "idempotency_by_end",
    doc: "End in hours since 1970: what the sweep follows.",
    of: |_, value, emit| by_end(value, emit),
});

/// What a call with an Idempotency-Key did, written with its effect.
pub static IDEMPOTENCY: Table<[u8; 32], IdempotencyRow> = table(TableDef {
    retention: Retention::RowExpiry("expires_at"),
    indexes: &[IDEMPOTENCY_BY_END.def],
    ..TableDef::new(
        31,
        "idempotency",
        "Effect by 32 bytes keyed BLAKE3 of (game, caller or device, operation, key). Written in the effect's own transaction; deleted by the sweep after 24 hours; one per keyed call.",
    )
});

/// All kinds of rows that end keep the instant as their leading field.
fn by_end(value: &[u8], emit: &mut dyn FnMut(&[u8])) -> Result<(), seawall_storage::CodecError> {
    let end_at: UnixMs = leading(value)?;
    emit(&end_hour(end_at).to_be_bytes());
    Ok(())
}

/// A session. Holds what its tokens are recomputed from, and no token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRow {
    /// End of the newest refresh token. Leading field.
    pub refresh_expires_at: UnixMs,
    /// Whose.
    pub account_id: AccountId,
    /// Game.
    pub game_id: GameId,
    /// Player.
    pub player_id: PlayerId,
    /// Package of the login.
    pub package_id: PackageId,
    /// Device; zeros when the row was rebuilt from a token.
    pub device: DeviceHash,
    /// Brand and model, for the player's list.
    pub device_label: String,
    /// MAC key of the newest pair.
    pub mac_key_id: u16,
    /// Rotations so far; the newest refresh token carries this number.
    pub generation: u32,
    /// Login.
    pub created_at: UnixMs,
    /// Issue of the newest pair: the login or the last refresh.
    pub issued_at: UnixMs,
    /// End of the newest access token.
    pub access_expires_at: UnixMs,
    /// Latest end of any access token of this session.
    pub access_until_at: UnixMs,
    /// Why and when it was revoked. The row stays until the refresh token ends, so that a late refresh is told why.
    pub revoked: Option<(Revocation, UnixMs)>,
}

/// A revoked session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRevocationRow {
    /// When no access token of the session can be alive any more. Leading field.
    pub expires_at: UnixMs,
    /// Why.
    pub reason: Revocation,
}

/// All sessions up to a bound, of an account or a player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectRevocationRow {
    /// When no token of a session under the bound can be alive any more. Leading field.
    pub expires_at: UnixMs,
    /// Last session covered. Ids rise in the order of commits, so no clock decides.
    pub through_session: SessionId,
    /// The session that stays: the one that changed the password.
    pub except_session: Option<SessionId>,
    /// The bound in time, for people.
    pub not_before_at: UnixMs,
}

/// A deleted account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountDeletionRow {
    /// When no access token of the account can be alive any more. Leading field.
    pub expires_at: UnixMs,
    /// When it was deleted.
    pub deleted_at: UnixMs,
}

/// A remembered call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRow {
    /// When it may be forgotten. Leading field.
    pub expires_at: UnixMs,
    /// Digest of the request; another request under the same key is a mismatch.
    pub request_digest: [u8; 32],
    /// When it was done.
    pub done_at: UnixMs,
    /// What it did, in ids; never a credential.
    pub effect: Effect,
}

/// What a remembered call did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A login or registration.
    Login {
        /// The pair that was answered.
        pair: PairFacts,
        /// The account was made by the call.
        is_new_account: bool,
        /// The player was made by the call.
        is_new_player: bool,
        /// A guest was made: the secret is recomputed for the repeat.
        is_new_guest: bool,
        /// The account's name.
        username: Option<String>,
    },
    /// A refresh.
    Refresh {
        /// The pair that was answered.
        pair: PairFacts,
    },
    /// Something that answers a number, or nothing.
    Done {
        /// The number; 0 when there is none.
        count: u64,
    },
}

/// What a pair of tokens is recomputed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFacts {
    /// Session.
    pub session_id: SessionId,
    /// Account.
    pub account_id: AccountId,
    /// Game.
    pub game_id: GameId,
    /// Player.
    pub player_id: PlayerId,
    /// Package.
    pub package_id: PackageId,
    /// MAC key.
    pub mac_key_id: u16,
    /// Generation of the refresh token.
    pub generation: u32,
    /// Issue.
    pub issued_at: UnixMs,
    /// End of the access token.
    pub access_expires_at: UnixMs,
    /// End of the refresh token.
    pub refresh_expires_at: UnixMs,
}

impl SessionRow {
    /// What the newest pair is recomputed from.
    #[must_use]
    pub fn pair(&self, session_id: SessionId) -> PairFacts {
        PairFacts {
            session_id,
            account_id: self.account_id,
            game_id: self.game_id,
            player_id: self.player_id,
            package_id: self.package_id,
            mac_key_id: self.mac_key_id,
            generation: self.generation,
            issued_at: self.issued_at,
            access_expires_at: self.access_expires_at,
            refresh_expires_at: self.refresh_expires_at,
        }
    }
}

impl Record for SessionRow {
    const VERSION: u8 = 1;
}
impl Record for SessionRevocationRow {
    const VERSION: u8 = 1;
}
impl Record for SubjectRevocationRow {
    const VERSION: u8 = 1;
}
impl Record for AccountDeletionRow {
    const VERSION: u8 = 1;
}
impl Record for IdempotencyRow {
    const VERSION: u8 = 1;
}
