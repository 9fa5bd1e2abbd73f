//! Opening a session inside a transaction: player, device, the game's session policy, the row.

use seawall_storage::{Span, Tx};

use super::entry::Entry;
use super::revoke::revoke_session;
use crate::account::Action;
use crate::account::restrict::refuse_in;
use crate::codes::SESSION_LIMIT;
use crate::device::device_seen;
use crate::error::Error;
use crate::game::SessionPolicy;
use crate::ids::{AccountId, PlayerId, SessionId, UnixMs};
use crate::revocation::Revocation;
use crate::tables::account::{AccountRow, PLAYERS, PLAYERS_BY_ACCOUNT, PlayerRow};
use crate::tables::restriction::SubjectRow;
use crate::tables::session::{PairFacts, SESSIONS, SESSIONS_BY_ACCOUNT, SessionRow};

/// Sessions an account may have open in one game, whatever the policy; beyond it the oldest is replaced.
pub const SESSIONS_OPEN_MAX: usize = 100;

/// An opened session.
pub(crate) struct Opened {
    pub(crate) pair: PairFacts,
    pub(crate) is_new_player: bool,
}

/// Opens a session for an account: finds or makes its player, honours restrictions, the device limit and the session
/// policy.
pub(crate) fn open_session(
    tx: &mut Tx<'_>,
    entry: &Entry,
    account_id: AccountId,
    account: &AccountRow,
) -> Result<Opened, Error> {
    refuse_in(tx, &SubjectRow::Account(account_id), Action::Login, entry.game_id)?;
    let (player_id, is_new_player) = enter_game(tx, entry, account_id, account)?;
    if !is_new_player {
        refuse_in(
            tx,
            &SubjectRow::Player(entry.game_id, player_id),
            Action::Login,
            entry.game_id,
        )?;
    }
    device_seen(
        tx,
        account_id,
        entry.game_id,
        entry.device,
        &entry.device_row,
        entry.settings.device_limit,
    )?;
    apply_policy(tx, entry, account_id)?;
    let session_id = SessionId(tx.next_id("session")?);
    let row = session_row(entry, account_id, player_id, tx.now_at());
    tx.put(&SESSIONS, &session_id, &row)?;
    Ok(Opened {
        pair: row.pair(session_id),
        is_new_player,
    })
}

fn session_row(entry: &Entry, account_id: AccountId, player_id: PlayerId, now_at: UnixMs) -> SessionRow {
    let access_expires_at = now_at + entry.settings.access_token_ms;
    SessionRow {
        refresh_expires_at: now_at + entry.settings.refresh_token_ms,
        account_id,
        game_id: entry.game_id,
        player_id,
        package_id: entry.package_id,
        device: entry.device,
        device_label: format!("{} {}", entry.device_row.brand, entry.device_row.model)
            .trim()
            .to_owned(),
        mac_key_id: entry.mac_key_id,
        generation: 0,
        created_at: now_at,
        issued_at: now_at,
        access_expires_at,
        access_until_at: access_expires_at,
        revoked: None,
    }
}

/// The account's player in the game; a taken-over account keeps its uid as player id unless somebody has it.
fn enter_game(
    tx: &mut Tx<'_>,
    entry: &Entry,
    account_id: AccountId,
    account: &AccountRow,
) -> Result<(PlayerId, bool), Error> {
    let known = tx.index(&PLAYERS_BY_ACCOUNT, &Span::prefix(&(account_id, entry.game_id)), 1)?;
    if let Some((_, player_id)) = known.first() {
        return Ok((*player_id, false));
    }
    let uid = account
        .imported
        .as_ref()
        .filter(|imported| imported.uid_is_player_id)
        .map(|imported| PlayerId(imported.uid));
    let player_id = match uid {
        Some(uid) if !tx.exists(&PLAYERS, &(entry.game_id, uid))? => uid,
        _ => PlayerId(tx.next_id("id")?),
    };
    tx.put(
        &PLAYERS,
        &(entry.game_id, player_id),
        &PlayerRow {
            account_id,
            slot: 0,
            created_at: tx.now_at(),
        },
    )?;
    Ok((player_id, true))
}

/// Sessions of an account in a game that could still be used, oldest first.
fn open_sessions(tx: &mut Tx<'_>, entry: &Entry, account_id: AccountId) -> Result<Vec<(SessionId, SessionRow)>, Error> {
    let ids = tx.index(
        &SESSIONS_BY_ACCOUNT,
        &Span::prefix(&(account_id, entry.game_id)),
        SESSIONS_OPEN_MAX + 1,
    )?;
    let now_at = tx.now_at();
    let mut open = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(row) = tx.get(&SESSIONS, &id)?
            && now_at < row.refresh_expires_at
        {
            open.push((id, row));
        }
    }
    Ok(open)
}

fn apply_policy(tx: &mut Tx<'_>, entry: &Entry, account_id: AccountId) -> Result<(), Error> {
    let open = open_sessions(tx, entry, account_id)?;
    let now_at = tx.now_at();
    let replaced = match entry.settings.session_policy {
        SessionPolicy::Replace => open.len(),
        // The same device comes back: it lost its tokens and must not be locked out by its own session.
        SessionPolicy::Refuse => {
            let elsewhere = |row: &SessionRow| row.device != entry.device && now_at < row.access_expires_at;
            if open.iter().any(|(_, row)| elsewhere(row)) {
                return Err(SESSION_LIMIT.error());
            }
            open.len()
        }
        SessionPolicy::Both => (open.len() + 1).saturating_sub(SESSIONS_OPEN_MAX),
    };
    for (id, row) in open.into_iter().take(replaced) {
        revoke_session(tx, id, row, Revocation::Replaced)?;
    }
    Ok(())
}
