//! The gates in front of every route, driven by the list of routes itself: a new route is covered the moment it exists.

use seawall_web::route::{Auth, IdempotencyRule};
use seawall_web::routes::ROUTES;
use serde_json::{Value, json};

use crate::client::{Api, As, Ask, nonce};

type Route = seawall_web::route::Route;

/// A call that passes the gates in front of the one under test.
fn ask<'a>(route: &'a Route, token: &'a str, body: Vec<u8>) -> Ask<'a> {
    let who = match route.auth {
        Auth::Bearer => As::Bearer(token),
        Auth::Signed { .. } => As::Server,
        Auth::None | Auth::Socket => As::Nobody,
    };
    let headers = if route.idempotency == IdempotencyRule::Required {
        vec![("idempotency-key", nonce())]
    } else {
        Vec::new()
    };
    let path = route
        .path
        .split('/')
        .filter(|part| part.starts_with('{'))
        .map(|_| "1".to_owned())
        .collect();
    let query = if route.query.is_some() {
        "limit=1".to_owned()
    } else {
        String::new()
    };
    Ask {
        op: route.op,
        path,
        query,
        who,
        body,
        headers,
    }
}

fn token(api: &Api) -> String {
    api.guest("gates").text("/session/access_token")
}

fn takes_json(route: &&Route) -> bool {
    route.request.is_some()
}

pub fn every_route_refuses_bad_bodies(api: &Api) {
    let token = token(api);
    for route in ROUTES.iter().filter(takes_json) {
        let send = |body: &[u8]| api.ask(&ask(route, &token, body.to_vec()));
        send(b"{\"a\": ").refused("request.malformed_json");
        send(b"{\"a\": \"\xff\"}").refused("request.malformed_json");
        send(b"{\"a\": 1, \"a\": 2}").refused("request.duplicate_key");
        send(b"{\"a\": {\"b\": 1, \"b\": 2}}").refused("request.duplicate_key");
        send(&vec![b' '; route.body_max_bytes + 1]).refused("request.too_large");
        for wrong in ["[]", "\"text\"", "{\"game_id\": {}}"] {
            let answer = send(wrong.as_bytes());
            assert!(
                (400..500).contains(&answer.status) || answer.code == "ok",
                "{} {wrong}: {} {}",
                route.op,
                answer.status,
                answer.body
            );
        }
        send(b"[]").refused("request.field_invalid");
        let mut request = api.request(&ask(route, &token, b"{}".to_vec()));
        request
            .headers_mut()
            .insert("content-type", http::HeaderValue::from_static("text/plain"));
        api.send(route.op, request).refused("request.content_type");
        every_text_field_is_bounded(api, route, &token);
    }
}

/// 64 KiB and NUL in each text of the sample body, one after the other.
fn every_text_field_is_bounded(api: &Api, route: &Route, token: &str) {
    let Some(sample) = route
        .request_example
        .and_then(|text| serde_json::from_str::<Value>(text).ok())
    else {
        return;
    };
    let mut pointers = Vec::new();
    texts(&sample, String::new(), &mut pointers);
    for pointer in pointers {
        for bad in ["x".repeat(64 << 10), "a\u{0}b".to_owned()] {
            let mut body = sample.clone();
            if let Some(place) = body.pointer_mut(&pointer) {
                *place = json!(bad);
            }
            let answer = api.ask(&ask(route, token, body.to_string().into_bytes()));
            assert!(
                answer.status < 500,
                "{} {pointer}: {} {}",
                route.op,
                answer.status,
                answer.body
            );
            assert!(
                !answer.body.to_string().contains(&"x".repeat(1000)),
                "{} {pointer}: an error repeats what was sent",
                route.op
            );
        }
    }
}

fn texts(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| texts(field, format!("{at}/{name}"), found)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| texts(item, format!("{at}/{index}"), found)),
        _ => {}
    }
}

pub fn every_route_wants_to_know_who_calls(api: &Api) {
    for route in ROUTES {
        let body = route.request_example.unwrap_or_default().as_bytes().to_vec();
        match route.auth {
            Auth::Bearer => {
                let bad = |who: As<'_>| {
                    api.ask(&Ask {
                        who,
                        ..ask(route, "", body.clone())
                    })
                };
                bad(As::Nobody).refused("token.missing");
                let refused = bad(As::Bearer("sw1.nonsense")).refused("session.invalid");
                assert_eq!(refused.body["params"]["reason"], "malformed", "{}", refused.body);
            }
            Auth::Signed { .. } => drop(
                api.ask(&Ask {
                    who: As::Nobody,
                    ..ask(route, "", body)
                })
                .refused("signature.missing"),
            ),
            Auth::None | Auth::Socket => {}
        }
    }
}

pub fn every_route_checks_its_idempotency_key(api: &Api) {
    for route in ROUTES.iter().filter(|route| route.idempotency != IdempotencyRule::None) {
        let owner = format!("owner-{}", route.op.replace('.', "-"));
        let token = if route.op == "account.change_password" {
            api.register(&owner).text("/session/access_token")
        } else {
            token(api)
        };
        let body = body_of(api, route, &owner);
        for bad in ["", "has space", &"x".repeat(256)] {
            let mut question = ask(route, &token, body.to_string().into_bytes());
            question.headers = vec![("idempotency-key", bad.to_owned())];
            api.ask(&question).refused("idempotency.malformed");
        }
        if route.idempotency == IdempotencyRule::Required {
            let mut question = ask(route, &token, body.to_string().into_bytes());
            question.headers.clear();
            api.ask(&question).refused("idempotency.required");
        }
        let key = nonce();
        let with_key = |token: &str, body: &Value| {
            let mut question = ask(route, token, body.to_string().into_bytes());
            question.headers = vec![("idempotency-key", key.clone())];
            api.ask(&question)
        };
        with_key(&token, &body).ok();
        let mut other = body.clone();
        other["unknown_field_for_the_digest"] = json!(1);
        with_key(&token, &other).refused("idempotency.mismatch");
    }
}

/// A body that is right in fact, by operation.
fn body_of(api: &Api, route: &Route, name: &str) -> Value {
    let guest = api.entry(&json!({"kind": "guest"}), name);
    match route.op {
        "session.create" => {
            let secret = api.guest(name).text("/guest_secret");
            api.entry(&json!({"kind": "guest", "guest_secret": secret}), name)
        }
        "account.create" => guest,
        "session.refresh" => json!({"refresh_token": api.guest(name).text("/session/refresh_token")}),
        "player.logout" => {
            json!({"game_id": api.world.game_id.to_string(), "player_id": api.guest(name).text("/player_id")})
        }
        "identity.bind" => json!({"credential": crate::client::named("idempotent-name")}),
        "session.logout" => json!({"everywhere": false}),
        "account.change_password" => {
            json!({"old_password": format!("{name} secret"), "new_password": "another secret"})
        }
        other => panic!("say what a right body of {other} is"),
    }
}

pub fn bad_paths_and_queries(api: &Api) {
    let token = token(api);
    for route in ROUTES {
        let body = route.request_example.unwrap_or_default().as_bytes().to_vec();
        if route.path.contains('{') && !route.op.starts_with("import.") {
            let mut question = ask(route, &token, body.clone());
            question.path = question.path.iter().map(|_| "not-an-id".to_owned()).collect();
            api.ask(&question).refused("request.field_invalid");
        }
        if route.op.starts_with("import.") && route.path.contains('{') {
            let mut question = ask(route, &token, body.clone());
            question.path = vec!["not-an-id".into()];
            question.query = if route.query.is_some() {
                "offset_bytes=0".into()
            } else {
                String::new()
            };
            api.ask(&question).refused("import.unknown");
        }
        if route.query.is_some() {
            for bad in [
                "no_such_parameter=1",
                "limit=1&limit=2",
                "limit=many",
                "offset_bytes=-1",
            ] {
                let mut question = ask(route, &token, body.clone());
                question.query = bad.into();
                api.ask(&question).refused("request.query_invalid");
            }
        }
    }
}

pub fn what_is_no_route(api: &Api) {
    let send = |method: &str, target: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(target)
            .header("host", "sdk.test")
            .body(bytes::Bytes::new());
        api.send("no route", request.expect("a request"))
    };
    for target in [
        "/",
        "/sdk/v1/nothing",
        "/sdk/v2/sessions",
        "/admin",
        "/sdk/v1/sessions/",
        "//sdk/v1/sessions",
        "/sdk/v1/../v1/account",
    ] {
        send("GET", target).refused("route.unknown");
    }
    let refused = send("DELETE", "/sdk/v1/sessions").refused("route.method");
    assert!(refused.headers.contains_key("allow"));
    let elsewhere = http::Request::builder()
        .uri("/openapi.json")
        .header("host", "other.example")
        .body(bytes::Bytes::new());
    api.send_to_named_host("no route", elsewhere.expect("a request"))
        .refused("host.unknown");
    send("GET", &format!("/sdk/v1/account?{}", "q".repeat(17_000))).refused("request.uri_too_long");
    let mut request = http::Request::builder()
        .uri("/sdk/v1/account")
        .body(bytes::Bytes::new())
        .expect("a request");
    for number in 0..200 {
        let name = http::HeaderName::try_from(format!("x-filler-{number}")).expect("a name");
        request.headers_mut().insert(name, http::HeaderValue::from_static("1"));
    }
    api.send("no route", request).refused("request.header_too_large");
}
