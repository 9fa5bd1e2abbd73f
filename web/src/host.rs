//! What the HTTP layer asks of the process around it: health, and the few operator verbs that are not business.

use std::future::Future;
use std::pin::Pin;

use schemars::JsonSchema;
use seawall_domain::Error;
use serde::{Deserialize, Serialize};

/// An answer for operators, as JSON.
pub type HostAnswer = Pin<Box<dyn Future<Output = Result<serde_json::Value, Error>> + Send>>;

/// One check of readiness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// `store`, `revocations`, `log`, ….
    pub name: String,
    /// Passed?
    pub ok: bool,
    /// What is wrong and since when; empty when passed.
    pub detail: String,
}

/// The answer of a health question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `alive`, `stuck`, `ready`, `not_ready` or `draining`.
    pub status: String,
    /// The checks it follows from.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// How far the start has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Startup {
    /// Finished?
    pub is_done: bool,
    /// 0-100.
    pub progress_percent: u8,
    /// What is being done: `preparing`, `reading_keys`, `opening_store`, `opening_auth_log`, `loading_revocations`,
    /// `listening`, `serving`.
    pub phase: String,
    /// What the phase is at, in a few words; empty when there is nothing to say.
    #[serde(default)]
    pub detail: String,
    /// Since when, in Unix milliseconds.
    #[serde(default)]
    pub phase_since_at: u64,
    /// How long the phase has taken so far, in milliseconds.
    #[serde(default)]
    pub phase_elapsed_ms: u64,
}

/// What is running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Of the product.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// Target triple.
    pub target: String,
}

/// Beats of a set of threads since the process began: a task that wakes every few milliseconds and sees by how much it was
/// late. Both numbers only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beats {
    /// How many.
    pub count: u64,
    /// By how much they were late, all together, in microseconds.
    pub late_us: u64,
}

impl Beats {
    /// Mean lateness of those since `before`, in milliseconds; 0 when there were none.
    #[must_use]
    pub fn mean_ms_since(self, before: Beats) -> f64 {
        let (count, late_us) = (
            self.count.saturating_sub(before.count),
            self.late_us.saturating_sub(before.late_us),
        );
        if count == 0 {
            0.0
        } else {
            late_us as f64 / count as f64 / 1000.0
        }
    }
}

/// How the process is pressed, for admission. The mean over the last 100 ms or so.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// Lateness of the threads that token checks run on, in milliseconds; of threads that stand still, how long they have.
    pub loop_lag_ms_mean: f64,
    /// The beats that was measured by, of which admission takes those of its own windows.
    pub beats: Beats,
    /// How long a write waits until it is durable, in milliseconds.
    pub commit_wait_ms: f64,
    /// How long a password waits for a thread that hashes it, in milliseconds.
    pub hash_wait_ms: f64,
    /// Passwords that were to be hashed since the process began, also those that were refused; none where nobody counts them.
    pub hash_jobs: Option<u64>,
    /// Is memory above its mark?
    pub memory_is_tight: bool,
}

/// The process around the HTTP layer. Health never depends on load: a busy process is alive and ready.
pub trait Host: Send + Sync + 'static {
    /// `platform.status`: role, uptime, listeners, tasks.
    fn status(&self) -> HostAnswer;
    /// `store.stats`.
    fn store_stats(&self) -> HostAnswer;
    /// `store.verify`.
    fn store_verify(&self) -> HostAnswer;
    /// `store.copy`: a linked copy for a rehearsal; answers its path.
    fn store_copy(&self) -> HostAnswer;
    /// `backup.create`: begin a backup; answers at once.
    fn backup_create(&self) -> HostAnswer;
    /// `backup.drill`: begin to prove a restore; answers at once.
    fn backup_drill(&self) -> HostAnswer;
    /// `backup.show`: how backups stand and what is under way.
    fn backup_show(&self) -> HostAnswer;
    /// `config.show`, secrets masked.
    fn config_show(&self) -> HostAnswer;
    /// `platform.stop`: begin to drain and stop; answers at once.
    fn platform_stop(&self) -> HostAnswer;
    /// Do the process and its runtime make progress?
    fn is_alive(&self) -> bool;
    /// Everything needed to answer requests: store open, revocations loaded, log writable.
    fn readiness(&self) -> Vec<Check>;
    /// How far the start has come.
    fn startup(&self) -> Startup;
    /// What is running.
    fn version(&self) -> Version;
    /// How the process is pressed; asked ten times a second while there is traffic. Must not wait.
    fn pressure(&self) -> Pressure {
        Pressure::default()
    }
}
