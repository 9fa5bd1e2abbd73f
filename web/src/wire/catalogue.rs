//! The catalogue: realms, games, packages and server keys. Unknown fields of requests are refused: an operator's typing
//! error must not pass for a change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use seawall_domain::{GameId, KeyId, PackageId, RealmId, game, key};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Id, mirror};

/// Make a realm.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RealmCreate {
    /// Unique name, 1-64 characters.
    pub name: String,
    /// May guests register? Default true.
    #[serde(default = "yes")]
    pub guests_allowed: bool,
}

fn yes() -> bool {
    true
}

/// Change a realm.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RealmUpdate {
    /// May guests register?
    pub guests_allowed: bool,
}

/// A realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RealmView {
    /// Its id.
    pub realm_id: Id<RealmId>,
    /// Unique name.
    pub name: String,
    /// May guests register?
    pub guests_allowed: bool,
    /// Creation.
    pub created_at: u64,
}

impl From<game::RealmView> for RealmView {
    fn from(view: game::RealmView) -> Self {
        RealmView {
            realm_id: Id(view.realm_id),
            name: view.name,
            guests_allowed: view.guests_allowed,
            created_at: view.created_at,
        }
    }
}

/// All realms, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RealmList {
    /// The realms.
    pub realms: Vec<RealmView>,
}

mirror! {
    /// What happens to older sessions of the same account in a game when it logs in again.
    SessionPolicy = game::SessionPolicy {
        /// The new one replaces the old ones.
        Replace,
        /// The new login is refused while an old one is live.
        Refuse,
        /// Both stay.
        Both,
    }
}

mirror! {
    /// Whether the game lets players in.
    GameStatus = game::GameStatus {
        /// Yes.
        Open,
        /// Closed for a while; verify answers `denied game.maintenance`.
        Maintenance,
    }
}

/// What a game's servers get when nobody knows whether a token is good. Never `invalid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPolicy {
    /// 503 with a time, at once.
    #[serde(rename = "status_503")]
    Status503,
    /// The answer waits for certainty, up to `unknown_hold_ms`, then 503.
    Hold,
    /// The connection is closed without an answer. In a batch as `status_503`.
    Drop,
}

impl From<game::UnknownPolicy> for UnknownPolicy {
    fn from(policy: game::UnknownPolicy) -> Self {
        match policy {
            game::UnknownPolicy::Status503 => UnknownPolicy::Status503,
            game::UnknownPolicy::Hold => UnknownPolicy::Hold,
            game::UnknownPolicy::Drop => UnknownPolicy::Drop,
        }
    }
}

impl From<UnknownPolicy> for game::UnknownPolicy {
    fn from(policy: UnknownPolicy) -> Self {
        match policy {
            UnknownPolicy::Status503 => game::UnknownPolicy::Status503,
            UnknownPolicy::Hold => game::UnknownPolicy::Hold,
            UnknownPolicy::Drop => game::UnknownPolicy::Drop,
        }
    }
}

mirror! {
    /// Whether a login or registration has to bring a proof of work, from a device that the account does not know. Limits
    /// against abuse ask on their own.
    ChallengePolicy = game::ChallengePolicy {
        /// While the platform is pressed.
        Auto,
        /// Never.
        Off,
        /// Always.
        Always,
    }
}

/// A game's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GameSettings {
    /// Open or not.
    pub status: GameStatus,
    /// Default `replace`.
    pub session_policy: SessionPolicy,
    /// Devices an account may use, 1-1000; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_limit: Option<u32>,
    /// Life of an access token, milliseconds.
    pub access_token_ms: u64,
    /// Life of a refresh token, milliseconds.
    pub refresh_token_ms: u64,
    /// How long a lost reply may be asked for again, milliseconds.
    pub refresh_grace_ms: u64,
    /// Browser origins allowed by CORS, exact; `*` for any.
    pub cors_origins: Vec<String>,
    /// What its servers get when nobody knows whether a token is good.
    pub unknown_policy: UnknownPolicy,
    /// How long an answer of policy `hold` waits for certainty, milliseconds.
    pub unknown_hold_ms: u64,
    /// Whether good tokens are `valid` with assurance `mac_only` while revocations cannot be read.
    pub mac_only: bool,
    /// Over which time clients spread their first call after an update, milliseconds.
    pub reconnect_spread_ms: u64,
    /// Whether a password that matched is remembered in memory for a while.
    pub remember_passwords: bool,
    /// Whether devices that an account does not know bring a proof of work.
    pub challenges: ChallengePolicy,
}

/// A change of settings: only what is present changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GameChange {
    /// Open or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<GameStatus>,
    /// What happens to older sessions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_policy: Option<SessionPolicy>,
    /// Devices an account may use, 1-1000; `null` removes the limit.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[schemars(with = "Option<u32>")]
    pub device_limit: Option<Option<u32>>,
    /// 60,000 ms to 7 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token_ms: Option<u64>,
    /// 1 hour to 400 days, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token_ms: Option<u64>,
    /// 0 to 300,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_grace_ms: Option<u64>,
    /// Exact browser origins, at most 32; `*` for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors_origins: Option<Vec<String>>,
    /// What servers get when nobody knows whether a token is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_policy: Option<UnknownPolicy>,
    /// 0 to 10,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_hold_ms: Option<u64>,
    /// Answer good tokens as valid while revocations cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_only: Option<bool>,
    /// 0 to 600,000 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect_spread_ms: Option<u64>,
    /// Remember in memory, for a while, that a password matched, so that the next login needs no password hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remember_passwords: Option<bool>,
    /// Whether devices that an account does not know bring a proof of work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenges: Option<ChallengePolicy>,
}

/// Tells `null` (remove) from an absent field (leave).
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl From<GameChange> for game::GameChange {
    fn from(change: GameChange) -> Self {
        game::GameChange {
            status: change.status.map(Into::into),
            session_policy: change.session_policy.map(Into::into),
            device_limit: change.device_limit,
            access_token_ms: change.access_token_ms,
            refresh_token_ms: change.refresh_token_ms,
            refresh_grace_ms: change.refresh_grace_ms,
            cors_origins: change.cors_origins,
            unknown_policy: change.unknown_policy.map(Into::into),
            unknown_hold_ms: change.unknown_hold_ms,
            mac_only: change.mac_only,
            reconnect_spread_ms: change.reconnect_spread_ms,
            remember_passwords: change.remember_passwords,
            challenges: change.challenges.map(Into::into),
        }
    }
}

/// Make a game.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GameCreate {
    /// Its realm.
    pub realm_id: Id<RealmId>,
    /// Unique in the realm, 1-64 characters.
    pub name: String,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub settings: GameChange,
}

/// A game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GameView {
    /// Its id.
    pub game_id: Id<GameId>,
    /// Its realm.
    pub realm_id: Id<RealmId>,
    /// Name.
    pub name: String,
    /// Settings.
    pub settings: GameSettings,
    /// Creation.
    pub created_at: u64,
}

impl From<game::GameView> for GameView {
    fn from(view: game::GameView) -> Self {
        let settings = view.settings;
        GameView {
            game_id: Id(view.game_id),
            realm_id: Id(view.realm_id),
            name: view.name,
            settings: GameSettings {
                status: settings.status.into(),
                session_policy: settings.session_policy.into(),
                device_limit: settings.device_limit,
                access_token_ms: settings.access_token_ms,
                refresh_token_ms: settings.refresh_token_ms,
                refresh_grace_ms: settings.refresh_grace_ms,
                cors_origins: settings.cors_origins,
                unknown_policy: settings.unknown_policy.into(),
                unknown_hold_ms: settings.unknown_hold_ms,
                mac_only: settings.mac_only,
                reconnect_spread_ms: settings.reconnect_spread_ms,
                remember_passwords: settings.remember_passwords,
                challenges: settings.challenges.into(),
            },
            created_at: view.created_at,
        }
    }
}

/// All games, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GameList {
    /// The games.
    pub games: Vec<GameView>,
}

/// Make a package of the game named in the path.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PackageCreate {
    /// 1-64 characters.
    pub name: String,
    /// `android`, `ios`, `h5`, `mini_game`, `windows`, `mac` or `other`.
    pub platform: String,
    /// Channel.
    #[serde(default)]
    pub channel_id: String,
    /// Agent.
    #[serde(default)]
    pub agent_id: String,
    /// Site.
    #[serde(default)]
    pub site_id: String,
    /// Bundle id or package name.
    #[serde(default)]
    pub bundle_id: String,
    /// The channel's own parameters, at most 64 of 4 KiB.
    #[serde(default)]
    pub channel_params: BTreeMap<String, String>,
}

impl PackageCreate {
    /// The domain's command for a game.
    #[must_use]
    pub fn into_domain(self, game_id: GameId) -> game::PackageCreate {
        game::PackageCreate {
            game_id,
            name: self.name,
            platform: self.platform,
            channel_id: self.channel_id,
            agent_id: self.agent_id,
            site_id: self.site_id,
            bundle_id: self.bundle_id,
            channel_params: self.channel_params,
        }
    }
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageView {
    /// Its id.
    pub package_id: Id<PackageId>,
    /// Game.
    pub game_id: Id<GameId>,
    /// Name.
    pub name: String,
    /// Platform.
    pub platform: String,
    /// Channel.
    pub channel_id: String,
    /// Agent.
    pub agent_id: String,
    /// Site.
    pub site_id: String,
    /// Bundle id.
    pub bundle_id: String,
    /// Names of the channel parameters; values may be secret and are not shown.
    pub channel_params: Vec<String>,
    /// Creation.
    pub created_at: u64,
}

impl From<game::PackageView> for PackageView {
    fn from(view: game::PackageView) -> Self {
        PackageView {
            package_id: Id(view.package_id),
            game_id: Id(view.game_id),
            name: view.name,
            platform: view.platform,
            channel_id: view.channel_id,
            agent_id: view.agent_id,
            site_id: view.site_id,
            bundle_id: view.bundle_id,
            channel_params: view.channel_params,
            created_at: view.created_at,
        }
    }
}

/// Packages of a game, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PackageList {
    /// The packages.
    pub packages: Vec<PackageView>,
}

/// Make a server key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyCreate {
    /// What it is for, 1-64 characters.
    pub name: String,
    /// Games of one realm it may act for.
    pub games: Vec<Id<GameId>>,
}

/// Give a server key a second secret. An empty body means `{}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeyRotate {
    /// How long the old secret still works, milliseconds; 7 days when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_previous_ms: Option<u64>,
}

/// A server key; never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyView {
    /// Its id.
    pub key_id: Id<KeyId>,
    /// What it is for.
    pub name: String,
    /// Games it may act for.
    pub games: Vec<Id<GameId>>,
    /// Creation.
    pub created_at: u64,
    /// Creation of the newest secret.
    pub rotated_at: u64,
    /// When the previous secret stops working; absent when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_until_at: Option<u64>,
    /// Set when the key is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<u64>,
}

impl From<key::KeyView> for KeyView {
    fn from(view: key::KeyView) -> Self {
        KeyView {
            key_id: Id(view.key_id),
            name: view.name,
            games: view.games.into_iter().map(Id).collect(),
            created_at: view.created_at,
            rotated_at: view.rotated_at,
            previous_until_at: view.previous_until_at,
            revoked_at: view.revoked_at,
        }
    }
}

/// A fresh secret, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeySecret {
    /// The key.
    pub key: KeyView,
    /// Its UTF-8 bytes are the HMAC key.
    pub secret: String,
}

impl From<key::KeySecret> for KeySecret {
    fn from(fresh: key::KeySecret) -> Self {
        KeySecret {
            key: fresh.key.into(),
            secret: fresh.secret,
        }
    }
}

/// All server keys, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// The keys.
    pub keys: Vec<KeyView>,
}
