//! `session.list` and `device.list`: what a player sees of where the account is in use.

use seawall_storage::{ReadError, Span, View};

use crate::call::Call;
use crate::device::device_id;
use crate::error::Error;
use crate::ids::{AccountId, GameId, SessionId, UnixMs};
use crate::platform::Platform;
use crate::session::{DeviceEntry, SessionEntry};
use crate::tables::account::{DEVICES, DeviceHash, DeviceRow};
use crate::tables::session::{SESSIONS, SESSIONS_BY_ACCOUNT};

/// Most entries of a list.
pub const LIST_MAX: usize = 100;
/// Device rows looked at for a list: all games of an account.
const DEVICE_ROWS_MAX: usize = 2_000;

impl Platform {
    /// `session.list`: live sessions of the bearer's account, newest first, at most 100.
    ///
    /// # Errors
    /// `session.invalid` with its `reason`, or our own trouble.
    pub async fn session_list(&self, call: &Call, bearer: &str) -> Result<(Vec<SessionEntry>, UnixMs), Error> {
        let claims = self.bearer(call, bearer)?;
        let now_at = self.now_at();
        let entries = self
            .query(move |view| live_sessions(view, claims.account_id, Some(claims.session_id), now_at))
            .await?;
        Ok((entries, now_at))
    }

    /// `device.list`: devices of the bearer's account, newest first, at most 100.
    ///
    /// # Errors
    /// `session.invalid` with its `reason`, or our own trouble.
    pub async fn device_list(&self, call: &Call, bearer: &str) -> Result<(Vec<DeviceEntry>, UnixMs), Error> {
        let claims = self.bearer(call, bearer)?;
        let devices = self.query(move |view| devices(view, claims.account_id)).await?;
        Ok((devices, self.now_at()))
    }
}

/// Live sessions of an account in all games, newest first.
pub(crate) fn live_sessions(
    view: &View<'_>,
    account: AccountId,
    current: Option<SessionId>,
    now_at: UnixMs,
) -> Result<Vec<SessionEntry>, ReadError> {
    let ids = view.index(&SESSIONS_BY_ACCOUNT, &Span::prefix(&account), DEVICE_ROWS_MAX)?;
    let mut ids = ids.rows;
    ids.sort_by(|a: &SessionId, b| b.cmp(a));
    let mut entries = Vec::new();
    for session_id in ids {
        let Some(row) = view.get(&SESSIONS, &session_id)? else {
            continue;
        };
        if row.refresh_expires_at <= now_at {
            continue;
        }
        entries.push(SessionEntry {
            session_id,
            game_id: row.game_id,
            player_id: row.player_id,
            device: row.device_label,
            created_at: row.created_at,
            refreshed_at: row.issued_at,
            refresh_expires_at: row.refresh_expires_at,
            is_current: current == Some(session_id),
        });
        if entries.len() == LIST_MAX {
            break;
        }
    }
    Ok(entries)
}

/// Devices of an account, those of several games merged, last used first.
fn devices(view: &View<'_>, account: AccountId) -> Result<Vec<DeviceEntry>, ReadError> {
    let rows: Vec<((AccountId, GameId, DeviceHash), DeviceRow)> =
        view.scan(&DEVICES, &Span::prefix(&account), DEVICE_ROWS_MAX)?.rows;
    let mut entries: std::collections::BTreeMap<DeviceHash, DeviceEntry> = std::collections::BTreeMap::new();
    for ((_, _, hash), row) in rows {
        let entry = entries.entry(hash).or_insert_with(|| DeviceEntry {
            device_id: device_id(&hash),
            brand: String::new(),
            model: String::new(),
            os: String::new(),
            first_seen_at: row.first_seen_at,
            last_seen_at: 0,
        });
        entry.first_seen_at = entry.first_seen_at.min(row.first_seen_at);
        if entry.last_seen_at < row.last_seen_at {
            entry.last_seen_at = row.last_seen_at;
            (entry.brand, entry.model, entry.os) = (row.brand, row.model, row.os);
        }
    }
    let mut entries: Vec<DeviceEntry> = entries.into_values().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.last_seen_at));
    entries.truncate(LIST_MAX);
    Ok(entries)
}
