//! `account.*` and `identity.*` for players.

use seawall_domain::Error;

use crate::exchange::{Answer, Exchange};
use crate::wire;

/// `account.create`
pub async fn account_create(exchange: Exchange) -> Result<Answer, Error> {
    let command = exchange.json::<wire::AccountCreate>()?.into_domain()?;
    exchange.note_game(command.game_id);
    let outcome = exchange.platform().account_create(&exchange.call, command).await?;
    Answer::created(&wire::SessionCreated::from_outcome(outcome, exchange.now_at()))
}

/// `account.get`
pub async fn account_get(exchange: Exchange) -> Result<Answer, Error> {
    let own = exchange
        .platform()
        .account_get(&exchange.call, &exchange.bearer)
        .await?;
    Answer::ok(&wire::OwnAccount::from(own))
}

/// `account.change_password`
pub async fn account_change_password(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::PasswordChange = exchange.json()?;
    let (platform, bearer) = (exchange.platform(), &exchange.bearer);
    let server_time_at = platform
        .account_change_password(&exchange.call, bearer, &ask.old_password, &ask.new_password)
        .await?;
    Answer::ok(&wire::Acknowledged { server_time_at })
}

/// `identity.bind`
pub async fn identity_bind(exchange: Exchange) -> Result<Answer, Error> {
    let credential = exchange.json::<wire::IdentityBind>()?.credential.into_domain()?;
    let own = exchange
        .platform()
        .identity_bind(&exchange.call, &exchange.bearer, credential)
        .await?;
    Answer::ok(&wire::OwnAccount::from(own))
}
