//! A rehearsal against a server that was named: over the public way, with accounts that are marked, under a ceiling.

use serde_json::Value;

use super::drive::Driver;
use super::findings::Findings;
use super::plan::{Plan, TARGET_CALLS_PER_S_MAX};
use super::service::{Game, Known, MARK};
use super::stop::Stop;
use super::{knee, measure};
use crate::cli::failure::Failure;
use crate::cli::output::Output;

/// Drives the storm.
///
/// # Errors
/// When the URL is none, the players cannot be made, or nothing can be sent.
pub fn rehearse(url: &str, game: Game, plan: &Plan, stop: &Stop, out: &Output) -> Result<Findings, Failure> {
    super::enough_files(plan)?;
    let known = Known::named(url, game)?;
    out.note(&format!("making {} players …", knee::whole(plan.players as f64)));
    let mut driver = Driver::prepare(&known, plan, None, stop)?;
    let measured = measure(&mut driver, plan, out)?;
    let knee = knee::knee(&measured.steps);
    let mut remarks = vec![
        format!(
            "no more than {TARGET_CALLS_PER_S_MAX:.0} calls a second are ever sent to a target; what it carries beyond them is not known"
        ),
        format!("the accounts that were made stay; their devices, and names where they have one, begin with {MARK}-"),
        "the server's certificate was not checked".to_owned(),
    ];
    remarks.extend(knee::first_late(&measured.steps));
    remarks.extend(super::mix_remarks(plan));
    Ok(Findings {
        mode: "target",
        at: super::now(),
        whom: format!("{} over the public way", known.host),
        remarks,
        differs: Vec::new(),
        machine: Value::Null,
        plan: plan.to_json(),
        players: plan.players,
        duration_s: plan.duration_s,
        base_visits_per_s: measured.base,
        steps: measured.steps,
        knee,
        false_invalids: measured.false_invalids,
        // A host's limits follow from what its own figures say, and those of a target are not seen.
        proposals: Vec::new(),
        settings: Vec::new(),
    })
}
