//! Rehearsals: the storm of an update day before it comes, against a scratch copy of this host's own data and settings, or against a
//! server that was named, with accounts that are marked.
//!
//! The load generator and the clients are `seawall_load`. A step offers visits of players in an open loop; what was answered in time
//! over what was offered is the curve, and its knee is what the host carries. From what was measured up to there follow proposals for
//! settings. See decisions/0815.

pub mod copy;
pub mod draw;
pub mod drive;
pub mod findings;
pub mod html;
pub mod knee;
pub mod local;
pub mod machine;
pub mod mix;
pub mod plan;
pub mod proposal;
pub mod remote;
pub mod server;
pub mod service;
pub mod settings;
pub mod step;
pub mod stop;
mod svg;
pub mod watch;

use std::time::Duration;

use seawall_domain::ports::Clock as _;
use seawall_load::storm::visitors::Roles;
use serde_json::Value;

use crate::cli::failure::Failure;
use crate::cli::instant;
use crate::cli::output::Output;
use crate::clock::SystemClock;
use crate::settings::{Origin, Settings, catalogue};
use drive::{Cost, Driver, OnThisHost};
use findings::Findings;
use knee::whole;
use plan::Plan;
use service::Known;
use step::Step;
use stop::Stop;

/// Files this process needs beside those of its connections.
const SPARE_FILES: u64 = 200;

/// What was measured.
struct Measured {
    base: f64,
    steps: Vec<Step>,
    costs: Vec<Cost>,
    false_invalids: u64,
}

/// Every player is a connection, and so a file of this process and one of the server's.
fn enough_files(plan: &Plan) -> Result<(), Failure> {
    let files = machine::raise_file_limit();
    if plan.players as u64 + SPARE_FILES > files {
        return Err(Failure::Usage(format!(
            "--players: this process may open {files} files, and each player is one; raise the limit (ulimit -n) or ask for fewer"
        )));
    }
    Ok(())
}

/// Makes the players, and drives the storm.
fn storm(
    service: &Known,
    plan: &Plan,
    host: Option<OnThisHost<'_>>,
    stop: &Stop,
    out: &Output,
) -> Result<Measured, Failure> {
    out.note(&format!("making {} players …", whole(plan.players as f64)));
    measure(&mut Driver::prepare(service, plan, host, stop)?, plan, out)
}

/// Finds out what is carried, unless that was said, and offers the steps.
fn measure(driver: &mut Driver<'_>, plan: &Plan, out: &Output) -> Result<Measured, Failure> {
    let costs = driver.costs()?;
    let base = match plan.rate {
        Some(rate) => rate,
        None => {
            out.note("finding out what is carried …");
            driver.find_rate()?
        }
    };
    out.note(&format!("step 1 is {} visits a second", whole(base)));
    let span = Duration::from_secs(u64::from(plan.duration_s));
    let mut steps = Vec::with_capacity(plan.steps.len());
    for factor in &plan.steps {
        let step = driver.offer(*factor, base * factor, span)?;
        out.note(&format!(
            "{factor}x: {} work units a second offered, {} answered in time ({:.0} %)",
            whole(step.offered_units_per_s),
            whole(step.goodput_units_per_s),
            step.in_time_share * 100.0
        ));
        steps.push(step);
    }
    Ok(Measured {
        base,
        steps,
        costs,
        false_invalids: driver.false_invalids,
    })
}

/// What is found in any rehearsal, with its own remarks first. Nothing is known yet of whom it went to, of the host and its settings.
fn findings(mode: &'static str, plan: &Plan, measured: Measured, mut remarks: Vec<String>) -> Findings {
    remarks.extend(knee::first_late(&measured.steps));
    remarks.extend(proof_remark(&measured.steps));
    remarks.extend(mix_remarks(plan));
    Findings {
        mode,
        at: now(),
        whom: String::new(),
        remarks,
        differs: Vec::new(),
        machine: Value::Null,
        plan: plan.to_json(),
        players: plan.players,
        duration_s: plan.duration_s,
        base_visits_per_s: measured.base,
        knee: knee::knee(&measured.steps),
        steps: measured.steps,
        false_invalids: measured.false_invalids,
        proposals: Vec::new(),
        settings: Vec::new(),
    }
}

/// What challenges did to the steps, if there were any that the loader had no time for.
fn proof_remark(steps: &[Step]) -> Option<String> {
    let sum = |of: fn(&Step) -> u64| steps.iter().map(of).sum::<u64>();
    let (late, asked) = (
        sum(|step| step.proofs.dropped + step.proofs.expired),
        sum(|step| step.proofs.asked),
    );
    (late > 0).then(|| {
        format!(
            "{late} of {asked} proofs of work were not done in time: this one loader works for all devices; those players came later than \
             the server let them"
        )
    })
}

/// Settings that are not at their default, as a file would have them; secrets are left out.
fn chosen(settings: &Settings) -> Vec<(String, String)> {
    let chosen = catalogue::SETTINGS
        .iter()
        .filter(|setting| !setting.secret && settings.get(setting).origin != Origin::Default);
    chosen
        .map(|setting| (setting.path.to_owned(), settings::shown(settings, setting)))
        .collect()
}

/// What is worth saying about the mix, where fewer come for something than it asks for.
fn mix_remarks(plan: &Plan) -> Vec<String> {
    let Roles { login, .. } = plan.mix.roles(plan.players);
    let mut remarks = vec![format!("{}: {}", plan.mix.name, plan.mix.about)];
    if login == mix::PASSWORDS_MAX {
        remarks.push(format!(
            "no more than {login} accounts have a password, for each costs a hash before the storm; logins are fewer than the mix says"
        ));
    }
    remarks
}

fn now() -> String {
    instant::show(SystemClock.now_at())
}

#[cfg(test)]
mod tests {
    use seawall_load::storm::counts::Proofs;

    use super::*;

    #[test]
    fn proofs_are_a_remark_only_when_the_loader_was_short_of_time() {
        let step = |proofs| Step {
            proofs,
            ..Step::default()
        };
        let in_time = Proofs {
            asked: 7,
            again: 1,
            solved: 7,
            ..Proofs::default()
        };
        assert_eq!(proof_remark(&[step(in_time), Step::default()]), None);
        let short = Proofs {
            asked: 3,
            solved: 1,
            expired: 1,
            dropped: 1,
            ..Proofs::default()
        };
        let remark = proof_remark(&[step(in_time), step(short)]).unwrap();
        assert!(remark.starts_with("2 of 10 proofs of work"), "{remark}");
    }
}
