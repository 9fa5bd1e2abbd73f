//! The report of `db verify`, as JSON.

use seawall_domain::{Error, codes};
use seawall_storage::{Store, VerifyReport};
use serde_json::{Value, json};

/// Checks everything in the store; blocks until all of it was read.
///
/// # Errors
/// When the engine cannot read. What is wrong with the data is in the report.
pub fn verify(store: &Store) -> Result<Value, Error> {
    let report = store.verify(&mut |phase| tracing::info!(phase, "verifying"));
    report
        .map(|report| json(&report))
        .map_err(|error| codes::DEFECT.because(format!("the engine cannot read: {error}")))
}

fn json(report: &VerifyReport) -> Value {
    let tables = report
        .tables
        .iter()
        .map(|table| json!({ "number": table.number, "name": table.name, "rows": table.rows, "bytes": table.bytes }));
    json!({
        "checked": { "frames": report.frames, "rows": report.rows, "sealed_rows": report.sealed_rows, "index_entries": report.index_entries },
        "tables": tables.collect::<Vec<_>>(),
        "problem_count": report.problem_count,
        "problems": report.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_in_the_report() {
        let report = VerifyReport {
            rows: 5,
            problems: vec!["frame 7: chain differs".into()],
            problem_count: 1,
            ..VerifyReport::default()
        };
        let json = json(&report);
        assert_eq!(
            (&json["checked"]["rows"], &json["problems"][0], &json["problem_count"]),
            (&json!(5), &json!("frame 7: chain differs"), &json!(1))
        );
    }
}
