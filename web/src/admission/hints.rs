//! What the head of a request says to admission. Nothing here is proven, so nothing here can do more than order a
//! caller among its like; what is malformed is ignored and counted.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use seawall_domain::token::Claimed;
use seawall_domain::{GameId, KeyId, Platform, token};

use super::figures::Figures;
use super::rank::Subject;
use super::tenants::Tenant;
use crate::app::Facts;
use crate::route::{Auth, Route};
use crate::trace::RequestIds;

/// Number of the attempt, from 1.
pub const X_ATTEMPT: HeaderName = HeaderName::from_static("x-attempt");
/// Time the client will still wait, in milliseconds.
pub const X_DEADLINE_MS: HeaderName = HeaderName::from_static("x-deadline-ms");
/// Install id of the device.
pub const SEAWALL_DEVICE: HeaderName = HeaderName::from_static("seawall-device");
/// Game the player plays.
pub const SEAWALL_GAME: HeaderName = HeaderName::from_static("seawall-game");
/// Ticket of the waiting room, as the refusal of the login before gave it.
pub const SEAWALL_TICKET: HeaderName = HeaderName::from_static("seawall-ticket");
const SEAWALL_KEY_ID: HeaderName = HeaderName::from_static("seawall-key-id");

/// Longest `Seawall-Device` that is taken, in bytes.
pub const DEVICE_MAX_BYTES: usize = 128;
/// Largest `X-Deadline-Ms`.
pub const DEADLINE_MAX_MS: u64 = 60_000;
/// Largest `X-Attempt` that is taken.
const ATTEMPT_MAX: u64 = 1_000_000;

/// Number of the attempt; 1 when nobody says.
pub(crate) fn attempt(headers: &HeaderMap, figures: &Figures) -> u64 {
    number(headers, &X_ATTEMPT, ATTEMPT_MAX, figures).unwrap_or(1)
}

/// Time the client will wait; the class knows when nobody says.
pub(crate) fn deadline_ms(headers: &HeaderMap, figures: &Figures) -> Option<u64> {
    number(headers, &X_DEADLINE_MS, DEADLINE_MAX_MS, figures)
}

/// The tenant: the key of game servers, the game of players. Who floods in the name of a key has not signed with it, and
/// so uses another share than the servers that have.
pub(crate) fn tenant(
    platform: &Platform,
    route: &Route,
    headers: &HeaderMap,
    ids: &RequestIds,
    figures: &Figures,
) -> Tenant {
    if let Auth::Signed { .. } = route.auth {
        let key_id = headers.get(SEAWALL_KEY_ID).and_then(parsed::<KeyId>);
        let known = key_id.filter(|key_id| platform.key_is_known(*key_id));
        return known.map_or(Tenant::Others, |key_id| match ids.has_proven(key_id) {
            true => Tenant::Key(key_id.0),
            false => Tenant::ClaimedKey(key_id.0),
        });
    }
    let named = headers.get(SEAWALL_GAME).and_then(|value| {
        let game_id = parsed::<GameId>(value).filter(|game_id| platform.game_is_known(*game_id));
        game_id.or_else(|| {
            figures.bad_hint(&SEAWALL_GAME);
            None
        })
    });
    let known = named.or_else(|| {
        let claimed = claimed(headers)?.game_id;
        platform.game_is_known(claimed).then_some(claimed)
    });
    known.map_or(Tenant::Others, |game_id| Tenant::Game(game_id.0))
}

/// Whose rank counts: the token's account, the device, the address, the connection. A game server speaks for many
/// players it does not name, so there every request stands for itself: by address, a whole server would be in or out.
pub(crate) fn subject<'a>(route: &Route, headers: &'a HeaderMap, facts: &Facts, figures: &Figures) -> Subject<'a> {
    if let Auth::Signed { .. } = route.auth {
        return Subject::Number(facts.request_id.spread());
    }
    if let Some(claimed) = claimed(headers) {
        return Subject::Account(claimed.account_id.0);
    }
    match device(headers, figures) {
        Some(device) => Subject::Device(device),
        None => facts.client.ip.map_or_else(
            || Subject::Number(facts.origin.request_ids.connection()),
            Subject::Address,
        ),
    }
}

/// The device, as its client names it.
pub(crate) fn device<'a>(headers: &'a HeaderMap, figures: &Figures) -> Option<&'a str> {
    let value = headers.get(SEAWALL_DEVICE)?;
    let is_fine = (1..=DEVICE_MAX_BYTES).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic);
    let device = value.to_str().ok().filter(|_| is_fine);
    if device.is_none() {
        figures.bad_hint(&SEAWALL_DEVICE);
    }
    device
}

/// What the bearer token says of itself.
fn claimed(headers: &HeaderMap) -> Option<Claimed> {
    let (scheme, text) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token::claimed(text.trim()))?
}

fn parsed<T: std::str::FromStr>(value: &HeaderValue) -> Option<T> {
    value.to_str().ok()?.parse().ok()
}

/// A whole number from 1 to `max`, counted when it is none.
fn number(headers: &HeaderMap, name: &HeaderName, max: u64, figures: &Figures) -> Option<u64> {
    let value = headers.get(name)?;
    let is_short = value.len() <= 8 && value.as_bytes().iter().all(u8::is_ascii_digit);
    let number = parsed::<u64>(value).filter(|number| is_short && (1..=max).contains(number));
    if number.is_none() {
        figures.bad_hint(name);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn numbers_are_taken_in_their_range_and_counted_otherwise() {
        let figures = Figures::default();
        let of = |value: &str| deadline_ms(&headers(&[(X_DEADLINE_MS, value)]), &figures);
        assert_eq!((of("1"), of("60000"), of("0800")), (Some(1), Some(60_000), Some(800)));
        for bad in ["", "0", "60001", "-1", "+5", "1.5", "99999999999999999999", "soon"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(figures.bad_hints(&X_DEADLINE_MS), 8);
        assert_eq!(deadline_ms(&HeaderMap::new(), &figures), None);
        assert_eq!(attempt(&headers(&[(X_ATTEMPT, "many")]), &figures), 1);
        assert_eq!(attempt(&headers(&[(X_ATTEMPT, "3")]), &figures), 3);
        assert_eq!(figures.bad_hints(&X_ATTEMPT), 1);
    }

    #[test]
    fn devices_are_bounded() {
        let figures = Figures::default();
        let long = "x".repeat(DEVICE_MAX_BYTES + 1);
        for bad in ["", "two words", long.as_str()] {
            assert_eq!(device(&headers(&[(SEAWALL_DEVICE, bad)]), &figures), None, "{bad}");
        }
        assert_eq!(
            device(&headers(&[(SEAWALL_DEVICE, "5f0c-device")]), &figures),
            Some("5f0c-device")
        );
        assert_eq!(figures.bad_hints(&SEAWALL_DEVICE), 3);
    }

    #[test]
    fn a_token_tells_its_account_without_a_proof_and_rubbish_tells_nothing() {
        let of = |value: &str| claimed(&headers(&[(AUTHORIZATION, value)]));
        for bad in ["Bearer", "Basic x", "Bearer sw1.rubbish", "Bearer sw1."] {
            assert!(of(bad).is_none(), "{bad}");
        }
        let token = "sw1.AQEAAgAAAAMAAAAEAAAAAAAPQkEAAAAAAA9CQgAAAAAAAABN";
        let claimed = of(&format!("bearer {token}")).unwrap();
        assert_eq!((claimed.game_id.0, claimed.account_id.0), (3, 1_000_001));
    }
}
