//! Token checks at half their peak, alone and beside other work: what does their p99 say?

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::Bench;
use crate::calls::{Prepared, Watched, is_200, is_valid};
use crate::dataset::Dataset;
use crate::load::{Arrival, Callers, NoMeter, Part, Plan, run as load, run_together};
use crate::machine::SERVER_CPU;
use crate::report::{Row, median};
use crate::seawall::{SESSIONS, Seawall, get, post};
use crate::storm::members::{login_body, with_passwords};
use crate::storm::{SETTINGS, SOURCES};

const NAME: &str = "storm-beside";
/// Share of the peak of checks that is asked for.
const LOAD: f64 = 0.5;
/// Accounts of the set that is scanned.
const SET_ACCOUNTS: u64 = 1_000_000;
/// Logins under way at once; with nothing remembered each needs a hash.
const COLD_LOGINS: usize = 64;
const PASSWORDS: usize = 32;
/// Lists asked for a second, many times what can be answered, over so many connections.
const LISTS: f64 = 100_000.0;
const LIST_CONNECTIONS: usize = 2_000;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Checks in an open loop (Poisson, 64 connections) at half of their peak: alone; beside a flood of password logins, 64 at a time with nothing \
            remembered; beside an export of all accounts of a set of 1 million and lists of sessions, for which 100,000 calls a second are made over \
            2,000 connections, all of which always wait for an answer. All of it, the export's command too, shares the server's one CPU.",
    ideas: &[(
        "p99",
        "Checks go first (decisions/0820-checks-go-first.md); what is left is what the kernel does not interrupt, caches that others filled, and 2,000 \
         connections that ask at once. Next: a CPU of their own for the threads of checks where there are more than two.",
    )],
    run,
};

/// What is asked beside the checks.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    ColdLogins,
    ScanAndLists,
}

/// What the checks saw in a run.
struct Seen {
    p99_us: f64,
    wrong: f64,
    false_invalids: f64,
    /// Right answers beside them, a second.
    rate: f64,
}

/// Requests that are prepared.
struct Requests {
    checks: Vec<Vec<u8>>,
    logins: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    rate: f64,
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let Some(set) = Dataset::ensure(bench, SET_ACCOUNTS)? else {
        return Ok(vec![Row::missing(
            NAME,
            "all",
            "the disk has no room for the set",
            false,
        )]);
    };
    let scratch = bench.scratch()?;
    let data = scratch.path().join("data");
    set.copy_to(&data)?;
    let settings = [SETTINGS, &["hash.credential_cache_minutes=0"]].concat();
    let mut seawall = Seawall::start_at(bench, &data, &settings, Some(SERVER_CPU))?;
    let requests = prepare(bench, &seawall)?;
    let kinds = [Beside::Nothing, Beside::ColdLogins, Beside::ScanAndLists];
    let mut runs: [Vec<Seen>; 3] = Default::default();
    for round in 0..bench.runs as u64 {
        for (beside, runs) in kinds.into_iter().zip(&mut runs) {
            let scan = if beside == Beside::ScanAndLists {
                Some(Scan::begin(
                    bench,
                    &data,
                    &scratch.path().join(format!("export-{round}")),
                )?)
            } else {
                None
            };
            runs.push(one(bench, &seawall, &requests, beside, round)?);
            drop(scan);
        }
    }
    seawall.stop()?;
    let [alone, cold, bulk] = &runs;
    let p99 = |runs: &[Seen]| runs.iter().map(|run| run.p99_us).collect::<Vec<f64>>();
    let row = |metric: &str, runs: &[Seen]| Row::of(NAME, metric, "us", &p99(runs));
    let note = |runs: &[Seen], of: &str| {
        let rates: Vec<f64> = runs.iter().map(|run| run.rate).collect();
        format!("{:.0} {of} a second beside", median(&rates))
    };
    let all = || runs.iter().flatten();
    let wrong: Vec<f64> = all().map(|run| run.wrong).collect();
    let invalids: Vec<f64> = all().map(|run| run.false_invalids).collect();
    Ok(vec![
        row("p99 of checks alone", alone).note(&format!("{:.0} checks a second", requests.rate)),
        row("p99 beside cold logins", cold)
            .beside("alone", &p99(alone))
            .at_most_times_peer(1.2)
            .note(&note(cold, "logins")),
        row("p99 beside an export and 100,000 lists", bulk)
            .beside("alone", &p99(alone))
            .at_most_times_peer(1.1)
            .note(&note(bulk, "lists")),
        Row::of(NAME, "wrong answers and errors of checks", "calls", &wrong).at_most(0.0),
        Row::of(NAME, "good tokens called invalid", "answers", &invalids).at_most(0.0),
    ])
}

fn prepare(bench: &Bench, seawall: &Seawall) -> Result<Requests, Failure> {
    let players = seawall.players(PLAYERS)?;
    let checks = seawall.verifies(&players)?;
    let credentials = with_passwords(seawall, PASSWORDS)?;
    let logins = credentials.iter().enumerate().map(|(number, credential)| {
        let body = login_body(seawall, credential, &format!("beside-{number}"));
        post(SESSIONS, &[], &body)
    });
    let plan = Plan::closed(seawall.target(), CONNECTIONS, bench.span / 3);
    let peak = load(&plan, &mut Prepared::new(&checks, is_valid), &mut NoMeter)?.rate();
    Ok(Requests {
        logins: logins.collect(),
        lists: players
            .iter()
            .map(|player| get(SESSIONS, &player.access_token))
            .collect(),
        checks,
        rate: peak * LOAD,
    })
}

fn one(bench: &Bench, seawall: &Seawall, requests: &Requests, beside: Beside, seed: u64) -> Result<Seen, Failure> {
    let target = || seawall.target().with_sources(SOURCES);
    let poisson = Arrival::Poisson {
        rate: requests.rate,
        seed,
    };
    let mut checks = Watched::new(Prepared::new(&requests.checks, is_valid));
    let mut logins = Prepared::new(&requests.logins, is_200);
    let mut lists = Prepared::new(&requests.lists, is_200);
    let mut parts = vec![Part {
        plan: Plan::open(target(), CONNECTIONS, poisson, bench.span),
        callers: &mut checks as &mut dyn Callers,
    }];
    match beside {
        Beside::Nothing => {}
        Beside::ColdLogins => parts.push(Part {
            plan: Plan::closed(target(), COLD_LOGINS, bench.span),
            callers: &mut logins,
        }),
        Beside::ScanAndLists => parts.push(Part {
            // All in the first second; what is not answered in the span is cut off.
            plan: Plan {
                patience: Duration::ZERO,
                ..Plan::open(target(), LIST_CONNECTIONS, Arrival::Constant(LISTS), bench.span)
            },
            callers: &mut lists,
        }),
    }
    let outcomes = run_together(&mut parts, &mut NoMeter)?;
    drop(parts);
    let Some(first) = outcomes.first() else {
        return Err("no load has an outcome".into());
    };
    Ok(Seen {
        p99_us: first.latency_us(0.99),
        wrong: first.failures() as f64,
        false_invalids: checks.false_invalids as f64,
        // Lists are asked for from before the span on, and answered much later: what counts is when.
        rate: outcomes
            .get(1)
            .map_or(0.0, |beside| beside.in_span.len() as f64 / bench.span.as_secs_f64()),
    })
}

/// An export of all accounts over the admin socket, cut off when dropped. It runs where an operator's would: on the server's host,
/// which is one CPU here.
struct Scan(Child);

impl Scan {
    fn begin(bench: &Bench, data: &Path, into: &Path) -> Result<Self, Failure> {
        let child = Command::new("taskset")
            .args(["-c", &SERVER_CPU.to_string()])
            .arg(&bench.seawall)
            .args(["account", "export", "--data"])
            .arg(data)
            .arg("--out")
            .arg(into)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
