//! The list of scenarios. Each stands in a file of its own, can be run alone, and runs interleaved with its peer.

mod abuse;
mod backup;
mod drain;
mod durable;
mod generator_check;
mod growth;
mod guest_registration;
mod idle_connections;
mod import;
mod login_cold;
mod login_warm;
mod refresh;
mod restart;
mod segment_log;
mod storm_beside;
mod storm_metastable;
mod storm_mix;
mod storm_noisy;
mod storm_update_day;
mod storm_whole_day;
mod tls_handshake;
mod verify_batch;
mod verify_hot;
mod verify_new_connection;
mod verify_open_loop;
mod verify_revocations;

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
pub const SCENARIOS: &[Scenario] = &[
    generator_check::SCENARIO,
    verify_hot::SCENARIO,
    verify_open_loop::SCENARIO,
    verify_new_connection::SCENARIO,
    verify_batch::SCENARIO,
    verify_revocations::SCENARIO,
    tls_handshake::SCENARIO,
    guest_registration::SCENARIO,
    refresh::SCENARIO,
    login_cold::SCENARIO,
    login_warm::SCENARIO,
    idle_connections::SCENARIO,
    storm_mix::SCENARIO,
    storm_update_day::SCENARIO,
    storm_whole_day::SCENARIO,
    storm_metastable::SCENARIO,
    storm_noisy::SCENARIO,
    storm_beside::SCENARIO,
    drain::SCENARIO,
    abuse::SCENARIO,
    segment_log::SCENARIO,
    import::SCENARIO,
    growth::SCENARIO,
    restart::SCENARIO,
    backup::SCENARIO,
];
