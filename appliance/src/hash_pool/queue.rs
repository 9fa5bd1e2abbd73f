//! Which password hash is next, and which is refused. No threads and no clock in here: time comes in as what has passed
//! since the pool began, so that overload can be tried out in a test.
//!
//! While nobody waits for long it is a queue: the oldest is next, and a newcomer that would wait for longer than the deadline
//! is refused at once, judged by the measured cost of recent jobs. When somebody has waited for longer than the permitted
//! wait there is more to do than can be done, and a queue would serve everybody just too late. Then it is crowded: the
//! newest is next, whose caller is certainly still there, and each newcomer takes the place of the oldest once that has
//! waited for longer than permitted. Old jobs that nobody pushes out are still run, when nothing newer waits and their
//! deadline has not passed: a burst that ends loses nobody. When it has drained it is a queue again.

use std::time::Duration;

use super::lanes::Lanes;
use crate::recent::RecentMean;

/// Jobs that may wait whatever their estimated cost; bounds memory.
pub(super) const WAITING_MAX: usize = 4096;
/// The permitted wait is this part of the deadline, unless the host sets another.
const PERMITTED_PART: u32 = 3;
/// Assumed cost of a job until one was measured: argon2id, 19 MiB, two passes.
const FIRST_COST: Duration = Duration::from_millis(25);
/// Shortest and longest time that a refused caller is told to wait.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Span of the recent wait.
const WAIT_SPAN_MS: u64 = 100;

/// What the queue is bounded by.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueueRules {
    /// Jobs that run at a time; at least 1.
    pub(super) threads: usize,
    /// Longest wait.
    pub(super) deadline: Duration,
    /// Permitted wait; `None` for a third of the deadline, at least twice the cost of a job.
    pub(super) permitted_wait: Option<Duration>,
}

/// What the pool has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashCounters {
    /// Jobs run to their end.
    pub done: u64,
    /// Refused on arrival: the wait would have been too long.
    pub refused_full: u64,
    /// Refused while waiting: the deadline had passed.
    pub refused_late: u64,
    /// Refused while waiting: newer jobs took the place.
    pub pushed_out: u64,
    /// Not run when their turn came: nobody waited for the answer any more.
    pub abandoned: u64,
    /// Time spent waiting by jobs whose turn came, in microseconds.
    pub waited_us: u64,
    /// Time spent running, in microseconds.
    pub ran_us: u64,
}

/// A job that is not run, and when its caller may come back.
pub(super) struct Refused<J> {
    pub(super) job: J,
    pub(super) retry_after: Duration,
    /// It is its caller's own deadline that cannot be met, not the pool's.
    pub(super) is_callers_deadline: bool,
}

struct Waiting<J> {
    job: J,
    since: Duration,
    /// Latest moment to begin.
    begin_by: Duration,
    /// Because the caller leaves then; else because the pool lets nobody wait for longer.
    is_callers_deadline: bool,
}

/// The queue of jobs of type `J`.
pub(super) struct HashQueue<J> {
    rules: QueueRules,
    lanes: Lanes<Waiting<J>>,
    running: usize,
    /// Moving average of a job's run time.
    cost: Duration,
    is_crowded: bool,
    /// Until when the pool would be busy if everybody who was refused came back at the time told.
    promised_until: Duration,
    waits_us: RecentMean,
    counters: HashCounters,
}

impl<J> HashQueue<J> {
    pub(super) fn new(rules: QueueRules) -> Self {
        Self {
            rules,
            lanes: Lanes::default(),
            running: 0,
            cost: FIRST_COST,
            is_crowded: false,
            promised_until: Duration::ZERO,
            waits_us: RecentMean::new(WAIT_SPAN_MS),
            counters: HashCounters::default(),
        }
    }

    /// Takes in a job whose caller stays for `patience`. Who has to go for it, or it itself, is added to `refused`.
    pub(super) fn offer(
        &mut self,
        now: Duration,
        tenant: u32,
        patience: Option<Duration>,
        job: J,
        refused: &mut Vec<Refused<J>>,
    ) {
        self.look(now, refused);
        let is_crowded = self.is_crowded;
        let wait = self.wait_behind(self.lanes.ahead_of(tenant, is_crowded));
        let is_callers_deadline = self.ends_before_ours(patience);
        let Some(allowed) = self.allowed_wait(patience).filter(|allowed| wait <= *allowed) else {
            self.counters.refused_full += 1;
            let retry_after = self.retry_after(now);
            refused.push(Refused {
                job,
                retry_after,
                is_callers_deadline,
            });
            return;
        };
        let (is_full, permitted) = (self.lanes.waiting() >= WAITING_MAX, self.permitted_wait());
        let gives_way = |oldest: &Waiting<J>| is_full || is_crowded && now.saturating_sub(oldest.since) > permitted;
        if let Some(oldest) = self.lanes.take_from_longest(gives_way) {
            self.counters.pushed_out += 1;
            let crowded_out = Waiting {
                is_callers_deadline: false,
                ..oldest
            };
            self.refuse(now, crowded_out, refused);
        }
        let begin_by = now.saturating_add(allowed);
        self.lanes.push(
            tenant,
            Waiting {
                job,
                since: now,
                begin_by,
                is_callers_deadline,
            },
        );
    }

    /// The job to run now; who came too late to be it is added to `refused`.
    pub(super) fn take(&mut self, now: Duration, refused: &mut Vec<Refused<J>>) -> Option<J> {
        self.look(now, refused);
        while let Some(next) = self.lanes.pop(self.is_crowded) {
            if next.begin_by < now {
                self.counters.refused_late += 1;
                self.refuse(now, next, refused);
                continue;
            }
            let waited_us = self.note_wait(now, next.since);
            self.counters.waited_us += waited_us;
            self.running += 1;
            return Some(next.job);
        }
        None
    }

    /// The job that was just taken is not run after all: its caller has gone.
    pub(super) fn give_up(&mut self) {
        self.running = self.running.saturating_sub(1);
        self.counters.abandoned += 1;
    }

    /// A job that was taken has ended; `ran` is how long it hashed, if it had to.
    pub(super) fn end(&mut self, ran: Option<Duration>) {
        self.running = self.running.saturating_sub(1);
        let Some(ran) = ran else { return };
        self.cost = (self.cost * 7 + ran) / 8;
        self.counters.done += 1;
        self.counters.ran_us += micros(ran);
    }

    /// Drops all waiting jobs.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }

    pub(super) fn waiting(&self) -> usize {
        self.lanes.waiting()
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn cost(&self) -> Duration {
        self.cost
    }

    pub(super) fn counters(&self) -> HashCounters {
        self.counters
    }

    /// Whether there is more to do than can be done, as of the last look.
    pub(super) fn is_crowded(&self) -> bool {
        self.is_crowded
    }

    /// Mean wait of the jobs that left the queue in the last 100 to 200 ms, run or refused; when none did, that of the one
    /// that waits longest.
    pub(super) fn recent_wait(&mut self, now: Duration) -> Duration {
        match self.waits_us.mean(millis(now)) {
            Some(mean_us) => Duration::from_micros(mean_us),
            None => self.longest_wait(now).unwrap_or_default(),
        }
    }

    /// How long a job waits that has so many in front of it.
    fn wait_behind(&self, ahead: usize) -> Duration {
        let before = (ahead + self.running + 1).saturating_sub(self.rules.threads);
        let rounds = u32::try_from(before.div_ceil(self.rules.threads.max(1))).unwrap_or(u32::MAX);
        self.cost.saturating_mul(rounds)
    }

    /// How long a job may wait whose caller stays for `patience`: it must have ended when the caller leaves. `None` when there
    /// is not even the time to run it.
    fn allowed_wait(&self, patience: Option<Duration>) -> Option<Duration> {
        let deadline = self.rules.deadline;
        patience.map_or(Some(deadline), |patience| {
            patience.checked_sub(self.cost).map(|allowed| allowed.min(deadline))
        })
    }

    /// Whether a caller who stays for `patience` leaves before the pool's own deadline.
    fn ends_before_ours(&self, patience: Option<Duration>) -> bool {
        patience.is_some_and(|patience| patience < self.rules.deadline.saturating_add(self.cost))
    }

    fn permitted_wait(&self) -> Duration {
        let QueueRules {
            deadline,
            permitted_wait,
            ..
        } = self.rules;
        permitted_wait.unwrap_or_else(|| (deadline / PERMITTED_PART).max(self.cost * 2))
    }

    /// How long the oldest job has waited; `None` when nothing waits.
    fn longest_wait(&self, now: Duration) -> Option<Duration> {
        let since = self.lanes.oldest().map(|waiting| waiting.since).min()?;
        Some(now.saturating_sub(since))
    }

    /// Refuses those at the end of the lanes whose time to begin has passed, and sees whether it is crowded.
    fn look(&mut self, now: Duration, refused: &mut Vec<Refused<J>>) {
        let mut late = Vec::new();
        self.lanes
            .take_while(|oldest| oldest.begin_by < now, |job| late.push(job));
        self.counters.refused_late += late.len() as u64;
        for job in late {
            self.refuse(now, job, refused);
        }
        // Once crowded it stays so until it has drained: those in front are the ones that a queue would serve too late.
        self.is_crowded = match self.longest_wait(now) {
            None => false,
            Some(longest) => self.is_crowded || longest > self.permitted_wait(),
        };
    }

    fn refuse(&mut self, now: Duration, waiting: Waiting<J>, refused: &mut Vec<Refused<J>>) {
        self.note_wait(now, waiting.since);
        let retry_after = self.retry_after(now);
        refused.push(Refused {
            job: waiting.job,
            retry_after,
            is_callers_deadline: waiting.is_callers_deadline,
        });
    }

    fn note_wait(&mut self, now: Duration, since: Duration) -> u64 {
        let waited_us = micros(now.saturating_sub(since));
        self.waits_us.add(millis(now), waited_us, 1);
        waited_us
    }

    /// When a refused caller may come back: after those who wait and after those who were told so before, for the pool
    /// cannot do more at a time however many return.
    fn retry_after(&mut self, now: Duration) -> Duration {
        let worked_off = now.saturating_add(self.wait_behind(self.lanes.waiting()));
        let turn = self.promised_until.max(worked_off);
        let threads = u32::try_from(self.rules.threads.max(1)).unwrap_or(u32::MAX);
        self.promised_until = turn.saturating_add(self.cost / threads).min(now + RETRY_MAX);
        turn.saturating_sub(now).clamp(RETRY_MIN, RETRY_MAX)
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
