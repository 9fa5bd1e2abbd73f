//! How far the start has come, for `/startupz`, the log and the service manager: one named phase at a time, with its
//! begin.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_domain::UnixMs;
use seawall_domain::ports::Clock as _;
use seawall_web::Startup;

use crate::clock::SystemClock;
use crate::service_manager;

/// The phases of a start, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Directories, certificates, addresses.
    Preparing,
    /// The cluster key.
    ReadingKeys,
    /// Control file, engine, head against floor.
    OpeningStore,
    /// The authentication log.
    OpeningAuthLog,
    /// Catalogue, revocations and restrictions into memory.
    LoadingRevocations,
    /// The business listeners.
    Listening,
    /// Done.
    Serving,
}

impl Phase {
    /// The word in answers and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Preparing => "preparing",
            Phase::ReadingKeys => "reading_keys",
            Phase::OpeningStore => "opening_store",
            Phase::OpeningAuthLog => "opening_auth_log",
            Phase::LoadingRevocations => "loading_revocations",
            Phase::Listening => "listening",
            Phase::Serving => "serving",
        }
    }

    /// Share of a usual start that is over when the phase begins, in percent: most of it is the store.
    #[must_use]
    pub fn percent(self) -> u8 {
        match self {
            Phase::Preparing => 0,
            Phase::ReadingKeys => 5,
            Phase::OpeningStore => 10,
            Phase::OpeningAuthLog => 70,
            Phase::LoadingRevocations => 80,
            Phase::Listening => 95,
            Phase::Serving => 100,
        }
    }
}

#[derive(Debug)]
struct Standing {
    phase: Phase,
    detail: String,
    since_at: UnixMs,
    since: Instant,
}

/// How far the start has come.
#[derive(Debug)]
pub struct Progress {
    standing: Mutex<Standing>,
    /// Phases that are over, and how long each took.
    past: Mutex<Vec<(Phase, Duration)>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            standing: Mutex::new(Standing::of(Phase::Preparing)),
            past: Mutex::default(),
        }
    }
}

impl Standing {
    fn of(phase: Phase) -> Self {
        Self {
            phase,
            detail: String::new(),
            since_at: SystemClock.now_at(),
            since: Instant::now(),
        }
    }
}

impl Progress {
    /// The next phase begins; never back.
    pub fn enter(&self, phase: Phase) {
        let mut standing = self.standing.lock();
        if phase > standing.phase {
            tracing::debug!(phase = phase.name(), percent = phase.percent(), "start");
            self.past.lock().push((standing.phase, standing.since.elapsed()));
            *standing = Standing::of(phase);
            service_manager::starting(phase.name());
        }
    }

    /// What the phase is at.
    pub fn note(&self, detail: &str) {
        let mut standing = self.standing.lock();
        let percent = standing.phase.percent();
        tracing::info!(phase = standing.phase.name(), percent, detail, "start");
        detail.clone_into(&mut standing.detail);
        service_manager::starting(&format!("{}: {detail}", standing.phase.name()));
    }

    /// What the start went into, for the log: `preparing 12, opening_store 640, …`, in milliseconds.
    #[must_use]
    pub fn phases_ms(&self) -> String {
        let past = self.past.lock();
        let parts = past
            .iter()
            .map(|(phase, took)| format!("{} {}", phase.name(), took.as_millis()));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// As `/startupz` says it.
    #[must_use]
    pub fn startup(&self) -> Startup {
        let standing = self.standing.lock();
        let is_done = standing.phase == Phase::Serving;
        Startup {
            is_done,
            progress_percent: standing.phase.percent(),
            phase: standing.phase.name().into(),
            detail: standing.detail.clone(),
            phase_since_at: standing.since_at,
            phase_elapsed_ms: u64::try_from(standing.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_only_move_on_and_begin_without_detail() {
        let progress = Progress::default();
        assert_eq!(progress.startup().phase, "preparing");
        progress.enter(Phase::OpeningStore);
        progress.note("opening the engine");
        progress.enter(Phase::ReadingKeys);
        let startup = progress.startup();
        assert_eq!(
            (startup.phase.as_str(), startup.detail.as_str(), startup.is_done),
            ("opening_store", "opening the engine", false)
        );
        assert_eq!(startup.progress_percent, 10);
        assert!(startup.phase_since_at > 1_600_000_000_000);
        progress.enter(Phase::Serving);
        assert!(
            progress.phases_ms().starts_with("preparing "),
            "{}",
            progress.phases_ms()
        );
        assert!(progress.phases_ms().contains(", opening_store ") && !progress.phases_ms().contains("reading_keys"));
        let startup = progress.startup();
        assert!(startup.is_done && startup.detail.is_empty() && startup.progress_percent == 100);
    }
}
