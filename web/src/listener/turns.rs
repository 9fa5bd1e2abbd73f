//! Turns for work that only so many may do at a time. Whoever came last has the next turn: after a storm the first in the
//! queue are the likeliest to have given up, and serving them would keep the others waiting until they have given up too.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Places, and those who wait for one.
pub(super) struct Turns {
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// By when they came, so that one that gives up is found.
    waiting: BTreeMap<u64, oneshot::Sender<Place>>,
    next: u64,
}

/// A place, given back when it is dropped.
pub(super) struct Place(Arc<Turns>);

/// One that waits; leaves the queue when it is dropped.
struct Waiting<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    /// For at most `places_max` at a time.
    pub(super) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Turns {
            state: Mutex::new(State {
                free: places_max,
                waiting: BTreeMap::new(),
                next: 0,
            }),
        })
    }

    /// Waits for a place. There is no deadline here; a caller that stops waiting is forgotten.
    pub(super) async fn take(self: &Arc<Self>) -> Place {
        loop {
            let (number, turn) = {
                let mut state = self.state.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Place(Arc::clone(self));
                }
                let (sender, turn) = oneshot::channel();
                let number = state.next;
                state.next += 1;
                state.waiting.insert(number, sender);
                (number, turn)
            };
            let _waiting = Waiting { turns: self, number };
            // The sender is dropped only with all turns, or by this very caller; there is nothing to wait for then.
            if let Ok(place) = turn.await {
                return place;
            }
        }
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.state.lock().waiting.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let last = {
            let mut state = self.0.state.lock();
            let last = state.waiting.pop_last();
            if last.is_none() {
                state.free += 1;
            }
            last
        };
        if let Some((_, sender)) = last {
            // To one that has given up meanwhile it cannot be handed; dropped, it goes to the next.
            drop(sender.send(Place(Arc::clone(&self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_last_to_come_has_the_next_turn() {
        let turns = Turns::new(1);
        let holder = turns.take().await;
        let (mut first, mut second) = (pin!(turns.take()), pin!(turns.take()));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        drop(holder);
        assert!(first.as_mut().now_or_never().is_none(), "the last goes first");
        let place = second.as_mut().now_or_never().expect("its turn");
        drop(place);
        assert!(first.as_mut().now_or_never().is_some(), "the first is not forgotten");
    }

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_queue_and_keeps_no_place() {
        let turns = Turns::new(1);
        let holder = turns.take().await;
        let mut patient = pin!(turns.take());
        assert!(patient.as_mut().now_or_never().is_none());
        {
            let mut hasty = pin!(turns.take());
            assert!(hasty.as_mut().now_or_never().is_none());
            assert_eq!(turns.waiting(), 2);
        }
        assert_eq!(turns.waiting(), 1, "it left");
        let mut late = Box::pin(turns.take());
        assert!(late.as_mut().now_or_never().is_none());
        drop(holder);
        // Its turn has come, and it gives up before it has noticed.
        drop(late);
        assert!(patient.as_mut().now_or_never().is_some(), "the place goes on");
        assert_eq!(turns.state.lock().free, 1);
    }
}
