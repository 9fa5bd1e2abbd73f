//! Which threads go first on the processors: those of token checks, by real-time priority, so that a check never waits for
//! the slice of a thread that does something else. Two things keep that from harming the rest: a budget of the
//! processors' time, past which checks share with everybody, and that they share in a storm, where to go first costs more
//! than it gains; there they go first only from a look until they have caught up. See decisions/0820-checks-go-first.md.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::Resource;
use rustix::thread::{Pid, gettid};
use seawall_web::PlayersWork;
use serde_json::{Value, json};

use self::budget::Budget;
use self::storm::{Seen, Storm};

mod budget;
mod scheduling;
mod storm;

/// Between two looks at what the threads have used.
const LOOK: Duration = Duration::from_millis(10);
/// Real-time priority of the threads of checks: the lowest, which is above all threads that have none.
const CHECKS_PRIORITY: i32 = 1;
/// That of the thread which watches them; higher, so that they cannot keep it from taking theirs away.
const WATCH_PRIORITY: i32 = 2;

thread_local! {
    /// Is this thread in its crew?
    static JOINED: Cell<bool> = const { Cell::new(false) };
    /// [`Precedence::looks_in_storm`] when this thread last had nothing to do.
    static CAUGHT_UP: Cell<u64> = const { Cell::new(0) };
}

/// A network thread.
struct Worker {
    thread: Pid,
    /// Its `/proc/self/task/<thread>/schedstat`: nanoseconds on a processor, nanoseconds waiting for one.
    schedstat: File,
}

/// The threads of checks or those of players.
#[derive(Default)]
struct Crew(Mutex<Vec<Worker>>);

/// What the threads of a crew have had so far.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    threads: usize,
    /// Nanoseconds on a processor.
    used_ns: u64,
    /// Nanoseconds waiting for one.
    waited_ns: u64,
}

/// What the watching thread remembers.
struct Watch {
    budget: Budget,
    storm: Storm,
    /// Wait of players' threads up to the end of the last window.
    waited_ns: u64,
    /// What was done for players up to then.
    work: PlayersWork,
}

/// Which threads go first, and how that stands.
pub struct Precedence {
    /// Percent of the processors' time that checks may have before all others; 0 for never.
    percent: u32,
    checks: Crew,
    players: Crew,
    /// Do checks go first at this moment? Changed only while `checks` is locked.
    first: AtomicBool,
    /// Do they share because there is a storm?
    storm: AtomicBool,
    /// At how many looks in a storm checks went first, each until it had caught up.
    looks_in_storm: AtomicU64,
    /// What was done for players so far; nothing before the process serves.
    work: Mutex<Option<Box<dyn Fn() -> PlayersWork + Send>>>,
    /// Windows in which the budget was spent.
    spent_windows: AtomicU64,
    /// Why checks do not go first though they should.
    refused: Mutex<Option<String>>,
    stopping: AtomicBool,
    watch: Mutex<Option<JoinHandle<()>>>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Do checks go first at this moment?
    pub first: bool,
    /// Windows of 100 ms so far in which checks spent their budget and shared from then on.
    pub spent_windows: u64,
    /// Do they share because there is a storm?
    pub storm: bool,
}

impl Precedence {
    /// Checks may have so many percent of the processors' time before all others, 0 to 95. Nothing happens before
    /// [`watch`](Self::watch).
    #[must_use]
    pub fn new(percent: u32) -> Arc<Self> {
        Arc::new(Self {
            percent,
            checks: Crew::default(),
            players: Crew::default(),
            first: AtomicBool::new(false),
            storm: AtomicBool::new(false),
            looks_in_storm: AtomicU64::new(0),
            work: Mutex::new(None),
            spent_windows: AtomicU64::new(0),
            refused: Mutex::new(None),
            stopping: AtomicBool::new(false),
            watch: Mutex::new(None),
        })
    }

    /// Starts to watch, in a thread of its own; without the system's permission checks share the processors by `nice`.
    pub fn watch(self: &Arc<Self>) {
        if self.percent == 0 {
            return;
        }
        let watching = Arc::clone(self);
        let thread = std::thread::Builder::new().name("precedence".to_owned());
        match thread.spawn(move || watching.run()) {
            Ok(thread) => *self.watch.lock() = Some(thread),
            Err(error) => self.refuse(&error),
        }
    }

    /// From now on the watching asks here what was done for players.
    pub fn follow(&self, work: impl Fn() -> PlayersWork + Send + 'static) {
        *self.work.lock() = Some(Box::new(work));
    }

    /// Ends the watching; from now on all share.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(watch) = self.watch.lock().take() {
            watch.thread().unpark();
            let _ = watch.join();
        }
        // Who is asked lives no longer than it serves.
        *self.work.lock() = None;
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        Standing {
            first: self.first.load(Ordering::Relaxed),
            spent_windows: self.spent_windows.load(Ordering::Relaxed),
            storm: self.storm.load(Ordering::Relaxed),
        }
    }

    /// For `seawall status`.
    #[must_use]
    pub fn show(&self) -> Value {
        let standing = self.standing();
        json!({
            "checks_first": standing.first, "budget_percent": self.percent, "spent_windows": standing.spent_windows,
            "storm": standing.storm, "refused": *self.refused.lock(),
        })
    }

    /// A thread of checks has nothing to do and is about to wait. Only threads that work off tasks wait so; those for blocking
    /// calls never come here and never go first.
    pub fn checks_idle(&self) {
        if !JOINED.replace(true) {
            self.join_checks();
        }
        let looks = self.looks_in_storm.load(Ordering::Relaxed);
        if CAUGHT_UP.replace(looks) != looks {
            self.share_again();
        }
    }

    /// A thread of players has nothing to do.
    pub fn players_idle(&self) {
        if !JOINED.replace(true)
            && let Ok(worker) = Worker::this()
        {
            self.players.0.lock().push(worker);
        }
    }

    /// This thread ends.
    pub fn leave(&self) {
        let thread = gettid();
        for crew in [&self.checks, &self.players] {
            crew.0.lock().retain(|worker| worker.thread != thread);
        }
    }

    fn join_checks(&self) {
        let Ok(worker) = Worker::this() else {
            return;
        };
        let mut workers = self.checks.0.lock();
        if self.first.load(Ordering::Relaxed)
            && let Err(error) = scheduling::go_first(worker.thread, CHECKS_PRIORITY)
        {
            self.refuse(&error);
        }
        workers.push(worker);
    }

    /// The calling thread went first in a storm and has caught up.
    fn share_again(&self) {
        let _workers = self.checks.0.lock();
        if !self.first.load(Ordering::Relaxed)
            && let Err(error) = scheduling::share(gettid())
        {
            self.refuse(&error);
        }
    }

    fn run(&self) {
        if let Err(error) = permitted() {
            return self.refuse(&error);
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let begun = Instant::now();
        let mut watch = Watch {
            budget: Budget::new(self.percent, processors),
            storm: Storm::default(),
            waited_ns: 0,
            work: PlayersWork::default(),
        };
        while !self.stopping.load(Ordering::Acquire) {
            let now_ns = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.look(now_ns, &mut watch);
            std::thread::park_timeout(LOOK);
        }
        self.set_first(false);
    }

    /// Compares what was used with the budget, looks for a storm at the end of a window, and sets who goes first.
    fn look(&self, now_ns: u64, watch: &mut Watch) {
        let verdict = watch.budget.look(now_ns, self.checks.sums().used_ns);
        self.spent_windows
            .fetch_add(u64::from(verdict.just_spent), Ordering::Relaxed);
        if let Some(span_ns) = verdict.ended_ns {
            self.look_for_a_storm(span_ns, watch);
        }
        self.set_first(verdict.first && !watch.storm.is_on());
        if watch.storm.is_on() {
            if verdict.first {
                self.catch_up();
            } else if verdict.just_spent {
                self.schedule(&self.checks.0.lock(), false);
            }
        }
    }

    /// Lets each thread of checks go first until it has nothing more to do.
    fn catch_up(&self) {
        let workers = self.checks.0.lock();
        self.looks_in_storm.fetch_add(1, Ordering::Relaxed);
        self.schedule(&workers, true);
    }

    fn look_for_a_storm(&self, span_ns: u64, watch: &mut Watch) {
        let players = self.players.sums();
        let work = self.work.lock().as_ref().map(|work| work()).unwrap_or_default();
        let seen = Seen {
            waiting: players.waited_ns.saturating_sub(watch.waited_ns) as f64 / span_ns as f64,
            threads: players.threads,
            bulk_units: work.bulk_units.saturating_sub(watch.work.bulk_units),
            players_units: work.all_units.saturating_sub(watch.work.all_units),
            keeps_back: work.waiting > 0,
        };
        (watch.waited_ns, watch.work) = (players.waited_ns, work);
        watch.storm.see(seen);
        self.storm.store(watch.storm.is_on(), Ordering::Relaxed);
    }

    fn set_first(&self, first: bool) {
        let workers = self.checks.0.lock();
        if self.first.swap(first, Ordering::Relaxed) == first {
            return;
        }
        self.schedule(&workers, first);
    }

    fn schedule(&self, workers: &[Worker], first: bool) {
        for worker in workers {
            let set = if first {
                scheduling::go_first(worker.thread, CHECKS_PRIORITY)
            } else {
                scheduling::share(worker.thread)
            };
            if let Err(error) = set {
                self.refuse(&error);
            }
        }
    }

    fn refuse(&self, error: &io::Error) {
        let reason = error.to_string();
        tracing::info!(
            reason,
            "token checks share the processors with other work: no real-time priority (LimitRTPRIO=2 in the unit permits it)"
        );
        *self.refused.lock() = Some(reason);
        self.stopping.store(true, Ordering::Release);
    }
}

impl Crew {
    fn sums(&self) -> Sums {
        let workers = self.0.lock();
        let mut sums = Sums {
            threads: workers.len(),
            ..Sums::default()
        };
        for (used_ns, waited_ns) in workers.iter().filter_map(Worker::read) {
            sums.used_ns += used_ns;
            sums.waited_ns += waited_ns;
        }
        sums
    }
}

impl Worker {
    /// The calling thread.
    fn this() -> io::Result<Self> {
        let thread = gettid();
        let schedstat = File::open(format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero()))?;
        Ok(Self { thread, schedstat })
    }

    /// Nanoseconds on a processor, and waiting for one.
    fn read(&self) -> Option<(u64, u64)> {
        let mut buffer = [0; 96];
        let length = self.schedstat.read_at(&mut buffer, 0).ok()?;
        let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

/// May this process have what it needs? Takes the priority of the watching thread.
fn permitted() -> io::Result<()> {
    if rustix::process::getrlimit(Resource::Rttime).current.is_some() {
        return Err(io::Error::other(
            "the time of real-time threads is limited (RLIMIT_RTTIME), past which the kernel ends a process",
        ));
    }
    if Worker::this().ok().and_then(|this| this.read()).is_none() {
        return Err(io::Error::other("the kernel does not say what threads use (schedstat)"));
    }
    scheduling::go_first(gettid(), WATCH_PRIORITY)
}

#[cfg(test)]
mod tests;
