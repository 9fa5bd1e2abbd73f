//! Accounts: registration, what a player and an operator see, restrictions, passwords.

use std::collections::BTreeMap;

use crate::challenge::ChallengeResponse;
use crate::identity::IdentityKind;
use crate::ids::{AccountId, GameId, PackageId, PlayerId, RealmId, SessionId, UnixMs};
use crate::session::Credential;

pub(crate) mod create;
pub(crate) mod own;
pub(crate) mod restrict;
mod show;
#[cfg(test)]
mod tests;

/// The device part of [`ClientInfo`]. Every text at most 256 bytes, `ids` at most 16 entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Made by the SDK at first start; 1-128 bytes.
    pub install_id: String,
    /// Maker.
    pub brand: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// `oaid`, `android_id`, `imei_md5`, `idfa`, `idfv`, `openid` and `caid` (a list) by name.
    pub ids: BTreeMap<String, Vec<String>>,
}

/// What the client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The build.
    pub package_id: PackageId,
    /// `android`, `ios`, `h5`, `mini_game`, `windows`, `mac`, `other`.
    pub os: String,
    /// Version of the SDK.
    pub sdk_version: Option<String>,
    /// Version of the game.
    pub app_version: Option<String>,
    /// Version of the system.
    pub os_version: Option<String>,
    /// `wifi`, `4g`, ….
    pub network: Option<String>,
    /// The device.
    pub device: DeviceInfo,
    /// Query the app or mini-game was started with; at most 4096 bytes.
    pub launch_query: Option<String>,
    /// Attribution token of the platform; at most 4096 bytes.
    pub attribution_token: Option<String>,
    /// Version of the privacy text the player agreed to.
    pub consent_version: Option<String>,
}

/// `account.create`: register.
#[derive(Debug, Clone)]
pub struct AccountCreate {
    /// The game.
    pub game_id: GameId,
    /// The name and password to register, or a guest without a secret.
    pub credential: Credential,
    /// The client.
    pub client: ClientInfo,
    /// The answer to the challenge that the call before was met with.
    pub challenge_response: Option<ChallengeResponse>,
}

/// What the player sees of their own account.
#[derive(Debug, Clone)]
pub struct OwnAccount {
    /// The account.
    pub account_id: AccountId,
    /// The player the token is for.
    pub player_id: PlayerId,
    /// The session the token is for.
    pub session_id: SessionId,
    /// The game the token is for.
    pub game_id: GameId,
    /// Name.
    pub username: Option<String>,
    /// Kinds of identities, in order.
    pub identities: Vec<IdentityKind>,
    /// Registration.
    pub created_at: UnixMs,
    /// Restrictions in force.
    pub restrictions: Vec<RestrictionView>,
    /// Now.
    pub server_time_at: UnixMs,
}

/// What an operator names an account by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountRef {
    /// Its id.
    Account(AccountId),
    /// A player of it.
    Player(GameId, PlayerId),
    /// A name in a realm.
    Identity(RealmId, IdentityKind, String, String),
}

/// What an operator sees of an account.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AccountView {
    /// The account.
    pub account_id: AccountId,
    /// Its realm.
    pub realm_id: RealmId,
    /// `active` or `deleted`.
    pub status: &'static str,
    /// Name.
    pub username: Option<String>,
    /// (kind, issuer, subject), phones masked.
    pub identities: Vec<IdentityView>,
    /// (game, player) pairs.
    pub players: Vec<PlayerView>,
    /// Restrictions, in force or not, newest first, at most 100.
    pub restrictions: Vec<RestrictionView>,
    /// Live sessions.
    pub session_count: u32,
    /// Registration.
    pub created_at: UnixMs,
    /// Last change of the account, its names or its password.
    pub changed_at: UnixMs,
    /// Where it first appeared: ip, device, agent, site, package, and columns of an import that nobody knew.
    pub origin: BTreeMap<String, String>,
    /// `argon2id`, the imported recipe's name, or `none`.
    pub password_recipe: String,
}

/// An identity, masked for showing.
#[derive(Debug, Clone, serde::Serialize)]
pub struct IdentityView {
    /// Kind.
    pub kind: IdentityKind,
    /// Channel or app id; empty when none.
    pub issuer: String,
    /// The subject; phones and mails masked.
    pub subject: String,
}

/// A player of an account.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PlayerView {
    /// Game.
    pub game_id: GameId,
    /// Player.
    pub player_id: PlayerId,
    /// First entry.
    pub created_at: UnixMs,
}

/// Whom a restriction is on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// An account, in all games of its realm unless scoped.
    Account {
        /// Which.
        account_id: AccountId,
    },
    /// One player.
    Player {
        /// Game.
        game_id: GameId,
        /// Player.
        player_id: PlayerId,
    },
    /// A device, by its opaque id of 32 hex digits.
    Device {
        /// Which.
        device_id: String,
    },
    /// An address range in CIDR notation.
    IpRange {
        /// `192.0.2.0/24`
        range: String,
    },
}

/// What a restriction forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Log in, refresh, and be verified.
    Login,
    /// Register.
    Register,
    /// Pay.
    Pay,
    /// Chat; enforced by game servers, who see it in verify.
    Chat,
}

/// `account.restrict`: who may not do what, where, until when, and why.
#[derive(Debug, Clone)]
pub struct Restrict {
    /// Whom.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// Only in this game; everywhere when absent.
    pub game_id: Option<GameId>,
    /// From; now when absent.
    pub from_at: Option<UnixMs>,
    /// Until; for ever when absent.
    pub until_at: Option<UnixMs>,
    /// Stable reason code, 1-64 of `a-z0-9_.`.
    pub reason: String,
    /// For the player; at most 512 bytes.
    pub message: Option<String>,
    /// Ticket of the case; at most 128 bytes.
    pub ticket: Option<String>,
}

/// A restriction as shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RestrictionView {
    /// Its id.
    pub restriction_id: u64,
    /// Whom.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// Only in this game.
    pub game_id: Option<GameId>,
    /// From.
    pub from_at: UnixMs,
    /// Until.
    pub until_at: Option<UnixMs>,
    /// Reason code.
    pub reason: String,
    /// For the player.
    pub message: Option<String>,
    /// Ticket.
    pub ticket: Option<String>,
}
