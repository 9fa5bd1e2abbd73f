//! One game asks as much as it can, another a little: does the quiet one notice?

use seawall_tests::client_rules::Call;
use seawall_tests::server::Failure;
use serde_json::{Value, json};

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::Bench;
use crate::calls::{DEVICE, Guests, Prepared, Watched, is_200, is_valid};
use crate::load::{Arrival, NoMeter, Outcome, Part, Plan, run as load, run_together};
use crate::report::Row;
use crate::seawall::{Player, SESSIONS, Seawall, VERIFY, post, signature};
use crate::storm::{SOURCES, deadline, start, start_without_admission};

const NAME: &str = "storm-noisy";
/// Connections of the noisy game, each asking again as soon as it is answered.
const NOISY_CONNECTIONS: usize = 256;
/// Share of the peak that the quiet game asks for.
const QUIET_LOAD: f64 = 0.1;
/// Logins a second of the quiet game.
const LOGIN_RATE: f64 = 100.0;
const LOGIN_CONNECTIONS: usize = 64;
/// Guests of the quiet game who log in, in turn.
const LOGIN_PLAYERS: usize = 256;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Two games with a server key each. The key of the first checks tokens in a closed loop over 256 connections; the second game asks for checks at \
            10 % of the peak (Poisson, 64 connections) and logs in 100 guests a second. In time is within 100 ms (checks) and 2 s (logins) of the \
            intended time. Beside: the same binary with its admission off.",
    ideas: &[(
        "checks in time",
        "The noisy key's checks are not held back by its share: see its quota, and how often its sockets are read.",
    )],
    run,
};

/// The second game.
struct Game {
    game_id: String,
    package_id: String,
    key_id: String,
    secret: String,
}

/// What the quiet game saw in a run.
struct Quiet {
    verify_in_time: f64,
    verify_p99_us: f64,
    logins_in_time: f64,
    noisy_rate: f64,
    false_invalids: f64,
    examples: Vec<String>,
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let own = side(bench, &start(bench, &[])?)?;
    let (peer, why) = match start_without_admission(bench) {
        Ok(seawall) => (side(bench, &seawall)?, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let row = |metric: &str, unit: &str, of: fn(&Quiet) -> f64| {
        let each = |runs: &[Quiet]| runs.iter().map(of).collect::<Vec<f64>>();
        let row = Row::of(NAME, metric, unit, &each(&own));
        if peer.is_empty() {
            row
        } else {
            row.beside("admission off", &each(&peer))
        }
    };
    let mut checks = row("checks in time of the quiet game", "share", |quiet| {
        quiet.verify_in_time
    })
    .at_least(0.999);
    if let Some(why) = &why {
        checks = checks.note(why);
    }
    let mut invalids = row("good tokens called invalid", "answers", |quiet| quiet.false_invalids).at_most(0.0);
    for example in own.iter().flat_map(|quiet| &quiet.examples).take(2) {
        invalids = invalids.note(example);
    }
    Ok(vec![
        checks,
        row("p99 of the quiet game's checks", "us", |quiet| quiet.verify_p99_us),
        row("logins in time of the quiet game", "share", |quiet| {
            quiet.logins_in_time
        })
        .at_least(0.95),
        row("checks of the noisy game", "requests/s", |quiet| quiet.noisy_rate),
        invalids,
    ])
}

fn side(bench: &Bench, seawall: &Seawall) -> Result<Vec<Quiet>, Failure> {
    let game = second_game(bench, seawall)?;
    let noisy = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let players = seawall.register(
        PLAYERS,
        Guests::keeping_of(&game.body(&json!({"kind": "guest"}), DEVICE)),
    )?;
    let quiet = players
        .iter()
        .map(|player| game.verify(player))
        .collect::<Result<Vec<_>, _>>()?;
    let guests = seawall.register(
        LOGIN_PLAYERS,
        Guests::keeping_of(&game.body(&json!({"kind": "guest"}), DEVICE)).in_series(81),
    )?;
    let logins: Vec<Vec<u8>> = guests.iter().map(|guest| game.login(guest)).collect();
    let plan = Plan::closed(seawall.target(), CONNECTIONS, bench.span / 3);
    let peak = load(&plan, &mut Prepared::new(&quiet, is_valid), &mut NoMeter)?.rate();
    let mut runs = Vec::new();
    for round in 0..bench.runs as u64 {
        let target = || seawall.target().with_sources(SOURCES);
        let poisson = |rate| Arrival::Poisson { rate, seed: round };
        let mut checks = Watched::new(Prepared::new(&quiet, is_valid));
        let mut entries = Watched::new(Prepared::new(&logins, is_200));
        let mut noise = Prepared::new(&noisy, is_valid);
        let mut parts = [
            Part {
                plan: Plan::open(target(), CONNECTIONS, poisson(peak * QUIET_LOAD), bench.span),
                callers: &mut checks,
            },
            Part {
                plan: Plan::open(target(), LOGIN_CONNECTIONS, poisson(LOGIN_RATE), bench.span),
                callers: &mut entries,
            },
            Part {
                plan: Plan::closed(target(), NOISY_CONNECTIONS, bench.span),
                callers: &mut noise,
            },
        ];
        let outcomes = run_together(&mut parts, &mut NoMeter)?;
        let false_invalids = checks.false_invalids + entries.false_invalids;
        let [checks, entries, noise] = outcomes.as_slice() else {
            return Err("three loads have three outcomes".into());
        };
        runs.push(Quiet {
            verify_in_time: in_time(checks, Call::Verify),
            verify_p99_us: checks.latency_us(0.99),
            logins_in_time: in_time(entries, Call::Login),
            noisy_rate: noise.rate(),
            false_invalids: false_invalids as f64,
            examples: [checks, entries]
                .iter()
                .flat_map(|outcome| outcome.examples.clone())
                .collect(),
        });
    }
    Ok(runs)
}

fn in_time(outcome: &Outcome, call: Call) -> f64 {
    outcome.in_time(deadline(call)) as f64 / outcome.calls().max(1) as f64
}

/// Makes a game, a package and a server key, as an operator does.
fn second_game(bench: &Bench, seawall: &Seawall) -> Result<Game, Failure> {
    let data = seawall.data().display().to_string();
    let ask = |arguments: &[&str]| bench.command_line(&[arguments, &["--json", "--data", &data]].concat());
    let text = |answer: &Value, pointer: &str| -> Result<String, Failure> {
        let found = answer.pointer(pointer).and_then(Value::as_str);
        Ok(found.ok_or_else(|| format!("no {pointer} in {answer}"))?.to_owned())
    };
    let game_id = text(&ask(&["game", "create", "Quiet"])?, "/game_id")?;
    let package = ask(&[
        "package",
        "create",
        "quiet",
        "--game",
        &game_id,
        "--platform",
        "android",
    ])?;
    let key = ask(&["key", "create", "quiet", "--game", &game_id])?;
    Ok(Game {
        package_id: text(&package, "/package_id")?,
        key_id: text(&key, "/key/key_id")?,
        secret: text(&key, "/secret")?,
        game_id,
    })
}

impl Game {
    fn body(&self, credential: &Value, install_id: &str) -> String {
        let client = json!({"package_id": self.package_id, "os": "android", "device": {"install_id": install_id}});
        json!({"game_id": self.game_id, "credential": credential, "client": client}).to_string()
    }

    fn login(&self, guest: &Player) -> Vec<u8> {
        let credential = json!({"kind": "guest", "guest_secret": guest.guest_secret});
        post(SESSIONS, &[], &self.body(&credential, "bench-quiet"))
    }

    fn verify(&self, player: &Player) -> Result<Vec<u8>, Failure> {
        let body = json!({"token": player.access_token}).to_string();
        let headers = signature(&self.key_id, &self.secret, VERIFY, &body)?;
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(post(VERIFY, &headers, &body))
    }
}
