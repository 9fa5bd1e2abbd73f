//! Token checks of game servers that open a connection for each, as PHP does.

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS, answer_bytes};
use crate::bench::{Bench, Figures, each};
use crate::calls::{Judge, Prepared, is_200, is_valid};
use crate::load::{Life, Plan, Target};
use crate::peer::nginx::Nginx;
use crate::report::{Row, median};
use crate::seawall::Seawall;

const NAME: &str = "verify-new-connection";
/// Loopback addresses the loader calls from, so that ports do not end.
const SOURCES: u8 = 32;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "One new connection for each token check, 64 at a time: plain, TLS with full handshakes, TLS with tickets. nginx answers \
            `return 200` with a body of the same size and closes as we do.",
    ideas: &[(
        "server CPU",
        "accept, registration and close are the kernel's; ours are a task, the buffers of hyper and, for plain ones, a look at the first \
             bytes into a buffer of its own. Next: profile it; reuse of buffers between connections.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    // The server closes, so that it, as nginx, bears what closing costs.
    let requests: Vec<_> = seawall
        .verifies(&seawall.players(PLAYERS)?)?
        .iter()
        .map(|request| closing(request))
        .collect();
    let nginx = Nginx::start(bench, answer_bytes(&seawall)?)?;
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let sides = [
        ("plain", seawall.target(), nginx.target()),
        (
            "TLS, full handshake",
            seawall.tls_target(false),
            nginx.tls_target(false),
        ),
        ("TLS, tickets", seawall.tls_target(true), nginx.tls_target(true)),
    ];
    for (name, ours, theirs) in sides {
        let (mut own, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let ask = |target: &Target, judge: Judge, pid| {
                let plan = Plan::closed(target.clone().with_sources(SOURCES), CONNECTIONS, bench.span)
                    .with_life(Life::PerCall);
                bench.measure(&plan, &mut Prepared::new(&requests, judge), pid)
            };
            own.push(ask(&ours, is_valid, seawall.pid())?);
            peer.push(ask(&theirs, is_200, nginx.pid())?);
        }
        let row = Row::of(
            NAME,
            &format!("server CPU, {name}"),
            "CPU-us/request",
            &each(&own, |run| run.cpu_us),
        );
        let mut row = row
            .beside("nginx return 200", &each(&peer, |run| run.cpu_us))
            .at_most_times_peer(1.5);
        if ours.tls.is_some() {
            let resumed = |runs: &[Figures]| 100.0 * median(&each(runs, |run| run.resumed));
            row = row.note(&format!(
                "{:.0} % resumed, {:.0} % of nginx's",
                resumed(&own),
                resumed(&peer)
            ));
        }
        rows.push(row);
        let row = Row::of(
            NAME,
            &format!("rate, {name}"),
            "requests/s",
            &each(&own, |run| run.rate),
        );
        rows.push(row.beside("nginx return 200", &each(&peer, |run| run.rate)));
        all.extend(own);
    }
    rows.push(Row::failures(NAME, &all));
    Ok(rows)
}

/// The request with `connection: close`, which nothing signs.
fn closing(request: &[u8]) -> Vec<u8> {
    let line_end = memchr::memmem::find(request, b"\r\n").map_or(0, |end| end + 2);
    [&request[..line_end], b"connection: close\r\n", &request[line_end..]].concat()
}
