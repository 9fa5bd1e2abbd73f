//! Negative controls: the rig must notice a product that is wrong on purpose, or its silence elsewhere means nothing.

use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller};
use crate::{damage, kills, power, trace};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "5",
        name: "control-skip-fsync",
        expected: "caught: a power cut loses acknowledged writes",
        run: |rig| caught(power::cuts(rig, "skip_fsync", 10)),
    },
    Scenario {
        number: "control",
        name: "control-no-dirsync",
        expected: "caught: a name is used before it is durable",
        run: |rig| caught(trace::names(rig, "no_dirsync")),
    },
    Scenario {
        number: "control",
        name: "control-reply-before-sync",
        expected: "caught: an acknowledged write is missing after a kill",
        run: |rig| caught(replied_early(rig)),
    },
    Scenario {
        number: "control",
        name: "control-ignore-floor",
        expected: "caught: an engine older than the durable floor opens",
        run: |rig| caught(damage::yesterday(rig, "ignore_floor")),
    },
    Scenario {
        number: "control",
        name: "control-drop-revocations",
        expected: "caught: a token revoked before the crash is valid after it",
        run: |rig| caught(forgotten(rig)),
    },
    Scenario {
        number: "control",
        name: "control-index-drift",
        expected: "caught: an index does not equal its records",
        run: |rig| caught(drifted(rig)),
    },
];

/// A finding is the right end here.
fn caught(end: Result<String, Trouble>) -> Result<String, Trouble> {
    match end {
        Ok(seen) => wrong(format!("NOT CAUGHT: {seen}")),
        Err(Trouble::Wrong(finding)) => {
            let first = finding.lines().next().unwrap_or_default();
            let short: String = first.chars().take(240).collect();
            if is_about_data(&finding) {
                Ok(format!("caught: {short}"))
            } else {
                // The rig itself may have stumbled; that proves nothing.
                wrong(format!("not the finding it was to be: {short}"))
            }
        }
        Err(other) => Err(other),
    }
}

/// Findings of the auditor and refusals of the store, as against a rig that did not get to work.
fn is_about_data(finding: &str) -> bool {
    const WORDS: &[&str] = &[
        "a token of account",
        "acknowledged account",
        "store.verify:",
        "lines were acknowledged",
        "store.lost_data",
        "store.engine_damaged",
        "store.control_",
        "opened although",
        "is not made durable",
        "does not refresh",
        " was refused: ",
        "import.chunk at ",
    ];
    WORDS.iter().any(|word| finding.contains(word))
}

fn replied_early(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    world.up("")?.stop(STEP_MAX)?;
    // The answers need a moment to reach the clients before the kill; a group may also hold nothing that can be missed.
    let faults = "reply_before_sync,stall@commit.before_write:20,kill@commit.before_write:60";
    for _ in 0..5 {
        kills::killed_at(&mut world, faults)?;
        world.restart_and_audit()?;
    }
    Ok("nothing missing".into())
}

/// A restart in order, so that nothing else can be blamed.
fn restarted(rig: &Rig, before: &str, after: &str) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up(before)?;
    world.work(caller(&server), |work| work.until_acknowledged(400))?;
    server.stop(STEP_MAX)?;
    let server = world.up(after)?;
    world.audit(server)?;
    Ok("nothing found".into())
}

fn forgotten(rig: &Rig) -> Result<String, Trouble> {
    restarted(rig, "", "drop_revocations")
}

fn drifted(rig: &Rig) -> Result<String, Trouble> {
    restarted(rig, "index_drift", "")
}
