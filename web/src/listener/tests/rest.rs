//! Connections that idle give their buffers back and are served on as if nothing had been.

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::Limits;
use crate::listener::DrainConfig;
use crate::testing::{Client, World, eventually};

const RESTING: &str = "seawall_connections_resting";

fn resting_soon() -> Limits {
    Limits {
        rest_after_ms: 20,
        ..Limits::default()
    }
}

async fn at_rest(world: &World) -> Client<TcpStream> {
    let mut client = world.connect().await;
    assert_eq!(client.get("/livez").await.status, 200);
    eventually(|| world.metric(RESTING) == 1.0, "the connection rests").await;
    client
}

#[tokio::test]
async fn a_connection_rests_and_is_served_on_again_and_again() {
    let world = World::start(resting_soon(), |_| {});
    let mut client = at_rest(&world).await;
    for _ in 0..3 {
        assert_eq!(client.get("/livez").await.status, 200);
        // A head longer than what is read to end a rest, with a body, in pieces.
        client.send("POST /sdk/v1/accounts HTTP/1.1\r\nhost: x\r\n").await;
        client
            .send(format!(
                "x-long: {}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n",
                "y".repeat(5_000)
            ))
            .await;
        client.send("{}").await;
        assert_eq!(client.receive().await.status, 400);
        eventually(|| world.metric(RESTING) == 1.0, "it rests again").await;
    }
    drop(client);
    eventually(|| world.metric(RESTING) == 0.0, "a client that left is not kept").await;
    eventually(
        || world.metric("seawall_connections_open{listener=\"test\"}") == 0.0,
        "closed",
    )
    .await;
}

#[tokio::test]
async fn in_a_crowd_connections_rest_sooner() {
    let limits = |crowd_connections| Limits {
        rest_after_ms: 60_000,
        rest_in_crowd_after_ms: 20,
        crowd_connections,
        ..Limits::default()
    };
    let world = World::start(limits(1), |_| {});
    let mut alone = world.connect().await;
    assert_eq!(alone.get("/livez").await.status, 200);
    let in_service = || world.metric("seawall_connections_in_service");
    assert_eq!(
        (in_service(), world.metric(RESTING)),
        (1.0, 0.0),
        "one is no crowd of more than one"
    );
    let mut second = world.connect().await;
    assert_eq!(second.get("/livez").await.status, 200);
    eventually(|| world.metric(RESTING) == 1.0, "one of two rests").await;
    assert_eq!(in_service(), 1.0, "and then there is no crowd any more");
    drop((alone, second));
    eventually(
        || in_service() == 0.0 && world.metric(RESTING) == 0.0,
        "all are counted off",
    )
    .await;
}

#[tokio::test]
async fn a_resting_connection_keeps_its_deadlines() {
    let limits = Limits {
        idle_ms: 300,
        header_ms: 50,
        ..resting_soon()
    };
    let world = World::start(limits, |_| {});
    let mut idle = at_rest(&world).await;
    idle.closed().await;
    world.cut_for("idle_timeout").await;
    let mut slow = at_rest(&world).await;
    slow.send("GET /livez HT").await;
    slow.closed().await;
    world.cut_for("header_timeout").await;
}

#[tokio::test]
async fn a_drain_ends_rests_politely() {
    let world = Arc::new(World::start(resting_soon(), |_| {}));
    let mut client = at_rest(&world).await;
    let report = world
        .server
        .drain(DrainConfig {
            lame_duck_ms: 50,
            limit_ms: 10_000,
        })
        .await;
    assert_eq!(report.cut, 0);
    client.closed().await;
}
