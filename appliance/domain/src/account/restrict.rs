//! `account.restrict`, `account.lift`, and the look inside transactions whether somebody may do something.

use seawall_storage::{Span, Tx};

use super::{Action, Restrict, RestrictionView, Subject};
use crate::auth_log::AuthNote;
use crate::call::Call;
use crate::codes::{ACCOUNT_UNKNOWN, GAME_UNKNOWN, RESTRICTION_UNKNOWN};
use crate::error::Error;
use crate::ids::{AccountId, GameId};
use crate::normalise::field_error;
use crate::platform::Platform;
use crate::restriction::{Held, parse_range, view};
use crate::tables::account::{ACCOUNTS, PLAYERS};
use crate::tables::catalogue::GAMES;
use crate::tables::restriction::{RESTRICTIONS, RESTRICTIONS_BY_SUBJECT, RestrictionRow, SubjectRow};

/// Longest reason code, in characters.
pub const REASON_MAX_CHARS: usize = 64;
/// Longest message, in bytes.
pub const MESSAGE_MAX_BYTES: usize = 512;
/// Longest ticket, in bytes.
pub const TICKET_MAX_BYTES: usize = 128;
/// Restrictions of one subject that a transaction looks at, newest first.
const LOOKED_AT_MAX: usize = 100;

impl Platform {
    /// `account.restrict`, for operators.
    ///
    /// # Errors
    /// `request.field_invalid`, `account.unknown`, `game.unknown`, or our own trouble.
    pub async fn account_restrict(&self, call: &Call, command: Restrict) -> Result<RestrictionView, Error> {
        check(&command)?;
        let subject = subject_row(&command.subject)?;
        let created_by = call.caller.to_string();
        let made = self
            .commit(call, "account.restrict", move |tx| {
                restrict_in(tx, &command, &subject, &created_by)
            })
            .await;
        let (account, made) = split(made);
        self.auth_note_durable(
            call,
            &AuthNote {
                account,
                ..AuthNote::new("account.restrict")
            },
            made.as_ref().err(),
        )
        .await?;
        made
    }

    /// `account.lift`: end a restriction now.
    ///
    /// # Errors
    /// `restriction.unknown`, or our own trouble.
    pub async fn account_lift(&self, call: &Call, restriction_id: u64) -> Result<RestrictionView, Error> {
        let lifted = self
            .commit(call, "account.lift", move |tx| {
                let mut row = tx
                    .get(&RESTRICTIONS, &restriction_id)?
                    .ok_or_else(|| RESTRICTION_UNKNOWN.error())?;
                let now_at = tx.now_at();
                row.until_at = Some(row.until_at.map_or(now_at, |until| until.min(now_at)));
                tx.put(&RESTRICTIONS, &restriction_id, &row)?;
                Ok((account_of_subject(tx, &row.subject)?, view(restriction_id, &row)))
            })
            .await;
        let (account, lifted) = split(lifted);
        self.auth_note_durable(
            call,
            &AuthNote {
                account,
                ..AuthNote::new("account.lift")
            },
            lifted.as_ref().err(),
        )
        .await?;
        lifted
    }
}

type Noted = (Option<AccountId>, RestrictionView);

fn split(result: Result<Noted, Error>) -> (Option<AccountId>, Result<RestrictionView, Error>) {
    match result {
        Ok((account, view)) => (account, Ok(view)),
        Err(error) => (None, Err(error)),
    }
}

fn restrict_in(tx: &mut Tx<'_>, command: &Restrict, subject: &SubjectRow, created_by: &str) -> Result<Noted, Error> {
    if let Some(game) = command.game_id
        && !tx.exists(&GAMES, &game)?
    {
        return Err(GAME_UNKNOWN.error());
    }
    let account = account_of_subject(tx, subject)?;
    if account.is_none() && matches!(subject, SubjectRow::Account(_) | SubjectRow::Player(..)) {
        return Err(ACCOUNT_UNKNOWN.error());
    }
    let now_at = tx.now_at();
    let row = RestrictionRow {
        subject: subject.clone(),
        action: command.action,
        game_id: command.game_id,
        from_at: command.from_at.unwrap_or(now_at),
        until_at: command.until_at,
        reason: command.reason.clone(),
        message: command.message.clone(),
        ticket: command.ticket.clone(),
        created_at: now_at,
        created_by: created_by.to_owned(),
    };
    let id = put_restriction(tx, &row)?;
    Ok((account, view(id, &row)))
}

/// Writes a new restriction and answers its id.
pub(crate) fn put_restriction(tx: &mut Tx<'_>, row: &RestrictionRow) -> Result<u64, Error> {
    let id = tx.next_id("restriction")?;
    tx.put(&RESTRICTIONS, &id, row)?;
    Ok(id)
}

fn account_of_subject(tx: &mut Tx<'_>, subject: &SubjectRow) -> Result<Option<AccountId>, Error> {
    Ok(match subject {
        SubjectRow::Account(account) => tx.exists(&ACCOUNTS, account)?.then_some(*account),
        SubjectRow::Player(game, player) => tx.get(&PLAYERS, &(*game, *player))?.map(|row| row.account_id),
        SubjectRow::Device(_) | SubjectRow::IpRange(..) => None,
    })
}

/// Refuses when a restriction on `subject` forbids `action` in `game` now.
pub(crate) fn refuse_in(tx: &mut Tx<'_>, subject: &SubjectRow, action: Action, game: GameId) -> Result<(), Error> {
    let now_at = tx.now_at();
    for (id, row) in restrictions_in(tx, subject)? {
        let held = Held { id, row };
        if held.row.action == action && held.in_force(game, now_at) {
            return Err(held.refusal());
        }
    }
    Ok(())
}

/// Restrictions of one subject, newest first.
pub(crate) fn restrictions_in(tx: &mut Tx<'_>, subject: &SubjectRow) -> Result<Vec<(u64, RestrictionRow)>, Error> {
    let mut rows = Vec::new();
    for id in tx.index(
        &RESTRICTIONS_BY_SUBJECT,
        &Span::prefix(&subject.digest()).backward(),
        LOOKED_AT_MAX,
    )? {
        rows.extend(tx.get(&RESTRICTIONS, &id)?.map(|row| (id, row)));
    }
    Ok(rows)
}

fn subject_row(subject: &Subject) -> Result<SubjectRow, Error> {
    Ok(match subject {
        Subject::Account { account_id } => SubjectRow::Account(*account_id),
        Subject::Player { game_id, player_id } => SubjectRow::Player(*game_id, *player_id),
        Subject::Device { device_id } => {
            if device_id.len() != 32 || !device_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(field_error("subject.device_id", "has 32 lower-case hex digits"));
            }
            SubjectRow::Device(device_id.clone())
        }
        Subject::IpRange { range } => {
            let (first, bits) = parse_range(range)
                .ok_or_else(|| field_error("subject.range", "is an address or a range like 192.0.2.0/24"))?;
            SubjectRow::IpRange(first, bits)
        }
    })
}

fn check(command: &Restrict) -> Result<(), Error> {
    let reason = &command.reason;
    if !(1..=REASON_MAX_CHARS).contains(&reason.len())
        || !reason
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))
    {
        return Err(field_error("reason", "has 1 to 64 characters of a-z, 0-9, _ and ."));
    }
    if command
        .message
        .as_ref()
        .is_some_and(|text| text.len() > MESSAGE_MAX_BYTES)
    {
        return Err(field_error("message", "has at most 512 bytes"));
    }
    if command
        .ticket
        .as_ref()
        .is_some_and(|text| text.len() > TICKET_MAX_BYTES)
    {
        return Err(field_error("ticket", "has at most 128 bytes"));
    }
    match (command.from_at, command.until_at) {
        (Some(from), Some(until)) if until <= from => Err(field_error("until_at", "is after from_at")),
        _ => Ok(()),
    }
}
