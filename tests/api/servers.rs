//! What game servers do: verify tokens, one or many, log players out, and sign.

use serde_json::json;

use crate::client::{Answer, Api, As, Ask, nonce};

fn access(answer: &Answer) -> String {
    answer.text("/session/access_token")
}

pub fn four_outcomes(api: &Api) {
    let login = api.register("vic");
    let valid = api.verify(&access(&login));
    assert_eq!(valid.text("/status"), "valid");
    assert_eq!(valid.text("/assurance"), "full");
    for field in ["player_id", "account_id"] {
        assert_eq!(valid.body[field], login.body[field]);
    }
    assert_eq!(valid.text("/channel_id"), "taptap");
    assert_eq!(valid.text("/package_id"), api.world.package_id.to_string());
    api.set_game(&json!({"status": "maintenance"}));
    let denied = api.verify(&access(&login));
    assert_eq!(
        (denied.text("/status"), denied.text("/code")),
        ("denied".into(), "game.maintenance".into())
    );
    api.set_game(&json!({"status": "open"}));
    assert_eq!(api.verify("rubbish").text("/status"), "invalid");
    let subject =
        json!({"kind": "player", "game_id": api.world.game_id.to_string(), "player_id": login.text("/player_id")});
    api.call(
        "account.restrict",
        As::Nobody,
        &json!({"subject": subject, "action": "chat", "reason": "insult"}),
    )
    .ok();
    let muted = api.verify(&access(&login));
    assert_eq!(
        (muted.text("/status"), muted.text("/restrictions/0/reason")),
        ("valid".into(), "insult".into()),
        "chat is the game server's to enforce"
    );
}

pub fn a_sample_is_read_again(api: &Api) {
    let all = api.with_limits(seawall_web::Limits {
        verify_recheck_every: 1,
        ..Default::default()
    });
    let login = all.register("rex");
    let old = all.log_in("rex", "device-rex").ok();
    all.log_in("rex", "device-rex").ok();
    for token in [access(&login), access(&old), "rubbish".into()] {
        all.verify(&token);
    }
    let counter = |name: &str| {
        let text = all
            .call("platform.metrics", As::Nobody, &serde_json::Value::Null)
            .ok()
            .body;
        let line = text.as_str().and_then(|text| {
            text.lines()
                .find(|line| line.starts_with(&format!("{name}_total")))
                .map(str::to_owned)
        });
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while counter("seawall_verify_rechecked") < Some(3) {
        assert!(std::time::Instant::now() < deadline, "the readings never ended");
    }
    assert_eq!(all.world.platform.counters().verify_contradicted, 0);
}

pub fn reasons_in_order(api: &Api) {
    let reason = |token: &str, player_id: Option<&str>| {
        let mut body = json!({"token": token});
        if let Some(player_id) = player_id {
            body["player_id"] = json!(player_id);
        }
        api.call("session.verify", As::Server, &body).ok().text("/reason")
    };
    let login = api.register("ida");
    let token = access(&login);
    assert_eq!(reason("sw1.abc", None), "malformed");
    let mut forged = token.clone();
    let last = forged.pop().filter(|letter| *letter != 'A').map_or('Q', |_| 'A');
    forged.push(last);
    assert_eq!(reason(&forged, None), "forged");
    assert_eq!(reason(&token, Some("12345")), "player_mismatch");
    assert_eq!(
        reason(&token, Some(&login.text("/player_id"))),
        "",
        "the right player is valid"
    );
    let game = api
        .call(
            "game.create",
            As::Nobody,
            &json!({"realm_id": "1", "name": "Other", "settings": {}}),
        )
        .ok();
    let package = json!({"name": "p", "platform": "ios", "channel_id": "", "agent_id": "", "site_id": "", "bundle_id": "", "channel_params": {}});
    let package = api
        .call_at("package.create", &[&game.text("/game_id")], "", As::Nobody, &package)
        .ok();
    let mut body = api.entry(&crate::client::named("ida"), "phone");
    body["game_id"] = json!(game.text("/game_id"));
    body["client"]["package_id"] = json!(package.text("/package_id"));
    let elsewhere = api.call("session.create", As::Nobody, &body).ok();
    assert_eq!(reason(&access(&elsewhere), None), "wrong_game");
    api.world.clock.advance(25 * 3_600_000);
    assert_eq!(reason(&token, None), "expired");
    let fresh = api.log_in("ida", "device-ida").ok();
    api.log_in("ida", "device-ida").ok();
    assert_eq!(
        reason(&access(&fresh), Some("12345")),
        "replaced",
        "the first match wins"
    );
}

pub fn batches(api: &Api) {
    let (a, b) = (api.register("batch-a"), api.register("batch-b"));
    let answer = api
        .call(
            "session.verify_batch",
            As::Server,
            &json!({"tokens": [access(&b), "rubbish", access(&a)]}),
        )
        .ok();
    let results = answer.body["results"].as_array().cloned().unwrap_or_default();
    assert_eq!(
        results
            .iter()
            .map(|result| result["status"].as_str().unwrap_or_default())
            .collect::<Vec<_>>(),
        ["valid", "invalid", "valid"]
    );
    assert_eq!(results[0]["player_id"], b.body["player_id"]);
    assert_eq!(results[2]["player_id"], a.body["player_id"]);
    let many: Vec<String> = (0..501).map(|_| "x".to_owned()).collect();
    assert!(
        api.call("session.verify_batch", As::Server, &json!({"tokens": many}))
            .status
            >= 400,
        "500 at most"
    );
    let most: Vec<String> = (0..500).map(|_| access(&a)).collect();
    assert_eq!(
        api.call("session.verify_batch", As::Server, &json!({"tokens": most}))
            .ok()
            .body["results"]
            .as_array()
            .map(Vec::len),
        Some(500)
    );
}

/// A signed call with something changed after signing.
fn tampered(api: &Api, op: &str, change: impl FnOnce(&mut http::Request<bytes::Bytes>)) -> Answer {
    let route = seawall_web::routes::find(op).expect("a route");
    let body = route.request_example.unwrap_or("{}").as_bytes().to_vec();
    let headers = if op == "player.logout" {
        vec![("idempotency-key", nonce())]
    } else {
        Vec::new()
    };
    let mut request = api.request(&Ask {
        op,
        path: Vec::new(),
        query: String::new(),
        who: As::Server,
        body,
        headers,
    });
    change(&mut request);
    api.send(op, request)
}

pub fn signatures(api: &Api) {
    for op in ["session.verify", "session.verify_batch", "player.logout"] {
        let set = |name: &'static str, value: &str| {
            let value = http::HeaderValue::from_str(value).expect("a header");
            tampered(api, op, |request| drop(request.headers_mut().insert(name, value)))
        };
        for name in [
            "seawall-key-id",
            "seawall-timestamp",
            "seawall-nonce",
            "seawall-signature",
        ] {
            tampered(api, op, |request| drop(request.headers_mut().remove(name))).refused("signature.missing");
        }
        set("seawall-key-id", "999999").refused("signature.key_unknown");
        set("seawall-timestamp", "1000000000").refused("signature.skewed");
        set("seawall-signature", &"0".repeat(64)).refused("signature.invalid");
        tampered(api, op, |request| {
            *request.body_mut() = bytes::Bytes::from_static(b"{\"token\": \"another\"}")
        })
        .refused("signature.invalid");
        tampered(api, op, |request| {
            *request.uri_mut() = format!("{}?a=b", request.uri()).parse().expect("a uri")
        })
        .refused("signature.invalid");
    }
    let login = api.register("nora");
    let body = json!({"game_id": api.world.game_id.to_string(), "player_id": login.text("/player_id")})
        .to_string()
        .into_bytes();
    let ask = Ask {
        op: "player.logout",
        path: Vec::new(),
        query: String::new(),
        who: As::Server,
        body,
        headers: vec![("idempotency-key", nonce())],
    };
    let request = api.request(&ask);
    api.send("player.logout", request.clone()).ok();
    api.send("player.logout", request).refused("signature.replayed");
}

pub fn a_player_is_logged_out(api: &Api) {
    let login = api.register("kim");
    let game_id = api.world.game_id.to_string();
    let logout = |game_id: &str, player_id: &str, key: &str| {
        let body = json!({"game_id": game_id, "player_id": player_id})
            .to_string()
            .into_bytes();
        api.ask(&Ask {
            op: "player.logout",
            path: Vec::new(),
            query: String::new(),
            who: As::Server,
            body,
            headers: vec![("idempotency-key", key.to_owned())],
        })
    };
    let player = login.text("/player_id");
    let first = logout(&game_id, &player, "kick-1").ok();
    assert_eq!(api.verify(&access(&login)).text("/reason"), "revoked");
    let fresh = api.log_in("kim", "device-kim").ok();
    let repeat = logout(&game_id, &player, "kick-1").ok();
    assert_eq!(repeat.body, first.body, "the same answer");
    assert_eq!(
        api.verify(&access(&fresh)).text("/status"),
        "valid",
        "a repeat has no second effect"
    );
    logout(&game_id, "123456", "kick-1").refused("idempotency.mismatch");
    logout(&game_id, "123456", "kick-2").refused("account.unknown");
    logout("424242", &player, "kick-3").refused("game.forbidden");
}

pub fn a_quota_of_checks(api: &Api) {
    let mut limits = seawall_web::Limits::default();
    limits.admission.server_key_verifies_per_second = Some(2);
    let metered = api.with_limits(limits);
    let token = access(&metered.register("mel"));
    let check = || metered.call("session.verify", As::Server, &json!({"token": token}));
    let many = |count: usize| {
        let tokens = vec![token.clone(); count];
        metered.call("session.verify_batch", As::Server, &json!({"tokens": tokens}))
    };
    assert_eq!(check().ok().text("/status"), "valid");
    many(100).ok();
    let refused = check().refused("limit.server_key");
    assert_eq!(refused.status, 429, "{}", refused.body);
    assert!(
        refused.body["retry_after_ms"].as_u64() >= Some(10_000),
        "{}",
        refused.body
    );
    many(1).refused("limit.server_key");
    let unlimited = api.with_limits(seawall_web::Limits::default());
    unlimited.verify(&token);
}
