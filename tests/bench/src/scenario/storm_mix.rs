//! Ten times more work than there is room for: does the server still do as much as it can, and are checks answered in time?

use std::time::Duration;

use seawall_load::service::REFRESH;
use seawall_tests::client_rules::Call;
use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::Bench;
use crate::calls::{Guests, Prepared, Refreshes, Watched, is_200, is_valid};
use crate::load::{Arrival, Callers, NoMeter, Outcome, Part, Plan, Target, run as load, run_together};
use crate::peer::nginx::{Nginx, RateLimit};
use crate::report::{Row, median};
use crate::seawall::{ACCOUNTS, SESSIONS, Seawall, get, post};
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
/// Connections of each other kind in the closed loops that find what the server carries.
const CARRIED_CONNECTIONS: [usize; 3] = [64, 256, 1_024];
/// What is offered to nginx with `limit_req`, in what the server carries.
const LIMITED_FACTOR: f64 = 10.0;
/// Its name in the report.
const LIMITED: &str = "nginx limit_req";
/// Connections of each other kind in a storm.
const STORM_CONNECTIONS: usize = 500;
/// What is offered by a crowd, and its connections of each kind.
const CROWD_FACTORS: [f64; 2] = [2.0, 10.0];
const CROWD_CONNECTIONS: usize = 4_000;
/// Accounts with a password, logged in to in turn.
const PASSWORDS: usize = 32;
/// Callers of their first logins: few enough to be served within the hash pool's deadline.
const FIRST_CALLERS: usize = 8;
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
            five and ten times at the rate the server carries beside the checks: that of the best of three closed loops over 64, 256 and 1,024 connections each, admission \
            off. Goodput counts work units (check 1, refresh 5, \
            login and registration 7, list 10) of right answers that came while all of this was asked, within 100 ms, 500 ms, 2 s and 500 ms of their intended times. A call that finds no free connection in a \
            quarter of that is not made: it is lost, as with a crowd of which each waits for its own answer. The peak is the highest of all medians: of the best closed \
            loop, which is run again between the storms, and of the open loops at once to ten times with admission on and off. Beside: the same binary with its admission off, run by run in turn; and, \
            tenfold, nginx with limit_req on the server's CPU in front of that one: refreshes, logins, registrations and lists pass at what the server carries \
            (burst of a tenth of a second, nodelay, 503), checks are not limited, as game servers are an operator's own, and connections to the server are kept. The server \
            trusts nginx for nothing: it believes no header, and a peer of the same host has no limit of its own. A crowd is the same over 4,000 \
            connections of each kind, all of which ask again as soon as they are answered: one run.",
    ideas: &[
        (
            "goodput",
            "Players' threads give way to those of checks and have a fifth to a quarter of the core beside 45,000 checks a second, which cost \
             a sixth more there than beside closed loops. Next: fewer system calls a request (one send and one recv now), and \
             answers of the store in one task a group.",
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

/// How the rest is asked for.
#[derive(Clone, Copy)]
enum Offer {
    /// Each of so many connections of each kind again as soon as it is answered.
    Closed(usize),
    /// In an open loop at so many times the rates, over so many connections of each kind.
    Times(f64, usize),
}

/// The same server with its admission off.
struct Peer {
    world: World,
    runs: [Vec<Storm>; FACTORS.len()],
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut why = None;
    let mut peer = match start_without_admission(bench) {
        Ok(seawall) => Some(Peer {
            world: World::new(seawall)?,
            runs: Default::default(),
        }),
        Err(reason) => {
            why = Some(reason);
            None
        }
    };
    let world = World::new(start(bench, &[])?)?;
    let (rates, width, first) = peer.as_ref().map_or(&world, |peer| &peer.world).rates(bench)?;
    let (mut runs, mut carried): ([Vec<Storm>; FACTORS.len()], _) = (Default::default(), vec![first]);
    for (round, series) in (0..bench.runs).zip(60..) {
        let carrier = peer.as_ref().map_or(&world, |peer| &peer.world);
        carried.push(carrier.storm(bench, &rates, Offer::Closed(width), series)?.goodput);
        for (number, factor) in FACTORS.iter().enumerate() {
            let series = (round * FACTORS.len() + number + 1) as u64;
            let storm = |world: &World| world.storm(bench, &rates, Offer::Times(*factor, STORM_CONNECTIONS), series);
            if let Some(peer) = &mut peer {
                peer.runs[number].push(storm(&peer.world)?);
            }
            runs[number].push(storm(&world)?);
        }
    }
    let crowds = crowd_rows(bench, &world, peer.as_ref(), &rates)?;
    drop(world);
    let off = peer.as_ref().map_or(&[][..], |peer| &peer.runs);
    let mids = runs.iter().chain(off).map(|runs| mid(runs));
    let peak = mids.fold(median(&carried), f64::max);
    let mut rows = Vec::new();
    for (number, factor) in FACTORS.iter().enumerate() {
        rows.extend(rows_of(*factor, &runs[number], peak, &rates, off.get(number)));
    }
    for (goodput, others) in crowds {
        rows.push(goodput.beside("peak", &[peak]).at_least_times_peer(0.95));
        rows.extend(others);
    }
    if let Some(peer) = &peer {
        let limited = peer.world.behind_limit_req(bench, &rates);
        rows.extend(limited_rows(&runs, &rates, limited.map_err(|error| error.to_string())));
    }
    rows.push(invalids(&runs));
    if let (Some(why), Some(row)) = (why, rows.first_mut()) {
        *row = row.clone().note(&why);
    }
    Ok(rows)
}

/// A crowd: players who each have a connection of their own, so that nobody's call waits for another's answer. One run of each
/// side; the goodput, to be held against the peak, and the other rows.
fn crowd_rows(
    bench: &Bench,
    world: &World,
    peer: Option<&Peer>,
    rates: &Rates,
) -> Result<Vec<(Row, Vec<Row>)>, Failure> {
    let mut rows = Vec::new();
    for (factor, series) in CROWD_FACTORS.into_iter().zip(80..) {
        let offer = Offer::Times(factor, CROWD_CONNECTIONS);
        let off = peer
            .map(|peer| peer.world.storm(bench, rates, offer, series))
            .transpose()?;
        let own = world.storm(bench, rates, offer, series)?;
        let row = |metric: &str, unit: &str, of: fn(&Storm) -> f64| {
            let row = Row::of(NAME, &format!("{metric} at {factor}x"), unit, &[of(&own)]);
            off.as_ref()
                .map_or(row.clone(), |off| row.beside("admission off", &[of(off)]))
        };
        let goodput = Row::of(
            NAME,
            &format!("goodput of a crowd at {factor}x"),
            "work units/s",
            &[own.goodput],
        )
        .note(&format!(
            "in time of offered a second: {}",
            in_time_of_offered(&[&own], rates, factor)
        ));
        let in_time = row("checks in time beside a crowd", "share", |storm| storm.verify_in_time).at_least(0.999);
        rows.push((
            void_when_late(goodput, own.late_ms),
            vec![
                void_when_late(in_time, own.late_ms),
                row("goodput of a crowd", "work units/s", |storm| storm.goodput),
                Row::of(
                    NAME,
                    &format!("good tokens and passwords called bad to a crowd at {factor}x"),
                    "answers",
                    &[own.false_invalids],
                )
                .at_most(0.0),
            ],
        ));
    }
    Ok(rows)
}

/// The goodput of the middle run.
fn mid(runs: &[Storm]) -> f64 {
    median(&runs.iter().map(|storm| storm.goodput).collect::<Vec<_>>())
}

/// No good token and no right password was called bad.
fn invalids(runs: &[Vec<Storm>]) -> Row {
    let all = runs.iter().flatten();
    let counts: Vec<f64> = all.clone().map(|storm| storm.false_invalids).collect();
    let mut row = Row::of(NAME, "good tokens and passwords called bad", "answers", &counts);
    row.value = counts.iter().sum();
    row = row.at_most(0.0);
    for example in all.flat_map(|storm| &storm.examples).take(2) {
        row = row.note(example);
    }
    row
}

/// Beside nginx with `limit_req`.
fn limited_rows(runs: &[Vec<Storm>; FACTORS.len()], rates: &Rates, limited: Result<Storm, String>) -> Vec<Row> {
    let number = FACTORS.iter().position(|factor| *factor == LIMITED_FACTOR);
    let own = number.map_or(&[][..], |number| runs[number].as_slice());
    let row = |metric: &str, unit: &str, of: fn(&Storm) -> f64| {
        let each: Vec<f64> = own.iter().map(of).collect();
        let row = Row::of(NAME, &format!("{metric} at {LIMITED_FACTOR}x"), unit, &each);
        match &limited {
            Ok(limited) => row.beside(LIMITED, &[of(limited)]).note(&format!(
                "{LIMITED} in time a second: {}",
                in_time_of_offered(&[limited], rates, LIMITED_FACTOR)
            )),
            Err(why) => row.note(&format!("no {LIMITED}: {why}")),
        }
    };
    vec![
        row("checks in time", "share", |storm| storm.verify_in_time),
        row("goodput", "work units/s", |storm| storm.goodput),
    ]
}

/// How much of each kind of the rest was done in time, and was offered.
fn in_time_of_offered(runs: &[&Storm], rates: &Rates, factor: f64) -> String {
    let kinds = REST.iter().enumerate().map(|(number, call)| {
        let done: Vec<f64> = runs.iter().map(|storm| storm.rest[number]).collect();
        let (done, offered) = (median(&done), rates.rest[number] * factor);
        format!("{} {done:.0} of {offered:.0}", kind(*call))
    });
    kinds.collect::<Vec<_>>().join(", ")
}

fn rows_of(factor: f64, runs: &[Storm], peak: f64, rates: &Rates, peer: Option<&Vec<Storm>>) -> Vec<Row> {
    let each = |of: fn(&Storm) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
    let beside = |row: Row, of: fn(&Storm) -> f64| match peer {
        Some(peer) => row.beside("admission off", &peer.iter().map(of).collect::<Vec<_>>()),
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
    let offered = format!(
        "in time of offered a second: verify {:.0} ({:.0} % of its peak); {}",
        rates.verify,
        rates.verify / rates.verify_peak * 100.0,
        in_time_of_offered(&runs.iter().collect::<Vec<_>>(), rates, factor)
    );
    // Where no more is offered than the server carries, there is no peak to reach: all of it is to be done.
    let aim = if factor > 1.0 {
        goodput().beside("peak", &[peak])
    } else {
        goodput().beside("work offered", &[rates.work(factor)])
    };
    let to_peak = aim.at_least_times_peer(0.95).note(&offered);
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

impl Rates {
    /// Work units a second that are offered with the rest at `factor` times its rates.
    fn work(&self, factor: f64) -> f64 {
        let rest = REST.iter().zip(self.rest);
        let rest: f64 = rest.map(|(call, rate)| work_units(*call) * rate).sum();
        self.verify * work_units(Call::Verify) + rest * factor
    }
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
        let logins: Vec<Vec<u8>> = logins.collect();
        // Warm ones are measured, on every side: what is hashed is the business of login-cold.
        let first = Plan::exactly(seawall.target(), FIRST_CALLERS, PASSWORDS as u64);
        load(&first, &mut Prepared::new(&logins, is_200), &mut NoMeter)?;
        Ok(Self {
            logins,
            verifies: seawall.verifies(&players)?,
            lists: players
                .iter()
                .map(|player| get(SESSIONS, &player.access_token))
                .collect(),
            seawall,
        })
    }

    /// What is offered as the single load, from how many connections of each kind it came, and its goodput: the best of the closed loops.
    fn rates(&self, bench: &Bench) -> Result<(Rates, usize, f64), Failure> {
        let plan = Plan::closed(self.seawall.target(), CONNECTIONS, bench.span / 3);
        let verify_peak = load(&plan, &mut Prepared::new(&self.verifies, is_valid), &mut NoMeter)?.rate();
        let mut rates = Rates {
            verify: (verify_peak * VERIFY_LOAD).min(VERIFY_MAX),
            verify_peak,
            rest: [0.0; REST.len()],
        };
        let (idle, mut best, mut carried) = (rates, 0, 0.0);
        for (series, width) in (70..).zip(CARRIED_CONNECTIONS) {
            let storm = self.storm(bench, &idle, Offer::Closed(width), series)?;
            if storm.goodput > carried {
                (best, carried, rates.rest) = (width, storm.goodput, storm.rest);
            }
        }
        Ok((rates, best, carried))
    }

    /// The tenfold, with nginx in front that lets through what the server carries.
    fn behind_limit_req(&self, bench: &Bench, rates: &Rates) -> Result<Storm, Failure> {
        let limits: Vec<RateLimit> = REST
            .iter()
            .zip(rates.rest)
            .map(|(call, rate)| {
                let (method, path) = match call {
                    Call::Refresh => ("POST", REFRESH),
                    Call::Register => ("POST", ACCOUNTS),
                    Call::Login => ("POST", SESSIONS),
                    Call::Verify | Call::WithToken => ("GET", SESSIONS),
                };
                RateLimit { method, path, rate }
            })
            .collect();
        let nginx = Nginx::start_limiting(bench, self.seawall.plain, &limits)?;
        self.storm_at(
            &nginx.target(),
            bench,
            rates,
            Offer::Times(LIMITED_FACTOR, STORM_CONNECTIONS),
            90,
        )
    }

    fn callers(&self, call: Call, connections: usize, series: u64) -> Result<Watched<Box<dyn Callers + '_>>, Failure> {
        Ok(Watched::new(match call {
            Call::Verify => Box::new(Prepared::new(&self.verifies, is_valid)),
            // Sessions of their own in each run: a refresh token is used up by the run before.
            Call::Refresh => Box::new(Refreshes::new(
                &self.seawall.players(SESSIONS_COUNT.max(connections * 3 / 2))?,
                connections,
            )),
            Call::Login => Box::new(Prepared::new(&self.logins, is_200)),
            Call::Register => Box::new(Guests::new(&self.seawall, series)),
            Call::WithToken => Box::new(Prepared::new(&self.lists, is_200)),
        }))
    }

    /// Checks at their rate, and the rest as it is offered.
    fn storm(&self, bench: &Bench, rates: &Rates, offer: Offer, series: u64) -> Result<Storm, Failure> {
        self.storm_at(&self.seawall.target(), bench, rates, offer, series)
    }

    /// The same, called at this address.
    fn storm_at(
        &self,
        target: &Target,
        bench: &Bench,
        rates: &Rates,
        offer: Offer,
        series: u64,
    ) -> Result<Storm, Failure> {
        let target = || target.clone().with_sources(SOURCES);
        let (Offer::Closed(wanted) | Offer::Times(_, wanted)) = offer;
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
            let plan = match offer {
                Offer::Times(factor, _) => {
                    let arrival = poisson(rates.rest[number] * factor, series * 10 + number as u64);
                    Plan::open(target(), rest, arrival, bench.span)
                }
                Offer::Closed(_) => Plan::closed(target(), rest, bench.span),
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
        .map(|(call, outcome)| (call, outcome.in_time_in_span(deadline(call)) as f64 / span_s))
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
