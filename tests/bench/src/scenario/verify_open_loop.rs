//! How long a token check takes at 70 % of the peak, from its intended time.

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS, answer_bytes};
use crate::bench::{Bench, each};
use crate::calls::{Prepared, is_200, is_valid};
use crate::load::{Arrival, Plan, Target};
use crate::peer::{hyper, nginx};
use crate::report::{Row, median};
use crate::seawall::Seawall;

const NAME: &str = "verify-open-loop";
/// Share of the peak that is offered.
const LOAD: f64 = 0.7;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Token checks in an open loop over 64 kept connections, offered at 70 % of the closed loop's peak of the same minute: evenly, at \
            random (Poisson), and at random over TLS. Latency counts from the intended time. Beside, in turn, the bare hyper handler of \
            verify-hot and an nginx that answers `return 200`, offered the same calls a second.",
    ideas: &[(
        "p99",
        "What the peers show too is the machine's: a processor taken away for a slice makes some hundred calls late at once. What is beyond \
             it: with calls at one distance a check takes the processor for each and finds cold caches; next: the store's threads on another CPU.",
    )],
    run,
};

/// An arrival of so many calls a second.
type AtRate = fn(f64) -> Arrival;

/// One who is offered what we are.
struct Peer {
    name: &'static str,
    target: Target,
    pid: u32,
}

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let answer_bytes = answer_bytes(&seawall)?;
    let nginx = nginx::Nginx::start(bench, answer_bytes)?;
    let hyper = hyper::Bare::start(&seawall.fact("secret"), answer_bytes)?;
    let peer = |name, target, pid| Peer { name, target, pid };
    let peers = [
        peer("bare hyper, same crypto", hyper.target(), hyper.pid()),
        peer("nginx return 200", nginx.target(), nginx.pid()),
    ];
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    let plain = seawall.target();
    let tls = seawall.tls_target(false);
    let sides: [(&str, &Target, AtRate, &[Peer]); 3] = [
        ("evenly", &plain, Arrival::Constant, &peers),
        ("at random", &plain, |rate| Arrival::Poisson { rate, seed: 7 }, &peers),
        ("at random, TLS", &tls, |rate| Arrival::Poisson { rate, seed: 7 }, &[]),
    ];
    for (how, target, arrival, peers) in sides {
        let (mut peaks, mut runs) = (Vec::new(), Vec::new());
        let mut theirs: Vec<Vec<f64>> = peers.iter().map(|_| Vec::new()).collect();
        for _ in 0..bench.runs {
            let ask = |plan: &Plan| bench.measure(plan, &mut Prepared::new(&requests, is_valid), seawall.pid());
            let peak = ask(&Plan::closed(target.clone(), CONNECTIONS, bench.span / 3))?.rate;
            peaks.push(peak);
            let offered = |target: &Target| Plan::open(target.clone(), CONNECTIONS, arrival(peak * LOAD), bench.span);
            runs.push(ask(&offered(target))?);
            for (peer, p99s) in peers.iter().zip(&mut theirs) {
                let mut calls = Prepared::new(&requests, is_200);
                p99s.push(bench.measure(&offered(&peer.target), &mut calls, peer.pid)?.p99_us);
            }
        }
        let offered = format!(
            "offered {:.0}/s of a peak of {:.0}/s",
            median(&peaks) * LOAD,
            median(&peaks)
        );
        let p99 = || Row::of(NAME, &format!("p99 {how}"), "us", &each(&runs, |run| run.p99_us));
        rows.push(p99().at_most(1000.0).note(&offered).voids(&runs));
        rows.extend(
            peers
                .iter()
                .zip(&theirs)
                .map(|(peer, p99s)| p99().beside(peer.name, p99s)),
        );
        rows.push(Row::of(
            NAME,
            &format!("p50 {how}"),
            "us",
            &each(&runs, |run| run.p50_us),
        ));
        all.extend(runs);
    }
    rows.push(Row::failures(NAME, &all));
    Ok(rows)
}
