//! Realms, games, packages and keys: few rows, all mirrored in memory as one snapshot.

use std::collections::BTreeMap;

use seawall_storage::{Class, CodecError, Preset, Record, Table, TableDef, decode_body, table};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::game::{GameSettings, GameStatus, SessionPolicy, UnknownPolicy};
use crate::ids::{GameId, KeyId, PackageId, RealmId, UnixMs};

/// Realms by id.
pub static REALMS: Table<RealmId, RealmRow> = table(TableDef {
    preset: Preset::Small,
    class: Class::RemotePreferred,
    ..TableDef::new(
        16,
        "realms",
        "Realm by id (u32). Written by realm.create and realm.update, never deleted; at most 1,000 rows.",
    )
});

/// Games by id.
pub static GAMES: Table<GameId, GameRow> = table(TableDef {
    preset: Preset::Small,
    class: Class::RemotePreferred,
    ..TableDef::new(
        17,
        "games",
        "Game by id (u32). Written by game.create and game.update, never deleted; at most 10,000 rows.",
    )
});

/// Packages by id; sealed, for channel parameters hold secrets of the channels.
pub static PACKAGES: Table<PackageId, PackageRow> = table(TableDef {
    preset: Preset::Small,
    class: Class::RemotePreferred,
    sealed: true,
    ..TableDef::new(
        18,
        "packages",
        "Package by id (u32). Written by package.create, never deleted; at most 100,000 rows.",
    )
});

/// Server keys by id; sealed.
pub static KEYS: Table<KeyId, KeyRow> = table(TableDef {
    preset: Preset::Small,
    class: Class::RemoteDurable,
    sealed: true,
    ..TableDef::new(
        19,
        "keys",
        "Server key by id (u32). Written by key.create, key.rotate and key.revoke, never deleted; at most 10,000 rows.",
    )
});

/// Keys of the token MACs by id; sealed. They stay as long as a token may live that they signed.
pub static MAC_KEYS: Table<u16, MacKeyRow> = table(TableDef {
    preset: Preset::Small,
    class: Class::RemoteDurable,
    sealed: true,
    ..TableDef::new(
        20,
        "mac_keys",
        "Token MAC key by id (u16). Written at first start and by mac_key.rotate, never deleted; at most 1,000 rows.",
    )
});

/// A realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealmRow {
    /// Unique among realms.
    pub name: String,
    /// May guests register?
    pub guests_allowed: bool,
    /// Creation.
    pub created_at: UnixMs,
}

/// A game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GameRow {
    /// Its realm.
    pub realm_id: RealmId,
    /// Unique in the realm.
    pub name: String,
    /// Settings.
    pub settings: GameSettings,
    /// Creation.
    pub created_at: UnixMs,
}

/// A package.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRow {
    /// Game.
    pub game_id: GameId,
    /// Name.
    pub name: String,
    /// `android`, `ios`, ….
    pub platform: String,
    /// Channel; may be empty.
    pub channel_id: String,
    /// Agent; may be empty.
    pub agent_id: String,
    /// Site; may be empty.
    pub site_id: String,
    /// Bundle id; may be empty.
    pub bundle_id: String,
    /// The channel's own parameters; values may be secret.
    pub channel_params: BTreeMap<String, String>,
    /// Creation.
    pub created_at: UnixMs,
}

/// A server key. `Debug` is missing on purpose: it would print secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// What it is for.
    pub name: String,
    /// Games it may act for.
    pub games: Vec<GameId>,
    /// Creation.
    pub created_at: UnixMs,
    /// Creation of the newest secret.
    pub rotated_at: UnixMs,
    /// The secret as printed.
    pub secret: String,
    /// The secret before it.
    pub previous_secret: Option<String>,
    /// First instant at which the previous secret no longer works.
    pub previous_until_at: UnixMs,
    /// Set when the key was revoked.
    pub revoked_at: Option<UnixMs>,
}

impl Drop for KeyRow {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.previous_secret.zeroize();
    }
}

/// A MAC key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacKeyRow {
    /// The key.
    pub key: [u8; 32],
    /// Creation.
    pub created_at: UnixMs,
}

impl Drop for MacKeyRow {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Record for RealmRow {
    const VERSION: u8 = 1;
}
impl Record for GameRow {
    const VERSION: u8 = 3;

    fn upgrade(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        match version {
            1 => decode_body::<GameRowOf<GameSettings1>>(body).map(Into::into),
            2 => decode_body::<GameRowOf<GameSettings2>>(body).map(Into::into),
            _ => Err(CodecError::Version { version }),
        }
    }
}

/// A game with the settings of an older version.
#[derive(Deserialize)]
struct GameRowOf<Settings> {
    realm_id: RealmId,
    name: String,
    settings: Settings,
    created_at: UnixMs,
}

impl<Settings: Into<GameSettings>> From<GameRowOf<Settings>> for GameRow {
    fn from(old: GameRowOf<Settings>) -> Self {
        Self {
            realm_id: old.realm_id,
            name: old.name,
            settings: old.settings.into(),
            created_at: old.created_at,
        }
    }
}

/// Version 1: before answers of doubt and the spread of reconnects could be set.

#[derive(Deserialize)]
struct GameSettings1 {
    status: GameStatus,
    session_policy: SessionPolicy,
    device_limit: Option<u32>,
    access_token_ms: u64,
    refresh_token_ms: u64,
    refresh_grace_ms: u64,
    cors_origins: Vec<String>,
}

impl From<GameSettings1> for GameSettings {
    fn from(old: GameSettings1) -> Self {
        Self {
            status: old.status,
            session_policy: old.session_policy,
            device_limit: old.device_limit,
            access_token_ms: old.access_token_ms,
            refresh_token_ms: old.refresh_token_ms,
            refresh_grace_ms: old.refresh_grace_ms,
            cors_origins: old.cors_origins,
            ..Self::default()
        }
    }
}

/// Version 2: before remembered passwords and challenges could be set.
#[derive(Deserialize)]
struct GameSettings2 {
    status: GameStatus,
    session_policy: SessionPolicy,
    device_limit: Option<u32>,
    access_token_ms: u64,
    refresh_token_ms: u64,
    refresh_grace_ms: u64,
    cors_origins: Vec<String>,
    unknown_policy: UnknownPolicy,
    unknown_hold_ms: u64,
    mac_only: bool,
    reconnect_spread_ms: u64,
}

impl From<GameSettings2> for GameSettings {
    fn from(old: GameSettings2) -> Self {
        Self {
            status: old.status,
            session_policy: old.session_policy,
            device_limit: old.device_limit,
            access_token_ms: old.access_token_ms,
            refresh_token_ms: old.refresh_token_ms,
            refresh_grace_ms: old.refresh_grace_ms,
            cors_origins: old.cors_origins,
            unknown_policy: old.unknown_policy,
            unknown_hold_ms: old.unknown_hold_ms,
            mac_only: old.mac_only,
            reconnect_spread_ms: old.reconnect_spread_ms,
            ..Self::default()
        }
    }
}

impl Record for PackageRow {
    const VERSION: u8 = 1;
}
impl Record for KeyRow {
    const VERSION: u8 = 1;
}
impl Record for MacKeyRow {
    const VERSION: u8 = 1;
}
