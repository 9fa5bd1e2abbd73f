//! Clients that close their connection before they are answered.

use std::future::Future;
use std::net::Shutdown;

use seawall_domain::Platform;
use seawall_domain::auth_log::AuthFilter;
use seawall_domain::testing::{World as DomainWorld, operator};
use seawall_domain::verify::Verified;
use serde_json::json;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::floods::{DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, frame, has_frame};
use crate::Limits;
use crate::testing::{Client, PATIENCE, World, eventually};

/// A login of alice as it is on the wire.
fn login(domain: &DomainWorld) -> String {
    login_with(domain, "")
}

fn login_with(domain: &DomainWorld, headers: &str) -> String {
    let body = json!({
        "game_id": domain.game_id.to_string(),
        "credential": { "kind": "username", "username": "alice", "password": "secret-alice" },
        "client": {
            "package_id": domain.package_id.to_string(),
            "os": "android",
            "device": { "install_id": "device-alice" },
        },
    });
    post("/sdk/v1/sessions", headers, &body.to_string())
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

async fn none_in_flight(world: &World) {
    eventually(|| world.app.inner.admission.in_flight() == 0, "the handler ends").await;
}

#[tokio::test]
async fn a_login_whose_client_closed_the_connection_is_not_begun() {
    let domain = DomainWorld::new().unwrap();
    let first = domain.register("alice").unwrap().session.session_id;
    let world = World::over(&domain, Limits::default());
    let held = domain.hold_store();
    let mut client = world.connect().await;
    client.send(login(&domain)).await;
    eventually(|| domain.store.stats().queue_length == 1, "the login is queued").await;
    drop(client);
    none_in_flight(&world).await;
    drop(held);
    let next = domain.log_in("alice").unwrap().session.session_id;
    assert_eq!(next.0, first.0 + 1, "no session was opened for who left");
    assert_eq!(domain.store.stats().abandoned, 1);
}

/// Sends `request` and the end of the client's half in one segment, and waits for the other side's end.
async fn sent_with_its_end(stream: TcpStream, request: &[u8]) -> Vec<u8> {
    hold_back(&stream);
    let mut client = Client::new(stream);
    client.send(request).await;
    ended(&client.stream);
    rest(&mut client.stream).await
}

/// From now on what is sent leaves with the end at the latest.
fn hold_back(stream: &TcpStream) {
    SockRef::from(stream).set_tcp_cork(true).unwrap();
}

fn ended(stream: &TcpStream) {
    SockRef::from(stream).shutdown(Shutdown::Write).unwrap();
}

/// What still comes until the other side ends or breaks the connection.
async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> Vec<u8> {
    let mut bytes = Vec::new();
    let reading = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes));
    let _ = reading.await.expect("the other side goes on");
    bytes
}

/// Twenty logins of alice that nobody waits for, at once, then one that somebody does; whether only that one was done.
async fn are_not_begun<F>(domain: &DomainWorld, world: &World, leave: impl Fn(TcpStream, Vec<u8>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let first = domain.register("alice").unwrap().session.session_id;
    let mut leaving = Vec::new();
    for _ in 0..20 {
        let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
        leaving.push(tokio::spawn(leave(stream, login(domain).into_bytes())));
    }
    for left in leaving {
        left.await.unwrap();
    }
    none_in_flight(world).await;
    let next = domain.log_in("alice").unwrap().session.session_id;
    assert_eq!(next.0, first.0 + 1, "a session was opened for who left");
    assert_eq!(domain.store.stats().abandoned, 0, "one was begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_arrive_together_with_their_end_are_not_begun() {
    let domain = DomainWorld::new().unwrap();
    let world = World::over(&domain, Limits::default());
    let leave = |stream, request: Vec<u8>| async move {
        assert_eq!(sent_with_its_end(stream, &request).await, b"");
    };
    are_not_begun(&domain, &world, leave).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_arrive_together_with_their_end_are_not_begun_on_a_connection_in_use() {
    let domain = DomainWorld::new().unwrap();
    let world = World::over(&domain, Limits::default());
    let leave = |stream, request: Vec<u8>| async move {
        let mut client = Client::new(stream);
        assert_eq!(client.get("/livez").await.status, 200);
        assert_eq!(sent_with_its_end(client.stream, &request).await, b"");
    };
    are_not_begun(&domain, &world, leave).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_arrive_together_with_their_end_are_not_begun_over_tls() {
    let domain = DomainWorld::new().unwrap();
    let tls = super::tls::tls(1);
    let world = World::over_with(&domain, Limits::default(), |config| config.tls = Some(tls));
    let leave = |stream, request: Vec<u8>| async move {
        let mut stream = super::tls::shake_hands(stream).await;
        hold_back(stream.get_ref().0);
        stream.write_all(&request).await.unwrap();
        stream.flush().await.unwrap();
        ended(stream.get_ref().0);
        assert_eq!(rest(&mut stream).await, b"");
    };
    are_not_begun(&domain, &world, leave).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_arrive_together_with_their_end_are_not_begun_over_http2() {
    let domain = DomainWorld::new().unwrap();
    let world = World::over(&domain, Limits::default());
    let leave = |stream, request: Vec<u8>| async move {
        let at = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let text = |index: &[u8], value: &[u8]| [index, &[u8::try_from(value.len()).unwrap()], value].concat();
        // :method POST, :scheme http, :path, :authority, content-type.
        let fields = [
            vec![0x83, 0x86],
            text(&[0x04], b"/sdk/v1/sessions"),
            text(&[0x01], b"x"),
            text(&[0x0f, 0x10], b"application/json"),
        ];
        let frames = [
            HELLO.to_vec(),
            frame(HEADERS, END_HEADERS, 1, &fields.concat()),
            frame(DATA, END_STREAM, 1, &request[at + 4..]),
        ];
        let said = sent_with_its_end(stream, &frames.concat()).await;
        assert!(!has_frame(&said, HEADERS), "{said:?}");
    };
    are_not_begun(&domain, &world, leave).await;
}

#[tokio::test]
async fn who_closes_only_its_own_half_is_taken_to_have_left() {
    let domain = DomainWorld::new().unwrap();
    let first = domain.register("alice").unwrap().session.session_id;
    let world = World::over(&domain, Limits::default());
    let close = "connection: close\r\n";
    let password_is_asked_for = login_with(&domain, close).into_bytes();
    let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
    assert_eq!(
        sent_with_its_end(stream, &password_is_asked_for).await,
        b"",
        "a login is dropped"
    );
    none_in_flight(&world).await;
    let next = domain.log_in("alice").unwrap().session.session_id;
    assert_eq!(next.0, first.0 + 1, "and not done");
    // What is answered without waiting may be on its way before the end is seen, or not.
    for _ in 0..20 {
        let asked = format!("GET /livez HTTP/1.1\r\nhost: x\r\n{close}\r\n");
        let stream = TcpStream::connect(("127.0.0.1", world.port())).await.unwrap();
        let answer = sent_with_its_end(stream, asked.as_bytes()).await;
        let is_whole = answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}");
        assert!(answer.is_empty() || is_whole, "{answer:?}");
    }
    // The same login by who keeps its half open until it is answered.
    let mut client = world.connect().await;
    client.send(&password_is_asked_for).await;
    let seen = client.receive().await;
    assert_eq!((seen.status, seen.closes()), (200, true), "{seen:?}");
    client.closed().await;
}

#[tokio::test]
async fn a_logout_is_finished_and_noted_although_its_client_left() {
    let domain = DomainWorld::new().unwrap();
    let alice = domain.register("alice").unwrap();
    let world = World::over(&domain, Limits::default());
    let held = domain.hold_store();
    let mut client = world.connect().await;
    let bearer = format!("authorization: Bearer {}\r\n", alice.session.access_token);
    client.send(post("/sdk/v1/sessions/logout", &bearer, "{}")).await;
    eventually(|| domain.store.stats().queue_length == 1, "the logout is queued").await;
    drop(client);
    none_in_flight(&world).await;
    drop(held);
    let verify = || {
        domain
            .platform
            .session_verify(&domain.server(), &alice.session.access_token, None)
    };
    eventually(|| matches!(verify(), Verified::Invalid(_)), "the session ends").await;
    eventually(
        || noted(&domain.platform, alice.account_id).contains(&"session.logout".to_owned()),
        "it is noted",
    )
    .await;
}

/// Operations on an account in the auth log.
fn noted(platform: &Platform, account: seawall_domain::AccountId) -> Vec<String> {
    let call = operator();
    let search = platform.auth_log_search(&call, AuthFilter::Account(account), 0, u64::MAX, 10);
    let records = seawall_domain::testing::block_on(search).unwrap();
    records.into_iter().map(|record| record.op).collect()
}
