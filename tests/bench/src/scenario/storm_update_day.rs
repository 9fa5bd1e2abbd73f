//! A game was updated and the server with it: all players come back at once, over new TLS connections.

use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::Bench;
use crate::calls::{Prepared, is_valid};
use crate::load::{Life, NoMeter, Plan, run as load};
use crate::machine::listen_overflows;
use crate::report::{Row, median};
use crate::seawall::Seawall;
use crate::storm::client::Conduct;
use crate::storm::counts::Counts;
use crate::storm::crowd::{Crowd, Habits};
use crate::storm::members::{Members, with_passwords};
use crate::storm::{SOURCES, connections, start_for_clients};

const NAME: &str = "storm-update-day";
/// Clients at most.
const CLIENTS: usize = 15_000;
/// The day is so long that the handshakes alone take this time.
const IDEAL: Duration = Duration::from_secs(4);
/// Whoever is not in by then does not come in.
const LONGEST: Duration = Duration::from_secs(30);
/// One in so many logs in by password, and one in so many comes for the first time.
const FEW: usize = 20;
/// Password logins at most; each account costs a hash before the day too.
const PASSWORDS_MAX: usize = 96;
/// Handshakes of a client: its own, and the one of the second check.
const HANDSHAKES: usize = 2;
const HANDSHAKES_AT_ONCE: usize = 32;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "As many players as handshakes take four seconds for, 15,000 at most, all at once, cold TLS 1.3 without tickets, right after a start \
            of the server: 90 % refresh, up to 5 % (96 at most) log in by password, 5 % register as guests; then two checks by the game server, the \
            second over a new connection. Clients keep the client rules and wait 5 s for an answer. The limit is the time that the handshakes and \
            hashes of that day take at the rates measured just before, one after the other on the one CPU.",
    ideas: &[(
        "time until all are in",
        "Beside handshakes and hashes a day has two durable writes or one and two checks for each player; see the processor time of both in refresh \
         and verify-new-connection. Clients that were refused come back by their back-off, not when there is room.",
    )],
    run,
};

struct Day {
    in_s: f64,
    /// Until 95 % are in; the longest where they never are.
    most_in_s: f64,
    limit_s: f64,
    players: usize,
    counts: Counts,
    overflows: f64,
    late_ms: f64,
    examples: Vec<String>,
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let mut seawall = start_for_clients(bench, &[])?;
    let handshakes = handshakes(bench, &seawall)?;
    let players = (handshakes * IDEAL.as_secs_f64()) as usize / HANDSHAKES;
    let players = connections(bench, players.clamp(FEW, CLIENTS));
    let passwords = (players / FEW).min(PASSWORDS_MAX);
    let begun = Instant::now();
    let credentials = with_passwords(&seawall, passwords)?;
    let hash_s = begun.elapsed().as_secs_f64() / passwords.max(1) as f64;
    let limit_s = (players * HANDSHAKES) as f64 / handshakes + passwords as f64 * hash_s;
    let mut days = Vec::new();
    for round in 0..bench.runs {
        let members = Members {
            players: seawall.players(players - passwords - players / FEW)?,
            credentials: credentials.clone(),
        };
        // Nothing is remembered of a credential, and no connection is left.
        seawall.restart(|_| Ok(()))?;
        let clients = members.clients(&seawall, players / FEW, &format!("day{round}"), Conduct::good())?;
        days.push(Day {
            limit_s,
            ..day(&seawall, clients, round as u64)?
        });
    }
    Ok(rows(&days, handshakes, hash_s))
}

fn rows(days: &[Day], handshakes: f64, hash_s: f64) -> Vec<Row> {
    let each = |of: fn(&Day) -> f64| days.iter().map(of).collect::<Vec<f64>>();
    let players = days.first().map_or(0, |day| day.players);
    let missing = each(|day| (day.players - day.counts.in_at_ms.len()) as f64);
    let mut in_time = Row::of(NAME, "time until all are in", "s", &each(|day| day.in_s))
        .beside("handshakes and hashes alone", &each(|day| day.limit_s))
        .at_most_times_peer(1.2)
        .note(&format!(
            "{players} players; {handshakes:.0} handshakes/s, of which the loader's side costs more than the server's; {:.1} ms a hash",
            hash_s * 1e3
        ))
        .note(&format!("loader late by {:.1} ms (p99)", median(&each(|day| day.late_ms))));
    for day in days {
        in_time = in_time.note(&day.counts.proofs.to_string());
    }
    if missing.iter().any(|count| *count > 0.0) {
        in_time = in_time.note("not all came in");
        in_time.goal_met = Some(false);
    }
    let mut lost = Row::of(
        NAME,
        "connections lost and answers waited for in vain",
        "calls",
        &each(|day| day.counts.lost as f64),
    );
    for example in days.iter().flat_map(|day| &day.examples).take(2) {
        lost = lost.note(example);
    }
    let worst = |metric: &str, unit: &str, runs: &[f64]| {
        let mut row = Row::of(NAME, metric, unit, runs);
        row.value = runs.iter().sum();
        row
    };
    vec![
        in_time,
        Row::of(NAME, "time until 95 % are in", "s", &each(|day| day.most_in_s))
            .beside("handshakes and hashes alone", &each(|day| day.limit_s)),
        worst("players who did not come in", "players", &missing).at_most(0.0),
        worst("listen overflows", "connections", &each(|day| day.overflows)).at_most(0.0),
        worst("extra logins", "logins", &each(|day| day.counts.extra_logins as f64)).at_most(0.0),
        worst(
            "good tokens called invalid",
            "answers",
            &each(|day| day.counts.false_invalids as f64),
        )
        .at_most(0.0),
        Row::of(
            NAME,
            "requests for each first one",
            "ratio",
            &each(|day| day.counts.amplification(Duration::ZERO, LONGEST)),
        ),
        lost,
    ]
}

/// Full handshakes a second.
pub(super) fn handshakes(bench: &Bench, seawall: &Seawall) -> Result<f64, Failure> {
    let target = seawall.tls_target(false).with_sources(SOURCES);
    let plan = Plan::closed(target, HANDSHAKES_AT_ONCE, bench.span / 3).with_life(Life::Handshake);
    Ok(load(&plan, &mut Prepared::new(&[], is_valid), &mut NoMeter)?.rate())
}

fn day(seawall: &Seawall, clients: Vec<crate::storm::client::Client>, seed: u64) -> Result<Day, Failure> {
    let players = clients.len();
    let habits = Habits {
        checks: 2,
        reconnects: true,
        beat: LONGEST,
        refresh_every: 0,
        ends_when_in: true,
        seed,
    };
    let mut crowd = Crowd::new(seawall, clients, habits);
    let plan = Plan {
        warm_up: Duration::ZERO,
        ..Plan::closed(seawall.tls_target(false).with_sources(SOURCES), players, LONGEST)
    };
    let overflows = listen_overflows();
    let outcome = load(&plan.with_life(Life::PerCall), &mut crowd, &mut NoMeter)?;
    let last_ms = crowd.counts.in_at_ms.last().copied().unwrap_or_default();
    let all_in = crowd.counts.in_at_ms.len() == players;
    let most_in_ms = crowd.counts.in_at_ms.get(players * 95 / 100);
    Ok(Day {
        most_in_s: most_in_ms.map_or(LONGEST.as_secs_f64(), |ms| *ms as f64 / 1e3),
        in_s: if all_in {
            last_ms as f64 / 1e3
        } else {
            LONGEST.as_secs_f64()
        },
        limit_s: 0.0,
        players,
        overflows: (listen_overflows() - overflows) as f64,
        late_ms: outcome.late_us(0.99) / 1e3,
        examples: outcome.examples.clone(),
        counts: crowd.counts,
    })
}
