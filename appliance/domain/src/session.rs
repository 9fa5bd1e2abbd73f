//! Sessions: login, refresh, logout, the lists a player sees. Commands and outcomes; the rules are beside them.

use crate::account::ClientInfo;
use crate::challenge::ChallengeResponse;
use crate::ids::{AccountId, GameId, PlayerId, SessionId, UnixMs};

pub(crate) mod create;
pub(crate) mod entry;
#[cfg(test)]
mod left;
mod list;
mod logout;
pub(crate) mod open;
#[cfg(test)]
mod properties;
mod refresh;
pub(crate) mod revoke;
#[cfg(test)]
mod tests;
pub(crate) mod tokens;

/// What a player proves who they are with. Debug output masks secrets.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name chosen by the player and a password.
    Username {
        /// As typed; normalised by NFKC and case folding.
        username: String,
        /// 6-128 bytes.
        password: String,
    },
    /// A player without a name; the secret was returned once, at registration.
    Guest {
        /// Absent to make a new guest.
        guest_secret: Option<String>,
    },
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Username { username, .. } => f
                .debug_struct("Username")
                .field("username", username)
                .finish_non_exhaustive(),
            Credential::Guest { guest_secret } => f
                .debug_struct("Guest")
                .field("has_secret", &guest_secret.is_some())
                .finish(),
        }
    }
}

/// `session.create`: log in.
#[derive(Debug, Clone)]
pub struct SessionCreate {
    /// The game to play.
    pub game_id: GameId,
    /// Proof of identity.
    pub credential: Credential,
    /// The client's build, system and device.
    pub client: ClientInfo,
    /// Register when nobody has this name (or for a guest without a secret).
    pub create_if_missing: bool,
    /// The answer to the challenge that the call before was met with.
    pub challenge_response: Option<ChallengeResponse>,
}

/// The pair of tokens of a session. Recomputed, never stored. Debug output masks the tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionTokens {
    /// The session.
    pub session_id: SessionId,
    /// `sw1.…`
    pub access_token: String,
    /// When the access token ends.
    pub access_expires_at: UnixMs,
    /// `sr1.…`
    pub refresh_token: String,
    /// When the refresh token ends.
    pub refresh_expires_at: UnixMs,
}

impl std::fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionTokens")
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

/// The answer to a login or a registration. Debug output masks the tokens and the guest's secret.
#[derive(Clone)]
pub struct LoggedIn {
    /// The account.
    pub account_id: AccountId,
    /// The player in this game.
    pub player_id: PlayerId,
    /// The account's name, if it has one.
    pub username: Option<String>,
    /// Made by this call.
    pub is_new_account: bool,
    /// Made by this call.
    pub is_new_player: bool,
    /// The tokens.
    pub session: SessionTokens,
    /// Only in the answer that made the guest (and in its idempotent repeat).
    pub guest_secret: Option<String>,
    /// Over which time the game's clients spread their first call after an update, in milliseconds.
    pub reconnect_spread_ms: u64,
    /// Time of the commit.
    pub server_time_at: UnixMs,
}

impl std::fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoggedIn")
            .field("account_id", &self.account_id)
            .field("player_id", &self.player_id)
            .field("is_new_account", &self.is_new_account)
            .field("is_new_player", &self.is_new_player)
            .field("session", &self.session)
            .field("has_guest_secret", &self.guest_secret.is_some())
            .finish_non_exhaustive()
    }
}

/// What a login or a registration leads to.
#[derive(Debug, Clone)]
pub enum LoginOutcome {
    /// Logged in.
    Session(Box<LoggedIn>),
    /// The call must be repeated with an answer to this; the client does the work, see [`crate::challenge`].
    Challenge {
        /// Which kind.
        kind: String,
        /// To be sent back with the proof.
        challenge_id: String,
        /// For the client, by kind.
        data: serde_json::Value,
    },
}

/// The answer to `session.refresh`.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The player.
    pub player_id: PlayerId,
    /// The new pair.
    pub session: SessionTokens,
    /// Over which time the game's clients spread their first call after an update, in milliseconds.
    pub reconnect_spread_ms: u64,
    /// Time of the commit.
    pub server_time_at: UnixMs,
}

/// One line of the session list.
#[derive(Debug, Clone)]
pub struct SessionEntry {
    /// The session.
    pub session_id: SessionId,
    /// Its game.
    pub game_id: GameId,
    /// Its player.
    pub player_id: PlayerId,
    /// Brand and model of its device, as told by the client.
    pub device: String,
    /// Login.
    pub created_at: UnixMs,
    /// Last refresh, or the login.
    pub refreshed_at: UnixMs,
    /// End of the refresh token.
    pub refresh_expires_at: UnixMs,
    /// True for the session that asked.
    pub is_current: bool,
}

/// One line of the device list.
#[derive(Debug, Clone)]
pub struct DeviceEntry {
    /// Opaque id of the device (a hash of the install id), 32 hex digits.
    pub device_id: String,
    /// Brand, as told by the client.
    pub brand: String,
    /// Model, as told by the client.
    pub model: String,
    /// Operating system.
    pub os: String,
    /// First login.
    pub first_seen_at: UnixMs,
    /// Last login.
    pub last_seen_at: UnixMs,
}
