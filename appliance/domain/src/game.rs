//! The catalogue: realms, games and packages, kept whole in memory as one immutable snapshot.

use std::collections::BTreeMap;

use crate::ids::{GameId, PackageId, RealmId, UnixMs};

mod games;
mod packages;
mod realms;
#[cfg(test)]
mod tests;

pub use games::{
    ACCESS_TOKEN_MS, CORS_ORIGINS_MAX, DEVICE_LIMIT, GAMES_MAX, RECONNECT_SPREAD_MS, REFRESH_GRACE_MS,
    REFRESH_TOKEN_MS, UNKNOWN_HOLD_MS,
};
pub use packages::{CHANNEL_PARAM_MAX_BYTES, CHANNEL_PARAMS_MAX, CHANNEL_PARAMS_MAX_BYTES, PACKAGES_MAX, PLATFORMS};
pub use realms::REALMS_MAX;
pub(crate) use realms::small_id;

/// A realm.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RealmView {
    /// Its id.
    pub realm_id: RealmId,
    /// Unique name, 1-64 characters.
    pub name: String,
    /// May guests register?
    pub guests_allowed: bool,
    /// Creation.
    pub created_at: UnixMs,
}

/// What happens to older sessions of the same account in a game when it logs in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionPolicy {
    /// The new one replaces the old ones.
    Replace,
    /// The new login is refused while an old one is live.
    Refuse,
    /// Both stay.
    Both,
}

/// Whether the game lets players in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GameStatus {
    /// Yes.
    Open,
    /// Closed for a while; verify answers `denied game.maintenance`.
    Maintenance,
}

/// What a game's servers get when nobody knows whether a token is good. Never "invalid".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownPolicy {
    /// 503 with a time, at once.
    #[default]
    #[serde(rename = "status_503")]
    Status503,
    /// The answer waits for certainty, up to `unknown_hold_ms`, then 503.
    Hold,
    /// The connection is closed without an answer, for servers that take any answer for "invalid". In a batch as
    /// `Status503`.
    Drop,
}

/// Whether a login or registration has to bring a proof of work, from a device that the account does not know. Limits against
/// abuse ask on their own, whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengePolicy {
    /// While the platform is pressed.
    #[default]
    Auto,
    /// Never: the game's clients cannot do the work.
    Off,
    /// Always.
    Always,
}

/// A game's settings, all with defaults.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GameSettings {
    /// Open or not.
    pub status: GameStatus,
    /// Default `replace`.
    pub session_policy: SessionPolicy,
    /// Devices an account may use, 1-1000; no limit when absent.
    pub device_limit: Option<u32>,
    /// Life of an access token: 60,000 ms to 7 days, default 24 h.
    pub access_token_ms: u64,
    /// Life of a refresh token since the login or last refresh: 1 h to 400 days, default 90 days.
    pub refresh_token_ms: u64,
    /// How long a lost reply may be asked for again: 0 to 300,000 ms, default 30,000.
    pub refresh_grace_ms: u64,
    /// Browser origins allowed by CORS, exact, at most 32; `*` for any.
    pub cors_origins: Vec<String>,
    /// Default `status_503`.
    pub unknown_policy: UnknownPolicy,
    /// How long an answer of policy `hold` waits: 0 to 10,000 ms, default 2,000.
    pub unknown_hold_ms: u64,
    /// Answer a token whose MAC and end are good as valid, with `assurance: mac_only`, while revocations cannot be
    /// read. Default false.
    pub mac_only: bool,
    /// Over which time clients spread their first call after an update: 0 to 600,000 ms, default 0.
    pub reconnect_spread_ms: u64,
    /// Whether a password that matched is remembered in memory for a while, so that the next login needs no password hash.
    /// Default true.
    pub remember_passwords: bool,
    /// Default `auto`.
    pub challenges: ChallengePolicy,
}

impl Default for GameSettings {
    fn default() -> Self {
        Self {
            status: GameStatus::Open,
            session_policy: SessionPolicy::Replace,
            device_limit: None,
            access_token_ms: 24 * 3_600_000,
            refresh_token_ms: 90 * 24 * 3_600_000,
            refresh_grace_ms: 30_000,
            cors_origins: Vec::new(),
            unknown_policy: UnknownPolicy::default(),
            unknown_hold_ms: 2_000,
            mac_only: false,
            reconnect_spread_ms: 0,
            remember_passwords: true,
            challenges: ChallengePolicy::default(),
        }
    }
}

/// A change of settings: only what is present changes.
#[derive(Debug, Clone, Default)]
pub struct GameChange {
    /// See [`GameSettings`].
    pub status: Option<GameStatus>,
    /// See [`GameSettings`].
    pub session_policy: Option<SessionPolicy>,
    /// `Some(None)` removes the limit.
    pub device_limit: Option<Option<u32>>,
    /// See [`GameSettings`].
    pub access_token_ms: Option<u64>,
    /// See [`GameSettings`].
    pub refresh_token_ms: Option<u64>,
    /// See [`GameSettings`].
    pub refresh_grace_ms: Option<u64>,
    /// See [`GameSettings`].
    pub cors_origins: Option<Vec<String>>,
    /// See [`GameSettings`].
    pub unknown_policy: Option<UnknownPolicy>,
    /// See [`GameSettings`].
    pub unknown_hold_ms: Option<u64>,
    /// See [`GameSettings`].
    pub mac_only: Option<bool>,
    /// See [`GameSettings`].
    pub reconnect_spread_ms: Option<u64>,
    /// See [`GameSettings`].
    pub remember_passwords: Option<bool>,
    /// See [`GameSettings`].
    pub challenges: Option<ChallengePolicy>,
}

/// A game.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GameView {
    /// Its id.
    pub game_id: GameId,
    /// Its realm.
    pub realm_id: RealmId,
    /// Unique in the realm, 1-64 characters.
    pub name: String,
    /// Settings.
    pub settings: GameSettings,
    /// Creation.
    pub created_at: UnixMs,
}

/// `package.create`.
#[derive(Debug, Clone)]
pub struct PackageCreate {
    /// Game.
    pub game_id: GameId,
    /// 1-64 characters.
    pub name: String,
    /// `android`, `ios`, `h5`, `mini_game`, `windows`, `mac`, `other`.
    pub platform: String,
    /// Channel; may be empty.
    pub channel_id: String,
    /// Agent; may be empty.
    pub agent_id: String,
    /// Site; may be empty.
    pub site_id: String,
    /// Bundle id or package name; may be empty.
    pub bundle_id: String,
    /// The channel's own parameters, at most 64 of 4 KiB.
    pub channel_params: BTreeMap<String, String>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PackageView {
    /// Its id.
    pub package_id: PackageId,
    /// Game.
    pub game_id: GameId,
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
    /// Names of the channel parameters; values may be secret.
    pub channel_params: Vec<String>,
    /// Creation.
    pub created_at: UnixMs,
}
