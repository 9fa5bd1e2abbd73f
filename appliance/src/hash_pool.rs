//! A few operating-system threads that do nothing but password hashes, so that a login storm takes neither the network
//! runtime's cores nor unbounded memory: each thread has one piece of memory for its hashes and keeps it.
//!
//! Which job is next and which is refused is decided in [`queue`], whose turn it is among the games in [`lanes`]. A refused
//! caller is told when to come back. A job whose caller has dropped the future is not run when its turn comes.

mod lanes;
mod queue;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use parking_lot::{Condvar, Mutex, MutexGuard};
use seawall_domain::ports::{HashAsk, HashJob, HashMemory, HashOutcome, HashPool};
use seawall_domain::{Error, HashCost, codes};

pub use queue::HashCounters;
use queue::{HashQueue, QueueRules, Refused, micros, millis};

/// How much the hash threads give way to the network threads, as of `nice`.
const NICE: i32 = 5;
/// A thread that had nothing to do for so long overwrites what the last hash left in its memory.
const WIPE_AFTER: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 1_000 });

type Answer = Result<HashOutcome, Error>;

/// What the pool is started with.
#[derive(Debug, Clone, Copy)]
pub struct HashPoolOptions {
    /// Threads; at least one is started.
    pub threads: usize,
    /// Longest wait of a job.
    pub deadline: Duration,
    /// When a job has waited for longer, the newest go first; `None` for a third of the deadline.
    pub permitted_wait: Option<Duration>,
    /// The usual cost: how much memory a thread keeps.
    pub cost: HashCost,
}

/// A job and where its answer goes.
struct Ticket {
    job: HashJob,
    reply: oneshot::Sender<Answer>,
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
    /// Whether the newest job is next, because there is more to do than can be done.
    pub is_crowded: bool,
    /// Moving average of a job's run time, in microseconds.
    pub cost_us: u64,
    /// Since the start.
    pub counters: HashCounters,
}

impl HashStanding {
    /// Jobs that came since the start, whatever became of them.
    #[must_use]
    pub fn asked(&self) -> u64 {
        let ended = self.counters;
        let refused = ended.refused_full + ended.refused_late + ended.pushed_out + ended.abandoned;
        ended.done + refused + (self.waiting + self.running) as u64
    }
}

struct State {
    queue: HashQueue<Ticket>,
    stopping: bool,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    options: HashPoolOptions,
    begun: Instant,
}

/// The pool. Dropping it stops its threads after the jobs they are running.
pub struct HashThreads {
    shared: Arc<Shared>,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

impl HashThreads {
    /// Starts the threads, named `hash-N`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(options: HashPoolOptions) -> std::io::Result<Self> {
        let threads = options.threads.max(1);
        let options = HashPoolOptions { threads, ..options };
        let queue = HashQueue::new(QueueRules {
            threads,
            deadline: options.deadline,
            permitted_wait: options.permitted_wait,
        });
        let shared = Arc::new(Shared {
            state: Mutex::new(State { queue, stopping: false }),
            work: Condvar::new(),
            options,
            begun: Instant::now(),
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
        let queue = &self.shared.state.lock().queue;
        HashStanding {
            threads: self.shared.options.threads,
            waiting: queue.waiting(),
            running: queue.running(),
            is_crowded: queue.is_crowded(),
            cost_us: micros(queue.cost()),
            counters: queue.counters(),
        }
    }

    /// Mean wait, in milliseconds, of the jobs that left the queue in the last 100 to 200 ms, run or refused; when none did,
    /// that of the one that waits longest. A sign of overload.
    #[must_use]
    pub fn recent_wait_ms(&self) -> u64 {
        let now = self.shared.now();
        millis(self.shared.state.lock().queue.recent_wait(now))
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
    fn run(&self, ask: HashAsk) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let answer = self.shared.enqueue(ask);
        // Only a pool that stops drops a job without an answer.
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(busy(Duration::from_secs(1)))) })
    }

    fn is_idle(&self) -> bool {
        let queue = &self.shared.state.lock().queue;
        queue.waiting() == 0 && queue.running() < self.shared.options.threads
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn enqueue(&self, ask: HashAsk) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let (ticket, mut refused) = (Ticket { job: ask.job, reply }, Vec::new());
        let mut state = self.state.lock();
        if state.stopping {
            return answer;
        }
        let patience = ask.deadline_ms.map(Duration::from_millis);
        state
            .queue
            .offer(self.now(), ask.tenant, patience, ticket, &mut refused);
        drop(state);
        self.work.notify_one();
        tell(refused);
        answer
    }

    fn work_off(&self) {
        // Yielding to the network threads is a wish, not a need: where it is refused, hashes run at normal priority.
        let _ = rustix::process::nice(NICE);
        let mut memory = HashMemory::for_cost(self.options.cost);
        while let Some(next) = self.next(&mut memory) {
            let (started, job) = (Instant::now(), next.job);
            let outcome = catch_unwind(AssertUnwindSafe(|| job(&mut memory)));
            let ran = started.elapsed();
            let answer = outcome.map_err(|_| {
                memory = HashMemory::for_cost(self.options.cost);
                codes::DEFECT.because("a password hash failed; report the request id")
            });
            // What needed no hash says nothing of what one costs.
            let hashed = (answer != Ok(HashOutcome::Recalled)).then_some(ran);
            self.state.lock().queue.end(hashed);
            let _ = next.reply.send(answer);
        }
    }

    /// Waits for the next job; `None` when the pool stops.
    fn next(&self, memory: &mut HashMemory) -> Option<Ticket> {
        let mut state = self.state.lock();
        while !state.stopping {
            let mut refused = Vec::new();
            let mut next = state.queue.take(self.now(), &mut refused);
            while next.as_ref().is_some_and(|next| next.reply.is_canceled()) {
                state.queue.give_up();
                next = state.queue.take(self.now(), &mut refused);
            }
            if next.is_some() || !refused.is_empty() {
                MutexGuard::unlocked(&mut state, || tell(refused));
            }
            if next.is_some() {
                return next;
            }
            // While it was unlocked a job may have come whose notice nobody waited for.
            if state.stopping || state.queue.waiting() > 0 {
                continue;
            }
            if !memory.is_used() {
                self.work.wait(&mut state);
            } else if self.work.wait_for(&mut state, WIPE_AFTER).timed_out() {
                MutexGuard::unlocked(&mut state, || memory.wipe());
            }
        }
        None
    }
}

/// Answers those whose jobs are not run.
fn tell(refused: Vec<Refused<Ticket>>) {
    for refused in refused {
        let error = if refused.is_callers_deadline {
            codes::OVERLOAD_DEADLINE
                .because("the password could not be checked in the time the caller waits; nothing was done, try again after Retry-After")
                .retry_after_ms(millis(refused.retry_after))
        } else {
            busy(refused.retry_after)
        };
        let _ = refused.job.reply.send(Err(error));
    }
}

fn busy(retry_after: Duration) -> Error {
    codes::OVERLOADED
        .because("too many passwords are being checked; nothing was done, try again after Retry-After")
        .retry_after_ms(millis(retry_after))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const CHEAP: HashCost = HashCost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    fn pool(threads: usize, deadline_ms: u64) -> HashThreads {
        HashThreads::start(HashPoolOptions {
            threads,
            deadline: Duration::from_millis(deadline_ms),
            permitted_wait: None,
            cost: CHEAP,
        })
        .unwrap()
    }

    fn ask(job: impl FnOnce(&mut HashMemory) -> HashOutcome + Send + 'static) -> HashAsk {
        HashAsk {
            tenant: 1,
            deadline_ms: None,
            job: Box::new(job),
        }
    }

    fn quick() -> HashAsk {
        ask(|_| HashOutcome::Matches(true))
    }

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
    fn held() -> (HashAsk, mpsc::Sender<()>) {
        let (release, gate) = mpsc::channel::<()>();
        let job = move |_: &mut HashMemory| {
            let _ = gate.recv();
            HashOutcome::Matches(true)
        };
        (ask(job), release)
    }

    #[test]
    fn jobs_run_and_answer() {
        let pool = pool(2, 5_000);
        assert!(pool.is_idle());
        let answer = block_on(pool.run(ask(|_| HashOutcome::Hashed("x".into()))));
        assert_eq!(answer, Ok(HashOutcome::Hashed("x".into())));
        assert_eq!(pool.standing().counters.done, 1);
        assert_eq!(pool.standing().counters.waited_us / 1_000, pool.recent_wait_ms());
    }

    #[test]
    fn what_needs_no_hash_says_nothing_of_what_one_costs() {
        let pool = pool(1, 5_000);
        let before = pool.standing();
        for _ in 0..50 {
            assert_eq!(
                block_on(pool.run(ask(|_| HashOutcome::Recalled))),
                Ok(HashOutcome::Recalled)
            );
        }
        let after = pool.standing();
        assert_eq!((after.cost_us, after.counters.done), (before.cost_us, 0));
        assert_eq!(after.running, 0);
    }

    #[test]
    fn what_is_too_much_is_refused_with_a_time_and_the_rest_is_run() {
        let pool = pool(1, 100);
        let (job, release) = held();
        let first = pool.run(job);
        wait_until("the first job starts", || pool.standing().running == 1);
        let asked: Vec<_> = (0..50).map(|_| pool.run(quick())).collect();
        assert!(!pool.is_idle());
        drop(release);
        assert_eq!(block_on(first), Ok(HashOutcome::Matches(true)));
        let answers: Vec<_> = asked.into_iter().map(block_on).collect();
        let refused: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
        assert!(refused.len() >= 46, "{}", refused.len());
        assert!(refused.iter().all(|error| error.code.name == "overload.busy"));
        assert!(
            refused
                .iter()
                .all(|error| error.retry_after_ms.is_some_and(|ms| ms >= 500))
        );
        let counters = pool.standing().counters;
        let counted = counters.refused_full + counters.refused_late + counters.pushed_out;
        assert_eq!(
            (counted, counters.done),
            (refused.len() as u64, 51 - refused.len() as u64)
        );
    }

    #[test]
    fn a_job_that_waited_beyond_the_deadline_is_not_run() {
        let pool = pool(1, 30);
        let (job, release) = held();
        let first = pool.run(job);
        wait_until("the first job starts", || pool.standing().running == 1);
        let late = pool.run(ask(|_| panic!("must not run")));
        let begun = Instant::now();
        wait_until("the deadline passes", || begun.elapsed() > Duration::from_millis(60));
        drop(release);
        assert_eq!(block_on(late).unwrap_err().code.name, "overload.busy");
        assert_eq!(block_on(first), Ok(HashOutcome::Matches(true)));
        assert_eq!(pool.standing().counters.refused_late, 1);
    }

    #[test]
    fn a_job_whose_caller_would_no_longer_be_there_is_not_run() {
        let pool = pool(1, 60_000);
        let (job, release) = held();
        let first = pool.run(job);
        wait_until("the first job starts", || pool.standing().running == 1);
        let late = pool.run(HashAsk {
            deadline_ms: Some(60),
            ..ask(|_| panic!("must not run"))
        });
        let begun = Instant::now();
        wait_until("the deadline passes", || begun.elapsed() > Duration::from_millis(80));
        drop(release);
        let error = block_on(late).unwrap_err();
        assert_eq!(error.code.name, "overload.deadline");
        assert!(error.retry_after_ms.is_some_and(|ms| ms >= 500));
        assert_eq!(block_on(first), Ok(HashOutcome::Matches(true)));
        let at_once = block_on(pool.run(HashAsk {
            deadline_ms: Some(0),
            ..ask(|_| panic!("must not run"))
        }));
        assert_eq!(at_once.unwrap_err().code.name, "overload.deadline");
        let counters = pool.standing().counters;
        assert_eq!((counters.done, counters.refused_late, counters.refused_full), (1, 1, 1));
    }

    #[test]
    fn a_job_whose_caller_has_gone_is_not_run() {
        let pool = pool(1, 60_000);
        let (job, release) = held();
        let first = pool.run(job);
        wait_until("the first job starts", || pool.standing().running == 1);
        for _ in 0..3 {
            drop(pool.run(ask(|_| panic!("must not run"))));
        }
        let (job, release_last) = held();
        let last = pool.run(job);
        drop(release);
        assert_eq!(block_on(first), Ok(HashOutcome::Matches(true)));
        wait_until("the last job starts", || {
            pool.standing().running == 1 && pool.standing().waiting == 0
        });
        drop(release_last);
        assert_eq!(block_on(last), Ok(HashOutcome::Matches(true)));
        let counters = pool.standing().counters;
        assert_eq!((counters.abandoned, counters.done), (3, 2));
        assert!(pool.is_idle());
    }

    #[test]
    fn a_thread_keeps_its_memory_from_job_to_job_and_wipes_it_when_idle() {
        let pool = pool(1, 5_000);
        let hash = |salt: u8| {
            let (tell, told) = mpsc::channel();
            let job = move |memory: &mut HashMemory| {
                let was_used = memory.is_used();
                let phc = seawall_domain::password::hash("x", &[salt; 16], CHEAP, memory);
                let _ = tell.send((std::ptr::from_ref(memory).addr(), memory.bytes(), was_used));
                HashOutcome::Hashed(phc.unwrap())
            };
            block_on(pool.run(ask(job))).unwrap();
            told.recv().unwrap()
        };
        let (place, bytes, _) = hash(1);
        assert_eq!(bytes, 8 << 10);
        for salt in 2..5 {
            let (here, now_bytes, _) = hash(salt);
            assert_eq!((here, now_bytes), (place, bytes));
        }
        wait_until("the idle thread wipes its memory", || {
            let begun = Instant::now();
            wait_until("a rest", || begun.elapsed() > WIPE_AFTER * 2);
            !hash(9).2
        });
    }

    #[test]
    fn a_panicking_job_is_a_defect_and_the_thread_goes_on() {
        let pool = pool(1, 5_000);
        assert_eq!(
            block_on(pool.run(ask(|_| panic!("boom")))).unwrap_err().code.name,
            "platform.defect"
        );
        assert_eq!(block_on(pool.run(quick())), Ok(HashOutcome::Matches(true)));
    }

    #[test]
    fn stopping_refuses_what_waits_and_joins() {
        let pool = Arc::new(pool(1, 5_000));
        let (job, release) = held();
        let running = pool.run(job);
        wait_until("the job starts", || pool.standing().running == 1);
        let waiting = pool.run(quick());
        let stopper = std::thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.stop()
        });
        assert_eq!(block_on(waiting).unwrap_err().code.name, "overload.busy");
        drop(release);
        stopper.join().unwrap();
        assert_eq!(block_on(running), Ok(HashOutcome::Matches(true)));
        assert!(block_on(pool.run(quick())).is_err());
    }
}
