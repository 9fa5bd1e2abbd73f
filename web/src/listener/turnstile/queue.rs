//! Who waits for one tenant, in a line for each class.

use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::admission::{Class, PerClass};

/// Of so many turns of a line one is for who came first, once it has waited for [`OLD`].
const OLDEST_OF: u64 = 5;
/// From here on a request has waited for long: its client is told something before it gives up.
pub(super) const OLD: Duration = Duration::from_secs(1);

pub(super) struct Waiter {
    pub(super) waker: Waker,
    pub(super) since: Instant,
    pub(super) weight: usize,
}

/// Those of one tenant.
#[derive(Default)]
pub(super) struct Queue {
    lines: PerClass<Waiting>,
    /// Turns to be left to the other tenants, for the last was more work than a request.
    owes: usize,
}

/// Those of one class.
#[derive(Default)]
struct Waiting {
    /// By when they came.
    all: BTreeMap<u64, Waiter>,
    /// Turns so far.
    turns: u64,
    /// What the line has had less than its share while somebody waited in it, in hundredths of a turn; negative for more.
    credit: i64,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.0.iter().all(|line| line.all.is_empty())
    }

    pub(super) fn add(&mut self, class: Class, number: u64, waiter: Waiter) {
        if let Some(line) = self.lines.get_mut(class) {
            line.all.insert(number, waiter);
        }
    }

    pub(super) fn find(&mut self, class: Class, number: u64) -> Option<&mut Waiter> {
        self.lines.get_mut(class)?.all.get_mut(&number)
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, class: Class, number: u64) -> bool {
        let line = self.lines.get_mut(class);
        line.is_some_and(|line| line.all.remove(&number).is_some())
    }

    /// Is this turn one that it owes the other tenants?
    pub(super) fn leaves_turn(&mut self) -> bool {
        let left = self.owes.checked_sub(1);
        self.owes = left.unwrap_or(0);
        left.is_some()
    }

    /// Whose turn it is: in the line that is furthest behind its share.
    pub(super) fn next(&mut self, now: Instant, shares: &PerClass<u8>) -> Option<Waiter> {
        let mut all = 0;
        let lines = self.lines.0.iter_mut().zip(shares.0);
        for (line, share) in lines {
            // A class without a share is the last, and not shut out.
            let share = i64::from(share.max(1));
            if line.all.is_empty() {
                line.credit = 0;
            } else {
                line.credit += share;
                all += share;
            }
        }
        let waiting = self.lines.0.iter_mut().filter(|line| !line.all.is_empty());
        let line = waiting.max_by_key(|line| line.credit)?;
        line.credit -= all;
        let waiter = line.next(now)?;
        self.owes = waiter.weight.saturating_sub(1);
        Some(waiter)
    }
}

impl Waiting {
    fn next(&mut self, now: Instant) -> Option<Waiter> {
        let is_old = |first: &Waiter| now.saturating_duration_since(first.since) > OLD;
        let is_for_oldest =
            self.turns.is_multiple_of(OLDEST_OF) && self.all.first_key_value().is_some_and(|(_, first)| is_old(first));
        let (_, waiter) = if is_for_oldest {
            self.all.pop_first()
        } else {
            self.all.pop_last()
        }?;
        self.turns += 1;
        Some(waiter)
    }
}
