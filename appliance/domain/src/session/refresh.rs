//! `session.refresh`: exchange a refresh token for the next pair.
//!
//! The generation in the token against the one in the row decides: equal rotates; above it, or no row at all, proves
//! that the end of the journal was lost, and is accepted; one below within the grace period is a lost reply and gets
//! the same successor again; anything older is reuse, and revokes the session.

use seawall_storage::Tx;

use super::revoke::{revoke_session, revoked_in};
use super::tokens::proven;
use crate::account::Action;
use crate::account::restrict::refuse_in;
use crate::auth_log::AuthNote;
use crate::call::Call;
use crate::codes::{ACCOUNT_DELETED, IDEMPOTENCY_MISMATCH, NOT_READY, REFRESH_INVALID, REFRESH_REUSED};
use crate::error::Error;
use crate::game::GameSettings;
use crate::idempotency::{Remembered, recall_in, remember_in};
use crate::ids::UnixMs;
use crate::platform::{Platform, defect};
use crate::proof::Proof;
use crate::revocation::Revocation;
use crate::session::Refreshed;
use crate::tables::account::ACCOUNTS;
use crate::tables::restriction::SubjectRow;
use crate::tables::session::{Effect, PairFacts, SESSIONS, SessionRow};
use crate::token::Claims;

/// What a refresh came to. A reuse writes a revocation, so it is no error of the transaction.
enum Outcome {
    Pair(PairFacts, UnixMs),
    Reused,
}

/// A refresh as the transaction sees it.
#[derive(Clone)]
struct Attempt {
    claims: Claims,
    generation: u32,
    settings: GameSettings,
    mac_key_id: u16,
    remembered: Option<Remembered>,
}

impl Platform {
    /// `session.refresh`: exchange a refresh token for the next pair.
    ///
    /// # Errors
    /// `refresh.invalid` with its `reason`, `refresh.reused`, `account.restricted`, `account.deleted`, or our own
    /// trouble.
    pub async fn session_refresh(&self, call: &Call, refresh_token: &str) -> Result<Refreshed, Error> {
        let mut note = AuthNote::new("session.refresh");
        let result = self.refresh(call, refresh_token, &mut note).await;
        self.auth_note(call, &note, result.as_ref().err());
        result
    }

    async fn refresh(&self, call: &Call, refresh_token: &str, note: &mut AuthNote) -> Result<Refreshed, Error> {
        let (claims, generation) = self.read_refresh(refresh_token)?;
        note.of_claims(&claims);
        let remembered = self.remembered(call, "session.refresh", claims.game_id, &claims.session_id.to_string())?;
        let attempt = {
            let catalogue = self.catalogue();
            let settings = catalogue.game(claims.game_id)?.settings.clone();
            let mac_key_id = catalogue
                .mac_ring
                .newest()
                .ok_or_else(|| NOT_READY.error().retry_after_ms(1_000))?;
            Attempt {
                claims,
                generation,
                settings,
                mac_key_id,
                remembered,
            }
        };
        match self
            .commit_while_awaited(call, "session.refresh", move |tx| refresh_in(tx, &attempt))
            .await?
        {
            Outcome::Pair(pair, server_time_at) => Ok(Refreshed {
                player_id: pair.player_id,
                session: self.tokens(&pair)?,
                reconnect_spread_ms: self.reconnect_spread_ms(pair.game_id).unwrap_or(0),
                server_time_at,
            }),
            Outcome::Reused => Err(REFRESH_REUSED.error()),
        }
    }
}

fn refresh_in(tx: &mut Tx<'_>, attempt: &Attempt) -> Result<Outcome, Error> {
    if let Some(row) = recall_in(tx, attempt.remembered)? {
        let Effect::Refresh { pair } = row.effect else {
            return Err(IDEMPOTENCY_MISMATCH.error());
        };
        return Ok(Outcome::Pair(pair, row.done_at));
    }
    let (claims, now_at) = (&attempt.claims, tx.now_at());
    if let Some(proof) = Proof::of_expiry(claims, now_at) {
        return Err(proven(REFRESH_INVALID.error(), proof));
    }
    let row = tx.get(&SESSIONS, &claims.session_id)?;
    if let Some(revocation) = revoked_in(
        tx,
        claims.session_id,
        row.as_ref(),
        claims.account_id,
        claims.game_id,
        claims.player_id,
    )? {
        return Err(proven(REFRESH_INVALID.error(), Proof::of_revocation(revocation)));
    }
    refuse_account(tx, claims)?;
    let row = row.unwrap_or_else(|| rebuilt(attempt));
    if row.account_id != claims.account_id || row.player_id != claims.player_id {
        return Err(defect("A session id was given out twice"));
    }
    if attempt.generation >= row.generation {
        return rotate(tx, attempt, row);
    }
    let lost_reply = attempt.generation + 1 == row.generation
        && now_at.saturating_sub(row.issued_at) <= attempt.settings.refresh_grace_ms;
    if lost_reply {
        return Ok(Outcome::Pair(row.pair(claims.session_id), now_at));
    }
    revoke_session(tx, claims.session_id, row, Revocation::Revoked)?;
    Ok(Outcome::Reused)
}

fn refuse_account(tx: &mut Tx<'_>, claims: &Claims) -> Result<(), Error> {
    refuse_in(
        tx,
        &SubjectRow::Account(claims.account_id),
        Action::Login,
        claims.game_id,
    )?;
    refuse_in(
        tx,
        &SubjectRow::Player(claims.game_id, claims.player_id),
        Action::Login,
        claims.game_id,
    )?;
    // A lost tail may have taken the account's row along; only a row that says so denies.
    match tx.get(&ACCOUNTS, &claims.account_id)? {
        Some(account) if account.is_deleted => Err(ACCOUNT_DELETED.error()),
        _ => Ok(()),
    }
}

fn rotate(tx: &mut Tx<'_>, attempt: &Attempt, row: SessionRow) -> Result<Outcome, Error> {
    let now_at = tx.now_at();
    let access_expires_at = now_at + attempt.settings.access_token_ms;
    let next = SessionRow {
        refresh_expires_at: now_at + attempt.settings.refresh_token_ms,
        mac_key_id: attempt.mac_key_id,
        generation: attempt.generation.saturating_add(1),
        issued_at: now_at,
        access_expires_at,
        access_until_at: row.access_until_at.max(access_expires_at),
        ..row
    };
    let id = attempt.claims.session_id;
    tx.raise_counter("session", id.0)?;
    tx.put(&SESSIONS, &id, &next)?;
    let pair = next.pair(id);
    remember_in(tx, attempt.remembered, Effect::Refresh { pair })?;
    Ok(Outcome::Pair(pair, now_at))
}

/// The row of a session whose login was lost with the end of the journal, from its token. Earlier access tokens may
/// live as long as the longest any game allows.
fn rebuilt(attempt: &Attempt) -> SessionRow {
    let claims = &attempt.claims;
    SessionRow {
        refresh_expires_at: claims.expires_at,
        account_id: claims.account_id,
        game_id: claims.game_id,
        player_id: claims.player_id,
        package_id: claims.package_id,
        device: [0; 16],
        device_label: String::new(),
        mac_key_id: claims.mac_key_id,
        generation: attempt.generation,
        created_at: claims.issued_at,
        issued_at: claims.issued_at,
        access_expires_at: claims.issued_at,
        access_until_at: claims.issued_at + crate::game::ACCESS_TOKEN_MS.end(),
        revoked: None,
    }
}
