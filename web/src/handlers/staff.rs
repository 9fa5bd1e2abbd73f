//! What operators do to accounts, and the authentication log.

use seawall_domain::Error;

use crate::exchange::{Answer, Exchange};
use crate::wire;

/// Records of a search that names no limit.
const AUTH_LOG_LIMIT_DEFAULT: u32 = 100;

/// `account.show`
pub async fn account_show(exchange: Exchange) -> Result<Answer, Error> {
    let account = exchange.query::<wire::AccountSelector>()?.into_domain()?;
    let view = exchange.platform().account_show(&exchange.call, account).await?;
    Answer::ok(&wire::AccountView::from(view))
}

/// `account.logout`
pub async fn account_logout(exchange: Exchange) -> Result<Answer, Error> {
    let account = exchange.json::<wire::AccountSelector>()?.into_domain()?;
    let session_count = exchange.platform().account_logout(&exchange.call, account).await?;
    Answer::ok(&wire::LoggedOut { session_count })
}

/// `account.restrict`
pub async fn account_restrict(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::Restrict = exchange.json()?;
    let restriction = exchange.platform().account_restrict(&exchange.call, ask.into()).await?;
    Answer::created(&wire::Restriction::from(restriction))
}

/// `account.lift`
pub async fn account_lift(exchange: Exchange) -> Result<Answer, Error> {
    let restriction = exchange
        .platform()
        .account_lift(&exchange.call, exchange.path("restriction_id")?)
        .await?;
    Answer::ok(&wire::Restriction::from(restriction))
}

/// `auth_log.search`
pub async fn auth_log_search(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::AuthLogQuery = exchange.query()?;
    let (from_at, until_at) = (
        ask.from_at.unwrap_or(0),
        ask.until_at.unwrap_or_else(|| exchange.now_at() + 1),
    );
    let limit = ask.limit.unwrap_or(AUTH_LOG_LIMIT_DEFAULT);
    let found = exchange
        .platform()
        .auth_log_search(&exchange.call, ask.filter()?, from_at, until_at, limit)
        .await?;
    Answer::ok(&wire::AuthLogRecords {
        records: found.into_iter().map(Into::into).collect(),
    })
}
