use std::time::Duration;

use futures_util::FutureExt;
use hyper::client::conn::http2::handshake;
use prometheus_client::metrics::gauge::Gauge;
use seawall_domain::testing::World;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::limits::Limits;
use crate::listener::lane::Lane;
use crate::listener::transport::Transport;
use crate::listener::turnstile::Rules;
use crate::origin::Surface;
use crate::testing::{TestHost, app_with, eventually};

const PATIENCE: Duration = Duration::from_secs(10);

/// A connection of players whose work begins at a turnstile: one request may, and no further round comes by itself.
struct Rig {
    client: TcpStream,
    turnstile: Arc<Turnstile>,
    serving: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new(is_h2: bool) -> Self {
        let world = World::new().unwrap();
        let app = app_with(&world, TestHost::default(), Limits::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let turnstile = Turnstile::new(1, Gauge::default(), Rules::default);
        let pulse = Arc::new(Pulse::new(&Limits::default()));
        let mut origin = Origin::in_process(&Surface::ALL, 0, app.seed());
        (origin.lane, origin.pulse) = (Lane::new(false, false), Some(Arc::clone(&pulse)));
        let turns = Arc::clone(&turnstile);
        let serving = tokio::spawn(async move {
            let first = Bytes::new();
            let stream = Transport::new(stream, Bytes::new());
            serve(app, Arc::new(origin), pulse, stream, Begun { first, is_h2 }, &turns).await;
        });
        Rig {
            client,
            turnstile,
            serving,
        }
    }
}

#[tokio::test]
async fn what_comes_with_a_request_has_no_turn_by_that() {
    let mut rig = Rig::new(false).await;
    let request = b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n";
    rig.client.write_all(&request.repeat(3)).await.unwrap();
    let mut answers = String::new();
    for turn in 1..=3 {
        while answers.matches("HTTP/1.1 200 OK").count() < turn {
            let mut buf = [0; 4096];
            let count = timeout(PATIENCE, rig.client.read(&mut buf))
                .await
                .expect("an answer")
                .unwrap();
            answers.push_str(std::str::from_utf8(&buf[..count]).unwrap());
        }
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), turn, "one a turn");
        if turn < 3 {
            eventually(|| rig.turnstile.waiting() == 1, "the next waits").await;
            rig.turnstile.begin_round();
        }
    }
    rig.serving.abort();
}

#[tokio::test]
async fn each_request_of_an_http2_connection_waits_for_its_turn() {
    let Rig {
        client,
        turnstile,
        serving,
    } = Rig::new(true).await;
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    let driving = tokio::spawn(connection);
    let ask = || {
        let request = Request::get("http://a.example/livez")
            .body(Full::new(Bytes::new()))
            .unwrap();
        let answer = sender.clone().send_request(request);
        tokio::spawn(async move { answer.await.unwrap().status() })
    };
    assert_eq!(timeout(PATIENCE, ask()).await.expect("the first begins").unwrap(), 200);
    let (mut second, third) = (ask(), ask());
    eventually(|| turnstile.waiting() == 2, "both wait").await;
    third.abort();
    eventually(|| turnstile.waiting() == 1, "who gives up leaves").await;
    assert!((&mut second).now_or_never().is_none());
    turnstile.begin_round();
    assert_eq!(timeout(PATIENCE, second).await.expect("its turn").unwrap(), 200);
    serving.abort();
    driving.abort();
}
