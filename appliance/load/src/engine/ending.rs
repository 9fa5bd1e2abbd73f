//! How calls end: answered, lost, or not at all.

// Slots are made once for a whole run and every index is one of theirs.
#![allow(clippy::indexing_slicing)]

use std::cmp::Reverse;
use std::io;
use std::time::{Duration, Instant};

use super::{Engine, Slot, nanos};
use crate::{Arrival, Life, Next, Verdict};

impl Engine<'_> {
    /// The caller on this slot is done. A closed loop begins the next one at once, past the free list, for its speed.
    pub(super) fn release(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        place.busy = false;
        place.waits_for_answer = false;
        if self.plan.life != Life::Kept {
            place.connection = None;
        }
        let now = Instant::now();
        let at_once = matches!(self.plan.arrival, Arrival::Closed)
            && self.plan.life == Life::Kept
            && self.plan.calls_max == 0
            && now < self.start + self.plan.warm_up + self.plan.span;
        if at_once {
            self.begin(slot, now);
        } else {
            self.free.push_back(slot);
        }
    }

    /// Counts a call that ended now.
    pub(super) fn count(&mut self, slot: usize, verdict: Verdict) {
        let now = Instant::now();
        let Some(since) = self.slots[slot].since else { return };
        if verdict == Verdict::Ok && now >= self.measure_from && now <= self.measure_from + self.plan.span {
            self.outcome.in_span.saturating_record(nanos(now - since));
        }
        // Open loop: by the intended time. Closed loop: by the time of the answer, for that is what a rate counts.
        let counted = match self.plan.arrival {
            Arrival::Closed => self.measuring && now <= self.measure_from + self.plan.span + self.grace(),
            Arrival::Constant(_) | Arrival::Poisson { .. } => since >= self.measure_from,
        };
        if !counted {
            return;
        }
        self.measured_to = now;
        match verdict {
            Verdict::Ok => {
                self.outcome.ok += 1;
                self.outcome.latency.saturating_record(nanos(now - since));
            }
            Verdict::Refused => self.outcome.refused += 1,
            Verdict::Wrong => self.outcome.wrong += 1,
        }
    }

    /// With a number of calls the last ones count however late they are.
    fn grace(&self) -> Duration {
        if self.plan.calls_max > 0 {
            self.plan.patience
        } else {
            Duration::ZERO
        }
    }

    /// The server closed: harmless between calls, a failure inside one.
    pub(super) fn ended(&mut self, slot: usize) {
        if self.slots[slot].waits_for_answer {
            return self.lost(slot, &io::Error::other("the server closed the connection"));
        }
        self.slots[slot].connection = None;
    }

    pub(super) fn lost(&mut self, slot: usize, error: &io::Error) {
        let place = &mut self.slots[slot];
        place.connection = None;
        // Between two calls of a client nothing is lost: its next call opens another connection.
        if !place.busy || !place.waits_for_answer {
            return;
        }
        place.waits_for_answer = false;
        if self.measuring || self.plan.calls_max > 0 {
            self.outcome.errors += 1;
            self.outcome.example(|| format!("lost: {error}"));
        }
        let next = if self.plan.life == Life::Handshake {
            Next::Done
        } else {
            self.callers.lost(slot)
        };
        match next {
            // Not at once: whoever refuses connections would be asked without end in one turn of the loop.
            Next::Done => {
                place_free(&mut self.slots[slot]);
                self.free.push_back(slot);
            }
            Next::Send | Next::Wait(_) => {
                let pause = if let Next::Wait(span) = next {
                    span
                } else {
                    Duration::ZERO
                };
                self.wakes.push(Reverse((Instant::now() + pause, slot)));
            }
            Next::Work => {}
        }
    }

    pub(super) fn finish(&mut self) {
        if self.measuring {
            self.meter.end();
        }
        // What was asked for and never answered is a failure of an open loop; a closed one is cut off anywhere.
        if !matches!(self.plan.arrival, Arrival::Closed) || self.is_full() {
            let from = self.measure_from;
            let unanswered = self
                .slots
                .iter()
                .filter(|slot| slot.busy && slot.since.is_some_and(|at| at >= from));
            let missing = unanswered.count() + self.due.iter().filter(|due| due.at >= from).count();
            self.outcome.errors += missing as u64;
            if missing > 0 {
                self.outcome.example(|| format!("{missing} calls were never answered"));
            }
        }
        let end = self.measure_from + self.plan.span;
        let to = match self.plan.arrival {
            Arrival::Closed if self.plan.calls_max == 0 => end,
            _ => self.measured_to.max(self.measure_from),
        };
        self.outcome.elapsed = to.saturating_duration_since(self.measure_from);
    }
}

fn place_free(slot: &mut Slot) {
    slot.busy = false;
    slot.since = None;
}
