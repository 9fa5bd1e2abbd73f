//! Sessions that exchange their refresh token, durable before the answer.

use seawall_tests::server::Failure;

use super::Scenario;
use super::durable::{CALLERS, Durable, measure};
use crate::bench::Bench;
use crate::calls::Refreshes;
use crate::report::Row;

const NAME: &str = "refresh";
/// Sessions in turn; more than callers, so that none is used twice at once.
const SESSIONS: usize = 512;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "`POST /sdk/v1/sessions/refresh` with rotation, 64 callers over kept connections, 512 sessions in turn, durable. Beside: the store in \
            process with the same row; Redis SET of 3 bytes with a synced append-only file, 64 clients.",
    ideas: &[
        (
            "rate",
            "The store alone writes one row of 140 bytes in 11 us of processor time; a served refresh adds HTTP of about 10 us, the reads of \
             revocations and restrictions inside the transaction, and the auth log with a sync of its own. Next: ask the mirrors instead of \
             reading, and wake the runtime once a group.",
        ),
        (
            "p99",
            "Compactions and memtable flushes share the CPU with the group's sync.",
        ),
    ],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    measure(
        bench,
        &Durable {
            name: NAME,
            part: "refresh",
            redis_share: 0.25,
            callers: &|seawall, _| Ok(Box::new(Refreshes::new(&seawall.players(SESSIONS)?, CALLERS))),
        },
    )
}
