//! One room: the arrivals of an hour by second, the point in their order up to which logins are let in, and how many may
//! be let in at all.

use parking_lot::Mutex;

use super::ticket::Claims;
use super::{REJOIN_MS, RING_SECONDS, TICKET_LIFE_MS, Turn};
use crate::ids::{GameId, UnixMs};

/// What was not used is let in later, up to so many seconds' worth, whoever it is; the one half for those whose turn it is.
const ENTRIES_S: f64 = 2.0;
/// However slow the room: so many may be let in at once.
const ENTRIES_MIN: f64 = 2.0;
/// Faster than any house.
const LOGINS_PER_S_MAX: f64 = 1e9;

#[derive(Debug, Clone, Copy, Default)]
struct Second {
    number: u64,
    arrivals: u32,
}

/// The room.
pub(super) struct Room(Mutex<State>);

struct State {
    /// Arrivals by second, at its number modulo the ring's size.
    ring: Vec<Second>,
    logins_per_s: f64,
    /// Start of the process.
    began_at: UnixMs,
    /// Wall clock of the last call, and what is added to it since it was set back: the room's time never runs backwards.
    wall_at: UnixMs,
    ahead_ms: u64,
    moved_at: UnixMs,
    refilled_at: UnixMs,
    /// The second whose arrivals are being let through; those of earlier ones are.
    serving: u64,
    /// Arrivals of that second that are let through.
    served: u32,
    /// Steps of the point permitted and not made.
    permits: f64,
    /// Logins permitted and not made.
    entries: f64,
    /// It was told no rate yet.
    is_new: bool,
}

/// Where somebody stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) place: u64,
    pub(super) estimate_ms: u64,
}

impl Room {
    /// An empty room of a process that started at `began_at`; it lets nobody in before it is told a rate.
    pub(super) fn new(began_at: UnixMs) -> Self {
        Self(Mutex::new(State {
            ring: vec![Second::default(); RING_SECONDS],
            logins_per_s: 0.0,
            began_at,
            wall_at: began_at,
            ahead_ms: 0,
            moved_at: began_at.saturating_add(REJOIN_MS),
            refilled_at: began_at,
            serving: began_at.saturating_sub(TICKET_LIFE_MS) / 1_000,
            served: 0,
            permits: 0.0,
            entries: 0.0,
            is_new: true,
        }))
    }

    /// Whether it is the turn of a ticket's holder, and the claims as this room counts them; no claims when they are too
    /// old or there were none. The room lets so many in from now on; what is no positive number stops it, and without a
    /// number it goes on as before.
    pub(super) fn knock(
        &self,
        claims: Option<Claims>,
        now_at: UnixMs,
        logins_per_s: Option<f64>,
    ) -> (Turn, Option<Claims>) {
        let mut state = self.0.lock();
        let room_at = state.advance(now_at);
        if let Some(logins_per_s) = logins_per_s.or_else(|| state.is_new.then_some(f64::INFINITY)) {
            state.set_logins_per_s(logins_per_s);
        }
        let live = |claims: &Claims| claims.arrived_at <= room_at && room_at - claims.arrived_at <= TICKET_LIFE_MS;
        let claims = claims.filter(live).map(|claims| {
            if claims.counted_by_at == state.began_at {
                claims
            } else {
                // Counted before a restart: this room does not know the arrival yet.
                state.arrive(claims.game, claims.subject, claims.arrived_at)
            }
        });
        state.serve(room_at);
        let is_let_in = claims.as_ref().is_some_and(|claims| state.is_let_in(claims));
        (state.turn(is_let_in), claims)
    }

    /// Somebody was let in.
    pub(super) fn enter(&self) {
        let mut state = self.0.lock();
        state.entries = (state.entries - 1.0).max(0.0);
    }

    /// A place at the end.
    pub(super) fn arrive(&self, now_at: UnixMs, game: GameId, subject: [u8; 16]) -> Claims {
        let mut state = self.0.lock();
        let room_at = state.advance(now_at);
        state.arrive(game, subject, room_at)
    }

    /// Where the holder of claims stands.
    pub(super) fn standing(&self, claims: &Claims) -> Standing {
        let state = self.0.lock();
        let place = state.place(claims.arrived_at / 1_000, claims.rank);
        Standing {
            place,
            estimate_ms: state.estimate_ms(place),
        }
    }

    /// Where who comes now would stand, and how many logins a second the room lets in.
    pub(super) fn at_the_end(&self, now_at: UnixMs) -> (Standing, f64) {
        let mut state = self.0.lock();
        let number = state.advance(now_at) / 1_000;
        let place = state.place(number, state.arrivals(number));
        let standing = Standing {
            place,
            estimate_ms: if place == 0 { 0 } else { state.estimate_ms(place) },
        };
        (standing, state.rate())
    }
}

impl State {
    /// Lets time pass; answers the room's time.
    fn advance(&mut self, now_at: UnixMs) -> UnixMs {
        self.ahead_ms = self.ahead_ms.saturating_add(self.wall_at.saturating_sub(now_at));
        self.wall_at = now_at;
        let room_at = now_at.saturating_add(self.ahead_ms);
        let rate = self.rate();
        let refill_ms = room_at.saturating_sub(self.refilled_at);
        self.refilled_at = room_at;
        self.entries = (self.entries + refill_ms as f64 / 1_000.0 * rate).min(self.entries_max());
        let passed_ms = room_at.saturating_sub(self.moved_at);
        if passed_ms == 0 {
            return room_at;
        }
        self.moved_at = room_at;
        self.permits += passed_ms as f64 / 1_000.0 * rate;
        self.serve(room_at);
        // Nobody waited for what is left. A second's worth is kept, so that a pause is not followed by a rush.
        self.permits = self.permits.min(self.permits_max());
        room_at
    }

    fn set_logins_per_s(&mut self, logins_per_s: f64) {
        self.logins_per_s = logins_per_s;
        self.permits = self.permits.min(self.permits_max());
        self.entries = if std::mem::take(&mut self.is_new) {
            self.entries_max()
        } else {
            self.entries.min(self.entries_max())
        };
    }

    fn rate(&self) -> f64 {
        if self.logins_per_s > 0.0 {
            self.logins_per_s.min(LOGINS_PER_S_MAX)
        } else {
            0.0
        }
    }

    fn permits_max(&self) -> f64 {
        match self.rate() {
            0.0 => 0.0,
            rate => rate.max(1.0),
        }
    }

    fn entries_max(&self) -> f64 {
        match self.rate() {
            0.0 => 0.0,
            rate => (rate * ENTRIES_S).max(ENTRIES_MIN),
        }
    }

    /// What somebody may do now, given whether the point has passed them.
    fn turn(&self, is_let_in: bool) -> Turn {
        if is_let_in && self.entries >= 1.0 {
            Turn::Come
        } else if self.entries >= 1.0 + self.entries_max() / 2.0 {
            Turn::Spare
        } else {
            Turn::NotYet
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

    /// How many that arrived before that rank of a second are not let in yet.
    fn place(&self, number: u64, rank: u32) -> u64 {
        let oldest = number.saturating_sub(RING_SECONDS as u64 - 1);
        let before: u64 = (self.serving.max(oldest)..number)
            .map(|number| u64::from(self.arrivals(number)))
            .sum();
        if self.serving > number {
            return 0;
        }
        (before + u64::from(rank)).saturating_sub(u64::from(self.served))
    }

    fn estimate_ms(&self, place: u64) -> u64 {
        let room_at = self.wall_at.saturating_add(self.ahead_ms);
        let held_ms = self.began_at.saturating_add(REJOIN_MS).saturating_sub(room_at);
        let estimate_ms = (place as f64 + 1.0) / self.rate() * 1_000.0;
        // Infinite when nobody is let in.
        (estimate_ms.min(TICKET_LIFE_MS as f64) as u64 + held_ms).min(TICKET_LIFE_MS)
    }
}
