//! Storms against the server under measurement; their clients are those of `appliance/load/src/storm`.

pub mod stall;

pub use seawall_load::storm::{client, counts, crowd, deadline, members, work_units};
use seawall_tests::server::Failure;

use crate::bench::Bench;
use crate::report::Row;
use crate::seawall::Seawall;

/// Settings of a host that so many clients of one address may come to.
pub const SETTINGS: &[&str] = &["limits.connections_max=200000", "limits.connections_per_address=200000"];
/// The peer of a storm: the same server with its admission switched off.
pub const WITHOUT_ADMISSION: &str = "admission.mode=off";
/// Loopback addresses the loader calls from.
pub const SOURCES: u8 = 32;
/// Characters of a reason that are shown.
const WHY_MAX: usize = 200;
/// A loader later than this in one call of a hundred has offered something else than it says.
const LATE_MAX_MS: f64 = 20.0;
/// Files that are needed beside those of the connections.
const SPARE_FILES: u64 = 1_500;

/// As many connections as this process may open, at most `wanted`.
#[must_use]
pub fn connections(bench: &Bench, wanted: usize) -> usize {
    let room = usize::try_from(bench.files_max.saturating_sub(SPARE_FILES)).unwrap_or(wanted);
    wanted.min(room)
}

/// A server that simulated clients may come to, with further settings. Under pressure it asks them for proofs of work, which those
/// that keep the rules do, as on the day.
///
/// # Errors
/// When it does not start.
pub fn start_for_clients(bench: &Bench, settings: &[&str]) -> Result<Seawall, Failure> {
    Seawall::start(bench, &[SETTINGS, settings].concat())
}

/// The same for calls that were made before the run. They cannot work, and a challenge would be one more answer to look at and no
/// end of a call: so pressure asks nobody for a proof.
///
/// # Errors
/// When it does not start.
pub fn start(bench: &Bench, settings: &[&str]) -> Result<Seawall, Failure> {
    let seawall = start_for_clients(bench, settings)?;
    let (game, data) = (seawall.fact("game_id"), seawall.data().display().to_string());
    bench.command_line(&[
        "game",
        "update",
        &game,
        "--challenges",
        "off",
        "--json",
        "--data",
        &data,
    ])?;
    Ok(seawall)
}

/// The same without admission, which asks nobody either; else why there is none, a build that has no such setting for example.
///
/// # Errors
/// As text, for a note.
pub fn start_without_admission(bench: &Bench) -> Result<Seawall, String> {
    start(bench, &[WITHOUT_ADMISSION]).map_err(|error| {
        let text: String = error.to_string().chars().take(WHY_MAX).collect();
        format!("no peer without admission: {}", text.trim())
    })
}

/// The row; void, and its goal missed, when the loader was too late to have offered what it says.
#[must_use]
pub fn void_when_late(row: Row, late_ms: f64) -> Row {
    if late_ms <= LATE_MAX_MS {
        return row;
    }
    let row = row.note(&format!("VOID: the loader was late by {late_ms:.0} ms (p99)"));
    Row {
        goal_met: row.goal.as_ref().map(|_| false),
        ..row
    }
}
