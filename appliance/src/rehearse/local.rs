//! A rehearsal against a scratch copy of this host's own data, with this host's settings.

use std::path::Path;

use seawall_domain::GameId;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::copy::{Made, Scratch};
use super::drive::OnThisHost;
use super::findings::Findings;
use super::machine::{self, Cpus};
use super::plan::Plan;
use super::server::ScratchServer;
use super::service::{Game, Known, MARK};
use super::stop::Stop;
use super::watch::Watch;
use super::{Measured, proposal, settings as own_settings, storm};
use crate::cli::ask::{AdminClient, Ask};
use crate::cli::catalogue;
use crate::cli::failure::Failure;
use crate::cli::grammar::{GameFlags, GameVerb, KeyVerb, PackageFlags, PackageVerb, RealmVerb};
use crate::cli::output::Output;
use crate::cli::socket::SocketClient;
use crate::data_dir::DataDir;
use crate::settings::Settings;
use crate::settings::config::HostConfig;

/// What a local rehearsal works on.
pub struct Local<'a> {
    /// Of this host.
    pub settings: &'a Settings,
    /// The same, typed.
    pub config: &'a HostConfig,
    /// Admin socket of the server that has the data, when one runs.
    pub socket: &'a Path,
    /// A game of the copy; one is made when none is named.
    pub game: Option<GameId>,
    /// The copy stays.
    pub keeps: bool,
}

/// Copies, starts, drives, and removes.
///
/// # Errors
/// Why there is no copy, no server, or no storm. The copy is removed then too, unless it is kept.
pub fn rehearse(local: &Local<'_>, plan: &Plan, stop: &Stop, out: &Output) -> Result<Findings, Failure> {
    super::enough_files(plan)?;
    let data = DataDir::existing(&local.config.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
    let runtime = crate::cli::runtime()?;
    let mut scratch = Scratch::claim(&data, local.keeps)?;
    let made = runtime.block_on(copy(local.socket, &data, &mut scratch))?;
    stop.check()?;
    scratch.complete(&data)?;
    out.note(&format!("a copy of {}, {}", data.root().display(), made.words()));

    // Its path must be short: the kernel takes 107 bytes.
    let sockets = tempfile::Builder::new().prefix("seawall-rehearsal-").tempdir();
    let sockets = sockets.map_err(|error| Failure::Failed(format!("no scratch directory: {error}")))?;
    let socket = sockets.path().join("admin.sock");
    let forgets = plan.mix.forgets_passwords;
    let made_settings = own_settings::scratch(local.settings, local.config, scratch.path(), &socket, forgets);
    let cpus = Cpus::share();
    let server = ScratchServer::start(&made_settings.text, scratch.path(), &cpus)?;
    stop.check()?;
    let game = runtime.block_on(game(&socket, local.game))?;
    let known = Known::scratch(server.address, made_settings.has_tls, game);
    let watch = Watch::start(&socket, &cpus)?;
    cpus.be_loader(made == Made::WhileStopped);
    let host = OnThisHost {
        pid: server.pid(),
        cpus: cpus.server.len(),
        watch: &watch,
    };
    let measured = storm(&known, plan, Some(host), stop, out)?;
    let status = runtime.block_on(status(&socket))?;
    drop(watch);
    drop(server);
    let mut findings = findings(local, plan, measured, &status, &cpus);
    findings.differs = made_settings.differs;
    findings.whom = format!("a scratch copy of {}, {}", data.root().display(), made.words());
    if let Some(kept) = scratch.kept() {
        findings.remarks.push(format!("the copy is kept: {}", kept.display()));
    }
    Ok(findings)
}

/// The engine's copy: by the server that has the data, else by this process.
async fn copy(socket: &Path, data: &DataDir, scratch: &mut Scratch) -> Result<Made, Failure> {
    match SocketClient::connect(socket).await? {
        Some(client) => {
            let answer = client.call(Ask::post("/admin/v1/store/copy")).await?.success()?;
            let path = answer.get("path").and_then(Value::as_str).unwrap_or_default();
            if Path::new(path) != scratch.path() {
                return Err(Failure::Failed(format!(
                    "the server behind {} has other data: its copy is {path}; name its directory with --data",
                    socket.display()
                )));
            }
            scratch.take()?;
            Ok(Made::ByTheServer)
        }
        None => scratch.copy(data).map(|()| Made::WhileStopped),
    }
}

async fn connect(socket: &Path) -> Result<SocketClient, Failure> {
    let client = SocketClient::connect(socket).await?;
    client.ok_or_else(|| Failure::Failed("the rehearsal's server does not answer on its admin socket".into()))
}

async fn status(socket: &Path) -> Result<Value, Failure> {
    connect(socket)
        .await?
        .call(Ask::get("/admin/v1/status"))
        .await?
        .success()
}

/// A game on the copy, with a package and a key of its own.
async fn game(socket: &Path, wanted: Option<GameId>) -> Result<Game, Failure> {
    let client = connect(socket).await?;
    let game_id = match wanted {
        Some(game) => game.to_string(),
        None => {
            let realm = RealmVerb::Create {
                name: unused_name(),
                no_guests: false,
            };
            let realm = made(&client, catalogue::realm(&realm).0, "/realm_id").await?;
            let game = GameVerb::Create {
                name: MARK.into(),
                realm: id(&realm)?,
                flags: GameFlags::default(),
            };
            made(&client, catalogue::game(&game)?.0, "/game_id").await?
        }
    };
    let package = PackageVerb::Create(PackageFlags {
        name: unused_name(),
        game: id(&game_id)?,
        platform: "android".into(),
        channel: String::new(),
        agent: String::new(),
        site: String::new(),
        bundle: String::new(),
        channel_params_file: None,
    });
    let package_id = made(&client, catalogue::package(&package)?.0, "/package_id").await?;
    let key = KeyVerb::Create {
        name: unused_name(),
        games: vec![id(&game_id)?],
        secret_file: None,
    };
    let answer = client.call(catalogue::key(&key).0).await?.success()?;
    Ok(Game {
        key_id: text(&answer, "/key/key_id")?,
        secret: Zeroizing::new(text(&answer, "/secret")?),
        game_id,
        package_id,
    })
}

/// A copy of a copy may have been rehearsed on before.
fn unused_name() -> String {
    format!("{MARK}-{}", crate::backup::hex(&crate::entropy::OsEntropy.bytes::<4>()))
}

async fn made(client: &SocketClient, ask: Ask, pointer: &str) -> Result<String, Failure> {
    text(&client.call(ask).await?.success()?, pointer)
}

fn text(answer: &Value, pointer: &str) -> Result<String, Failure> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| Failure::Failed(format!("the rehearsal's server answered without {pointer}")))
}

fn id<T: std::str::FromStr>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(|_| Failure::Failed(format!("`{text}` is no id")))
}

fn findings(local: &Local<'_>, plan: &Plan, measured: Measured, status: &Value, cpus: &Cpus) -> Findings {
    let remark = if cpus.are_shared() {
        "server and loader share the one processor of this machine: a host that only serves carries more".to_owned()
    } else {
        format!(
            "server and loader share this machine: the server has {} of its processors, the loader the other one",
            cpus.server.len()
        )
    };
    let costs = measured.costs.clone();
    let mut found = super::findings("local", plan, measured, vec![remark]);
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let proposed = proposal::Measured {
        steps: &found.steps,
        knee: found.knee.place.unwrap_or(usize::MAX),
        is_open: found.knee.is_open,
        span_s: f64::from(plan.duration_s),
        players: plan.players,
        costs: &costs,
        hash_us: Some(number("/hash_pool/cost_us") as f64).filter(|us| *us > 0.0 && number("/hash_pool/done") > 0),
        hash_threads: number("/hash_pool/threads"),
        cpus: cpus.server.len(),
    };
    found.proposals = proposal::proposals(&proposed, local.settings);
    found.settings = super::chosen(local.settings);
    found.machine = machine::describe();
    if let Some(fields) = found.machine.as_object_mut() {
        fields.insert("server_cpus".into(), json!(cpus.server));
        fields.insert("loader_cpu".into(), json!(cpus.loader));
    }
    found
}
