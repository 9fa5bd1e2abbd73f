//! `session.logout`, `account.logout`, `player.logout`.

use seawall_storage::Tx;

use super::revoke::{revoke_account, revoke_player, revoke_session};
use crate::account::AccountRef;
use crate::auth_log::AuthNote;
use crate::call::{Call, Caller};
use crate::codes::{ACCOUNT_UNKNOWN, GAME_FORBIDDEN, IDEMPOTENCY_MISMATCH};
use crate::error::Error;
use crate::idempotency::{Remembered, recall_in, remember_in};
use crate::ids::{AccountId, GameId, PlayerId, UnixMs};
use crate::platform::Platform;
use crate::revocation::Revocation;
use crate::tables::account::PLAYERS;
use crate::tables::session::{Effect, SESSIONS, SessionRow};
use crate::token::Claims;

impl Platform {
    /// `session.logout`: revoke the bearer's session, or all sessions of the account. Answers the server time.
    ///
    /// # Errors
    /// `session.invalid` with its `reason`, `idempotency.mismatch`, or our own trouble.
    pub async fn session_logout(&self, call: &Call, bearer: &str, everywhere: bool) -> Result<UnixMs, Error> {
        let mut note = AuthNote::new("session.logout");
        let result = self.log_out(call, bearer, everywhere, &mut note).await;
        self.auth_note(call, &note, result.as_ref().err());
        result
    }

    async fn log_out(&self, call: &Call, bearer: &str, everywhere: bool, note: &mut AuthNote) -> Result<UnixMs, Error> {
        // The repeat of a logout comes with a token that is revoked by now, so what was done is looked for first.
        let remembered = match self.authentic(bearer) {
            Some(claims) => self.remembered(call, "session.logout", claims.game_id, &claims.session_id.to_string())?,
            None => None,
        };
        if let Some(row) = self.recall(remembered).await? {
            return Ok(row.done_at);
        }
        let claims = self.bearer(call, bearer)?;
        note.of_claims(&claims);
        self.commit(call, "session.logout", move |tx| {
            log_out_in(tx, &claims, everywhere, remembered)
        })
        .await
    }

    /// `account.logout`, for operators: revoke every session of an account; answers how many were live.
    ///
    /// # Errors
    /// `account.unknown`, or our own trouble.
    pub async fn account_logout(&self, call: &Call, account: AccountRef) -> Result<u32, Error> {
        let account_id = self.account_of(&account).await?;
        let live = self
            .commit(call, "account.logout", move |tx| revoke_account(tx, account_id, None))
            .await;
        self.auth_note_durable(
            call,
            &AuthNote {
                account: Some(account_id),
                ..AuthNote::new("account.logout")
            },
            live.as_ref().err(),
        )
        .await?;
        live
    }

    /// `player.logout`, for game servers (Idempotency-Key required): revoke every session of a player of theirs.
    ///
    /// # Errors
    /// `idempotency.required`, `idempotency.mismatch`, `game.forbidden`, `account.unknown`, or our own trouble.
    pub async fn player_logout(&self, call: &Call, game_id: GameId, player_id: PlayerId) -> Result<u32, Error> {
        if let Caller::Server { games, .. } = &call.caller
            && !games.contains(&game_id)
        {
            return Err(GAME_FORBIDDEN.error());
        }
        let remembered = self.remembered_required(call, "player.logout", game_id, &call.caller.to_string())?;
        let done = self
            .commit(call, "player.logout", move |tx| {
                player_logout_in(tx, game_id, player_id, remembered)
            })
            .await;
        let account = done.as_ref().ok().map(|(account, _)| *account);
        let note = AuthNote {
            account,
            game: Some(game_id),
            player: Some(player_id),
            ..AuthNote::new("player.logout")
        };
        self.auth_note(call, &note, done.as_ref().err());
        done.map(|(_, live)| live)
    }
}

fn log_out_in(
    tx: &mut Tx<'_>,
    claims: &Claims,
    everywhere: bool,
    remembered: Option<Remembered>,
) -> Result<UnixMs, Error> {
    if let Some(row) = recall_in(tx, remembered)? {
        return Ok(row.done_at);
    }
    if everywhere {
        revoke_account(tx, claims.account_id, None)?;
    } else {
        let row = tx.get(&SESSIONS, &claims.session_id)?.unwrap_or_else(|| lost(claims));
        revoke_session(tx, claims.session_id, row, Revocation::Revoked)?;
    }
    remember_in(tx, remembered, Effect::Done { count: 0 })?;
    Ok(tx.now_at())
}

fn player_logout_in(
    tx: &mut Tx<'_>,
    game: GameId,
    player: PlayerId,
    remembered: Option<Remembered>,
) -> Result<(AccountId, u32), Error> {
    let earlier = recall_in(tx, remembered)?;
    let row = tx
        .get(&PLAYERS, &(game, player))?
        .ok_or_else(|| ACCOUNT_UNKNOWN.because("No such player in this game."))?;
    if let Some(earlier) = earlier {
        let Effect::Done { count } = earlier.effect else {
            return Err(IDEMPOTENCY_MISMATCH.error());
        };
        return Ok((row.account_id, u32::try_from(count).unwrap_or(u32::MAX)));
    }
    let live = revoke_player(tx, game, player, row.account_id)?;
    remember_in(tx, remembered, Effect::Done { count: u64::from(live) })?;
    Ok((row.account_id, live))
}

/// The row of a session that was lost with the end of the journal, as far as its access token tells it.
fn lost(claims: &Claims) -> SessionRow {
    SessionRow {
        refresh_expires_at: claims.issued_at + crate::game::REFRESH_TOKEN_MS.end(),
        account_id: claims.account_id,
        game_id: claims.game_id,
        player_id: claims.player_id,
        package_id: claims.package_id,
        device: [0; 16],
        device_label: String::new(),
        mac_key_id: claims.mac_key_id,
        generation: 0,
        created_at: claims.issued_at,
        issued_at: claims.issued_at,
        access_expires_at: claims.expires_at,
        access_until_at: claims.expires_at,
        revoked: None,
    }
}
