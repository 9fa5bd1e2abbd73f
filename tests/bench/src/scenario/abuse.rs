//! Fifty million attack keys against the abuse limits: what they cost, who is caught and who is held back by mistake.

use seawall_domain::abuse::MEMORY_MAX_BYTES;
use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::Bench;
use crate::machine::SERVER_CPU;
use crate::process::{figure, part_figures};
use crate::report::Row;

const NAME: &str = "abuse";
/// Attack keys of each kind: so many addresses, devices and names.
const KEYS: u64 = 50_000_000;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "In process, one thread, the limits as they are set by default, a simulated clock: in 60 s 50 million logins to one game (833,000/s), each from \
            an address (half IPv4, half IPv6), a device and under a name of its own; one in 2,000 has a wrong password, one in 1,000 a phone. Beside \
            them 20,000 players who keep their limits (15 logins at once, then one every 4 s), and from half time on 50 devices that attack ever new names \
            and 50 names attacked from ever new devices, 100 times a second each. A login is judged by four or five limits and the game's; one limit is that of devices \
            alone, 10 million keys in 60 s. Processor time, the making of the keys included. Caught is refused for its own device or name, from the first \
            attempt beyond the burst on. The game is beyond its own limit during the flood and asks all for a proof of work, which is not counted.",
    ideas: &[(
        "decision",
        "Under a flood every key takes a cell in 8 MiB of memory that other work of the machine keeps out of its caches: a decision waits for \
         memory once, for all its limits together, and each limit costs an exchange besides. Next: judge several logins of a batch of events at once, so that \
         they wait together.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let arguments = ["abuse".to_owned(), KEYS.to_string()];
    let runs = (0..bench.runs)
        .map(|_| part_figures(&SERVER_CPU.to_string(), &arguments))
        .collect::<Result<Vec<_>, _>>()?;
    let row = |metric: &str, unit: &str, name: &str, times: f64| -> Result<Row, Failure> {
        let figures = runs.iter().map(|run| figure(run, name).map(|figure| figure * times));
        Ok(Row::of(
            NAME,
            metric,
            unit,
            &figures.collect::<Result<Vec<_>, Failure>>()?,
        ))
    };
    Ok(vec![
        row("decision about a login, all limits", "ns", "decision_ns", 1.0)?.at_most(100.0),
        row("decision of one limit", "ns", "alone_ns", 1.0)?.at_most(100.0),
        row("memory of all limits", "bytes", "bytes", 1.0)?.at_most(MEMORY_MAX_BYTES as f64),
        row("abusers caught", "share", "abusers_caught", 1.0)?.at_least(1.0),
        row("the last is caught after", "ms", "caught_last_ms", 1.0)?.at_most(1_000.0),
        row("players' logins refused", "in 10,000", "players_refused", 1e4)?.at_most(1.0),
        row(
            "players' logins asked for a proof",
            "in 10,000",
            "players_challenged",
            1e4,
        )?
        .at_most(1.0),
    ])
}
