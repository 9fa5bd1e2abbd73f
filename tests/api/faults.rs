//! Our own trouble: always 503 with a time to come back, never a proof that a player's token is bad.

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

pub fn a_panic_is_a_defect(api: &Api) {
    api.call("config.show", As::Nobody, &Value::Null).ok();
    api.host.trouble();
    api.call("config.show", As::Nobody, &Value::Null)
        .refused("platform.defect");
    api.register("after-the-panic");
}
