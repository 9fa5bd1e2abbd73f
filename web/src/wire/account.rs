//! Accounts: what a player sees of their own, and what an operator sees of any.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use seawall_domain::{AccountId, Error, GameId, PlayerId, RealmId, SessionId, account, codes, identity, session};
use serde::{Deserialize, Serialize};

use super::{Credential, Id, Restriction, mirror};

mirror! {
    /// Kind of an identity.
    IdentityKind = identity::IdentityKind {
        /// A name chosen by the player.
        Username,
        /// A guest's secret (its hash).
        Guest,
        /// A phone number in E.164.
        Phone,
        /// A mail address.
        Email,
        /// WeChat id within one app.
        WechatOpenid,
        /// WeChat id across the apps of one publisher.
        WechatUnionid,
        /// Sign in with Apple.
        Apple,
        /// Google.
        Google,
        /// A channel's own user id; the issuer is the channel.
        Channel,
        /// An imported name that breaks today's rule for usernames.
        Alias,
    }
}

/// An identity as its owner sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnIdentity {
    /// Kind.
    pub kind: IdentityKind,
}

/// The bearer's own account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnAccount {
    /// The account.
    pub account_id: Id<AccountId>,
    /// The player the token is for.
    pub player_id: Id<PlayerId>,
    /// The session the token is for.
    pub session_id: Id<SessionId>,
    /// The game the token is for.
    pub game_id: Id<GameId>,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Identities.
    pub identities: Vec<OwnIdentity>,
    /// Registration.
    pub created_at: u64,
    /// Restrictions in force.
    pub restrictions: Vec<Restriction>,
    /// Our clock.
    pub server_time_at: u64,
}

impl From<account::OwnAccount> for OwnAccount {
    fn from(own: account::OwnAccount) -> Self {
        OwnAccount {
            account_id: Id(own.account_id),
            player_id: Id(own.player_id),
            session_id: Id(own.session_id),
            game_id: Id(own.game_id),
            username: own.username,
            identities: own
                .identities
                .into_iter()
                .map(|kind| OwnIdentity { kind: kind.into() })
                .collect(),
            created_at: own.created_at,
            restrictions: own.restrictions.into_iter().map(Into::into).collect(),
            server_time_at: own.server_time_at,
        }
    }
}

/// A guest takes a username and a password.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct IdentityBind {
    /// Of kind `username`.
    pub credential: Credential,
}

/// Change the password; all other sessions of the account are revoked.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct PasswordChange {
    /// The password in use.
    pub old_password: String,
    /// The next one, 6-128 bytes.
    #[schemars(length(min = 6, max = 128))]
    pub new_password: String,
}

/// One line of the device list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceEntry {
    /// Opaque id, 32 hex digits.
    pub device_id: String,
    /// Brand, as told by the client.
    pub brand: String,
    /// Model, as told by the client.
    pub model: String,
    /// Operating system.
    pub os: String,
    /// First login.
    pub first_seen_at: u64,
    /// Last login.
    pub last_seen_at: u64,
}

impl From<session::DeviceEntry> for DeviceEntry {
    fn from(entry: session::DeviceEntry) -> Self {
        DeviceEntry {
            device_id: entry.device_id,
            brand: entry.brand,
            model: entry.model,
            os: entry.os,
            first_seen_at: entry.first_seen_at,
            last_seen_at: entry.last_seen_at,
        }
    }
}

/// Devices of the account, newest first, at most 100.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceList {
    /// The devices.
    pub devices: Vec<DeviceEntry>,
    /// Our clock.
    pub server_time_at: u64,
}

/// What an operator names an account by: `account_id`; or `player_id` with `game_id`; or `username` with `realm_id`;
/// or `subject` with `kind` and `realm_id` (and `issuer` where the kind has one).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccountSelector {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Id<AccountId>>,
    /// A player of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player_id: Option<Id<PlayerId>>,
    /// The player's game.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub game_id: Option<Id<GameId>>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The realm of a name or an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realm_id: Option<Id<RealmId>>,
    /// Kind of an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<IdentityKind>,
    /// Channel or app id of an identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The identity itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

impl AccountSelector {
    /// The domain's reference; [`codes::FIELD_INVALID`] unless exactly one of the forms is given.
    pub fn into_domain(self) -> Result<account::AccountRef, Error> {
        let AccountSelector {
            account_id,
            player_id,
            game_id,
            username,
            realm_id,
            kind,
            issuer,
            subject,
        } = self;
        match (account_id, player_id, game_id, username, realm_id, kind, subject) {
            (Some(id), None, None, None, None, None, None) => Ok(account::AccountRef::Account(id.0)),
            (None, Some(player), Some(game), None, None, None, None) => {
                Ok(account::AccountRef::Player(game.0, player.0))
            }
            (None, None, None, Some(name), Some(realm), None, None) => Ok(account::AccountRef::Identity(
                realm.0,
                identity::IdentityKind::Username,
                issuer.unwrap_or_default(),
                name,
            )),
            (None, None, None, None, Some(realm), Some(kind), Some(subject)) => Ok(account::AccountRef::Identity(
                realm.0,
                kind.into(),
                issuer.unwrap_or_default(),
                subject,
            )),
            _ => Err(codes::FIELD_INVALID
                .because(
                    "Name the account by account_id, or player_id and game_id, or username and realm_id, \
                     or subject, kind and realm_id.",
                )
                .with("field", "account_id")
                .with("rule", "exactly one form")),
        }
    }
}

/// An identity, masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityView {
    /// Kind.
    pub kind: IdentityKind,
    /// Channel or app id; empty when none.
    pub issuer: String,
    /// The subject; phones and mails masked.
    pub subject: String,
}

/// A player of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlayerView {
    /// Game.
    pub game_id: Id<GameId>,
    /// Player.
    pub player_id: Id<PlayerId>,
    /// First entry.
    pub created_at: u64,
}

/// What an operator sees of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountView {
    /// The account.
    pub account_id: Id<AccountId>,
    /// Its realm.
    pub realm_id: Id<RealmId>,
    /// `active` or `deleted`.
    pub status: String,
    /// Name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Identities.
    pub identities: Vec<IdentityView>,
    /// Players.
    pub players: Vec<PlayerView>,
    /// Restrictions, in force or not, newest first, at most 100.
    pub restrictions: Vec<Restriction>,
    /// Live sessions.
    pub session_count: u32,
    /// Registration.
    pub created_at: u64,
    /// Last change of the account, its names or its password.
    pub changed_at: u64,
    /// Where it first appeared, and columns of an import that nobody knew.
    pub origin: BTreeMap<String, String>,
    /// `argon2id`, the imported recipe's name, or `none`.
    pub password_recipe: String,
}

impl From<account::AccountView> for AccountView {
    fn from(view: account::AccountView) -> Self {
        let identity = |i: account::IdentityView| IdentityView {
            kind: i.kind.into(),
            issuer: i.issuer,
            subject: i.subject,
        };
        let player = |p: account::PlayerView| PlayerView {
            game_id: Id(p.game_id),
            player_id: Id(p.player_id),
            created_at: p.created_at,
        };
        AccountView {
            account_id: Id(view.account_id),
            realm_id: Id(view.realm_id),
            status: view.status.to_owned(),
            username: view.username,
            identities: view.identities.into_iter().map(identity).collect(),
            players: view.players.into_iter().map(player).collect(),
            restrictions: view.restrictions.into_iter().map(Into::into).collect(),
            session_count: view.session_count,
            created_at: view.created_at,
            changed_at: view.changed_at,
            origin: view.origin,
            password_recipe: view.password_recipe,
        }
    }
}

/// A page of accounts in the import's own format, oldest change first.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct AccountExport {
    /// One NDJSON line each, without the line end.
    pub lines: Vec<String>,
    /// For the next page; equal to the one asked with at the end.
    pub next_cursor: String,
}
