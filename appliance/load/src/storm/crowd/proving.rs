//! Clients that were asked for a proof of work.

// A slot of the run is a client, for there are as many of both.
#![allow(clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use super::Crowd;
use crate::client_rules::{Meaning, Seen};
use crate::proof::{Challenge, Done};
use crate::{Answer, Next};

impl Crowd<'_> {
    /// What an answer does to the proof that its call was sent with, if it was: a challenge or any certain answer uses it up, and
    /// while nobody knows it goes along with every attempt, for the call must stay the same.
    pub(super) fn spend_proof(&mut self, slot: usize, meaning: Meaning) {
        if matches!(meaning, Meaning::Unknown { .. }) {
            return;
        }
        let spent = self.clients[slot].proof.take();
        let is_challenge = meaning == Meaning::Challenged;
        self.counts.proofs.asked += u64::from(is_challenge);
        self.counts.proofs.again += u64::from(is_challenge && spent.is_some());
    }

    /// The work for a challenge begins; where it cannot, the attempt has failed as one that was never answered.
    pub(super) fn prove(&mut self, slot: usize, answer: &Answer<'_>, now: Instant) -> Next {
        let challenge = Challenge::of(answer);
        let is_known = challenge.is_some();
        if challenge.is_some_and(|challenge| self.solver.submit(slot, challenge, now)) {
            return Next::Work;
        }
        self.counts.proofs.dropped += u64::from(is_known);
        let (call, chance) = (self.clients[slot].call, self.dice.chance());
        let step = self.clients[slot].conduct.after(call, &Seen::Nothing, chance);
        let wait = self.follow(slot, step, now);
        self.next(slot, wait, now)
    }

    /// The next client whose work has ended: it calls again, with the proof; without one it is asked for another.
    pub(super) fn proven(&mut self) -> Option<(usize, Next)> {
        let Done { slot, proof } = self.solver.take()?;
        self.counts.proofs.solved += u64::from(proof.is_some());
        self.counts.proofs.expired += u64::from(proof.is_none());
        self.clients[slot].proof = proof;
        Some((slot, self.next(slot, Duration::ZERO, Instant::now())))
    }
}
