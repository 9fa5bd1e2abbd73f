//! Malformed and oversized input: a clear 4xx as a problem, nothing broken, the connection kept where it can be.

use tokio::io::AsyncWriteExt;

use crate::Limits;
use crate::testing::{World, app, code, request};

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn bad_bodies_are_named_and_the_connection_goes_on() {
    let world = World::start(Limits::default(), |_| {});
    let mut client = world.connect().await;
    let long_name = format!(
        r#"{{"game_id":"{}","credential":{{"kind":"guest"}},"client":{{}}}}"#,
        "9".repeat(60_000)
    );
    let table: &[(&str, &[u8], u16, &str)] = &[
        (JSON, b"{\"game_id\":", 400, "request.malformed_json"),
        (JSON, b"{\"game_id\":\"\xff\"}", 400, "request.malformed_json"),
        (JSON, b"{\"game_id\":\"\0\"}", 400, "request.malformed_json"),
        (JSON, b"{\"game_id\":\"1\",\"game_id\":\"1\"}", 400, "request.duplicate_key"),
        (JSON, b"{\"game_id\":1}", 400, "request.field_invalid"),
        (JSON, b"null", 400, "request.field_invalid"),
        (JSON, long_name.as_bytes(), 400, "request.field_invalid"),
        (JSON, br#"{"game_id":"1","credential":{"kind":"magic"},"client":{"package_id":"1","os":"ios","device":{"install_id":"x"}}}"#, 400, "credential.unsupported"),
        (JSON, br#"{"game_id":"1","credential":{"kind":"username","username":"u"},"client":{"package_id":"1","os":"ios","device":{"install_id":"x"}}}"#, 400, "request.field_invalid"),
        ("content-type: text/plain\r\n", b"{}", 415, "request.content_type"),
        ("", b"{}", 415, "request.content_type"),
        ("content-type: application/json\r\ncontent-encoding: gzip\r\n", b"{}", 415, "request.content_type"),
        ("content-type: application/json\r\nidempotency-key: a b\r\n", b"{}", 400, "idempotency.malformed"),
    ];
    for (headers, body, status, code) in table {
        let seen = client.post("/sdk/v1/sessions", headers, body).await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (*status, *code),
            "{}",
            String::from_utf8_lossy(body)
        );
        assert!(!seen.closes());
    }
}

#[tokio::test]
async fn oversized_bodies_are_refused_at_once_or_at_the_limit() {
    let world = World::start(Limits::default(), |_| {});
    let mut client = world.connect().await;
    client
        .send(format!(
            "POST /sdk/v1/sessions HTTP/1.1\r\nhost: x\r\n{JSON}content-length: 1000000\r\n\r\n"
        ))
        .await;
    let seen = client.receive().await;
    assert_eq!(
        (seen.status, seen.code().as_str(), seen.closes()),
        (413, "request.too_large", true)
    );
    let mut client = world.connect().await;
    client
        .send(format!(
            "POST /sdk/v1/sessions HTTP/1.1\r\nhost: x\r\n{JSON}transfer-encoding: chunked\r\n\r\n"
        ))
        .await;
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    // The answer comes before the body's end; what is still sent must not destroy it.
    for _ in 0..20 {
        if client.stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(client.receive().await.code(), "request.too_large");
}

#[tokio::test]
async fn heads_that_are_too_large_or_unreadable_are_problems_too() {
    let world = World::start(Limits::default(), |_| {});
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let table = [
        (
            format!("GET /livez HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
            431,
            "request.header_too_large",
        ),
        (
            format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(17_000)),
            431,
            "request.header_too_large",
        ),
        (
            format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(60_000)),
            431,
            "request.header_too_large",
        ),
        (
            format!("GET /livez?{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(17_000)),
            414,
            "request.uri_too_long",
        ),
        ("GARBAGE\r\n\r\n".to_owned(), 400, "request.malformed"),
        (
            "GET /livez HTTP/1.1\r\nbad header\r\n\r\n".to_owned(),
            400,
            "request.malformed",
        ),
        ("GET /a b HTTP/1.1\r\n\r\n".to_owned(), 400, "request.malformed"),
        ("GET /livez HTTP/9.9\r\n\r\n".to_owned(), 400, "request.malformed"),
        (
            "POST /sdk/v1/sessions HTTP/1.1\r\ncontent-length: x\r\n\r\n".to_owned(),
            400,
            "request.malformed",
        ),
    ];
    for (bytes, status, code) in table {
        let mut client = world.connect().await;
        client.send(&bytes).await;
        let seen = client.receive().await;
        assert_eq!(
            (seen.status, seen.code().as_str()),
            (status, code),
            "{}",
            &bytes[..bytes.len().min(60)]
        );
    }
}

#[tokio::test]
async fn unknown_routes_methods_surfaces_and_hosts_are_refused() {
    let world = World::start(Limits::default(), |config| config.hosts = vec!["play.example".into()]);
    let mut client = world.connect().await;
    client.send("GET /livez HTTP/1.1\r\nhost: evil.example\r\n\r\n").await;
    assert_eq!(client.receive().await.code(), "host.unknown");
    let mut ask = async |line: &str| {
        client
            .send(format!("{line} HTTP/1.1\r\nhost: Play.Example:443\r\n\r\n"))
            .await;
        client.receive().await
    };
    assert_eq!(ask("GET /nothing").await.code(), "route.unknown");
    assert_eq!(ask("GET /admin/v1/status").await.code(), "route.unknown");
    let seen = ask("DELETE /sdk/v1/sessions").await;
    assert_eq!((seen.status, seen.code().as_str()), (405, "route.method"));
    assert!(seen.head.contains("allow: post, get"), "{}", seen.head);
    assert_eq!(ask("GET /livez").await.status, 200);
}

#[tokio::test]
async fn missing_proofs_are_401_with_a_challenge() {
    let app = app(Limits::default());
    let bearer = app.call(0, request("GET", "/sdk/v1/account", "")).await;
    assert_eq!(
        (bearer.status().as_u16(), code(&bearer).as_str()),
        (401, "token.missing")
    );
    assert_eq!(bearer.headers()["www-authenticate"], "Bearer realm=\"seawall\"");
    let signed = app
        .call(0, request("POST", "/server/v1/sessions/verify", r#"{"token":"x"}"#))
        .await;
    assert_eq!(
        (signed.status().as_u16(), code(&signed).as_str()),
        (401, "signature.missing")
    );
    assert!(
        signed.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Seawall-HMAC-SHA256")
    );
}

#[tokio::test]
async fn operators_are_told_about_fields_nobody_knows() {
    let app = app(Limits::default());
    let answer = app
        .call(
            0,
            request("POST", "/admin/v1/realms", r#"{"name":"x","guest_allowed":false}"#),
        )
        .await;
    assert_eq!(
        (answer.status().as_u16(), code(&answer).as_str()),
        (400, "request.field_invalid")
    );
    let answer = app
        .call(0, request("GET", "/admin/v1/accounts/show?account_id=1&x=2", ""))
        .await;
    assert_eq!(code(&answer), "request.query_invalid");
    let answer = app.call(0, request("POST", "/admin/v1/games/zero", "{}")).await;
    assert_eq!(code(&answer), "request.field_invalid");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let world = World::start(Limits::default(), |_| {});
    let mut client = world.connect().await;
    client
        .send("GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /version HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    assert_eq!(client.receive().await.json()["status"], "alive");
    assert_eq!(client.receive().await.json()["target"], "t");
    client.stream.shutdown().await.unwrap();
    client.closed().await;
}

#[tokio::test]
async fn the_request_id_is_the_callers_trace_and_comes_back() {
    let world = World::start(Limits::default(), |_| {});
    let mut client = world.connect().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    client
        .send(format!(
            "GET /none HTTP/1.1\r\nhost: x\r\ntraceparent: 00-{trace}-b7ad6b7169203331-01\r\n\r\n"
        ))
        .await;
    let seen = client.receive().await;
    assert_eq!(seen.json()["request_id"], trace);
    assert!(
        seen.head.contains(&format!("traceparent: 00-{trace}-")),
        "{}",
        seen.head
    );
}

#[tokio::test]
async fn caps_refuse_the_connection_beyond_them() {
    let limits = Limits {
        connections_per_address_max: 2,
        connections_max: 3,
        ..Limits::default()
    };
    let world = World::start(limits.clone(), |_| {});
    let mut held = vec![world.connect().await, world.connect().await];
    for client in &mut held {
        assert_eq!(client.get("/livez").await.status, 200);
    }
    let seen = world.connect().await.receive().await;
    assert_eq!((seen.status, seen.code().as_str()), (503, "connection.limit"));
    assert!(seen.head.contains("retry-after: "));
    world.cut_for("address_limit").await;
    drop(held);
    crate::testing::eventually(|| world.server.open_connections() == 0, "places come back").await;
    assert_eq!(world.connect().await.get("/livez").await.status, 200);

    let trusting = World::start(limits, |config| {
        config.trusted_peers = vec!["127.0.0.0/8".parse().unwrap()];
    });
    let mut held = vec![
        trusting.connect().await,
        trusting.connect().await,
        trusting.connect().await,
    ];
    for client in &mut held {
        assert_eq!(client.get("/livez").await.status, 200);
    }
    assert_eq!(trusting.connect().await.receive().await.code(), "connection.limit");
    trusting.cut_for("total_limit").await;
}

#[tokio::test]
async fn a_full_house_is_answered_503_and_health_passes() {
    let app = app(Limits {
        in_flight_max: 0,
        ..Limits::default()
    });
    let shed = app.call(0, request("GET", "/sdk/v1/account", "")).await;
    assert_eq!((shed.status().as_u16(), code(&shed).as_str()), (503, "overload.busy"));
    assert!(shed.headers().contains_key("retry-after"));
    assert_eq!(app.call(0, request("GET", "/livez", "")).await.status(), 200);
}

#[tokio::test]
async fn fields_nobody_knows_are_ignored_and_counted_for_players() {
    let world = World::start(Limits::default(), |_| {});
    let mut client = world.connect().await;
    let seen = client
        .post(
            "/sdk/v1/sessions/refresh",
            JSON,
            br#"{"refresh_token":"x","a":1,"b":{"c":2}}"#,
        )
        .await;
    assert_eq!((seen.status, seen.code().as_str()), (401, "refresh.invalid"));
    assert!(seen.json()["server_time_at"].as_u64().is_some());
    let counted = world.metric("seawall_http_unknown_fields_total{op=\"session.refresh\"}");
    assert!((counted - 2.0).abs() < 0.5, "{counted}");
}
