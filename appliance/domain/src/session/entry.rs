//! What a login or registration brings along besides the credential: checked once, before anything slow.

use crate::account::{Action, ClientInfo};
use crate::call::Call;
use crate::codes::{GAME_MAINTENANCE, NOT_READY};
use crate::device::{device_hash, device_id, device_row};
use crate::error::Error;
use crate::game::{GameSettings, GameStatus, PLATFORMS};
use crate::ids::{GameId, PackageId, RealmId};
use crate::normalise::{self, field_error};
use crate::platform::Platform;
use crate::restriction::Who;
use crate::tables::account::{DeviceHash, DeviceRow};

/// Longest text field of a client, in bytes.
pub const CLIENT_FIELD_MAX_BYTES: usize = 256;
/// Longest launch query and attribution token, in bytes.
pub const CLIENT_LONG_FIELD_MAX_BYTES: usize = 4_096;
/// Most device ids of a client, by name.
pub const DEVICE_IDS_MAX: usize = 16;
/// Most values of one device id (`caid` is a list).
pub const DEVICE_ID_VALUES_MAX: usize = 8;

/// Everything a transaction needs to open a session, apart from who it is for.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) game_id: GameId,
    pub(crate) realm_id: RealmId,
    pub(crate) settings: GameSettings,
    pub(crate) guests_allowed: bool,
    pub(crate) package_id: PackageId,
    pub(crate) device: DeviceHash,
    pub(crate) device_row: DeviceRow,
    pub(crate) mac_key_id: u16,
    /// Kept with a new account: where it first appeared.
    pub(crate) origin: Vec<(String, String)>,
}

impl Platform {
    /// Checks game, package, client, and restrictions of the device and the address.
    pub(crate) fn entry(&self, call: &Call, game_id: GameId, client: &ClientInfo) -> Result<Entry, Error> {
        self.require_ready()?;
        check_client(client)?;
        let catalogue = self.catalogue();
        let game = catalogue.game(game_id)?;
        let package = catalogue.package(game_id, client.package_id)?;
        if game.settings.status == GameStatus::Maintenance {
            return Err(GAME_MAINTENANCE.error());
        }
        let device = device_hash(&self.inner.lookup, &client.device.install_id);
        let entry = Entry {
            game_id,
            realm_id: game.realm_id,
            settings: game.settings.clone(),
            guests_allowed: catalogue.realm(game.realm_id)?.guests_allowed,
            package_id: client.package_id,
            device,
            device_row: device_row(client),
            mac_key_id: catalogue
                .mac_ring
                .newest()
                .ok_or_else(|| NOT_READY.error().retry_after_ms(1_000))?,
            origin: origin(call, client, &package.agent_id, &package.site_id),
        };
        self.refuse_restricted(call, &entry, Action::Login)?;
        Ok(entry)
    }

    /// Refuses when the device or the address may not do `action`. Accounts and players are looked at inside the
    /// transaction.
    pub(crate) fn refuse_restricted(&self, call: &Call, entry: &Entry, action: Action) -> Result<(), Error> {
        let device = device_id(&entry.device);
        let who = Who {
            device: Some(&device),
            ip: call.address.ip,
            ..Who::default()
        };
        match self
            .inner
            .mirrors
            .restrictions()
            .forbids(who, action, entry.game_id, self.now_at())
        {
            Some(held) => Err(held.refusal()),
            None => Ok(()),
        }
    }
}

fn origin(call: &Call, client: &ClientInfo, agent: &str, site: &str) -> Vec<(String, String)> {
    let device = &client.device;
    let facts = [
        ("ip", call.address.ip.map(|ip| ip.to_string()).unwrap_or_default()),
        ("package_id", client.package_id.to_string()),
        ("agent_id", agent.to_owned()),
        ("site_id", site.to_owned()),
        ("os", client.os.clone()),
        (
            "device",
            [&device.brand, &device.model]
                .into_iter()
                .flatten()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(" "),
        ),
        ("app_version", client.app_version.clone().unwrap_or_default()),
        ("sdk_version", client.sdk_version.clone().unwrap_or_default()),
        ("launch_query", client.launch_query.clone().unwrap_or_default()),
        (
            "attribution_token",
            client.attribution_token.clone().unwrap_or_default(),
        ),
        ("consent_version", client.consent_version.clone().unwrap_or_default()),
    ];
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn check_client(client: &ClientInfo) -> Result<(), Error> {
    normalise::install_id(&client.device.install_id)?;
    if !PLATFORMS.contains(&client.os.as_str()) {
        return Err(field_error(
            "client.os",
            "is android, ios, h5, mini_game, windows, mac or other",
        ));
    }
    let short = [
        ("client.sdk_version", &client.sdk_version),
        ("client.app_version", &client.app_version),
        ("client.os_version", &client.os_version),
        ("client.network", &client.network),
        ("client.consent_version", &client.consent_version),
        ("client.device.brand", &client.device.brand),
        ("client.device.model", &client.device.model),
    ];
    for (field, text) in short {
        bounded(field, text.as_deref(), CLIENT_FIELD_MAX_BYTES)?;
    }
    bounded(
        "client.launch_query",
        client.launch_query.as_deref(),
        CLIENT_LONG_FIELD_MAX_BYTES,
    )?;
    bounded(
        "client.attribution_token",
        client.attribution_token.as_deref(),
        CLIENT_LONG_FIELD_MAX_BYTES,
    )?;
    let ids = &client.device.ids;
    let fits = |text: &String| text.len() <= CLIENT_FIELD_MAX_BYTES && !text.contains('\0');
    if ids.len() > DEVICE_IDS_MAX
        || !ids
            .iter()
            .all(|(name, values)| fits(name) && values.len() <= DEVICE_ID_VALUES_MAX && values.iter().all(fits))
    {
        return Err(field_error(
            "client.device.ids",
            "has at most 16 names with at most 8 values of 256 bytes",
        ));
    }
    Ok(())
}

fn bounded(field: &str, text: Option<&str>, max_bytes: usize) -> Result<(), Error> {
    match text {
        Some(text) if text.len() > max_bytes || text.contains('\0') => {
            Err(field_error(field, &format!("has at most {max_bytes} bytes and no NUL")))
        }
        _ => Ok(()),
    }
}
