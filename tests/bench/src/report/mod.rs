//! The report, as JSON (a list of rows) and for people, and how it differs from the committed one.

mod compare;
mod row;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use seawall_tests::server::Failure;

pub use compare::falls;
pub use row::{Row, median};

use crate::scenario::{SCENARIOS, Scenario};

/// What stands above the rows.
pub struct Head {
    /// The machine in one line, and whether it was quiet.
    pub machine: String,
    /// Versions of the peers.
    pub peers: String,
    /// When, as text.
    pub date: String,
    /// Built from.
    pub commit: String,
    /// How often and how long.
    pub effort: String,
}

/// Fills in what scenarios leave open.
pub fn complete(rows: &mut [Row], head: &Head) {
    for row in rows {
        row.machine.clone_from(&head.machine);
        row.commit.clone_from(&head.commit);
        row.command = format!("make bench SCENARIO={}", row.scenario);
    }
}

/// The committed report; empty when there is none.
///
/// # Errors
/// When it is no list of rows.
pub fn committed(path: &Path) -> Result<Vec<Row>, Failure> {
    match fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?),
        Err(_) => Ok(Vec::new()),
    }
}

/// Writes `report.json` and `report.md` into `folder`.
///
/// # Errors
/// The file system's.
pub fn write(folder: &Path, head: &Head, rows: &[Row], falls: &[String]) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.json"), serde_json::to_string_pretty(rows)? + "\n")?;
    fs::write(folder.join("report.md"), markdown(head, rows, falls))?;
    Ok(())
}

/// The report for people.
#[must_use]
pub fn markdown(head: &Head, rows: &[Row], falls: &[String]) -> String {
    let mut text = format!(
        "# Bench report, {}\n\nMachine: {}. Built from {}. Peers: {}.\n{}\n",
        head.date, head.machine, head.commit, head.peers, head.effort
    );
    let _ = writeln!(
        text,
        "\nOne row is one figure: the median of ours, the median of the peer's, ours to the peer's, the goal. Latencies count from the \
         intended time. `sync` is the disk's median `fdatasync` around the runs, in microseconds."
    );
    for scenario in SCENARIOS {
        section(&mut text, scenario, rows);
    }
    missed(&mut text, rows);
    text.push_str("\n## Beside the committed report\n\n");
    if falls.is_empty() {
        text.push_str("No processor time of a call rose by more than 10 %.\n");
    }
    for fall in falls {
        let _ = writeln!(text, "- {fall}");
    }
    text
}

fn section(text: &mut String, scenario: &Scenario, rows: &[Row]) {
    let own: Vec<_> = rows.iter().filter(|row| row.scenario == scenario.name).collect();
    if own.is_empty() {
        return;
    }
    let _ = write!(text, "\n## {}\n\n{}\n\n", scenario.name, scenario.about);
    text.push_str("| metric | unit | ours | peer | peer's | ratio | goal | met | runs | sync |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for row in own {
        let met = match row.goal_met {
            None => "",
            Some(true) => "yes",
            Some(false) => "**no**",
        };
        let runs: Vec<_> = row.runs.iter().map(|run| number(*run)).collect();
        let _ = writeln!(
            text,
            "| {}{} | {} | {} | {} | {} | {} | {} | {met} | {} | {} |",
            row.metric,
            row.note
                .as_ref()
                .map(|note| format!(" ({})", note.replace('|', "/")))
                .unwrap_or_default(),
            row.unit,
            if row.runs.is_empty() {
                String::new()
            } else {
                number(row.value)
            },
            row.peer.as_deref().unwrap_or_default(),
            row.peer_value.map(number).unwrap_or_default(),
            row.ratio.map(number).unwrap_or_default(),
            row.goal.as_deref().unwrap_or_default(),
            runs.join(", "),
            row.sync_p50_us.map(number).unwrap_or_default(),
        );
    }
}

/// Goals missed, with the scenario's own word on the cause or the next idea.
fn missed(text: &mut String, rows: &[Row]) {
    text.push_str("\n## Goals missed\n\n");
    let missed: Vec<_> = rows.iter().filter(|row| row.goal_met == Some(false)).collect();
    if missed.is_empty() {
        text.push_str("None of those measured.\n");
    }
    for row in missed {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == row.scenario);
        let idea = scenario
            .and_then(|scenario| scenario.ideas.iter().find(|(metric, _)| row.metric.starts_with(metric)))
            .map_or(
                "no cause is known yet: profile it with `perf record -g -p PID` while the scenario runs",
                |(_, idea)| idea,
            );
        let against = row
            .peer
            .as_ref()
            .map(|peer| format!(" beside {peer}"))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "- {}, {}{against}: {} (ratio {}), goal {}. {idea}",
            row.scenario,
            row.metric,
            number(row.value),
            row.ratio.map_or_else(|| "-".to_owned(), number),
            row.goal.as_deref().unwrap_or("-"),
        );
    }
}

/// A figure with as many digits as it deserves.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 || value == value.trunc() && size >= 1.0 || value == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_shown_with_its_next_idea() {
        let name = SCENARIOS[0].name;
        let rows = [
            Row::of(name, "server", "CPU-us/request", &[12.0])
                .beside("nginx", &[4.0])
                .at_most_times_peer(2.5),
            Row::missing(name, "peak", "no | tool", true),
        ];
        let head = Head {
            machine: "m".into(),
            peers: "p".into(),
            date: "d".into(),
            commit: "c".into(),
            effort: "e".into(),
        };
        let text = markdown(&head, &rows, &["it fell".into()]);
        assert!(
            text.contains("| server | CPU-us/request | 12 | nginx | 4 | 3 | <= 2.5 x peer | **no** | 12 |  |"),
            "{text}"
        );
        assert!(
            text.contains(&format!(
                "- {name}, server beside nginx: 12 (ratio 3), goal <= 2.5 x peer."
            )),
            "{text}"
        );
        assert!(text.contains("- it fell") && text.contains("no / tool"), "{text}");
    }

    #[test]
    fn reports_are_read_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let head = Head {
            machine: "m".into(),
            peers: "p".into(),
            date: "d".into(),
            commit: "c".into(),
            effort: "e".into(),
        };
        let mut rows = [Row::of("verify-hot", "x", "y", &[1.5, 2.5]).synced(150.0)];
        complete(&mut rows, &head);
        assert_eq!(rows[0].command, "make bench SCENARIO=verify-hot");
        write(folder.path(), &head, &rows, &[]).unwrap();
        assert_eq!(committed(&folder.path().join("report.json")).unwrap(), rows);
        assert!(committed(&folder.path().join("absent.json")).unwrap().is_empty());
    }

    #[test]
    fn numbers_keep_what_matters() {
        let texts = [0.0, 0.0123, 0.581, 1.96, 10.67, 150.0, 93215.28].map(number);
        assert_eq!(texts, ["0", "0.0123", "0.58", "1.96", "10.7", "150", "93215"]);
    }
}
