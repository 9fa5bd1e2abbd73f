//! Every deadline of a connection cuts it, and says why in the metrics.

use tokio::io::AsyncWriteExt;

use crate::Limits;
use crate::listener::ProxyProtocol;
use crate::testing::{World, app, code, request};

/// Long enough for whatever is not under test.
const LONG_MS: u64 = 60_000;

fn limits() -> Limits {
    Limits {
        first_byte_ms: LONG_MS,
        header_ms: LONG_MS,
        idle_ms: LONG_MS,
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_silent_connection_is_cut_after_the_first_byte_deadline() {
    let world = World::start(
        Limits {
            first_byte_ms: 50,
            ..limits()
        },
        |_| {},
    );
    let mut client = world.connect().await;
    client.closed().await;
    world.cut_for("first_byte_timeout").await;
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_at_the_header_deadline() {
    let world = World::start(
        Limits {
            header_ms: 80,
            ..limits()
        },
        |_| {},
    );
    let mut client = world.connect().await;
    let head = b"GET /livez HTTP/1.1\r\nx: "
        .iter()
        .chain(std::iter::repeat_n(&b'x', 4000));
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
    for byte in head {
        tick.tick().await;
        if client.stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        if world.metric("seawall_connections_refused_total{listener=\"test\",reason=\"header_timeout\"}") > 0.0 {
            break;
        }
    }
    world.cut_for("header_timeout").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_answered_408() {
    let world = World::start(
        Limits {
            body_ms: 60,
            ..limits()
        },
        |_| {},
    );
    let mut client = world.connect().await;
    client
        .send(
            "POST /sdk/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
        )
        .await;
    let seen = client.receive().await;
    assert_eq!(
        (seen.status, seen.code().as_str(), seen.closes()),
        (408, "request.timeout", true)
    );
    client.closed().await;
}

#[tokio::test]
async fn an_idle_connection_is_cut_and_a_used_one_is_not() {
    let world = World::start(
        Limits {
            idle_ms: 150,
            ..limits()
        },
        |_| {},
    );
    let mut client = world.connect().await;
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(10));
    for _ in 0..30 {
        pace.tick().await;
        assert_eq!(client.get("/livez").await.status, 200);
    }
    client.closed().await;
    world.cut_for("idle_timeout").await;
}

#[tokio::test]
async fn a_second_head_has_its_own_deadline() {
    let world = World::start(
        Limits {
            header_ms: 50,
            ..limits()
        },
        |_| {},
    );
    let mut client = world.connect().await;
    assert_eq!(client.get("/livez").await.status, 200);
    client.send("GET /livez HTTP/1.1\r\n").await;
    client.closed().await;
    world.cut_for("header_timeout").await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut() {
    let tls = super::tls::tls(1);
    let world = World::start(
        Limits {
            handshake_ms: 50,
            ..limits()
        },
        |config| config.tls = Some(tls),
    );
    world.connect().await.closed().await;
    world.cut_for("handshake_timeout").await;
}

#[tokio::test]
async fn a_proxy_header_that_does_not_come_is_cut() {
    let world = World::start(
        Limits {
            proxy_header_ms: 50,
            ..limits()
        },
        |config| {
            config.proxy_protocol = ProxyProtocol::V1;
            config.trusted_peers = vec!["127.0.0.1".parse().unwrap()];
        },
    );
    world.connect().await.closed().await;
    world.cut_for("proxy_header_timeout").await;
}

#[tokio::test]
async fn work_past_the_total_deadline_has_an_unknown_outcome_and_a_panic_is_500() {
    let app = app(Limits {
        total_ms: 50,
        ..limits()
    });
    let late = app.call(0, request("POST", "/admin/v1/store/verify", "")).await;
    assert_eq!(
        (late.status().as_u16(), code(&late).as_str()),
        (503, "store.outcome_unknown")
    );
    assert!(late.headers().contains_key("retry-after"));
    let broken = app.call(0, request("GET", "/admin/v1/config", "")).await;
    assert_eq!(
        (broken.status().as_u16(), code(&broken).as_str()),
        (500, "platform.defect")
    );
    assert_eq!(app.inner.metrics.panics.get(), 1);
    assert_eq!(app.call(0, request("GET", "/admin/v1/status", "")).await.status(), 200);
    assert_eq!(app.inner.admission.in_flight(), 0);
}
