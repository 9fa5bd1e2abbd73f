//! The settings of the rehearsal's server: those of this host, but for what must not be shared with a running one.

use std::path::Path;

use crate::settings::Settings;
use crate::settings::catalogue::{self, abuse, backup, disk, hash, limits};
use crate::settings::config::HostConfig;
use crate::settings::registry::{Setting, Value};

/// Name of the listener that the storm comes to.
pub const LISTENER: &str = "rehearsal";

/// A settings file, and what differs from this host's, in words.
pub struct ScratchSettings {
    /// Content of the file.
    pub text: String,
    /// What differs, one line each.
    pub differs: Vec<String>,
    /// The listener has TLS, as this host's own for players has.
    pub has_tls: bool,
}

/// The settings for a server on `data` with its admin socket at `socket`.
#[must_use]
pub fn scratch(
    settings: &Settings,
    config: &HostConfig,
    data: &Path,
    socket: &Path,
    forgets_passwords: bool,
) -> ScratchSettings {
    let for_players = |surfaces: &[String]| surfaces.iter().any(|surface| surface == "sdk");
    let has_tls = config
        .listeners
        .iter()
        .any(|listener| listener.tls && for_players(&listener.surfaces));
    let connections = config.limits.connections_max as u64;
    let whole = Value::Whole;
    let mut own = vec![
        (&catalogue::DATA_DIR, text(data), None),
        (&catalogue::ADMIN_SOCKET, text(socket), None),
        (&catalogue::OPS_ADDRESS, Value::Text("127.0.0.1:0".into()), None),
        (&catalogue::LOG_LEVEL, Value::Text("warn".into()), None),
        (&catalogue::OTEL_STDOUT, Value::Switch(false), None),
        (&catalogue::LAME_DUCK_MS, whole(0), None),
        (&catalogue::DRAIN_LIMIT_MS, whole(5_000), None),
        (&disk::RESERVE_MIB, whole(0), None),
        (
            &catalogue::CHECKS_FIRST_PERCENT,
            whole(0),
            Some(
                "runtime.checks_first_percent is 0, so that these token checks do not go before those of a server that runs here; under load they are later than that one's",
            ),
        ),
        (&backup::TARGET, Value::Text(String::new()), Some("no backups are made")),
        (
            &limits::CONNECTIONS_PER_ADDRESS,
            whole(connections.clamp(1, 1_000_000)),
            Some(
                "limits.connections_per_address is as high as limits.connections_max, for all players come from this host",
            ),
        ),
        (
            &abuse::ENABLED,
            Value::Switch(false),
            Some("abuse.enabled is false, for the same few devices come again and again"),
        ),
    ];
    if forgets_passwords {
        let why = "hash.credential_cache_minutes is 0: nothing is remembered of a password, as after a restart";
        own.push((&hash::CREDENTIAL_CACHE_MINUTES, whole(0), Some(why)));
    }
    let mut lines = vec!["version = 1".to_owned()];
    for setting in catalogue::SETTINGS {
        let chosen = own.iter().find(|(own, ..)| own.path == setting.path);
        let value = chosen.map_or_else(|| settings.get(setting).value, |(_, value, _)| value.clone());
        lines.push(format!("{} = {}", setting.path, toml_of(&value)));
    }
    let surfaces = "surfaces = [\"sdk\", \"server\"]";
    lines.push(format!(
        "[[listener]]\nname = \"{LISTENER}\"\naddress = \"127.0.0.1:0\"\ntls = {has_tls}\n{surfaces}\n"
    ));
    let mut differs: Vec<String> = own.iter().filter_map(|(.., why)| why.map(str::to_owned)).collect();
    differs.push(format!(
        "one listener on a loopback address, {}, stands for those of the settings",
        if has_tls { "with TLS" } else { "plain" }
    ));
    ScratchSettings {
        text: lines.join("\n"),
        differs,
        has_tls,
    }
}

fn text(path: &Path) -> Value {
    Value::Text(path.display().to_string())
}

/// A value as a settings file has it.
#[must_use]
pub fn toml_of(value: &Value) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    match value {
        Value::Text(text) => quoted(text),
        Value::Whole(number) => number.to_string(),
        Value::Switch(on) => on.to_string(),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        }
    }
}

/// The value of a setting as a settings file has it.
#[must_use]
pub fn shown(settings: &Settings, setting: &Setting) -> String {
    toml_of(&settings.get(setting).value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::load::{Layers, load};

    #[test]
    fn the_rehearsals_settings_are_those_of_the_host_and_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let file = dir.path().join("seawall.toml");
            std::fs::write(&file, text).unwrap();
            let layers = Layers {
                file: Some(file),
                ..Layers::default()
            };
            let settings = load(&layers).unwrap_or_else(|problems| panic!("{problems:?}"));
            let config = HostConfig::from_settings(&settings).unwrap();
            (settings, config)
        };
        let (settings, config) = read(
            "[hash]\nthreads = 3\n[backup]\ntarget = \"dir:///srv\"\n[[listener]]\nname = \"lb\"\naddress = \"10.0.0.1:80\"\ntls = false\n",
        );
        let data = Path::new("/d \"quoted\"");
        let made = scratch(&settings, &config, data, Path::new("/s"), true);
        assert!(!made.has_tls, "this host's listener for players is plain");
        assert!(made.differs.iter().any(|line| line.contains("abuse.enabled")));
        assert!(made.text.contains("runtime.checks_first_percent = 0"));
        let (settings, config) = read(&made.text);
        assert_eq!((config.hash_threads, config.data_dir.as_path()), (3, data));
        assert_eq!(config.listeners.len(), 1);
        assert!(config.backup.target.is_none());
        assert_eq!(settings.whole(&hash::CREDENTIAL_CACHE_MINUTES), 0);
    }
}
