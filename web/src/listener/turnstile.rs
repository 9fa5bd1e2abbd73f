//! Where the work of players begins, so much in a round of their threads. What has begun, and what the store and the hash
//! pool have done for it, then waits for one round at most, however many connections have something to be read. The others
//! wait here with nothing read: games by turns, and of each the last to come first, for those before it are the likeliest to
//! have given up. See decisions/0819-players-begin-in-turns.md.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Of so many turns one is for who came first, once it has waited for [`OLD`].
const OLDEST_OF: u64 = 5;
/// From here on a request has waited for long: its client is told something before it gives up.
const OLD: Duration = Duration::from_secs(1);

/// Lets work begin.
pub(super) struct Turnstile {
    state: Mutex<State>,
    /// What may begin in a round, in requests.
    per_round: usize,
    /// A round is to begin.
    wanted: Notify,
    /// How many wait.
    count: Gauge,
    /// Whether all may begin at once.
    is_off: Box<dyn Fn() -> bool + Send + Sync>,
}

struct State {
    /// What may still begin in this round.
    left: usize,
    /// Is the next round under way?
    is_wanted: bool,
    /// Turns given so far to who waited, and places.
    turns: u64,
    places: u64,
    /// By tenant, and by when they came.
    waiting: BTreeMap<u64, BTreeMap<u64, Waiter>>,
    /// Whose turn it was last.
    last_tenant: u64,
}

struct Waiter {
    waker: Waker,
    since: Instant,
    weight: usize,
}

/// One connection's way through.
pub(super) struct Entry {
    turnstile: Arc<Turnstile>,
    /// How much work is to begin, in requests.
    weight: usize,
    place: Option<Place>,
}

/// Where a connection waits, and since when.
#[derive(Clone, Copy)]
struct Place {
    tenant: u64,
    number: u64,
    since: Instant,
}

impl Turnstile {
    /// For as much as `per_round` requests in a round, unless it `is_off`; `count` shows how many wait.
    pub(super) fn new(per_round: usize, count: Gauge, is_off: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Turnstile {
            state: Mutex::new(State {
                left: per_round,
                is_wanted: false,
                turns: 0,
                places: 0,
                waiting: BTreeMap::new(),
                last_tenant: 0,
            }),
            per_round,
            wanted: Notify::new(),
            count,
            is_off: Box::new(is_off),
        })
    }

    /// Begins rounds for ever. Must not run on the threads of `players`: what comes from elsewhere has its place there behind
    /// what the store and the hash pool have sent before, and that is what a round is.
    pub(super) async fn attend(self: Arc<Self>, players: Handle) {
        loop {
            self.wanted.notified().await;
            loop {
                // Ends early only with the runtime.
                let _ = players.spawn(async {}).await;
                if !self.begin_round() {
                    break;
                }
            }
        }
    }

    /// Lets the next begin; are there more?
    pub(super) fn begin_round(&self) -> bool {
        let mut wakers = Vec::new();
        let has_more = {
            let mut state = self.state.lock();
            state.left = self.per_round;
            let now = Instant::now();
            while state.left > 0
                && let Some(waiter) = state.next(now)
            {
                state.left = state.left.saturating_sub(waiter.weight);
                wakers.push(waiter.waker);
            }
            state.is_wanted = !state.waiting.is_empty();
            state.is_wanted
        };
        self.count.dec_by(i64::try_from(wakers.len()).unwrap_or(i64::MAX));
        wakers.into_iter().for_each(Waker::wake);
        has_more
    }

    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> i64 {
        self.count.get()
    }

    /// Work begins, or else waits at the place that is given.
    fn enter(&self, cx: &Context<'_>, tenant: u64, weight: usize) -> Option<Place> {
        if (self.is_off)() {
            return None;
        }
        let (place, is_wanted) = {
            let mut state = self.state.lock();
            let place = if state.left > 0 {
                state.left = state.left.saturating_sub(weight);
                None
            } else {
                self.count.inc();
                Some(state.wait(cx.waker().clone(), tenant, weight))
            };
            // The next round is asked for in time, not with each request.
            let is_wanted = !state.is_wanted && state.left < self.per_round.div_ceil(2);
            state.is_wanted |= is_wanted;
            (place, is_wanted)
        };
        if is_wanted {
            self.wanted.notify_one();
        }
        place
    }
}

impl State {
    fn wait(&mut self, waker: Waker, tenant: u64, weight: usize) -> Place {
        let (number, since) = (self.places, Instant::now());
        self.places += 1;
        let waiter = Waiter { waker, since, weight };
        self.waiting.entry(tenant).or_default().insert(number, waiter);
        Place { tenant, number, since }
    }

    /// Whose turn it is.
    fn next(&mut self, now: Instant) -> Option<Waiter> {
        let after = self.waiting.range((Excluded(self.last_tenant), Unbounded)).next();
        let tenant = *after.or_else(|| self.waiting.first_key_value())?.0;
        let own = self.waiting.get_mut(&tenant)?;
        let is_old = |first: &Waiter| now.saturating_duration_since(first.since) > OLD;
        let is_for_oldest =
            self.turns.is_multiple_of(OLDEST_OF) && own.first_key_value().is_some_and(|(_, first)| is_old(first));
        let next = if is_for_oldest { own.pop_first() } else { own.pop_last() };
        if own.is_empty() {
            self.waiting.remove(&tenant);
        }
        self.last_tenant = tenant;
        self.turns += 1;
        next.map(|(_, waiter)| waiter)
    }

    /// Does somebody wait at this place?
    fn is_taken(&self, place: Place) -> bool {
        let own = self.waiting.get(&place.tenant);
        own.is_some_and(|own| own.contains_key(&place.number))
    }

    /// Who waits there gives up; whether somebody did.
    fn leave(&mut self, place: Place) -> bool {
        let Some(own) = self.waiting.get_mut(&place.tenant) else {
            return false;
        };
        let has_waited = own.remove(&place.number).is_some();
        if own.is_empty() {
            self.waiting.remove(&place.tenant);
        }
        has_waited
    }
}

impl Entry {
    /// For work as much as `weight` requests.
    pub(super) fn new(turnstile: &Arc<Turnstile>, weight: usize) -> Self {
        Entry {
            turnstile: Arc::clone(turnstile),
            weight,
            place: None,
        }
    }

    /// Does it wait?
    pub(super) fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    /// Whether work for `tenant` may begin, and for how long it waited for that. The task is woken when it may.
    pub(super) fn poll_pass(&mut self, cx: &Context<'_>, tenant: u64) -> Poll<Duration> {
        match self.place {
            Some(place) if self.turnstile.state.lock().is_taken(place) => return Poll::Pending,
            Some(place) => {
                self.place = None;
                return Poll::Ready(place.since.elapsed());
            }
            None => self.place = self.turnstile.enter(cx, tenant, self.weight),
        }
        match self.place {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Duration::ZERO),
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.turnstile.state.lock().leave(place)
        {
            self.turnstile.count.dec();
        }
    }
}

#[cfg(test)]
mod tests;
