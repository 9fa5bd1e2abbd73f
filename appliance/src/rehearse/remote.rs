//! A rehearsal against a server that was named: over the public way, with accounts that are marked, under a ceiling.

use super::findings::Findings;
use super::plan::{Plan, TARGET_CALLS_PER_S_MAX};
use super::service::{Game, Known, MARK};
use super::stop::Stop;
use super::{findings, storm};
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Drives the storm.
///
/// # Errors
/// When the URL is none, the players cannot be made, or nothing can be sent.
pub fn rehearse(url: &str, game: Game, plan: &Plan, stop: &Stop, out: &Output) -> Result<Findings, Failure> {
    super::enough_files(plan)?;
    let known = Known::named(url, game)?;
    let measured = storm(&known, plan, None, stop, out)?;
    let remarks = vec![
        format!(
            "no more than {TARGET_CALLS_PER_S_MAX:.0} calls a second are ever sent to a target; what it carries beyond them is not known"
        ),
        format!("the accounts that were made stay; their devices, and names where they have one, begin with {MARK}-"),
        "the server's certificate was not checked".to_owned(),
    ];
    // A host's limits follow from what its own figures say, and those of a target are not seen: nothing is proposed.
    Ok(Findings {
        whom: format!("{} over the public way", known.host),
        ..findings("target", plan, measured, remarks)
    })
}
