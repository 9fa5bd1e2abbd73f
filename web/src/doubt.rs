//! A token check that may wait for certainty, for games whose servers know no 503 (`unknown_policy: hold`).

use std::time::Duration;

use seawall_domain::game::UnknownPolicy;
use seawall_domain::verify::Verified;
use tokio::time::{Instant, sleep_until};

use crate::exchange::Exchange;
use crate::wire;

/// How often a held check is asked again.
const ASKED_AGAIN: Duration = Duration::from_millis(50);

/// Checks one token; an unknown outcome of a game that wants its answers held is asked again until it is known or the
/// game's time is over. The wait is bounded by the setting, at most ten seconds, and holds its place of admission.
pub(crate) async fn verify(exchange: &Exchange, ask: &wire::Verify) -> Verified {
    let player_id = ask.player_id.map(|id| id.0);
    let check = || {
        exchange
            .platform()
            .session_verify(&exchange.call, &ask.token, player_id)
    };
    let mut verified = check();
    let Verified::Unknown {
        policy: UnknownPolicy::Hold,
        hold_ms,
        ..
    } = verified
    else {
        return verified;
    };
    let until = Instant::now() + Duration::from_millis(hold_ms);
    while matches!(verified, Verified::Unknown { .. }) && Instant::now() < until {
        sleep_until((Instant::now() + ASKED_AGAIN).min(until)).await;
        verified = check();
    }
    verified
}
