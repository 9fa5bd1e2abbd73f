//! Slow dependencies: a store whose writes wait, and a pool whose hashes take as long as a test wants.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};

use parking_lot::Mutex;

use super::{CHEAP, World, operator};
use crate::error::Error;
use crate::ports::{HashAsk, HashMemory, HashOutcome, HashPool};

/// Holds every write of a store from its beginning until it is dropped, as a stalled disk does.
pub struct HeldStore {
    _release: mpsc::Sender<()>,
}

impl World {
    /// From now on writes wait, until what is returned is dropped.
    #[must_use]
    pub fn hold_store(&self) -> HeldStore {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        let stamp = self.platform.stamp(&operator(), "test.hold");
        let held = self.store.write(stamp, move |_| {
            let _ = begin.send(());
            let _ = released.recv();
            Ok::<(), Error>(())
        });
        drop(held);
        // Fails only when the store is gone, which then writes nothing either.
        let _ = begun.recv();
        HeldStore { _release: release }
    }
}

/// What a held hash comes to, and who is woken then.
#[derive(Default)]
struct Outcome {
    known: Option<HashOutcome>,
    waker: Option<Waker>,
}

/// A pool that has begun every hash it was asked for, and ends none until told.
#[derive(Default)]
pub struct HeldPool {
    held: Mutex<VecDeque<(HashAsk, Arc<Mutex<Outcome>>)>>,
}

impl HeldPool {
    /// How many hashes are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.lock().len()
    }

    /// Ends the oldest; answers how long its caller said it would wait, in milliseconds.
    pub fn release_one(&self) -> Option<u64> {
        let (ask, outcome) = self.held.lock().pop_front()?;
        let known = (ask.job)(&mut HashMemory::for_cost(CHEAP));
        let mut outcome = outcome.lock();
        outcome.known = Some(known);
        if let Some(waker) = outcome.waker.take() {
            waker.wake();
        }
        ask.deadline_ms
    }
}

impl HashPool for HeldPool {
    fn run(&self, ask: HashAsk) -> Pin<Box<dyn Future<Output = Result<HashOutcome, Error>> + Send>> {
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        self.held.lock().push_back((ask, Arc::clone(&outcome)));
        Box::pin(poll_fn(move |cx| {
            let mut outcome = outcome.lock();
            match outcome.known.take() {
                Some(known) => Poll::Ready(Ok(known)),
                None => {
                    outcome.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }

    fn is_idle(&self) -> bool {
        true
    }
}
