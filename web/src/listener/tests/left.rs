//! Clients that close their connection before they are answered.

use seawall_domain::Platform;
use seawall_domain::auth_log::AuthFilter;
use seawall_domain::testing::{World as DomainWorld, operator};
use seawall_domain::verify::Verified;
use serde_json::json;

use crate::Limits;
use crate::testing::{World, eventually};

/// A login of alice as it is on the wire.
fn login(domain: &DomainWorld) -> String {
    let body = json!({
        "game_id": domain.game_id.to_string(),
        "credential": { "kind": "username", "username": "alice", "password": "secret-alice" },
        "client": {
            "package_id": domain.package_id.to_string(),
            "os": "android",
            "device": { "install_id": "device-alice" },
        },
    });
    post("/sdk/v1/sessions", "", &body.to_string())
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

async fn none_in_flight(world: &World) {
    eventually(|| world.app.inner.admission.in_flight() == 0, "the handler ends").await;
}

#[tokio::test]
async fn a_login_whose_client_closed_the_connection_is_not_begun() {
    let domain = DomainWorld::new().unwrap();
    let first = domain.register("alice").unwrap().session.session_id;
    let world = World::over(&domain, Limits::default());
    let held = domain.hold_store();
    let mut client = world.connect().await;
    client.send(login(&domain)).await;
    eventually(|| domain.store.stats().queue_length == 1, "the login is queued").await;
    drop(client);
    none_in_flight(&world).await;
    drop(held);
    let next = domain.log_in("alice").unwrap().session.session_id;
    assert_eq!(next.0, first.0 + 1, "no session was opened for who left");
    assert_eq!(domain.store.stats().abandoned, 1);
}

#[tokio::test]
async fn a_logout_is_finished_and_noted_although_its_client_left() {
    let domain = DomainWorld::new().unwrap();
    let alice = domain.register("alice").unwrap();
    let world = World::over(&domain, Limits::default());
    let held = domain.hold_store();
    let mut client = world.connect().await;
    let bearer = format!("authorization: Bearer {}\r\n", alice.session.access_token);
    client.send(post("/sdk/v1/sessions/logout", &bearer, "{}")).await;
    eventually(|| domain.store.stats().queue_length == 1, "the logout is queued").await;
    drop(client);
    none_in_flight(&world).await;
    drop(held);
    let verify = || {
        domain
            .platform
            .session_verify(&domain.server(), &alice.session.access_token, None)
    };
    eventually(|| matches!(verify(), Verified::Invalid(_)), "the session ends").await;
    eventually(
        || noted(&domain.platform, alice.account_id).contains(&"session.logout".to_owned()),
        "it is noted",
    )
    .await;
}

/// Operations on an account in the auth log.
fn noted(platform: &Platform, account: seawall_domain::AccountId) -> Vec<String> {
    let call = operator();
    let search = platform.auth_log_search(&call, AuthFilter::Account(account), 0, u64::MAX, 10);
    let records = seawall_domain::testing::block_on(search).unwrap();
    records.into_iter().map(|record| record.op).collect()
}
