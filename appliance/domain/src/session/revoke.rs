//! Writing revocations. A session is revoked by a record of its own; an account or player by a bound on session ids,
//! which rise in the order of commits, so that no clock decides what came before what.

use seawall_storage::{ReadError, Span, Tx, View};

use crate::error::Error;
use crate::game::REFRESH_TOKEN_MS;
use crate::ids::{AccountId, GameId, PlayerId, SessionId, UnixMs};
use crate::revocation::Revocation;
use crate::tables::session::{
    ACCOUNT_REVOCATIONS, PLAYER_REVOCATIONS, SESSION_REVOCATIONS, SESSIONS, SESSIONS_BY_ACCOUNT, SessionRevocationRow,
    SessionRow, SubjectRevocationRow,
};
use crate::token::Claims;

/// Sessions whose rows are marked when a whole account is revoked, newest first. The bound covers the others as well;
/// marking them keeps lists and counts right.
const MARKED_MAX: usize = 1_000;

/// Revokes one session. The row stays until its refresh token ends, to tell a late refresh why.
pub(crate) fn revoke_session(
    tx: &mut Tx<'_>,
    id: SessionId,
    mut row: SessionRow,
    reason: Revocation,
) -> Result<(), Error> {
    let now_at = tx.now_at();
    row.revoked = Some((reason, now_at));
    if now_at < row.access_until_at {
        tx.put(
            &SESSION_REVOCATIONS,
            &id,
            &SessionRevocationRow {
                expires_at: row.access_until_at,
                reason,
            },
        )?;
    }
    Ok(tx.put(&SESSIONS, &id, &row)?)
}

/// Revokes every session an account has now, but for `except`; answers how many were live.
pub(crate) fn revoke_account(tx: &mut Tx<'_>, account: AccountId, except: Option<SessionId>) -> Result<u32, Error> {
    let bound = bound(tx, except)?;
    tx.put(&ACCOUNT_REVOCATIONS, &account, &bound)?;
    mark(tx, &Span::prefix(&account), except, None)
}

/// Revokes every session a player has now; answers how many were live.
pub(crate) fn revoke_player(tx: &mut Tx<'_>, game: GameId, player: PlayerId, account: AccountId) -> Result<u32, Error> {
    let bound = bound(tx, None)?;
    tx.put(&PLAYER_REVOCATIONS, &(game, player), &bound)?;
    mark(tx, &Span::prefix(&(account, game)), None, Some(player))
}

fn bound(tx: &mut Tx<'_>, except_session: Option<SessionId>) -> Result<SubjectRevocationRow, Error> {
    let now_at = tx.now_at();
    Ok(SubjectRevocationRow {
        // No refresh token lives longer, so nothing under the bound can come back after it.
        expires_at: now_at + REFRESH_TOKEN_MS.end(),
        through_session: SessionId(tx.next_id("session")?),
        except_session,
        not_before_at: now_at,
    })
}

fn mark(tx: &mut Tx<'_>, sessions: &Span, except: Option<SessionId>, player: Option<PlayerId>) -> Result<u32, Error> {
    let now_at = tx.now_at();
    let mut live = 0;
    for id in tx.index(&SESSIONS_BY_ACCOUNT, &sessions.clone().backward(), MARKED_MAX)? {
        let Some(row) = tx.get(&SESSIONS, &id)? else { continue };
        if Some(id) == except || player.is_some_and(|player| player != row.player_id) {
            continue;
        }
        live += u32::from(now_at < row.refresh_expires_at);
        // The bound is the proof; the row only says so.
        tx.put(
            &SESSIONS,
            &id,
            &SessionRow {
                revoked: Some((Revocation::Revoked, now_at)),
                ..row
            },
        )?;
    }
    Ok(live)
}

/// Why a session may not be continued, if it may not: its own row, or a bound on its account or player.
pub(crate) fn revoked_in(
    tx: &mut Tx<'_>,
    id: SessionId,
    row: Option<&SessionRow>,
    account: AccountId,
    game: GameId,
    player: PlayerId,
) -> Result<Option<Revocation>, Error> {
    if let Some((reason, _)) = row.and_then(|row| row.revoked) {
        return Ok(Some(reason));
    }
    let covers = |bound: &SubjectRevocationRow| id <= bound.through_session && Some(id) != bound.except_session;
    let own = tx.get(&SESSION_REVOCATIONS, &id)?.map(|record| record.reason);
    let by_account = tx
        .get(&ACCOUNT_REVOCATIONS, &account)?
        .filter(covers)
        .map(|_| Revocation::Revoked);
    let by_player = tx
        .get(&PLAYER_REVOCATIONS, &(game, player))?
        .filter(covers)
        .map(|_| Revocation::Revoked);
    Ok(own.or(by_account).or(by_player))
}

/// What the store itself says about a session; for the re-reading of verify answers.
pub(crate) struct SessionEvidence {
    revoked_at: Option<UnixMs>,
}

impl SessionEvidence {
    /// Reads row and records of the session a token names.
    pub(crate) fn read(view: &View<'_>, claims: &Claims) -> Result<Self, ReadError> {
        let id = claims.session_id;
        let covers = |bound: &SubjectRevocationRow| id <= bound.through_session && Some(id) != bound.except_session;
        let own = view.get(&SESSIONS, &id)?.and_then(|row| row.revoked).map(|(_, at)| at);
        let record = view.get(&SESSION_REVOCATIONS, &id)?.map(|_| 0);
        let account = view
            .get(&ACCOUNT_REVOCATIONS, &claims.account_id)?
            .filter(covers)
            .map(|bound| bound.not_before_at);
        let player = view
            .get(&PLAYER_REVOCATIONS, &(claims.game_id, claims.player_id))?
            .filter(covers)
            .map(|bound| bound.not_before_at);
        Ok(Self {
            revoked_at: own.or(record).or(account).or(player),
        })
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked_at.is_some()
    }

    pub(crate) fn revoked_before(&self, at: UnixMs) -> bool {
        self.revoked_at.is_some_and(|revoked_at| revoked_at < at)
    }
}
