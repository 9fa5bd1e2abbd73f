//! The command line. Each verb either runs the server, works on this host alone (settings, documents), or is a request
//! of the admin surface: answered by the running server through its socket, else in this process on the data directory.

pub mod account;
mod account_grammar;
pub mod admission;
pub mod ask;
mod backup;
mod backup_grammar;
pub(crate) mod catalogue;
mod db;
mod documents;
mod export;
pub mod failure;
pub mod grammar;
mod import;
pub(crate) mod instant;
mod offline;
pub mod output;
mod progress;
mod rehearse;
pub mod rehearse_grammar;
mod repair;
pub(crate) mod secret_file;
pub(crate) mod socket;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::settings::config::HostConfig;
use crate::settings::load::{DEFAULT_FILE, Layers, load};
use crate::settings::{Problem, Settings};
use account_grammar::AccountVerb;
use ask::{AdminClient, Ask};
use backup_grammar::BackupVerb;
use failure::{DONE, Failure};
use grammar::{Cli, DbVerb, Global, Listen, Verb};
use output::{Output, View};

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let out = Output::new(cli.global.json);
    let code = dispatch(&cli, &out).unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.exit_code()
    });
    ExitCode::from(code)
}

fn dispatch(cli: &Cli, out: &Output) -> Result<u8, Failure> {
    match &cli.verb {
        Verb::Serve(listen) => crate::serve::serve(&|| read_settings(&cli.global, listen)),
        Verb::Rehearse(flags) => {
            let read =
                || read_settings(&cli.global, &Listen::default()).map_err(|problems| Failure::Failed(lines(&problems)));
            rehearse::rehearse(flags, &cli.global, read, out)
        }
        Verb::RehearsalServer { file } => crate::rehearse::server::serve(file),
        Verb::Demo(listen) => crate::demo::demo(&cli.global, listen, out),
        Verb::Config(verb) => documents::config(verb, &load(&layers(&cli.global, &Listen::default())), out),
        Verb::Openapi { admin } => documents::openapi(*admin, out),
        Verb::Version => documents::version(out),
        Verb::Completion { shell } => documents::completion(*shell, out),
        Verb::Man { dir } => documents::man(dir.as_deref(), out),
        Verb::Db(DbVerb::Repair { .. }) => repair::plan(&config(&cli.global, &Listen::default())?.data_dir, out),
        Verb::Db(DbVerb::ReleaseReserve) => {
            db::release_reserve(&config(&cli.global, &Listen::default())?.data_dir, out)
        }
        Verb::Restore(flags) => {
            let config = config(&cli.global, &Listen::default())?.backup;
            runtime()?.block_on(backup::restore(flags, &config, out))
        }
        Verb::Backup(verb) if !matches!(verb, BackupVerb::Now | BackupVerb::Drill) => {
            let config = config(&cli.global, &Listen::default())?.backup;
            runtime()?.block_on(backup::local(verb, &config, out))
        }
        _ => administer(cli, out),
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let built = builder.worker_threads(1).enable_all().build();
    built.map_err(|error| Failure::Failed(format!("no runtime: {error}")))
}

/// Verbs that are requests.
fn administer(cli: &Cli, out: &Output) -> Result<u8, Failure> {
    let config = config(&cli.global, &Listen::default())?;
    let socket = cli.global.socket.clone().unwrap_or_else(|| config.admin_socket.clone());
    runtime()?.block_on(async {
        let running = socket::SocketClient::connect(&socket).await?;
        if let Verb::Status = cli.verb {
            let client = running.ok_or_else(|| not_running(&socket))?;
            return simple(&client, Ask::get("/admin/v1/status"), View::Record, out).await;
        }
        if let Verb::Admission = cli.verb {
            let client = running.ok_or_else(|| not_running(&socket))?;
            return admission::admission(&client, out).await;
        }
        match running {
            Some(client) => ask_for(&cli.verb, &client, out).await,
            None => {
                let client = offline::OfflineClient::open(&config)?;
                let code = ask_for(&cli.verb, &client, out).await;
                client.close();
                code
            }
        }
    })
}

async fn ask_for(verb: &Verb, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    let (ask, view) = match verb {
        Verb::Realm(verb) => catalogue::realm(verb),
        Verb::Game(verb) => catalogue::game(verb)?,
        Verb::Package(verb) => catalogue::package(verb)?,
        Verb::Key(verb) => {
            let (ask, view) = catalogue::key(verb);
            let mut answer = client.call(ask).await?.success()?;
            catalogue::divert_secret(&mut answer, catalogue::secret_target(verb))?;
            out.answer(&answer, view);
            return Ok(DONE);
        }
        Verb::Account(verb) => return account_verb(verb, client, out).await,
        Verb::Db(verb) => return db::db(verb, client, out).await,
        Verb::Backup(verb) => return backup::follow(verb, client, out).await,
        _ => return Err(Failure::Usage("this verb asks nothing of a server".into())),
    };
    simple(client, ask, view, out).await
}

async fn account_verb(verb: &AccountVerb, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    let (ask, view) = match verb {
        AccountVerb::Show(which) => account::show(which)?,
        AccountVerb::Logout(which) => account::logout(which)?,
        AccountVerb::Lift { restriction } => account::lift(*restriction),
        AccountVerb::Restrict(flags) => account::restrict(flags)?,
        AccountVerb::Log(flags) => account::log(flags),
        AccountVerb::Import(flags) => return import::import(flags, client, out).await,
        AccountVerb::Export(flags) => return export::export(flags, client, out).await,
    };
    simple(client, ask, view, out).await
}

async fn simple(client: &dyn AdminClient, ask: Ask, view: View, out: &Output) -> Result<u8, Failure> {
    let answer = client.call(ask).await?.success()?;
    out.answer(&answer, view);
    Ok(DONE)
}

fn not_running(socket: &std::path::Path) -> Failure {
    Failure::NotRunning(format!("no server is running (nobody listens at {})", socket.display()))
}

/// The layers of settings above the defaults, as this command line names them.
#[must_use]
pub fn layers(global: &Global, listen: &Listen) -> Layers {
    let mut flags: Vec<(String, String, String)> = global
        .set
        .iter()
        .map(|(key, value)| (key.clone(), value.clone(), format!("--set {key}")))
        .collect();
    let mut own = |path: &str, flag: &str, value: Option<String>| {
        flags.extend(value.map(|value| (path.to_owned(), value, format!("--{flag}"))));
    };
    own(
        "data.dir",
        "data",
        global.data.as_ref().map(|path| path.display().to_string()),
    );
    own("log.level", "log-level", global.log_level.clone());
    own("log.format", "log-format", global.log_format.clone());
    own("public.address", "listen", listen.listen.clone());
    let usual = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
    Layers {
        file: global.config.clone().or_else(usual),
        env: std::env::vars().collect(),
        flags,
    }
}

fn config(global: &Global, listen: &Listen) -> Result<HostConfig, Failure> {
    read_settings(global, listen)
        .map(|(_, config)| config)
        .map_err(|problems| Failure::Failed(lines(&problems)))
}

/// Reads the settings, the first time and at a reload.
fn read_settings(global: &Global, listen: &Listen) -> Result<(Settings, HostConfig), Vec<Problem>> {
    let settings = load(&layers(global, listen))?;
    let config = HostConfig::from_settings(&settings)?;
    Ok((settings, config))
}

/// Problems, one a line.
#[must_use]
pub fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_the_highest_layer() {
        let cli = Cli::parse_from([
            "seawall",
            "--data",
            "/d",
            "--set",
            "hash.threads=3",
            "--log-level",
            "debug",
            "serve",
            "--listen",
            "127.0.0.1:1",
        ]);
        let Verb::Serve(listen) = &cli.verb else { panic!() };
        let flags = layers(&cli.global, listen).flags;
        let pairs: Vec<(&str, &str)> = flags
            .iter()
            .map(|(path, value, _)| (path.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("hash.threads", "3"),
                ("data.dir", "/d"),
                ("log.level", "debug"),
                ("public.address", "127.0.0.1:1")
            ]
        );
        for setting in crate::settings::catalogue::SETTINGS
            .iter()
            .filter(|setting| setting.flag.is_some())
        {
            assert!(
                setting.flag == Some("log-format") || pairs.iter().any(|(path, _)| *path == setting.path),
                "{}",
                setting.path
            );
        }
    }

    /// Every request the command line can make is an operation of the admin surface, and there is a verb for each such
    /// operation, except for the one that the service manager's signal stands for.
    #[test]
    fn verbs_and_admin_operations_are_the_same_list() {
        let mut asked = vec![Ask::get("/admin/v1/status"), admission::show()];
        for line in [
            "realm list",
            "realm create a",
            "realm update 1 --guests true",
            "game list",
            "game create a",
            "game show 1",
            "game update 1",
            "package list --game 1",
            "package create a --game 1 --platform ios",
            "key list",
            "key create a --game 1",
            "key rotate 1",
            "key revoke 1 --yes-refuse-its-servers",
        ] {
            asked.push(match Cli::parse_from(format!("seawall {line}").split(' ')).verb {
                Verb::Realm(verb) => catalogue::realm(&verb).0,
                Verb::Game(verb) => catalogue::game(&verb).unwrap().0,
                Verb::Package(verb) => catalogue::package(&verb).unwrap().0,
                Verb::Key(verb) => catalogue::key(&verb).0,
                other => panic!("{other:?}"),
            });
        }
        for line in [
            "show --account 1",
            "logout --account 1",
            "lift 1",
            "restrict --account 1 --action login --reason x",
            "log --account 1",
        ] {
            asked.push(
                match Cli::parse_from(format!("seawall account {line}").split(' ')).verb {
                    Verb::Account(AccountVerb::Show(which)) => account::show(&which).unwrap().0,
                    Verb::Account(AccountVerb::Logout(which)) => account::logout(&which).unwrap().0,
                    Verb::Account(AccountVerb::Lift { restriction }) => account::lift(restriction).0,
                    Verb::Account(AccountVerb::Restrict(flags)) => account::restrict(&flags).unwrap().0,
                    Verb::Account(AccountVerb::Log(flags)) => account::log(&flags).0,
                    other => panic!("{other:?}"),
                },
            );
        }
        // Asked by verbs with a life of their own: import, export, db.
        asked.extend(
            [
                "imports",
                "imports/i/chunks",
                "imports/i/finalize",
                "store/verify",
                "store/copy",
                "backups",
                "backups/drill",
            ]
            .map(|path| Ask::post(format!("/admin/v1/{path}"))),
        );
        asked.extend(["accounts/export", "store/stats", "backups"].map(|path| Ask::get(format!("/admin/v1/{path}"))));
        let op_of = |ask: &Ask| {
            let path = ask.path.split('?').next().unwrap();
            let found = seawall_web::routes::ROUTES
                .iter()
                .find(|route| route.method() == ask.method && route.matches_path(path));
            found
                .unwrap_or_else(|| panic!("{} {path} is no operation", ask.method))
                .op
        };
        let mut asked_ops: Vec<&str> = asked.iter().map(op_of).collect();
        asked_ops.extend(["platform.stop", "config.show"]); // SIGTERM and `seawall config show`
        let admin = seawall_web::routes::ROUTES
            .iter()
            .filter(|route| route.surface == seawall_web::Surface::Admin);
        let missing: Vec<&str> = admin
            .map(|route| route.op)
            .filter(|op| !asked_ops.contains(op))
            .collect();
        assert_eq!(missing, [""; 0], "operations without a verb");
    }
}
