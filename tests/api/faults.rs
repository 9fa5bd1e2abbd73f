//! Our own trouble: always 503 with a time to come back, never a proof that a player's token is bad.

use seawall_storage::DiskRoom;
use seawall_web::Limits;
use serde_json::{Value, json};

use crate::client::{Api, As};

pub fn a_full_house_is_said(api: &Api) {
    let full = api.with_limits(Limits {
        in_flight_max: 0,
        ..Limits::default()
    });
    full.call(
        "account.create",
        As::Nobody,
        &full.entry(&json!({"kind": "guest"}), "phone"),
    )
    .refused("overload.busy");
    let token = api.register("early").text("/session/access_token");
    for (op, body) in [
        ("session.verify", json!({ "token": token })),
        ("session.verify_batch", json!({ "tokens": [token] })),
    ] {
        let refused = full.call(op, As::Server, &body).refused("overload.busy");
        assert_eq!(
            refused.status, 503,
            "no verdict, and no reason to log in: {}",
            refused.body
        );
    }
    full.call("platform.livez", As::Nobody, &Value::Null).ok();
}

pub fn a_closed_store_says_try_again(api: &Api) {
    let login = api.register("late");
    let token = login.text("/session/access_token");
    api.world.store.shutdown();
    api.call(
        "session.refresh",
        As::Nobody,
        &json!({"refresh_token": login.text("/session/refresh_token")}),
    )
    .refused("store.busy");
    api.call(
        "account.create",
        As::Nobody,
        &api.entry(&json!({"kind": "guest"}), "phone"),
    )
    .refused("store.busy");
    assert_eq!(api.verify(&token).text("/status"), "valid", "verify needs no store");
    api.call("session.logout", As::Bearer(&token), &Value::Null)
        .refused("store.busy");
}

pub fn a_full_disk_refuses_the_least_first(api: &Api) {
    let login = api.register("anna");
    let token = login.text("/session/access_token");
    let refresh = || {
        let body = json!({"refresh_token": login.text("/session/refresh_token")});
        api.call("session.refresh", As::Nobody, &body)
    };
    let guest = || {
        let body = api.entry(&json!({"kind": "guest"}), "phone");
        api.call("account.create", As::Nobody, &body)
    };
    api.world.store.set_disk_room(DiskRoom::Scarce);
    let refused = refresh().refused("store.full");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(
        refused.body["retry_after_ms"].as_u64() >= Some(1_000),
        "{}",
        refused.body
    );
    guest().ok();
    assert_eq!(api.verify(&token).text("/status"), "valid");
    api.world.store.set_disk_room(DiskRoom::Exhausted);
    guest().refused("store.full");
    assert_eq!(
        api.verify(&token).text("/status"),
        "valid",
        "the refusals said nothing about the token"
    );
    api.call("account.get", As::Bearer(&token), &Value::Null).ok();
    api.world.store.set_disk_room(DiskRoom::Ample);
    refresh().ok();
}

pub fn a_panic_is_a_defect(api: &Api) {
    api.call("config.show", As::Nobody, &Value::Null).ok();
    api.host.trouble();
    api.call("config.show", As::Nobody, &Value::Null)
        .refused("platform.defect");
    api.register("after-the-panic");
}
