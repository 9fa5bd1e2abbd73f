//! Guests that register: account, identity, player, device and session, durable before the answer.

use seawall_tests::server::Failure;

use super::Scenario;
use super::durable::{Durable, measure};
use crate::bench::Bench;
use crate::calls::Guests;
use crate::report::Row;

const NAME: &str = "guest-registration";

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "`POST /sdk/v1/accounts` as a guest, 64 callers over kept connections, durable. Beside: the store in process with the same five rows, \
            64 writes waiting, on the same CPU; Redis SET of 3 bytes with a synced append-only file, 64 clients.",
    ideas: &[
        (
            "rate",
            "By perf 41 % of the processor time is HTTP, 23 % the sequencer, 14 % flushes and compactions, 13 % the writer, 9 % the auth log \
             (ARCHITECTURE.md). Beside the bare store: HTTP, the rules, their reads and the auth log on the same CPU. Next: fewer reads where a \
             key is fresh, and wake-ups of the runtime once a group.",
        ),
        (
            "p99",
            "Compactions and memtable flushes share the CPU with the group's sync; see the engine's stalls in /metrics.",
        ),
    ],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    measure(
        bench,
        &Durable {
            name: NAME,
            part: "registration",
            redis_share: 0.15,
            callers: &|seawall, round| Ok(Box::new(Guests::new(seawall, round))),
        },
    )
}
