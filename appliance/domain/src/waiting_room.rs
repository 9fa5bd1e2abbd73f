//! The waiting room for logins: who came first logs in first, without a row or an entry per waiter.
//!
//! A ticket says in which second its holder arrived and how many of that second came before, under a MAC. The room keeps
//! one point in the order of arrivals; whoever is before it may log in. It moves over the counted arrivals of each
//! second as fast as logins are permitted. Those who leave keep their places: the rate is what is tried, not what comes.
//!
//! Tickets outlive the process, the counts do not: a room that starts holds still until every waiter has asked once, and
//! counts each of them again in the second it arrived.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use seawall_storage::Secret32;
use subtle::ConstantTimeEq;

use crate::ids::{GameId, UnixMs};
use crate::platform::Platform;

/// How long a ticket counts, in milliseconds: 30 minutes.
pub const TICKET_LIFE_MS: u64 = 1_800_000;
/// Seconds whose arrivals are counted; older ones have no ticket any more.
pub const RING_SECONDS: usize = 3_600;
/// Shortest and longest time a waiter is told to wait before it asks again, in milliseconds.
pub const POLL_AFTER_MS: std::ops::RangeInclusive<u64> = 1_000..=15_000;
/// How long a room that starts holds still, so that waiters of before come back to their places.
pub const REJOIN_MS: u64 = 20_000;

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
const SIGNED_BYTES: usize = 1 + 4 + 16 + 8 + 4 + 8;
const TICKET_BYTES: usize = SIGNED_BYTES + MAC_BYTES;

/// How fast the room lets logins through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WaitingRoomOptions {
    /// Logins a second until [`Platform::set_logins_per_s`] says otherwise. Default 500.
    pub logins_per_s: f64,
}

impl Default for WaitingRoomOptions {
    fn default() -> Self {
        Self { logins_per_s: 500.0 }
    }
}

/// A place in the waiting room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// To be shown at the next try; opaque, base64url.
    pub ticket: String,
    /// About how many are in front.
    pub place: u64,
    /// About how long it will take, in milliseconds, at most the life of a ticket.
    pub estimate_ms: u64,
    /// When to ask again, in milliseconds.
    pub poll_after_ms: u64,
}

/// Whether it is somebody's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Log in now.
    Now,
    /// Wait, with this ticket.
    Wait(Ticket),
}

/// What a ticket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claims {
    game: GameId,
    subject: [u8; 16],
    arrived_at: UnixMs,
    /// How many of the same second came before.
    rank: u32,
    /// Start of the room that counted the arrival.
    counted_by_at: UnixMs,
}

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    arrivals: u32,
}

struct State {
    /// Arrivals by second, at its number modulo the ring's size.
    ring: Vec<Second>,
    logins_per_s: f64,
    /// Start of this room.
    began_at: UnixMs,
    /// Wall clock of the last call, and what is added to it since it was set back: the room's time never runs backwards.
    wall_at: UnixMs,
    ahead_ms: u64,
    moved_at: UnixMs,
    /// The second whose arrivals are being let through; those of earlier ones are.
    serving: u64,
    /// Arrivals of that second that are let through.
    served: u32,
    /// Logins permitted and not used.
    permits: f64,
}

/// The room.
pub(crate) struct WaitingRoom {
    key: Secret32,
    state: Mutex<State>,
}

impl WaitingRoom {
    /// A room that starts now; `key` is the cluster's key for tickets.
    pub(crate) fn new(key: Secret32, options: WaitingRoomOptions, now_at: UnixMs) -> Self {
        Self {
            key,
            state: Mutex::new(State {
                ring: vec![Second::default(); RING_SECONDS],
                logins_per_s: options.logins_per_s,
                began_at: now_at,
                wall_at: now_at,
                ahead_ms: 0,
                moved_at: now_at.saturating_add(REJOIN_MS),
                serving: now_at.saturating_sub(TICKET_LIFE_MS) / 1_000,
                served: 0,
                permits: 0.0,
            }),
        }
    }

    /// Sets the rate from now on; what is no positive number stops the room.
    pub(crate) fn set_logins_per_s(&self, logins_per_s: f64, now_at: UnixMs) {
        let mut state = self.state.lock();
        state.advance(now_at);
        state.logins_per_s = logins_per_s;
        state.permits = state.permits.min(state.rate());
    }

    /// A new place at the end.
    pub(crate) fn ticket(&self, now_at: UnixMs, game: GameId, subject: [u8; 16]) -> Ticket {
        let mut state = self.state.lock();
        let arrived_at = state.advance(now_at);
        let claims = state.arrive(game, subject, arrived_at);
        self.shown(&state, claims)
    }

    /// Whether it is the turn of a ticket. A forged, foreign or expired ticket, or none, is a new arrival.
    pub(crate) fn turn(&self, ticket: Option<&str>, now_at: UnixMs, game: GameId, subject: [u8; 16]) -> Turn {
        let mut state = self.state.lock();
        let room_at = state.advance(now_at);
        let claims = ticket.and_then(|ticket| self.read(ticket)).filter(|claims| {
            claims.game == game
                && claims.subject == subject
                && claims.arrived_at <= room_at
                && room_at - claims.arrived_at <= TICKET_LIFE_MS
        });
        let claims = match claims {
            Some(claims) if claims.counted_by_at == state.began_at => claims,
            // Counted before a restart: this room does not know the arrival yet.
            Some(claims) => state.arrive(game, subject, claims.arrived_at),
            None => state.arrive(game, subject, room_at),
        };
        state.serve(room_at);
        if state.is_let_in(&claims) {
            Turn::Now
        } else {
            Turn::Wait(self.shown(&state, claims))
        }
    }

    fn shown(&self, state: &State, claims: Claims) -> Ticket {
        let place = state.place(&claims);
        let estimate_ms = state.estimate_ms(place);
        Ticket {
            ticket: self.print(claims),
            place,
            estimate_ms,
            poll_after_ms: estimate_ms.clamp(*POLL_AFTER_MS.start(), *POLL_AFTER_MS.end()),
        }
    }

    fn print(&self, claims: Claims) -> String {
        let mut bytes = Vec::with_capacity(TICKET_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&claims.game.0.to_be_bytes());
        bytes.extend_from_slice(&claims.subject);
        bytes.extend_from_slice(&claims.arrived_at.to_be_bytes());
        bytes.extend_from_slice(&claims.rank.to_be_bytes());
        bytes.extend_from_slice(&claims.counted_by_at.to_be_bytes());
        let mac = self.mac(&bytes);
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, text: &str) -> Option<Claims> {
        let mut bytes = [0; TICKET_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (signed, mac) = bytes.split_first_chunk::<SIGNED_BYTES>()?;
        if length != TICKET_BYTES || !bool::from(self.mac(signed).ct_eq(mac)) {
            return None;
        }
        let (version, rest) = signed.split_first()?;
        let (game, rest) = rest.split_first_chunk::<4>()?;
        let (subject, rest) = rest.split_first_chunk::<16>()?;
        let (arrived_at, rest) = rest.split_first_chunk::<8>()?;
        let (rank, rest) = rest.split_first_chunk::<4>()?;
        let (counted_by_at, _) = rest.split_first_chunk::<8>()?;
        (*version == VERSION).then_some(Claims {
            game: GameId(u32::from_be_bytes(*game)),
            subject: *subject,
            arrived_at: u64::from_be_bytes(*arrived_at),
            rank: u32::from_be_bytes(*rank),
            counted_by_at: u64::from_be_bytes(*counted_by_at),
        })
    }

    fn mac(&self, bytes: &[u8]) -> [u8; MAC_BYTES] {
        let full = blake3::keyed_hash(self.key.expose(), bytes);
        full.as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl State {
    /// Lets time pass; answers the room's time.
    fn advance(&mut self, now_at: UnixMs) -> UnixMs {
        self.ahead_ms = self.ahead_ms.saturating_add(self.wall_at.saturating_sub(now_at));
        self.wall_at = now_at;
        let room_at = now_at.saturating_add(self.ahead_ms);
        let passed_ms = room_at.saturating_sub(self.moved_at);
        if passed_ms == 0 {
            return room_at;
        }
        self.moved_at = room_at;
        let rate = self.rate();
        self.permits += passed_ms as f64 / 1_000.0 * rate;
        self.serve(room_at);
        // Nobody waited for what is left. A second's worth is kept, so that a pause is not followed by a rush.
        self.permits = self.permits.min(rate.max(1.0));
        room_at
    }

    fn rate(&self) -> f64 {
        if self.logins_per_s > 0.0 {
            self.logins_per_s.min(1e9)
        } else {
            0.0
        }
    }

    /// Moves on over the arrivals that the permits cover; not before waiters of an earlier room had time to come back.
    fn serve(&mut self, room_at: UnixMs) {
        if room_at < self.began_at.saturating_add(REJOIN_MS) {
            return;
        }
        let current = room_at / 1_000;
        // What left the ring has no ticket any more.
        let oldest = current.saturating_sub(RING_SECONDS as u64 - 1);
        if self.serving < oldest {
            (self.serving, self.served) = (oldest, 0);
        }
        loop {
            let arrivals = self.arrivals(self.serving);
            let let_in = arrivals.saturating_sub(self.served).min(self.permits as u32);
            self.permits -= f64::from(let_in);
            self.served += let_in;
            if self.served < arrivals || self.serving >= current {
                return;
            }
            (self.serving, self.served) = (self.serving + 1, 0);
        }
    }

    fn is_let_in(&self, claims: &Claims) -> bool {
        (claims.arrived_at / 1_000, claims.rank) < (self.serving, self.served)
    }

    fn arrivals(&self, number: u64) -> u32 {
        let second = self.ring.get(number as usize % RING_SECONDS);
        second
            .filter(|second| second.number == number)
            .map_or(0, |second| second.arrivals)
    }

    /// Counts an arrival.
    fn arrive(&mut self, game: GameId, subject: [u8; 16], arrived_at: UnixMs) -> Claims {
        let number = arrived_at / 1_000;
        let rank = self.arrivals(number);
        if let Some(second) = self.ring.get_mut(number as usize % RING_SECONDS) {
            *second = Second {
                number,
                arrivals: rank.saturating_add(1),
            };
        }
        Claims {
            game,
            subject,
            arrived_at,
            rank,
            counted_by_at: self.began_at,
        }
    }

    /// How many that arrived before are not let in yet.
    fn place(&self, claims: &Claims) -> u64 {
        let own = claims.arrived_at / 1_000;
        let oldest = own.saturating_sub(RING_SECONDS as u64 - 1);
        let before: u64 = (self.serving.max(oldest)..own)
            .map(|number| u64::from(self.arrivals(number)))
            .sum();
        (before + u64::from(claims.rank)).saturating_sub(u64::from(self.served))
    }

    fn estimate_ms(&self, place: u64) -> u64 {
        let room_at = self.wall_at.saturating_add(self.ahead_ms);
        let held_ms = self.began_at.saturating_add(REJOIN_MS).saturating_sub(room_at);
        let estimate_ms = (place as f64 + 1.0) / self.rate() * 1_000.0;
        // Infinite when nobody is let in.
        (estimate_ms.min(TICKET_LIFE_MS as f64) as u64 + held_ms).min(TICKET_LIFE_MS)
    }
}

impl Platform {
    /// A place at the end of the waiting room for logins. `subject` names who waits, the same at every try (the
    /// device); a ticket counts for nobody else.
    #[must_use]
    pub fn login_ticket(&self, game: GameId, subject: &str) -> Ticket {
        let subject = self.waiting_subject(subject);
        self.inner.waiting_room.ticket(self.now_at(), game, subject)
    }

    /// Whether it is the turn of the ticket's holder. A forged or foreign ticket, or one of more than 30 minutes ago, is
    /// treated as none and gets a new place at the end.
    #[must_use]
    pub fn login_turn(&self, ticket: Option<&str>, game: GameId, subject: &str) -> Turn {
        let subject = self.waiting_subject(subject);
        self.inner.waiting_room.turn(ticket, self.now_at(), game, subject)
    }

    /// How many logins a second the waiting room lets through from now on; 0 lets nobody through.
    pub fn set_logins_per_s(&self, logins_per_s: f64) {
        self.inner.waiting_room.set_logins_per_s(logins_per_s, self.now_at());
    }

    fn waiting_subject(&self, subject: &str) -> [u8; 16] {
        crate::device::device_hash(&self.inner.lookup, subject)
    }
}

#[cfg(test)]
mod tests;
