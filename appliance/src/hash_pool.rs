//! A few operating-system threads that do nothing but password hashes, so that a login storm takes neither the network
//! runtime's cores nor unbounded memory (each hash holds 19 MiB while it runs).
//!
//! The queue is bounded by time, not by a count somebody guessed: a job is refused at once when those before it would
//! keep it waiting longer than the deadline, judged by the measured cost of recent jobs. A job whose deadline passed
//! while it waited is refused when its turn comes, because its caller has given up.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use parking_lot::{Condvar, Mutex};
use seawall_domain::ports::{HashJob, HashOutcome, HashPool};
use seawall_domain::{Error, codes};

/// Jobs that may wait whatever their estimated cost; bounds memory.
const WAITING_MAX: usize = 4096;

/// Assumed cost of a job until one was measured: argon2id, 19 MiB, two passes.
const FIRST_COST: Duration = Duration::from_millis(25);

/// How much the hash threads give way to the network threads, as of `nice`.
const NICE: i32 = 5;

type Answer = Result<HashOutcome, Error>;

struct Waiting {
    job: HashJob,
    since: Instant,
    reply: oneshot::Sender<Answer>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Waiting>,
    running: usize,
    /// Moving average of a job's run time.
    cost: Duration,
    stopping: bool,
    counters: HashCounters,
}

/// What the pool has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashCounters {
    /// Jobs run to their end.
    pub done: u64,
    /// Refused on arrival: the queue was too long.
    pub refused_full: u64,
    /// Refused at their turn: the deadline had passed.
    pub refused_late: u64,
    /// Time spent waiting by jobs that ran, in microseconds.
    pub waited_us: u64,
    /// Time spent running, in microseconds.
    pub ran_us: u64,
}

/// How the pool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashStanding {
    /// Threads.
    pub threads: usize,
    /// Jobs waiting now.
    pub waiting: usize,
    /// Jobs running now.
    pub running: usize,
    /// Moving average of a job's run time, in microseconds.
    pub cost_us: u64,
    /// Since the start.
    pub counters: HashCounters,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads: usize,
    deadline: Duration,
}

/// The pool. Dropping it stops its threads after the jobs they are running.
pub struct HashThreads {
    shared: Arc<Shared>,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

impl HashThreads {
    /// Starts `threads` threads (at least one) named `hash-N`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(threads: usize, deadline: Duration) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let state = Mutex::new(State {
            cost: FIRST_COST,
            ..State::default()
        });
        let shared = Arc::new(Shared {
            state,
            work: Condvar::new(),
            threads,
            deadline,
        });
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("hash-{index}"))
                .spawn(move || shared.work_off())
        };
        let joins = (0..threads).map(spawn).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            shared,
            joins: Mutex::new(joins),
        })
    }

    /// How the pool stands now.
    #[must_use]
    pub fn standing(&self) -> HashStanding {
        let state = self.shared.state.lock();
        HashStanding {
            threads: self.shared.threads,
            waiting: state.queue.len(),
            running: state.running,
            cost_us: micros(state.cost),
            counters: state.counters,
        }
    }

    /// Refuses what waits, lets running jobs end, and joins the threads.
    pub fn stop(&self) {
        {
            let mut state = self.shared.state.lock();
            state.stopping = true;
            state.queue.clear();
        }
        self.shared.work.notify_all();
        for join in self.joins.lock().drain(..) {
            let _ = join.join();
        }
    }
}

impl Drop for HashThreads {
    fn drop(&mut self) {
        self.stop();
    }
}

impl HashPool for HashThreads {
    fn run(&self, job: HashJob) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let reply = self.shared.enqueue(job);
        Box::pin(async move {
            match reply {
                Ok(reply) => reply
                    .await
                    .unwrap_or_else(|_| Err(codes::OVERLOADED.error().retry_after_ms(1000))),
                Err(error) => Err(error),
            }
        })
    }

    fn is_idle(&self) -> bool {
        let state = self.shared.state.lock();
        state.queue.is_empty() && state.running < self.shared.threads
    }
}

impl Shared {
    fn enqueue(&self, job: HashJob) -> Result<oneshot::Receiver<Answer>, Error> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state.lock();
        let wait = self.expected_wait(&state);
        if state.stopping || state.queue.len() >= WAITING_MAX || wait > self.deadline {
            state.counters.refused_full += 1;
            return Err(busy(wait));
        }
        state.queue.push_back(Waiting {
            job,
            since: Instant::now(),
            reply,
        });
        drop(state);
        self.work.notify_one();
        Ok(answer)
    }

    /// How long a job that arrives now will wait for a thread.
    fn expected_wait(&self, state: &State) -> Duration {
        let before = (state.queue.len() + state.running + 1).saturating_sub(self.threads);
        let rounds = u32::try_from(before.div_ceil(self.threads)).unwrap_or(u32::MAX);
        state.cost.saturating_mul(rounds)
    }

    fn work_off(&self) {
        // Yielding to the network threads is a wish, not a need: where it is refused, hashes run at normal priority.
        let _ = rustix::process::nice(NICE);
        while let Some(next) = self.take() {
            let started = Instant::now();
            let waited = started.duration_since(next.since);
            if waited > self.deadline {
                self.finish(|state| state.counters.refused_late += 1);
                let _ = next.reply.send(Err(busy(self.deadline)));
                continue;
            }
            let job = next.job;
            let outcome = catch_unwind(AssertUnwindSafe(job))
                .map_err(|_| codes::DEFECT.because("a password hash failed; report the request id"));
            let ran = started.elapsed();
            self.finish(|state| {
                state.cost = (state.cost * 7 + ran) / 8;
                state.counters.done += 1;
                state.counters.waited_us += micros(waited);
                state.counters.ran_us += micros(ran);
            });
            let _ = next.reply.send(outcome);
        }
    }

    fn take(&self) -> Option<Waiting> {
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(next) = state.queue.pop_front() {
                state.running += 1;
                return Some(next);
            }
            self.work.wait(&mut state);
        }
    }

    fn finish(&self, note: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        state.running -= 1;
        note(&mut state);
    }
}

fn busy(wait: Duration) -> Error {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).clamp(500, 60_000);
    codes::OVERLOADED
        .because("too many passwords are being checked; nothing was done, try again after Retry-After")
        .retry_after_ms(wait_ms)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    fn wait_until(what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "{what} did not happen");
            std::thread::yield_now();
        }
    }

    /// A job that runs until the returned sender is used or dropped.
    fn held() -> (HashJob, mpsc::Sender<()>) {
        let (release, gate) = mpsc::channel::<()>();
        let job = move || {
            let _ = gate.recv();
            HashOutcome::Matches(true)
        };
        (Box::new(job), release)
    }

    #[test]
    fn jobs_run_and_answer() {
        let pool = HashThreads::start(2, Duration::from_secs(5)).unwrap();
        assert!(pool.is_idle());
        let answer = block_on(pool.run(Box::new(|| HashOutcome::Hashed("x".into()))));
        assert_eq!(answer, Ok(HashOutcome::Hashed("x".into())));
        assert_eq!(pool.standing().counters.done, 1);
    }

    #[test]
    fn the_queue_is_bounded_by_the_time_it_would_take() {
        // One thread, 25 ms assumed per job, deadline 100 ms: the running one and four waiting, no more.
        let pool = HashThreads::start(1, Duration::from_millis(100)).unwrap();
        let (job, release) = held();
        let first = pool.run(job);
        wait_until("the first job starts", || pool.standing().running == 1);
        let waiting: Vec<_> = (0..4)
            .map(|_| pool.run(Box::new(|| HashOutcome::Matches(false))))
            .collect();
        assert!(!pool.is_idle());
        let refused = block_on(pool.run(Box::new(|| HashOutcome::Matches(false)))).unwrap_err();
        assert_eq!(refused.code.name, "overload.busy");
        assert!(refused.retry_after_ms.is_some_and(|ms| ms >= 500));
        assert_eq!(pool.standing().counters.refused_full, 1);
        drop(release);
        assert_eq!(block_on(first), Ok(HashOutcome::Matches(true)));
        drop(waiting);
    }

    #[test]
    fn a_job_that_waited_beyond_the_deadline_is_not_run() {
        let pool = HashThreads::start(1, Duration::from_millis(30)).unwrap();
        let (job, release) = held();
        let first = pool.run(job);
        wait_until("the first job starts", || pool.standing().running == 1);
        let late = pool.run(Box::new(|| panic!("must not run")));
        let begun = Instant::now();
        wait_until("the deadline passes", || begun.elapsed() > Duration::from_millis(60));
        drop(release);
        assert_eq!(block_on(late).unwrap_err().code.name, "overload.busy");
        assert_eq!(block_on(first), Ok(HashOutcome::Matches(true)));
        assert_eq!(pool.standing().counters.refused_late, 1);
    }

    #[test]
    fn a_panicking_job_is_a_defect_and_the_thread_goes_on() {
        let pool = HashThreads::start(1, Duration::from_secs(5)).unwrap();
        assert_eq!(
            block_on(pool.run(Box::new(|| panic!("boom")))).unwrap_err().code.name,
            "platform.defect"
        );
        assert_eq!(
            block_on(pool.run(Box::new(|| HashOutcome::Matches(true)))),
            Ok(HashOutcome::Matches(true))
        );
    }

    #[test]
    fn stopping_refuses_what_waits_and_joins() {
        let pool = Arc::new(HashThreads::start(1, Duration::from_secs(5)).unwrap());
        let (job, release) = held();
        let running = pool.run(job);
        wait_until("the job starts", || pool.standing().running == 1);
        let waiting = pool.run(Box::new(|| HashOutcome::Matches(true)));
        let stopper = std::thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.stop()
        });
        assert_eq!(block_on(waiting).unwrap_err().code.name, "overload.busy");
        drop(release);
        stopper.join().unwrap();
        assert_eq!(block_on(running), Ok(HashOutcome::Matches(true)));
        assert!(block_on(pool.run(Box::new(|| HashOutcome::Matches(true)))).is_err());
    }
}
