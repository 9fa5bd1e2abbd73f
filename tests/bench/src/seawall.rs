//! The server under measurement, and the requests it is asked.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use seawall_tests::server::{Client, Failure, Launch, Server, Started, sign};
use serde_json::json;
use tempfile::TempDir;

use crate::bench::Bench;
use crate::buckets::Buckets;
use crate::calls::Guests;
use crate::load::{NoMeter, Plan, Target, TlsClient, run};
use crate::machine::{LOADER_CPU, SERVER_CPU};
use crate::sessions::Place;

/// Path of a token check.
pub const VERIFY: &str = "/server/v1/sessions/verify";
/// Path of many token checks at once.
pub const VERIFY_BATCH: &str = "/server/v1/sessions/verify-batch";
/// Path of a player's own account.
pub const ACCOUNT: &str = "/sdk/v1/account";
/// Path of a registration.
pub const ACCOUNTS: &str = "/sdk/v1/accounts";
/// Path of a login.
pub const SESSIONS: &str = "/sdk/v1/sessions";
/// Path of a refresh.
pub const REFRESH: &str = "/sdk/v1/sessions/refresh";
/// Connections that make players for a run.
const MAKING_CONNECTIONS: usize = 64;
/// How long making them may take.
const MAKING_MAX: Duration = Duration::from_secs(60);
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

/// The tokens of a player.
#[derive(Debug, Clone)]
pub struct Player {
    /// Shown to game servers.
    pub access_token: String,
    /// Exchanged for the next pair.
    pub refresh_token: String,
    /// With it a guest comes back; empty when it is not known.
    pub guest_secret: String,
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
        let before = self.guests_made.replace(self.guests_made.get() + count as u64);
        self.register(count, Guests::keeping(self).after(before))
    }

    /// Registers these guests; their tokens.
    ///
    /// # Errors
    /// When one of them was not registered.
    pub fn register(&self, count: usize, mut guests: Guests) -> Result<Vec<Player>, Failure> {
        let end = Instant::now() + MAKING_MAX;
        while guests.players.len() < count {
            let missing = count - guests.players.len();
            let plan = Plan::exactly(self.target(), MAKING_CONNECTIONS.min(missing), missing as u64);
            let outcome = run(&plan, &mut guests, &mut NoMeter)?;
            // After a storm it may take a moment until everybody is let in again.
            if outcome.failures() > 0 || Instant::now() > end {
                return Err(format!("guests were not registered: {:?}", outcome.examples).into());
            }
        }
        Ok(guests.players)
    }

    /// Body of a guest's registration on a device.
    #[must_use]
    pub fn guest_body(&self, install_id: &str) -> String {
        let body = json!({"game_id": self.fact("game_id"), "credential": {"kind": "guest"}, "client": self.device(install_id)});
        body.to_string()
    }

    /// The `client` object of a device.
    #[must_use]
    pub fn device(&self, install_id: &str) -> serde_json::Value {
        json!({"package_id": self.fact("package_id"), "os": "android", "device": {"install_id": install_id}})
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
    let timestamp = UNIX_EPOCH.elapsed()?.as_secs().to_string();
    // A check changes nothing, so its nonce may come again.
    let nonce = "bench-0123456789abcdef";
    let signature = sign(secret, "POST", path, &timestamp, nonce, body.as_bytes())?;
    Ok([
        ("seawall-key-id", key_id.to_owned()),
        ("seawall-timestamp", timestamp),
        ("seawall-nonce", nonce.to_owned()),
        ("seawall-signature", signature),
    ])
}

/// A player's GET as bytes.
#[must_use]
pub fn get(path: &str, access_token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {access_token}\r\n\r\n").into_bytes()
}

/// A POST with a JSON body as bytes.
#[must_use]
pub fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

fn address(url: &str) -> Result<SocketAddr, Failure> {
    let address = url.split("://").nth(1).unwrap_or_default().trim_end_matches('/');
    Ok(address.parse().map_err(|e| format!("`{url}` is no address: {e}"))?)
}
