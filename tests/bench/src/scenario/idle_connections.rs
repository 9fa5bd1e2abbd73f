//! What an idle connection costs in memory, and whether thousands of them slow the busy ones down.

use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS, answer_bytes};
use crate::bench::{Bench, each};
use crate::calls::{Judge, Prepared, is_200, is_valid};
use crate::load::{NoMeter, Plan, Target, hold};
use crate::peer::nginx::Nginx;
use crate::process::resident_bytes;
use crate::report::Row;
use crate::seawall::Seawall;

const NAME: &str = "idle-connections";
/// Idle connections where files allow them.
const MANY: usize = 100_000;
/// Idle connections otherwise.
const FEW: usize = 18_000;
/// Files that are needed beside those of the connections.
const SPARE_FILES: u64 = 1_500;
/// How long to wait for memory that is given back.
const SETTLE: Duration = Duration::from_secs(24);
/// Loopback addresses the loader calls from.
const SOURCES: u8 = 100;
/// Settings that a host with so many connections from one address would have.
const SETTINGS: &[&str] = &["limits.connections_max=200000", "limits.connections_per_address=200000"];

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Connections that were answered once and then stay idle: resident memory of the process for each, and the rate of 64 busy \
            connections beside them. The kernel's own memory for a socket is in neither figure.",
    ideas: &[
        (
            "memory",
            "A parked connection keeps a record, its socket and, with TLS, its session (decisions/0701). Next: TLS sessions that give their record \
             buffers back.",
        ),
        (
            "rate",
            "Parked connections have no task; look at the loader first, which holds their other ends.",
        ),
    ],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let room = usize::try_from(bench.files_max.saturating_sub(SPARE_FILES)).unwrap_or(0);
    let count = if room >= MANY { MANY } else { FEW.min(room) };
    let mut rows = Vec::new();
    if count < MANY {
        let why = format!("a process may open {} files here (ulimit -Hn)", bench.files_max);
        rows.push(Row::missing(NAME, "100,000 idle connections", &why, false));
    }
    for (kind, tls) in [("plain", false), ("TLS", true)] {
        let (own, peer) = (ours(bench, count, tls)?, nginx(bench, count, tls)?);
        let row = Row::of(
            NAME,
            &format!("memory of an idle connection, {kind}, {count} of them"),
            "KiB",
            &[own.kib],
        );
        let row = row.beside("nginx", &[peer.kib]);
        rows.push(if tls { row } else { row.at_most_times_peer(1.5) });
        let row = Row::of(
            NAME,
            &format!("rate beside {count} idle, {kind}"),
            "requests/s",
            &own.after,
        );
        rows.push(
            row.beside("the same without them", &own.before)
                .at_least_times_peer(0.9),
        );
    }
    Ok(rows)
}

struct Idle {
    kib: f64,
    before: Vec<f64>,
    after: Vec<f64>,
}

fn ours(bench: &Bench, count: usize, tls: bool) -> Result<Idle, Failure> {
    let seawall = Seawall::start(bench, SETTINGS)?;
    let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let target = if tls {
        seawall.tls_target(false)
    } else {
        seawall.target()
    };
    idle(
        bench,
        count,
        &target,
        seawall.target(),
        &requests,
        is_valid,
        seawall.pid(),
    )
}

fn nginx(bench: &Bench, count: usize, tls: bool) -> Result<Idle, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let nginx = Nginx::start(bench, answer_bytes(&seawall)?)?;
    let target = if tls { nginx.tls_target(false) } else { nginx.target() };
    idle(bench, count, &target, nginx.target(), &requests, is_200, nginx.pid())
}

fn idle(
    bench: &Bench,
    count: usize,
    target: &Target,
    busy: Target,
    requests: &[Vec<u8>],
    judge: Judge,
    pid: u32,
) -> Result<Idle, Failure> {
    let ask = || {
        let plan = Plan::closed(busy.clone(), CONNECTIONS, bench.span / 2);
        let runs = (0..bench.runs).map(|_| bench.measure(&plan, &mut Prepared::new(requests, judge), pid));
        Ok::<_, Failure>(each(&runs.collect::<Result<Vec<_>, _>>()?, |run| run.rate))
    };
    let before = ask()?;
    let empty_bytes = resident_bytes(pid);
    let plan = Plan::exactly(target.clone().with_sources(SOURCES), count, count as u64);
    let (outcome, held) = hold(&plan, &mut Prepared::new(requests, judge), &mut NoMeter)?;
    if held.count() != count {
        return Err(format!("{} of {count} connections stand: {:?}", held.count(), outcome.examples).into());
    }
    let full_bytes = settled_bytes(pid);
    let after = ask()?;
    Ok(Idle {
        kib: full_bytes.saturating_sub(empty_bytes) as f64 / 1024.0 / count as f64,
        before,
        after,
    })
}

/// Resident memory once it falls no more: buffers of idle connections are given back after ten seconds at most, and by the allocator to the
/// system some seconds later.
fn settled_bytes(pid: u32) -> u64 {
    let begun = Instant::now();
    let mut least = u64::MAX;
    while begun.elapsed() < SETTLE {
        std::thread::sleep(Duration::from_millis(250)); // poll
        least = least.min(resident_bytes(pid));
    }
    least
}
