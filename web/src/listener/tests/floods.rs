//! Clients that cost much and give little: frames in a hurry, heads without an end, and what trickles. Frames are written by
//! hand, so that nothing but the server keeps the rules.

use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Limits;
use crate::testing::{Client, PATIENCE, World, eventually};

/// What HTTP/2 begins with, and settings that say nothing.
pub(super) const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// GET / over http, from the static table.
const GET: &[u8] = &[0x82, 0x84, 0x86];

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
/// Flags of `HEADERS`; the first of `DATA`, too.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
/// The reason a client is told that floods.
const ENHANCE_YOUR_CALM: u32 = 11;

/// An HTTP/2 frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Kind and payload of each whole frame of an answer.
fn frames(mut answer: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((head, rest)) = answer.split_first_chunk::<9>() {
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let Some((payload, more)) = rest.split_at_checked(length) else {
            break;
        };
        found.push((head[3], payload));
        answer = more;
    }
    found
}

/// Is there a frame of this kind?
pub(super) fn has_frame(answer: &[u8], kind: u8) -> bool {
    frames(answer).iter().any(|(of, _)| *of == kind)
}

/// The last reason of a `GOAWAY` in an answer; none when the socket broke before it was read.
fn reason(answer: &[u8]) -> Option<u32> {
    let farewell = frames(answer).into_iter().rfind(|(kind, _)| *kind == GOAWAY)?.1;
    Some(u32::from_be_bytes(farewell.get(4..8)?.try_into().unwrap()))
}

/// Sends `frames` and waits for the server to end the connection because of them; others are served on.
async fn is_cut_off(world: &World, frames: &[u8]) {
    let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let mut answer = Vec::new();
    let flood = [HELLO, frames].concat();
    let both = async {
        // The server may close before it has read everything.
        tokio::join!(writing.write_all(&flood), reading.read_to_end(&mut answer))
    };
    let (_, ended) = timeout(PATIENCE, both).await.expect("the connection goes on");
    let reason = reason(&answer);
    assert!(
        reason == Some(ENHANCE_YOUR_CALM) || reason.is_none() && ended.is_err(),
        "{reason:?} {ended:?}"
    );
    eventually(|| world.server.open_connections() == 0, "its place comes back").await;
    assert_eq!(world.app.inner.admission.in_flight(), 0);
    assert_eq!(world.connect().await.get("/livez").await.status, 200);
}

/// Odd numbers, which streams of clients have.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

#[tokio::test]
async fn streams_that_are_opened_and_reset_in_a_hurry_end_the_connection() {
    let world = World::start(Limits::default(), |_| {});
    let mut flood = Vec::new();
    for stream in streams(1_000) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    is_cut_off(&world, &flood).await;
}

#[tokio::test]
async fn streams_that_the_server_is_made_to_reset_end_the_connection() {
    let world = World::start(Limits::default(), |_| {});
    let mut flood = Vec::new();
    for stream in streams(2_000) {
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET));
        // A window beyond what there can be is the stream's error, which the server must answer with a reset.
        flood.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes()));
    }
    is_cut_off(&world, &flood).await;
}

#[tokio::test]
async fn a_head_continued_without_an_end_ends_the_connection() {
    let world = World::start(Limits::default(), |_| {});
    // `x: y` over and over, not to be remembered; and continuations that hold nothing at all.
    let fields = [0x00, 1, b'x', 1, b'y'].repeat(1_000);
    for (payload, count) in [(fields.as_slice(), 1_000), (&[], 50_000)] {
        let mut flood = frame(HEADERS, END_STREAM, 1, GET);
        let more = frame(CONTINUATION, 0, 1, payload);
        flood.extend(more.repeat(count));
        is_cut_off(&world, &flood).await;
    }
}

/// Sends a byte of `bytes` every few milliseconds, until the other side says or ends something.
async fn trickle(client: &mut Client<TcpStream>, bytes: impl Iterator<Item = u8>) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for byte in bytes {
        tick.tick().await;
        let is_answered = client.stream.peek(&mut [0]).now_or_never().is_some();
        if is_answered || client.stream.write_all(&[byte]).await.is_err() {
            return;
        }
    }
    panic!("the other side has patience");
}

/// How often connections were cut for a reason.
fn cut(world: &World, reason: &str) -> f64 {
    world.metric(&format!(
        "seawall_connections_refused_total{{listener=\"test\",reason=\"{reason}\"}}"
    ))
}

#[tokio::test]
async fn an_http2_preface_that_trickles_is_cut_at_the_first_byte_deadline() {
    let limits = Limits {
        first_byte_ms: 60,
        ..Limits::default()
    };
    let world = World::start(limits, |_| {});
    let mut client = world.connect().await;
    trickle(&mut client, HELLO[..20].iter().copied()).await;
    world.cut_for("first_byte_timeout").await;
}

#[tokio::test]
async fn an_http2_head_that_trickles_is_cut_when_the_connection_was_idle_for_too_long() {
    let limits = Limits {
        idle_ms: 100,
        ..Limits::default()
    };
    let world = World::start(limits, |_| {});
    let mut client = world.connect().await;
    client.send([HELLO, &frame(HEADERS, END_STREAM, 1, GET)].concat()).await;
    let head = frame(CONTINUATION, END_HEADERS, 1, &[0x00, 1, b'x', 1, b'y'].repeat(1_000));
    let (mut reading, mut writing) = client.stream.into_split();
    let trickling = tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for byte in head {
            tick.tick().await;
            if writing.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let mut said = Vec::new();
    let ended = timeout(PATIENCE, reading.read_to_end(&mut said)).await;
    assert!(ended.is_ok(), "the connection goes on");
    trickling.abort();
    world.cut_for("idle_timeout").await;
}

#[tokio::test]
async fn a_body_that_trickles_has_one_deadline_whether_the_call_is_let_in_or_not() {
    for (in_flight_max, status, code) in [(100, 408, "request.timeout"), (0, 503, "overload.busy")] {
        let limits = Limits {
            body_ms: 80,
            in_flight_max,
            ..Limits::default()
        };
        let world = World::start(limits, |_| {});
        let mut client = world.connect().await;
        let head = "POST /sdk/v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n";
        client.send(head).await;
        trickle(&mut client, std::iter::repeat_n(b' ', 2_000)).await;
        let seen = client.receive().await;
        assert_eq!((seen.status, seen.code().as_str(), seen.closes()), (status, code, true));
        client.closed().await;
    }
}

/// A body of no bytes, which ends at once or never.
fn nothing(ends: bool) -> impl http_body::Body<Data = Bytes, Error = std::io::Error> + Send + Unpin {
    StreamBody::new(stream::poll_fn(move |_| {
        if ends {
            Poll::Ready(None::<Result<Frame<Bytes>, std::io::Error>>)
        } else {
            Poll::Pending
        }
    }))
}

#[tokio::test]
async fn a_body_that_does_not_come_over_http2_takes_its_stream_alone() {
    for (in_flight_max, status) in [(100, 408), (0, 503)] {
        let limits = Limits {
            body_ms: 60,
            in_flight_max,
            ..Limits::default()
        };
        let world = World::start(limits, |_| {});
        let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
        let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let post = Request::post("http://x/sdk/v1/sessions").header("content-type", "application/json");
        let asked = timeout(PATIENCE, sender.send_request(post.body(nothing(false)).unwrap()));
        assert_eq!(asked.await.unwrap().unwrap().status(), status);
        let get = Request::get("http://x/livez").body(nothing(true)).unwrap();
        let asked = timeout(PATIENCE, sender.send_request(get));
        assert_eq!(asked.await.unwrap().unwrap().status(), 200, "the connection goes on");
        driver.abort();
    }
}

#[tokio::test]
async fn a_client_that_reads_no_answers_is_cut() {
    let limits = Limits {
        total_ms: 50,
        idle_ms: 50,
        ..Limits::default()
    };
    let world = World::start(limits, |_| {});
    let client = world.connect().await;
    let (_unread, mut writing) = client.stream.into_split();
    let asked = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    let writing = tokio::spawn(async move { writing.write_all(asked.as_bytes()).await });
    eventually(
        || cut(&world, "exchange_timeout") + cut(&world, "idle_timeout") > 0.0,
        "it is cut",
    )
    .await;
    eventually(|| world.server.open_connections() == 0, "its place comes back").await;
    writing.abort();
}
