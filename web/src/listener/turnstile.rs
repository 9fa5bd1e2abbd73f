//! Where the work of players begins, so much in a round of their threads. What has begun, and what the store and the hash
//! pool have done for it, then waits for about one round, however many connections have something to be read. The others
//! wait here: games by turns, and of each the last to come first, for those before it are the likeliest to have given up.
//! See decisions/0819-players-begin-in-turns.md.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::transport::OverSocket;

/// Of so many turns of a game one is for who came first, once it has waited for [`OLD`].
const OLDEST_OF: u64 = 5;
/// From here on a request has waited for long: its client is told something before it gives up.
const OLD: Duration = Duration::from_secs(1);
/// The queue of TLS handshakes, beside those of the tenants.
pub(super) const HANDSHAKES: u64 = u64::MAX;

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
    /// Number of the next to come.
    next_number: u64,
    /// Of whom somebody waits, by tenant.
    queues: BTreeMap<u64, Queue>,
    /// Whose turn it was last.
    last_tenant: u64,
}

/// Those of one tenant.
#[derive(Default)]
struct Queue {
    /// By when they came.
    waiting: BTreeMap<u64, Waiter>,
    /// Turns so far.
    turns: u64,
    /// Turns to be left to the others, for the last was more work than a request.
    owes: usize,
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
    ticket: Option<Ticket>,
}

/// Where something waits, and since when.
#[derive(Clone, Copy)]
struct Ticket {
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
                next_number: 0,
                queues: BTreeMap::new(),
                last_tenant: 0,
            }),
            per_round,
            wanted: Notify::new(),
            count,
            is_off: Box::new(is_off),
        })
    }

    /// Begins rounds for ever. On other threads than those of `players`: what comes from elsewhere has its place there behind
    /// what the store and the hash pool have sent before, and that is what a round is. On the same ones rounds are shorter.
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
            state.is_wanted = !state.queues.is_empty();
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

    /// Work begins, or else the task is to wait with this ticket.
    fn enter(&self, waker: &Waker, tenant: u64, weight: usize) -> Option<Ticket> {
        if (self.is_off)() {
            return None;
        }
        let (ticket, is_wanted) = {
            let mut state = self.state.lock();
            let ticket = if state.left > 0 {
                state.left = state.left.saturating_sub(weight);
                None
            } else {
                self.count.inc();
                Some(state.wait(waker.clone(), tenant, weight))
            };
            // The next round is asked for in time, not with each request.
            let is_wanted = !state.is_wanted && state.left < self.per_round.div_ceil(2);
            state.is_wanted |= is_wanted;
            (ticket, is_wanted)
        };
        if is_wanted {
            self.wanted.notify_one();
        }
        ticket
    }
}

impl State {
    fn wait(&mut self, waker: Waker, tenant: u64, weight: usize) -> Ticket {
        let (number, since) = (self.next_number, Instant::now());
        self.next_number += 1;
        let waiter = Waiter { waker, since, weight };
        self.queues.entry(tenant).or_default().waiting.insert(number, waiter);
        Ticket { tenant, number, since }
    }

    /// Whose turn it is. Ends, for each queue passed over owes one turn less.
    fn next(&mut self, now: Instant) -> Option<Waiter> {
        loop {
            let after = self.queues.range((Excluded(self.last_tenant), Unbounded)).next();
            let tenant = *after.or_else(|| self.queues.first_key_value())?.0;
            self.last_tenant = tenant;
            let queue = self.queues.get_mut(&tenant)?;
            if let Some(owes) = queue.owes.checked_sub(1) {
                queue.owes = owes;
                continue;
            }
            let next = queue.next(now);
            if queue.waiting.is_empty() {
                self.queues.remove(&tenant);
            }
            return next;
        }
    }

    /// Does somebody wait with this ticket? Then `waker` is the one to be woken.
    fn waits(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        let queue = self.queues.get_mut(&ticket.tenant);
        let waiter = queue.and_then(|queue| queue.waiting.get_mut(&ticket.number));
        waiter.is_some_and(|waiter| {
            waiter.waker.clone_from(waker);
            true
        })
    }

    /// Who waits with it gives up; whether somebody did.
    fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(queue) = self.queues.get_mut(&ticket.tenant) else {
            return false;
        };
        let has_waited = queue.waiting.remove(&ticket.number).is_some();
        if queue.waiting.is_empty() {
            self.queues.remove(&ticket.tenant);
        }
        has_waited
    }
}

impl Queue {
    fn next(&mut self, now: Instant) -> Option<Waiter> {
        let is_old = |first: &Waiter| now.saturating_duration_since(first.since) > OLD;
        let is_for_oldest = self.turns.is_multiple_of(OLDEST_OF)
            && self.waiting.first_key_value().is_some_and(|(_, first)| is_old(first));
        let next = if is_for_oldest {
            self.waiting.pop_first()
        } else {
            self.waiting.pop_last()
        };
        let (_, waiter) = next?;
        self.turns += 1;
        self.owes = waiter.weight.saturating_sub(1);
        Some(waiter)
    }
}

impl Entry {
    /// For work as much as `weight` requests.
    pub(super) fn new(turnstile: &Arc<Turnstile>, weight: usize) -> Self {
        Entry {
            turnstile: Arc::clone(turnstile),
            weight,
            ticket: None,
        }
    }

    /// Does it wait?
    pub(super) fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }

    /// Whether work for `tenant` may begin, and for how long it waited for that. The task is woken when it may.
    pub(super) fn poll_pass(&mut self, cx: &Context<'_>, tenant: u64) -> Poll<Duration> {
        let Some(ticket) = self.ticket else {
            self.ticket = self.turnstile.enter(cx.waker(), tenant, self.weight);
            return match self.ticket {
                Some(_) => Poll::Pending,
                None => Poll::Ready(Duration::ZERO),
            };
        };
        if self.turnstile.state.lock().waits(ticket, cx.waker()) {
            return Poll::Pending;
        }
        self.ticket = None;
        Poll::Ready(ticket.since.elapsed())
    }

    /// As [`Entry::poll_pass`], for what has come over `stream`; none when its client leaves while it waits.
    pub(super) fn poll_pass_over<S: OverSocket>(
        &mut self,
        cx: &mut Context<'_>,
        tenant: u64,
        stream: &mut S,
    ) -> Poll<Option<Duration>> {
        if let Poll::Ready(waited) = self.poll_pass(cx, tenant) {
            return Poll::Ready(Some(waited));
        }
        while let Poll::Ready(arrived) = stream.poll_arrived(cx) {
            if !arrived || stream.has_ended() {
                self.give_up();
                return Poll::Ready(None);
            }
            if !stream.hush() {
                break;
            }
        }
        Poll::Pending
    }

    /// Waits no more.
    pub(super) fn give_up(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && self.turnstile.state.lock().leave(ticket)
        {
            self.turnstile.count.dec();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests;
