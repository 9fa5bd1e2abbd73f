//! The store stands still for two seconds while thousands of clients play: how long until everything is as it was.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::Bench;
use crate::load::{Meter, NoMeter, Plan, Target, run as load};
use crate::report::Row;
use crate::seawall::Seawall;
use crate::storm::client::Conduct;
use crate::storm::counts::Counts;
use crate::storm::crowd::{Crowd, Habits};
use crate::storm::members::Members;
use crate::storm::stall::Stall;
use crate::storm::{SOURCES, connections, start, start_for_clients, start_without_admission, void_when_late};

const NAME: &str = "storm-metastable";
/// Clients where files allow them.
const CLIENTS: usize = 15_000;
/// Clients with a password among them; each costs a hash before the run.
const PASSWORDS_MAX: usize = 64;
/// One in so many clients has a password, and one in so many comes for the first time.
const FEW: usize = 20;
/// Clients of the run that finds the peak.
const PEAK_CLIENTS: usize = 5_000;
/// Their refreshes are done by then.
const PEAK_WARM_UP: Duration = Duration::from_millis(1_500);
/// Share of the peak that is offered.
const LOAD: f64 = 0.8;
/// Calls a second that the loader can send beside all it has to do.
const LOADER_MAX: f64 = 50_000.0;
/// One in so many heartbeats is a refresh.
const REFRESH_EVERY: u32 = 20;
/// All are in by then, and what piled up when they came is worked off: the measure must not hold it.
const WARM_UP: Duration = Duration::from_secs(10);
/// Undisturbed play, whose goodput is the measure.
const STEADY: Duration = Duration::from_secs(2);
const STALL: Duration = Duration::from_secs(2);
/// How long recovery is watched.
const AFTER: Duration = Duration::from_secs(6);
/// Recovered is a goodput of this share of what it was …
const RECOVERED: f64 = 0.95;
/// … on average over this time.
const LASTS: Duration = Duration::from_millis(500);

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Up to 15,000 simulated clients, each on a connection of its own: 90 % refresh and play, up to 5 % (64 at most) log in by password, \
            5 % register; then heartbeats, one in 20 a refresh, at 80 % of the peak of the same calls (at most 50,000/s). After 10 s and 2 s more the next \
            sync of the store is held back for 2 s by strace; where there is no strace the whole server is stopped. Clients that keep \
            the client rules, and naive ones: a second for an answer, three instant retries, then a login. Goodput counts work units in time; \
            naive clients are also held against what good clients had of as many calls before their stall. One run of each side. \
            Beside: the same binary with its admission off.",
    ideas: &[
        (
            "time to 95 %",
            "See which class stays late: logins that wait for hashes, or refreshes behind the queue that grew during the stall.",
        ),
        (
            "extra logins",
            "A client with a good token logged in: look for the answer that made it do so in the note.",
        ),
    ],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut good = None;
    for (name, conduct) in [("good clients", Conduct::good()), ("naive clients", Conduct::naive())] {
        let keeps_rules = matches!(conduct, Conduct::Good(_));
        // A game whose clients know no proofs of work asks for none.
        let seawall = if keeps_rules { start_for_clients } else { start };
        let own = side(bench, seawall(bench, &[])?, conduct)?;
        let peer = start_without_admission(bench);
        let why = peer.as_ref().err().cloned();
        let peer = peer.ok().map(|seawall| side(bench, seawall, conduct)).transpose()?;
        let mut fresh = rows_of(name, &own, peer.as_ref(), good);
        good = good.or(Some(own.steady() / own.offered));
        if let Some(row) = fresh.first_mut() {
            *row = row.clone().note(&own.counts.proofs.to_string());
        }
        if let (Some(why), Some(row)) = (why, fresh.first_mut()) {
            *row = row.clone().note(&why);
        }
        rows.append(&mut fresh);
    }
    Ok(rows)
}

/// What came of a side.
struct Side {
    clients: usize,
    offered: f64,
    stall: Stall,
    counts: Counts,
    /// From when until when the store stood still, since the first client began.
    stalled: (Duration, Duration),
    examples: Vec<String>,
    late_ms: f64,
}

impl Side {
    fn steady(&self) -> f64 {
        self.counts
            .goodput(self.stalled.0.saturating_sub(STEADY), self.stalled.0)
    }

    /// When goodput was nearly `level` again, in seconds from the release.
    fn recovered_s(&self, level: f64) -> Option<f64> {
        let after = self.counts.recovered_after(self.stalled.1, level * RECOVERED, LASTS)?;
        Some(after.as_secs_f64())
    }

    fn amplification(&self) -> f64 {
        self.counts.amplification(self.stalled.0, self.stalled.1 + AFTER)
    }
}

/// How long until goodput was nearly what `level` says again; as long as it was watched where it never was.
fn recovery(who: &str, own: &Side, peer: Option<&Side>, of: &str, level: impl Fn(&Side) -> f64) -> Row {
    let back = |side: &Side| side.recovered_s(level(side));
    let seconds = |side: &Side| back(side).unwrap_or(AFTER.as_secs_f64());
    let metric = format!("time to 95 % of {of} after the release, {who}");
    let mut row = Row::of(NAME, &metric, "s", &[seconds(own)]);
    if let Some(peer) = peer {
        row = row.beside("admission off", &[seconds(peer)]);
    }
    for (name, side) in [("", Some(own)), ("admission off ", peer)] {
        if let Some(side) = side.filter(|side| back(side).is_none()) {
            let before = side.steady() / level(side) * 100.0;
            row = row.note(&format!(
                "{name}never in {AFTER:?}, and {before:.0} % of it before the stall"
            ));
        }
    }
    row
}

/// The rows of clients that keep the rules, or else of naive ones, which are held against `good`: goodput by call of those.
fn rows_of(who: &str, own: &Side, peer: Option<&Side>, good: Option<f64>) -> Vec<Row> {
    let keeps_rules = good.is_none();
    let named = |metric: &str| format!("{metric}, {who}");
    let row = |metric: &str, unit: &str, of: fn(&Side) -> f64| {
        let row = Row::of(NAME, &named(metric), unit, &[of(own)]);
        match peer {
            Some(peer) => row.beside("admission off", &[of(peer)]),
            None => row,
        }
    };
    let conditions = format!(
        "{} clients, {:.0} calls/s offered; {}",
        own.clients,
        own.offered,
        own.stall.name()
    );
    let back = recovery(who, own, peer, "goodput", Side::steady);
    let back = void_when_late(back.at_most(2.0).note(&conditions), own.late_ms);
    let amplification = row(
        "requests for each first one, from the stall on",
        "ratio",
        Side::amplification,
    );
    let mut extra = row("extra logins", "logins", |side| side.counts.extra_logins as f64);
    for example in own.examples.iter().take(2) {
        extra = extra.note(example);
    }
    let healthy = good.map(|good| {
        let level = |side: &Side| side.offered * good;
        recovery(who, own, peer, "what good clients had", level).at_most(2.0)
    });
    let mut rows = vec![
        back,
        if keeps_rules {
            amplification.at_most(1.2)
        } else {
            amplification
        },
        if keeps_rules { extra.at_most(0.0) } else { extra },
        row("good tokens called invalid", "answers", |side| {
            side.counts.false_invalids as f64
        })
        .at_most(0.0),
        row("goodput before the stall", "work units/s", Side::steady),
        row("goodput during the stall", "work units/s", |side| {
            side.counts.goodput(side.stalled.0, side.stalled.1)
        }),
        row("connections lost and answers waited for in vain", "calls", |side| {
            side.counts.lost as f64
        }),
    ];
    rows.extend(healthy);
    rows
}

fn side(bench: &Bench, seawall: Seawall, conduct: Conduct) -> Result<Side, Failure> {
    let count = connections(bench, CLIENTS);
    let offered = (peak(&seawall, count.min(PEAK_CLIENTS))? * LOAD).min(LOADER_MAX);
    let newcomers = count / FEW;
    let passwords = newcomers.min(PASSWORDS_MAX);
    let members = Members::register(&seawall, count - newcomers - passwords, passwords)?;
    let clients = members.clients(&seawall, newcomers, "play", conduct)?;
    let habits = Habits {
        checks: 2,
        reconnects: false,
        beat: Duration::from_secs_f64(count as f64 / offered),
        refresh_every: REFRESH_EVERY,
        ends_when_in: false,
        seed: 11,
    };
    let mut crowd = Crowd::new(&seawall, clients, habits);
    let plan = Plan {
        warm_up: WARM_UP,
        ..Plan::closed(target(&seawall), count, STEADY + STALL + AFTER)
    };
    let stall = Stall::possible();
    let mut staller = Staller {
        stall,
        pid: seawall.pid(),
        thread: None,
    };
    let outcome = load(&plan, &mut crowd, &mut staller)?;
    let (from, to) = staller.stalled()?;
    let begun = crowd.begun().ok_or("nobody began")?;
    Ok(Side {
        clients: count,
        offered,
        stall,
        stalled: (
            from.saturating_duration_since(begun),
            to.saturating_duration_since(begun),
        ),
        examples: outcome.examples.clone(),
        late_ms: outcome.late_us(0.99) / 1e3,
        counts: crowd.counts,
    })
}

fn target(seawall: &Seawall) -> Target {
    seawall.target().with_sources(SOURCES)
}

/// Calls a second when the same clients play without a pause.
fn peak(seawall: &Seawall, count: usize) -> Result<f64, Failure> {
    let clients = Members::register(seawall, count, 0)?.clients(seawall, 0, "peak", Conduct::good())?;
    let habits = Habits {
        checks: 2,
        reconnects: false,
        beat: Duration::ZERO,
        refresh_every: REFRESH_EVERY,
        ends_when_in: false,
        seed: 7,
    };
    let mut crowd = Crowd::new(seawall, clients, habits);
    let plan = Plan {
        warm_up: PEAK_WARM_UP,
        ..Plan::closed(target(seawall), count, Duration::from_secs(1))
    };
    Ok(load(&plan, &mut crowd, &mut NoMeter)?.rate())
}

/// Stalls the store a while after measuring began.
struct Staller {
    stall: Stall,
    pid: u32,
    thread: Option<JoinHandle<Result<(Instant, Instant), Failure>>>,
}

impl Meter for Staller {
    fn begin(&mut self) {
        let (stall, pid) = (self.stall, self.pid);
        let staller = std::thread::spawn(move || {
            std::thread::park_timeout(STEADY);
            stall.hold(pid, STALL)
        });
        self.thread = Some(staller);
    }

    fn end(&mut self) {}
}

impl Staller {
    fn stalled(&mut self) -> Result<(Instant, Instant), Failure> {
        let thread = self.thread.take().ok_or("the run ended before the stall")?;
        thread.join().map_err(|_| "the staller panicked")?
    }
}
