//! What players' game clients do: register, log in, refresh, log out, and every refusal they can meet.

use seawall_domain::testing::START_AT;
use seawall_web::route::Auth;
use seawall_web::routes::ROUTES;
use serde_json::{Value, json};

use crate::client::{Api, As, Ask, named};

fn access(answer: &crate::client::Answer) -> String {
    answer.text("/session/access_token")
}

fn refresh(answer: &crate::client::Answer) -> String {
    answer.text("/session/refresh_token")
}

pub fn register_log_in_refresh_log_out(api: &Api) {
    let new = api.register("Anna");
    assert_eq!(
        (new.status, &new.body["outcome"], &new.body["is_new_account"]),
        (201, &json!("session"), &json!(true))
    );
    assert_eq!(new.body["username"], "Anna", "shown as typed, found in any case");
    let again = api.log_in("ANNA", "device-anna");
    assert_eq!(
        again.status, 401,
        "the password belongs to the name as typed: {}",
        again.body
    );
    let login = api
        .call(
            "session.create",
            As::Nobody,
            &api.entry(
                &json!({"kind": "username", "username": "ANNA", "password": "Anna secret"}),
                "phone",
            ),
        )
        .ok();
    assert_eq!(
        (login.status, login.text("/account_id")),
        (200, new.text("/account_id"))
    );
    assert_eq!(login.body["is_new_account"], false);
    assert_eq!(login.text("/player_id"), new.text("/player_id"));

    let next = api
        .call(
            "session.refresh",
            As::Nobody,
            &json!({"refresh_token": refresh(&login)}),
        )
        .ok();
    assert_eq!(next.text("/session/session_id"), login.text("/session/session_id"));
    for token in [access(&login), access(&next)] {
        assert_eq!(
            api.verify(&token).text("/status"),
            "valid",
            "a refresh does not revoke earlier access tokens"
        );
    }
    let bye = api
        .call("session.logout", As::Bearer(&access(&next)), &Value::Null)
        .ok();
    assert!(bye.body["server_time_at"].is_u64());
    let gone = api.verify(&access(&next));
    assert_eq!(
        (gone.text("/status"), gone.text("/reason")),
        ("invalid".into(), "revoked".into())
    );
    let everywhere = api
        .call(
            "session.create",
            As::Nobody,
            &api.entry(
                &json!({"kind": "username", "username": "nobody1", "password": "nobody1 secret"}),
                "x",
            )
            .as_object()
            .map(|body| {
                let mut body = body.clone();
                body.insert("create_if_missing".into(), json!(true));
                Value::Object(body)
            })
            .unwrap_or_default(),
        )
        .ok();
    assert_eq!(everywhere.body["is_new_account"], true, "create_if_missing registers");
    api.call(
        "session.logout",
        As::Bearer(&access(&everywhere)),
        &json!({"everywhere": true}),
    )
    .ok();
    assert_eq!(api.verify(&access(&everywhere)).text("/reason"), "revoked");
}

pub fn guests_come_back_and_take_a_name(api: &Api) {
    let guest = api.guest("tablet");
    let secret = guest.text("/guest_secret");
    assert!(!secret.is_empty());
    let back = api
        .call(
            "session.create",
            As::Nobody,
            &api.entry(&json!({"kind": "guest", "guest_secret": secret}), "tablet"),
        )
        .ok();
    assert_eq!(
        (back.text("/account_id"), &back.body["guest_secret"]),
        (guest.text("/account_id"), &Value::Null)
    );
    let token = access(&back);
    let bound = api
        .call(
            "identity.bind",
            As::Bearer(&token),
            &json!({"credential": named("former-guest")}),
        )
        .ok();
    assert_eq!(bound.text("/username"), "former-guest");
    assert_eq!(
        api.log_in("former-guest", "tablet").ok().text("/account_id"),
        guest.text("/account_id")
    );

    api.register("taken");
    let other = access(&api.guest("other"));
    api.call(
        "identity.bind",
        As::Bearer(&other),
        &json!({"credential": named("taken")}),
    )
    .refused("identity.exists");
    api.call(
        "identity.bind",
        As::Bearer(&other),
        &json!({"credential": {"kind": "guest"}}),
    )
    .refused("credential.unsupported");
}

pub fn passwords(api: &Api) {
    let first = api.register("pia");
    api.set_game(&json!({"session_policy": "both"}));
    let second = api.log_in("pia", "second").ok();
    let change = |old: &str, new: &str| {
        api.call(
            "account.change_password",
            As::Bearer(&access(&first)),
            &json!({"old_password": old, "new_password": new}),
        )
    };
    change("wrong one", "another secret").refused("credential.invalid");
    change("pia secret", "short").refused("request.field_invalid");
    change("pia secret", "another secret").ok();
    assert_eq!(
        api.verify(&access(&first)).text("/status"),
        "valid",
        "the session that changed it stays"
    );
    assert_eq!(
        api.verify(&access(&second)).text("/reason"),
        "revoked",
        "all others are revoked"
    );
    api.log_in("pia", "second").refused("credential.invalid");
    let guest = access(&api.guest("passwordless"));
    api.call(
        "account.change_password",
        As::Bearer(&guest),
        &json!({"old_password": "anything", "new_password": "another secret"}),
    )
    .refused("credential.invalid");
}

pub fn login_refusals(api: &Api) {
    api.register("lea");
    let with = |field: &str, value: Value| {
        let mut body = api.entry(&named("lea"), "phone");
        body[field] = value;
        api.call("session.create", As::Nobody, &body)
    };
    with(
        "credential",
        json!({"kind": "username", "username": "lea", "password": "wrong one"}),
    )
    .refused("credential.invalid");
    with("credential", named("unknown-name")).refused("credential.invalid");
    with("credential", json!({"kind": "guest", "guest_secret": "sg1.nonsense"})).refused("credential.invalid");
    with("credential", json!({"kind": "carrier-pigeon"})).refused("credential.unsupported");
    with("game_id", json!("999999")).refused("game.unknown");
    let mut body = api.entry(&named("lea"), "phone");
    body["client"]["package_id"] = json!("999999");
    api.call("session.create", As::Nobody, &body).refused("package.unknown");
    api.set_game(&json!({"status": "maintenance"}));
    api.log_in("lea", "phone").refused("game.maintenance");
    api.set_game(&json!({"status": "open"}));
    api.call_at(
        "realm.update",
        &["1"],
        "",
        As::Nobody,
        &json!({"guests_allowed": false}),
    )
    .ok();
    let mut guest = api.entry(&json!({"kind": "guest"}), "phone");
    guest["create_if_missing"] = json!(true);
    api.call("session.create", As::Nobody, &guest).refused("guest.disabled");
}

pub fn registration_refusals(api: &Api) {
    api.register("max");
    let register = |body: &Value| api.call("account.create", As::Nobody, body);
    register(&api.entry(&named("MAX"), "phone")).refused("account.exists");
    register(&api.entry(&json!({"kind": "guest", "guest_secret": "sg1.x"}), "phone")).refused("request.field_invalid");
    register(&api.entry(&json!({"kind": "smoke-signal"}), "phone")).refused("credential.unsupported");
    register(&api.entry(
        &json!({"kind": "username", "username": "ab", "password": "long enough"}),
        "phone",
    ))
    .refused("request.field_invalid");
    let mut body = api.entry(&named("moritz"), "phone");
    body["game_id"] = json!("999999");
    register(&body).refused("game.unknown");
    let mut body = api.entry(&named("moritz"), "phone");
    body["client"]["package_id"] = json!("999999");
    register(&body).refused("package.unknown");
    api.set_game(&json!({"status": "maintenance"}));
    register(&api.entry(&named("moritz"), "phone")).refused("game.maintenance");
    api.set_game(&json!({"status": "open"}));
    let restriction =
        json!({"subject": {"kind": "ip_range", "range": "0.0.0.0/0"}, "action": "register", "reason": "flood"});
    api.call("account.restrict", As::Nobody, &restriction).ok();
    let device = api.guest("bad-device");
    let devices = api.call("device.list", As::Bearer(&access(&device)), &Value::Null).ok();
    let restriction = json!({"subject": {"kind": "device", "device_id": devices.text("/devices/0/device_id")}, "action": "register", "reason": "flood"});
    api.call("account.restrict", As::Nobody, &restriction).ok();
    register(&api.entry(&named("moritz"), "bad-device")).refused("account.restricted");
    api.call_at(
        "realm.update",
        &["1"],
        "",
        As::Nobody,
        &json!({"guests_allowed": false}),
    )
    .ok();
    register(&api.entry(&json!({"kind": "guest"}), "phone")).refused("guest.disabled");
}

pub fn policies_of_a_game(api: &Api) {
    let first = api.register("otto");
    let second = api.log_in("otto", "device-otto").ok();
    assert_eq!(
        api.verify(&access(&first)).text("/reason"),
        "replaced",
        "replace is the default"
    );
    assert_eq!(api.verify(&access(&second)).text("/status"), "valid");
    api.set_game(&json!({"session_policy": "both"}));
    let third = api.log_in("otto", "device-otto").ok();
    for login in [&second, &third] {
        assert_eq!(api.verify(&access(login)).text("/status"), "valid");
    }
    api.set_game(&json!({"session_policy": "refuse"}));
    api.log_in("otto", "another").refused("session.limit");
    api.log_in("otto", "device-otto").ok();
    api.set_game(&json!({"session_policy": "both", "device_limit": 2}));
    api.log_in("otto", "device-2").ok();
    let refused = api.log_in("otto", "device-3").refused("device.limit");
    assert_eq!(refused.body["params"]["limit"], 2, "{}", refused.body);
    api.log_in("otto", "device-2").ok();
}

pub fn refresh_refusals(api: &Api) {
    let login = api.register("rosa");
    let ask = |token: &str| api.call("session.refresh", As::Nobody, &json!({"refresh_token": token}));
    ask("sr1.nonsense").refused("refresh.invalid");
    ask(&access(&login)).refused("refresh.invalid");
    let once = ask(&refresh(&login)).ok();
    let lost_reply = ask(&refresh(&login)).ok();
    assert_eq!(
        lost_reply.body["session"], once.body["session"],
        "the same successor for a lost reply"
    );
    let twice = ask(&refresh(&once)).ok();
    api.world.clock.advance(60_000);
    ask(&refresh(&login)).refused("refresh.reused");
    ask(&refresh(&twice)).refused("refresh.invalid");
    assert_eq!(
        api.verify(&access(&twice)).text("/reason"),
        "revoked",
        "reuse revokes the session"
    );

    let login = api.log_in("rosa", "device-rosa").ok();
    let subject = json!({"kind": "account", "account_id": login.text("/account_id")});
    let restriction = api
        .call(
            "account.restrict",
            As::Nobody,
            &json!({"subject": subject, "action": "login", "reason": "review"}),
        )
        .ok();
    ask(&refresh(&login)).refused("account.restricted");
    api.call_at(
        "account.lift",
        &[&restriction.text("/restriction_id")],
        "",
        As::Nobody,
        &Value::Null,
    )
    .ok();
    ask(&refresh(&login)).ok();
}

pub fn what_a_player_sees(api: &Api) {
    let login = api.register("vera");
    api.set_game(&json!({"session_policy": "both"}));
    api.log_in("vera", "second").ok();
    let token = access(&login);
    let own = api.call("account.get", As::Bearer(&token), &Value::Null).ok();
    assert_eq!(
        (own.text("/account_id"), own.text("/username")),
        (login.text("/account_id"), "vera".into())
    );
    assert_eq!(own.body["identities"], json!([{"kind": "username"}]));
    let sessions = api.call("session.list", As::Bearer(&token), &Value::Null).ok();
    let list = sessions.body["sessions"].as_array().cloned().unwrap_or_default();
    assert_eq!(list.len(), 2);
    assert_eq!(list.iter().filter(|entry| entry["is_current"] == true).count(), 1);
    let devices = api.call("device.list", As::Bearer(&token), &Value::Null).ok();
    assert_eq!(devices.body["devices"].as_array().map(Vec::len), Some(2));
    for answer in [own, sessions, devices] {
        assert!(
            answer.body["server_time_at"].is_u64(),
            "every /sdk answer tells the time"
        );
    }
}

pub fn restricted_players(api: &Api) {
    let login = api.register("ben");
    let subject = json!({"kind": "account", "account_id": login.text("/account_id")});
    let until_at = START_AT + 3_600_000;
    api.call("account.restrict", As::Nobody, &json!({"subject": subject, "action": "login", "reason": "cheating", "until_at": until_at, "message": "Ask support."})).ok();
    let refused = api.log_in("ben", "device-ben").refused("account.restricted");
    assert_eq!(refused.body["params"]["reason"], "cheating");
    assert_eq!(refused.body["params"]["until_at"], until_at);
    let denied = api.verify(&access(&login));
    assert_eq!(
        (denied.text("/status"), denied.text("/code"), &denied.body["until_at"]),
        ("denied".into(), "account.restricted".into(), &json!(until_at))
    );
    let token = access(&login);
    let change = json!({"old_password": "ben secret", "new_password": "another secret"});
    api.call("account.change_password", As::Bearer(&token), &change)
        .refused("account.restricted");
    api.call(
        "identity.bind",
        As::Bearer(&token),
        &json!({"credential": named("second-name")}),
    )
    .refused("account.restricted");
    api.world.clock.advance(3_600_001);
    assert_eq!(
        api.verify(&access(&login)).text("/status"),
        "valid",
        "it ended by itself"
    );
}

pub fn accounts_deleted_on_the_old_platform(api: &Api) {
    let import = |letter: char, line: Value| {
        let begin = json!({"file_digest": letter.to_string().repeat(64), "realm_id": "1", "format": "ndjson", "csv_header": null,
            "password_recipe": "md5(password)", "pepper": null, "columns": [], "keep_old_hashes": false, "uid_is_player_id": true, "dry_run": false});
        let id = api.call("import.begin", As::Nobody, &begin).ok().text("/import_id");
        let line = format!("{line}\n").into_bytes();
        let chunk = Ask {
            op: "import.chunk",
            path: vec![id],
            query: "offset_bytes=0".into(),
            who: As::Nobody,
            body: line,
            headers: Vec::new(),
        };
        assert_eq!(api.ask(&chunk).ok().body["bad_lines"], json!([]));
    };
    let hash = seawall_tests::accounts::hash("md5(password)", "gone secret", "").expect("a hash");
    let line = |changed_at: u64, status: &str| json!({"uid": 5_000_001, "username": "gone", "password": hash, "status": status, "changed_at": changed_at});
    import('1', line(1_600_000_000_000, "active"));
    let login = api.log_in("gone", "phone").ok();
    import('2', line(1_600_000_000_001, "deleted"));
    api.call(
        "session.refresh",
        As::Nobody,
        &json!({"refresh_token": refresh(&login)}),
    )
    .refused("account.deleted");
    let answer = api.verify(&access(&login));
    assert_eq!(
        (answer.text("/status"), answer.text("/code")),
        ("denied".into(), "account.deleted".into())
    );
    for route in ROUTES.iter().filter(|route| matches!(route.auth, Auth::Bearer)) {
        let body = route.request_example.map_or(Ok(Value::Null), serde_json::from_str);
        api.call(
            route.op,
            As::Bearer(&access(&login)),
            &body.expect("an example is JSON"),
        )
        .refused("account.deleted");
    }
    api.log_in("gone", "phone").refused("account.deleted");
}

pub fn repeats_with_an_idempotency_key(api: &Api) {
    let body = api.entry(&json!({"kind": "guest"}), "phone");
    let with_key = |key: &str, body: &Value| {
        api.ask(&Ask {
            op: "account.create",
            path: Vec::new(),
            query: String::new(),
            who: As::Nobody,
            body: body.to_string().into_bytes(),
            headers: vec![("idempotency-key", key.to_owned())],
        })
    };
    let first = with_key("key-1", &body).ok();
    let second = with_key("key-1", &body).ok();
    for field in ["account_id", "player_id", "session", "guest_secret", "is_new_account"] {
        assert_eq!(second.body[field], first.body[field], "{field}");
    }
    let other = with_key("key-2", &body).ok();
    assert_ne!(other.text("/account_id"), first.text("/account_id"));
}
