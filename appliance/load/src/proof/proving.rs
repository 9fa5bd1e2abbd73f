//! Callers that know nothing of challenges, and solve them all the same: for making players, which is not measured.

// Slots are those of the run, and a slot has its place once it began.
#![allow(clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use super::{Challenge, Proof, Solver, asks_for_proof};
use crate::client_rules::PROOFS_MAX;
use crate::{Answer, Callers, Next, Verdict};

/// What a slot has sent.
#[derive(Default)]
struct Sent {
    request: Vec<u8>,
    /// Challenges it was answered with.
    challenges: u32,
    /// Whether it comes again with the same call, and its proof; without one it is challenged anew.
    is_again: bool,
    proof: Option<Proof>,
}

/// Sends a challenged request of others again with its proof, and shows them only what came in the end.
pub struct Proving<'a> {
    inner: &'a mut dyn Callers,
    solver: Solver,
    sent: Vec<Sent>,
}

impl<'a> Proving<'a> {
    /// These callers, whose requests have a JSON body.
    #[must_use]
    pub fn new(inner: &'a mut dyn Callers) -> Self {
        Self {
            inner,
            solver: Solver::default(),
            sent: Vec::new(),
        }
    }

    fn keep(&mut self, slot: usize, out: &[u8]) {
        if self.sent.len() <= slot {
            self.sent.resize_with(slot + 1, Sent::default);
        }
        self.sent[slot] = Sent {
            request: out.to_vec(),
            ..Sent::default()
        };
    }

    /// Whether the work for this answer has begun.
    fn works_on(&mut self, slot: usize, answer: &Answer<'_>) -> bool {
        if !asks_for_proof(answer) || self.sent[slot].challenges >= PROOFS_MAX {
            return false;
        }
        self.sent[slot].challenges += 1;
        let challenge = Challenge::of(answer);
        challenge.is_some_and(|challenge| self.solver.submit(slot, challenge, Instant::now()))
    }
}

impl Callers for Proving<'_> {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.inner.begin(slot, out);
        self.keep(slot, out);
    }

    fn begin_at(&mut self, slot: usize, since: Instant, out: &mut Vec<u8>) {
        self.inner.begin_at(slot, since, out);
        self.keep(slot, out);
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next) {
        if self.works_on(slot, answer) {
            return (Verdict::Refused, Next::Work);
        }
        let (verdict, next) = self.inner.answered(slot, answer, out);
        if next == Next::Send {
            self.keep(slot, out);
        }
        (verdict, next)
    }

    fn resume(&mut self, slot: usize, out: &mut Vec<u8>) {
        if !std::mem::take(&mut self.sent[slot].is_again) {
            self.inner.resume(slot, out);
            return self.keep(slot, out);
        }
        let sent = &mut self.sent[slot];
        let proven = sent.proof.take().and_then(|proof| proof.with_request(&sent.request));
        out.extend_from_slice(proven.as_ref().unwrap_or(&sent.request));
    }

    fn ready(&mut self) -> Option<(usize, Next)> {
        if let Some(done) = self.solver.take() {
            let sent = &mut self.sent[done.slot];
            (sent.is_again, sent.proof) = (true, done.proof);
            return Some((done.slot, Next::Send));
        }
        self.inner.ready()
    }

    fn is_working(&self) -> bool {
        self.solver.out() > 0 || self.inner.is_working()
    }

    fn lost(&mut self, slot: usize) -> Next {
        self.inner.lost(slot)
    }

    fn waits_for(&self, slot: usize) -> Option<Duration> {
        self.inner.waits_for(slot)
    }

    fn is_over(&self) -> bool {
        self.inner.is_over()
    }
}
