//! Accounts, their names, passwords, players and devices.

use seawall_storage::{Class, Index, IndexDef, Key as _, Preset, Record, Table, TableDef, table};
use serde::{Deserialize, Serialize};

use super::leading;
use crate::ids::{AccountId, GameId, PlayerId, RealmId, UnixMs};

/// A keyed hash that names a row: 160 bits.
pub type NameHash = [u8; 20];
/// Key of an identity: realm, number of its kind, keyed hash of issuer and subject.
pub type IdentityKey = (RealmId, u8, NameHash);
/// Keyed hash of an install id: 128 bits, shown as 32 hex digits.
pub type DeviceHash = [u8; 16];

/// Accounts in the order of their last change, per realm: what export follows.
pub static ACCOUNTS_BY_CHANGE: Index<(RealmId, u64), AccountId> = Index::new(IndexDef {
    number: 100,
    name: "accounts_by_change",
    doc: "(realm, change_seq): one entry per account, moved by each change.",
    of: |_, value, emit| {
        let (realm, change_seq): (RealmId, u64) = leading(value)?;
        let mut prefix = Vec::with_capacity(12);
        (realm, change_seq).encode(&mut prefix);
        emit(&prefix);
        Ok(())
    },
});

/// Accounts by id.
pub static ACCOUNTS: Table<AccountId, AccountRow> = table(TableDef {
    class: Class::RemotePreferred,
    cached: true,
    personal: true,
    indexes: &[ACCOUNTS_BY_CHANGE.def],
    ..TableDef::new(
        21,
        "accounts",
        "Account by id (u64). Written by registration, import and changes of its names or password; deleted by erasure; tens of millions of rows.",
    )
});

/// Names of accounts, all kinds; sealed, for phones and third-party ids are among them.
pub static IDENTITIES: Table<IdentityKey, IdentityRow> = table(TableDef {
    class: Class::RemotePreferred,
    cached: true,
    sealed: true,
    personal: true,
    ..TableDef::new(
        22,
        "identities",
        "Account by (realm u32, kind u8, 20 bytes keyed BLAKE3 of issuer and subject). Written with its account and by identity.bind and import; deleted by erasure; about two per account.",
    )
});

/// Passwords by account; sealed, for old platforms' hashes are weak.
pub static CREDENTIALS: Table<AccountId, CredentialRow> = table(TableDef {
    sealed: true,
    cached: true,
    ..TableDef::new(
        23,
        "credentials",
        "Password hash by account (u64). Written by registration, password change, import and re-hash at login (which is why the class is local; a change of the password also writes credential_changes); deleted by erasure; at most one per account.",
    )
});

/// Changes of passwords. Its class makes the transaction that writes it wait for the standby.
pub static CREDENTIAL_CHANGES: Table<AccountId, CredentialChangeRow> = table(TableDef {
    class: Class::RemoteDurable,
    ..TableDef::new(
        24,
        "credential_changes",
        "Last password change by account (u64). Written by account.change_password; deleted by erasure; at most one per account.",
    )
});

/// Players of an account.
pub static PLAYERS_BY_ACCOUNT: Index<(AccountId, GameId, u32), (GameId, PlayerId)> = Index::new(IndexDef {
    number: 102,
    name: "players_by_account",
    doc: "(account, game, slot): one entry per player.",
    of: |key, value, emit| {
        let (account, slot): (AccountId, u32) = leading(value)?;
        let (game, _) = <(GameId, PlayerId)>::decode(key)?;
        let mut prefix = Vec::with_capacity(16);
        (account, game, slot).encode(&mut prefix);
        emit(&prefix);
        Ok(())
    },
});

/// Players by game and id.
pub static PLAYERS: Table<(GameId, PlayerId), PlayerRow> = table(TableDef {
    class: Class::RemotePreferred,
    cached: true,
    indexes: &[PLAYERS_BY_ACCOUNT.def],
    ..TableDef::new(
        25,
        "players",
        "Player by (game u32, player u64). Written by the first login of an account into a game, never deleted; a few per account.",
    )
});

/// Devices an account was used from, by game.
pub static DEVICES: Table<(AccountId, GameId, DeviceHash), DeviceRow> = table(TableDef {
    preset: Preset::Range,
    personal: true,
    ..TableDef::new(
        26,
        "devices",
        "Device by (account u64, game u32, 16 bytes keyed BLAKE3 of the install id). Written at login; the oldest is deleted beyond 64 per account and game.",
    )
});

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Its realm. Leading field: indexes read it without the rest.
    pub realm_id: RealmId,
    /// Place in the order of changes of the realm. Leading field.
    pub change_seq: u64,
    /// Kind and hash of every name of the account: with the realm, the keys of its rows in `identities`. Kept here
    /// rather than in an index, which would cost an import half its speed. At most 64.
    pub names: Vec<(u8, NameHash)>,
    /// True once deleted: nobody logs in any more.
    pub is_deleted: bool,
    /// The name as typed at registration; `None` for guests.
    pub username: Option<String>,
    /// Registration, of the old platform when imported.
    pub created_at: UnixMs,
    /// Last change of the account, its names or its password.
    pub changed_at: UnixMs,
    /// Set for accounts taken over.
    pub imported: Option<ImportedFrom>,
    /// Where it first appeared, and columns of an import that nobody knew.
    pub origin: Vec<(String, String)>,
    /// The account this one was merged into.
    pub merged_into: Option<AccountId>,
    /// Keyed hash of the person's id card.
    pub person_id: Option<NameHash>,
}

/// Where a taken-over account comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedFrom {
    /// Id on the old platform.
    pub uid: u64,
    /// Whether the uid is the player id in every game.
    pub uid_is_player_id: bool,
    /// `changed_at` of the newest line that was applied.
    pub source_changed_at: UnixMs,
    /// Digest of that line's content, so that an equal line counts as unchanged.
    pub line_digest: [u8; 16],
}

/// A name of an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityRow {
    /// Whose name it is.
    pub account_id: AccountId,
    /// Channel or app id; empty when none.
    pub issuer: String,
    /// The name in the form it is looked up by; empty for guests, whose secret is never stored.
    pub subject: String,
    /// When it was bound.
    pub created_at: UnixMs,
}

/// A stored password. `Debug` is missing on purpose.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredPassword {
    /// A PHC string of our own.
    Argon2 {
        /// `$argon2id$…`
        phc: String,
    },
    /// As an old platform stored it.
    Imported {
        /// The recipe, in its normal form.
        recipe: String,
        /// The hash or the whole record.
        hash: String,
        /// The salt; may be empty.
        salt: String,
        /// The import that holds the pepper.
        import_id: [u8; 16],
    },
}

/// The password of an account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialRow {
    /// Rises with every change; a login whose check began under another version starts again.
    pub version: u32,
    /// What passwords are checked against.
    pub stored: StoredPassword,
    /// What the old platform stored, kept until `import.finalize` for the way back; dropped when the player changes
    /// the password.
    pub old: Option<StoredPassword>,
    /// When the password itself was set.
    pub changed_at: UnixMs,
}

/// That a password was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialChangeRow {
    /// Version after the change.
    pub version: u32,
    /// When.
    pub changed_at: UnixMs,
}

/// A player.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayerRow {
    /// Whose. Leading field.
    pub account_id: AccountId,
    /// Which of the account's players in the game; 0 until there are more. Leading field.
    pub slot: u32,
    /// First entry.
    pub created_at: UnixMs,
}

/// A device of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRow {
    /// Maker.
    pub brand: String,
    /// Model.
    pub model: String,
    /// System.
    pub os: String,
    /// Advertising and system ids as told by the client.
    pub ids: Vec<(String, Vec<String>)>,
    /// First login.
    pub first_seen_at: UnixMs,
    /// Last login.
    pub last_seen_at: UnixMs,
}

impl AccountRow {
    /// Keys of the account's rows in `identities`.
    pub fn identity_keys(&self) -> impl Iterator<Item = IdentityKey> + '_ {
        self.names.iter().map(|(kind, hash)| (self.realm_id, *kind, *hash))
    }
}

impl Record for AccountRow {
    const VERSION: u8 = 1;
}
impl Record for IdentityRow {
    const VERSION: u8 = 1;
}
impl Record for CredentialRow {
    const VERSION: u8 = 1;
}
impl Record for CredentialChangeRow {
    const VERSION: u8 = 1;
}
impl Record for PlayerRow {
    const VERSION: u8 = 1;
}
impl Record for DeviceRow {
    const VERSION: u8 = 1;
}
