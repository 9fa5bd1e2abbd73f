//! A hundred tokens a call, a hundred streams of one HTTP/2 connection.

use bytes::Bytes;
use http::Request;
use seawall_tests::server::Failure;
use serde_json::json;

use super::Scenario;
use crate::bench::{Bench, each};
use crate::load::{Answer, StreamPlan, Verdict, run_streams};
use crate::process::CpuMeter;
use crate::report::Row;
use crate::seawall::{Player, Seawall, VERIFY_BATCH};

const NAME: &str = "verify-batch";
const STREAMS: usize = 100;
const BATCH: usize = 100;
/// Different requests.
const REQUESTS: usize = 100;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "`POST /server/v1/sessions/verify-batch` with 100 tokens, over 100 streams of one plain HTTP/2 connection, closed loop. Every token \
            of every answer must be valid.",
    ideas: &[(
        "server CPU",
        "Three hashes and 400 bytes of JSON for each token; next: write the answer of a valid token by hand instead of through serde.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let players = seawall.players(REQUESTS * 10)?;
    let requests = (0..REQUESTS)
        .map(|number| request(&seawall, &players, number))
        .collect::<Result<Vec<_>, _>>()?;
    let plan = StreamPlan {
        address: seawall.plain,
        streams: STREAMS,
        warm_up: std::time::Duration::from_millis(300),
        span: bench.span,
    };
    let mut runs = Vec::new();
    for _ in 0..bench.runs {
        let mut meter = CpuMeter::new(seawall.pid());
        let outcome = run_streams(&plan, &requests, all_valid, &mut meter)?;
        runs.push(crate::bench::figures(&outcome, &meter, 0)?);
    }
    let cpu: Vec<f64> = runs.iter().map(|run| run.cpu_us / BATCH as f64).collect();
    Ok(vec![
        Row::of(NAME, "server CPU", "CPU-us/token", &cpu).at_most(1.5),
        Row::of(NAME, "rate", "tokens/s", &each(&runs, |run| run.rate * BATCH as f64)),
        Row::failures(NAME, &runs),
    ])
}

fn request(seawall: &Seawall, players: &[Player], number: usize) -> Result<(Request<()>, Bytes), Failure> {
    let tokens: Vec<_> = (0..BATCH)
        .filter_map(|place| players.get((number * 37 + place) % players.len()))
        .map(|player| &player.access_token)
        .collect();
    let body = json!({"tokens": tokens}).to_string();
    let uri = format!("http://{}{VERIFY_BATCH}", seawall.plain);
    let mut request = Request::post(uri).header("content-type", "application/json");
    for (name, value) in seawall.signature(VERIFY_BATCH, &body)? {
        request = request.header(name, value);
    }
    Ok((request.body(())?, Bytes::from(body)))
}

fn all_valid(answer: &Answer<'_>) -> Verdict {
    let valid = memchr::memmem::find_iter(answer.body, b"\"status\":\"valid\"").count();
    match answer.status {
        200 if valid == BATCH => Verdict::Ok,
        429 | 503 => Verdict::Refused,
        _ => Verdict::Wrong,
    }
}
