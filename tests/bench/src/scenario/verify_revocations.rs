//! Token checks while a thousand, a million and ten million revocations are held.

use std::path::Path;
use std::sync::Arc;

use seawall_domain::SessionId;
use seawall_domain::revocation::Revocation;
use seawall_domain::tables::TABLES;
use seawall_domain::tables::session::{SESSION_REVOCATIONS, SessionRevocationRow};
use seawall_storage::{KeyRing, OpenOptions, Stamp, Store, TxError, WriteError};
use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::{Bench, Figures, each};
use crate::calls::{Prepared, is_valid};
use crate::load::Plan;
use crate::machine::SERVER_CPU;
use crate::process::{figure, part_figures};
use crate::report::{Row, median};
use crate::seawall::Seawall;

const NAME: &str = "verify-revocations";
/// Held in process.
const IN_PROCESS: [(&str, u64); 3] = [
    ("1 thousand", 1_000),
    ("1 million", 1_000_000),
    ("10 million", 10_000_000),
];
/// Held by the server.
const SERVED: [(&str, u64); 2] = [("1 thousand", 1_000), ("1 million", 1_000_000)];
/// Growth that counts as flat.
const FLAT: f64 = 1.1;
/// Rows of a seeding transaction.
const SEED_ROWS: u64 = 500;
/// Session of the first seeded revocation, above those of real sessions.
const FIRST: u64 = 1 << 40;
/// End of the seeded revocations: far away, in 2100.
const EXPIRES_AT: u64 = 4_102_444_800_000;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "In process: the platform's own check over 50,000 tokens in turn, by nanoseconds, with 1 thousand, 1 million and 10 million \
            revocations held: one more miss of the CPU's caches, the larger the table. Served: processor time as in verify-hot, with rows \
            seeded through the store while the server is down; flat means that this does not grow.",
    ideas: &[(
        "",
        "What grows is the cost of a cache miss for the one look-up, not its steps; next: ask the table's tags before the MAC is computed, so \
         that the miss is under way meanwhile.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let (checks, bytes) = in_process(bench)?;
    let served = served(bench)?;
    let mut rows: Vec<Row> = IN_PROCESS
        .iter()
        .zip(&checks)
        .map(|((name, _), ns)| Row::of(NAME, &format!("check in process, {name} held"), "ns", ns))
        .collect();
    rows.push(Row::of(
        NAME,
        "memory of a revocation, 10 million held",
        "bytes",
        &[bytes],
    ));
    let cpu = |runs: &[Figures]| each(runs, |run| run.cpu_us);
    let few = served.first().map(|(_, runs)| cpu(runs)).unwrap_or_default();
    for (number, (name, runs)) in served.iter().enumerate() {
        let row = Row::of(NAME, &format!("server CPU, {name} held"), "CPU-us/request", &cpu(runs));
        rows.push(match number {
            0 => row,
            _ => row.beside("1 thousand held", &few).at_most_times_peer(FLAT),
        });
    }
    rows.push(ten_million(&checks, &few));
    rows.extend(served.iter().map(|(_, runs)| Row::failures(NAME, runs)));
    Ok(rows)
}

/// What a served check costs with ten million held: computed, for seeding so many takes longer than all scenarios.
fn ten_million(checks: &[Vec<f64>], few: &[f64]) -> Row {
    let ns = |place: usize| checks.get(place).map_or(0.0, |ns| median(ns));
    let more_us = (ns(IN_PROCESS.len() - 1) - ns(0)) / 1e3;
    let computed = [median(few) + more_us];
    let row = Row::of(NAME, "server CPU, 10 million held, computed", "us", &computed);
    row.beside("1 thousand held", few)
        .at_most_times_peer(FLAT)
        .note("the served figure of 1 thousand and what a check in process takes longer")
}

/// Nanoseconds of a check, run by run, for each number held; and the bytes of a revocation when most are held.
fn in_process(bench: &Bench) -> Result<(Vec<Vec<f64>>, f64), Failure> {
    let mut checks: Vec<Vec<f64>> = vec![Vec::new(); IN_PROCESS.len()];
    let mut bytes = 0.0;
    for _ in 0..bench.runs {
        for ((_, held), checks) in IN_PROCESS.iter().zip(&mut checks) {
            let arguments = ["revocations".to_owned(), held.to_string()];
            let figures = part_figures(&SERVER_CPU.to_string(), &arguments)?;
            checks.push(figure(&figures, "check_ns")?);
            bytes = figure(&figures, "bytes_each")?;
        }
    }
    Ok((checks, bytes))
}

/// Runs of servers that hold so many, by name.
type Served = Vec<(&'static str, Vec<Figures>)>;

fn served(bench: &Bench) -> Result<Served, Failure> {
    let mut servers = Vec::new();
    for (name, held) in SERVED {
        let mut seawall = Seawall::start(bench, &[])?;
        seawall.restart(|data| seed(data, held))?;
        let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
        servers.push((name, seawall, requests, Vec::<Figures>::new()));
    }
    for _ in 0..bench.runs {
        for (_, seawall, requests, runs) in &mut servers {
            let plan = Plan::closed(seawall.target(), CONNECTIONS, bench.span);
            runs.push(bench.measure(&plan, &mut Prepared::new(requests, is_valid), seawall.pid())?);
        }
    }
    Ok(servers.into_iter().map(|(name, _, _, runs)| (name, runs)).collect())
}

/// Writes revocations into the data directory of a server that is down.
fn seed(data: &Path, held: u64) -> Result<(), Failure> {
    let keys = KeyRing::load_or_create(&data.join("keys/cluster.key"), data, &[1; 32]).map_err(|e| e.to_string())?;
    let store =
        Store::open(data, OpenOptions::new(TABLES, keys, Arc::new(|| 1), [9; 32])).map_err(|e| e.to_string())?;
    let mut out = std::collections::VecDeque::new();
    for first in (0..held).step_by(usize::try_from(SEED_ROWS)?) {
        let last = held.min(first + SEED_ROWS);
        out.push_back(store.write(stamp(first), move |tx| {
            (first..last).try_for_each(|number| {
                let row = SessionRevocationRow {
                    expires_at: EXPIRES_AT,
                    reason: Revocation::Replaced,
                };
                tx.put(&SESSION_REVOCATIONS, &SessionId(FIRST + number), &row)
            })
        }));
        if out.len() > 8
            && let Some(write) = out.pop_front()
        {
            write.wait().map_err(|e: WriteError<TxError>| e.to_string())?;
        }
    }
    for write in out {
        write.wait().map_err(|e: WriteError<TxError>| e.to_string())?;
    }
    store.shutdown();
    Ok(())
}

fn stamp(number: u64) -> Stamp {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&number.to_be_bytes());
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_millis());
    Stamp {
        op: "session.revoke",
        caller: "bench".into(),
        request_id: [0; 16],
        now_at: u64::try_from(now).unwrap_or(0),
        entropy,
        idempotency_key: None,
    }
}
