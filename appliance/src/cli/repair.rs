//! `seawall db repair --plan`: what a data directory lacks, by file and range, and the steps a person takes. It changes
//! nothing; what is lost is restored from a copy, never made up.

use std::path::Path;

use seawall_storage::{Diagnosis, LsnRange, OpenFailure, diagnose};
use serde_json::{Value, json};

use super::failure::{DONE, Failure, WARNINGS};
use super::output::{Output, View};

/// Runs the verb; answers the exit code: 0 nothing is wrong, 3 something is but the data opens, else the one a start
/// would leave with.
///
/// # Errors
/// When the directory is in use or cannot be read.
pub fn plan(data_dir: &Path, out: &Output) -> Result<u8, Failure> {
    let found = diagnose(data_dir).map_err(Failure::Store)?;
    let mut told = report(&found);
    if out.is_json() {
        out.answer(&told, View::Record);
    } else {
        // Steps are read one by one.
        told.as_object_mut().map(|fields| fields.remove("steps"));
        out.answer(&told, View::Record);
        let lines = steps(&found)
            .into_iter()
            .zip(1..)
            .map(|(step, number)| format!("{number}. {step}\n"));
        out.text(&format!("\nWhat to do:\n{}", lines.collect::<String>()));
    }
    Ok(match &found.failure {
        Some(error) => error.failure.exit_code(),
        None if found.control_slot_damaged || !found.damaged_frames.is_empty() => WARNINGS,
        None => DONE,
    })
}

fn report(found: &Diagnosis) -> Value {
    let range = |range: LsnRange| json!({ "first_lsn": range.first, "last_lsn": range.last });
    json!({
        "opens": found.failure.is_none(),
        "failure": found.failure.as_ref().map(|error| json!({
            "code": error.failure.code(), "file": error.file, "reason": error.reason,
        })),
        "head_lsn": found.head.map(|head| head.lsn),
        "floor_lsn": found.control.as_ref().map(|control| control.floor_lsn),
        "journal": found.journal.map(range),
        "lost": found.lost.map(range),
        "damaged_frames": found.damaged_frames.iter().copied().map(range).collect::<Vec<_>>(),
        "steps": steps(found),
    })
}

/// What a person does, in order.
fn steps(found: &Diagnosis) -> Vec<String> {
    let Some(error) = &found.failure else {
        return sound(found);
    };
    let (file, advice) = (error.file.display(), error.failure.advice());
    let mut steps = match error.failure {
        OpenFailure::Locked | OpenFailure::Io | OpenFailure::Tables | OpenFailure::NewerRelease => {
            return vec![format!("{advice} ({file}: {})", error.reason)];
        }
        _ => vec!["Keep this directory as it is: copy it away, delete nothing in it.".to_owned()],
    };
    match error.failure {
        OpenFailure::ControlMissing | OpenFailure::ControlDamaged | OpenFailure::Foreign => steps.push(format!(
            "If {file} of the same moment exists elsewhere (a snapshot of this disk), put exactly that one back and start again."
        )),
        OpenFailure::EngineMissing => {
            steps.push(format!("If {file} was only moved, put it back and start again."));
        }
        _ => {}
    }
    steps.push(match found.lost {
        Some(lost) => format!(
            "The changes of lsn {} to {} were durable and are not here. Restore them from a copy that has them: a standby, or a backup with its journal archive.",
            lost.first, lost.last
        ),
        None => match &found.control {
            Some(control) => format!(
                "Everything up to lsn {} was durable. Restore a copy that reaches it: a standby, or a backup with its journal archive.",
                control.floor_lsn
            ),
            None => "How far the data was durable is unknown, for the control file is gone. Restore the newest copy: a standby, or a backup with its journal archive.".to_owned(),
        },
    });
    steps.push(
        "Start the restored directory, and compare what players and payment channels report for the time in between."
            .to_owned(),
    );
    steps
}

/// What is wrong with data that opens.
fn sound(found: &Diagnosis) -> Vec<String> {
    let mut steps = Vec::new();
    if found.control_slot_damaged {
        steps
            .push("One slot of the control file is damaged; the next start writes it anew. Check the disk.".to_owned());
    }
    if !found.damaged_frames.is_empty() {
        steps.push("The journal has frames that cannot be read; the rows they changed are in the tables. Make a full backup, for an archive or a standby cannot follow through the gap. Check the disk.".to_owned());
    }
    if steps.is_empty() {
        steps.push("Nothing to repair here. `seawall db verify` reads every row and index.".to_owned());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, seawall_storage::Store) {
        let dir = tempfile::tempdir().unwrap();
        let keys = seawall_storage::KeyRing::from_entropy(&[1; 32]);
        let options = seawall_storage::OpenOptions::new(&[], keys, std::sync::Arc::new(|| 0), [1; 32]);
        let store = seawall_storage::Store::open(dir.path(), options).unwrap();
        (dir, store)
    }

    #[test]
    fn a_sound_directory_needs_nothing_and_one_in_use_is_left_alone() {
        let (dir, store) = opened();
        let out = Output::new(true);
        assert!(matches!(plan(dir.path(), &out), Err(Failure::Store(_))));
        store.shutdown();
        drop(store);
        assert_eq!(plan(dir.path(), &out).unwrap(), DONE);
        let told = report(&diagnose(dir.path()).unwrap());
        assert_eq!((&told["opens"], &told["lost"]), (&json!(true), &Value::Null));
    }

    #[test]
    fn every_failure_has_steps_that_delete_nothing() {
        let (dir, store) = opened();
        store.shutdown();
        drop(store);
        std::fs::remove_file(dir.path().join("control")).unwrap();
        let found = diagnose(dir.path()).unwrap();
        let told = report(&found);
        assert_eq!(told["failure"]["code"], "store.control_missing");
        let steps = steps(&found);
        assert!(steps[0].contains("delete nothing"), "{steps:?}");
        assert!(
            steps.iter().any(|step| step.contains("Restore the newest copy")),
            "{steps:?}"
        );
        assert_eq!(
            plan(dir.path(), &Output::new(true)).unwrap(),
            OpenFailure::ControlMissing.exit_code()
        );
    }

    #[test]
    fn lost_changes_are_named_by_range() {
        let lost = Diagnosis {
            failure: Some(seawall_storage::OpenError {
                failure: OpenFailure::LostData,
                file: "/data/db".into(),
                reason: "the history ends at lsn 20, but lsn 25 was durable".into(),
            }),
            lost: Some(LsnRange { first: 21, last: 25 }),
            ..Diagnosis::default()
        };
        let told = report(&lost);
        assert_eq!(told["lost"], json!({ "first_lsn": 21, "last_lsn": 25 }));
        assert!(told["steps"].to_string().contains("lsn 21 to 25"), "{told}");
    }
}
