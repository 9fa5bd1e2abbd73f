//! Login, registration, refresh, logout, and the session list of a player.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use seawall_domain::{AccountId, Error, GameId, PackageId, PlayerId, SessionId, account, challenge, codes, session};
use serde::{Deserialize, Serialize};

use super::Id;

/// Proof of identity: `{kind: "username", username, password}` or `{kind: "guest", guest_secret?}`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Credential {
    /// `username` or `guest`.
    pub kind: String,
    /// Of kind `username`: 3-64 code points after NFKC and case folding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Of kind `username`: 6-128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Of kind `guest`: the secret of the answer that made the guest; absent to make a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_secret: Option<String>,
}

impl Credential {
    /// The domain's credential; [`codes::CREDENTIAL_UNSUPPORTED`] for another kind, [`codes::FIELD_INVALID`] when a
    /// field of the kind is missing.
    pub fn into_domain(self) -> Result<session::Credential, Error> {
        match self.kind.as_str() {
            "username" => Ok(session::Credential::Username {
                username: self.username.ok_or_else(|| missing("credential.username"))?,
                password: self.password.ok_or_else(|| missing("credential.password"))?,
            }),
            "guest" => Ok(session::Credential::Guest {
                guest_secret: self.guest_secret,
            }),
            _ => {
                let kind: String = self.kind.chars().take(32).collect();
                Err(codes::CREDENTIAL_UNSUPPORTED.error().with("kind", kind))
            }
        }
    }
}

fn missing(field: &'static str) -> Error {
    codes::FIELD_INVALID
        .because(format!("{field} is missing."))
        .with("field", field)
        .with("rule", "required")
}

/// The schema of [`Credential`], which is one of two shapes.
#[derive(JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
enum CredentialShapes {
    /// A name chosen by the player and a password.
    Username {
        /// 3-64 code points after NFKC and case folding.
        #[schemars(length(min = 1, max = 256))]
        username: String,
        /// 6-128 bytes.
        #[schemars(length(min = 1, max = 128))]
        password: String,
    },
    /// A player without a name.
    Guest {
        /// Absent to make a new guest.
        guest_secret: Option<String>,
    },
}

impl JsonSchema for Credential {
    fn schema_name() -> Cow<'static, str> {
        "Credential".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        CredentialShapes::json_schema(generator)
    }
}

/// Device ids by name, as far as the player allows them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DeviceIds {
    /// Open anonymous device identifier (MSA).
    pub oaid: Option<String>,
    /// Android id.
    pub android_id: Option<String>,
    /// MD5 of the IMEI, lower-case hex.
    pub imei_md5: Option<String>,
    /// Apple advertising id.
    pub idfa: Option<String>,
    /// Apple vendor id.
    pub idfv: Option<String>,
    /// China advertising ids, newest first, at most 4.
    pub caid: Vec<String>,
    /// WeChat id within the mini-game.
    pub openid: Option<String>,
}

impl DeviceIds {
    fn into_map(self) -> BTreeMap<String, Vec<String>> {
        let single = [
            ("oaid", self.oaid),
            ("android_id", self.android_id),
            ("imei_md5", self.imei_md5),
            ("idfa", self.idfa),
            ("idfv", self.idfv),
            ("openid", self.openid),
        ];
        let mut ids: BTreeMap<String, Vec<String>> = single
            .into_iter()
            .filter_map(|(name, id)| Some((name.to_owned(), vec![id?])))
            .collect();
        if !self.caid.is_empty() {
            ids.insert("caid".to_owned(), self.caid);
        }
        ids
    }
}

/// The device.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Made by the SDK at first start; 1-128 bytes.
    #[schemars(length(min = 1, max = 128))]
    pub install_id: String,
    /// Maker, at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Model, at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Ids by name.
    #[serde(default)]
    pub ids: DeviceIds,
}

/// What the client says of itself. Every text is at most 256 bytes unless stated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Client {
    /// The build.
    pub package_id: Id<PackageId>,
    /// `android`, `ios`, `h5`, `mini_game`, `windows`, `mac` or `other`.
    pub os: String,
    /// Version of the SDK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdk_version: Option<String>,
    /// Version of the game.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Version of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// `wifi`, `4g`, ….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The device.
    pub device: Device,
    /// Query the app or mini-game was started with; at most 4096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_query: Option<String>,
    /// Attribution token of the platform; at most 4096 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attribution_token: Option<String>,
    /// Version of the privacy text the player agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent_version: Option<String>,
}

impl From<Client> for account::ClientInfo {
    fn from(client: Client) -> Self {
        let device = client.device;
        account::ClientInfo {
            package_id: client.package_id.0,
            os: client.os,
            sdk_version: client.sdk_version,
            app_version: client.app_version,
            os_version: client.os_version,
            network: client.network,
            device: account::DeviceInfo {
                install_id: device.install_id,
                brand: device.brand,
                model: device.model,
                ids: device.ids.into_map(),
            },
            launch_query: client.launch_query,
            attribution_token: client.attribution_token,
            consent_version: client.consent_version,
        }
    }
}

/// The answer to a challenge. A wrong, used or expired one is met with a fresh challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChallengeResponse {
    /// Of the challenge that is answered.
    pub challenge_id: String,
    /// Of kind `altcha`: base64 of the JSON `{algorithm, challenge, number, salt, signature}`, at most 2048 bytes.
    #[schemars(length(max = 2048))]
    pub response: String,
}

impl From<ChallengeResponse> for challenge::ChallengeResponse {
    fn from(answer: ChallengeResponse) -> Self {
        challenge::ChallengeResponse {
            challenge_id: answer.challenge_id,
            response: answer.response,
        }
    }
}

/// Log in.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionCreate {
    /// The game to play.
    pub game_id: Id<GameId>,
    /// Proof of identity.
    pub credential: Credential,
    /// The client.
    pub client: Client,
    /// Register when nobody has this name, or for a guest without a secret.
    #[serde(default)]
    pub create_if_missing: bool,
    /// When the call before was answered with a challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_response: Option<ChallengeResponse>,
}

impl SessionCreate {
    /// The domain's command.
    pub fn into_domain(self) -> Result<session::SessionCreate, Error> {
        Ok(session::SessionCreate {
            game_id: self.game_id.0,
            credential: self.credential.into_domain()?,
            client: self.client.into(),
            create_if_missing: self.create_if_missing,
            challenge_response: self.challenge_response.map(Into::into),
        })
    }
}

/// Register.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct AccountCreate {
    /// The game.
    pub game_id: Id<GameId>,
    /// The name and password to register, or a guest without a secret.
    pub credential: Credential,
    /// The client.
    pub client: Client,
    /// When the call before was answered with a challenge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge_response: Option<ChallengeResponse>,
}

impl AccountCreate {
    /// The domain's command.
    pub fn into_domain(self) -> Result<account::AccountCreate, Error> {
        Ok(account::AccountCreate {
            game_id: self.game_id.0,
            credential: self.credential.into_domain()?,
            client: self.client.into(),
            challenge_response: self.challenge_response.map(Into::into),
        })
    }
}

/// The pair of tokens of a session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionTokens {
    /// The session.
    pub session_id: Id<SessionId>,
    /// For game servers and for calls with `Authorization: Bearer`.
    pub access_token: String,
    /// When the access token ends.
    pub access_expires_at: u64,
    /// For `/sdk/v1/sessions/refresh` only.
    pub refresh_token: String,
    /// When the refresh token ends.
    pub refresh_expires_at: u64,
}

impl From<session::SessionTokens> for SessionTokens {
    fn from(tokens: session::SessionTokens) -> Self {
        SessionTokens {
            session_id: Id(tokens.session_id),
            access_token: tokens.access_token,
            access_expires_at: tokens.access_expires_at,
            refresh_token: tokens.refresh_token,
            refresh_expires_at: tokens.refresh_expires_at,
        }
    }
}

/// A login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoggedIn {
    /// The account.
    pub account_id: Id<AccountId>,
    /// The player in this game; what game servers store for ever.
    pub player_id: Id<PlayerId>,
    /// The account's name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Made by this call.
    pub is_new_account: bool,
    /// Made by this call.
    pub is_new_player: bool,
    /// The tokens.
    pub session: SessionTokens,
    /// Only in the answer that made the guest: keep it, it is the only way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_secret: Option<String>,
    /// Over which time clients of this game spread their first call after an update, in milliseconds; keep the newest.
    #[serde(default)]
    pub reconnect_spread_ms: u64,
    /// Our clock.
    pub server_time_at: u64,
}

/// Something to do first; the call is then repeated with `challenge_response`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Challenge {
    /// Which kind: `altcha`, a proof of work that the client does on its own.
    pub kind: String,
    /// To be sent back with the proof.
    pub challenge_id: String,
    /// For the client, by kind. Of kind `altcha`: `{algorithm: "SHA-256", challenge, maxnumber, salt, signature}`; find
    /// the number from 0 to `maxnumber` for which the hex SHA-256 of `salt` followed by its digits is `challenge`.
    pub data: serde_json::Value,
}

/// The answer to a login or a registration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SessionCreated {
    /// Logged in.
    Session(Box<LoggedIn>),
    /// Not yet.
    Challenge {
        /// What to do first.
        challenge: Challenge,
        /// Our clock.
        server_time_at: u64,
    },
}

impl From<session::LoggedIn> for SessionCreated {
    fn from(login: session::LoggedIn) -> Self {
        SessionCreated::Session(Box::new(LoggedIn {
            account_id: Id(login.account_id),
            player_id: Id(login.player_id),
            username: login.username,
            is_new_account: login.is_new_account,
            is_new_player: login.is_new_player,
            session: login.session.into(),
            guest_secret: login.guest_secret,
            reconnect_spread_ms: login.reconnect_spread_ms,
            server_time_at: login.server_time_at,
        }))
    }
}

impl SessionCreated {
    /// The wire form of a login's outcome; `now_at` stamps a challenge.
    #[must_use]
    pub fn from_outcome(outcome: session::LoginOutcome, now_at: u64) -> Self {
        match outcome {
            session::LoginOutcome::Session(login) => (*login).into(),
            session::LoginOutcome::Challenge {
                kind,
                challenge_id,
                data,
            } => SessionCreated::Challenge {
                challenge: Challenge {
                    kind,
                    challenge_id,
                    data,
                },
                server_time_at: now_at,
            },
        }
    }
}

/// Exchange a refresh token.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct SessionRefresh {
    /// `sr1.…`
    pub refresh_token: String,
}

/// The next pair.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionRefreshed {
    /// The player.
    pub player_id: Id<PlayerId>,
    /// The new pair.
    pub session: SessionTokens,
    /// Over which time clients of this game spread their first call after an update, in milliseconds; keep the newest.
    #[serde(default)]
    pub reconnect_spread_ms: u64,
    /// Our clock.
    pub server_time_at: u64,
}

impl From<session::Refreshed> for SessionRefreshed {
    fn from(refreshed: session::Refreshed) -> Self {
        SessionRefreshed {
            player_id: Id(refreshed.player_id),
            session: refreshed.session.into(),
            reconnect_spread_ms: refreshed.reconnect_spread_ms,
            server_time_at: refreshed.server_time_at,
        }
    }
}

/// Log out. An empty body means `{}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Logout {
    /// Also every other session of the account.
    pub everywhere: bool,
}

/// Done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Acknowledged {
    /// Our clock.
    pub server_time_at: u64,
}

/// Sessions were revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoggedOut {
    /// How many were live.
    pub session_count: u32,
}

/// One line of the session list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionEntry {
    /// The session.
    pub session_id: Id<SessionId>,
    /// Its game.
    pub game_id: Id<GameId>,
    /// Its player.
    pub player_id: Id<PlayerId>,
    /// Brand and model of its device.
    pub device: String,
    /// Login.
    pub created_at: u64,
    /// Last refresh, or the login.
    pub refreshed_at: u64,
    /// End of the refresh token.
    pub refresh_expires_at: u64,
    /// True for the session that asked.
    pub is_current: bool,
}

impl From<session::SessionEntry> for SessionEntry {
    fn from(entry: session::SessionEntry) -> Self {
        SessionEntry {
            session_id: Id(entry.session_id),
            game_id: Id(entry.game_id),
            player_id: Id(entry.player_id),
            device: entry.device,
            created_at: entry.created_at,
            refreshed_at: entry.refreshed_at,
            refresh_expires_at: entry.refresh_expires_at,
            is_current: entry.is_current,
        }
    }
}

/// Live sessions of the account, newest first, at most 100.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionList {
    /// The sessions.
    pub sessions: Vec<SessionEntry>,
    /// Our clock.
    pub server_time_at: u64,
}
