//! Ten times more work than there is room for: does the server still do as much as it can, and are checks answered in time?

use std::time::Duration;

use seawall_tests::client_rules::Call;
use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::Bench;
use crate::calls::{Guests, Prepared, Refreshes, Watched, is_200, is_valid};
use crate::load::{Arrival, Callers, NoMeter, Outcome, Part, Plan, run as load, run_together};
use crate::report::{Row, median};
use crate::seawall::{SESSIONS, Seawall, get, post};
use crate::storm::members::{login_body, with_passwords};
use crate::storm::{SOURCES, connections, deadline, start, start_without_admission, void_when_late, work_units};

const NAME: &str = "storm-mix";
/// What is asked beside the checks.
const REST: [Call; 4] = [Call::Refresh, Call::Login, Call::Register, Call::WithToken];
/// What is offered of it, in what the server carries.
const FACTORS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];
/// Share of its own peak at which checks are asked for.
const VERIFY_LOAD: f64 = 0.6;
/// Checks a second at most, so that one core can send the tenfold of the rest too.
const VERIFY_MAX: f64 = 45_000.0;
/// Connections of each other kind in the run that finds what the server carries.
const CARRIED_CONNECTIONS: usize = 64;
/// Connections of each other kind in a storm.
const STORM_CONNECTIONS: usize = 500;
/// Accounts with a password, logged in to in turn.
const PASSWORDS: usize = 32;
/// Sessions that refresh; more than connections that do.
const SESSIONS_COUNT: usize = 2_000;
/// A call that finds no free connection in this part of its deadline is not made.
const WAITS: u32 = 4;
/// How long answers are waited for after the last call.
const PATIENCE: Duration = Duration::from_secs(2);

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Checks in an open loop at 60 % of their peak (45,000/s at most, so that one loading core can send the rest), beside refreshes, password \
            logins of 32 accounts in turn, guest registrations and lists of sessions, each in an open loop over 500 connections, offered once, twice, \
            five and ten times at the rate a closed loop over 64 connections each carries beside the checks. Goodput counts work units (check 1, refresh 5, \
            login and registration 7, list 10) of right answers within 100 ms, 500 ms, 2 s and 500 ms of their intended times. A call that finds no free connection in a \
            quarter of that is not made: it is lost, as with a crowd of which each waits for its own answer. Beside: the \
            goodput of the closed loop, and the same binary with its admission off, one run.",
    ideas: &[
        (
            "goodput",
            "Refusals cost processor time that goodput lacks; see the share of it that the kernel takes for each, and whether late work is still done.",
        ),
        (
            "checks in time",
            "Work of other classes holds the network threads; see the loop's lag while they are admitted.",
        ),
    ],
    run,
};

/// Rates a second of the checks and of [`REST`].
#[derive(Clone, Copy)]
struct Rates {
    verify: f64,
    verify_peak: f64,
    rest: [f64; REST.len()],
}

/// What came of one run.
struct Storm {
    goodput: f64,
    verify_in_time: f64,
    false_invalids: f64,
    late_ms: f64,
    /// Right answers in time of each kind of the rest, a second.
    rest: [f64; REST.len()],
    examples: Vec<String>,
}

/// What callers are made of.
struct World {
    seawall: Seawall,
    verifies: Vec<Vec<u8>>,
    lists: Vec<Vec<u8>>,
    logins: Vec<Vec<u8>>,
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let world = World::new(start(bench, &[])?)?;
    let rates = world.rates(bench)?;
    let peak = world.storm(bench, &rates, None, 0)?.goodput;
    let mut rows = Vec::new();
    let mut runs: [Vec<Storm>; FACTORS.len()] = Default::default();
    for round in 0..bench.runs {
        for (number, factor) in FACTORS.iter().enumerate() {
            let series = (round * FACTORS.len() + number + 1) as u64;
            runs[number].push(world.storm(bench, &rates, Some(*factor), series)?);
        }
    }
    drop(world);
    let (peer, why) = match start_without_admission(bench) {
        Ok(seawall) => (without_admission(bench, seawall, &rates)?, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    for (number, factor) in FACTORS.iter().enumerate() {
        rows.extend(rows_of(*factor, &runs[number], peak, &rates, peer.get(number)));
    }
    let all = runs.iter().flatten();
    let invalids: Vec<f64> = all.clone().map(|storm| storm.false_invalids).collect();
    let mut row = Row::of(NAME, "good tokens and passwords called bad", "answers", &invalids);
    row.value = invalids.iter().sum();
    row = row.at_most(0.0);
    for example in all.flat_map(|storm| &storm.examples).take(2) {
        row = row.note(example);
    }
    rows.push(row);
    if let (Some(why), Some(row)) = (why, rows.first_mut()) {
        *row = row.clone().note(&why);
    }
    Ok(rows)
}

fn without_admission(bench: &Bench, seawall: Seawall, rates: &Rates) -> Result<Vec<Storm>, Failure> {
    let world = World::new(seawall)?;
    let storms = FACTORS.iter().enumerate();
    storms
        .map(|(number, factor)| world.storm(bench, rates, Some(*factor), number as u64))
        .collect()
}

fn rows_of(factor: f64, runs: &[Storm], peak: f64, rates: &Rates, peer: Option<&Storm>) -> Vec<Row> {
    let each = |of: fn(&Storm) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
    let beside = |row: Row, of: fn(&Storm) -> f64| match peer {
        Some(peer) => row.beside("admission off", &[of(peer)]),
        None => row,
    };
    let goodput = || {
        Row::of(
            NAME,
            &format!("goodput at {factor}x"),
            "work units/s",
            &each(|storm| storm.goodput),
        )
    };
    let late_ms = median(&each(|storm| storm.late_ms));
    let kinds = REST.iter().enumerate().map(|(number, call)| {
        let done: Vec<f64> = runs.iter().map(|storm| storm.rest[number]).collect();
        let (done, offered) = (median(&done), rates.rest[number] * factor);
        format!("{} {done:.0} of {offered:.0}", kind(*call))
    });
    let offered = format!(
        "in time of offered a second: verify {:.0} ({:.0} % of its peak); {}",
        rates.verify,
        rates.verify / rates.verify_peak * 100.0,
        kinds.collect::<Vec<_>>().join(", ")
    );
    let to_peak = goodput()
        .beside("goodput of the closed loop", &[peak])
        .at_least_times_peer(0.95)
        .note(&offered);
    let in_time = beside(
        Row::of(
            NAME,
            &format!("checks in time at {factor}x"),
            "share",
            &each(|storm| storm.verify_in_time),
        ),
        |storm| storm.verify_in_time,
    )
    .at_least(0.999);
    let mut rows = vec![void_when_late(to_peak, late_ms), void_when_late(in_time, late_ms)];
    if peer.is_some() {
        rows.push(beside(goodput(), |storm| storm.goodput));
    }
    rows
}

fn kind(call: Call) -> &'static str {
    match call {
        Call::Verify => "verify",
        Call::Refresh => "refresh",
        Call::Login => "login",
        Call::Register => "register",
        Call::WithToken => "list",
    }
}

impl World {
    fn new(seawall: Seawall) -> Result<Self, Failure> {
        let players = seawall.players(PLAYERS)?;
        let logins = with_passwords(&seawall, PASSWORDS)?;
        let logins = logins.iter().enumerate().map(|(number, credential)| {
            let body = login_body(&seawall, credential, &format!("storm-named-{number}"));
            post(SESSIONS, &[], &body)
        });
        Ok(Self {
            logins: logins.collect(),
            verifies: seawall.verifies(&players)?,
            lists: players
                .iter()
                .map(|player| get(SESSIONS, &player.access_token))
                .collect(),
            seawall,
        })
    }

    /// What is offered as the single load.
    fn rates(&self, bench: &Bench) -> Result<Rates, Failure> {
        let plan = Plan::closed(self.seawall.target(), CONNECTIONS, bench.span / 3);
        let verify_peak = load(&plan, &mut Prepared::new(&self.verifies, is_valid), &mut NoMeter)?.rate();
        let mut rates = Rates {
            verify: (verify_peak * VERIFY_LOAD).min(VERIFY_MAX),
            verify_peak,
            rest: [0.0; REST.len()],
        };
        rates.rest = self.storm(bench, &rates, None, 70)?.rest;
        Ok(rates)
    }

    fn callers(&self, call: Call, connections: usize, series: u64) -> Result<Watched<Box<dyn Callers + '_>>, Failure> {
        Ok(Watched::new(match call {
            Call::Verify => Box::new(Prepared::new(&self.verifies, is_valid)),
            // Sessions of their own in each run: a refresh token is used up by the run before.
            Call::Refresh => Box::new(Refreshes::new(&self.seawall.players(SESSIONS_COUNT)?, connections)),
            Call::Login => Box::new(Prepared::new(&self.logins, is_200)),
            Call::Register => Box::new(Guests::new(&self.seawall, series)),
            Call::WithToken => Box::new(Prepared::new(&self.lists, is_200)),
        }))
    }

    /// Checks at their rate, and the rest at `factor` times its own; without a factor the rest is a closed loop.
    fn storm(&self, bench: &Bench, rates: &Rates, factor: Option<f64>, series: u64) -> Result<Storm, Failure> {
        let target = || self.seawall.target().with_sources(SOURCES);
        let wanted = if factor.is_some() {
            STORM_CONNECTIONS
        } else {
            CARRIED_CONNECTIONS
        };
        let rest = connections(bench, wanted * REST.len()) / REST.len();
        let poisson = |rate: f64, seed| Arrival::Poisson {
            rate: rate.max(1.0),
            seed,
        };
        let mut plans = vec![(
            Call::Verify,
            Plan::open(target(), CONNECTIONS * 4, poisson(rates.verify, series), bench.span),
        )];
        for (number, call) in REST.iter().enumerate() {
            let plan = match factor {
                Some(factor) => {
                    let arrival = poisson(rates.rest[number] * factor, series * 10 + number as u64);
                    Plan::open(target(), rest, arrival, bench.span)
                }
                None => Plan::closed(target(), rest, bench.span),
            };
            plans.push((*call, plan));
        }
        let mut callers = plans
            .iter()
            .map(|(call, plan)| self.callers(*call, plan.connections, series))
            .collect::<Result<Vec<_>, _>>()?;
        let mut parts: Vec<Part<'_>> = plans
            .iter()
            .zip(&mut callers)
            .map(|((call, plan), callers)| Part {
                plan: Plan {
                    patience: PATIENCE,
                    waits_max: Some(deadline(*call) / WAITS),
                    ..plan.clone()
                },
                callers,
            })
            .collect();
        let outcomes = run_together(&mut parts, &mut NoMeter)?;
        drop(parts);
        let false_invalids: u64 = callers.iter().map(|callers| callers.false_invalids).sum();
        Ok(storm(&outcomes, bench.span, false_invalids))
    }
}

/// The figures of a run; the first outcome is that of the checks.
fn storm(outcomes: &[Outcome], span: Duration, false_invalids: u64) -> Storm {
    let span_s = span.as_secs_f64();
    let kinds = std::iter::once(Call::Verify).chain(REST);
    let rates: Vec<(Call, f64)> = kinds
        .zip(outcomes)
        .map(|(call, outcome)| (call, outcome.in_time(deadline(call)) as f64 / span_s))
        .collect();
    let verify = outcomes.first();
    let mut rest = [0.0; REST.len()];
    rest.iter_mut()
        .zip(rates.iter().skip(1))
        .for_each(|(place, (_, rate))| *place = *rate);
    Storm {
        goodput: rates.iter().map(|(call, rate)| work_units(*call) * rate).sum(),
        verify_in_time: verify.map_or(0.0, |verify| {
            verify.in_time(deadline(Call::Verify)) as f64 / verify.calls().max(1) as f64
        }),
        false_invalids: false_invalids as f64,
        late_ms: outcomes.iter().map(|outcome| outcome.late_us(0.99)).fold(0.0, f64::max) / 1e3,
        rest,
        examples: outcomes.iter().flat_map(|outcome| outcome.examples.clone()).collect(),
    }
}
