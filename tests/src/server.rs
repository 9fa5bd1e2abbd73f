//! Starts the real binary, reads its `demo --json` line, and speaks to it as a game client and a game server do.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::{Value, json};

/// How long a start may take before it counts as failed.
pub const START_MAX: Duration = Duration::from_secs(60);

/// What went wrong, for a test to print.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The binary under test: `SEAWALL_BIN`, else the one beside the suites.
pub fn binary() -> Result<PathBuf, Failure> {
    if let Some(path) = std::env::var_os("SEAWALL_BIN") {
        return Ok(path.into());
    }
    let here = std::env::current_exe()?;
    let path = here
        .ancestors()
        .map(|folder| folder.join("seawall"))
        .find(|path| path.is_file());
    path.ok_or_else(|| "build the binary first: cargo build --release --bin seawall".into())
}

/// How to start a server; the default is the binary under test as it is.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program.
    pub binary: PathBuf,
    /// A command in front of it (`strace …`, `prlimit …`).
    pub wrapper: Vec<String>,
    /// Variables of its environment.
    pub env: Vec<(String, String)>,
    /// Further arguments, `--set key=value` say.
    pub arguments: Vec<String>,
    /// Where it logs; beside the data directory when not said.
    pub log: Option<PathBuf>,
}

/// What became of a start.
pub enum Started {
    /// It serves.
    Up(Server),
    /// It ended before it served.
    Ended {
        /// Exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// What it wrote to its log.
        log: String,
    },
}

impl Launch {
    /// The binary under test, nothing special.
    pub fn new() -> Result<Self, Failure> {
        Ok(Self {
            binary: binary()?,
            wrapper: Vec::new(),
            env: Vec::new(),
            arguments: Vec::new(),
            log: None,
        })
    }

    fn command(&self, data: &Path) -> Command {
        let mut words = self.wrapper.iter();
        let mut command = match words.next() {
            Some(first) => {
                let mut command = Command::new(first);
                command.args(words).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        command
            .args(["demo", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            // The suites log in on few devices, as often as they can.
            .args(["--set", "abuse.enabled=false"])
            .args(&self.arguments)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `seawall demo` on `data` with listeners on ports the system chooses, in a process group of its own.
    pub fn start(&self, data: &Path) -> Result<Started, Failure> {
        let path = self.log.clone().unwrap_or_else(|| data.with_extension("log"));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let log_begins_at = log.metadata()?.len();
        let mut child = self
            .command(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = send.send(line);
        });
        let mut server = Server {
            child,
            facts: Value::Null,
            log_path: path.clone(),
            log_begins_at,
        };
        let line = receive.recv_timeout(START_MAX)?;
        if line.trim().is_empty() {
            let code = server.ended(START_MAX)?;
            return Ok(Started::Ended {
                code,
                log: server.log(),
            });
        }
        server.facts = serde_json::from_str(&line)
            .map_err(|e| format!("demo --json printed no JSON line: {e}; see {}", path.display()))?;
        Ok(Started::Up(server))
    }
}

/// A running server; killed (SIGKILL) when dropped.
pub struct Server {
    child: Child,
    /// The line `demo --json` printed.
    pub facts: Value,
    log_path: PathBuf,
    log_begins_at: u64,
}

impl Server {
    /// Starts the binary under test on `data`; an end before it serves is a failure.
    pub fn start(data: &Path) -> Result<Self, Failure> {
        match Launch::new()?.start(data)? {
            Started::Up(server) => Ok(server),
            Started::Ended { code, log } => Err(format!("the server ended with {code:?}: {log}").into()),
        }
    }

    /// What this start wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log_path).unwrap_or_default();
        let begin = usize::try_from(self.log_begins_at).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default()).into_owned()
    }

    /// Waits until the process ended by itself; its exit code, `None` when a signal ended it.
    pub fn ended(&mut self, deadline: Duration) -> Result<Option<i32>, Failure> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            if Instant::now() >= end {
                return Err("the process did not end in time".into());
            }
            std::thread::sleep(Duration::from_millis(2)); // poll
        }
    }

    /// Sends a signal, `KILL` or `STOP` say, to the process and what wraps it.
    pub fn signal(&self, name: &str) -> Result<(), Failure> {
        Command::new("kill")
            .args([format!("-{name}"), "--".into(), format!("-{}", self.child.id())])
            .stderr(Stdio::null())
            .status()?;
        Ok(())
    }

    /// A text of the facts.
    #[must_use]
    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(mut self) -> Result<(), Failure> {
        self.signal("KILL")?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; answers whether it left with success within `deadline`.
    pub fn stop(mut self, deadline: Duration) -> Result<bool, Failure> {
        self.signal("TERM")?;
        let end = Instant::now() + deadline;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
        Err("the server did not stop in time".into())
    }

    /// A client of this server.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(
            self.fact("plain_url"),
            self.fact("game_id"),
            self.fact("package_id"),
            self.fact("key_id"),
            self.fact("secret"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.signal("KILL");
        }
        let _ = self.child.wait();
    }
}

/// Status and JSON body of an answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body; null when it was no JSON.
    pub body: Value,
}

impl Answer {
    /// A text at a JSON pointer, empty when absent.
    #[must_use]
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A game client and its game server in one.
#[derive(Clone)]
pub struct Client {
    agent: ureq::Agent,
    base: String,
    /// Game.
    pub game_id: String,
    package_id: String,
    key_id: String,
    secret: String,
}

impl Client {
    /// A client of `base`, e.g. `http://127.0.0.1:8080`.
    #[must_use]
    pub fn new(base: &str, game_id: &str, package_id: &str, key_id: &str, secret: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)));
        Self {
            agent: config.build().into(),
            base: base.trim_end_matches('/').to_owned(),
            game_id: game_id.to_owned(),
            package_id: package_id.to_owned(),
            key_id: key_id.to_owned(),
            secret: secret.to_owned(),
        }
    }

    /// POST as a player's client.
    pub fn sdk(&self, path: &str, bearer: Option<&str>, body: &Value) -> Result<Answer, Failure> {
        self.sdk_keyed(path, bearer, body, None)
    }

    /// The same with an idempotency key.
    pub fn sdk_keyed(
        &self,
        path: &str,
        bearer: Option<&str>,
        body: &Value,
        key: Option<&str>,
    ) -> Result<Answer, Failure> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json");
        if let Some(token) = bearer {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        answer(request.send(body.to_string())?)
    }

    /// GET as a player's client.
    pub fn get(&self, path: &str, bearer: &str) -> Result<Answer, Failure> {
        answer(
            self.agent
                .get(format!("{}{path}", self.base))
                .header("authorization", format!("Bearer {bearer}"))
                .call()?,
        )
    }

    /// The `client` object of a device.
    #[must_use]
    pub fn device(&self, install_id: &str) -> Value {
        json!({"package_id": self.package_id, "os": "android", "device": {"install_id": install_id}})
    }

    /// Registers or logs in.
    pub fn login(&self, path: &str, install_id: &str, credential: &Value) -> Result<Answer, Failure> {
        self.sdk(
            path,
            None,
            &json!({"game_id": self.game_id, "credential": credential, "client": self.device(install_id)}),
        )
    }

    /// A signed POST as a game server.
    pub fn server(&self, path: &str, body: &Value, nonce: &str) -> Result<Answer, Failure> {
        self.server_keyed(path, &body.to_string(), nonce, nonce)
    }

    /// The same with an idempotency key apart from the nonce, as a repeat needs it.
    pub fn server_keyed(&self, path: &str, body: &str, nonce: &str, key: &str) -> Result<Answer, Failure> {
        let timestamp = UNIX_EPOCH.elapsed().map_or(0, |age| age.as_secs()).to_string();
        let signature = sign(&self.secret, "POST", path, &timestamp, nonce, body.as_bytes())?;
        let request = self
            .agent
            .post(format!("{}{path}", self.base))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .header("seawall-key-id", &self.key_id)
            .header("seawall-timestamp", &timestamp)
            .header("seawall-nonce", nonce)
            .header("seawall-signature", &signature);
        answer(request.send(body)?)
    }

    /// Verifies a token.
    pub fn verify(&self, token: &str) -> Result<Answer, Failure> {
        self.server("/server/v1/sessions/verify", &json!({"token": token}), &fresh_nonce())
    }
}

/// A nonce nobody used: nanoseconds since 1970.
#[must_use]
pub fn fresh_nonce() -> String {
    format!("nonce-{}", UNIX_EPOCH.elapsed().map_or(0, |age| age.as_nanos()))
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string()?;
    Ok(Answer {
        status,
        body: serde_json::from_str(&text).unwrap_or(Value::Null),
    })
}

/// The signature of a game server's call: HMAC-SHA256 over five lines joined by single line feeds.
pub fn sign(
    secret: &str,
    method: &str,
    path: &str,
    timestamp: &str,
    nonce: &str,
    body: &[u8],
) -> Result<String, Failure> {
    Ok(seawall_load::service::sign(
        secret, method, path, timestamp, nonce, body,
    ))
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
