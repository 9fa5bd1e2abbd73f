//! `realm.*`, `game.*`, `package.*` and `key.*` for operators.

use seawall_domain::Error;

use crate::exchange::{Answer, Exchange};
use crate::wire;

/// `realm.list`
pub async fn realm_list(exchange: Exchange) -> Result<Answer, Error> {
    let realms = exchange.platform().realm_list(&exchange.call).await?;
    Answer::ok(&wire::RealmList {
        realms: realms.into_iter().map(Into::into).collect(),
    })
}

/// `realm.create`
pub async fn realm_create(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::RealmCreate = exchange.json()?;
    let realm = exchange
        .platform()
        .realm_create(&exchange.call, &ask.name, ask.guests_allowed)
        .await?;
    Answer::created(&wire::RealmView::from(realm))
}

/// `realm.update`
pub async fn realm_update(exchange: Exchange) -> Result<Answer, Error> {
    let (realm_id, ask) = (exchange.path("realm_id")?, exchange.json::<wire::RealmUpdate>()?);
    let realm = exchange
        .platform()
        .realm_update(&exchange.call, realm_id, ask.guests_allowed)
        .await?;
    Answer::ok(&wire::RealmView::from(realm))
}

/// `game.list`
pub async fn game_list(exchange: Exchange) -> Result<Answer, Error> {
    let games = exchange.platform().game_list(&exchange.call).await?;
    Answer::ok(&wire::GameList {
        games: games.into_iter().map(Into::into).collect(),
    })
}

/// `game.create`
pub async fn game_create(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::GameCreate = exchange.json()?;
    let platform = exchange.platform();
    let game = platform
        .game_create(&exchange.call, ask.realm_id.0, &ask.name, ask.settings.into())
        .await?;
    Answer::created(&wire::GameView::from(game))
}

/// `game.show`
pub async fn game_show(exchange: Exchange) -> Result<Answer, Error> {
    let game = exchange
        .platform()
        .game_show(&exchange.call, exchange.path("game_id")?)
        .await?;
    Answer::ok(&wire::GameView::from(game))
}

/// `game.update`
pub async fn game_update(exchange: Exchange) -> Result<Answer, Error> {
    let (game_id, change) = (exchange.path("game_id")?, exchange.json::<wire::GameChange>()?);
    let game = exchange
        .platform()
        .game_update(&exchange.call, game_id, change.into())
        .await?;
    Answer::ok(&wire::GameView::from(game))
}

/// `package.list`
pub async fn package_list(exchange: Exchange) -> Result<Answer, Error> {
    let packages = exchange
        .platform()
        .package_list(&exchange.call, exchange.path("game_id")?)
        .await?;
    Answer::ok(&wire::PackageList {
        packages: packages.into_iter().map(Into::into).collect(),
    })
}

/// `package.create`
pub async fn package_create(exchange: Exchange) -> Result<Answer, Error> {
    let command = exchange
        .json::<wire::PackageCreate>()?
        .into_domain(exchange.path("game_id")?);
    let package = exchange.platform().package_create(&exchange.call, command).await?;
    Answer::created(&wire::PackageView::from(package))
}

/// `key.list`
pub async fn key_list(exchange: Exchange) -> Result<Answer, Error> {
    let keys = exchange.platform().key_list(&exchange.call).await?;
    Answer::ok(&wire::KeyList {
        keys: keys.into_iter().map(Into::into).collect(),
    })
}

/// `key.create`
pub async fn key_create(exchange: Exchange) -> Result<Answer, Error> {
    let ask: wire::KeyCreate = exchange.json()?;
    let games = ask.games.into_iter().map(|id| id.0).collect();
    let fresh = exchange.platform().key_create(&exchange.call, &ask.name, games).await?;
    Answer::created(&wire::KeySecret::from(fresh))
}

/// `key.rotate`
pub async fn key_rotate(exchange: Exchange) -> Result<Answer, Error> {
    let (key_id, ask) = (exchange.path("key_id")?, exchange.json::<wire::KeyRotate>()?);
    let fresh = exchange
        .platform()
        .key_rotate(&exchange.call, key_id, ask.keep_previous_ms)
        .await?;
    Answer::ok(&wire::KeySecret::from(fresh))
}

/// `key.revoke`
pub async fn key_revoke(exchange: Exchange) -> Result<Answer, Error> {
    let key = exchange
        .platform()
        .key_revoke(&exchange.call, exchange.path("key_id")?)
        .await?;
    Answer::ok(&wire::KeyView::from(key))
}
