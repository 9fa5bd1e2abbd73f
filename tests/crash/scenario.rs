//! What a scenario is, how it ends, and the table of all of them.

use std::path::PathBuf;
use std::time::Instant;

use seawall_tests::server::Failure;

use crate::dice::Dice;

/// Why a scenario did not pass.
#[derive(Debug)]
pub enum Trouble {
    /// The product, or the rig, is wrong.
    Wrong(String),
    /// This machine cannot run it: a missing tool or privilege.
    NotRun(String),
}

/// A finding as the end of a scenario.
pub fn wrong<T>(text: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Wrong(text.into()))
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Wrong(failure.to_string())
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Wrong(error.to_string())
    }
}

/// What every scenario gets.
pub struct Rig {
    /// The program, with faults on demand; without any it is the one that is shipped.
    pub faulty: PathBuf,
    /// Long numbers.
    pub soak: bool,
    pub seed: u64,
    /// Scratch space on the disk.
    pub scratch: PathBuf,
}

impl Rig {
    pub fn dice(&self) -> Dice {
        Dice::new(self.seed)
    }

    /// A directory of its own, removed when dropped.
    pub fn folder(&self) -> Result<tempfile::TempDir, Trouble> {
        Ok(tempfile::Builder::new().prefix("crash-").tempdir_in(&self.scratch)?)
    }

    /// The short or the long number.
    pub fn times(&self, short: u64, soak: u64) -> u64 {
        if self.soak { soak } else { short }
    }
}

/// One line of the table.
pub struct Scenario {
    /// Number in the plan of faults; `-` for one that is not in it.
    pub number: &'static str,
    pub name: &'static str,
    pub expected: &'static str,
    /// What was seen, in a few words.
    pub run: fn(&Rig) -> Result<String, Trouble>,
}

/// How one ended.
pub struct Line {
    pub number: &'static str,
    pub name: &'static str,
    pub expected: &'static str,
    pub verdict: &'static str,
    pub seen: String,
    pub seconds: u64,
}

impl Scenario {
    pub fn play(&self, rig: &Rig) -> Line {
        let begun = Instant::now();
        let (verdict, seen) = match (self.run)(rig) {
            Ok(seen) => ("passed", seen),
            Err(Trouble::NotRun(reason)) => ("NOT RUN", reason),
            Err(Trouble::Wrong(finding)) => ("FAILED", finding),
        };
        let (number, name, expected) = (self.number, self.name, self.expected);
        Line {
            number,
            name,
            expected,
            verdict,
            seen,
            seconds: begun.elapsed().as_secs(),
        }
    }
}

impl Line {
    /// How to run it again.
    pub fn command(&self) -> String {
        format!("make crash SCENARIO={}", self.name)
    }

    pub fn is(&self, verdict: &str) -> bool {
        self.verdict == verdict
    }

    /// A row of the report.
    pub fn markdown(&self) -> String {
        let flat = |text: &str| text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ");
        format!(
            "| {} | {} | `{}` | {} | {}: {} | {} s |",
            self.number,
            self.name,
            self.command(),
            flat(self.expected),
            self.verdict,
            flat(&self.seen),
            self.seconds
        )
    }
}
