//! SIGTERM while a balancer that has not noticed goes on sending, over kept and over new connections.

use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::Bench;
use crate::calls::{Prepared, is_valid};
use crate::load::{Arrival, Life, Meter, Outcome, Part, Plan, run_together};
use crate::report::Row;
use crate::storm::{SOURCES, start};

const NAME: &str = "drain";
/// Checks a second over kept connections.
const KEPT_RATE: f64 = 2_000.0;
/// Checks a second over a connection for each.
const NEW_RATE: f64 = 500.0;
/// Connections of the second kind at most.
const NEW_CONNECTIONS: usize = 256;
/// Undisturbed calls before the signal.
const BEFORE: Duration = Duration::from_secs(1);
/// How long the balancer does not notice; shorter than the lame duck.
const UNNOTICED: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(2);
const LAME_DUCK: &[&str] = &["drain.lame_duck_ms=12000", "drain.hard_limit_ms=25000"];
const NONE: &[&str] = &["drain.lame_duck_ms=0", "drain.hard_limit_ms=5000"];

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Checks in an open loop, 2,000/s over 64 kept connections and 500/s over a new connection each; SIGTERM after 1 s, and the calls go on for \
            10 s more, as from a balancer that has not noticed. The lame duck is set to 12 s. Beside: the same without a lame duck. One run.",
    ideas: &[(
        "calls refused, reset or lost",
        "A connection was closed while a request was on its way: the answer before it must have said `connection: close`.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let own = side(bench, LAME_DUCK)?;
    let peer = side(bench, NONE)?;
    let sum = |outcomes: &[Outcome], of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>() as f64;
    let errors: fn(&Outcome) -> u64 = |outcome| outcome.errors;
    let mut lost = Row::of(NAME, "calls refused, reset or lost", "calls", &[sum(&own, errors)])
        .beside("without a lame duck", &[sum(&peer, errors)])
        .at_most(0.0)
        .note(&format!("of {:.0} calls", sum(&own, Outcome::calls)));
    for example in own.iter().flat_map(|outcome| &outcome.examples).take(2) {
        lost = lost.note(example);
    }
    let others = sum(&own, |outcome| outcome.wrong + outcome.refused);
    let slowest = own
        .iter()
        .map(|outcome| outcome.latency_us(1.0) / 1e3)
        .fold(0.0, f64::max);
    Ok(vec![
        lost,
        Row::of(NAME, "other answers than the right one", "calls", &[others]).at_most(0.0),
        Row::of(NAME, "slowest answer", "ms", &[slowest]),
    ])
}

fn side(bench: &Bench, settings: &[&str]) -> Result<Vec<Outcome>, Failure> {
    let seawall = start(bench, settings)?;
    let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let target = seawall.target().with_sources(SOURCES);
    let open = |connections, rate| Plan {
        warm_up: Duration::ZERO,
        patience: PATIENCE,
        ..Plan::open(target.clone(), connections, Arrival::Constant(rate), BEFORE + UNNOTICED)
    };
    let mut kept = Prepared::new(&requests, is_valid);
    let mut fresh = Prepared::new(&requests, is_valid);
    let mut parts = [
        Part {
            plan: open(CONNECTIONS, KEPT_RATE),
            callers: &mut kept,
        },
        Part {
            plan: open(NEW_CONNECTIONS, NEW_RATE).with_life(Life::PerCall),
            callers: &mut fresh,
        },
    ];
    let mut terminator = Terminator {
        pid: seawall.pid(),
        thread: None,
    };
    let outcomes = run_together(&mut parts, &mut terminator)?;
    let thread = terminator.thread.take().ok_or("the run ended before the signal")?;
    let sent = thread.join().map_err(|_| "the thread of the signal panicked")??;
    if !sent.success() {
        return Err("SIGTERM could not be sent".into());
    }
    Ok(outcomes)
}

/// Sends SIGTERM a while after measuring began.
struct Terminator {
    pid: u32,
    thread: Option<JoinHandle<std::io::Result<std::process::ExitStatus>>>,
}

impl Meter for Terminator {
    fn begin(&mut self) {
        let pid = self.pid.to_string();
        self.thread = Some(std::thread::spawn(move || {
            std::thread::park_timeout(BEFORE);
            Command::new("kill").args(["-TERM", &pid]).status()
        }));
    }

    fn end(&mut self) {}
}
