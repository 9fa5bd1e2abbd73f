//! The load generator: one thread, non-blocking sockets, requests that are prepared as bytes.
//!
//! - **Closed loop** ([`Arrival::Closed`]): each of the connections asks again as soon as it is answered. Good for peaks; it says
//!   nothing about latency, because a server that stalls is simply asked less often.
//! - **Open loop** ([`Arrival::Constant`], [`Arrival::Poisson`]): calls have intended times that do not depend on the server, and
//!   latency counts from there. A call that finds no free connection waits, and its wait counts.
//!
//! Who calls and what is [`Callers`]: one request, or the whole sequence of a simulated client (log in, refresh, verify, wait, try
//! again). The generator measures its own lateness, for a loader that is late proves nothing about the server. Loads of several kinds,
//! each with its own connections and its own figures, run side by side on the one thread ([`run_together`]).
//!
//! [`client_rules`] says what a client does with an answer; [`storm`] are thousands of such clients; [`service`] is whom they call;
//! [`proof`] does the work that a server may ask of them, on threads beside the one.
//! The crate knows no other part of the product: what it says to a server is what a client says.

pub mod calls;
pub mod client_rules;
mod connection;
pub mod dice;
mod engine;
pub mod proof;
mod schedule;
pub mod service;
pub mod storm;
mod tls;
mod wire;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub use engine::{Part, hold, run, run_together};
use schedule::Schedule;
pub use tls::TlsClient;
pub use wire::Answer;

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(120);
/// Wrong answers kept to be shown.
const EXAMPLES_MAX: usize = 3;
/// A loader later than this share of the measured p99 has proven nothing.
const LATE_SHARE_MAX: f64 = 0.05;
/// Lateness below this never voids a run.
const LATE_ALLOWED: Duration = Duration::from_micros(50);

/// Where the load goes.
#[derive(Clone)]
pub struct Target {
    /// Address of the server.
    pub address: SocketAddr,
    /// TLS instead of plain.
    pub tls: Option<TlsClient>,
    /// Loopback addresses to call from, 127.0.0.1 upwards, so that neither ports nor a limit per address end first.
    pub sources: u8,
}

impl Target {
    /// Plain HTTP, from one address.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            tls: None,
            sources: 1,
        }
    }

    /// The same target called from this many loopback addresses.
    #[must_use]
    pub fn with_sources(self, sources: u8) -> Self {
        Self { sources, ..self }
    }
}

/// When calls begin.
#[derive(Debug, Clone, Copy)]
pub enum Arrival {
    /// At once when the one before on the same connection ended.
    Closed,
    /// Evenly, so many a second.
    Constant(f64),
    /// At random, so many a second on average; equal seeds give equal times.
    Poisson {
        /// Calls a second on average.
        rate: f64,
        /// Seed of the times.
        seed: u64,
    },
}

impl Arrival {
    /// How many calls are intended within a time; 0 of a closed loop.
    #[must_use]
    pub fn count_within(self, span: Duration) -> u64 {
        let times = Schedule::new(self).into_iter().flatten();
        times.take_while(|at| *at < span).map(|_| 1).sum()
    }
}

/// How long a connection lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// For the whole run.
    Kept,
    /// For one call, or one client's sequence.
    PerCall,
    /// Only until the handshake is done; nothing is sent.
    Handshake,
}

/// One run.
#[derive(Clone)]
pub struct Plan {
    /// Whom to call.
    pub target: Target,
    /// Connections at most.
    pub connections: usize,
    /// How long each lives.
    pub life: Life,
    /// When calls begin.
    pub arrival: Arrival,
    /// Calls that begin in this time at first are answered but not counted.
    pub warm_up: Duration,
    /// How long to measure.
    pub span: Duration,
    /// End after so many calls, warm-up included; 0 for no such end.
    pub calls_max: u64,
    /// How long to wait for answers that are still out when the time is over; open loop and `calls_max` only.
    pub patience: Duration,
    /// How long a call of an open loop waits for a free connection before it is given up; for ever when none is said. A crowd
    /// of which each has its own connection asks nothing while it waits for an answer.
    pub waits_max: Option<Duration>,
}

impl Plan {
    /// A closed loop over kept connections.
    #[must_use]
    pub fn closed(target: Target, connections: usize, span: Duration) -> Self {
        Self {
            target,
            connections,
            life: Life::Kept,
            arrival: Arrival::Closed,
            warm_up: Duration::from_millis(300),
            span,
            calls_max: 0,
            patience: Duration::from_secs(10),
            waits_max: None,
        }
    }

    /// An open loop over at most this many connections.
    #[must_use]
    pub fn open(target: Target, connections: usize, arrival: Arrival, span: Duration) -> Self {
        Self {
            arrival,
            ..Self::closed(target, connections, span)
        }
    }

    /// Exactly so many calls, as fast as they are answered; for making accounts and the like.
    #[must_use]
    pub fn exactly(target: Target, connections: usize, calls: u64) -> Self {
        Self {
            warm_up: Duration::ZERO,
            calls_max: calls,
            ..Self::closed(target, connections, Duration::from_secs(600))
        }
    }

    /// The same plan with another life of its connections.
    #[must_use]
    pub fn with_life(self, life: Life) -> Self {
        Self { life, ..self }
    }
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Right.
    Ok,
    /// An expected refusal, with a time to come again.
    Refused,
    /// Anything else.
    Wrong,
}

/// What a caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Its call or sequence is over; the connection is free.
    Done,
    /// It wrote another request, which goes out at once.
    Send,
    /// It comes again after this time, by [`Callers::resume`]; its connection stays its own.
    Wait(Duration),
    /// It works on its own until [`Callers::ready`] names it; its connection stays its own.
    Work,
}

/// Who calls and what: prepared requests, or simulated clients that react to answers. A slot is a connection's place, 0 up to
/// [`Plan::connections`]; a caller holds one from [`begin`](Callers::begin) to [`Next::Done`].
pub trait Callers {
    /// A call, or a client's sequence, begins on `slot`: append its first request to `out`.
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>);

    /// The same, told from when its latency counts: its intended time in an open loop.
    fn begin_at(&mut self, slot: usize, _since: Instant, out: &mut Vec<u8>) {
        self.begin(slot, out);
    }

    /// It was answered. With [`Next::Send`] the next request has been appended to `out`.
    fn answered(&mut self, slot: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next);

    /// Its wait is over: append the next request to `out`.
    fn resume(&mut self, _slot: usize, _out: &mut Vec<u8>) {}

    /// A caller whose own work ([`Next::Work`]) has ended, and what it does next; asked until there is none. With [`Next::Send`] its request
    /// is what it writes by [`resume`](Callers::resume).
    fn ready(&mut self) -> Option<(usize, Next)> {
        None
    }

    /// Whether somebody works on its own: the loop then leaves the processor to it in moments in which nothing is due.
    fn is_working(&self) -> bool {
        false
    }

    /// Its connection was refused or lost while it waited for an answer, or it waited longer than it [waits](Callers::waits_for).
    fn lost(&mut self, _slot: usize) -> Next {
        Next::Done
    }

    /// How long it waits for the answer to what it has just written; `None` for as long as the run.
    fn waits_for(&self, _slot: usize) -> Option<Duration> {
        None
    }

    /// Whether the run may end before its time, because nobody has anything to do any more.
    fn is_over(&self) -> bool {
        false
    }
}

/// Takes readings when measuring begins and when it ends.
pub trait Meter {
    /// The warm-up is over.
    fn begin(&mut self);
    /// Nothing more is counted.
    fn end(&mut self);
}

/// Reads nothing.
pub struct NoMeter;

impl Meter for NoMeter {
    fn begin(&mut self) {}
    fn end(&mut self) {}
}

/// What came of a run.
pub struct Outcome {
    /// Right answers.
    pub ok: u64,
    /// Expected refusals.
    pub refused: u64,
    /// Wrong answers.
    pub wrong: u64,
    /// Connections refused or lost, and calls never answered.
    pub errors: u64,
    /// Calls that found no free connection in time and were not sent.
    pub given_up: u64,
    /// Some wrong answers and errors, as text.
    pub examples: Vec<String>,
    /// From the end of the warm-up to the last counted answer.
    pub elapsed: Duration,
    /// Nanoseconds from the intended time (closed loop: from sending) to the answer, right answers only.
    pub latency: Histogram<u64>,
    /// The same of the right answers that came between the end of the warm-up and that of the span, whenever their calls were
    /// intended: an open loop ends with calls under way, which are answered after it, when less is asked for.
    pub in_span: Histogram<u64>,
    /// Nanoseconds by which the loader itself began calls late: of an open loop, and of callers that came again after a wait.
    pub late: Histogram<u64>,
    /// Full and resumed handshakes.
    pub handshakes: Handshakes,
    /// Connections opened.
    pub opened: u64,
}

/// TLS handshakes by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// With certificate and signature.
    pub full: u64,
    /// From a ticket.
    pub resumed: u64,
}

impl Outcome {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ok: 0,
            refused: 0,
            wrong: 0,
            errors: 0,
            given_up: 0,
            examples: Vec::new(),
            elapsed: Duration::ZERO,
            latency: histogram(),
            in_span: histogram(),
            late: histogram(),
            handshakes: Handshakes::default(),
            opened: 0,
        }
    }

    /// All calls that ended, however.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.ok + self.refused + self.wrong + self.errors + self.given_up
    }

    /// Right answers a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.ok as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Wrong answers and errors.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.wrong + self.errors
    }

    /// A quantile of the latency in microseconds.
    #[must_use]
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Right answers within a deadline of their intended time.
    #[must_use]
    pub fn in_time(&self, deadline: Duration) -> u64 {
        self.latency
            .count_between(0, u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Right answers that came in the span and within a deadline of their intended time: by the span, what was done of use in a
    /// second.
    #[must_use]
    pub fn in_time_in_span(&self, deadline: Duration) -> u64 {
        self.in_span
            .count_between(0, u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX))
    }

    /// A quantile of the loader's lateness in microseconds.
    #[must_use]
    pub fn late_us(&self, quantile: f64) -> f64 {
        self.late.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Whether the loader was too late for its figures to say anything about the server.
    #[must_use]
    pub fn is_void(&self) -> bool {
        let late_us = self.late_us(0.99);
        late_us > LATE_ALLOWED.as_micros() as f64 && late_us > self.latency_us(0.99) * LATE_SHARE_MAX
    }

    /// Keeps a wrong answer or an error to be shown, if there is room for one more.
    pub fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    let longest = u64::try_from(LATENCY_MAX.as_nanos()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(100, longest, 3).unwrap_or_else(|e| unreachable!("fixed bounds: {e:?}"))
}
