//! Password logins of which nothing is remembered, beside the bare hash.

use seawall_tests::server::Failure;
use serde_json::json;

use super::Scenario;
use crate::bench::{Bench, each};
use crate::calls::{Prepared, is_200};
use crate::load::Plan;
use crate::machine::SERVER_CPU;
use crate::process::{figure, part_figures};
use crate::report::Row;
use crate::seawall::{ACCOUNTS, SESSIONS, Seawall, post};

const NAME: &str = "login-cold";
const ACCOUNTS_COUNT: usize = 32;
/// Callers at once: enough to keep the one hash thread busy, few enough to be served within the pool's deadline.
const CALLERS: usize = 16;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "`POST /sdk/v1/sessions` with name and password (argon2id, 19 MiB, two passes), 16 callers, 32 accounts in turn, one hash thread, nothing remembered. \
            Beside: the same hash in a loop on one thread of the same CPU. For remembered credentials see login-warm.",
    ideas: &[(
        "rate",
        "The hash thread is nice +5 and shares its one CPU with network and store here; the pool keeps its memory as the bare loop does \
             (decisions/0806). Next: the same with a CPU for the hash thread alone.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &["hash.credential_cache_minutes=0"])?;
    let requests = (0..ACCOUNTS_COUNT)
        .map(|number| account(&seawall, number))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let plan = Plan::closed(seawall.target(), CALLERS, bench.span);
        own.push(bench.measure(&plan, &mut Prepared::new(&requests, is_200), seawall.pid())?);
        let arguments = ["argon2".to_owned(), bench.span.as_secs_f64().to_string()];
        bare.push(figure(&part_figures(&SERVER_CPU.to_string(), &arguments)?, "rate")?);
    }
    let rate = Row::of(NAME, "rate", "logins/s", &each(&own, |run| run.rate));
    Ok(vec![
        rate.beside("bare argon2 loop", &bare).at_least_times_peer(0.95),
        Row::of(NAME, "server CPU", "CPU-us/login", &each(&own, |run| run.cpu_us)),
        Row::failures(NAME, &own),
    ])
}

/// Registers an account; a login of it as bytes.
fn account(seawall: &Seawall, number: usize) -> Result<Vec<u8>, Failure> {
    let (name, device) = (format!("bench{number:04}"), format!("bench-login-{number}"));
    let credential = json!({"kind": "username", "username": name, "password": "difference"});
    let made = seawall.client()?.login(ACCOUNTS, &device, &credential)?;
    if made.status != 201 {
        return Err(format!("an account was not made: {} {}", made.status, made.body).into());
    }
    let body = json!({"game_id": seawall.fact("game_id"), "credential": credential, "client": seawall.device(&device)});
    Ok(post(SESSIONS, &[], &body.to_string()))
}
