//! Password logins of accounts that logged in a moment ago, beside what a core can hash.

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::{Bench, each};
use crate::calls::{Prepared, is_200};
use crate::load::{NoMeter, Plan, run as load};
use crate::machine::SERVER_CPU;
use crate::process::{figure, part_figures};
use crate::report::Row;
use crate::seawall::{SESSIONS, Seawall, post};
use crate::storm::members::{login_body, with_passwords};

const NAME: &str = "login-warm";
const ACCOUNTS: usize = 64;
/// Callers at once, as for the other durable calls.
const CALLERS: usize = 64;
/// Callers of the first logins, which have to be hashed: few enough to be served within the pool's deadline.
const FIRST_CALLERS: usize = 8;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "`POST /sdk/v1/sessions` with name and password, 64 callers, 64 accounts in turn that all logged in before; session and token are made \
            and durable each time. Beside: the bare argon2 loop of login-cold, which is the most that one core can log in without a memory of \
            credentials.",
    ideas: &[(
        "rate",
        "A login is a durable write like a registration, and looks through four iterators of the engine besides (players, restrictions twice, \
         sessions). Next: what is known of an account's restrictions and players from memory.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let credentials = with_passwords(&seawall, ACCOUNTS)?;
    let requests: Vec<Vec<u8>> = credentials
        .iter()
        .enumerate()
        .map(|(number, credential)| {
            post(
                SESSIONS,
                &[],
                &login_body(&seawall, credential, &format!("storm-named-{number}")),
            )
        })
        .collect();
    let first = Plan::exactly(seawall.target(), FIRST_CALLERS, ACCOUNTS as u64);
    load(&first, &mut Prepared::new(&requests, is_200), &mut NoMeter)?;
    let (mut own, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let plan = Plan::closed(seawall.target(), CALLERS, bench.span);
        own.push(bench.measure(&plan, &mut Prepared::new(&requests, is_200), seawall.pid())?);
        let arguments = ["argon2".to_owned(), bench.span.as_secs_f64().to_string()];
        bare.push(figure(&part_figures(&SERVER_CPU.to_string(), &arguments)?, "rate")?);
    }
    let rate = Row::of(NAME, "rate", "logins/s", &each(&own, |run| run.rate));
    Ok(vec![
        rate.beside("bare argon2 loop", &bare).at_least_times_peer(300.0),
        Row::of(NAME, "server CPU", "CPU-us/login", &each(&own, |run| run.cpu_us)),
        Row::of(NAME, "p99, 64 callers", "us", &each(&own, |run| run.p99_us)),
        Row::failures(NAME, &own),
    ])
}
