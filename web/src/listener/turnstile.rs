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

use self::queue::{Queue, Waiter};
use super::transport::OverSocket;
use crate::admission::{Class, PerClass};

mod queue;

/// Where a connection waits: with the game it was answered for last, among those who ask again and again for something of that class.
/// What a caller only says gives it no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// As [`Tenant::code`](crate::admission::Tenant); 0 before the first answer.
    pub(crate) tenant: u64,
    /// One that can be shed.
    pub(crate) class: Class,
}

impl Line {
    /// Who was not answered yet.
    pub(crate) const NEW: Line = Line {
        tenant: 0,
        class: Class::Refresh,
    };
    /// TLS handshakes, which have a queue beside those of the tenants.
    pub(super) const HANDSHAKES: Line = Line {
        tenant: u64::MAX,
        class: Class::Refresh,
    };
}

/// What admission says about turns.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    /// All may begin at once.
    pub(crate) is_off: bool,
    /// Guaranteed shares in percent.
    pub(crate) shares: PerClass<u8>,
}

/// Lets work begin.
pub(super) struct Turnstile {
    state: Mutex<State>,
    /// What may begin in a round, in requests.
    per_round: usize,
    /// A round is to begin.
    wanted: Notify,
    /// How many wait.
    count: Gauge,
    rules: Box<dyn Fn() -> Rules + Send + Sync>,
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
    line: Line,
    number: u64,
    since: Instant,
}

impl Turnstile {
    /// For as much as `per_round` requests in a round, as the `rules` of the moment say; `count` shows how many wait.
    pub(super) fn new(per_round: usize, count: Gauge, rules: impl Fn() -> Rules + Send + Sync + 'static) -> Arc<Self> {
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
            rules: Box::new(rules),
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
        let (mut wakers, shares) = (Vec::new(), (self.rules)().shares);
        let has_more = {
            let mut state = self.state.lock();
            state.left = self.per_round;
            let now = Instant::now();
            while state.left > 0
                && let Some(waiter) = state.next(now, &shares)
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
    fn enter(&self, waker: &Waker, line: Line, weight: usize) -> Option<Ticket> {
        if (self.rules)().is_off {
            return None;
        }
        let (ticket, is_wanted) = {
            let mut state = self.state.lock();
            let ticket = if state.left > 0 {
                state.left = state.left.saturating_sub(weight);
                None
            } else {
                self.count.inc();
                Some(state.wait(waker.clone(), line, weight))
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
    fn wait(&mut self, waker: Waker, line: Line, weight: usize) -> Ticket {
        let (number, since) = (self.next_number, Instant::now());
        self.next_number += 1;
        let waiter = Waiter { waker, since, weight };
        let queue = self.queues.entry(line.tenant).or_default();
        queue.add(line.class, number, waiter);
        Ticket { line, number, since }
    }

    /// Whose turn it is. Ends, for each queue passed over owes one turn less.
    fn next(&mut self, now: Instant, shares: &PerClass<u8>) -> Option<Waiter> {
        loop {
            let after = self.queues.range((Excluded(self.last_tenant), Unbounded)).next();
            let tenant = *after.or_else(|| self.queues.first_key_value())?.0;
            self.last_tenant = tenant;
            let queue = self.queues.get_mut(&tenant)?;
            if queue.leaves_turn() {
                continue;
            }
            let next = queue.next(now, shares);
            if queue.is_empty() {
                self.queues.remove(&tenant);
            }
            return next;
        }
    }

    /// Does somebody wait with this ticket? Then `waker` is the one to be woken.
    fn waits(&mut self, ticket: Ticket, waker: &Waker) -> bool {
        let queue = self.queues.get_mut(&ticket.line.tenant);
        let waiter = queue.and_then(|queue| queue.find(ticket.line.class, ticket.number));
        waiter.is_some_and(|waiter| {
            waiter.waker.clone_from(waker);
            true
        })
    }

    /// Who waits with it gives up; whether somebody did.
    fn leave(&mut self, ticket: Ticket) -> bool {
        let Some(queue) = self.queues.get_mut(&ticket.line.tenant) else {
            return false;
        };
        let has_waited = queue.remove(ticket.line.class, ticket.number);
        if queue.is_empty() {
            self.queues.remove(&ticket.line.tenant);
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
            ticket: None,
        }
    }

    /// Does it wait?
    pub(super) fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }

    /// Whether work may begin that has its place in this line, and for how long it waited for that. The task is woken when it may.
    pub(super) fn poll_pass(&mut self, cx: &Context<'_>, line: Line) -> Poll<Duration> {
        let Some(ticket) = self.ticket else {
            self.ticket = self.turnstile.enter(cx.waker(), line, self.weight);
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
        line: Line,
        stream: &mut S,
    ) -> Poll<Option<Duration>> {
        if let Poll::Ready(waited) = self.poll_pass(cx, line) {
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
