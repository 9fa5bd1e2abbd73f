//! The token check of game servers.

use schemars::JsonSchema;
use seawall_domain::verify::Verified;
use seawall_domain::{AccountId, GameId, PackageId, PlayerId, SessionId, verify};
use serde::{Deserialize, Serialize};

use super::{Id, Restriction, mirror};

/// Most tokens of one batch.
pub const VERIFY_BATCH_MAX: usize = 500;

/// Check one token.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct Verify {
    /// The access token the client sent to the game server.
    pub token: String,
    /// The player the game server expects; another one answers `invalid player_mismatch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player_id: Option<Id<PlayerId>>,
}

/// Check up to 500 tokens.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct VerifyBatch {
    /// The access tokens.
    #[schemars(length(min = 1, max = 500))]
    pub tokens: Vec<String>,
}

mirror! {
    /// Why a token is proven invalid; the first that applies, in this order.
    InvalidReason = verify::InvalidReason {
        /// No token of ours.
        Malformed,
        /// The MAC does not match.
        Forged,
        /// Made for a game this key may not act for.
        WrongGame,
        /// Past its end.
        Expired,
        /// A newer login replaced the session.
        Replaced,
        /// Logged out, or revoked.
        Revoked,
        /// Valid, but for another player.
        PlayerMismatch,
    }
}

mirror! {
    /// How sure a `valid` is.
    Assurance = verify::Assurance {
        /// Everything was checked.
        Full,
        /// MAC and expiry only; revocations were unreadable and the game allows it.
        MacOnly,
        /// Checked on a standby within its staleness bound.
        Stale,
    }
}

/// What a token is worth. `unknown` appears in batches only; a single check answers 503 instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum TokenStatus {
    /// Let the player in.
    Valid {
        /// Player; what the game server stores.
        player_id: Id<PlayerId>,
        /// Account.
        account_id: Id<AccountId>,
        /// Game.
        game_id: Id<GameId>,
        /// Session.
        session_id: Id<SessionId>,
        /// The build the player logged in from.
        package_id: Id<PackageId>,
        /// Channel of that package; empty when it has none.
        channel_id: String,
        /// Login or refresh time.
        issued_at: u64,
        /// End.
        expires_at: u64,
        /// How sure.
        assurance: Assurance,
        /// Restrictions in force for the game server to enforce (chat, pay).
        restrictions: Vec<Restriction>,
    },
    /// The token is good and a rule keeps the player out. Do not send them to log in again.
    Denied {
        /// `account.restricted`, `account.deleted`, `game.maintenance`, ….
        code: String,
        /// When it ends, if known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_at: Option<u64>,
        /// For the player.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// Proven bad: the player must refresh or log in again.
    Invalid {
        /// Why.
        reason: InvalidReason,
    },
    /// Nobody knows now; keep the player and try again.
    Unknown {
        /// `overload.busy`, `platform.not_ready`, ….
        code: String,
        /// When to try again.
        retry_after_ms: u64,
    },
}

impl From<Verified> for TokenStatus {
    fn from(verified: Verified) -> Self {
        match verified {
            Verified::Valid(token) => TokenStatus::Valid {
                player_id: Id(token.player_id),
                account_id: Id(token.account_id),
                game_id: Id(token.game_id),
                session_id: Id(token.session_id),
                package_id: Id(token.package_id),
                channel_id: token.channel_id,
                issued_at: token.issued_at,
                expires_at: token.expires_at,
                assurance: token.assurance.into(),
                restrictions: token.restrictions.into_iter().map(Into::into).collect(),
            },
            Verified::Denied {
                code,
                until_at,
                message,
            } => TokenStatus::Denied {
                code: code.to_owned(),
                until_at,
                message,
            },
            Verified::Invalid(proof) => TokenStatus::Invalid {
                reason: proof.reason().into(),
            },
            Verified::Unknown {
                code, retry_after_ms, ..
            } => TokenStatus::Unknown {
                code: code.to_owned(),
                retry_after_ms,
            },
        }
    }
}

/// Answers in the order of the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyBatchAnswer {
    /// One per token.
    pub results: Vec<TokenStatus>,
}

/// Revoke every session of a player.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PlayerLogout {
    /// Game.
    pub game_id: Id<GameId>,
    /// Player.
    pub player_id: Id<PlayerId>,
}
