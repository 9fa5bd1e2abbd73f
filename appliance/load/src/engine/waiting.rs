//! What the loop waits for, and who comes again: after a wait, in vain, or after work of its own.

// Slots are made once for a whole run and every index is one of theirs.
#![allow(clippy::indexing_slicing)]

use std::cmp::Reverse;
use std::io;
use std::time::{Duration, Instant};

use super::{Engine, OUT_MAX, WAIT_MAX, nanos};
use crate::Next;

/// How long the loop leaves its processor to callers that work on their own, when nothing is due within it: the shortest that a poll
/// can wait.
const WORK_PAUSE: Duration = Duration::from_millis(1);

impl Engine<'_> {
    /// An open loop never sleeps: the kernel would wake it late. Its core is its own.
    /// Neither do clients that come again at their own times. Only for those who work on that core it sleeps a moment in which nothing is due.
    pub(super) fn timeout(&self, now: Instant, end: Instant) -> Duration {
        let may_begin = !self.free.is_empty() && !self.is_full() && self.out_count() < OUT_MAX;
        if may_begin && (!self.is_open() || !self.due.is_empty()) {
            return Duration::ZERO;
        }
        if self.callers.is_working() {
            let is_due = |at: Instant| at < now + WORK_PAUSE;
            let wakes = self.wakes.peek().is_some_and(|Reverse((at, _))| is_due(*at));
            return if wakes || self.next_at.is_some_and(is_due) {
                Duration::ZERO
            } else {
                WORK_PAUSE
            };
        }
        if self.is_open() || !self.wakes.is_empty() {
            return Duration::ZERO;
        }
        let to_mark = if self.measuring { end } else { self.measure_from };
        WAIT_MAX.min(to_mark.saturating_duration_since(now).max(Duration::from_millis(1)))
    }

    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, slot))) = self.wakes.peek().copied() {
            if at > now {
                break;
            }
            self.wakes.pop();
            if at >= self.measure_from {
                self.outcome.late.saturating_record(nanos(now - at));
            }
            self.slots[slot].since = Some(at);
            self.out.clear();
            self.callers.resume(slot, &mut self.out);
            self.send(slot);
        }
    }

    /// Callers whose own work has ended go on.
    pub(super) fn go_on_with_ready(&mut self) {
        while let Some((slot, next)) = self.callers.ready() {
            if next == Next::Send {
                self.out.clear();
                self.callers.resume(slot, &mut self.out);
            }
            self.follow(slot, next);
        }
    }

    /// Callers that waited long enough are told that their connection is lost, and it is closed.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some(Reverse((at, slot, sent))) = self.limits.peek().copied() {
            if at > now {
                break;
            }
            self.limits.pop();
            let place = &self.slots[slot];
            if place.waits_for_answer && place.sent == sent {
                self.lost(slot, &io::Error::from(io::ErrorKind::TimedOut));
            }
        }
    }
}
