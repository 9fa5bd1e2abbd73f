//! A data directory with the clients that use it, over many starts of the server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seawall_tests::admin::{Admin, Body};
use seawall_tests::server::{Failure, Launch, Server, Started};
use serde_json::{Value, json};

use crate::audit::{Audited, Known, audit};
use crate::book::{Book, Caller};
use crate::dice::Dice;
use crate::importer::{self, Import};
use crate::load::Worker;
use crate::scenario::{Rig, Trouble, wrong};

/// Clients at a time.
const WORKERS: u64 = 6;
/// How long a step may take before it counts as stuck.
pub const STEP_MAX: Duration = Duration::from_secs(60);

/// The data directory, what is known of it, and how its server is started.
pub struct World {
    pub data: PathBuf,
    pub known: Known,
    pub launch: Launch,
    pub dice: Dice,
    round: u64,
    /// Logs lie where no scenario fills or breaks the disk.
    logs_kept: Arc<tempfile::TempDir>,
}

/// The clients at work, as the one who cuts them off sees them.
pub struct AtWork<'a> {
    books: &'a [Mutex<Book>],
    import: &'a Mutex<Import>,
    has_auth_log: bool,
}

impl AtWork<'_> {
    /// Runs `act` while no client may note or begin anything; what is known at that instant comes with its result.
    pub fn frozen<T>(&self, act: impl FnOnce() -> T) -> Result<(Known, T), Trouble> {
        let locked: Result<Vec<_>, _> = self.books.iter().map(Mutex::lock).collect();
        let books = locked.map_err(|_| Trouble::Wrong("a client panicked".into()))?;
        let import = self
            .import
            .lock()
            .map_err(|_| Trouble::Wrong("the importer panicked".into()))?;
        let result = act();
        let known = Known {
            books: books.iter().map(|book| (**book).clone()).collect(),
            import: import.clone(),
            has_auth_log: self.has_auth_log,
        };
        Ok((known, result))
    }

    pub fn acknowledged(&self) -> u64 {
        self.books
            .iter()
            .filter_map(|book| book.lock().ok())
            .map(|book| book.acknowledged)
            .sum()
    }

    /// Until so many more operations are acknowledged.
    pub fn until_acknowledged(&self, more: u64) -> Result<(), Trouble> {
        let wanted = self.acknowledged() + more;
        let deadline = Instant::now() + STEP_MAX;
        while self.acknowledged() < wanted {
            if Instant::now() > deadline {
                return wrong("the load does not get on");
            }
            pause(2);
        }
        Ok(())
    }
}

/// A poll interval or a dwell of the load, in milliseconds.
pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms)); // poll
}

/// Has every session of an account stay when it logs in again.
pub fn keep_sessions(server: &Server) -> Result<(), Trouble> {
    let path = format!("/admin/v1/games/{}", server.fact("game_id"));
    let policy = json!({"session_policy": "both"});
    match caller(server).admin.post(&path, Body::Json(&policy)) {
        Ok(answer) if answer.status != 200 => wrong(format!("game.update answered {}", answer.body)),
        // A fault that strikes this early is the scenario's business.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Who speaks to a server.
pub fn caller(server: &Server) -> Caller {
    Caller {
        client: server.client(),
        admin: Admin::new(Path::new(server.fact("admin_socket"))),
    }
}

impl World {
    /// An empty directory below `parent`, for the binary with faults on demand.
    pub fn new(rig: &Rig, parent: &Path) -> Result<Self, Trouble> {
        let dice = rig.dice();
        let data = parent.join("data");
        std::fs::create_dir_all(&data)?;
        let logs = rig.folder()?;
        let launch = Launch {
            binary: rig.faulty.clone(),
            wrapper: Vec::new(),
            env: Vec::new(),
            arguments: vec![
                "--set".into(),
                "log.format=human".into(),
                "--set".into(),
                "disk.reserve_mib=0".into(),
            ],
            log: Some(logs.path().join("log")),
        };
        let known = Known {
            books: (0..WORKERS).map(|_| Book::default()).collect(),
            import: Import::new(),
            has_auth_log: true,
        };
        Ok(Self {
            data,
            known,
            launch,
            dice,
            round: 0,
            logs_kept: Arc::new(logs),
        })
    }

    /// The same clients on another directory, with what they knew at some instant.
    pub fn elsewhere(&self, data: PathBuf, known: Known) -> Self {
        Self {
            data,
            known,
            launch: self.launch.clone(),
            dice: self.dice.clone(),
            round: self.round,
            logs_kept: Arc::clone(&self.logs_kept),
        }
    }

    /// Starts the server with these faults.
    pub fn start(&self, faults: &str) -> Result<Started, Failure> {
        let mut launch = self.launch.clone();
        launch.env.push(("SEAWALL_FAULTS".into(), faults.into()));
        launch.start(&self.data)
    }

    /// Starts the server, which must come up. Every session of an account stays when it logs in again.
    pub fn up(&self, faults: &str) -> Result<Server, Trouble> {
        match self.start(faults)? {
            Started::Up(server) => {
                keep_sessions(&server)?;
                Ok(server)
            }
            Started::Ended { code, log } => wrong(format!("the server does not start: exit {code:?}: {}", tail(&log))),
        }
    }

    /// Lets the clients work while `cut` decides when it is over.
    pub fn work<T>(
        &mut self,
        caller: Caller,
        cut: impl FnOnce(&AtWork<'_>) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        self.round += 1;
        let books: Vec<Mutex<Book>> = std::mem::take(&mut self.known.books)
            .into_iter()
            .map(Mutex::new)
            .collect();
        let import = Mutex::new(self.known.import.clone());
        let stop = AtomicBool::new(false);
        let has_auth_log = self.known.has_auth_log;
        let result = std::thread::scope(|scope| {
            for (number, book) in books.iter().enumerate() {
                let name = format!("r{}w{number}", self.round);
                let dice = self.dice.fork(number as u64);
                let worker = Worker {
                    name,
                    caller: caller.clone(),
                    book,
                    dice,
                };
                let stop = &stop;
                scope.spawn(move || worker.run(stop));
            }
            let (import, caller, halt) = (&import, &caller, &stop);
            scope.spawn(move || importer::run(import, caller, halt));
            let result = cut(&AtWork {
                books: &books,
                import,
                has_auth_log,
            });
            stop.store(true, Ordering::Relaxed);
            result
        });
        let unlocked = books
            .into_iter()
            .map(|book| book.into_inner().unwrap_or_else(|broken| broken.into_inner()));
        self.known.books = unlocked.collect();
        self.known.import = import.into_inner().unwrap_or_else(|broken| broken.into_inner());
        result
    }

    /// Compares what is known with what a server says, kills it, and has the store check itself.
    pub fn audit(&mut self, server: Server) -> Result<Audited, Trouble> {
        let audited = audit(&mut self.known, &caller(&server), &mut self.dice).map_err(Trouble::Wrong)?;
        server.kill()?;
        self.verify()?;
        Ok(audited)
    }

    /// Restarts without faults, audits, stops in order, and has the store check itself.
    pub fn restart_and_audit(&mut self) -> Result<Audited, Trouble> {
        let server = self.up("")?;
        let audited = audit(&mut self.known, &caller(&server), &mut self.dice).map_err(Trouble::Wrong)?;
        if !server.stop(STEP_MAX)? {
            return wrong("the server did not stop in order");
        }
        self.verify()?;
        Ok(audited)
    }

    /// `seawall db verify`: the chain recomputes, indexes equal records. How many frames it read.
    pub fn verify(&self) -> Result<u64, Trouble> {
        let output = Command::new(&self.launch.binary)
            .args(["db", "verify", "--json", "--data"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: Value = serde_json::from_str(said.lines().last().unwrap_or("null")).unwrap_or(Value::Null);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            let problems = report.pointer("/problems").map_or(errors, Value::to_string);
            let short: String = problems.chars().take(400).collect();
            return wrong(format!("store.verify: exit {:?}: {short}", output.status.code()));
        }
        Ok(report.pointer("/checked/frames").and_then(Value::as_u64).unwrap_or(0))
    }
}

/// Did the server refuse to start with a code, or end itself by a signal because the store failed right after the start? Not
/// by another signal, which nobody announces.
pub fn has_stopped(code: Option<i32>, log: &str) -> bool {
    match code {
        Some(code) => code != 0,
        None => log.contains("the store failed; the process ends"),
    }
}

/// The end of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(3))
        .copied()
        .collect::<Vec<_>>()
        .join(" / ")
}
