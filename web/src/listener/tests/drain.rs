//! The drain, with clients that know nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::Limits;
use crate::listener::{DrainConfig, DrainState};
use crate::origin::Surface;
use crate::testing::{Client, World, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_keep_alive_clients_see_every_answer_and_a_polite_close() {
    let world = Arc::new(World::start(Limits::default(), |_| {}));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (world, answered) = (Arc::clone(&world), Arc::clone(&answered));
            tokio::spawn(async move {
                let mut client = world.connect().await;
                loop {
                    let seen = client.get("/livez").await;
                    assert_eq!(seen.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    if seen.closes() {
                        client.closed().await;
                        return;
                    }
                }
            })
        })
        .collect();
    eventually(|| answered.load(Ordering::Relaxed) > 200, "clients are busy").await;
    let report = world
        .server
        .drain(DrainConfig {
            lame_duck_ms: 300,
            limit_ms: 10_000,
        })
        .await;
    assert_eq!(report.cut, 0);
    for client in clients {
        client.await.expect("a client saw an error");
    }
}

#[tokio::test]
async fn a_lame_duck_serves_and_accepts_but_is_not_ready_and_idle_connections_end_last() {
    let world = Arc::new(World::start(Limits::default(), |_| {}));
    let mut idle = world.connect().await;
    assert_eq!(idle.get("/readyz").await.json()["status"], "ready");
    let draining = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            world
                .server
                .drain(DrainConfig {
                    lame_duck_ms: 400,
                    limit_ms: 10_000,
                })
                .await
        })
    };
    eventually(|| world.app.inner.drain.is_draining(), "lame duck").await;
    let mut newcomer = world.connect().await;
    let seen = newcomer.get("/readyz").await;
    assert_eq!(
        (seen.status, seen.json()["status"].as_str(), seen.closes()),
        (503, Some("draining"), true)
    );
    assert_eq!(world.app.inner.drain.state(), DrainState::LameDuck);
    idle.closed().await;
    assert!(world.app.inner.drain.is_closing());
    assert_eq!(draining.await.unwrap().cut, 0);
    assert!(
        tokio::net::TcpStream::connect(("127.0.0.1", world.port()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn what_is_being_worked_on_is_finished_and_what_never_ends_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let address = crate::listener::Address::Unix(path.clone());
    let world = World::on(address, Limits::default(), |config| {
        config.surfaces = vec![Surface::Admin];
    });
    let connect = async || Client::new(tokio::net::UnixStream::connect(&path).await.unwrap());
    let (mut slow, mut stuck) = (connect().await, connect().await);
    slow.send("GET /admin/v1/store/stats HTTP/1.1\r\nhost: x\r\n\r\n").await;
    stuck
        .send("POST /admin/v1/store/verify HTTP/1.1\r\nhost: x\r\n\r\n")
        .await;
    eventually(|| world.app.inner.admission.in_flight() == 2, "both are in flight").await;
    let report = world
        .server
        .drain(DrainConfig {
            lame_duck_ms: 0,
            limit_ms: 1_500,
        })
        .await;
    assert_eq!(report.cut, 1);
    assert!(slow.receive().await.json()["tables"].is_array());
    assert!(stuck.try_receive().await.is_none());
}

#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let world = Arc::new(World::start(Limits::default(), |_| {}));
    let first = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            world
                .server
                .drain(DrainConfig {
                    lame_duck_ms: 600_000,
                    limit_ms: 600_000,
                })
                .await
        })
    };
    eventually(|| world.app.inner.drain.is_draining(), "lame duck").await;
    world.server.drain(DrainConfig::at_once()).await;
    tokio::time::timeout(Duration::from_secs(10), first)
        .await
        .expect("the first drain ends too")
        .unwrap();
}

#[tokio::test]
async fn a_connection_accepted_late_may_still_ask_once() {
    let world = Arc::new(World::start(Limits::default(), |_| {}));
    let mut late = world.connect().await;
    let mut begun = world.connect().await;
    begun.send("GET /livez HTTP/1.1\r\n").await;
    eventually(|| world.server.open_connections() == 2, "both are accepted").await;
    let draining = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            world
                .server
                .drain(DrainConfig {
                    lame_duck_ms: 0,
                    limit_ms: 10_000,
                })
                .await
        })
    };
    eventually(|| world.app.inner.drain.is_closing(), "closing").await;
    let seen = late.get("/livez").await;
    assert_eq!((seen.status, seen.closes()), (200, true));
    begun.send("host: x\r\n\r\n").await;
    assert_eq!(begun.receive().await.status, 200);
    late.closed().await;
    begun.closed().await;
    // The clients let go only now: both connections linger until then.
    drop((late, begun));
    assert_eq!(draining.await.unwrap().cut, 0);
}
