//! Proofs that a token is invalid. Nothing can be answered "invalid" without one, and a [`Proof`] can only be made
//! here, each from the evidence it stands for: a failed decoding, a passed end, a revocation record. There is no way
//! from "we do not know" to a proof.

use crate::ids::{GameId, PlayerId, UnixMs};
use crate::revocation::Revocation;
use crate::token::{Claims, DecodeFailure};
use crate::verify::InvalidReason;

/// Evidence that a token is invalid. Its fields are private: outside this module it can be read, not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Proof {
    reason: InvalidReason,
}

impl Proof {
    /// What is proven.
    #[must_use]
    pub fn reason(&self) -> InvalidReason {
        self.reason
    }

    /// The text is no token of ours, or its MAC does not match.
    pub(crate) fn of_decoding(failure: DecodeFailure) -> Self {
        let reason = match failure {
            DecodeFailure::Malformed => InvalidReason::Malformed,
            DecodeFailure::Forged => InvalidReason::Forged,
        };
        Self { reason }
    }

    /// The token was made for a game that is not among `allowed`.
    pub(crate) fn of_game(claims: &Claims, allowed: &[GameId]) -> Option<Self> {
        (!allowed.contains(&claims.game_id)).then_some(Self {
            reason: InvalidReason::WrongGame,
        })
    }

    /// The token's end has passed.
    pub(crate) fn of_expiry(claims: &Claims, now_at: UnixMs) -> Option<Self> {
        (now_at >= claims.expires_at).then_some(Self {
            reason: InvalidReason::Expired,
        })
    }

    /// A revocation record covers the token's session.
    pub(crate) fn of_revocation(revocation: Revocation) -> Self {
        let reason = match revocation {
            Revocation::Replaced => InvalidReason::Replaced,
            Revocation::Revoked => InvalidReason::Revoked,
        };
        Self { reason }
    }

    /// The token is another player's than the caller expects.
    pub(crate) fn of_player(claims: &Claims, expected: PlayerId) -> Option<Self> {
        (claims.player_id != expected).then_some(Self {
            reason: InvalidReason::PlayerMismatch,
        })
    }
}

impl serde::Serialize for Proof {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.reason.serialize(to)
    }
}

#[cfg(test)]
mod tests;
