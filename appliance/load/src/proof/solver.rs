//! Does the work for many clients: a few threads that stand back, and a bound on what waits for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{Challenge, Proof};

/// Threads that search.
pub const THREADS: usize = 2;
/// Challenges that are out at most: waiting, being worked on, or done and not taken. A client beyond them gets no proof now, and
/// comes again by its rules; at some milliseconds each those in front of it take the loader's one processor for seconds.
pub const QUEUE_MAX: usize = 1_024;
/// How far the threads stand back. The loop does not sleep while calls are due; beside it they get a tenth of its processor each,
/// not nothing, and all of it while the loop sleeps.
const NICE: i32 = 10;

/// A challenge whose work has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// Whose it is.
    pub slot: usize,
    /// The proof; `None` when the challenge ended before the number was found.
    pub proof: Option<Proof>,
}

struct Job {
    slot: usize,
    challenge: Challenge,
    until: Instant,
}

/// Threads and the ways to and from them.
struct Threads {
    jobs: Sender<Job>,
    done: Receiver<Done>,
    handles: Vec<JoinHandle<()>>,
}

/// Solves challenges. Its threads begin with the first one, with the processors of the thread that brings it, and end when it is
/// dropped, whatever they work on.
#[derive(Default)]
pub struct Solver {
    threads: Option<Threads>,
    out: usize,
    stop: Arc<AtomicBool>,
}

impl Solver {
    /// Takes a challenge that came at `now` for the client on `slot`, which has no other one out. `false` when there is no room, or
    /// no thread can begin.
    #[must_use]
    pub fn submit(&mut self, slot: usize, challenge: Challenge, now: Instant) -> bool {
        if self.out >= QUEUE_MAX {
            return false;
        }
        if self.threads.is_none() {
            self.threads = start(&self.stop);
        }
        let until = now + challenge.lives;
        let job = Job { slot, challenge, until };
        let is_taken = self
            .threads
            .as_ref()
            .is_some_and(|threads| threads.jobs.send(job).is_ok());
        self.out += usize::from(is_taken);
        is_taken
    }

    /// A challenge whose work has ended, if there is one; does not wait.
    pub fn take(&mut self) -> Option<Done> {
        if self.out == 0 {
            return None;
        }
        let done = self.threads.as_ref()?.done.try_recv().ok()?;
        self.out -= 1;
        Some(done)
    }

    /// Challenges that are out.
    #[must_use]
    pub fn out(&self) -> usize {
        self.out
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Threads { jobs, done, handles }) = self.threads.take() {
            drop((jobs, done));
            for handle in handles {
                let _ = handle.join();
            }
        }
    }
}

fn start(stop: &Arc<AtomicBool>) -> Option<Threads> {
    let (jobs, waiting) = channel();
    let (told, done) = channel();
    let waiting = Arc::new(Mutex::new(waiting));
    let handles: Vec<JoinHandle<()>> = (0..THREADS)
        .filter_map(|_| {
            let (waiting, told, stop) = (Arc::clone(&waiting), told.clone(), Arc::clone(stop));
            let named = std::thread::Builder::new().name("proofs".into());
            named.spawn(move || work(&waiting, &told, &stop)).ok()
        })
        .collect();
    (!handles.is_empty()).then_some(Threads { jobs, done, handles })
}

/// Works until nobody brings anything any more; whoever brings it says so by letting go of its end.
fn work(waiting: &Mutex<Receiver<Job>>, done: &Sender<Done>, stop: &AtomicBool) {
    // Of this thread alone. Where it may not stand back the calls are late, which the loader measures.
    let _ = rustix::process::setpriority_process(None, NICE);
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { slot, challenge, until }) = next else {
            return;
        };
        let proof = challenge.solve(|| !stop.load(Ordering::Relaxed) && Instant::now() < until);
        if done.send(Done { slot, proof }).is_err() {
            return;
        }
    }
}
