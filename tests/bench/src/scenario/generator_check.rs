//! Our generator beside wrk, both asking the same nginx: whoever doubts the one may look at the other.

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::{Bench, each};
use crate::calls::{Prepared, is_200};
use crate::load::Plan;
use crate::peer::nginx::Nginx;
use crate::peer::wrk;
use crate::report::Row;

const NAME: &str = "generator-check";
const CONNECTIONS: usize = 64;
const ANSWER_BYTES: usize = 400;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "GETs of an nginx `return 200`, 64 kept connections, closed loop, by our generator and by wrk on the same CPU.",
    ideas: &[(
        "rate",
        "Where the generator is slower than wrk, it and not the server is the limit of a closed loop.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let nginx = Nginx::start(bench, ANSWER_BYTES)?;
    let request = [b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()];
    let (mut own, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..bench.runs {
        let plan = Plan::closed(nginx.target(), CONNECTIONS, bench.span);
        own.push(bench.measure(&plan, &mut Prepared::new(&request, is_200), nginx.pid())?);
        peer.push(wrk::rate(nginx.target().address, CONNECTIONS, bench.span)?);
    }
    let rate = Row::of(NAME, "rate", "requests/s", &each(&own, |run| run.rate));
    Ok(vec![
        rate.beside("wrk", &peer).at_least_times_peer(0.9),
        Row::failures(NAME, &own),
    ])
}
