//! `package.create`, `package.list`.

use super::realms::small_id;
use super::{PackageCreate, PackageView};
use crate::codes::GAME_UNKNOWN;
use crate::ids::{GameId, PackageId};
use crate::normalise::{self, field_error};
use crate::tables::catalogue::{GAMES, PACKAGES, PackageRow};
use crate::{Call, Error, Platform};

/// Platforms a package can be for; `client.os` takes the same words.
pub const PLATFORMS: &[&str] = &["android", "ios", "h5", "mini_game", "windows", "mac", "other"];
/// Most packages.
pub const PACKAGES_MAX: u32 = 100_000;
/// Most channel parameters of a package.
pub const CHANNEL_PARAMS_MAX: usize = 64;
/// Longest channel parameter, in bytes.
pub const CHANNEL_PARAM_MAX_BYTES: usize = 4_096;
/// All channel parameters together, in bytes, so that the row stays within its limit.
pub const CHANNEL_PARAMS_MAX_BYTES: usize = 48 * 1024;

impl Platform {
    /// `package.create`.
    ///
    /// # Errors
    /// `request.field_invalid`, `game.unknown`, or the store's.
    pub async fn package_create(&self, call: &Call, command: PackageCreate) -> Result<PackageView, Error> {
        let name = normalise::name(&command.name, "name")?;
        check(&command)?;
        self.commit(call, "package.create", move |tx| {
            if !tx.exists(&GAMES, &command.game_id)? {
                return Err(GAME_UNKNOWN.error());
            }
            let package = PackageRow {
                game_id: command.game_id,
                name: name.clone(),
                platform: command.platform.clone(),
                channel_id: command.channel_id.clone(),
                agent_id: command.agent_id.clone(),
                site_id: command.site_id.clone(),
                bundle_id: command.bundle_id.clone(),
                channel_params: command.channel_params.clone(),
                created_at: tx.now_at(),
            };
            let id = small_id(tx, "package").map(PackageId)?;
            if id.0 > PACKAGES_MAX {
                return Err(field_error("name", "is one too many: there are 100000 packages"));
            }
            tx.put(&PACKAGES, &id, &package)?;
            Ok(view(id, &package))
        })
        .await
    }

    /// `package.list` of a game, by id.
    ///
    /// # Errors
    /// `game.unknown`.
    pub async fn package_list(&self, _call: &Call, game_id: GameId) -> Result<Vec<PackageView>, Error> {
        let catalogue = self.catalogue();
        catalogue.game(game_id)?;
        let of_game = catalogue
            .packages
            .iter()
            .filter(|(_, package)| package.game_id == game_id);
        Ok(of_game.map(|(id, package)| view(*id, package)).collect())
    }
}

fn view(package_id: PackageId, row: &PackageRow) -> PackageView {
    PackageView {
        package_id,
        game_id: row.game_id,
        name: row.name.clone(),
        platform: row.platform.clone(),
        channel_id: row.channel_id.clone(),
        agent_id: row.agent_id.clone(),
        site_id: row.site_id.clone(),
        bundle_id: row.bundle_id.clone(),
        channel_params: row.channel_params.keys().cloned().collect(),
        created_at: row.created_at,
    }
}

fn check(command: &PackageCreate) -> Result<(), Error> {
    if !PLATFORMS.contains(&command.platform.as_str()) {
        return Err(field_error(
            "platform",
            "is android, ios, h5, mini_game, windows, mac or other",
        ));
    }
    for (field, text) in [
        ("channel_id", &command.channel_id),
        ("agent_id", &command.agent_id),
        ("site_id", &command.site_id),
        ("bundle_id", &command.bundle_id),
    ] {
        if text.len() > 128 || text.chars().any(char::is_control) {
            return Err(field_error(field, "has at most 128 bytes and no control characters"));
        }
    }
    let params = &command.channel_params;
    let bounded = params
        .iter()
        .all(|(name, value)| (1..=128).contains(&name.len()) && value.len() <= CHANNEL_PARAM_MAX_BYTES);
    let bytes: usize = params.iter().map(|(name, value)| name.len() + value.len()).sum();
    if params.len() > CHANNEL_PARAMS_MAX || !bounded || bytes > CHANNEL_PARAMS_MAX_BYTES {
        return Err(field_error(
            "channel_params",
            "has at most 64 entries of 4 KiB, 48 KiB together",
        ));
    }
    Ok(())
}
