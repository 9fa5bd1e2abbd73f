//! `key.create`, `key.rotate`, `key.revoke`, `key.list`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seawall_storage::Tx;

use super::{KeySecret, KeyView};
use crate::codes::{GAME_UNKNOWN, KEY_UNKNOWN};
use crate::game::small_id;
use crate::ids::{GameId, KeyId, UnixMs};
use crate::normalise::{self, field_error};
use crate::tables::catalogue::{GAMES, KEYS, KeyRow};
use crate::{Call, Error, Platform};

/// Prefix of printed secrets.
pub const SECRET_PREFIX: &str = "sws_";
/// How long the previous secret works after a rotation, when not said otherwise: 7 days.
pub const KEEP_PREVIOUS_MS: u64 = 7 * 86_400_000;
/// Longest time the previous secret may be kept: 90 days.
pub const KEEP_PREVIOUS_MAX_MS: u64 = 90 * 86_400_000;
/// Most games of one key.
pub const KEY_GAMES_MAX: usize = 1_000;
/// Most keys.
pub const KEYS_MAX: u32 = 10_000;

impl Platform {
    /// `key.create`: a new key for some games of one realm.
    ///
    /// # Errors
    /// `request.field_invalid`, `game.unknown`, or the store's.
    pub async fn key_create(&self, call: &Call, name: &str, games: Vec<GameId>) -> Result<KeySecret, Error> {
        let name = normalise::name(name, "name")?;
        let mut games = games;
        games.sort_unstable();
        games.dedup();
        if !(1..=KEY_GAMES_MAX).contains(&games.len()) {
            return Err(field_error("games", "has 1 to 1000 games"));
        }
        self.commit(call, "key.create", move |tx| {
            check_games(tx, &games)?;
            let id = small_id(tx, "key").map(KeyId)?;
            if id.0 > KEYS_MAX {
                return Err(field_error("name", "is one too many: there are 10000 keys"));
            }
            let (now_at, secret) = (tx.now_at(), new_secret(tx));
            let row = KeyRow {
                name: name.clone(),
                games: games.clone(),
                created_at: now_at,
                rotated_at: now_at,
                secret: secret.clone(),
                previous_secret: None,
                previous_until_at: 0,
                revoked_at: None,
            };
            tx.put(&KEYS, &id, &row)?;
            Ok(KeySecret {
                key: view(id, &row, now_at),
                secret,
            })
        })
        .await
    }

    /// `key.rotate`: a second secret; the old one works for `keep_previous_ms` more (default 7 days).
    ///
    /// # Errors
    /// `request.field_invalid`, `key.unknown`, or the store's.
    pub async fn key_rotate(
        &self,
        call: &Call,
        key_id: KeyId,
        keep_previous_ms: Option<u64>,
    ) -> Result<KeySecret, Error> {
        let keep_ms = keep_previous_ms.unwrap_or(KEEP_PREVIOUS_MS);
        if keep_ms > KEEP_PREVIOUS_MAX_MS {
            return Err(field_error("keep_previous_ms", "is at most 90 days"));
        }
        self.commit(call, "key.rotate", move |tx| {
            let mut row = live_key(tx, key_id)?;
            let (now_at, secret) = (tx.now_at(), new_secret(tx));
            row.previous_secret = Some(std::mem::replace(&mut row.secret, secret.clone()));
            row.previous_until_at = now_at + keep_ms;
            row.rotated_at = now_at;
            tx.put(&KEYS, &key_id, &row)?;
            Ok(KeySecret {
                key: view(key_id, &row, now_at),
                secret,
            })
        })
        .await
    }

    /// `key.revoke`: the key stops working now.
    ///
    /// # Errors
    /// `key.unknown`, or the store's.
    pub async fn key_revoke(&self, call: &Call, key_id: KeyId) -> Result<KeyView, Error> {
        self.commit(call, "key.revoke", move |tx| {
            let mut row = tx.get(&KEYS, &key_id)?.ok_or_else(|| KEY_UNKNOWN.error())?;
            let now_at = tx.now_at();
            row.revoked_at.get_or_insert(now_at);
            tx.put(&KEYS, &key_id, &row)?;
            Ok(view(key_id, &row, now_at))
        })
        .await
    }

    /// `key.list`, by id.
    ///
    /// # Errors
    /// None today.
    pub async fn key_list(&self, _call: &Call) -> Result<Vec<KeyView>, Error> {
        let now_at = self.now_at();
        Ok(self
            .catalogue()
            .keys
            .iter()
            .map(|(id, key)| view(*id, &key.row, now_at))
            .collect())
    }
}

fn live_key(tx: &mut Tx<'_>, key_id: KeyId) -> Result<KeyRow, Error> {
    tx.get(&KEYS, &key_id)?
        .filter(|row| row.revoked_at.is_none())
        .ok_or_else(|| KEY_UNKNOWN.error())
}

fn check_games(tx: &mut Tx<'_>, games: &[GameId]) -> Result<(), Error> {
    let mut realms = std::collections::BTreeSet::new();
    for game in games {
        realms.insert(
            tx.get(&GAMES, game)?
                .ok_or_else(|| GAME_UNKNOWN.error().with("game_id", game.to_string()))?
                .realm_id,
        );
    }
    if realms.len() == 1 {
        Ok(())
    } else {
        Err(field_error("games", "belong to one realm"))
    }
}

fn new_secret(tx: &Tx<'_>) -> String {
    format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(tx.entropy32("server key")))
}

fn view(key_id: KeyId, row: &KeyRow, now_at: UnixMs) -> KeyView {
    KeyView {
        key_id,
        name: row.name.clone(),
        games: row.games.clone(),
        created_at: row.created_at,
        rotated_at: row.rotated_at,
        previous_until_at: row
            .previous_secret
            .as_ref()
            .map(|_| row.previous_until_at)
            .filter(|until| now_at < *until),
        revoked_at: row.revoked_at,
    }
}
