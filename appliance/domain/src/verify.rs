//! The token check, the platform's most important answer: `Valid | Denied | Invalid | Unknown`. No conversion from
//! `Unknown` to `Invalid` exists, and `Invalid` can only be built from a proof.

use crate::account::RestrictionView;
use crate::game::UnknownPolicy;
use crate::ids::{AccountId, GameId, PackageId, PlayerId, SessionId, UnixMs};
use crate::proof::Proof;

mod answer;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;

pub use answer::VERIFY_BATCH_MAX;

/// Why a token is proven invalid; the first that applies, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidReason {
    /// No token of ours.
    Malformed,
    /// The MAC does not match.
    Forged,
    /// Made for a game the calling key may not act for.
    WrongGame,
    /// Past its end.
    Expired,
    /// A newer login replaced the session.
    Replaced,
    /// Logged out, or revoked by an operator or a password change.
    Revoked,
    /// Valid, but for another player than the caller expects.
    PlayerMismatch,
}

impl InvalidReason {
    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::WrongGame => "wrong_game",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::PlayerMismatch => "player_mismatch",
        }
    }
}

/// How sure a `Valid` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// Everything was checked.
    Full,
    /// MAC and expiry only; revocations were unreadable and the game allows it.
    MacOnly,
    /// Checked on a standby within its staleness bound.
    Stale,
}

/// A valid token's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidToken {
    /// Player.
    pub player_id: PlayerId,
    /// Account.
    pub account_id: AccountId,
    /// Game.
    pub game_id: GameId,
    /// Session.
    pub session_id: SessionId,
    /// The build the player logged in from.
    pub package_id: PackageId,
    /// Channel of that package; empty when it has none.
    pub channel_id: String,
    /// Login or refresh time.
    pub issued_at: UnixMs,
    /// End.
    pub expires_at: UnixMs,
    /// How sure.
    pub assurance: Assurance,
    /// Restrictions in force that do not forbid login (chat, pay), for the game server to enforce.
    pub restrictions: Vec<RestrictionView>,
}

/// The four outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verified {
    /// Let the player in.
    Valid(Box<ValidToken>),
    /// The token is good and a rule keeps the player out; do not send them to log in again.
    Denied {
        /// `account.restricted`, `game.maintenance`, `account.deleted`, ….
        code: &'static str,
        /// When it ends, if known.
        until_at: Option<UnixMs>,
        /// For the player.
        message: Option<String>,
    },
    /// Proven bad; the player must log in again. Only the domain can make the proof; `reason()` reads it.
    Invalid(Proof),
    /// Nobody knows now; try again. Becomes 503 (or an item of a batch).
    Unknown {
        /// `overload.busy`, `platform.not_ready`, ….
        code: &'static str,
        /// When to try again.
        retry_after_ms: u64,
        /// What the game of the token wants then; the default when the game is not known.
        policy: UnknownPolicy,
        /// How long an answer may wait for certainty when the policy is to hold it, in milliseconds.
        hold_ms: u64,
    },
}
