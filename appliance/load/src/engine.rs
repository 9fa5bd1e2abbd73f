//! The loop of the load generator.

// Slots are made once for a whole run and every index is one of theirs.
#![allow(clippy::indexing_slicing)]

mod ending;
mod waiting;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::HandshakeKind;

use crate::connection::{Connection, Filled};
use crate::schedule::Schedule;
use crate::wire::{Answer, Parsed};
use crate::{Arrival, Callers, Life, Meter, Next, NoMeter, Outcome, Plan, Verdict};

/// Events taken from the system at once.
const EVENTS_MAX: usize = 128;
/// Longest wait for an event, so that the end of the run is seen.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// Calls of an open loop that begin at once, before answers and other loads are looked at.
const BEGIN_BURST: usize = 16;
/// Connections of a run that begin at once before answers are looked at; fewer than any server's backlog.
const OPEN_BURST: usize = 64;
/// Calls of a run with a fixed number of them that may be out at once; fewer than any server's handshakes at once.
const OUT_MAX: usize = 256;

/// The place of a connection and of the caller that uses it.
#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// Which connection of this slot this is; what came of an earlier one says nothing about it.
    nth: u64,
    busy: bool,
    waits_for_answer: bool,
    /// From when the latency of the request that is out counts.
    since: Option<Instant>,
    handshake_seen: bool,
    /// Requests sent so far.
    sent: u64,
}

/// A call that is to begin.
#[derive(Clone, Copy)]
struct Due {
    /// When it was meant to.
    at: Instant,
    /// When this loop, which may be late, came to know of it.
    noted: Instant,
}

struct Engine<'a> {
    plan: &'a Plan,
    callers: &'a mut dyn Callers,
    meter: &'a mut dyn Meter,
    poll: Poll,
    slots: Vec<Slot>,
    /// First in, first out: an open loop uses all connections in turn.
    free: VecDeque<usize>,
    /// Calls that found no free slot.
    due: VecDeque<Due>,
    wakes: BinaryHeap<Reverse<(Instant, usize)>>,
    /// When callers give up waiting: the time, the slot, and which of its requests that is about.
    limits: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    schedule: Option<Schedule>,
    next_at: Option<Instant>,
    last_call: Instant,
    begun: u64,
    out: Vec<u8>,
    outcome: Outcome,
    start: Instant,
    measure_from: Instant,
    measured_to: Instant,
    measuring: bool,
}

/// Runs a plan to its end.
///
/// # Errors
/// When the system gives no poll, or not one connection could be opened.
pub fn run(plan: &Plan, callers: &mut dyn Callers, meter: &mut dyn Meter) -> io::Result<Outcome> {
    hold(plan, callers, meter).map(|(outcome, _)| outcome)
}

/// The same, and the connections stay open until what is answered is dropped.
///
/// # Errors
/// As [`run`].
pub fn hold(plan: &Plan, callers: &mut dyn Callers, meter: &mut dyn Meter) -> io::Result<(Outcome, Held)> {
    let mut engine = Engine::new(plan, callers, meter)?;
    let mut events = Events::with_capacity(EVENTS_MAX);
    engine.connect_all(&mut events)?;
    engine.start_at(Instant::now());
    while engine.go_on(&mut events, true)? {}
    engine.finish();
    let connections = engine.slots.into_iter().filter_map(|slot| slot.connection).collect();
    Ok((engine.outcome, Held { connections }))
}

/// One of several loads that run side by side.
pub struct Part<'a> {
    /// Its plan.
    pub plan: Plan,
    /// Its callers.
    pub callers: &'a mut dyn Callers,
}

/// Runs several loads at the same time, each over its own connections; an outcome for each, in the same order. The thread does not
/// sleep in between. The meter is that of the first.
///
/// # Errors
/// As [`run`], for any of them.
pub fn run_together(parts: &mut [Part<'_>], meter: &mut dyn Meter) -> io::Result<Vec<Outcome>> {
    let mut nobody: Vec<NoMeter> = parts.iter().skip(1).map(|_| NoMeter).collect();
    let meters = std::iter::once(meter).chain(nobody.iter_mut().map(|meter| meter as &mut dyn Meter));
    let mut events = Events::with_capacity(EVENTS_MAX);
    let mut engines = Vec::new();
    for (part, meter) in parts.iter_mut().zip(meters) {
        let mut engine = Engine::new(&part.plan, &mut *part.callers, meter)?;
        engine.connect_all(&mut events)?;
        engines.push((engine, true));
    }
    let now = Instant::now();
    engines.iter_mut().for_each(|(engine, _)| engine.start_at(now));
    while engines.iter().any(|(_, goes_on)| *goes_on) {
        for (engine, goes_on) in engines.iter_mut().filter(|(_, goes_on)| *goes_on) {
            *goes_on = engine.go_on(&mut events, false)?;
            if !*goes_on {
                engine.finish();
            }
        }
    }
    Ok(engines.into_iter().map(|(engine, _)| engine.outcome).collect())
}

/// Open connections that do nothing.
pub struct Held {
    connections: Vec<Connection>,
}

impl Held {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.connections.len()
    }
}

impl<'a> Engine<'a> {
    fn new(plan: &'a Plan, callers: &'a mut dyn Callers, meter: &'a mut dyn Meter) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Engine {
            plan,
            callers,
            meter,
            poll: Poll::new()?,
            slots: (0..plan.connections).map(|_| Slot::default()).collect(),
            free: (0..plan.connections).collect(),
            due: VecDeque::new(),
            wakes: BinaryHeap::new(),
            limits: BinaryHeap::new(),
            schedule: Schedule::new(plan.arrival),
            next_at: None,
            last_call: now,
            begun: 0,
            out: Vec::new(),
            outcome: Outcome::new(),
            start: now,
            measure_from: now,
            measured_to: now,
            measuring: false,
        })
    }

    fn start_at(&mut self, start: Instant) {
        self.start = start;
        self.measure_from = start + self.plan.warm_up;
        self.next_at = self.schedule.as_mut().and_then(Iterator::next).map(|at| start + at);
        self.last_call = self.end() + self.plan.patience;
    }

    /// When nothing begins any more.
    fn end(&self) -> Instant {
        self.measure_from + self.plan.span
    }

    fn is_open(&self) -> bool {
        self.schedule.is_some()
    }

    /// One turn of the loop; whether there is another. It may sleep when nothing is due.
    fn go_on(&mut self, events: &mut Events, may_sleep: bool) -> io::Result<bool> {
        let (now, end) = (Instant::now(), self.end());
        if !self.measuring && now >= self.measure_from && now < end {
            self.measuring = true;
            self.meter.begin();
        }
        if self.callers.is_over() {
            return Ok(false);
        }
        self.note_due(now, end);
        // Calls begin until the end or the last call; then their answers are waited for.
        if now < end && !self.is_full() {
            self.begin_due(now);
        } else {
            self.last_call = self.last_call.min(now + self.plan.patience);
            let waits_on = (self.is_open() && !self.due.is_empty()) || self.out_count() > 0;
            let patient = self.is_open() || self.is_full();
            if !patient || !waits_on || now >= self.last_call {
                return Ok(false);
            }
            if self.is_open() {
                self.serve_queue();
            }
        }
        self.wake(now);
        self.go_on_with_ready();
        self.give_up(now);
        let timeout = if may_sleep {
            self.timeout(now, end)
        } else {
            Duration::ZERO
        };
        self.turn(events, Some(timeout))?;
        self.drop_overdue();
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.plan.calls_max > 0 && self.begun >= self.plan.calls_max
    }

    fn out_count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Opens the connections of a run that keeps them.
    fn connect_all(&mut self, events: &mut Events) -> io::Result<()> {
        if self.plan.life != Life::Kept || self.plan.calls_max > 0 {
            return Ok(());
        }
        for slot in 0..self.slots.len() {
            if let Err(error) = self.connect(slot) {
                self.outcome.errors += 1;
                self.outcome.example(|| format!("connect: {error}"));
            }
            if slot % OPEN_BURST == OPEN_BURST - 1 {
                self.turn(events, Some(Duration::from_millis(5)))?;
            }
        }
        if self.slots.iter().any(|slot| slot.connection.is_some()) {
            return Ok(());
        }
        Err(io::Error::other(self.outcome.examples.join("; ")))
    }

    fn connect(&mut self, slot: usize) -> io::Result<()> {
        let mut connection = Connection::open(&self.plan.target, self.outcome.opened)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, Token(slot), interest)?;
        self.outcome.opened += 1;
        let place = &mut self.slots[slot];
        place.connection = Some(connection);
        place.nth += 1;
        place.handshake_seen = false;
        Ok(())
    }

    /// Notes the calls whose intended time has come, all of them, however late this loop is.
    fn note_due(&mut self, now: Instant, end: Instant) {
        let Some(schedule) = &mut self.schedule else { return };
        while let Some(at) = self.next_at
            && at <= now
        {
            if at >= self.measure_from {
                self.outcome.late.saturating_record(nanos(now - at));
            }
            self.due.push_back(Due { at, noted: now });
            self.next_at = schedule.next().map(|after| self.start + after).filter(|at| *at < end);
        }
    }

    /// Begins what may begin now.
    fn begin_due(&mut self, now: Instant) {
        if !matches!(self.plan.arrival, Arrival::Closed) {
            return self.serve_queue();
        }
        // Every free slot, but not more connections at once than a backlog holds.
        for _ in 0..OPEN_BURST {
            if self.is_full() || self.plan.calls_max > 0 && self.out_count() >= OUT_MAX {
                break;
            }
            let Some(slot) = self.free.pop_front() else { break };
            self.begin(slot, now);
        }
    }

    /// Lets go of calls that waited too long for a connection. The wait is that for the server: a loop that is late has read what was
    /// answered meanwhile, and no time counts in which it did not know of the call.
    fn drop_overdue(&mut self) {
        let Some(waits_max) = self.plan.waits_max else { return };
        self.serve_queue();
        let now = Instant::now();
        while self.free.is_empty()
            && let Some(due) = self.due.front().filter(|due| now - due.noted > waits_max)
        {
            self.outcome.given_up += u64::from(due.at >= self.measure_from);
            self.due.pop_front();
        }
    }

    /// Gives free slots to calls whose time has come.
    fn serve_queue(&mut self) {
        for _ in 0..BEGIN_BURST.min(self.due.len()) {
            let Some(slot) = self.free.pop_front() else { break };
            let Some(due) = self.due.pop_front() else { break };
            self.begin(slot, due.at);
        }
    }

    fn begin(&mut self, slot: usize, since: Instant) {
        self.begun += 1;
        let place = &mut self.slots[slot];
        place.busy = true;
        place.since = Some(since);
        if self.plan.life == Life::Handshake {
            place.waits_for_answer = true;
            if let Err(error) = self.connect(slot) {
                self.lost(slot, &error);
            }
            return;
        }
        self.out.clear();
        self.callers.begin_at(slot, since, &mut self.out);
        self.send(slot);
    }

    /// Sends what a caller wrote, on a connection that is opened when there is none.
    fn send(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        place.waits_for_answer = true;
        place.sent += 1;
        if let Some(span) = self.callers.waits_for(slot) {
            self.limits.push(Reverse((Instant::now() + span, slot, place.sent)));
        }
        if self.slots[slot].connection.is_none()
            && let Err(error) = self.connect(slot)
        {
            return self.lost(slot, &error);
        }
        if let Some(connection) = &mut self.slots[slot].connection
            && let Err(error) = connection.send(&self.out)
        {
            self.lost(slot, &error);
        }
    }

    /// Waits for events and deals with them.
    fn turn(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in events.iter() {
            let slot = event.token().0;
            let nth = self.slots[slot].nth;
            let Some(connection) = &mut self.slots[slot].connection else {
                continue;
            };
            let mut step = match connection.trouble() {
                Some(error) if event.is_error() => Err(error),
                _ => Ok(Filled::Open),
            };
            if step.is_ok() && event.is_writable() {
                step = connection.flush().map(|()| Filled::Open);
            }
            if step.is_ok() && event.is_readable() {
                step = connection.fill();
            }
            self.note_handshake(slot);
            self.take_answers(slot);
            if self.slots[slot].nth != nth {
                continue; // the last answer closed it, and the next call has opened another
            }
            match step {
                Ok(Filled::Open) => {}
                Ok(Filled::Ended) => self.ended(slot),
                Err(error) => self.lost(slot, &error),
            }
        }
        Ok(())
    }

    fn note_handshake(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        if place.handshake_seen || self.plan.target.tls.is_none() {
            return;
        }
        let Some(kind) = place.connection.as_ref().and_then(Connection::handshake) else {
            return;
        };
        place.handshake_seen = true;
        let counted = self.measuring || self.plan.calls_max > 0;
        match kind {
            _ if !counted => {}
            HandshakeKind::Resumed => self.outcome.handshakes.resumed += 1,
            _ => self.outcome.handshakes.full += 1,
        }
        if self.plan.life == Life::Handshake && self.slots[slot].busy {
            self.count(slot, Verdict::Ok);
            self.release(slot);
        }
    }

    fn take_answers(&mut self, slot: usize) {
        loop {
            let place = &mut self.slots[slot];
            let Some(connection) = &place.connection else { return };
            let (verdict, next, length, closes, sample) = match connection.parsed() {
                Parsed::Partial => return,
                Parsed::Bad(why) => return self.lost(slot, &io::Error::other(why)),
                Parsed::Whole(answer, _) if !place.waits_for_answer => {
                    let error = io::Error::other(format!("an answer nobody asked for: {}", answer.sample()));
                    return self.lost(slot, &error);
                }
                Parsed::Whole(answer, length) => {
                    self.out.clear();
                    let (verdict, next) = self.callers.answered(slot, &answer, &mut self.out);
                    let wrong = verdict == Verdict::Wrong;
                    let sample: Option<String> = wrong.then(|| Answer::sample(&answer));
                    (verdict, next, length, answer.closes(), sample)
                }
            };
            if let Some(sample) = sample {
                self.outcome.example(|| sample);
            }
            self.count(slot, verdict);
            let place = &mut self.slots[slot];
            place.waits_for_answer = false;
            if closes {
                place.connection = None;
            } else if let Some(connection) = &mut place.connection {
                connection.take(length);
            }
            self.follow(slot, next);
        }
    }

    /// Does what a caller said it does next.
    fn follow(&mut self, slot: usize, next: Next) {
        match next {
            Next::Done => self.release(slot),
            Next::Send => {
                self.slots[slot].since = Some(Instant::now());
                self.send(slot);
            }
            Next::Wait(span) => self.wakes.push(Reverse((Instant::now() + span, slot))),
            Next::Work => {}
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
