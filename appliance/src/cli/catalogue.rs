//! `seawall realm|game|package|key …` as requests of the admin surface.

use std::collections::BTreeMap;
use std::path::Path;

use seawall_web::wire::{self, Id};
use serde_json::Value;

use super::ask::Ask;
use super::failure::Failure;
use super::grammar::{GameFlags, GameVerb, KeyVerb, PackageFlags, PackageVerb, RealmVerb};
use super::output::View;
use super::secret_file;

const REALMS: View = View::Table {
    rows: "realms",
    columns: &["realm_id", "name", "guests_allowed", "created_at"],
};
const GAMES: View = View::Table {
    rows: "games",
    columns: &[
        "game_id",
        "realm_id",
        "name",
        "settings.status",
        "settings.session_policy",
        "created_at",
    ],
};
const PACKAGES: View = View::Table {
    rows: "packages",
    columns: &[
        "package_id",
        "name",
        "platform",
        "channel_id",
        "agent_id",
        "site_id",
        "bundle_id",
        "created_at",
    ],
};
const KEYS: View = View::Table {
    rows: "keys",
    columns: &[
        "key_id",
        "name",
        "games",
        "created_at",
        "rotated_at",
        "previous_until_at",
        "revoked_at",
    ],
};

/// The request of a realm verb.
#[must_use]
pub fn realm(verb: &RealmVerb) -> (Ask, View) {
    match verb {
        RealmVerb::Create { name, no_guests } => (
            Ask::post("/admin/v1/realms").json(&wire::RealmCreate {
                name: name.clone(),
                guests_allowed: !no_guests,
            }),
            View::Record,
        ),
        RealmVerb::List => (Ask::get("/admin/v1/realms"), REALMS),
        RealmVerb::Update { realm, guests } => (
            Ask::post(format!("/admin/v1/realms/{realm}")).json(&wire::RealmUpdate {
                guests_allowed: *guests,
            }),
            View::Record,
        ),
    }
}

/// The request of a game verb.
///
/// # Errors
/// When a flag cannot be read.
pub fn game(verb: &GameVerb) -> Result<(Ask, View), Failure> {
    Ok(match verb {
        GameVerb::Create { name, realm, flags } => {
            let body = wire::GameCreate {
                realm_id: Id(*realm),
                name: name.clone(),
                settings: change(flags)?,
            };
            (Ask::post("/admin/v1/games").json(&body), View::Record)
        }
        GameVerb::List => (Ask::get("/admin/v1/games"), GAMES),
        GameVerb::Show { game } => (Ask::get(format!("/admin/v1/games/{game}")), View::Record),
        GameVerb::Update { game, flags } => (
            Ask::post(format!("/admin/v1/games/{game}")).json(&change(flags)?),
            View::Record,
        ),
    })
}

fn change(flags: &GameFlags) -> Result<wire::GameChange, Failure> {
    let device_limit = match flags.device_limit.as_deref() {
        None => None,
        Some("none") => Some(None),
        Some(number) => {
            Some(Some(number.parse().map_err(|_| {
                Failure::Usage("--device-limit: expected a number or `none`".into())
            })?))
        }
    };
    Ok(wire::GameChange {
        status: flags.status.as_deref().map(|word| {
            if word == "open" {
                wire::GameStatus::Open
            } else {
                wire::GameStatus::Maintenance
            }
        }),
        session_policy: flags.session_policy.as_deref().map(|word| match word {
            "replace" => wire::SessionPolicy::Replace,
            "refuse" => wire::SessionPolicy::Refuse,
            _ => wire::SessionPolicy::Both,
        }),
        device_limit,
        access_token_ms: flags.access_token_ms,
        refresh_token_ms: flags.refresh_token_ms,
        refresh_grace_ms: flags.refresh_grace_ms,
        cors_origins: flags.cors_origins.clone(),
        unknown_policy: flags.unknown_policy.as_deref().map(|word| match word {
            "hold" => wire::UnknownPolicy::Hold,
            "drop" => wire::UnknownPolicy::Drop,
            _ => wire::UnknownPolicy::Status503,
        }),
        unknown_hold_ms: flags.unknown_hold_ms,
        mac_only: flags.mac_only,
        reconnect_spread_ms: flags.reconnect_spread_ms,
        remember_passwords: flags.remember_passwords,
        challenges: flags.challenges.as_deref().map(|word| match word {
            "off" => wire::ChallengePolicy::Off,
            "always" => wire::ChallengePolicy::Always,
            _ => wire::ChallengePolicy::Auto,
        }),
    })
}

/// The request of a package verb.
///
/// # Errors
/// When the file of channel parameters cannot be read.
pub fn package(verb: &PackageVerb) -> Result<(Ask, View), Failure> {
    Ok(match verb {
        PackageVerb::Create(flags) => (
            Ask::post(format!("/admin/v1/games/{}/packages", flags.game)).json(&package_body(flags)?),
            View::Record,
        ),
        PackageVerb::List { game } => (Ask::get(format!("/admin/v1/games/{game}/packages")), PACKAGES),
    })
}

fn package_body(flags: &PackageFlags) -> Result<wire::PackageCreate, Failure> {
    Ok(wire::PackageCreate {
        name: flags.name.clone(),
        platform: flags.platform.clone(),
        channel_id: flags.channel.clone(),
        agent_id: flags.agent.clone(),
        site_id: flags.site.clone(),
        bundle_id: flags.bundle.clone(),
        channel_params: flags
            .channel_params_file
            .as_deref()
            .map(channel_params)
            .transpose()?
            .unwrap_or_default(),
    })
}

fn channel_params(path: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let text = secret_file::read(path)?;
    // The parser's message would quote the file, which may hold secrets.
    serde_json::from_str(&text).map_err(|error| {
        Failure::Failed(format!(
            "{}: line {}: expected one JSON object of texts",
            path.display(),
            error.line()
        ))
    })
}

/// The request of a key verb.
#[must_use]
pub fn key(verb: &KeyVerb) -> (Ask, View) {
    match verb {
        KeyVerb::Create { name, games, .. } => {
            let body = wire::KeyCreate {
                name: name.clone(),
                games: games.iter().copied().map(Id).collect(),
            };
            (Ask::post("/admin/v1/keys").json(&body), View::Record)
        }
        KeyVerb::List => (Ask::get("/admin/v1/keys"), KEYS),
        KeyVerb::Rotate {
            key, keep_previous_h, ..
        } => {
            let body = wire::KeyRotate {
                keep_previous_ms: keep_previous_h.map(|hours| hours.saturating_mul(3_600_000)),
            };
            (
                Ask::post(format!("/admin/v1/keys/{key}/rotate")).json(&body),
                View::Record,
            )
        }
        KeyVerb::Revoke { key, .. } => (Ask::post(format!("/admin/v1/keys/{key}/revoke")), View::Record),
    }
}

/// Where the fresh secret of a key verb goes instead of the terminal.
#[must_use]
pub fn secret_target(verb: &KeyVerb) -> Option<&Path> {
    match verb {
        KeyVerb::Create { secret_file, .. } | KeyVerb::Rotate { secret_file, .. } => secret_file.as_deref(),
        KeyVerb::List | KeyVerb::Revoke { .. } => None,
    }
}

/// Moves the secret of an answer into a file.
///
/// # Errors
/// When the file cannot be written; the message says that the secret is lost and what to do.
pub fn divert_secret(answer: &mut Value, target: Option<&Path>) -> Result<(), Failure> {
    let (Some(target), Some(fields)) = (target, answer.as_object_mut()) else {
        return Ok(());
    };
    let secret = fields.remove("secret");
    let text = secret.as_ref().and_then(Value::as_str).unwrap_or_default();
    secret_file::write(target, text).map_err(|error| {
        Failure::Failed(format!(
            "{error}; the key exists, get another secret with `seawall key rotate`"
        ))
    })?;
    fields.insert("secret_file".into(), target.display().to_string().into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::super::ask::Body;
    use super::super::grammar::{Cli, Verb};
    use super::*;

    fn ask(line: &str) -> (String, Value) {
        let ask = match Cli::parse_from(format!("seawall {line}").split(' ')).verb {
            Verb::Realm(verb) => realm(&verb).0,
            Verb::Game(verb) => game(&verb).unwrap().0,
            Verb::Package(verb) => package(&verb).unwrap().0,
            Verb::Key(verb) => key(&verb).0,
            other => panic!("{other:?}"),
        };
        let body = match ask.body {
            Body::Json(bytes) => serde_json::from_slice(&bytes).unwrap(),
            _ => Value::Null,
        };
        (format!("{} {}", ask.method, ask.path), body)
    }

    #[test]
    fn each_verb_is_one_request() {
        let table: &[(&str, &str, Value)] = &[
            (
                "realm create kr",
                "POST /admin/v1/realms",
                json!({ "name": "kr", "guests_allowed": true }),
            ),
            (
                "realm create kr --no-guests",
                "POST /admin/v1/realms",
                json!({ "name": "kr", "guests_allowed": false }),
            ),
            ("realm list", "GET /admin/v1/realms", Value::Null),
            (
                "realm update 2 --guests false",
                "POST /admin/v1/realms/2",
                json!({ "guests_allowed": false }),
            ),
            (
                "game create g --device-limit 3",
                "POST /admin/v1/games",
                json!({ "realm_id": "1", "name": "g", "settings": { "device_limit": 3 } }),
            ),
            (
                "game update 7 --device-limit none",
                "POST /admin/v1/games/7",
                json!({ "device_limit": null }),
            ),
            (
                "game update 7 --status maintenance --session-policy both",
                "POST /admin/v1/games/7",
                json!({ "status": "maintenance", "session_policy": "both" }),
            ),
            (
                "game update 7 --unknown-policy hold --unknown-hold-ms 3000",
                "POST /admin/v1/games/7",
                json!({ "unknown_policy": "hold", "unknown_hold_ms": 3_000 }),
            ),
            (
                "game update 7 --unknown-policy status_503 --mac-only true --reconnect-spread-ms 60000",
                "POST /admin/v1/games/7",
                json!({ "unknown_policy": "status_503", "mac_only": true, "reconnect_spread_ms": 60_000 }),
            ),
            (
                "game update 7 --remember-passwords false --challenges always",
                "POST /admin/v1/games/7",
                json!({ "remember_passwords": false, "challenges": "always" }),
            ),
            ("game show 7", "GET /admin/v1/games/7", Value::Null),
            ("game list", "GET /admin/v1/games", Value::Null),
            ("package list --game 7", "GET /admin/v1/games/7/packages", Value::Null),
            (
                "key create k --game 1 --game 2",
                "POST /admin/v1/keys",
                json!({ "name": "k", "games": ["1", "2"] }),
            ),
            ("key list", "GET /admin/v1/keys", Value::Null),
            (
                "key rotate 3 --keep-previous-h 2",
                "POST /admin/v1/keys/3/rotate",
                json!({ "keep_previous_ms": 7_200_000 }),
            ),
            (
                "key revoke 3 --yes-refuse-its-servers",
                "POST /admin/v1/keys/3/revoke",
                Value::Null,
            ),
        ];
        for (line, request, body) in table {
            let (asked, sent) = ask(line);
            assert_eq!((asked.as_str(), &sent), (*request, body), "{line}");
        }
    }

    #[test]
    fn channel_parameters_come_from_a_file_and_are_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("params.json");
        std::fs::write(&file, "{\"app_key\": \"s3cret\"}").unwrap();
        let (asked, body) = ask(&format!(
            "package create p --game 1 --platform android --channel-params-file {}",
            file.display()
        ));
        assert_eq!(asked, "POST /admin/v1/games/1/packages");
        assert_eq!(body["channel_params"], json!({ "app_key": "s3cret" }));
        std::fs::write(&file, "{\"app_key\": s3cret}").unwrap();
        let message = channel_params(&file).unwrap_err().to_string();
        assert!(!message.contains("s3cret"), "{message}");
    }

    #[test]
    fn a_secret_can_go_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        let mut answer = json!({ "key": { "key_id": "1" }, "secret": "sws_x" });
        divert_secret(&mut answer, Some(&file)).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "sws_x");
        assert!(!answer.to_string().contains("sws_x"));
        let mut again = json!({ "secret": "sws_y" });
        assert!(
            divert_secret(&mut again, Some(&file))
                .unwrap_err()
                .to_string()
                .contains("key rotate")
        );
    }
}
