//! Large sets of accounts and sessions, made once and kept outside of the clone. A scenario works on a copy whose table files are
//! hard links: they never change, so a copy of many gigabytes takes a moment and little room. So a large set begins as a copy of
//! the next smaller one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seawall_tests::accounts::{self, PEPPER};
use seawall_tests::server::Failure;
use serde::{Deserialize, Serialize};

use crate::bench::Bench;
use crate::seawall::Seawall;
use crate::sessions;

/// Raised when sets of older builds are of no use any more.
const VERSION: u32 = 1;
/// Sessions that every account of a set has open.
pub const SESSIONS_PER_ACCOUNT: u64 = 3;
/// Accounts of one import.
const CHUNK_ACCOUNTS: u64 = 1_000_000;
/// First uid of a set.
pub const FIRST_UID: u64 = 1_000_000;
/// Room that a set needs while it is made, for each account with its sessions.
const ROOM_BYTES: u64 = 2_500;
/// Sets that others begin with.
const BASES: [u64; 2] = [10_000_000, 1_000_000];
/// A directory that did not change for so long has no compaction left to do.
const SETTLED_FOR: Duration = Duration::from_secs(3);
const SETTLED_MAX: Duration = Duration::from_secs(180);
/// How often an import is begun.
const ATTEMPTS_MAX: usize = 5;
/// Written last; what lies without it is not whole.
const READY: &str = "set.json";

/// A set.
pub struct Dataset {
    dir: PathBuf,
    /// What it holds.
    pub facts: Facts,
}

/// What a set holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Accounts.
    pub accounts: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Bytes on disk with the sessions.
    pub all_bytes: u64,
}

impl Dataset {
    /// The set of so many accounts; makes it when it is not there. `None` when the disk has no room for it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ensure(bench: &Bench, accounts: u64) -> Result<Option<Self>, Failure> {
        let dir = bench.cache.join(format!("accounts-{accounts}-v{VERSION}"));
        if let Ok(bytes) = fs::read(dir.join(READY)) {
            let facts = serde_json::from_slice(&bytes)?;
            return Ok(Some(Self { dir, facts }));
        }
        let base = match BASES.into_iter().find(|base| *base < accounts) {
            Some(base) => Self::ensure(bench, base)?,
            None => None,
        };
        fs::create_dir_all(&bench.cache)?;
        if free_bytes(&bench.cache)? < accounts * ROOM_BYTES {
            return Ok(None);
        }
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir)?;
        eprintln!(
            "   making a set of {accounts} accounts in {}; kept for later runs",
            dir.display()
        );
        let facts = make(bench, &dir, accounts, base.as_ref())?;
        fs::write(dir.join(READY), serde_json::to_vec(&facts)?)?;
        Ok(Some(Self { dir, facts }))
    }

    /// A copy to work on, in `into`, which does not exist yet.
    ///
    /// # Errors
    /// The file system's.
    pub fn copy_to(&self, into: &Path) -> Result<(), Failure> {
        copy(&self.dir.join("data"), into)
    }
}

fn make(bench: &Bench, dir: &Path, accounts: u64, base: Option<&Dataset>) -> Result<Facts, Failure> {
    let data = dir.join("data");
    let before = match base {
        Some(base) => {
            base.copy_to(&data)?;
            base.facts.clone()
        }
        None => Facts::default(),
    };
    let mut seawall = Seawall::start_at(bench, &data, &[], None)?;
    let (mut first, end) = (FIRST_UID + before.accounts, FIRST_UID + accounts);
    while first < end {
        let count = CHUNK_ACCOUNTS.min(end - first);
        let took = import(bench, &data, first, count)?;
        first += count;
        let rate = count as f64 / took.as_secs_f64();
        eprintln!(
            "   {} of {accounts} accounts, the last at {rate:.0} a second",
            first - FIRST_UID
        );
    }
    settle(&data)?;
    let place = seawall.place()?;
    seawall.stop()?;
    let players = sessions::Players {
        per_account: SESSIONS_PER_ACCOUNT,
        first_uid: FIRST_UID + before.accounts,
    };
    let sessions = before.sessions + sessions::seed_apart(&data, &place, players)?;
    eprintln!("   {sessions} sessions");
    let mut seawall = Seawall::start_at(bench, &data, &[], None)?;
    settle(&data)?;
    seawall.stop()?;
    Ok(Facts {
        accounts,
        sessions,
        all_bytes: disk_bytes(&data),
    })
}

/// Takes over accounts through the command line, as an operator does; how long that took.
///
/// # Errors
/// When it fails.
pub fn import(bench: &Bench, data: &Path, first_uid: u64, count: u64) -> Result<Duration, Failure> {
    let scratch = bench.scratch()?;
    let (file, pepper) = (scratch.path().join("accounts.ndjson"), scratch.path().join("pepper"));
    let plan = accounts::Plan {
        count,
        first_uid,
        seed: first_uid,
        csv: false,
    };
    let mut out = std::io::BufWriter::with_capacity(1 << 20, fs::File::create(&file)?);
    accounts::write(plan, &mut out)?;
    std::io::Write::flush(&mut out)?;
    fs::write(&pepper, PEPPER)?;
    let begun = Instant::now();
    let path = |path: &Path| path.display().to_string();
    let arguments = [
        "account",
        "import",
        &path(&file),
        "--pepper-file",
        &path(&pepper),
        "--json",
        "--data",
        &path(data),
    ];
    // An import that was cut short goes on where it stood; on a machine that others use too a chunk may take too long.
    let mut attempts = 0;
    let done = loop {
        attempts += 1;
        match bench.command_line(&arguments) {
            Err(error) if attempts < ATTEMPTS_MAX => eprintln!("   the import goes on after: {error}"),
            other => break other?,
        }
    };
    let taken_over = done["created"].as_u64().unwrap_or(0) + done["unchanged"].as_u64().unwrap_or(0);
    if taken_over != count {
        return Err(format!("the import took over something else: {done}").into());
    }
    Ok(begun.elapsed())
}

/// Waits until nothing changes any more.
///
/// # Errors
/// When it does not come to rest.
pub fn settle(data: &Path) -> Result<(), Failure> {
    let end = Instant::now() + SETTLED_MAX;
    let (mut bytes, mut since) = (disk_bytes(data), Instant::now());
    while since.elapsed() < SETTLED_FOR {
        if Instant::now() > end {
            return Err(format!("{} does not come to rest", data.display()).into());
        }
        std::thread::sleep(Duration::from_millis(200)); // poll
        let now = disk_bytes(data);
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// Bytes of all files below a directory.
#[must_use]
pub fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk_bytes(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Room on the disk of `dir`.
///
/// # Errors
/// The file system's.
pub fn free_bytes(dir: &Path) -> Result<u64, Failure> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail * stat.f_frsize)
}

fn copy(from: &Path, into: &Path) -> Result<(), Failure> {
    fs::create_dir_all(into)?;
    fs::set_permissions(into, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, into, kind) = (entry.path(), into.join(entry.file_name()), entry.file_type()?);
        let is_table = from.extension().is_some_and(|extension| extension == "sst");
        if kind.is_dir() {
            copy(&from, &into)?;
        } else if kind.is_file() && !(is_table && fs::hard_link(&from, &into).is_ok()) {
            fs::copy(&from, &into)?;
        }
    }
    Ok(())
}
