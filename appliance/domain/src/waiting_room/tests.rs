//! First come, first served: across restarts, with clocks that step, and whatever a waiter tries.

use std::cell::Cell;

use super::*;
use proptest::prelude::*;
use seawall_storage::KeyRing;

const NOW_AT: UnixMs = 1_700_000_000_000;
const GAME: GameId = GameId(7);

/// What came of asking once, without a ticket from a new place.
#[derive(Debug, PartialEq)]
enum Asked {
    Now,
    Wait(Ticket),
}

/// Rooms of a rate. Nobody is told to have entered, so that the order alone decides.
struct AtRate {
    rooms: WaitingRooms,
    logins_per_s: Cell<f64>,
}

impl AtRate {
    fn knock(&self, ticket: Option<&str>, now_at: UnixMs, game: GameId, subject: [u8; 16]) -> Knocked {
        self.rooms
            .knock(ticket, now_at, Some(game), subject, Some(self.logins_per_s.get()))
    }

    fn set_logins_per_s(&self, logins_per_s: f64, now_at: UnixMs) {
        self.logins_per_s.set(logins_per_s);
        self.knock(None, now_at, GAME, who(0));
    }

    fn ticket(&self, now_at: UnixMs, game: GameId, subject: [u8; 16]) -> Ticket {
        let knocked = self.knock(None, now_at, game, subject);
        self.rooms.wait(&knocked, now_at, Some(game), subject)
    }

    fn turn(&self, ticket: Option<&str>, now_at: UnixMs, game: GameId, subject: [u8; 16]) -> Asked {
        let mut knocked = self.knock(ticket, now_at, game, subject);
        let shown = self.rooms.wait(&knocked, now_at, Some(game), subject);
        if knocked.claims.is_none() {
            knocked = self.knock(Some(&shown.ticket), now_at, game, subject);
        }
        match knocked.turn {
            Turn::Come => Asked::Now,
            Turn::Spare | Turn::NotYet => Asked::Wait(shown),
        }
    }
}

/// A room that started an hour ago and lets so many in a second.
fn room(logins_per_s: f64) -> AtRate {
    begun(logins_per_s, NOW_AT - 3_600_000)
}

fn begun(logins_per_s: f64, began_at: UnixMs) -> AtRate {
    let key = KeyRing::from_entropy(&[3; 32]).derive("waiting room");
    let room = AtRate {
        rooms: WaitingRooms::new(key, began_at),
        logins_per_s: Cell::default(),
    };
    room.set_logins_per_s(logins_per_s, began_at);
    room
}

fn who(n: u64) -> [u8; 16] {
    u128::from(n).to_be_bytes()
}

fn wait(turn: Asked) -> Ticket {
    match turn {
        Asked::Wait(ticket) => ticket,
        Asked::Now => panic!("now"),
    }
}

/// A room of one a second whose permits are used up.
fn crowded() -> AtRate {
    let room = room(1.0);
    assert_eq!(room.turn(None, NOW_AT, GAME, who(0)), Asked::Now);
    room
}

#[test]
fn an_empty_room_lets_in_at_once_and_a_full_one_in_order() {
    let room = crowded();
    let tickets: Vec<Ticket> = (1..=5).map(|n| room.ticket(NOW_AT, GAME, who(n))).collect();
    let places: Vec<u64> = tickets.iter().map(|ticket| ticket.place).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
    assert_eq!(tickets[4].estimate_ms, 5_000);
    assert_eq!((tickets[0].poll_after_ms, tickets[4].poll_after_ms), (1_000, 2_500));
    for second in 1..=5u64 {
        for (n, ticket) in (1..=5).zip(&tickets) {
            let turn = room.turn(Some(&ticket.ticket), NOW_AT + second * 1_000, GAME, who(n));
            assert_eq!(turn == Asked::Now, n <= second, "{n} in second {second}");
        }
    }
}

#[test]
fn places_and_estimates_follow_the_rate() {
    let room = crowded();
    let mut last = room.ticket(NOW_AT, GAME, who(1));
    for n in 2..=1_000 {
        last = room.ticket(NOW_AT + n * 10, GAME, who(n));
    }
    let now_at = NOW_AT + 10_000;
    assert!((985..=999).contains(&last.place), "{}", last.place);
    assert_eq!(last.estimate_ms, (last.place + 1) * 1_000);
    assert!(
        (12_001..=15_000).contains(&last.poll_after_ms),
        "{}",
        last.poll_after_ms
    );
    room.set_logins_per_s(100.0, now_at);
    let shown = wait(room.turn(Some(&last.ticket), now_at, GAME, who(1_000)));
    assert!(shown.estimate_ms <= 10_000, "{}", shown.estimate_ms);
    assert_eq!(shown.ticket, last.ticket);
    assert_eq!(
        room.turn(Some(&last.ticket), now_at + 11_000, GAME, who(1_000)),
        Asked::Now
    );
    room.set_logins_per_s(0.0, now_at + 11_000);
    let stopped = room.ticket(now_at + 11_000, GAME, who(1));
    assert_eq!(stopped.estimate_ms, TICKET_LIFE_MS);
    wait(room.turn(Some(&stopped.ticket), now_at + 600_000, GAME, who(1)));
}

#[test]
fn a_pause_is_not_followed_by_a_rush() {
    let room = crowded();
    let at = NOW_AT + 600_000;
    assert_eq!(room.turn(None, at, GAME, who(1)), Asked::Now);
    wait(room.turn(None, at, GAME, who(2)));
}

#[test]
fn asking_again_jumps_nowhere() {
    let room = crowded();
    let first = room.ticket(NOW_AT, GAME, who(1));
    let mut again = first.clone();
    for _ in 0..20 {
        // Without the ticket: at the end, behind one's own older place.
        let fresh = wait(room.turn(None, NOW_AT, GAME, who(1)));
        assert!(fresh.place > again.place);
        again = fresh;
    }
    let shown = wait(room.turn(Some(&first.ticket), NOW_AT, GAME, who(1)));
    assert_eq!(shown, first, "asking with it changes nothing");
}

#[test]
fn forged_foreign_and_old_tickets_are_none() {
    let room = crowded();
    let ticket = room.ticket(NOW_AT, GAME, who(1)).ticket;
    for n in 2..50 {
        room.ticket(NOW_AT, GAME, who(n));
    }
    let mut forged = ticket.clone().into_bytes();
    forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let end = |turn| assert!(wait(turn).place >= 49);
    end(room.turn(Some(&forged), NOW_AT, GAME, who(1)));
    end(room.turn(Some(&ticket), NOW_AT, GAME, who(2)));
    end(room.turn(Some("rubbish"), NOW_AT, GAME, who(1)));
    end(room.turn(Some(""), NOW_AT, GAME, who(1)));
    assert_eq!(room.knock(Some(&ticket), NOW_AT, GameId(8), who(1)).claims, None);
    room.set_logins_per_s(0.0, NOW_AT);
    let at = NOW_AT + TICKET_LIFE_MS;
    assert_eq!(wait(room.turn(Some(&ticket), at, GAME, who(1))).place, 0);
    end(room.turn(Some(&ticket), at + 1, GAME, who(1)));
    let counted = room.rooms.counters();
    let ignored = (counted.tickets_forged, counted.tickets_foreign, counted.tickets_expired);
    assert_eq!(ignored, (3, 2, 1));
}

#[test]
fn a_restart_keeps_the_order() {
    let room = crowded();
    let tickets: Vec<(u64, Ticket)> = (1..=30)
        .map(|n| (n, room.ticket(NOW_AT + n * 1_000, GAME, who(n))))
        .collect();
    // Sixty seconds later another process, which knows nothing, of twice the speed. A stranger is there first.
    let began_at = NOW_AT + 60_000;
    let room = begun(2.0, began_at);
    let stranger = wait(room.turn(None, began_at + 1, GAME, who(99)));
    let mut shown: Vec<(u64, Ticket)> = tickets
        .into_iter()
        .rev()
        .map(|(n, ticket)| {
            (
                n,
                wait(room.turn(Some(&ticket.ticket), began_at + 10_000, GAME, who(n))),
            )
        })
        .collect();
    shown.reverse();
    // Nobody is counted twice, and nobody is let in while it holds still.
    for (n, ticket) in &mut shown {
        *ticket = wait(room.turn(Some(&ticket.ticket), began_at + REJOIN_MS - 1, GAME, who(*n)));
        assert_eq!(ticket.place, *n - 1);
    }
    let ask = |n: u64, ticket: &Ticket, after_ms: u64| {
        let at = began_at + REJOIN_MS + after_ms;
        room.turn(Some(&ticket.ticket), at, GAME, who(n)) == Asked::Now
    };
    let let_in: Vec<u64> = (shown.iter())
        .filter(|(n, ticket)| ask(*n, ticket, 5_000))
        .map(|(n, _)| *n)
        .collect();
    assert_eq!(let_in, (1..=10).collect::<Vec<u64>>());
    let let_in = (6..=15).map(|second| {
        shown
            .iter()
            .filter(|(n, ticket)| ask(*n, ticket, second * 1_000))
            .map(|(n, _)| *n)
            .max()
    });
    assert!(let_in.collect::<Vec<_>>().is_sorted());
    assert!(
        !ask(99, &stranger, 15_000) && ask(99, &stranger, 16_000),
        "after all of before"
    );
}

#[test]
fn a_clock_set_back_keeps_the_order_too() {
    let room = crowded();
    let early = room.ticket(NOW_AT + 1_000, GAME, who(1));
    let late = room.ticket(NOW_AT + 1_500, GAME, who(2));
    let back_at = NOW_AT - 3_600_000;
    let newest = room.ticket(back_at, GAME, who(3));
    let ask = |n, ticket: &Ticket, at| room.turn(Some(&ticket.ticket), at, GAME, who(n)) == Asked::Now;
    let all = |at| [ask(1, &early, at), ask(2, &late, at), ask(3, &newest, at)];
    assert_eq!(all(back_at + 100), [true, false, false]);
    assert_eq!(all(back_at + 1_200), [true, true, false]);
    assert_eq!(all(back_at + 2_200), [true, true, true]);
}

#[test]
fn no_more_are_let_in_than_permitted_however_often_a_ticket_is_shown() {
    let room = crowded();
    let ticket = room.ticket(NOW_AT, GAME, who(1)).ticket;
    let mut entered = 0;
    for tenth in 0..=600u64 {
        let knocked = room.knock(Some(&ticket), NOW_AT + tenth * 100, GAME, who(1));
        if knocked.turn == Turn::Come {
            room.rooms.enter(&knocked, Some(GAME));
            entered += 1;
        }
    }
    assert!((58..=62).contains(&entered), "{entered} in a minute at one a second");
    assert_eq!(room.rooms.counters().turns_come, entered);
}

#[test]
fn what_waiters_leave_unused_goes_to_whoever_asks_and_they_come_first() {
    let room = room(10.0);
    let mut waiters: Vec<(u64, Ticket)> = (0..100).map(|n| (n, room.ticket(NOW_AT, GAME, who(n)))).collect();
    let (mut turns, mut strangers) = (0, 0);
    for tenth in 1..=100u64 {
        let at = NOW_AT + tenth * 100;
        // Every second waiter has left.
        waiters.retain(|(n, ticket)| {
            let knocked = room.knock(Some(&ticket.ticket), at, GAME, who(*n));
            let comes = n % 2 == 0 && knocked.turn == Turn::Come;
            if comes {
                room.rooms.enter(&knocked, Some(GAME));
                turns += 1;
            }
            !comes
        });
        for n in 0..50 {
            let knocked = room.knock(None, at, GAME, who(1_000 + n));
            if knocked.turn == Turn::Spare {
                room.rooms.enter(&knocked, Some(GAME));
                strangers += 1;
            }
        }
    }
    assert_eq!(turns, 50, "everybody who is still there");
    assert!((45..=70).contains(&strangers), "{strangers}");
}

#[test]
fn a_room_that_lets_nobody_in_has_nothing_to_spare() {
    let room = room(0.0);
    let mut entered = 0;
    for at in 0..100 {
        let knocked = room.knock(None, NOW_AT + at * 1_000, GAME, who(1));
        if knocked.turn != Turn::NotYet {
            room.rooms.enter(&knocked, Some(GAME));
            entered += 1;
        }
    }
    assert_eq!(entered, 0);
}

#[test]
fn without_a_number_a_room_goes_on_as_before_and_a_new_one_lets_everybody_in() {
    let key = KeyRing::from_entropy(&[3; 32]).derive("waiting room");
    let rooms = WaitingRooms::new(key, NOW_AT - REJOIN_MS);
    let ask = |ticket: Option<&str>, rate| rooms.knock(ticket, NOW_AT, Some(GAME), who(1), rate);
    let knocked = ask(None, None);
    assert_eq!(knocked.turn, Turn::Spare);
    assert_eq!(rooms.wait(&knocked, NOW_AT, Some(GAME), who(1)).estimate_ms, 0);
    rooms.wait(&ask(None, Some(0.5)), NOW_AT, Some(GAME), who(2));
    assert_eq!(rooms.views(NOW_AT)[0].logins_per_s, 0.5);
    ask(None, None);
    assert_eq!(rooms.views(NOW_AT)[0].logins_per_s, 0.5);
}

#[test]
fn games_have_rooms_of_their_own_up_to_a_bound() {
    let room = crowded();
    for n in 1..=5 {
        room.ticket(NOW_AT, GAME, who(n));
    }
    for game in 100..100 + ROOMS_MAX as u32 * 2 {
        room.ticket(NOW_AT, GameId(game), who(1));
    }
    let views = room.rooms.views(NOW_AT);
    assert_eq!(views.len(), ROOMS_MAX + 1);
    let own = views.iter().find(|view| view.game_id == Some(GAME)).unwrap();
    assert_eq!((own.waiting, own.estimate_ms, own.logins_per_s), (5, 6_000, 1.0));
    let shared = views.last().unwrap();
    assert_eq!((shared.game_id, shared.waiting), (None, ROOMS_MAX as u64 + 1));
}

#[test]
fn the_platform_binds_tickets_to_game_and_subject() {
    let world = crate::testing::World::new().unwrap();
    let (platform, game) = (&world.platform, Some(world.game_id));
    let knock = |ticket: Option<&str>, device: &str| platform.login_knock(ticket, game, device, Some(1.0));
    knock(None, "tablet");
    world.clock.advance(REJOIN_MS);
    let ticket = platform.login_wait(&knock(None, "tablet"), game, "tablet").ticket;
    world.clock.advance(2_000);
    assert_ne!(knock(Some(&ticket), "phone").turn, Turn::Come);
    let knocked = knock(Some(&ticket), "tablet");
    assert_eq!(knocked.turn, Turn::Come);
    platform.login_enter(&knocked, game);
    assert_eq!(platform.counters().waiting.turns_come, 1);
    assert_eq!(platform.counters().waiting.tickets_foreign, 1);
    assert_eq!(platform.waiting_rooms().len(), 2);
}

proptest! {
    /// Whoever is let in came before everybody who is not, and no more are let in than the rate permits.
    #[test]
    fn nobody_overtakes(gaps in proptest::collection::vec(0u64..400, 1..120), logins_per_s in 1u32..20) {
        let room = room(f64::from(logins_per_s));
        let (mut at, mut waiting) = (NOW_AT, Vec::new());
        room.set_logins_per_s(f64::from(logins_per_s), at);
        for (n, gap_ms) in gaps.into_iter().enumerate() {
            at += gap_ms;
            waiting.push(room.ticket(at, GAME, who(n as u64)));
            let is_in: Vec<bool> = waiting
                .iter()
                .enumerate()
                .map(|(n, ticket)| room.turn(Some(&ticket.ticket), at, GAME, who(n as u64)) == Asked::Now)
                .collect();
            prop_assert!(is_in.is_sorted_by(|a, b| a >= b), "{is_in:?}");
            let most = u64::from(logins_per_s) + (at - NOW_AT) * u64::from(logins_per_s) / 1_000 + 1;
            prop_assert!(is_in.iter().filter(|is_in| **is_in).count() as u64 <= most);
        }
    }
}
