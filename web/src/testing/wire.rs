//! A listener on loopback and a raw HTTP client, for the tests of this crate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use seawall_domain::UnixMs;
use seawall_domain::ports::Clock;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{DomainWorld, TestHost, app_with};
use crate::listener::{Address, BoundAddress, Listener, ListenerConfig, Server};
use crate::origin::Surface;
use crate::{App, Limits};

/// How long a test waits for a state before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that stands.
pub(crate) struct FixedClock(pub(crate) UnixMs);

impl Clock for FixedClock {
    fn now_at(&self) -> UnixMs {
        self.0
    }

    fn boot_ms(&self) -> u64 {
        self.0
    }
}

/// The application over a platform of its own, on the memory engine; its host is troubled.
pub(crate) fn app(limits: Limits) -> App {
    app_over(&DomainWorld::new().unwrap(), limits)
}

/// The application over a world; its host is troubled.
pub(crate) fn app_over(world: &DomainWorld, limits: Limits) -> App {
    let host = TestHost::default();
    host.trouble();
    app_with(world, host, limits)
}

/// One listener on loopback.
pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) server: Arc<Server>,
}

impl World {
    pub(crate) fn start(limits: Limits, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), limits, change)
    }

    pub(crate) fn on(address: Address, limits: Limits, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::of(app(limits), address, change)
    }

    /// One whose platform the test reaches.
    pub(crate) fn over(domain: &DomainWorld, limits: Limits) -> Self {
        Self::over_with(domain, limits, |_| {})
    }

    /// The same, with a listener of the test's making.
    pub(crate) fn over_with(domain: &DomainWorld, limits: Limits, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        Self::of(app_over(domain, limits), "127.0.0.1:0".parse().unwrap(), change)
    }

    fn of(app: App, address: Address, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        let mut config = ListenerConfig::new("test", address, &[Surface::Sdk, Surface::Server, Surface::Ops]);
        change(&mut config);
        let listener = Listener::bind(config).unwrap();
        let server = Arc::new(Server::start(vec![listener], app.clone(), &tokio::runtime::Handle::current()).unwrap());
        World { app, server }
    }

    pub(crate) fn port(&self) -> u16 {
        match &self.server.local_addresses()[0].1 {
            BoundAddress::Tcp(address) => address.port(),
            BoundAddress::Unix(_) => panic!("a unix socket has no port"),
        }
    }

    pub(crate) async fn connect(&self) -> Client<tokio::net::TcpStream> {
        Client::new(
            tokio::net::TcpStream::connect(("127.0.0.1", self.port()))
                .await
                .unwrap(),
        )
    }

    /// The value of a metric line that starts with `start`; 0 when there is none.
    pub(crate) fn metric(&self, start: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.app.inner.registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(start));
        line.and_then(|line| line.rsplit(' ').next())
            .map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until connections were cut for a reason.
    pub(crate) async fn cut_for(&self, reason: &str) {
        let line = format!("seawall_connections_refused_total{{listener=\"test\",reason=\"{reason}\"}}");
        eventually(|| self.metric(&line) >= 1.0, reason).await;
    }
}

/// Waits for a state, with a deadline.
pub(crate) async fn eventually(state: impl Fn() -> bool, what: &str) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        while !state() {
            looks.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The error code, checking that the answer is a problem through and through.
    pub(crate) fn code(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{self:?}");
        let problem: crate::wire::Problem = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem.status, self.status);
        assert!(
            self.head.contains(&format!("x-request-id: {}", problem.request_id)),
            "{self:?}"
        );
        problem.code
    }

    pub(crate) fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }
}

/// A connection of which every byte is ours.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Client {
            stream,
            buffer: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str) -> Seen {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        self.receive().await
    }

    pub(crate) async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Seen {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body].concat()).await;
        self.receive().await
    }

    /// The next answer.
    pub(crate) async fn receive(&mut self) -> Seen {
        self.try_receive()
            .await
            .unwrap_or_else(|| panic!("closed; so far {:?}", String::from_utf8_lossy(&self.buffer)))
    }

    /// The next answer; none when the connection ends first.
    pub(crate) async fn try_receive(&mut self) -> Option<Seen> {
        let head_end = self
            .fill_until(|buffer| buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4))
            .await?;
        let head = String::from_utf8(self.buffer[..head_end].to_vec())
            .unwrap()
            .to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        self.fill_until(|buffer| (buffer.len() >= head_end + length).then_some(0))
            .await?;
        let rest = self.buffer.split_off(head_end + length);
        let body = std::mem::replace(&mut self.buffer, rest).split_off(head_end);
        let status = head[9..12].parse().unwrap();
        Some(Seen { status, head, body })
    }

    async fn fill_until(&mut self, done: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        loop {
            if let Some(at) = done(&self.buffer) {
                return Some(at);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer))
                .await
                .expect("no answer");
            if !matches!(read, Ok(count) if count > 0) {
                return None;
            }
        }
    }

    /// Waits for the other side's end without further bytes.
    pub(crate) async fn closed(&mut self) {
        let seen = self.try_receive().await;
        assert!(seen.is_none() && self.buffer.is_empty(), "not closed: {seen:?}");
    }
}

/// A request for [`App::call`].
pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request<Bytes> {
    let builder = Request::builder().method(method).uri(path);
    let builder = if body.is_empty() {
        builder
    } else {
        builder.header("content-type", "application/json")
    };
    builder.body(Bytes::from_static(body.as_bytes())).unwrap()
}

/// The error code of an answer.
pub(crate) fn code(answer: &Response<Bytes>) -> String {
    let problem: crate::wire::Problem = serde_json::from_slice(answer.body()).unwrap();
    problem.code
}

/// Tokio's clock, which stands until a test moves it: while a blocking task runs it does not move by itself, though sockets
/// are waited for. A test that gets no further lets it go after a while, and its deadlines end the test.
pub(crate) struct StandingClock {
    _end: std::sync::mpsc::Sender<()>,
}

impl StandingClock {
    pub(crate) fn stand() -> Self {
        tokio::time::pause();
        let (end, ended) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv_timeout(PATIENCE));
        StandingClock { _end: end }
    }
}
