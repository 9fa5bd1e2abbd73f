//! One figure of the report, beside its peer and its goal.

use serde::{Deserialize, Serialize};

use crate::bench::{Figures, each};

/// A figure. What is not filled in by a scenario (machine, commit, command) the report fills in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the scenario.
    pub scenario: String,
    /// What is measured.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// Median of the runs.
    pub value: f64,
    /// Whom we are compared with.
    pub peer: Option<String>,
    /// The peer's median, by the same measure.
    pub peer_value: Option<f64>,
    /// Ours to the peer's.
    pub ratio: Option<f64>,
    /// What is aimed at.
    pub goal: Option<String>,
    /// Whether it was reached.
    pub goal_met: Option<bool>,
    /// Ours, run by run.
    pub runs: Vec<f64>,
    /// Median `fdatasync` around these runs, when the figure depends on the disk.
    pub sync_p50_us: Option<f64>,
    /// Where.
    pub machine: String,
    /// Of what.
    pub commit: String,
    /// How to do it again.
    pub command: String,
    /// What else to know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The middle of some figures; of an even number the lower of the two. 0 of none.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

impl Row {
    /// A figure of several runs.
    #[must_use]
    pub fn of(scenario: &str, metric: &str, unit: &str, runs: &[f64]) -> Self {
        Self {
            scenario: scenario.into(),
            metric: metric.into(),
            unit: unit.into(),
            value: median(runs),
            runs: runs.to_vec(),
            ..Self::default()
        }
    }

    /// Failures of all runs: a row of its own in every scenario, with the goal that there are none.
    #[must_use]
    pub fn failures(scenario: &str, runs: &[Figures]) -> Self {
        let counts = each(runs, |run| run.failures as f64);
        let mut row = Self::of(scenario, "wrong answers and errors", "calls", &counts);
        row.value = counts.iter().sum();
        row = row.at_most(0.0);
        let refused: u64 = runs.iter().map(|run| run.refused).sum();
        if refused > 0 {
            row = row.note(&format!("{refused} refused, as they should be"));
        }
        for example in runs.iter().flat_map(|run| &run.examples).take(2) {
            row = row.note(example);
        }
        row
    }

    /// A line that says why there is no figure. It counts as a goal that was missed, unless it was not to be run here.
    #[must_use]
    pub fn missing(scenario: &str, metric: &str, why: &str, missed: bool) -> Self {
        Self {
            goal_met: missed.then_some(false),
            goal: missed.then(|| "to be measured".to_owned()),
            ..Self::of(scenario, metric, "not run", &[]).note(why)
        }
    }

    /// Beside a peer's runs.
    #[must_use]
    pub fn beside(mut self, peer: &str, runs: &[f64]) -> Self {
        let theirs = median(runs);
        self.peer = Some(peer.into());
        self.peer_value = Some(theirs);
        self.ratio = (theirs != 0.0).then(|| self.value / theirs);
        self
    }

    /// The goal: the figure is at most this.
    #[must_use]
    pub fn at_most(self, limit: f64) -> Self {
        let met = self.value <= limit;
        self.goal(format!("<= {limit}"), met)
    }

    /// The goal: the figure is at least this.
    #[must_use]
    pub fn at_least(self, limit: f64) -> Self {
        let met = self.value >= limit;
        self.goal(format!(">= {limit}"), met)
    }

    /// The goal: at most so many times the peer's.
    #[must_use]
    pub fn at_most_times_peer(self, limit: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio <= limit);
        self.goal(format!("<= {limit} x peer"), met)
    }

    /// The goal: at least so many times the peer's.
    #[must_use]
    pub fn at_least_times_peer(self, limit: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio >= limit);
        self.goal(format!(">= {limit} x peer"), met)
    }

    fn goal(self, goal: String, met: bool) -> Self {
        Self {
            goal: Some(goal),
            goal_met: Some(met),
            ..self
        }
    }

    /// With the disk's sync time, for a figure that waits for the disk.
    #[must_use]
    pub fn synced(self, p50_us: f64) -> Self {
        Self {
            sync_p50_us: Some(p50_us),
            ..self
        }
    }

    /// Something to know about it.
    #[must_use]
    pub fn note(mut self, text: &str) -> Self {
        let note = self.note.get_or_insert_default();
        if !note.is_empty() {
            note.push_str("; ");
        }
        note.push_str(text);
        self
    }

    /// Says when runs were void, and that the figure then proves nothing.
    #[must_use]
    pub fn voids(self, runs: &[Figures]) -> Self {
        let voided: usize = runs.iter().map(|run| run.voided).sum();
        let row = match voided {
            0 => self,
            voided => self.note(&format!("{voided} runs repeated because the loader was late")),
        };
        if runs.iter().any(|run| run.void) {
            let row = row.note("VOID: the loader was late in every repetition");
            return Self {
                goal_met: row.goal.as_ref().map(|_| false),
                ..row
            };
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 1.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn goals_are_met_or_missed() {
        let row = || Row::of("s", "m", "CPU-us/request", &[10.0, 12.0, 11.0]).beside("nginx", &[5.0, 5.5, 6.0]);
        assert_eq!(
            (row().value, row().peer_value, row().ratio),
            (11.0, Some(5.5), Some(2.0))
        );
        assert_eq!(row().at_most_times_peer(2.0).goal_met, Some(true));
        assert_eq!(row().at_most_times_peer(1.9).goal_met, Some(false));
        assert_eq!(row().at_least_times_peer(2.1).goal_met, Some(false));
        assert_eq!(row().at_most(11.0).goal_met, Some(true));
        assert_eq!(row().at_least(11.1).goal_met, Some(false));
        let alone = Row::of("s", "m", "u", &[1.0]).at_most_times_peer(5.0);
        assert_eq!(
            alone.goal_met,
            Some(false),
            "without a peer there is nothing to compare with"
        );
    }
}
