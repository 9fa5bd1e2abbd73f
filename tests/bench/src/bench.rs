//! What every scenario is given: the binary, a place to work, how long and how often.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use seawall_tests::server::Failure;
use serde_json::Value;
use tempfile::TempDir;

use crate::load::{Callers, Outcome, Plan, run};
use crate::machine::{LOADER_CPU, SyncTimes, sync_times};
use crate::process::CpuMeter;

/// How often a run is repeated because the loader was late.
const VOID_MAX: usize = 3;

/// One call of `bench run`.
pub struct Bench {
    /// The binary under measurement.
    pub seawall: PathBuf,
    /// Scratch directories come below here; on the disk that is measured.
    pub work: PathBuf,
    /// Large sets of accounts are kept here.
    pub cache: PathBuf,
    /// Runs of each side, interleaved.
    pub runs: usize,
    /// Length of a run.
    pub span: Duration,
    /// Files a process may open.
    pub files_max: u64,
    /// CPUs of the machine.
    pub cores: usize,
}

/// One measured run.
#[derive(Debug, Clone)]
pub struct Figures {
    /// Right answers a second.
    pub rate: f64,
    /// Processor time of the server for each call, in microseconds.
    pub cpu_us: f64,
    /// Median latency.
    pub p50_us: f64,
    /// 99th of a hundred.
    pub p99_us: f64,
    /// Wrong answers and errors.
    pub failures: u64,
    /// Expected refusals.
    pub refused: u64,
    /// Some of the failures.
    pub examples: Vec<String>,
    /// Share of the TLS handshakes that were resumed.
    pub resumed: f64,
    /// Runs thrown away because the loader was late.
    pub voided: usize,
    /// This one too should have been, but there is an end to trying.
    pub void: bool,
}

impl Bench {
    /// An empty directory that is removed when dropped.
    ///
    /// # Errors
    /// The file system's.
    pub fn scratch(&self) -> Result<TempDir, Failure> {
        std::fs::create_dir_all(&self.work)?;
        Ok(tempfile::Builder::new().prefix("run-").tempdir_in(&self.work)?)
    }

    /// Runs the command line of the binary on all CPUs; the JSON it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn command_line(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let output = Command::new("taskset")
            .args(["-c", &format!("0-{LOADER_CPU}")])
            .arg(&self.seawall)
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("seawall {arguments:?}: {said} {why}").into());
        }
        let last = said.lines().last().unwrap_or_default();
        Ok(serde_json::from_str(last).map_err(|error| format!("seawall {arguments:?} printed `{last}`: {error}"))?)
    }

    /// Times of `fdatasync` where the scratch directories are.
    ///
    /// # Errors
    /// The file system's.
    pub fn sync_times(&self) -> Result<SyncTimes, Failure> {
        let scratch = self.scratch()?;
        sync_times(scratch.path())
    }

    /// Runs something between two measurements of the disk; the mean of both, for the figures that came of it.
    ///
    /// # Errors
    /// Its own, and the file system's.
    pub fn between_syncs<T>(&self, work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, SyncTimes), Failure> {
        let before = self.sync_times()?;
        let done = work()?;
        let after = self.sync_times()?;
        let mean = SyncTimes {
            p50_us: (before.p50_us + after.p50_us) / 2.0,
            p99_us: (before.p99_us + after.p99_us) / 2.0,
        };
        Ok((done, mean))
    }

    /// A list of all CPUs, as `taskset` takes it.
    #[must_use]
    pub fn all_cpus(&self) -> String {
        format!("0-{}", self.cores.saturating_sub(1))
    }

    /// Runs a plan while the processor time of `pid` and all below it is read. A run whose loader was late is done again.
    ///
    /// # Errors
    /// When nothing was answered.
    pub fn measure(&self, plan: &Plan, callers: &mut dyn Callers, pid: u32) -> Result<Figures, Failure> {
        let mut voided = 0;
        loop {
            let mut meter = CpuMeter::new(pid);
            let outcome = run(plan, callers, &mut meter)?;
            if outcome.is_void() && voided < VOID_MAX {
                voided += 1;
                continue;
            }
            return figures(&outcome, &meter, voided);
        }
    }
}

/// The figures of a run.
///
/// # Errors
/// When nothing was answered.
pub fn figures(outcome: &Outcome, meter: &CpuMeter, voided: usize) -> Result<Figures, Failure> {
    if outcome.ok == 0 {
        return Err(format!("no right answer: {:?}", outcome.examples).into());
    }
    Ok(Figures {
        rate: outcome.rate(),
        cpu_us: meter.used_s * 1e6 / outcome.calls() as f64,
        p50_us: outcome.latency_us(0.5),
        p99_us: outcome.latency_us(0.99),
        failures: outcome.failures(),
        refused: outcome.refused,
        examples: outcome.examples.clone(),
        resumed: outcome.handshakes.resumed as f64
            / (outcome.handshakes.full + outcome.handshakes.resumed).max(1) as f64,
        voided,
        void: outcome.is_void(),
    })
}

/// One figure of several runs.
#[must_use]
pub fn each(runs: &[Figures], of: fn(&Figures) -> f64) -> Vec<f64> {
    runs.iter().map(of).collect()
}
