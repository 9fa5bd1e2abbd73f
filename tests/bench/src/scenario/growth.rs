//! What changes as the data grows: refreshes of sessions nobody looked at for long, registrations, token checks; memory, disk, start.

use std::path::Path;
use std::time::Instant;

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::CONNECTIONS;
use crate::bench::{Bench, Figures, each};
use crate::calls::{Guests, Prepared, Refreshes, is_valid_or_banned};
use crate::dataset::{Dataset, Facts, SESSIONS_PER_ACCOUNT};
use crate::load::Plan;
use crate::machine::SERVER_CPU;
use crate::process::resident_bytes;
use crate::report::Row;
use crate::seawall::{Player, Seawall};
use crate::sessions;

const NAME: &str = "growth";
/// Accounts of the sets, smallest first. The second is what larger ones are held against.
const SIZES: [u64; 4] = [10_000, 1_000_000, 10_000_000, 20_000_000];
const REFERENCE: usize = 1;
/// The largest set is made only when asked for: it takes most of an hour and 40 GB.
pub(super) const ASKED_FOR: &str = "SEAWALL_BENCH_LARGEST";
/// The most refreshes a run can have, a second.
const REFRESHES_PER_S: f64 = 40_000.0;
const VERIFIES: usize = 20_000;
const STARTS: usize = 3;
const FLAT: f64 = 1.25;
/// Names of the tables and indexes of sessions begin so.
const OF_SESSIONS: &str = "sessions";

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Sets of 10 thousand, 1, 10 and 20 million imported accounts with three open sessions each. Refreshes take sessions drawn over \
            the whole set, each once, so that their rows come from the disk or the system's cache; checks take tokens of 20,000 such \
            sessions in turn; 64 kept connections, closed loop, server on one CPU. Memory is read at the end; the start is that of an \
            orderly stop, until the server says that it is ready.",
    ideas: &[
        (
            "refresh",
            "A refresh of a session that is in no cache reads its row and the account's: two looks through the filters of each level, and \
             two blocks.",
        ),
        ("start", "Most of it is RocksDB opening its table files one by one."),
    ],
    run,
};

/// What is known about one size.
struct Size {
    label: String,
    refresh: Vec<Figures>,
    registration: Vec<Figures>,
    verify: Vec<Figures>,
    start_ms: Vec<f64>,
    resident_mib: f64,
    planned_mib: f64,
    account_bytes: f64,
    session_bytes: f64,
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let (mut sizes, mut rows) = (Vec::new(), Vec::new());
    for accounts in SIZES {
        let label = label(accounts);
        if accounts == SIZES[SIZES.len() - 1] && std::env::var_os(ASKED_FOR).is_none() {
            let why = format!("made only with {ASKED_FOR}=1: it takes most of an hour and 40 GB");
            rows.push(Row::missing(NAME, &label, &why, false));
            continue;
        }
        match Dataset::ensure(bench, accounts)? {
            Some(set) => sizes.push(measure(bench, &set, label)?),
            None => rows.push(Row::missing(NAME, &label, "the disk has no room for the set", false)),
        }
    }
    let sync = bench.sync_times()?;
    for (position, size) in sizes.iter().enumerate() {
        let reference = sizes.get(REFERENCE).filter(|_| position > REFERENCE);
        rows.extend(rows_of(size, reference, sync.p50_us));
    }
    Ok(rows)
}

fn label(accounts: u64) -> String {
    match accounts {
        accounts if accounts < 1_000_000 => format!("{} thousand accounts", accounts / 1_000),
        accounts => format!("{} million accounts", accounts / 1_000_000),
    }
}

fn measure(bench: &Bench, set: &Dataset, label: String) -> Result<Size, Failure> {
    let scratch = bench.scratch()?;
    let data = scratch.path().join("data");
    set.copy_to(&data)?;
    let most = (REFRESHES_PER_S * (bench.span.as_secs_f64() + 1.0)) as usize * bench.runs;
    let players = sessions::draw(&data, set.facts.sessions, most.min(set.facts.sessions as usize / 2))?;
    let mut start_ms = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        let mut seawall = Seawall::start_at(bench, &data, &[], None)?;
        start_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        seawall.stop()?;
    }
    let mut seawall = Seawall::start_at(bench, &data, &[], Some(SERVER_CPU))?;
    let requests = seawall.verifies(players.get(..VERIFIES).unwrap_or(&players))?;
    let (mut refresh, mut registration, mut verify) = (Vec::new(), Vec::new(), Vec::new());
    for (run, fresh) in players.chunks(players.len().div_ceil(bench.runs).max(1)).enumerate() {
        refresh.push(refreshes(bench, &seawall, fresh)?);
        let plan = || Plan::closed(seawall.target(), CONNECTIONS, bench.span);
        registration.push(bench.measure(&plan(), &mut Guests::new(&seawall, run as u64), seawall.pid())?);
        verify.push(bench.measure(
            &plan(),
            &mut Prepared::new(&requests, is_valid_or_banned),
            seawall.pid(),
        )?);
    }
    let (account_bytes, session_bytes) = disk(bench, &data, &set.facts)?;
    let status = bench.command_line(&["status", "--json", "--data", &data.display().to_string()])?;
    let planned = status["memory"]["planned_bytes"].as_f64().unwrap_or(0.0);
    let resident_mib = resident_bytes(seawall.pid()) as f64 / f64::from(1 << 20);
    seawall.stop()?;
    Ok(Size {
        label,
        refresh,
        registration,
        verify,
        start_ms,
        resident_mib,
        planned_mib: planned / f64::from(1 << 20),
        account_bytes,
        session_bytes,
    })
}

/// Bytes of table files for an account without its sessions, and for a session, by the engine's own estimate for each table.
fn disk(bench: &Bench, data: &Path, facts: &Facts) -> Result<(f64, f64), Failure> {
    let stats = bench.command_line(&["db", "stats", "--json", "--data", &data.display().to_string()])?;
    let tables = stats["tables"].as_array().ok_or("the store shows no tables")?;
    let (mut accounts, mut sessions) = (0.0, 0.0);
    for table in tables {
        let is_of_sessions = table["name"].as_str().is_some_and(|name| name.starts_with(OF_SESSIONS));
        let place = if is_of_sessions { &mut sessions } else { &mut accounts };
        *place += table["bytes"].as_f64().unwrap_or(0.0);
    }
    Ok((accounts / facts.accounts as f64, sessions / facts.sessions as f64))
}

fn refreshes(bench: &Bench, seawall: &Seawall, players: &[Player]) -> Result<Figures, Failure> {
    let plan = Plan::closed(seawall.target(), CONNECTIONS, bench.span);
    bench.measure(&plan, &mut Refreshes::new(players, CONNECTIONS), seawall.pid())
}

/// The runs of one kind of call.
type RunsOf = fn(&Size) -> &[Figures];

fn rows_of(size: &Size, reference: Option<&Size>, sync_p50_us: f64) -> Vec<Row> {
    let mut rows = Vec::new();
    let calls: [(&str, RunsOf); 3] = [
        ("refresh", |size| &size.refresh),
        ("guest registration", |size| &size.registration),
        ("verify", |size| &size.verify),
    ];
    for (call, of) in calls {
        let (cpu, rate) = (each(of(size), |run| run.cpu_us), each(of(size), |run| run.rate));
        let mut row = Row::of(
            NAME,
            &format!("{call}, server CPU, {}", size.label),
            "CPU-us/request",
            &cpu,
        );
        if let Some(reference) = reference {
            row = row
                .beside(&reference.label, &each(of(reference), |run| run.cpu_us))
                .at_most_times_peer(FLAT);
        }
        rows.push(row.voids(of(size)));
        let mut row = Row::of(NAME, &format!("{call}, rate, {}", size.label), "requests/s", &rate);
        if let Some(reference) = reference {
            row = row
                .beside(&reference.label, &each(of(reference), |run| run.rate))
                .at_least_times_peer(1.0 / FLAT);
        }
        rows.push(row.synced(sync_p50_us));
    }
    let one =
        |metric: &str, unit: &str, value: f64| Row::of(NAME, &format!("{metric}, {}", size.label), unit, &[value]);
    rows.push(Row::of(NAME, &format!("start, {}", size.label), "ms", &size.start_ms).at_most(1000.0));
    rows.push(
        one("resident memory", "MiB", size.resident_mib)
            .beside("the memory plan", &[size.planned_mib])
            .at_most_times_peer(1.0),
    );
    rows.push(one("disk for an account", "bytes", size.account_bytes));
    let sessions = format!(
        "{SESSIONS_PER_ACCOUNT} sessions an account; those of the sets come from {SESSIONS_PER_ACCOUNT} devices in all and so compress better than real ones"
    );
    rows.push(one("disk for a session", "bytes", size.session_bytes).note(&sessions));
    let all: Vec<Figures> = [&size.refresh, &size.registration, &size.verify]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let mut failures = Row::failures(NAME, &all);
    failures.metric = format!("{}, {}", failures.metric, size.label);
    rows.push(failures);
    rows
}
