//! What operators do on the root-only socket.

use seawall_domain::testing::START_AT;
use serde_json::{Value, json};

use crate::client::{Api, As, named};

fn package() -> Value {
    json!({"name": "Huawei", "platform": "android", "channel_id": "huawei", "agent_id": "7", "site_id": "12", "bundle_id": "com.example.harbour",
           "channel_params": {"app_secret": "not to be shown"}})
}

pub fn catalogue(api: &Api) {
    let staff = |op: &str, path: &[&str], body: &Value| api.call_at(op, path, "", As::Nobody, body);
    let realm = staff("realm.create", &[], &json!({"name": "europe", "guests_allowed": false})).ok();
    staff("realm.create", &[], &json!({"name": "europe", "guests_allowed": true})).refused("realm.exists");
    staff(
        "realm.update",
        &[&realm.text("/realm_id")],
        &json!({"guests_allowed": true}),
    )
    .ok();
    staff("realm.update", &["999999"], &json!({"guests_allowed": true})).refused("realm.unknown");
    assert_eq!(
        staff("realm.list", &[], &Value::Null).ok().body["realms"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    let game = staff(
        "game.create",
        &[],
        &json!({"realm_id": realm.text("/realm_id"), "name": "Tide", "settings": {"session_policy": "both"}}),
    )
    .ok();
    assert_eq!(game.text("/settings/session_policy"), "both");
    staff(
        "game.create",
        &[],
        &json!({"realm_id": realm.text("/realm_id"), "name": "Tide", "settings": {}}),
    )
    .refused("game.exists");
    staff(
        "game.create",
        &[],
        &json!({"realm_id": "999999", "name": "Ebb", "settings": {}}),
    )
    .refused("realm.unknown");
    let id = game.text("/game_id");
    let changed = staff(
        "game.update",
        &[&id],
        &json!({"access_token_ms": 3_600_000, "cors_origins": ["https://play.example"]}),
    )
    .ok();
    assert_eq!(
        (
            changed.body["settings"]["access_token_ms"].as_u64(),
            changed.text("/settings/session_policy")
        ),
        (Some(3_600_000), "both".into())
    );
    staff("game.update", &[&id], &json!({"access_token_ms": 1})).refused("request.field_invalid");
    staff("game.update", &["999999"], &json!({})).refused("game.unknown");
    assert_eq!(staff("game.show", &[&id], &Value::Null).ok().body, changed.body);
    staff("game.show", &["999999"], &Value::Null).refused("game.unknown");
    assert_eq!(
        staff("game.list", &[], &Value::Null).ok().body["games"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    let made = staff("package.create", &[&id], &package()).ok();
    assert_eq!(made.body["channel_params"], json!(["app_secret"]), "names only");
    staff("package.create", &["999999"], &package()).refused("game.unknown");
    assert_eq!(
        staff("package.list", &[&id], &Value::Null).ok().body["packages"][0],
        made.body
    );
    staff("package.list", &["999999"], &Value::Null).refused("game.unknown");
}

pub fn keys(api: &Api) {
    let game = api.world.game_id.to_string();
    let made = api
        .call("key.create", As::Nobody, &json!({"name": "second", "games": [game]}))
        .ok();
    assert!(made.text("/secret").starts_with("sws_"));
    api.call("key.create", As::Nobody, &json!({"name": "third", "games": ["999999"]}))
        .refused("game.unknown");
    let id = made.text("/key/key_id");
    let rotated = api
        .call_at(
            "key.rotate",
            &[&id],
            "",
            As::Nobody,
            &json!({"keep_previous_ms": 60_000}),
        )
        .ok();
    assert_ne!(rotated.text("/secret"), made.text("/secret"));
    assert_eq!(rotated.body["key"]["previous_until_at"], START_AT + 60_000);
    api.call_at("key.rotate", &["999999"], "", As::Nobody, &json!({}))
        .refused("key.unknown");
    let revoked = api.call_at("key.revoke", &[&id], "", As::Nobody, &Value::Null).ok();
    assert!(revoked.body["revoked_at"].is_u64());
    api.call_at("key.revoke", &["999999"], "", As::Nobody, &Value::Null)
        .refused("key.unknown");
    let list = api.call("key.list", As::Nobody, &Value::Null).ok();
    assert_eq!(list.body["keys"].as_array().map(Vec::len), Some(2));
    assert!(!list.body.to_string().contains("sws_"), "no secret in the list");

    // The world's own key: both secrets work until the old one's time is over.
    let token = api.register("eva").text("/session/access_token");
    api.call_at(
        "key.rotate",
        &[&api.world.key_id.to_string()],
        "",
        As::Nobody,
        &json!({"keep_previous_ms": 60_000}),
    )
    .ok();
    assert_eq!(
        api.verify(&token).text("/status"),
        "valid",
        "the previous secret still works"
    );
    api.world.clock.advance(60_001);
    api.call("session.verify", As::Server, &json!({"token": token}))
        .refused("signature.invalid");
}

pub fn accounts(api: &Api) {
    let login = api.register("hugo");
    let account = login.text("/account_id");
    let show = |query: &str| api.call_at("account.show", &[], query, As::Nobody, &Value::Null);
    for query in [
        format!("account_id={account}"),
        format!("game_id={}&player_id={}", api.world.game_id, login.text("/player_id")),
        "realm_id=1&username=HUGO".into(),
    ] {
        let shown = show(&query).ok();
        assert_eq!(
            (shown.text("/account_id"), shown.text("/username")),
            (account.clone(), "hugo".into()),
            "{query}"
        );
        assert_eq!(shown.body["session_count"], 1);
    }
    show("account_id=999999").refused("account.unknown");
    show("").refused("request.field_invalid");

    let subject = json!({"kind": "account", "account_id": account});
    let restrict = |body: &Value| api.call("account.restrict", As::Nobody, body);
    let made = restrict(&json!({"subject": subject, "action": "pay", "reason": "chargeback", "ticket": "T-1"})).ok();
    assert_eq!((made.status, made.text("/ticket")), (201, "T-1".into()));
    restrict(&json!({"subject": subject, "action": "pay", "reason": "Not a code!"})).refused("request.field_invalid");
    restrict(&json!({"subject": {"kind": "account", "account_id": "999999"}, "action": "pay", "reason": "x"}))
        .refused("account.unknown");
    restrict(&json!({"subject": subject, "action": "pay", "reason": "x", "game_id": "999999"})).refused("game.unknown");
    assert_eq!(
        show(&format!("account_id={account}"))
            .ok()
            .text("/restrictions/0/reason"),
        "chargeback"
    );
    let lift = |id: &str| api.call_at("account.lift", &[id], "", As::Nobody, &Value::Null);
    assert!(lift(&made.text("/restriction_id")).ok().body["until_at"].is_u64());
    lift("999999").refused("restriction.unknown");

    let out = api
        .call("account.logout", As::Nobody, &json!({"account_id": account}))
        .ok();
    assert_eq!(
        out.body
            .as_object()
            .and_then(|body| body.values().next())
            .and_then(Value::as_u64),
        Some(1),
        "{}",
        out.body
    );
    assert_eq!(
        api.verify(&login.text("/session/access_token")).text("/reason"),
        "revoked"
    );
    api.call("account.logout", As::Nobody, &json!({"account_id": "999999"}))
        .refused("account.unknown");
}

pub fn the_authentication_log(api: &Api) {
    let login = api.register("uma");
    api.call(
        "session.create",
        As::Nobody,
        &api.entry(
            &json!({"kind": "username", "username": "uma", "password": "wrong one"}),
            "phone",
        ),
    )
    .refused("credential.invalid");
    api.log_in("uma", "device-uma").ok();
    let search = |query: &str| api.call_at("auth_log.search", &[], query, As::Nobody, &Value::Null);
    let found = search(&format!("account_id={}", login.text("/account_id"))).ok();
    let results: Vec<&str> = found.body["records"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|record| record["result"].as_str())
        .collect();
    assert_eq!(
        results,
        ["ok", "credential.invalid", "ok"],
        "newest first: {}",
        found.body
    );
    assert!(!found.body.to_string().contains("secret"), "no password in the log");
    let players = search(&format!(
        "game_id={}&player_id={}",
        api.world.game_id,
        login.text("/player_id")
    ))
    .ok();
    assert!(
        players.body["records"]
            .as_array()
            .is_some_and(|records| !records.is_empty())
    );
    search("").refused("request.field_invalid");
}

pub fn the_host(api: &Api) {
    for op in [
        "platform.status",
        "admission.show",
        "store.stats",
        "backup.show",
        "backup.create",
        "backup.drill",
        "platform.livez",
        "platform.readyz",
        "platform.startupz",
        "platform.metrics",
        "platform.version",
        "platform.openapi",
    ] {
        api.call(op, As::Nobody, &Value::Null).ok();
    }
    for op in ["store.copy", "store.verify", "platform.stop"] {
        api.call(op, As::Nobody, &Value::Null).ok();
    }
    let openapi = api.call("platform.openapi", As::Nobody, &Value::Null).ok();
    assert!(openapi.text("/openapi").starts_with("3.1"));
    api.call("account.create", As::Nobody, &api.entry(&named("counted"), "phone"))
        .ok();
    let metrics = api.call("platform.metrics", As::Nobody, &Value::Null).ok();
    assert!(
        metrics.body.to_string().contains("account.create"),
        "every operation is a label"
    );
}
