//! Refusals that are held back, on the wire: what waits, what goes on beside it, and who gives its place back when.

use std::future::Future;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::advance;

use crate::Limits;
use crate::listener::{DrainConfig, DrainReport};
use crate::testing::{PATIENCE, StandingClock, World};

/// Waits for a state while the clock stands.
async fn reached(state: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !state() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// A house that lets in nobody but health, and holds so many refusals at most.
fn full_house(held_max: usize) -> World {
    let mut limits = Limits {
        in_flight_max: 0,
        ..Limits::default()
    };
    limits.admission.held_refusals_max = held_max;
    World::start(limits, |_| {})
}

fn held(world: &World) -> i64 {
    world.app.inner.admission.refresh_gauges();
    world.app.inner.metrics.admission.held.get()
}

async fn holds(world: &World, count: i64) {
    reached(|| held(world) == count, &format!("{count} held")).await;
}

/// The status of an answer, or why there is none; dropped, the stream is reset.
type Status = Pin<Box<dyn Future<Output = hyper::Result<u16>> + Send>>;

/// One HTTP/2 connection.
struct Caller {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
    socket: std::net::TcpStream,
}

impl Caller {
    async fn connect(world: &World) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
        let stream = stream.into_std().unwrap();
        let socket = stream.try_clone().unwrap();
        let stream = TcpStream::from_std(stream).unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        Caller {
            sender,
            connection,
            socket,
        }
    }

    /// Sends at once; the answer comes when it is waited for.
    fn send(&mut self, request: http::request::Builder, body: &'static str) -> Status {
        let request = request.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        let answer = self.sender.send_request(request);
        Box::pin(async move {
            let answer = answer.await?;
            let status = answer.status().as_u16();
            answer.collect().await?;
            Ok(status)
        })
    }

    fn log_in(&mut self) -> Status {
        let request = Request::post("http://x/sdk/v1/sessions").header("content-type", "application/json");
        self.send(request, "{}")
    }

    async fn is_served(&mut self) -> bool {
        self.send(Request::get("http://x/livez"), "").await.unwrap() == 200
    }

    /// The first refusal, which is answered at once, and so many more, which are held.
    async fn refused_again(&mut self, world: &World, count: usize) -> Vec<Status> {
        assert_eq!(self.log_in().await.unwrap(), 503);
        let waiting = (0..count).map(|_| self.log_in()).collect();
        holds(world, i64::try_from(count).unwrap()).await;
        waiting
    }
}

#[tokio::test]
async fn a_held_stream_waits_and_the_others_of_its_connection_go_on() {
    let _clock = StandingClock::stand();
    let world = full_house(10);
    let mut caller = Caller::connect(&world).await;
    let waiting = caller.refused_again(&world, 2).await;
    for _ in 0..3 {
        assert!(caller.is_served().await);
    }
    advance(Duration::from_millis(24)).await;
    assert!(caller.is_served().await);
    assert_eq!(held(&world), 2, "neither is due");
    advance(Duration::from_millis(2)).await;
    holds(&world, 1).await;
    assert!(caller.is_served().await);
    advance(Duration::from_millis(25)).await;
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 503);
    }
    assert_eq!(held(&world), 0);
}

#[tokio::test]
async fn streams_beyond_the_cap_are_answered_at_once() {
    let _clock = StandingClock::stand();
    let world = full_house(2);
    let mut caller = Caller::connect(&world).await;
    let waiting = caller.refused_again(&world, 2).await;
    for _ in 0..5 {
        assert_eq!(caller.log_in().await.unwrap(), 503, "while the clock stands");
    }
    let mut other = Caller::connect(&world).await;
    for _ in 0..3 {
        assert_eq!(other.log_in().await.unwrap(), 503, "the cap is that of all connections");
    }
    assert_eq!(held(&world), 2);
    advance(Duration::from_millis(51)).await;
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 503);
    }
    assert_eq!(held(&world), 0);
}

#[tokio::test]
async fn a_held_stream_that_is_reset_gives_its_place_back_at_once() {
    let _clock = StandingClock::stand();
    let world = full_house(1);
    let mut caller = Caller::connect(&world).await;
    let first = caller.refused_again(&world, 1).await;
    drop(first);
    holds(&world, 0).await;
    assert!(caller.is_served().await, "the connection goes on");
    let second = caller.log_in();
    holds(&world, 1).await;
    caller.socket.shutdown(Shutdown::Both).unwrap();
    holds(&world, 0).await;
    drop(second);
}

#[tokio::test]
async fn a_held_http1_refusal_ends_with_its_connection() {
    let _clock = StandingClock::stand();
    let world = full_house(1);
    let mut client = world.connect().await;
    let post =
        "POST /sdk/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    client.send(post).await;
    assert_eq!(client.receive().await.status, 503);
    client.send(post).await;
    holds(&world, 1).await;
    drop(client);
    holds(&world, 0).await;
}

fn drained(world: &World, limit_ms: u64) -> JoinHandle<DrainReport> {
    let server = Arc::clone(&world.server);
    let config = DrainConfig {
        lame_duck_ms: 0,
        limit_ms,
    };
    tokio::spawn(async move { server.drain(config).await })
}

async fn closing(world: &World) {
    // A sleep of nothing ends with the next millisecond.
    tokio::task::yield_now().await;
    advance(Duration::from_millis(2)).await;
    reached(|| world.app.inner.drain.is_closing(), "the drain closes connections").await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_held_streams_beyond_its_limit() {
    let _clock = StandingClock::stand();
    let world = full_house(10);
    let mut caller = Caller::connect(&world).await;
    // The last two are held for longer than the drain waits.
    let waiting = caller.refused_again(&world, 7).await;
    let begun = tokio::time::Instant::now();
    let draining = drained(&world, 300);
    closing(&world).await;
    advance(Duration::from_millis(299)).await;
    let report = draining.await.unwrap();
    assert_eq!(report.cut, 1);
    assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
    holds(&world, 0).await;
    let mut answers = Vec::new();
    for answer in waiting {
        answers.push(answer.await);
    }
    assert!(answers[5].is_err() && answers[6].is_err(), "{answers:?}");
    assert!(caller.connection.await.unwrap().is_err() || caller.sender.is_closed());
}

#[tokio::test]
async fn a_drain_lets_held_streams_be_answered_within_its_limit() {
    let _clock = StandingClock::stand();
    let world = full_house(10);
    let mut caller = Caller::connect(&world).await;
    let waiting = caller.refused_again(&world, 7).await;
    let draining = drained(&world, 10_000);
    closing(&world).await;
    advance(Duration::from_millis(901)).await;
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 503);
    }
    drop(caller);
    assert_eq!(draining.await.unwrap().cut, 0);
}

#[tokio::test]
async fn asking_for_health_between_refusals_forgives_none() {
    let _clock = StandingClock::stand();
    let world = full_house(10);
    let mut caller = Caller::connect(&world).await;
    assert_eq!(caller.log_in().await.unwrap(), 503);
    assert!(caller.is_served().await);
    let waiting = caller.log_in();
    holds(&world, 1).await;
    advance(Duration::from_millis(26)).await;
    assert_eq!(waiting.await.unwrap(), 503);
}
