//! Background tasks of the server, as one plain list: each has a name, runs at an interval, shows in `seawall status`
//! and stops when told to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longest wait for a task to end its round when stopping.
const STOP_MAX: Duration = Duration::from_secs(5);

/// One round of a task; a failure is a sentence for the log.
pub type Round = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A task to run.
pub struct Task {
    /// In status and logs.
    pub name: &'static str,
    /// From the end of a round to the next.
    pub interval: Duration,
    /// Makes one round.
    pub round: Box<dyn Fn() -> Round + Send + Sync>,
}

#[derive(Debug, Default, Clone)]
struct Standing {
    rounds: u64,
    failures: u64,
    last_failure: Option<String>,
    last_took: Duration,
}

struct Running {
    name: &'static str,
    interval: Duration,
    standing: Arc<Mutex<Standing>>,
    join: Mutex<Option<JoinHandle<()>>>,
}

/// The running tasks.
pub struct Tasks {
    running: Vec<Running>,
    stop: watch::Sender<bool>,
}

impl Tasks {
    /// Starts all of them on the current runtime.
    #[must_use]
    pub fn start(tasks: Vec<Task>) -> Self {
        let stop = watch::Sender::new(false);
        let running = tasks.into_iter().map(|task| run(task, stop.subscribe())).collect();
        Self { running, stop }
    }

    /// For `seawall status`.
    #[must_use]
    pub fn status(&self) -> Value {
        let line = |task: &Running| {
            let standing = task.standing.lock().clone();
            json!({
                "name": task.name, "interval_ms": millis(task.interval), "rounds": standing.rounds, "failures": standing.failures,
                "last_failure": standing.last_failure, "last_took_ms": millis(standing.last_took),
            })
        };
        self.running.iter().map(line).collect()
    }

    /// Tells all of them to stop and waits for the rounds they are in, up to a deadline.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        for task in &self.running {
            let join = task.join.lock().take();
            if let Some(join) = join
                && tokio::time::timeout(STOP_MAX, join).await.is_err()
            {
                tracing::warn!(task = task.name, "the task did not stop in time and is left behind");
            }
        }
    }
}

fn run(task: Task, mut stop: watch::Receiver<bool>) -> Running {
    let standing = Arc::new(Mutex::new(Standing::default()));
    let noted = Arc::clone(&standing);
    let (name, interval) = (task.name, task.interval);
    let join = tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                // Told to stop, or the list is gone.
                _ = stop.wait_for(|stop| *stop) => return,
            }
            let begun = Instant::now();
            let outcome = (task.round)().await;
            note(name, &mut noted.lock(), outcome, begun.elapsed());
        }
    });
    Running {
        name,
        interval,
        standing,
        join: Mutex::new(Some(join)),
    }
}

fn note(name: &'static str, standing: &mut Standing, outcome: Result<(), String>, took: Duration) {
    standing.rounds += 1;
    standing.last_took = took;
    if let Err(reason) = outcome {
        tracing::warn!(
            task = name,
            reason,
            "a round of a background task failed; it is tried again"
        );
        standing.failures += 1;
        standing.last_failure = Some(reason);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn counting(name: &'static str, counter: &Arc<AtomicU64>, fails: bool) -> Task {
        let counter = Arc::clone(counter);
        let round = move || -> Round {
            counter.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { if fails { Err("disk".into()) } else { Ok(()) } })
        };
        Task {
            name,
            interval: Duration::from_millis(1),
            round: Box::new(round),
        }
    }

    #[tokio::test]
    async fn tasks_run_show_and_stop() {
        let (good, bad) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let tasks = Tasks::start(vec![counting("good", &good, false), counting("bad", &bad, true)]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while good.load(Ordering::Relaxed) < 3 || bad.load(Ordering::Relaxed) < 3 {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        tasks.stop().await;
        let stopped_at = good.load(Ordering::Relaxed);
        let status = tasks.status();
        assert_eq!(status[0]["name"], "good");
        assert_eq!(status[0]["rounds"], stopped_at);
        assert_eq!(status[1]["failures"], status[1]["rounds"]);
        assert_eq!(status[1]["last_failure"], "disk");
    }
}
