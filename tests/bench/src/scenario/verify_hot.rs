//! Token checks over kept connections as fast as they are answered: our processor time beside nginx's, a bare hyper handler's with
//! the same cryptography, and our rate beside Redis GET.

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::{Bench, Figures, each};
use crate::calls::{Prepared, is_200, is_valid};
use crate::load::{Plan, Target};
use crate::peer::{hyper, nginx, redis};
use crate::report::Row;
use crate::seawall::Seawall;

const NAME: &str = "verify-hot";
/// Connections of the loop.
pub const CONNECTIONS: usize = 64;
/// Players whose tokens are checked in turn.
pub const PLAYERS: usize = 1000;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Signed JSON POST `/server/v1/sessions/verify`, 64 kept plain connections, closed loop, tokens of 1,000 players in turn. nginx \
            answers `return 200` with a body of the same size to the same requests; the bare hyper handler reads the body and does the same \
            SHA-256, HMAC-SHA-256 and BLAKE3; Redis is asked by redis-benchmark.",
    ideas: &[
        (
            "server CPU",
            "Most of it is the kernel's: one read, one write and one epoll turn for each call (perf). What is ours is the head's parsing, the \
             router's layers and JSON; next: fewer layers around the hot path.",
        ),
        ("rate", "Bound by the processor time of a call, see above."),
    ],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let answer_bytes = answer_bytes(&seawall)?;
    let nginx = nginx::Nginx::start(bench, answer_bytes)?;
    let hyper = hyper::Bare::start(&seawall.fact("secret"), answer_bytes)?;
    let redis = redis::Redis::start(bench, redis::Durability::None)?;
    let (mut ours, mut theirs, mut bare, mut gets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        ours.push(hot(bench, seawall.target(), &requests, is_valid, seawall.pid())?);
        theirs.push(hot(bench, nginx.target(), &requests, is_200, nginx.pid())?);
        bare.push(hot(bench, hyper.target(), &requests, is_200, hyper.pid())?);
        gets.push(redis.benchmark("get", CONNECTIONS, 3, bench.span)?);
    }
    let cpu = |figures: &[Figures]| each(figures, |run| run.cpu_us);
    let rate = |figures: &[Figures]| each(figures, |run| run.rate);
    let own_cpu = || Row::of(NAME, "server CPU", "CPU-us/request", &cpu(&ours));
    let own_rate = || Row::of(NAME, "rate", "requests/s", &rate(&ours));
    Ok(vec![
        own_cpu()
            .beside("nginx return 200", &cpu(&theirs))
            .at_most_times_peer(2.5),
        own_cpu()
            .beside("bare hyper, same crypto", &cpu(&bare))
            .at_most_times_peer(1.3),
        own_rate()
            .beside("redis-benchmark GET", &gets)
            .at_least_times_peer(0.55),
        own_rate().beside("nginx return 200", &rate(&theirs)),
        own_rate().beside("bare hyper, same crypto", &rate(&bare)),
        Row::failures(NAME, &ours),
    ])
}

fn hot(
    bench: &Bench,
    target: Target,
    requests: &[Vec<u8>],
    judge: crate::calls::Judge,
    pid: u32,
) -> Result<Figures, Failure> {
    let plan = Plan::closed(target, CONNECTIONS, bench.span);
    bench.measure(&plan, &mut Prepared::new(requests, judge), pid)
}

/// How long the body of a verify answer is.
pub fn answer_bytes(seawall: &Seawall) -> Result<usize, Failure> {
    let player = seawall.players(1)?.pop().ok_or("no player")?;
    let answer = seawall.client()?.verify(&player.access_token)?;
    if answer.text("/status") != "valid" {
        return Err(format!("a fresh token is not valid: {}", answer.body).into());
    }
    Ok(answer.body.to_string().len())
}
