//! `session.verify`, `session.verify_batch`, and the re-reading of a sample.

use super::{Assurance, ValidToken, Verified};
use crate::account::Action;
use crate::call::{Call, Caller};
use crate::codes::{ACCOUNT_DELETED, GAME_MAINTENANCE, NOT_READY};
use crate::error::Error;
use crate::game::{GameSettings, GameStatus, UnknownPolicy};
use crate::ids::{GameId, PlayerId, UnixMs};
use crate::normalise::field_error;
use crate::platform::Platform;
use crate::proof::Proof;
use crate::restriction::Who;
use crate::session::revoke::SessionEvidence;
use crate::token::Claims;
use crate::verify::InvalidReason;

/// Most tokens of one batch.
pub const VERIFY_BATCH_MAX: usize = 500;
/// What a caller is told to wait while revocations are being loaded.
const NOT_READY_RETRY_MS: u64 = 1_000;

impl Platform {
    /// `session.verify`: check one token. Never touches a disk, never waits, and is therefore not async.
    #[must_use]
    pub fn session_verify(&self, call: &Call, token: &str, player_id: Option<PlayerId>) -> Verified {
        self.verify_at(call, token, player_id, self.now_at())
    }

    /// `session.verify_batch`: check up to 500 tokens, answers in order.
    ///
    /// # Errors
    /// `request.field_invalid` for more than 500 tokens.
    pub fn session_verify_batch(&self, call: &Call, tokens: &[String]) -> Result<Vec<Verified>, Error> {
        if tokens.len() > VERIFY_BATCH_MAX {
            return Err(field_error("tokens", "has at most 500 entries").with_number("limit", VERIFY_BATCH_MAX as u64));
        }
        let now_at = self.now_at();
        Ok(tokens
            .iter()
            .map(|token| self.verify_at(call, token, None, now_at))
            .collect())
    }

    fn verify_at(&self, call: &Call, token: &str, player_id: Option<PlayerId>, now_at: UnixMs) -> Verified {
        if !self.ready() {
            return self.verify_in_doubt(call, token, player_id, now_at);
        }
        match self.judge(call, token, player_id, now_at) {
            Ok(claims) => self.admit(&claims, now_at),
            Err(proof) => Verified::Invalid(proof),
        }
    }

    /// The answer while revocations are not loaded: nothing is proven either way, and nothing is said that would need a
    /// proof. A game that allows it gets `valid` with `mac_only` for a token whose MAC, game, player and end are good;
    /// everything else is unknown, as the game of an authentic token wants it told.
    fn verify_in_doubt(&self, call: &Call, token: &str, player_id: Option<PlayerId>, now_at: UnixMs) -> Verified {
        let catalogue = self.catalogue();
        // A MAC that does not match proves nothing here: its key may not be loaded yet.
        let claims = catalogue.mac_ring.read_access(token).ok();
        let claims = claims.filter(|claims| allowed_games(call).is_none_or(|games| games.contains(&claims.game_id)));
        let game = claims.as_ref().and_then(|claims| catalogue.games.get(&claims.game_id));
        let (Some(claims), Some(game)) = (claims, game) else {
            return unknown(None);
        };
        let speaks_against = now_at >= claims.expires_at
            || player_id.is_some_and(|expected| expected != claims.player_id)
            || self.proof_of_revocation(&claims).is_some();
        if !game.settings.mac_only || speaks_against {
            return unknown(Some(&game.settings));
        }
        match self.admit(&claims, now_at) {
            Verified::Valid(token) => Verified::Valid(Box::new(ValidToken {
                assurance: Assurance::MacOnly,
                ..*token
            })),
            denied => denied,
        }
    }

    /// Looks for a proof against a token; the first that applies, in the order of [`InvalidReason`].
    fn judge(&self, call: &Call, token: &str, player_id: Option<PlayerId>, now_at: UnixMs) -> Result<Claims, Proof> {
        let claims = self
            .catalogue()
            .mac_ring
            .read_access(token)
            .map_err(Proof::of_decoding)?;
        let proof = allowed_games(call)
            .and_then(|games| Proof::of_game(&claims, games))
            .or_else(|| Proof::of_expiry(&claims, now_at))
            .or_else(|| self.proof_of_revocation(&claims))
            .or_else(|| player_id.and_then(|expected| Proof::of_player(&claims, expected)));
        match proof {
            Some(proof) => Err(proof),
            None => Ok(claims),
        }
    }

    /// The answer to a good token: valid, or denied by a rule.
    fn admit(&self, claims: &Claims, now_at: UnixMs) -> Verified {
        let catalogue = self.catalogue();
        if self.inner.mirrors.deletions().contains(claims.account_id) {
            return Verified::Denied {
                code: ACCOUNT_DELETED.name,
                until_at: None,
                message: None,
            };
        }
        let game = catalogue.games.get(&claims.game_id);
        if game.is_some_and(|game| game.settings.status == GameStatus::Maintenance) {
            return Verified::Denied {
                code: GAME_MAINTENANCE.name,
                until_at: None,
                message: None,
            };
        }
        let who = Who {
            account: Some(claims.account_id),
            player: Some((claims.game_id, claims.player_id)),
            ..Who::default()
        };
        let restrictions = self.inner.mirrors.restrictions();
        if let Some(held) = restrictions.forbids(who, Action::Login, claims.game_id, now_at) {
            return Verified::Denied {
                code: crate::codes::ACCOUNT_RESTRICTED.name,
                until_at: held.row.until_at,
                message: held.row.message.clone(),
            };
        }
        let package = catalogue.packages.get(&claims.package_id);
        Verified::Valid(Box::new(ValidToken {
            player_id: claims.player_id,
            account_id: claims.account_id,
            game_id: claims.game_id,
            session_id: claims.session_id,
            package_id: claims.package_id,
            channel_id: package.map(|package| package.channel_id.clone()).unwrap_or_default(),
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            assurance: Assurance::Full,
            restrictions: restrictions.to_enforce(who, claims.game_id, now_at),
        }))
    }

    /// `session.verify_recheck`: reads the store again for a token that was answered, and counts a contradiction:
    /// called valid although a durable record older than the answer revokes it, or called revoked without one. Called
    /// in the background for a sample.
    ///
    /// # Errors
    /// Our own trouble; nothing is counted then.
    pub async fn session_verify_recheck(&self, token: &str, answer: &Verified) -> Result<(), Error> {
        let Some(claims) = self.authentic(token) else {
            return Ok(());
        };
        let answered_at = self.now_at();
        let evidence = self.query(move |view| SessionEvidence::read(view, &claims)).await?;
        let contradicted = match answer {
            Verified::Valid(_) => evidence.revoked_before(answered_at) && self.proof_of_revocation(&claims).is_none(),
            Verified::Invalid(proof) => match proof.reason() {
                InvalidReason::Replaced | InvalidReason::Revoked => !evidence.is_revoked(),
                InvalidReason::Expired => answered_at < claims.expires_at,
                InvalidReason::Malformed | InvalidReason::Forged => true,
                InvalidReason::WrongGame | InvalidReason::PlayerMismatch => false,
            },
            Verified::Denied { .. } | Verified::Unknown { .. } => false,
        };
        if contradicted {
            self.inner
                .tally
                .verify_contradicted
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The games a server key may ask about; `None` for callers without such a limit.
fn allowed_games(call: &Call) -> Option<&[GameId]> {
    match &call.caller {
        Caller::Server { games, .. } => Some(games),
        Caller::Client | Caller::Operator { .. } | Caller::Platform => None,
    }
}

fn unknown(settings: Option<&GameSettings>) -> Verified {
    // A build that is wrong on purpose, so that the suite of faults can prove that it would notice.
    #[cfg(test)]
    if let Some(verdict) = super::faults::wrong_verdict() {
        return verdict;
    }
    Verified::Unknown {
        code: NOT_READY.name,
        retry_after_ms: NOT_READY_RETRY_MS,
        policy: settings.map_or(UnknownPolicy::default(), |settings| settings.unknown_policy),
        hold_ms: settings.map_or(0, |settings| settings.unknown_hold_ms),
    }
}
