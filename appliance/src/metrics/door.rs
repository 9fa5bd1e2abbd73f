//! Figures of who waits at the door: waiting rooms for logins, and proofs of work.

use std::fmt;

use seawall_domain::{Counters, Platform};

use super::Figures;

/// Encodes them.
pub(super) fn figures(platform: &Platform, counters: &Counters, out: &mut Figures<'_, '_>) -> fmt::Result {
    out.counter(
        "seawall_challenges_issued",
        "Logins and registrations answered with a challenge",
        counters.challenges_issued,
    )?;
    out.gauge(
        "seawall_challenges_asked_by_pressure",
        "1 while pressure asks devices that an account does not know for a proof of work",
        u64::from(counters.asks_for_challenges),
    )?;
    let places = platform.waiting_rooms().iter().map(|room| room.waiting).sum();
    out.gauge(
        "seawall_waiting_room_places",
        "Places in front of new logins in all waiting rooms, those of who left included",
        places,
    )?;
    let waiting = &counters.waiting;
    let counted = [
        (
            "tickets_shown",
            "Tickets given to refused logins, the first and later ones",
            waiting.tickets_shown,
        ),
        (
            "turns_come",
            "Logins let in because it was their turn",
            waiting.turns_come,
        ),
        (
            "tickets_forged",
            "Tickets ignored because they are none of ours",
            waiting.tickets_forged,
        ),
        (
            "tickets_foreign",
            "Tickets ignored because they are of another device or game",
            waiting.tickets_foreign,
        ),
        (
            "tickets_expired",
            "Tickets ignored because they are too old",
            waiting.tickets_expired,
        ),
    ];
    for (name, help, value) in counted {
        out.counter(&format!("seawall_waiting_room_{name}"), help, value)?;
    }
    Ok(())
}
