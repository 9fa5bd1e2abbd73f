//! What is rehearsed: how many players, how, and which loads are offered.

use std::str::FromStr;

use serde_json::{Value, json};

use super::mix::Mix;
use crate::cli::failure::Failure;
use crate::cli::rehearse_grammar::RehearseFlags;

/// Fewest players.
pub const PLAYERS_MIN: u32 = 10;
/// Most players; each is a connection of this one process.
pub const PLAYERS_MAX: u32 = 100_000;
/// Shortest step, in seconds.
pub const DURATION_MIN_S: u32 = 1;
/// Longest step, in seconds; well within the time that a signature is good for.
pub const DURATION_MAX_S: u32 = 120;
/// Most steps.
const STEPS_MAX: usize = 16;
/// Largest factor of a step.
const FACTOR_MAX: f64 = 20.0;
/// Most calls a second that are ever sent to a target that is not this host's own copy.
pub const TARGET_CALLS_PER_S_MAX: f64 = 2_000.0;
/// Visits a second of step 1 against a target, unless said otherwise.
pub const TARGET_VISITS_PER_S: f64 = 20.0;

/// A plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Players.
    pub players: usize,
    /// Length of a step, in seconds.
    pub duration_s: u32,
    /// Share of the clients that keep no rules, 0 to 1.
    pub naive_share: f64,
    /// What they come for.
    pub mix: Mix,
    /// Factors, rising.
    pub steps: Vec<f64>,
    /// Visits a second of step 1; `None` to find out.
    pub rate: Option<f64>,
}

impl Plan {
    /// As the command line says.
    ///
    /// # Errors
    /// What does not fit together, against a target a rate above the ceiling.
    pub fn new(flags: &RehearseFlags) -> Result<Self, Failure> {
        let is_target = flags.target.is_some();
        let rate = flags.rate.or(is_target.then_some(TARGET_VISITS_PER_S));
        if rate.is_some_and(|rate| !(0.1..=1e6).contains(&rate)) {
            return Err(Failure::Usage("--rate: expected 0.1 to 1000000 visits a second".into()));
        }
        let plan = Self {
            players: usize::try_from(flags.players).unwrap_or(usize::MAX),
            duration_s: flags.duration,
            naive_share: f64::from(flags.naive_share) / 100.0,
            mix: flags.mix,
            steps: flags.steps.0.clone(),
            rate,
        };
        let (calls, _) = plan.mix.visit(&plan.mix.roles(plan.players));
        let highest = plan.steps.last().copied().unwrap_or(1.0) * rate.unwrap_or(0.0) * calls;
        if is_target && highest > TARGET_CALLS_PER_S_MAX {
            return Err(Failure::Usage(format!(
                "the last step would send {highest:.0} calls a second, more than the {TARGET_CALLS_PER_S_MAX:.0} that are ever sent to a target; \
                 lower --rate or --steps"
            )));
        }
        Ok(plan)
    }

    /// For the answer and the report.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let roles = self.mix.roles(self.players);
        json!({
            "players": self.players, "duration_s": self.duration_s, "naive_share": self.naive_share, "mix": self.mix.name,
            "steps": self.steps,
            "visitors": { "refresh": roles.refresh, "verify": roles.verify, "login": roles.login, "register": roles.register },
        })
    }
}

/// Factors of the offered load, rising.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps(pub Vec<f64>);

impl FromStr for Steps {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected 1 to {STEPS_MAX} rising factors up to {FACTOR_MAX}, as in 0.5,1,2");
        let parsed = text.split(',').map(|part| part.trim().parse::<f64>());
        let steps: Vec<f64> = parsed.collect::<Result<_, _>>().map_err(|_| wrong())?;
        let is_rising = steps.iter().zip(steps.iter().skip(1)).all(|(low, high)| low < high);
        let is_within = steps.iter().all(|factor| (0.01..=FACTOR_MAX).contains(factor));
        if steps.len() > STEPS_MAX || !is_rising || !is_within {
            return Err(wrong());
        }
        Ok(Self(steps))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::grammar::{Cli, Verb};

    fn plan(line: &str) -> Result<Plan, Failure> {
        match Cli::parse_from(format!("seawall rehearse {line}").split_whitespace()).verb {
            Verb::Rehearse(flags) => Plan::new(&flags),
            other => panic!("{other:?}"),
        }
    }

    const TARGET: &str = "--target http://192.0.2.1 --game 1 --package 1 --key 1 --secret-file /s";

    #[test]
    fn steps_rise() {
        assert_eq!("0.5, 1,2".parse(), Ok(Steps(vec![0.5, 1.0, 2.0])));
        for wrong in [
            "",
            "1,1",
            "2,1",
            "0,1",
            "x",
            "1,nan",
            "1,21",
            "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
        ] {
            assert!(wrong.parse::<Steps>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_target_has_a_ceiling_and_a_default_rate() {
        assert_eq!(plan("").unwrap().rate, None);
        assert_eq!(plan(TARGET).unwrap().rate, Some(TARGET_VISITS_PER_S));
        let far = plan(&format!("{TARGET} --rate 5000")).unwrap_err();
        assert!(far.to_string().contains("2000 that are ever sent"), "{far}");
        assert!(
            plan("--rate 5000").is_ok(),
            "a copy on this host may be driven as hard as it goes"
        );
        assert!(plan("--rate 0").is_err());
    }

    #[test]
    fn a_target_needs_a_game_and_a_key() {
        for wrong in [
            "--target http://192.0.2.1",
            "--package 1",
            "--target http://192.0.2.1 --game 1 --package 1 --key 1",
        ] {
            let line = format!("seawall rehearse {wrong}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{wrong}");
        }
    }
}
