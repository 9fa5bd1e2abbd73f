//! Many clients as callers of the load generator, each on a connection of its own.

// A slot of the run is a client, for there are as many of both.
#![allow(clippy::indexing_slicing)]

mod proving;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client_rules::{Call, Meaning, NAIVE_TIMEOUT_MS, Reply, Seen, Step};

use super::client::{Client, Conduct};
use super::counts::Counts;
use super::tally::{NO_ANSWER, Tally};
use super::{deadline, waits, work_units};
use crate::dice::Dice;
use crate::proof::{Solver, asks_for_proof};
use crate::service::{Player, Service};
use crate::{Answer, Callers, Next, Verdict};

/// A refresh that perhaps took place may be repeated for so long; the server's default is 30 s.
const REFRESH_GRACE: Duration = Duration::from_secs(25);
/// When somebody whom a rule refused comes again; nobody should be.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// What the clients do once they are connected.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Checks by the game server until a client is in.
    pub checks: u32,
    /// The second check comes over a new connection.
    pub reconnects: bool,
    /// Time between two heartbeats of a client, on average; zero for none between.
    pub beat: Duration,
    /// One in so many heartbeats is a refresh; 0 for none.
    pub refresh_every: u32,
    /// The run ends when all are in.
    pub ends_when_in: bool,
    /// Seed of the dice.
    pub seed: u64,
}

impl Habits {
    /// Those of clients whose [`Visits`] say what they do.
    #[must_use]
    pub fn of_visitors(seed: u64) -> Self {
        Habits {
            checks: 0,
            reconnects: false,
            beat: Duration::ZERO,
            refresh_every: 0,
            ends_when_in: false,
            seed,
        }
    }
}

/// Clients that come, do what they came for, and leave, instead of staying; for an open loop, whose calls are visits.
#[derive(Debug, Clone)]
pub struct Visits {
    /// Checks after the call a visit begins with: at least so many, and at most so many.
    pub checks: (u32, u32),
    /// Share of the visits whose second check comes over a new connection, 0 to 1.
    pub reconnect_share: f64,
    /// Calls a second at most beyond the ones that visits begin with; what comes sooner waits its turn.
    pub further_per_s_max: Option<f64>,
    /// Ends the run when it is set.
    pub stop: Arc<AtomicBool>,
}

struct Visiting {
    visits: Visits,
    tally: Tally,
    /// The visit that has just ended on its slot.
    has_left: bool,
    /// When the next further call has its turn.
    turn_at: Option<Instant>,
}

/// Clients, their habits, and what happened to them. A slot of the load generator is a client.
pub struct Crowd<'a> {
    seawall: &'a dyn Service,
    clients: Vec<Client>,
    /// Who comes when one of them has left; the last first.
    line: Vec<Client>,
    habits: Habits,
    begun: Option<Instant>,
    dice: Dice,
    solver: Solver,
    visiting: Option<Visiting>,
    /// What happened.
    pub counts: Counts,
}

impl<'a> Crowd<'a> {
    /// These clients of this server. There must be as many connections as clients.
    #[must_use]
    pub fn new(seawall: &'a dyn Service, clients: Vec<Client>, habits: Habits) -> Self {
        Self {
            seawall,
            clients,
            line: Vec::new(),
            habits,
            begun: None,
            dice: Dice::new(habits.seed),
            solver: Solver::default(),
            visiting: None,
            counts: Counts::default(),
        }
    }

    /// The same clients, who come and leave.
    #[must_use]
    pub fn visiting(self, visits: Visits) -> Self {
        let visiting = Visiting {
            visits,
            tally: Tally::default(),
            has_left: false,
            turn_at: None,
        };
        Self {
            visiting: Some(visiting),
            ..self
        }
    }

    /// Others stand in line: one of them comes whenever a client has left, as long as there are any.
    #[must_use]
    pub fn with_line(self, line: Vec<Client>) -> Self {
        Self { line, ..self }
    }

    /// The run is over: the clients, what happened to them, and what was counted about their visits.
    #[must_use]
    pub fn end(mut self) -> (Vec<Client>, Counts, Tally) {
        let now = Instant::now();
        self.clients.iter_mut().for_each(|client| client.cut_off(now));
        let tally = self.visiting.map(|visiting| visiting.tally).unwrap_or_default();
        (self.clients, self.counts, tally)
    }

    /// When its first client began.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.begun
    }

    fn since_begin(&self, now: Instant) -> Duration {
        self.begun
            .map_or(Duration::ZERO, |begun| now.saturating_duration_since(begun))
    }

    fn write(&mut self, slot: usize, out: &mut Vec<u8>) {
        let at = self.since_begin(Instant::now());
        let client = &self.clients[slot];
        let closes = self.habits.reconnects && !client.is_in && client.checks == 0;
        let closes = closes || client.reconnects && client.checks == 0;
        client.write(self.seawall, closes, out);
        if let Some(visiting) = &mut self.visiting {
            visiting.tally.sent(client.call);
        }
        let first = u64::from(!client.is_induced);
        let bucket = self.counts.at(at);
        bucket.attempts += 1;
        bucket.firsts += first;
    }

    /// Counts what came of a client's call.
    fn note(&mut self, slot: usize, meaning: Meaning, seen: &Seen<'_>, now: Instant) {
        let at = self.since_begin(now);
        let client = &mut self.clients[slot];
        let call = client.call;
        if let Some(Visiting { tally, .. }) = &mut self.visiting {
            match (meaning, seen) {
                (Meaning::Good, _) => {
                    let after = now.saturating_duration_since(client.since);
                    tally.ok(call, after, client.is_induced);
                }
                (_, Seen::Nothing) => tally.refused(call, NO_ANSWER),
                (_, Seen::Answer(reply)) => tally.refused(call, &why(reply)),
            }
        }
        match meaning {
            Meaning::Good if now.saturating_duration_since(client.since) <= deadline(call) => {
                self.counts.at(at).goodput += work_units(call);
            }
            Meaning::Good => {}
            Meaning::AccessBad => {
                self.counts.false_invalids += u64::from(client.is_valid);
                client.is_valid = false;
            }
            Meaning::RefreshBad => {
                let doubted = client
                    .refresh_in_doubt_at
                    .is_some_and(|since| now - since > REFRESH_GRACE);
                self.counts.false_invalids += u64::from(client.is_valid && !doubted);
            }
            Meaning::Refused => {
                let is_401 = matches!(seen, Seen::Answer(reply) if reply.status == 401);
                self.counts.false_invalids += u64::from(is_401);
            }
            Meaning::Challenged => {}
            Meaning::Unknown { .. } => match call {
                Call::Refresh => client.refresh_in_doubt_at = client.refresh_in_doubt_at.or(Some(now)),
                // It perhaps took place, and then it replaced the session whose token this is.
                Call::Login => client.is_valid = false,
                Call::Register | Call::WithToken | Call::Verify => {}
            },
        }
    }

    /// A client's visit begins, at its intended time.
    fn come(&mut self, slot: usize, since: Instant) {
        let (how_many, reconnects) = (self.dice.chance(), self.dice.chance());
        let Some(Visiting { visits, tally, .. }) = &mut self.visiting else {
            return;
        };
        if self.clients[slot].has_come()
            && let Some(next) = self.line.pop()
        {
            self.clients[slot] = next;
        }
        let (least, most) = visits.checks;
        let span = f64::from(most.saturating_sub(least) + 1);
        let checks = (least + (how_many * span) as u32).min(most.max(least));
        let client = &mut self.clients[slot];
        // A visit that is a check is that check alone: a heartbeat.
        let is_beat = client.entry == Call::Verify;
        client.come(if is_beat { 1 } else { checks });
        let after = if is_beat { 0 } else { checks };
        tally.began(work_units(client.entry) + f64::from(after) * work_units(Call::Verify));
        client.came_at = since;
        client.reconnects = client.entry != Call::Verify && reconnects < visits.reconnect_share;
    }

    /// What the client does next, and after how long.
    fn follow(&mut self, slot: usize, step: Step, now: Instant) -> Duration {
        let is_visit = self.visiting.is_some();
        let client = &mut self.clients[slot];
        let before = client.call;
        let plays = client.is_in && client.is_valid && !is_visit && before == Call::Refresh;
        let wait = match step {
            Step::Done => return self.done(slot, now),
            // It plays on with the token it has, and the refresh comes later; who still comes in waits for it.
            Step::Later {
                call: Call::Refresh,
                wait_ms,
            }
            | Step::Next {
                call: Call::Refresh,
                wait_ms,
            } if client.has_token() && (plays || matches!(step, Step::Later { .. })) => {
                client.owes_refresh_at = Some(now + Duration::from_millis(wait_ms));
                client.call = Call::Verify;
                Duration::ZERO
            }
            Step::Next { call, wait_ms } | Step::Later { call, wait_ms } => {
                client.call = call;
                Duration::from_millis(wait_ms)
            }
            // The call alone brings a fresh challenge.
            Step::Prove { call } => {
                client.call = call;
                Duration::ZERO
            }
            Step::Tell => {
                self.leave(slot);
                REFUSED_FOR
            }
        };
        let client = &mut self.clients[slot];
        client.is_induced = true;
        if client.call == Call::Login && before != Call::Login {
            if client.is_valid {
                self.counts.extra_logins += 1;
            } else {
                self.counts.needed_logins += 1;
            }
        }
        wait
    }

    fn done(&mut self, slot: usize, now: Instant) -> Duration {
        let at_ms = u64::try_from(self.since_begin(now).as_millis()).unwrap_or(u64::MAX);
        let (chance, kind) = (self.dice.chance(), self.dice.chance());
        let habits = self.habits;
        let client = &mut self.clients[slot];
        let checks = if self.visiting.is_some() {
            client.checks_wanted
        } else {
            habits.checks
        };
        let was_check = matches!(client.call, Call::Verify | Call::WithToken);
        client.is_induced = false;
        client.checks += u32::from(was_check);
        client.call = Call::Verify;
        if !client.is_in && client.checks < checks {
            return Duration::ZERO;
        }
        if !client.is_in {
            client.is_in = true;
            self.counts.in_at_ms.push(at_ms);
        }
        if let Some(Visiting { tally, .. }) = &mut self.visiting {
            if client.entry != Call::Verify {
                tally.in_after(now.saturating_duration_since(client.came_at));
            }
            self.leave(slot);
            return Duration::ZERO;
        }
        let turn = habits.refresh_every > 0 && kind * f64::from(habits.refresh_every) < 1.0;
        // One that was put off is not asked for before its time.
        let refreshes = client.owes_refresh_at.map_or(turn, |at| at <= now);
        if refreshes && client.has_token() {
            client.call = Call::Refresh;
        }
        habits.beat.mul_f64(0.5 + chance)
    }

    /// How long a further call waits that would be made after `wait`, so that there are no more of them than there may be.
    fn turn(&mut self, now: Instant, wait: Duration) -> Duration {
        let Some(visiting) = &mut self.visiting else {
            return wait;
        };
        let Some(per_s) = visiting.visits.further_per_s_max else {
            return wait;
        };
        // Each call takes a place in the line, also one that comes later; a client has one at a time, so the line is no longer than the crowd.
        let turn = visiting.turn_at.map_or(now, |at| at.max(now));
        visiting.turn_at = Some(turn + Duration::from_secs_f64(1.0 / per_s.max(1.0)));
        (now + wait).max(turn) - now
    }

    /// Its visit is over; without visits nobody leaves.
    fn leave(&mut self, slot: usize) {
        if let Some(visiting) = &mut self.visiting {
            visiting.has_left = true;
            self.clients[slot].is_out = false;
        }
    }

    fn next(&mut self, slot: usize, wait: Duration, now: Instant) -> Next {
        if let Some(visiting) = &mut self.visiting
            && std::mem::take(&mut visiting.has_left)
        {
            return Next::Done;
        }
        let wait = self.turn(now, wait);
        self.clients[slot].since = now + wait;
        if wait.is_zero() { Next::Send } else { Next::Wait(wait) }
    }
}

impl Callers for Crowd<'_> {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.begin_at(slot, Instant::now(), out);
    }

    fn begin_at(&mut self, slot: usize, since: Instant, out: &mut Vec<u8>) {
        let now = Instant::now();
        self.begun.get_or_insert(now);
        self.come(slot, since);
        self.clients[slot].since = if self.visiting.is_some() { since } else { now };
        self.counts.needed_logins += u64::from(self.clients[slot].call == Call::Login);
        self.write(slot, out);
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next) {
        let now = Instant::now();
        let seen = Seen::Answer(reply(answer));
        let call = self.clients[slot].call;
        let meaning = seen.meaning(call);
        self.note(slot, meaning, &seen, now);
        self.spend_proof(slot, meaning);
        let mut verdict = match meaning {
            Meaning::Good => Verdict::Ok,
            Meaning::Challenged => Verdict::Refused,
            Meaning::Unknown { .. } if matches!(answer.status, 429 | 503) => Verdict::Refused,
            _ => Verdict::Wrong,
        };
        let brings_tokens = matches!(call, Call::Refresh | Call::Login | Call::Register);
        if meaning == Meaning::Good && brings_tokens {
            let taken = tokens(answer).map(|tokens| self.clients[slot].take_tokens(self.seawall, tokens));
            if !matches!(taken, Some(Ok(()))) {
                verdict = Verdict::Wrong;
            }
        }
        // A client without rules keeps no ticket.
        if call == Call::Login && matches!(self.clients[slot].conduct, Conduct::Good(_)) {
            let shown = answer.field("ticket").map(str::to_owned);
            let client = &mut self.clients[slot];
            client.ticket = shown.or(client.ticket.take());
        }
        let chance = self.dice.chance();
        let step = self.clients[slot].conduct.after(call, &seen, chance);
        let next = if let Step::Prove { .. } = step {
            self.prove(slot, answer, now)
        } else {
            let wait = self.follow(slot, step, now);
            self.next(slot, wait, now)
        };
        if next == Next::Send {
            self.write(slot, out);
        }
        (verdict, next)
    }

    fn resume(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.write(slot, out);
    }

    fn ready(&mut self) -> Option<(usize, Next)> {
        self.proven()
    }

    fn is_working(&self) -> bool {
        self.solver.out() > 0
    }

    fn lost(&mut self, slot: usize) -> Next {
        let now = Instant::now();
        self.counts.lost += 1;
        let call = self.clients[slot].call;
        self.note(slot, Seen::Nothing.meaning(call), &Seen::Nothing, now);
        let chance = self.dice.chance();
        let step = self.clients[slot].conduct.after(call, &Seen::Nothing, chance);
        let wait = self.follow(slot, step, now);
        self.next(slot, wait, now)
    }

    fn waits_for(&self, slot: usize) -> Option<Duration> {
        let client = &self.clients[slot];
        if matches!(client.conduct, Conduct::Naive(_)) {
            return Some(Duration::from_millis(NAIVE_TIMEOUT_MS));
        }
        Some(waits(client.call))
    }

    fn is_over(&self) -> bool {
        let stopped = |visiting: &Visiting| visiting.visits.stop.load(Ordering::Relaxed);
        if self.visiting.as_ref().is_some_and(stopped) {
            return true;
        }
        self.habits.ends_when_in && self.counts.in_at_ms.len() == self.clients.len()
    }
}

fn reply<'a>(answer: &Answer<'a>) -> Reply<'a> {
    let in_header = || Some(answer.header("retry-after")?.parse::<u64>().ok()? * 1_000);
    Reply {
        status: answer.status,
        code: answer.field("code"),
        verdict: answer.field("status"),
        is_ours: answer.header("x-request-id").is_some(),
        retry_after_ms: answer.number("retry_after_ms").or_else(in_header),
        has_place: answer.field("ticket").is_some(),
        has_challenge: asks_for_proof(answer),
    }
}

/// What a refusal is counted under.
fn why(reply: &Reply<'_>) -> String {
    match (reply.code, reply.verdict) {
        _ if !reply.is_ours => format!("{} of somebody else", reply.status),
        _ if reply.has_challenge => "challenge".to_owned(),
        (Some(code), _) => code.to_owned(),
        (None, Some(verdict)) => format!("{} {verdict}", reply.status),
        (None, None) => reply.status.to_string(),
    }
}

fn tokens(answer: &Answer<'_>) -> Option<Player> {
    Some(Player {
        access_token: answer.field("access_token")?.to_owned(),
        refresh_token: answer.field("refresh_token")?.to_owned(),
        guest_secret: answer.field("guest_secret").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::Target;

    /// Nobody answers here.
    struct Nowhere;

    impl Service for Nowhere {
        fn target(&self) -> Target {
            Target::plain(([127, 0, 0, 1], 1).into())
        }
        fn game_id(&self) -> String {
            "1".into()
        }
        fn package_id(&self) -> String {
            "1".into()
        }
        fn signature(&self, _: &str, _: &str) -> io::Result<[(&'static str, String); 4]> {
            Err(io::Error::other("no key"))
        }
        fn take_devices(&self, _: u64) -> u64 {
            0
        }
    }

    fn crowd(further_per_s_max: Option<f64>) -> Crowd<'static> {
        let habits = Habits::of_visitors(1);
        let visits = Visits {
            checks: (0, 0),
            reconnect_share: 0.0,
            further_per_s_max,
            stop: Arc::default(),
        };
        let clients = (0..10).map(|number| Client::newcomer(&format!("n-{number}"), Conduct::naive()));
        Crowd::new(&Nowhere, clients.collect(), habits).visiting(visits)
    }

    #[test]
    fn further_calls_wait_their_turn() {
        let now = Instant::now();
        let mut paced = crowd(Some(100.0));
        let waits: Vec<u128> = (0..4).map(|_| paced.turn(now, Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [0, 10, 20, 30]);
        let later = paced.turn(now, Duration::from_secs(1));
        assert_eq!(later, Duration::from_secs(1), "its own time is later than its turn");
        assert_eq!(paced.turn(now, Duration::ZERO).as_millis(), 50);
        assert_eq!(paced.turn(now + Duration::from_secs(5), Duration::ZERO), Duration::ZERO);
        let mut free = crowd(None);
        assert!((0..100).all(|_| free.turn(now, Duration::ZERO).is_zero()));
    }

    #[test]
    fn a_newcomer_is_somebody_else_each_time() {
        let mut crowd = crowd(None);
        let mut devices = Vec::new();
        for _ in 0..2 {
            let mut out = Vec::new();
            crowd.begin(0, &mut out);
            let text = String::from_utf8_lossy(&out).into_owned();
            devices.push(
                text.split("install_id\":\"")
                    .nth(1)
                    .unwrap_or_default()
                    .split('"')
                    .next()
                    .map(str::to_owned),
            );
        }
        assert_eq!(devices, [Some("n-0-1".to_owned()), Some("n-0-2".to_owned())]);
        let (_, counts, tally) = crowd.end();
        assert_eq!((tally.begun, tally.of(Call::Register).sent, counts.lost), (2, 2, 0));
    }
}
