//! The rehearsal's own server: the same binary as a process of its own on the scratch copy, which ends when this process does.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use seawall_web::{BoundAddress, Host as _};
use serde_json::{Value, json};

use super::machine::Cpus;
use super::settings::LISTENER;
use crate::cli::failure::Failure;
use crate::cli::lines;
use crate::data_dir::write_private;
use crate::serve::{Plan, Running, run};
use crate::settings::config::HostConfig;
use crate::settings::load::{Layers, load};
use crate::settings::{Problem, Settings};

/// Name of the verb the process is started with; of no use to anybody else.
pub const VERB: &str = "rehearsal-server";
/// How long a start may take: a store that was written a lot has much to read.
const START_MAX: Duration = Duration::from_secs(120);
/// How long an end may take.
const END_MAX: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bytes of its log that are shown when it does not start.
const LOG_SHOWN_BYTES: usize = 2_000;

/// Runs in the process that is started: serves until standard input ends.
///
/// # Errors
/// Why the server cannot start.
pub fn serve(file: &Path) -> Result<u8, Failure> {
    let layers = Layers {
        file: Some(file.to_owned()),
        ..Layers::default()
    };
    let read = || -> Result<(Settings, HostConfig), Vec<Problem>> {
        let settings = load(&layers)?;
        let config = HostConfig::from_settings(&settings)?;
        Ok((settings, config))
    };
    let (settings, config) = read().map_err(|problems| Failure::Failed(lines(&problems)))?;
    let plan = Plan {
        settings,
        config,
        more_listeners: Vec::new(),
    };
    run(plan, &read, ready)
}

fn ready(running: &Running) -> Result<(), Failure> {
    let addresses = running.server.local_addresses();
    let found = addresses.iter().find(|(name, _)| name == LISTENER);
    let Some((_, BoundAddress::Tcp(address))) = found else {
        return Err(Failure::Failed("the rehearsal's listener is missing".into()));
    };
    crate::cli::output::Output::new(true).text(&format!("{}\n", json!({ "address": address })));
    let host = std::sync::Arc::clone(&running.host);
    let until_input_ends = move || {
        // Whoever started this process holds the other end, whatever becomes of it.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        drop(host.platform_stop());
    };
    let watching = std::thread::Builder::new()
        .name("parent".into())
        .spawn(until_input_ends);
    watching.map_err(|error| Failure::Failed(format!("no thread: {error}")))?;
    Ok(())
}

/// A server on a scratch copy; ended when dropped.
pub struct ScratchServer {
    child: Child,
    /// Where the storm goes.
    pub address: SocketAddr,
}

impl ScratchServer {
    /// Starts it with this settings file on the server's CPUs; it logs beside the file.
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub fn start(settings_text: &str, folder: &Path, cpus: &Cpus) -> Result<Self, Failure> {
        let file = folder.join("rehearsal.toml");
        write_private(&file, settings_text.as_bytes()).map_err(|error| Failure::file(&file, "written", &error))?;
        let log_path = folder.join("rehearsal.log");
        let log = std::fs::File::create(&log_path).map_err(|error| Failure::file(&log_path, "written", &error))?;
        let program =
            std::env::current_exe().map_err(|error| Failure::Failed(format!("this program has no path: {error}")))?;
        let mut command = Command::new(program);
        command
            .arg(VERB)
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        // Its own group: Ctrl-C is for this process, which ends the other.
        command.process_group(0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SEAWALL_")) {
            command.env_remove(name);
        }
        let starting = |command: &mut Command| command.spawn();
        let cpus = cpus.clone();
        // What a thread may use is what its children may.
        let spawned = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                cpus.be_server();
                starting(&mut command)
            });
            thread.join()
        });
        let child = match spawned {
            Ok(Ok(child)) => child,
            Ok(Err(error)) => {
                return Err(Failure::Failed(format!(
                    "the rehearsal's server cannot be started: {error}"
                )));
            }
            Err(_) => return Err(Failure::Failed("the rehearsal's server cannot be started".into())),
        };
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let line = server.first_line();
        let address = line
            .as_deref()
            .and_then(|line| serde_json::from_str::<Value>(line).ok());
        let address = address.and_then(|facts| facts.get("address")?.as_str()?.parse().ok());
        server.address = address.ok_or_else(|| did_not_start(&log_path))?;
        Ok(server)
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn first_line(&mut self) -> Option<String> {
        let stdout = self.child.stdout.take()?;
        let (say, hear) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let mut reader = BufReader::new(stdout);
            let _ = reader.read_line(&mut line);
            let _ = say.send(line);
            // Nothing more is said; but a closed pipe must not end it.
            let _ = reader.read_to_end(&mut Vec::new());
        });
        hear.recv_timeout(START_MAX).ok().filter(|line| !line.trim().is_empty())
    }
}

impl Drop for ScratchServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + END_MAX;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn did_not_start(log: &PathBuf) -> Failure {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let begin = text.len().saturating_sub(LOG_SHOWN_BYTES);
    let shown = text.get(text.ceil_char_boundary(begin)..).unwrap_or_default();
    Failure::Failed(format!("the rehearsal's server did not start: {}", shown.trim()))
}
