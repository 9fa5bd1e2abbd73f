//! The server under measurement, and the requests it is asked.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use seawall_load::service::{Service, signed_headers};
use seawall_tests::server::{Client, Failure, Launch, Server, Started};
use serde_json::json;
use tempfile::TempDir;

use crate::bench::Bench;
use crate::buckets::Buckets;
use crate::calls::{self, Guests};
use crate::load::{Target, TlsClient};
use crate::machine::{LOADER_CPU, SERVER_CPU};
use crate::sessions::Place;

pub use seawall_load::service::{ACCOUNTS, Player, SESSIONS, VERIFY, VERIFY_BATCH, get, post};

const STOP_MAX: Duration = Duration::from_secs(30);

/// The real binary on the server's CPU, with a data directory of its own; killed and removed when dropped.
pub struct Seawall {
    server: Option<Server>,
    launch: Launch,
    data: PathBuf,
    /// Where `data` lies, when it is to be removed.
    folder: Option<TempDir>,
    /// Guests that were made for runs, so that each has a device of its own.
    guests_made: Cell<u64>,
    /// Address without TLS.
    pub plain: SocketAddr,
    /// Address with TLS.
    pub tls: SocketAddr,
}

impl Seawall {
    /// A server on an empty directory, with settings `path=value`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(bench: &Bench, settings: &[&str]) -> Result<Self, Failure> {
        let folder = bench.scratch()?;
        let data = folder.path().join("data");
        let mut seawall = Self::start_at(bench, &data, settings, Some(SERVER_CPU))?;
        seawall.folder = Some(folder);
        Ok(seawall)
    }

    /// A server on a directory that stays; on one CPU, or on all.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_at(bench: &Bench, data: &Path, settings: &[&str], cpu: Option<usize>) -> Result<Self, Failure> {
        let cpus = cpu.map_or_else(|| format!("0-{LOADER_CPU}"), |cpu| cpu.to_string());
        let mut arguments: Vec<String> = Vec::new();
        for setting in settings {
            arguments.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        let launch = Launch {
            binary: bench.seawall.clone(),
            wrapper: ["taskset", "-c", &cpus].map(str::to_owned).to_vec(),
            env: Vec::new(),
            arguments,
            log: Some(data.with_extension("log")),
        };
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut seawall = Self {
            server: None,
            launch,
            data: data.to_owned(),
            folder: None,
            guests_made: Cell::new(0),
            plain: unknown,
            tls: unknown,
        };
        seawall.go()?;
        Ok(seawall)
    }

    fn go(&mut self) -> Result<(), Failure> {
        let server = match self.launch.start(&self.data())? {
            Started::Up(server) => server,
            Started::Ended { code, log } => return Err(format!("the server ended with {code:?}: {log}").into()),
        };
        self.plain = address(server.fact("plain_url"))?;
        self.tls = address(server.fact("sdk_url"))?;
        self.server = Some(server);
        Ok(())
    }

    /// Stops it in order and, after `between` had the directory to itself, starts it again on the same data.
    ///
    /// # Errors
    /// When it does not stop in time or does not start.
    pub fn restart(&mut self, between: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
        if let Some(server) = self.server.take() {
            server.stop(STOP_MAX)?;
        }
        between(&self.data())?;
        self.go()
    }

    /// Starts it on its data after it ended in whatever way.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<(), Failure> {
        self.go()
    }

    /// Ends it in order; its directory stays when it was given one.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn stop(&mut self) -> Result<(), Failure> {
        let Some(server) = self.server.take() else {
            return Ok(());
        };
        if server.stop(STOP_MAX)? {
            return Ok(());
        }
        Err("the server did not leave with success".into())
    }

    /// Ends it with SIGKILL, or takes note that somebody did.
    ///
    /// # Errors
    /// The system's.
    pub fn kill(&mut self) -> Result<(), Failure> {
        self.server.take().map_or(Ok(()), Server::kill)
    }

    /// What it logged since it was started.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.as_ref().map(Server::log).unwrap_or_default()
    }

    /// Game and package of its players.
    ///
    /// # Errors
    /// When it is down.
    pub fn place(&self) -> Result<Place, Failure> {
        Ok(Place {
            game_id: self.fact("game_id").parse()?,
            package_id: self.fact("package_id").parse()?,
        })
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.as_ref().map_or(0, Server::pid)
    }

    /// A text of what it said when it was ready.
    #[must_use]
    pub fn fact(&self, name: &str) -> String {
        self.server
            .as_ref()
            .map(|server| server.fact(name).to_owned())
            .unwrap_or_default()
    }

    /// The durations of the store's synced commits so far.
    ///
    /// # Errors
    /// When the metrics cannot be read.
    pub fn syncs(&self) -> Result<Buckets, Failure> {
        let address = address(&self.fact("ops_url"))?;
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(STOP_MAX))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Buckets::parse(&text, "seawall_store_sync_seconds").ok_or_else(|| "no such metric".into())
    }

    /// A slow client for what need not be fast.
    ///
    /// # Errors
    /// When the server is down.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(self.server.as_ref().ok_or("the server is down")?.client())
    }

    /// Plain HTTP to it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::plain(self.plain)
    }

    /// TLS to it, HTTP/1.
    #[must_use]
    pub fn tls_target(&self, tickets: bool) -> Target {
        Target {
            tls: Some(TlsClient::new(b"http/1.1", tickets)),
            ..Target::plain(self.tls)
        }
    }

    /// Fresh guests.
    ///
    /// # Errors
    /// When one of them was not registered.
    pub fn players(&self, count: usize) -> Result<Vec<Player>, Failure> {
        Ok(calls::fresh_guests(self, count)?)
    }

    /// Registers these guests; their tokens.
    ///
    /// # Errors
    /// When one of them was not registered.
    pub fn register(&self, count: usize, guests: Guests) -> Result<Vec<Player>, Failure> {
        Ok(calls::register(self, count, guests)?)
    }

    /// The `client` object of a device.
    #[must_use]
    pub fn device(&self, install_id: &str) -> serde_json::Value {
        Service::device(self, install_id)
    }

    /// A signed call as bytes; good for 300 seconds.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn signed(&self, path: &str, body: &str) -> Result<Vec<u8>, Failure> {
        let headers = self.signature(path, body)?;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(post(path, &headers, body))
    }

    /// The headers that sign a call.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn signature(&self, path: &str, body: &str) -> Result<[(&'static str, String); 4], Failure> {
        signature(&self.fact("key_id"), &self.fact("secret"), path, body)
    }

    /// A signed check of each player's token.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn verifies(&self, players: &[Player]) -> Result<Vec<Vec<u8>>, Failure> {
        let checks = players.iter().map(|player| {
            let body = json!({"token": player.access_token}).to_string();
            self.signed(VERIFY, &body)
        });
        checks.collect()
    }
}

impl Service for Seawall {
    fn target(&self) -> Target {
        Self::target(self)
    }

    fn game_id(&self) -> String {
        self.fact("game_id")
    }

    fn package_id(&self) -> String {
        self.fact("package_id")
    }

    fn signature(&self, path: &str, body: &str) -> std::io::Result<[(&'static str, String); 4]> {
        Self::signature(self, path, body).map_err(std::io::Error::other)
    }

    fn take_devices(&self, count: u64) -> u64 {
        self.guests_made.replace(self.guests_made.get() + count)
    }
}

impl Drop for Seawall {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let _ = server.stop(STOP_MAX);
        }
    }
}

/// The headers that sign a call with a key.
///
/// # Errors
/// When it cannot be signed.
pub fn signature(key_id: &str, secret: &str, path: &str, body: &str) -> Result<[(&'static str, String); 4], Failure> {
    let timestamp_s = UNIX_EPOCH.elapsed()?.as_secs();
    Ok(signed_headers(key_id, secret, timestamp_s, path, body))
}

fn address(url: &str) -> Result<SocketAddr, Failure> {
    let address = url.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
    Ok(address.parse().map_err(|e| format!("`{url}` is no address: {e}"))?)
}
