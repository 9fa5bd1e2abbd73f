//! The list of scenarios. Each stands in a file of its own, can be run alone, and runs interleaved with its peer.

mod verify_hot;

use seawall_tests::server::Failure;

use crate::bench::Bench;
use crate::report::Row;

/// One scenario.
pub struct Scenario {
    /// Its name, as in `make bench SCENARIO=name`.
    pub name: &'static str,
    /// What is measured and how, for the report.
    pub about: &'static str,
    /// For a metric whose goal was missed (by the beginning of its name): the cause, or the next idea.
    pub ideas: &'static [(&'static str, &'static str)],
    /// Measures it.
    pub run: fn(&Bench) -> Result<Vec<Row>, Failure>,
}

/// All of them, in the order of a whole run.
pub const SCENARIOS: &[Scenario] = &[verify_hot::SCENARIO];
