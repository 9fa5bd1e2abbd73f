//! Waiting rooms for logins: who came first logs in first, without a row or an entry per waiter.
//!
//! A ticket says in which second its holder arrived and how many of that second came before, under a MAC. Each game's
//! room keeps one point in the order of arrivals; it is the turn of whoever is before it. The point moves over the
//! counted arrivals of each second as fast as logins are permitted. Those who leave keep their places; what they leave
//! unused is spare, and anybody may have it ([`Turn::Spare`]).
//!
//! Tickets outlive the process, the counts do not: the point of a room that starts holds still until every waiter has asked
//! once, and the room counts each of them again in the second it arrived.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use seawall_storage::Secret32;

use crate::ids::{GameId, UnixMs};
use crate::platform::Platform;

mod room;
#[cfg(test)]
mod tests;
mod ticket;

use room::Room;
use ticket::Claims;

/// How long a ticket counts, in milliseconds: 30 minutes.
pub const TICKET_LIFE_MS: u64 = 1_800_000;
/// Seconds whose arrivals are counted; older ones have no ticket any more.
pub const RING_SECONDS: usize = 3_600;
/// Shortest and longest time a waiter is told to wait before it asks again, in milliseconds.
pub const POLL_AFTER_MS: std::ops::RangeInclusive<u64> = 1_000..=15_000;
/// How long the point of a room that starts holds still, so that waiters of before come back to their places.
pub const REJOIN_MS: u64 = 20_000;
/// Games with a room of their own, 57 KiB each; later ones share one.
pub const ROOMS_MAX: usize = 64;
/// Waiters who are told the longest time are spread over so much of its end, in milliseconds.
const POLL_SPREAD_MS: u64 = 3_000;

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

/// What who knocks may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is their turn: before all who have none.
    Come,
    /// It is not, or they have no ticket, but fewer come than are permitted.
    Spare,
    /// All that is permitted is for those whose turn it is.
    NotYet,
}

/// Somebody who knocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Knocked {
    /// What they may do.
    pub turn: Turn,
    /// Their place; none for who brought no ticket of theirs.
    claims: Option<Claims>,
}

/// How one room stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WaitingRoomView {
    /// Whose players; none for the room shared by games without one of their own and callers who name no game.
    pub game_id: Option<GameId>,
    /// Places in front of who comes now, those of who left included.
    pub waiting: u64,
    /// Logins a second that it lets in.
    pub logins_per_s: f64,
    /// About how long who comes now will wait, in milliseconds.
    pub estimate_ms: u64,
}

/// What the rooms counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WaitingCounters {
    /// Tickets shown, at first and again.
    pub tickets_shown: u64,
    /// Logins let in because it was their turn.
    pub turns_come: u64,
    /// Texts that are no ticket of ours, ignored.
    pub tickets_forged: u64,
    /// Tickets of another device or game, ignored.
    pub tickets_foreign: u64,
    /// Tickets beyond their life, ignored.
    pub tickets_expired: u64,
}

#[derive(Default)]
struct Tally {
    shown: AtomicU64,
    come: AtomicU64,
    forged: AtomicU64,
    foreign: AtomicU64,
    expired: AtomicU64,
}

/// All rooms.
pub(crate) struct WaitingRooms {
    key: Secret32,
    began_at: UnixMs,
    own: RwLock<HashMap<GameId, Arc<Room>>>,
    shared: Arc<Room>,
    tally: Tally,
}

impl WaitingRooms {
    /// Rooms of a process that starts now; `key` is the cluster's key for tickets.
    pub(crate) fn new(key: Secret32, now_at: UnixMs) -> Self {
        Self {
            key,
            began_at: now_at,
            own: RwLock::default(),
            shared: Arc::new(Room::new(now_at)),
            tally: Tally::default(),
        }
    }

    /// The room of a game; the shared one when there are too many, or without a game.
    fn of(&self, game: Option<GameId>) -> Arc<Room> {
        let Some(game) = game else {
            return Arc::clone(&self.shared);
        };
        if let Some(room) = self.own.read().get(&game) {
            return Arc::clone(room);
        }
        let mut own = self.own.write();
        if own.len() >= ROOMS_MAX && !own.contains_key(&game) {
            return Arc::clone(&self.shared);
        }
        Arc::clone(own.entry(game).or_insert_with(|| Arc::new(Room::new(self.began_at))))
    }

    /// Whether it is somebody's turn. A forged, foreign or expired ticket is as good as none, and counted.
    pub(crate) fn knock(
        &self,
        ticket: Option<&str>,
        now_at: UnixMs,
        game: Option<GameId>,
        subject: [u8; 16],
        logins_per_s: Option<f64>,
    ) -> Knocked {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let read = ticket.and_then(|text| {
            let claims = ticket::read(&self.key, text);
            if claims.is_none() {
                count(&self.tally.forged);
            }
            claims
        });
        let own = read.filter(|claims| claims.game == said(game) && claims.subject == subject);
        if read.is_some() && own.is_none() {
            count(&self.tally.foreign);
        }
        let (turn, claims) = self.of(game).knock(own, now_at, logins_per_s);
        if own.is_some() && claims.is_none() {
            count(&self.tally.expired);
        }
        Knocked { turn, claims }
    }

    /// Who knocked was let in.
    pub(crate) fn enter(&self, knocked: &Knocked, game: Option<GameId>) {
        if knocked.turn == Turn::Come {
            self.tally.come.fetch_add(1, Ordering::Relaxed);
        }
        self.of(game).enter();
    }

    /// The ticket of who knocked and was not let in: the one they have, or a new place at the end.
    pub(crate) fn wait(&self, knocked: &Knocked, now_at: UnixMs, game: Option<GameId>, subject: [u8; 16]) -> Ticket {
        let room = self.of(game);
        let claims = knocked
            .claims
            .unwrap_or_else(|| room.arrive(now_at, said(game), subject));
        let standing = room.standing(&claims);
        self.tally.shown.fetch_add(1, Ordering::Relaxed);
        Ticket {
            ticket: ticket::print(&self.key, &claims),
            place: standing.place,
            estimate_ms: standing.estimate_ms,
            poll_after_ms: poll_after_ms(standing.estimate_ms, subject),
        }
    }

    pub(crate) fn counters(&self) -> WaitingCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WaitingCounters {
            tickets_shown: of(&self.tally.shown),
            turns_come: of(&self.tally.come),
            tickets_forged: of(&self.tally.forged),
            tickets_foreign: of(&self.tally.foreign),
            tickets_expired: of(&self.tally.expired),
        }
    }

    /// Every room that was used, by game, the shared one last.
    pub(crate) fn views(&self, now_at: UnixMs) -> Vec<WaitingRoomView> {
        let view = |game_id: Option<GameId>, room: &Room| {
            let (standing, logins_per_s) = room.at_the_end(now_at);
            WaitingRoomView {
                game_id,
                waiting: standing.place,
                logins_per_s,
                estimate_ms: standing.estimate_ms,
            }
        };
        let mut all: Vec<_> = (self.own.read().iter())
            .map(|(game_id, room)| view(Some(*game_id), room))
            .collect();
        all.sort_by_key(|view| view.game_id);
        all.push(view(None, &self.shared));
        all
    }
}

/// As it stands in a ticket.
fn said(game: Option<GameId>) -> GameId {
    game.unwrap_or(GameId(0))
}

/// When to ask again: after half of what it will take at the present rate, for that rises when the rush is over; where it is long, not
/// all who came together at once.
fn poll_after_ms(estimate_ms: u64, subject: [u8; 16]) -> u64 {
    let (least_ms, most_ms) = (*POLL_AFTER_MS.start(), *POLL_AFTER_MS.end());
    let half_ms = estimate_ms / 2;
    if half_ms <= most_ms {
        return half_ms.max(least_ms);
    }
    let place = subject.first_chunk::<2>().copied().map_or(0, u16::from_be_bytes);
    most_ms - u64::from(place) % POLL_SPREAD_MS
}

impl Platform {
    /// Whether it is the turn of a login, in the waiting room of a game that lets so many in a second from now on (as many
    /// as before without a number, everybody when there never was one); no game for a caller who names none. `subject` names who waits, the same at every try (the device); a ticket counts for
    /// nobody else. A forged or foreign ticket, or one of more than 30 minutes ago, is as good as none.
    #[must_use]
    pub fn login_knock(
        &self,
        ticket: Option<&str>,
        game: Option<GameId>,
        subject: &str,
        logins_per_s: Option<f64>,
    ) -> Knocked {
        let subject = self.waiting_subject(subject);
        let rooms = &self.inner.waiting_rooms;
        rooms.knock(ticket, self.now_at(), game, subject, logins_per_s)
    }

    /// Who knocked was let in: one less for the others.
    pub fn login_enter(&self, knocked: &Knocked, game: Option<GameId>) {
        self.inner.waiting_rooms.enter(knocked, game);
    }

    /// The ticket of who knocked and was not let in: the one they brought, or a new place at the end.
    #[must_use]
    pub fn login_wait(&self, knocked: &Knocked, game: Option<GameId>, subject: &str) -> Ticket {
        let subject = self.waiting_subject(subject);
        self.inner.waiting_rooms.wait(knocked, self.now_at(), game, subject)
    }

    /// How the waiting rooms stand, by game, the shared one last.
    #[must_use]
    pub fn waiting_rooms(&self) -> Vec<WaitingRoomView> {
        self.inner.waiting_rooms.views(self.now_at())
    }

    fn waiting_subject(&self, subject: &str) -> [u8; 16] {
        crate::device::device_hash(&self.inner.lookup, subject)
    }
}
