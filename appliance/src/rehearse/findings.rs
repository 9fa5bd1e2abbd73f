//! What a rehearsal found, for the terminal, for programs and for the report.

use serde_json::{Value, json};

use super::knee::{self, Knee};
use super::proposal::{self, Proposal};
use super::step::Step;

/// All of it.
pub struct Findings {
    /// `local` or `target`.
    pub mode: &'static str,
    /// When it ended, as text.
    pub at: String,
    /// Whom it went to, in words.
    pub whom: String,
    /// What the figures are worth, one line each.
    pub remarks: Vec<String>,
    /// How the settings of the rehearsal's server differ from this host's, one line each.
    pub differs: Vec<String>,
    /// The machine; null of a target.
    pub machine: Value,
    /// What was asked for.
    pub plan: Value,
    /// Players who came back.
    pub players: usize,
    /// Length of a step, in seconds.
    pub duration_s: u32,
    /// Visits a second of step 1.
    pub base_visits_per_s: f64,
    /// The steps.
    pub steps: Vec<Step>,
    /// Where the curve bends.
    pub knee: Knee,
    /// Good tokens and right passwords that were called bad, in all that was sent. Must be 0.
    pub false_invalids: u64,
    /// Proposed settings of the host.
    pub proposals: Vec<Proposal>,
    /// Settings that applied and were not the default: key and value.
    pub settings: Vec<(String, String)>,
}

impl Findings {
    /// The step at the knee.
    #[must_use]
    pub fn knee_step(&self) -> Option<&Step> {
        self.steps.get(self.knee.place?)
    }

    /// What the host carries, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        knee::sentence(&self.steps, &self.knee, self.players)
    }

    /// How long clients should spread their first calls, in milliseconds; `None` while no step was too much.
    #[must_use]
    pub fn reconnect_spread_ms(&self) -> Option<u64> {
        let step = self.knee_step().filter(|_| !self.knee.is_open)?;
        proposal::reconnect_spread_ms(step, self.players)
    }

    /// A settings file with the proposals.
    #[must_use]
    pub fn fragment(&self) -> String {
        let head = [
            format!("Proposed by `seawall rehearse` on {}: {}", self.at, self.whom),
            self.sentence(),
        ];
        let spread = self.reconnect_spread_ms().map(|spread_ms| (spread_ms, self.players));
        proposal::fragment(&self.proposals, &head, spread)
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let knee = self.knee_step().map(|step| {
            json!({
                "factor": step.factor, "offered_visits_per_s": step.offered_visits_per_s, "goodput_units_per_s": step.goodput_units_per_s,
                "players_per_s": step.players_per_s, "back_within_s": knee::back_within_s(step, self.players), "is_open": self.knee.is_open,
            })
        });
        json!({
            "mode": self.mode, "at": self.at, "whom": self.whom, "machine": self.machine, "plan": self.plan,
            "base_visits_per_s": self.base_visits_per_s, "steps": self.steps, "knee": knee, "knee_rule": knee::RULE,
            "peak_goodput_units_per_s": self.knee.peak_units_per_s, "kept_share": self.knee.kept_share,
            "carries": self.sentence(), "false_invalids": self.false_invalids,
            "proposals": self.proposals, "reconnect_spread_ms": self.reconnect_spread_ms(),
            "remarks": self.remarks, "differs": self.differs,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::knee::tests::step;
    use super::*;

    /// Findings of three steps, with words that must be escaped.
    pub fn findings() -> Findings {
        let mut steps = vec![
            step(0.5, 4_000.0, 3_990.0),
            step(1.0, 8_000.0, 7_900.0),
            step(3.0, 24_000.0, 5_000.0),
        ];
        steps[2].examples.push("<script>alert(1)</script>".into());
        Findings {
            mode: "local",
            at: "2026-11-22T09:00:00Z".into(),
            whom: "a copy of <data>".into(),
            remarks: vec!["server & loader share this machine".into()],
            differs: vec!["a \"b\"".into()],
            machine: json!({ "model": "<cpu>" }),
            plan: json!({ "mix": "update-day" }),
            players: 1_000,
            duration_s: 5,
            base_visits_per_s: 1_000.0,
            knee: knee::knee(&steps),
            steps,
            false_invalids: 0,
            proposals: vec![Proposal {
                key: "limits.in_flight_max",
                value: 900,
                now: "10000".into(),
                why: "1 < 2".into(),
            }],
            settings: vec![("log.level".into(), "\"warn\"".into())],
        }
    }

    #[test]
    fn programs_get_the_steps_the_knee_and_the_proposals() {
        let told = findings().to_json();
        assert_eq!(told["steps"].as_array().unwrap().len(), 3);
        assert_eq!(told["knee"]["factor"], 1.0);
        assert_eq!(told["proposals"][0]["key"], "limits.in_flight_max");
        assert_eq!(
            (told["false_invalids"].as_u64(), told["reconnect_spread_ms"].as_u64()),
            (Some(0), Some(2_000))
        );
        assert!(told["steps"][0]["admission"].is_null());
    }

    #[test]
    fn the_fragment_says_where_it_comes_from() {
        let text = findings().fragment();
        assert!(
            text.starts_with("# Proposed by `seawall rehearse` on 2026-11-22T09:00:00Z"),
            "{text}"
        );
        assert!(
            text.contains("[limits]\n# 1 < 2; it was 10000\nin_flight_max = 900\n"),
            "{text}"
        );
    }
}
