//! Looks at the admission view of the rehearsal's server while a step runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::machine::Cpus;
use crate::cli::admission;
use crate::cli::ask::AdminClient as _;
use crate::cli::failure::Failure;
use crate::cli::socket::SocketClient;

/// Between two looks; the controller decides every 100 ms.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was seen during a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seen {
    /// Looks that were answered.
    pub looks: u64,
    /// Mode of admission.
    pub mode: String,
    /// Worst lateness of the runtime, in microseconds.
    pub lag_us_max: u64,
    /// Longest wait for a commit, in microseconds.
    pub commit_wait_us_max: u64,
    /// Longest wait for a password hash, in microseconds.
    pub hash_wait_us_max: u64,
    /// Most requests in work.
    pub in_flight_max: u64,
    /// Looks at which the signs of overload lasted.
    pub overloaded_looks: u64,
    /// Looks at which somebody was refused for the level, or would have been.
    pub shedding_looks: u64,
    /// Requests refused by admission in this step.
    pub refused: u64,
    /// Requests that would have been refused, in a dry run.
    pub would_be_refused: u64,
    #[serde(skip)]
    pub(super) refused_from: Option<(u64, u64)>,
}

impl Seen {
    fn take(&mut self, view: &Value) {
        let number = |name: &str| view.get(name).and_then(Value::as_u64).unwrap_or(0);
        let is = |name: &str| u64::from(view.get(name).and_then(Value::as_bool).unwrap_or(false));
        self.looks += 1;
        view.get("mode")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .clone_into(&mut self.mode);
        self.lag_us_max = self.lag_us_max.max(number("lag_us"));
        self.commit_wait_us_max = self.commit_wait_us_max.max(number("commit_wait_us"));
        self.hash_wait_us_max = self.hash_wait_us_max.max(number("hash_wait_us"));
        self.in_flight_max = self.in_flight_max.max(number("in_flight"));
        self.overloaded_looks += is("is_overloaded");
        self.shedding_looks += is("is_shedding");
        let now = (sum(view, "refused"), sum(view, "would_be_refused"));
        let from = *self.refused_from.get_or_insert(now);
        self.refused = now.0.saturating_sub(from.0);
        self.would_be_refused = now.1.saturating_sub(from.1);
    }
}

/// All refusals of all classes, since the start of the server.
fn sum(view: &Value, kind: &str) -> u64 {
    let classes = view.get("classes").and_then(Value::as_array).into_iter().flatten();
    let reasons = classes.filter_map(|class| class.get(kind)?.as_object());
    reasons
        .flat_map(|reasons| reasons.values().filter_map(Value::as_u64))
        .sum()
}

/// Looks until it is dropped.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look at the server behind this admin socket.
    ///
    /// # Errors
    /// When there are no threads.
    pub fn start(socket: &Path, cpus: &Cpus) -> Result<Self, Failure> {
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (socket, cpus) = (socket.to_owned(), cpus.clone());
        let (into, ends) = (Arc::clone(&seen), Arc::clone(&stop));
        let looking = move || {
            cpus.be_server();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(look(&socket, &into, &ends));
            }
        };
        let thread = std::thread::Builder::new().name("watch".into()).spawn(looking);
        let thread = thread.map_err(|error| Failure::Failed(format!("no thread: {error}")))?;
        Ok(Self {
            seen,
            stop,
            thread: Some(thread),
        })
    }

    /// What was seen since the last call.
    #[must_use]
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock())
    }

    /// Whether there was a look since the last [`take`](Self::take).
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.seen.lock().looks > 0
    }

    /// Whether at every look since the last [`take`](Self::take) nothing but the look itself was in work.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let seen = self.seen.lock();
        seen.looks > 0 && seen.in_flight_max <= 1
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn look(socket: &Path, into: &Mutex<Seen>, ends: &AtomicBool) {
    let Ok(Some(client)) = SocketClient::connect(socket).await else {
        return;
    };
    while !ends.load(Ordering::Relaxed) {
        if let Ok(Ok(view)) = client
            .call(admission::show())
            .await
            .map(crate::cli::ask::Answer::success)
        {
            into.lock().take(&view);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_is_told_by_its_worst_moments_and_its_own_refusals() {
        let view = |lag_us: u64, refused: u64| {
            json!({
                "mode": "dry_run", "lag_us": lag_us, "commit_wait_us": 5, "hash_wait_us": 7, "in_flight": 3, "is_overloaded": lag_us > 100,
                "is_shedding": false,
                "classes": [{ "refused": { "level": refused, "hash": 1 }, "would_be_refused": { "level": 2 * refused } }],
            })
        };
        let mut seen = Seen::default();
        for (lag_us, refused) in [(10, 100), (500, 130), (20, 150)] {
            seen.take(&view(lag_us, refused));
        }
        assert_eq!((seen.looks, seen.lag_us_max, seen.overloaded_looks), (3, 500, 1));
        assert_eq!((seen.refused, seen.would_be_refused), (50, 100));
        assert_eq!(
            (seen.mode.as_str(), seen.in_flight_max, seen.hash_wait_us_max),
            ("dry_run", 3, 7)
        );
    }
}
