//! The day of an update as a large game has it: more players than there are connections come one after the other.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use seawall_load::storm::crowd::Visits;
use seawall_load::storm::visitors::shuffle;
use seawall_tests::server::Failure;

use super::Scenario;
use super::growth::ASKED_FOR;
use super::storm_update_day::handshakes;
use crate::bench::Bench;
use crate::load::{Life, NoMeter, Plan, run as load};
use crate::machine::listen_overflows;
use crate::report::Row;
use crate::seawall::Seawall;
use crate::storm::client::{Client, Conduct};
use crate::storm::crowd::{Crowd, Habits};
use crate::storm::members::with_passwords;
use crate::storm::{SOURCES, connections, start_for_clients};

const NAME: &str = "storm-whole-day";
const PLAYERS: usize = 300_000;
/// How many of them ask for something at the same time, at most.
const AT_ONCE: usize = 15_000;
/// One in so many comes for the first time.
const NEW: usize = 20;
/// One in so many logs in by password; each account costs a hash before the day too.
const PASSWORDS: usize = 100;
/// Handshakes of a player: its own, and the one of the second check.
const HANDSHAKES: usize = 2;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "300,000 players, 15,000 of them at the same time (each that is in makes room for the next), cold TLS 1.3 without tickets, right \
            after a start of the server: 94 % refresh, 1 % log in by password, each another account, 5 % register as guests; then two checks by the \
            game server, the second over a new connection. Clients keep the client rules and wait 5 s for an answer. The limit is as in \
            storm-update-day. One run, and only with SEAWALL_BENCH_LARGEST=1.",
    ideas: &[(
        "time until all are in",
        "Beside handshakes and hashes a player costs two durable writes or one and two checks, which are not in the limit; see the processor \
         time of both in refresh and verify-new-connection.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    if std::env::var_os(ASKED_FOR).is_none() {
        let why = format!("run only with {ASKED_FOR}=1: it takes five minutes");
        return Ok(vec![Row::missing(NAME, "time until all are in", &why, false)]);
    }
    let mut seawall = start_for_clients(bench, &[])?;
    let handshakes = handshakes(bench, &seawall)?;
    let begun = Instant::now();
    let credentials = with_passwords(&seawall, PLAYERS / PASSWORDS)?;
    let hash_s = begun.elapsed().as_secs_f64() / credentials.len().max(1) as f64;
    let guests = seawall.players(PLAYERS - PLAYERS / NEW - credentials.len())?;
    let limit_s = (PLAYERS * HANDSHAKES) as f64 / handshakes + credentials.len() as f64 * hash_s;
    // Nothing is remembered of a credential, and no connection is left.
    seawall.restart(|_| Ok(()))?;
    let good = Conduct::good();
    let mut players: Vec<Client> = Vec::with_capacity(PLAYERS);
    players.extend(
        (0..)
            .zip(guests)
            .map(|(number, player)| Client::returning(&format!("back-{number}"), player, good)),
    );
    players.extend(
        (0..)
            .zip(credentials)
            .map(|(number, credential)| Client::with_password(&format!("named-{number}"), credential, good)),
    );
    players.extend((0..PLAYERS / NEW).map(|number| Client::newcomer(&format!("new-{number}"), good)));
    shuffle(&mut players, 1);
    day(&seawall, players, connections(bench, AT_ONCE), limit_s)
}

fn day(seawall: &Seawall, mut players: Vec<Client>, at_once: usize, limit_s: f64) -> Result<Vec<Row>, Failure> {
    let line = players.split_off(at_once);
    let habits = Habits::of_visitors(1);
    let visits = Visits {
        checks: (2, 2),
        reconnect_share: 1.0,
        further_per_s_max: None,
        stop: Arc::new(AtomicBool::new(false)),
    };
    let mut crowd = Crowd::new(seawall, players, habits).with_line(line).visiting(visits);
    let target = seawall.tls_target(false).with_sources(SOURCES);
    let plan = Plan::exactly(target, at_once, PLAYERS as u64).with_life(Life::PerCall);
    let overflows = listen_overflows();
    let outcome = load(&plan, &mut crowd, &mut NoMeter)?;
    let overflows = (listen_overflows() - overflows) as f64;
    let (_, counts, _) = crowd.end();
    let in_at = |share: usize| {
        counts
            .in_at_ms
            .get(PLAYERS * share / 100 - 1)
            .map(|ms| *ms as f64 / 1e3)
    };
    let missing = PLAYERS - counts.in_at_ms.len();
    let mut all_in = Row::of(
        NAME,
        "time until all are in",
        "s",
        &[in_at(100).unwrap_or(f64::INFINITY)],
    )
    .beside("handshakes and hashes alone", &[limit_s])
    .note(&format!("loader late by {:.1} ms (p99)", outcome.late_us(0.99) / 1e3))
    .note(&counts.proofs.to_string());
    for example in outcome.examples.iter().take(2) {
        all_in = all_in.note(example);
    }
    let none = |metric: &str, unit: &str, count: f64| Row::of(NAME, metric, unit, &[count]).at_most(0.0);
    Ok(vec![
        all_in.at_most_times_peer(1.2),
        Row::of(
            NAME,
            "time until 95 % are in",
            "s",
            &[in_at(95).unwrap_or(f64::INFINITY)],
        )
        .beside("handshakes and hashes alone", &[limit_s]),
        none("players who did not come in", "players", missing as f64),
        none("listen overflows", "connections", overflows),
        none("extra logins", "logins", counts.extra_logins as f64),
        none("good tokens called invalid", "answers", counts.false_invalids as f64),
        Row::of(
            NAME,
            "connections lost and answers waited for in vain",
            "calls",
            &[counts.lost as f64],
        ),
    ])
}
