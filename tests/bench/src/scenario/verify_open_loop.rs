//! How long a token check takes at 70 % of the peak, from its intended time.

use seawall_tests::server::Failure;

use super::Scenario;
use super::verify_hot::{CONNECTIONS, PLAYERS};
use crate::bench::{Bench, Figures, each};
use crate::calls::{Prepared, is_valid};
use crate::load::{Arrival, Plan, Target};
use crate::report::{Row, median};
use crate::seawall::Seawall;

const NAME: &str = "verify-open-loop";
/// Share of the peak that is offered.
const LOAD: f64 = 0.7;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Token checks in an open loop over 64 kept connections, offered at 70 % of the closed loop's peak of the same minute: evenly, at \
            random (Poisson), and at random over TLS. Latency counts from the intended time.",
    ideas: &[(
        "p99",
        "70 % of a short closed loop's peak; random bursts over 64 connections queue on one CPU, and over TLS the peak that was measured is \
             nearer to what the loader can do. Next: the same with the store's threads on another CPU.",
    )],
    run,
};

/// An arrival of so many calls a second.
type AtRate = fn(f64) -> Arrival;

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let seawall = Seawall::start(bench, &[])?;
    let requests = seawall.verifies(&seawall.players(PLAYERS)?)?;
    let mut rows = Vec::new();
    let mut all = Vec::new();
    let plain = seawall.target();
    let tls = seawall.tls_target(false);
    let sides: [(&str, &Target, AtRate); 3] = [
        ("p99 evenly", &plain, Arrival::Constant),
        ("p99 at random", &plain, |rate| Arrival::Poisson { rate, seed: 7 }),
        ("p99 at random, TLS", &tls, |rate| Arrival::Poisson { rate, seed: 7 }),
    ];
    for (metric, target, arrival) in sides {
        let (mut peaks, mut runs) = (Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            let ask = |plan: &Plan| bench.measure(plan, &mut Prepared::new(&requests, is_valid), seawall.pid());
            let peak = ask(&Plan::closed(target.clone(), CONNECTIONS, bench.span / 3))?.rate;
            peaks.push(peak);
            runs.push(ask(&Plan::open(
                target.clone(),
                CONNECTIONS,
                arrival(peak * LOAD),
                bench.span,
            ))?);
        }
        let offered = format!(
            "offered {:.0}/s of a peak of {:.0}/s",
            median(&peaks) * LOAD,
            median(&peaks)
        );
        let p99: fn(&Figures) -> f64 = |run| run.p99_us;
        rows.push(
            Row::of(NAME, metric, "us", &each(&runs, p99))
                .at_most(1000.0)
                .note(&offered)
                .voids(&runs),
        );
        rows.push(Row::of(
            NAME,
            &metric.replace("p99", "p50"),
            "us",
            &each(&runs, |run| run.p50_us),
        ));
        all.extend(runs);
    }
    rows.push(Row::failures(NAME, &all));
    Ok(rows)
}
