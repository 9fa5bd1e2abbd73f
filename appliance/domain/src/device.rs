//! Devices: the opaque id made of an install id, and the rows that list an account's devices.

use seawall_storage::{Span, Tx};

use crate::account::ClientInfo;
use crate::codes::DEVICE_LIMIT;
use crate::error::Error;
use crate::ids::{AccountId, GameId, UnixMs};
use crate::platform::LookupKeys;
use crate::tables::account::{DEVICES, DeviceHash, DeviceRow};

/// Devices kept per account and game; beyond it the one unused for longest goes.
pub const DEVICES_KEPT_MAX: usize = 64;
/// A device unused for so long no longer counts against the game's limit: phones are lost and replaced.
pub const DEVICE_COUNTS_MS: u64 = 90 * 86_400_000;

/// The keyed hash of an install id.
pub(crate) fn device_hash(lookup: &LookupKeys, install_id: &str) -> DeviceHash {
    let mut hash = [0; 16];
    let mut hasher = blake3::Hasher::new_keyed(lookup.device.expose());
    hasher.update(install_id.as_bytes()).finalize_xof().fill(&mut hash);
    hash
}

/// 32 hex digits.
pub(crate) fn device_id(hash: &DeviceHash) -> String {
    format!("{:032x}", u128::from_be_bytes(*hash))
}

/// The row of a client's device, without its times.
pub(crate) fn device_row(client: &ClientInfo) -> DeviceRow {
    let device = &client.device;
    DeviceRow {
        brand: device.brand.clone().unwrap_or_default(),
        model: device.model.clone().unwrap_or_default(),
        os: client.os.clone(),
        ids: device
            .ids
            .iter()
            .map(|(name, values)| (name.clone(), values.clone()))
            .collect(),
        first_seen_at: 0,
        last_seen_at: 0,
    }
}

/// Notes the use of a device; a new one must fit the game's limit.
pub(crate) fn device_seen(
    tx: &mut Tx<'_>,
    account: AccountId,
    game: GameId,
    hash: DeviceHash,
    row: &DeviceRow,
    limit: Option<u32>,
) -> Result<(), Error> {
    let now_at = tx.now_at();
    let key = (account, game, hash);
    let first_seen_at = match tx.get(&DEVICES, &key)? {
        Some(known) => known.first_seen_at,
        None => {
            make_room(tx, account, game, limit, now_at)?;
            now_at
        }
    };
    Ok(tx.put(
        &DEVICES,
        &key,
        &DeviceRow {
            first_seen_at,
            last_seen_at: now_at,
            ..row.clone()
        },
    )?)
}

fn make_room(
    tx: &mut Tx<'_>,
    account: AccountId,
    game: GameId,
    limit: Option<u32>,
    now_at: UnixMs,
) -> Result<(), Error> {
    let kept_max = limit.map_or(DEVICES_KEPT_MAX, |limit| DEVICES_KEPT_MAX.max(limit as usize));
    let mut known = tx.scan(&DEVICES, &Span::prefix(&(account, game)), kept_max + 1)?;
    let counting = known
        .iter()
        .filter(|(_, row)| now_at.saturating_sub(row.last_seen_at) < DEVICE_COUNTS_MS)
        .count();
    if let Some(limit) = limit
        && counting >= limit as usize
    {
        return Err(DEVICE_LIMIT.error().with_number("limit", u64::from(limit)));
    }
    known.sort_by_key(|(_, row)| row.last_seen_at);
    let too_many = (known.len() + 1).saturating_sub(kept_max);
    for (key, _) in known.into_iter().take(too_many) {
        tx.delete(&DEVICES, &key)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
