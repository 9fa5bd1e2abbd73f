//! Storms: thousands of simulated clients that keep the rules of `appliance/CLIENT_RULES.md`, or none, and what is counted about them.

pub mod client;
pub mod counts;
pub mod crowd;
pub mod members;
pub mod tally;
pub mod visitors;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::client_rules::Call;

/// What an answer in time is worth: about the processor time of each call beside a check's.
#[must_use]
pub fn work_units(call: Call) -> f64 {
    match call {
        Call::Verify => 1.0,
        Call::Refresh => 5.0,
        Call::Login | Call::Register => 7.0,
        Call::WithToken => 10.0,
    }
}

/// How long after its intended time an answer is still worth something.
#[must_use]
pub fn deadline(call: Call) -> Duration {
    match call {
        Call::Verify => Duration::from_millis(100),
        Call::Refresh | Call::WithToken => Duration::from_millis(500),
        Call::Login | Call::Register => Duration::from_secs(2),
    }
}

/// How long a client that keeps the rules waits for an answer, which it tells in `X-Deadline-Ms`: a player longer than a game
/// server.
#[must_use]
pub fn waits(call: Call) -> Duration {
    match call {
        Call::Verify | Call::WithToken => Duration::from_secs(2),
        Call::Refresh | Call::Login | Call::Register => Duration::from_secs(5),
    }
}
