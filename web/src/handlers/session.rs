//! `session.*` and `device.*` for players.

use seawall_domain::Error;

use crate::exchange::{Answer, Exchange};
use crate::wire;

/// `session.create`
pub async fn session_create(exchange: Exchange) -> Result<Answer, Error> {
    let command = exchange.json::<wire::SessionCreate>()?.into_domain()?;
    exchange.note_game(command.game_id);
    let outcome = exchange.platform().session_create(&exchange.call, command).await?;
    Answer::ok(&wire::SessionCreated::from_outcome(outcome, exchange.now_at()))
}

/// `session.refresh`
pub async fn session_refresh(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::SessionRefresh = exchange.json()?;
    let refreshed = exchange
        .platform()
        .session_refresh(&exchange.call, &ask.refresh_token)
        .await?;
    Answer::ok(&wire::SessionRefreshed::from(refreshed))
}

/// `session.logout`
pub async fn session_logout(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::Logout = exchange.json()?;
    let platform = exchange.platform();
    let server_time_at = platform
        .session_logout(&exchange.call, &exchange.bearer, ask.everywhere)
        .await?;
    Answer::ok(&wire::Acknowledged { server_time_at })
}

/// `session.list`
pub async fn session_list(exchange: Exchange) -> Result<Answer, Error> {
    let (entries, server_time_at) = exchange
        .platform()
        .session_list(&exchange.call, &exchange.bearer)
        .await?;
    let sessions = entries.into_iter().map(Into::into).collect();
    Answer::ok(&wire::SessionList {
        sessions,
        server_time_at,
    })
}

/// `device.list`
pub async fn device_list(exchange: Exchange) -> Result<Answer, Error> {
    let (entries, server_time_at) = exchange
        .platform()
        .device_list(&exchange.call, &exchange.bearer)
        .await?;
    let devices = entries.into_iter().map(Into::into).collect();
    Answer::ok(&wire::DeviceList {
        devices,
        server_time_at,
    })
}
