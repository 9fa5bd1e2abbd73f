//! Calls of game servers.

use seawall_domain::game::UnknownPolicy;
use seawall_domain::verify::Verified;
use seawall_domain::{Error, codes};

use crate::doubt;
use crate::exchange::{Answer, Exchange};
use crate::wire;

/// `session.verify`: unknown becomes 503, or no answer where the game wants that, never invalid.
pub async fn session_verify(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::Verify = exchange.json()?;
    let verified = doubt::verify(&exchange, &ask).await;
    exchange.sample(&ask.token, &verified);
    match verified {
        Verified::Unknown {
            policy: UnknownPolicy::Drop,
            ..
        } => Ok(Answer::withheld()),
        Verified::Unknown {
            code, retry_after_ms, ..
        } => Err(unknown(code, retry_after_ms)),
        verified => Answer::ok(&wire::TokenStatus::from(verified)),
    }
}

/// `session.verify_batch`: 503 only when every item is unknown.
pub async fn session_verify_batch(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::VerifyBatch = exchange.json()?;
    exchange.charge_batch(ask.tokens.len());
    let verified = exchange.platform().session_verify_batch(&exchange.call, &ask.tokens)?;
    for (token, answer) in ask.tokens.iter().zip(&verified) {
        exchange.sample(token, answer);
    }
    let is_unknown = |item: &Verified| matches!(item, Verified::Unknown { .. });
    match verified.first() {
        Some(Verified::Unknown {
            code, retry_after_ms, ..
        }) if verified.iter().all(is_unknown) => Err(unknown(code, *retry_after_ms)),
        _ => Answer::ok(&wire::VerifyBatchAnswer {
            results: verified.into_iter().map(Into::into).collect(),
        }),
    }
}

/// `player.logout`
pub async fn player_logout(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::PlayerLogout = exchange.json()?;
    exchange.note_game(ask.game_id.0);
    let session_count = exchange
        .platform()
        .player_logout(&exchange.call, ask.game_id.0, ask.player_id.0)
        .await?;
    Answer::ok(&wire::LoggedOut { session_count })
}

/// An unknown outcome as an error of its cause.
fn unknown(cause: &str, retry_after_ms: u64) -> Error {
    let code = codes::CODES
        .iter()
        .find(|code| code.name == cause)
        .unwrap_or(&codes::OVERLOADED);
    code.error().retry_after_ms(retry_after_ms)
}
