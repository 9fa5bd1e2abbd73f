//! `game.create`, `game.update`, `game.list`, `game.show`.

use std::ops::RangeInclusive;

use seawall_storage::Span;

use super::realms::small_id;
use super::{GameChange, GameSettings, GameView};
use crate::codes::{GAME_EXISTS, GAME_UNKNOWN, REALM_UNKNOWN};
use crate::ids::{GameId, RealmId};
use crate::normalise::{self, field_error};
use crate::tables::catalogue::{GAMES, GameRow, REALMS};
use crate::{Call, Error, Platform};

/// Most games.
pub const GAMES_MAX: usize = 5_000;
/// Life of an access token in milliseconds: a minute to seven days.
pub const ACCESS_TOKEN_MS: RangeInclusive<u64> = 60_000..=7 * 86_400_000;
/// Life of a refresh token in milliseconds: an hour to 400 days.
pub const REFRESH_TOKEN_MS: RangeInclusive<u64> = 3_600_000..=400 * 86_400_000;
/// How long a lost reply of a refresh may be asked for again, in milliseconds.
pub const REFRESH_GRACE_MS: RangeInclusive<u64> = 0..=300_000;
/// How long an answer may wait for certainty, in milliseconds.
pub const UNKNOWN_HOLD_MS: RangeInclusive<u64> = 0..=10_000;
/// Over which time clients spread their first call, in milliseconds.
pub const RECONNECT_SPREAD_MS: RangeInclusive<u64> = 0..=600_000;
/// Devices an account may use.
pub const DEVICE_LIMIT: RangeInclusive<u32> = 1..=1_000;
/// Most browser origins of a game.
pub const CORS_ORIGINS_MAX: usize = 32;

impl Platform {
    /// `game.create` with default settings and `change` applied.
    ///
    /// # Errors
    /// `request.field_invalid`, `realm.unknown`, `game.exists`, or the store's.
    pub async fn game_create(
        &self,
        call: &Call,
        realm_id: RealmId,
        name: &str,
        change: GameChange,
    ) -> Result<GameView, Error> {
        let name = normalise::name(name, "name")?;
        let settings = changed(GameSettings::default(), change)?;
        self.commit(call, "game.create", move |tx| {
            if !tx.exists(&REALMS, &realm_id)? {
                return Err(REALM_UNKNOWN.error());
            }
            let games = tx.scan(&GAMES, &Span::all(), GAMES_MAX)?;
            if games
                .iter()
                .any(|(_, game)| game.realm_id == realm_id && game.name == name)
            {
                return Err(GAME_EXISTS.error());
            }
            if games.len() >= GAMES_MAX {
                return Err(field_error("name", "is one too many: there are 5000 games"));
            }
            let game = GameRow {
                realm_id,
                name: name.clone(),
                settings: settings.clone(),
                created_at: tx.now_at(),
            };
            let id = small_id(tx, "game").map(GameId)?;
            tx.put(&GAMES, &id, &game)?;
            Ok(view(id, &game))
        })
        .await
    }

    /// `game.update`.
    ///
    /// # Errors
    /// `request.field_invalid`, `game.unknown`, or the store's.
    pub async fn game_update(&self, call: &Call, game_id: GameId, change: GameChange) -> Result<GameView, Error> {
        self.commit(call, "game.update", move |tx| {
            let mut game = tx.get(&GAMES, &game_id)?.ok_or_else(|| GAME_UNKNOWN.error())?;
            game.settings = changed(game.settings, change.clone())?;
            tx.put(&GAMES, &game_id, &game)?;
            Ok(view(game_id, &game))
        })
        .await
    }

    /// `game.list`, by id.
    ///
    /// # Errors
    /// None today.
    pub async fn game_list(&self, _call: &Call) -> Result<Vec<GameView>, Error> {
        Ok(self
            .catalogue()
            .games
            .iter()
            .map(|(id, game)| view(*id, game))
            .collect())
    }

    /// `game.show`.
    ///
    /// # Errors
    /// `game.unknown`.
    pub async fn game_show(&self, _call: &Call, game_id: GameId) -> Result<GameView, Error> {
        self.catalogue().game(game_id).map(|game| view(game_id, game))
    }

    /// Over which time the clients of a game spread their first call after an update, in milliseconds; `None` for a game
    /// that is not there. From memory.
    #[must_use]
    pub fn reconnect_spread_ms(&self, game_id: GameId) -> Option<u64> {
        let catalogue = self.catalogue();
        let game = catalogue.game(game_id).ok()?;
        Some(game.settings.reconnect_spread_ms)
    }

    /// May a browser page of `origin` call on behalf of some game? From memory; used before admission.
    #[must_use]
    pub fn origin_allowed(&self, origin: &str) -> bool {
        self.catalogue().origin_allowed(origin)
    }
}

fn view(game_id: GameId, row: &GameRow) -> GameView {
    GameView {
        game_id,
        realm_id: row.realm_id,
        name: row.name.clone(),
        settings: row.settings.clone(),
        created_at: row.created_at,
    }
}

/// The settings after a change, each value within its limits.
pub(super) fn changed(mut settings: GameSettings, change: GameChange) -> Result<GameSettings, Error> {
    settings.status = change.status.unwrap_or(settings.status);
    settings.session_policy = change.session_policy.unwrap_or(settings.session_policy);
    if let Some(limit) = change.device_limit {
        if limit.is_some_and(|limit| !DEVICE_LIMIT.contains(&limit)) {
            return Err(field_error("device_limit", "is 1 to 1000"));
        }
        settings.device_limit = limit;
    }
    let within = |field: &str, value: Option<u64>, old: u64, limits: RangeInclusive<u64>| match value {
        Some(value) if !limits.contains(&value) => Err(field_error(
            field,
            &format!("is {} to {} ms", limits.start(), limits.end()),
        )),
        value => Ok(value.unwrap_or(old)),
    };
    settings.access_token_ms = within(
        "access_token_ms",
        change.access_token_ms,
        settings.access_token_ms,
        ACCESS_TOKEN_MS,
    )?;
    settings.refresh_token_ms = within(
        "refresh_token_ms",
        change.refresh_token_ms,
        settings.refresh_token_ms,
        REFRESH_TOKEN_MS,
    )?;
    settings.refresh_grace_ms = within(
        "refresh_grace_ms",
        change.refresh_grace_ms,
        settings.refresh_grace_ms,
        REFRESH_GRACE_MS,
    )?;
    settings.unknown_policy = change.unknown_policy.unwrap_or(settings.unknown_policy);
    settings.unknown_hold_ms = within(
        "unknown_hold_ms",
        change.unknown_hold_ms,
        settings.unknown_hold_ms,
        UNKNOWN_HOLD_MS,
    )?;
    settings.mac_only = change.mac_only.unwrap_or(settings.mac_only);
    settings.reconnect_spread_ms = within(
        "reconnect_spread_ms",
        change.reconnect_spread_ms,
        settings.reconnect_spread_ms,
        RECONNECT_SPREAD_MS,
    )?;
    settings.remember_passwords = change.remember_passwords.unwrap_or(settings.remember_passwords);
    settings.challenges = change.challenges.unwrap_or(settings.challenges);
    if let Some(origins) = change.cors_origins {
        if origins.len() > CORS_ORIGINS_MAX || !origins.iter().all(|origin| is_origin(origin)) {
            return Err(field_error(
                "cors_origins",
                "has at most 32 origins like https://game.example, or *",
            ));
        }
        settings.cors_origins = origins;
    }
    Ok(settings)
}

fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text == "*"
        || host.is_some_and(|host| {
            !host.is_empty()
                && text.len() <= 255
                && host
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'?' | b'#' | b'@'))
        })
}
