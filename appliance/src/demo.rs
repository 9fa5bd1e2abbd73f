//! `seawall demo`: a whole server on embedded storage with a demo game, and how to talk to it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use seawall_domain::game::{GameChange, PackageCreate};
use seawall_domain::{Call, Error, GameId, KeyId, PackageId, Platform, RealmId};
use seawall_web::{Address, BoundAddress, ListenerConfig, Surface};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::failure::Failure;
use crate::cli::grammar::{Global, Listen};
use crate::cli::output::Output;
use crate::cli::{layers, lines};
use crate::data_dir::write_private;
use crate::entropy::OsEntropy;
use crate::serve::{Plan, Running, run};
use crate::settings::config::HostConfig;
use crate::settings::load::{Layers, load};
use crate::settings::{Problem, Settings};

/// Name of the demo game, its package and its key.
const NAME: &str = "demo";
/// Where the TLS listener listens when not told otherwise.
const DEFAULT_LISTEN: &str = "127.0.0.1:8443";
/// Port of the plain listener, unless ports are left to the system.
const PLAIN_PORT: u16 = 8080;
/// Port of the ops listener, unless ports are left to the system.
const OPS_PORT: u16 = 9180;

/// The demo game, kept beside the data so that the next start prints the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct DemoGame {
    game_id: GameId,
    package_id: PackageId,
    key_id: KeyId,
    secret: String,
}

/// Runs the verb; answers the exit code.
///
/// # Errors
/// Why the server cannot start.
pub fn demo(global: &Global, listen: &Listen, out: &Output) -> Result<u8, Failure> {
    // Removed when this function ends; a directory that was named stays.
    let scratch = match &global.data {
        None => Some(
            tempfile::Builder::new()
                .prefix("seawall-demo-")
                .tempdir()
                .map_err(|error| Failure::Failed(format!("no scratch directory: {error}")))?,
        ),
        Some(_) => None,
    };
    let data = match (&global.data, &scratch) {
        (Some(data), _) => std::path::absolute(data).map_err(|error| Failure::file(data, "used", &error))?,
        (None, Some(scratch)) => scratch.path().to_owned(),
        (None, None) => return Err(Failure::Usage("name a directory with --data".into())),
    };
    let layers = demo_layers(global, listen, &data)?;
    let read = || read(&layers);
    let (settings, config) = read().map_err(|problems| Failure::Failed(lines(&problems)))?;
    let plan = Plan {
        settings,
        more_listeners: loopback_listeners(&config),
        config,
    };
    run(plan, &read, |running| ready(running, &data, out))
}

fn read(layers: &Layers) -> Result<(Settings, HostConfig), Vec<Problem>> {
    let settings = load(layers)?;
    let config = HostConfig::from_settings(&settings)?;
    Ok((settings, config))
}

/// The usual layers, without the host's own file unless it is named: a demo must not touch a real server's data.
fn demo_layers(global: &Global, listen: &Listen, data: &Path) -> Result<Layers, Failure> {
    let mut layers = layers(global, &Listen::default());
    layers.file.clone_from(&global.config);
    let listen = listen.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
    let address: SocketAddr = listen
        .parse()
        .map_err(|_| Failure::Usage(format!("--listen: `{listen}` is no ip:port")))?;
    let ops_port = if address.port() == 0 { 0 } else { OPS_PORT };
    let fixed = [
        ("data.dir", data.display().to_string()),
        ("admin.socket", data.join("admin.sock").display().to_string()),
        ("public.address", address.to_string()),
        ("ops.address", format!("127.0.0.1:{ops_port}")),
        ("drain.lame_duck_ms", "0".into()),
        ("drain.hard_limit_ms", "5000".into()),
    ];
    // What is chosen with --set wins over what a demo would choose.
    let chosen: Vec<_> = layers
        .flags
        .drain(..)
        .filter(|(path, _, _)| path != "data.dir")
        .collect();
    layers.flags = fixed
        .map(|(path, value)| (path.to_owned(), value, "demo".to_owned()))
        .to_vec();
    layers.flags.extend(chosen);
    Ok(layers)
}

/// Plain HTTP for this host: easier to look at than TLS.
fn loopback_listeners(config: &HostConfig) -> Vec<ListenerConfig> {
    let any_port = config
        .listeners
        .iter()
        .any(|listener| matches!(listener.address, crate::settings::config::Address::Tcp(tcp) if tcp.port() == 0));
    let plain = SocketAddr::from(([127, 0, 0, 1], if any_port { 0 } else { PLAIN_PORT }));
    let surfaces = [Surface::Sdk, Surface::Server];
    vec![
        ListenerConfig::new("plain", Address::Tcp(plain), &surfaces),
        ListenerConfig::new("unix", Address::Unix(config.data_dir.join("sdk.sock")), &surfaces),
    ]
}

fn ready(running: &Running, data: &Path, out: &Output) -> Result<(), Failure> {
    let game = seawall_storage::block_on(demo_game(&running.parts.platform, &data.join("demo.json")))?;
    let facts = Facts::of(running, game, data);
    if out.is_json() {
        out.text(&format!("{}\n", facts.to_json()));
    } else {
        out.text(&facts.to_text());
    }
    Ok(())
}

/// The demo game of this data directory; made the first time.
async fn demo_game(platform: &Platform, file: &Path) -> Result<DemoGame, Failure> {
    if let Ok(bytes) = std::fs::read(file) {
        return serde_json::from_slice(&bytes).map_err(|_| {
            Failure::Failed(format!(
                "{}: is damaged; remove it to get a new demo key",
                file.display()
            ))
        });
    }
    let game = make_game(platform)
        .await
        .map_err(|error| Failure::Failed(format!("the demo game cannot be made: {error}")))?;
    let text = serde_json::to_vec(&game).map_err(|error| Failure::Failed(error.to_string()))?;
    write_private(file, &text).map_err(|error| Failure::file(file, "written", &error))?;
    Ok(game)
}

async fn make_game(platform: &Platform) -> Result<DemoGame, Error> {
    let call = Call::platform(OsEntropy.bytes());
    // A start that was killed may have made the game but not noted it.
    let games = platform.game_list(&call).await?;
    let game_id = match games.into_iter().find(|game| game.name == NAME) {
        Some(game) => game.game_id,
        None => {
            platform
                .game_create(&call, RealmId(1), NAME, GameChange::default())
                .await?
                .game_id
        }
    };
    let packages = platform.package_list(&call, game_id).await?;
    let package_id = match packages.into_iter().find(|package| package.name == NAME) {
        Some(package) => package.package_id,
        None => platform.package_create(&call, package(game_id)).await?.package_id,
    };
    let fresh = platform.key_create(&call, NAME, vec![game_id]).await?;
    Ok(DemoGame {
        game_id,
        package_id,
        key_id: fresh.key.key_id,
        secret: fresh.secret,
    })
}

fn package(game_id: GameId) -> PackageCreate {
    PackageCreate {
        game_id,
        name: NAME.into(),
        platform: "android".into(),
        channel_id: "demo".into(),
        agent_id: String::new(),
        site_id: String::new(),
        bundle_id: "com.example.demo".into(),
        channel_params: std::collections::BTreeMap::default(),
    }
}

/// How to talk to the demo.
struct Facts {
    sdk_url: String,
    plain_url: String,
    ops_url: String,
    unix_socket: String,
    game: DemoGame,
    ca_file: Option<PathBuf>,
    data: PathBuf,
    admin_socket: String,
}

impl Facts {
    fn of(running: &Running, game: DemoGame, data: &Path) -> Self {
        let address = |name: &str| {
            running
                .server
                .local_addresses()
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, address)| address)
        };
        let url = |scheme: &str, name: &str| match address(name) {
            Some(BoundAddress::Tcp(tcp)) => format!("{scheme}://{}", reachable(*tcp)),
            _ => String::new(),
        };
        let path = |name: &str| match address(name) {
            Some(BoundAddress::Unix(path)) => path.display().to_string(),
            _ => String::new(),
        };
        Self {
            sdk_url: url("https", "public"),
            plain_url: url("http", "plain"),
            ops_url: url("http", "ops"),
            unix_socket: path("unix"),
            admin_socket: path("admin"),
            game,
            ca_file: running.certificates.ca_file(),
            data: data.to_owned(),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        json!({
            "sdk_url": self.sdk_url, "plain_url": self.plain_url, "ops_url": self.ops_url, "console_url": null,
            "unix_socket": self.unix_socket, "game_id": self.game.game_id, "package_id": self.game.package_id,
            "key_id": self.game.key_id, "secret": self.game.secret, "ca_file": self.ca_file, "data_dir": self.data,
            "admin_socket": self.admin_socket,
        })
    }

    fn to_text(&self) -> String {
        let DemoGame {
            game_id,
            package_id,
            key_id,
            secret,
        } = &self.game;
        let trust = self
            .ca_file
            .as_ref()
            .map(|file| format!("--cacert {} ", file.display()))
            .unwrap_or_default();
        format!(
            r#"Seawall is running with a demo game. Ctrl-C stops it.

  players and game servers  {sdk_url}
                            {plain_url} (this host only)
  health and metrics        {ops_url}/readyz  {ops_url}/metrics
  the API, described        {plain_url}/openapi.json
  data                      {data}
  game {game_id}, package {package_id}, server key {key_id}, secret {secret}

Paste this into another terminal. A player registers as a guest:

  SESSION=$(curl -sS {trust}{sdk_url}/sdk/v1/accounts -H 'content-type: application/json' \
    -d '{{"game_id":"{game_id}","credential":{{"kind":"guest"}},"client":{{"package_id":"{package_id}","os":"android","device":{{"install_id":"my-first-phone"}}}}}}')
  echo "$SESSION"

The game server checks the player's token, signing the call with its key:

  TOKEN=$(echo "$SESSION" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
  BODY='{{"token":"'$TOKEN'"}}'; TIME=$(date +%s); NONCE=$(openssl rand -hex 12)
  HASH=$(printf %s "$BODY" | sha256sum | cut -d ' ' -f 1)
  SIGN=$(printf 'POST\n/server/v1/sessions/verify\n%s\n%s\n%s' "$TIME" "$NONCE" "$HASH" \
    | openssl dgst -sha256 -hmac '{secret}' | sed 's/.* //')
  curl -sS {trust}{sdk_url}/server/v1/sessions/verify -H 'content-type: application/json' \
    -H "Seawall-Key-Id: {key_id}" -H "Seawall-Timestamp: $TIME" -H "Seawall-Nonce: $NONCE" -H "Seawall-Signature: $SIGN" \
    -d "$BODY"

The operator looks at it all:

  {program} status --data {data}
  {program} game list --data {data}

"#,
            sdk_url = self.sdk_url,
            plain_url = self.plain_url,
            ops_url = self.ops_url,
            data = self.data.display(),
            program = std::env::current_exe().map_or_else(|_| "seawall".into(), |path| path.display().to_string()),
        )
    }
}

/// An address as a client on this host reaches it.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_never_uses_the_hosts_own_data_and_port_0_is_for_all() {
        let global = Global {
            set: vec![("hash.threads".into(), "1".into())],
            ..Global::default()
        };
        let listen = Listen {
            listen: Some("127.0.0.1:0".into()),
        };
        let layers = demo_layers(&global, &listen, Path::new("/scratch")).unwrap();
        assert_eq!(layers.file, None);
        let (_, config) = read(&layers).unwrap();
        assert_eq!(
            (config.data_dir.as_path(), config.hash_threads),
            (Path::new("/scratch"), 1)
        );
        assert_eq!(
            config.ops.address,
            crate::settings::config::Address::Tcp("127.0.0.1:0".parse().unwrap())
        );
        let more = loopback_listeners(&config);
        assert_eq!(more[0].address, Address::Tcp("127.0.0.1:0".parse().unwrap()));
        assert!(
            demo_layers(
                &global,
                &Listen {
                    listen: Some("here".into())
                },
                Path::new("/s")
            )
            .is_err()
        );
    }

    #[test]
    fn wildcard_addresses_are_shown_as_reachable() {
        assert_eq!(reachable("0.0.0.0:5".parse().unwrap()).to_string(), "127.0.0.1:5");
        assert_eq!(reachable("[::]:5".parse().unwrap()).to_string(), "127.0.0.1:5");
        assert_eq!(reachable("192.0.2.1:5".parse().unwrap()).to_string(), "192.0.2.1:5");
    }
}
