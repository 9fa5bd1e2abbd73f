//! Who calls: prepared requests, guests that register, sessions that refresh.

// Requests are taken in turn by a place that never passes their number, and slots are those of the run.
#![allow(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::proof::Proving;
use crate::service::{ACCOUNTS, Player, REFRESH, Service, post};
use crate::{Answer, Arrival, Callers, Next, NoMeter, Plan, Verdict, run};

/// What an answer is worth to prepared requests.
pub type Judge = fn(&Answer<'_>) -> Verdict;

/// Right when the token was found valid.
#[must_use]
pub fn is_valid(answer: &Answer<'_>) -> Verdict {
    worth(answer, answer.status == 200 && answer.has("\"status\":\"valid\""))
}

/// The same for players of an old platform, of whom some are banned: that is said, and is no mistake.
#[must_use]
pub fn is_valid_or_banned(answer: &Answer<'_>) -> Verdict {
    if answer.status == 200 && answer.has("\"code\":\"account.restricted\"") {
        return Verdict::Refused;
    }
    is_valid(answer)
}

/// Right when the status is 200.
#[must_use]
pub fn is_200(answer: &Answer<'_>) -> Verdict {
    worth(answer, answer.status == 200)
}

/// Right when something was made.
#[must_use]
pub fn is_201(answer: &Answer<'_>) -> Verdict {
    worth(answer, answer.status == 201)
}

fn worth(answer: &Answer<'_>, right: bool) -> Verdict {
    match answer.status {
        _ if right => Verdict::Ok,
        429 | 503 => Verdict::Refused,
        _ => Verdict::Wrong,
    }
}

/// Requests prepared as bytes, sent in turn.
pub struct Prepared<'a> {
    requests: &'a [Vec<u8>],
    next: usize,
    judge: Judge,
}

impl<'a> Prepared<'a> {
    /// These requests; there must be one at least.
    #[must_use]
    pub fn new(requests: &'a [Vec<u8>], judge: Judge) -> Self {
        Self {
            requests,
            next: 0,
            judge,
        }
    }
}

impl Callers for Box<dyn Callers + '_> {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.as_mut().begin(slot, out);
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next) {
        self.as_mut().answered(slot, answer, out)
    }

    fn begin_at(&mut self, slot: usize, since: Instant, out: &mut Vec<u8>) {
        self.as_mut().begin_at(slot, since, out);
    }

    fn resume(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.as_mut().resume(slot, out);
    }

    fn ready(&mut self) -> Option<(usize, Next)> {
        self.as_mut().ready()
    }

    fn is_working(&self) -> bool {
        self.as_ref().is_working()
    }

    fn lost(&mut self, slot: usize) -> Next {
        self.as_mut().lost(slot)
    }

    fn waits_for(&self, slot: usize) -> Option<Duration> {
        self.as_ref().waits_for(slot)
    }

    fn is_over(&self) -> bool {
        self.as_ref().is_over()
    }
}

impl Callers for Prepared<'_> {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.requests[self.next]);
        self.next = (self.next + 1) % self.requests.len();
    }

    fn answered(&mut self, _: usize, answer: &Answer<'_>, _: &mut Vec<u8>) -> (Verdict, Next) {
        ((self.judge)(answer), Next::Done)
    }
}

/// Watches callers for the one answer that must never come: that a good token or a right password is bad.
pub struct Watched<T> {
    inner: T,
    /// 401 and `invalid`, to players who are all in good order.
    pub false_invalids: u64,
}

impl<T: Callers> Watched<T> {
    /// Watches these, all of whose tokens and passwords are good.
    #[must_use]
    pub fn new(inner: T) -> Self {
        Self {
            inner,
            false_invalids: 0,
        }
    }
}

impl<T: Callers> Callers for Watched<T> {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.inner.begin(slot, out);
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next) {
        let is_invalid = answer.status == 401 || answer.status == 200 && answer.has("\"status\":\"invalid\"");
        self.false_invalids += u64::from(is_invalid);
        self.inner.answered(slot, answer, out)
    }

    fn lost(&mut self, slot: usize) -> Next {
        self.inner.lost(slot)
    }
}

/// Guests that register, each on a device of its own.
pub struct Guests {
    /// The request around the number of the device, which has always ten digits.
    before: Vec<u8>,
    after: Vec<u8>,
    number: u64,
    keep: bool,
    /// Those who registered, when they are kept.
    pub players: Vec<Player>,
}

const DEVICE_PLACE: &str = "0123456789";
/// A device of a guest, before it has its number.
pub const DEVICE: &str = "bench-0123456789";

impl Guests {
    /// Guests nobody asks for again. `series` keeps the devices of several runs apart.
    #[must_use]
    pub fn new(service: &dyn Service, series: u64) -> Self {
        let device = format!("{}-{DEVICE_PLACE}", service.mark());
        let request = service.post(ACCOUNTS, &[], &service.guest_body(&device));
        Self::of_request(&request, series)
    }

    /// Guests who register with this body, in which [`DEVICE`] stands for the device.
    fn of_body(body: &str, series: u64) -> Self {
        Self::of_request(&post(ACCOUNTS, &[], body), series)
    }

    fn of_request(request: &[u8], series: u64) -> Self {
        let place = memchr::memmem::find(request, DEVICE_PLACE.as_bytes()).unwrap_or(request.len());
        Self {
            before: request[..place].to_vec(),
            after: request.get(place + DEVICE_PLACE.len()..).unwrap_or_default().to_vec(),
            number: series * 100_000_000,
            keep: false,
            players: Vec::new(),
        }
    }

    /// Guests whose tokens are wanted.
    #[must_use]
    pub fn keeping(service: &dyn Service) -> Self {
        Self {
            keep: true,
            ..Self::new(service, 90)
        }
    }

    /// Guests of any game, by the body of their registration, whose tokens are wanted.
    #[must_use]
    pub fn keeping_of(body: &str) -> Self {
        Self {
            keep: true,
            ..Self::of_body(body, 80)
        }
    }

    /// The same on the devices that come after so many.
    #[must_use]
    pub fn after(self, count: u64) -> Self {
        Self {
            number: self.number + count,
            ..self
        }
    }

    /// The same on devices of another series.
    #[must_use]
    pub fn in_series(self, series: u64) -> Self {
        Self {
            number: series * 100_000_000,
            ..self
        }
    }
}

impl Callers for Guests {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        self.number += 1;
        out.extend_from_slice(&self.before);
        out.extend_from_slice(format!("{:010}", self.number).as_bytes());
        out.extend_from_slice(&self.after);
    }

    fn answered(&mut self, _: usize, answer: &Answer<'_>, _: &mut Vec<u8>) -> (Verdict, Next) {
        let tokens = answer.field("access_token").zip(answer.field("refresh_token"));
        if let Some((access, refresh)) = tokens.filter(|_| self.keep) {
            self.players.push(Player {
                access_token: access.to_owned(),
                refresh_token: refresh.to_owned(),
                guest_secret: answer.field("guest_secret").unwrap_or_default().to_owned(),
            });
        }
        (worth(answer, answer.status == 201 && tokens.is_some()), Next::Done)
    }
}

/// Connections that register guests before a run.
const MAKING_CONNECTIONS: usize = 64;
/// How long that may take.
const MAKING_MAX: Duration = Duration::from_secs(60);

/// Registers these guests; their tokens.
///
/// # Errors
/// When one of them was not registered.
pub fn register(service: &dyn Service, count: usize, mut guests: Guests) -> io::Result<Vec<Player>> {
    let mut end = Instant::now() + MAKING_MAX;
    while guests.players.len() < count {
        let missing = count - guests.players.len();
        let plan = making(service, MAKING_CONNECTIONS.min(missing), missing);
        if service.pace_per_s().is_some() {
            end = end.max(Instant::now() + plan.span + MAKING_MAX);
        }
        let outcome = run(&plan, &mut Proving::new(&mut guests), &mut NoMeter)?;
        // After a storm it may take a moment until everybody is let in again.
        if outcome.failures() > 0 || Instant::now() > end {
            let why = format!("guests were not registered: {:?}", outcome.examples);
            return Err(io::Error::other(why));
        }
    }
    Ok(guests.players)
}

/// So many calls over so many connections, as fast as they are answered or at the service's pace.
pub(crate) fn making(service: &dyn Service, connections: usize, calls: usize) -> Plan {
    let Some(pace_per_s) = service.pace_per_s() else {
        return Plan::exactly(service.target(), connections, calls as u64);
    };
    let span = Duration::from_secs_f64(calls as f64 / pace_per_s);
    Plan {
        warm_up: Duration::ZERO,
        ..Plan::open(service.target(), connections, Arrival::Constant(pace_per_s), span)
    }
}

/// Registers so many guests on devices that nobody has used yet; their tokens.
///
/// # Errors
/// As [`register`].
pub fn fresh_guests(service: &dyn Service, count: usize) -> io::Result<Vec<Player>> {
    let before = service.take_devices(count as u64);
    register(service, count, Guests::keeping(service).after(before))
}

/// Sessions that exchange their refresh token for the next; a token is used by one slot at a time.
pub struct Refreshes {
    waiting: VecDeque<String>,
    /// The token a slot has sent, to be tried again when its connection is lost.
    sent: Vec<String>,
    /// How often no token was free; such a call is a wrong one.
    pub missing: u64,
}

impl Refreshes {
    /// Sessions of these players, over so many slots; several for each slot, so that none is used twice at once.
    #[must_use]
    pub fn new(players: &[Player], slots: usize) -> Self {
        Self {
            waiting: players.iter().map(|player| player.refresh_token.clone()).collect(),
            sent: vec![String::new(); slots],
            missing: 0,
        }
    }
}

impl Callers for Refreshes {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        let token = self.waiting.pop_front().unwrap_or_else(|| {
            self.missing += 1;
            String::new()
        });
        out.extend_from_slice(&post(REFRESH, &[], &json!({"refresh_token": token}).to_string()));
        self.sent[slot] = token;
    }

    fn answered(&mut self, slot: usize, answer: &Answer<'_>, _: &mut Vec<u8>) -> (Verdict, Next) {
        // Some of the accounts of a large set are banned, and stay so.
        if answer.status == 403 && answer.has("\"account.restricted\"") {
            return (Verdict::Refused, Next::Done);
        }
        let next = answer.field("refresh_token").map(str::to_owned);
        let right = answer.status == 200 && next.is_some();
        self.waiting
            .push_back(next.unwrap_or_else(|| std::mem::take(&mut self.sent[slot])));
        (worth(answer, right), Next::Done)
    }

    fn lost(&mut self, slot: usize) -> Next {
        self.waiting.push_back(std::mem::take(&mut self.sent[slot]));
        Next::Done
    }
}
