//! `auth_log.search`.

use super::record::{RECORD_VERSION, SearchKey, Stored};
use super::{AuthFilter, AuthRecord};
use crate::call::Call;
use crate::device::device_id;
use crate::error::Error;
use crate::ids::UnixMs;
use crate::normalise::field_error;
use crate::platform::Platform;
use crate::tables::account::DeviceHash;

/// Most records of an answer.
pub const SEARCH_MAX: u32 = 1_000;
/// Records the log is asked for, since some fall outside the time asked for or carry a colliding hash.
const LOOKED_AT_MAX: usize = 20_000;

impl Platform {
    /// `auth_log.search`: newest first, within `[from_at, until_at)`, at most `limit` (≤ 1000).
    ///
    /// # Errors
    /// `request.field_invalid`, or our own trouble.
    pub async fn auth_log_search(
        &self,
        _call: &Call,
        filter: AuthFilter,
        from_at: UnixMs,
        until_at: UnixMs,
        limit: u32,
    ) -> Result<Vec<AuthRecord>, Error> {
        if !(1..=SEARCH_MAX).contains(&limit) {
            return Err(field_error("limit", "is 1 to 1000"));
        }
        let device = match &filter {
            AuthFilter::Device(id) => Some(parse_device(id).ok_or_else(|| field_error("device", "has 32 hex digits"))?),
            _ => None,
        };
        let key = match &filter {
            AuthFilter::Account(account) => SearchKey::Account(*account),
            AuthFilter::Player(game, player) => SearchKey::Player(*game, *player),
            AuthFilter::Ip(ip) => SearchKey::Ip(*ip),
            AuthFilter::Device(_) => SearchKey::Device(device.as_ref().unwrap_or(&[0; 16])),
        };
        let (kind, hash) = key.kind_and_hash();
        let found = self.inner.auth_log.search(kind, hash, LOOKED_AT_MAX).await?;
        let records = found
            .iter()
            .filter_map(|bytes| decode(bytes))
            .filter(|record| (from_at..until_at).contains(&record.at) && matches(record, key));
        Ok(records.take(limit as usize).map(shown).collect())
    }
}

fn parse_device(id: &str) -> Option<DeviceHash> {
    let number = (id.len() == 32).then(|| u128::from_str_radix(id, 16).ok())??;
    Some(number.to_be_bytes())
}

/// A record of a version this build knows; a later release may have written others.
fn decode(bytes: &[u8]) -> Option<Stored> {
    let (version, body) = bytes.split_first()?;
    (*version == RECORD_VERSION).then(|| postcard::from_bytes(body).ok())?
}

fn matches(record: &Stored, key: SearchKey<'_>) -> bool {
    match key {
        SearchKey::Account(account) => record.account == Some(account),
        SearchKey::Player(game, player) => record.game == Some(game) && record.player == Some(player),
        SearchKey::Ip(ip) => record.ip.is_some_and(|own| own.to_canonical() == ip.to_canonical()),
        SearchKey::Device(device) => record.device.as_ref() == Some(device),
    }
}

fn shown(record: Stored) -> AuthRecord {
    AuthRecord {
        at: record.at,
        op: record.op,
        result: record.result,
        account_id: record.account,
        game_id: record.game,
        player_id: record.player,
        device_id: record.device.as_ref().map(device_id),
        package_id: record.package.map(|package| package.0),
        ip: record.ip,
        port: record.port,
        learnt_from: record.learnt_from,
        caller: record.caller,
        request_id: format!("{:032x}", u128::from_be_bytes(record.request_id)),
    }
}
