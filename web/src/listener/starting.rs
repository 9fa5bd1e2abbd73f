//! The ops listener before there is an application: while the store opens, `/livez` says that the process lives, and
//! `/startupz` and `/readyz` say what it is at and since when. It answers on a duplicate of the bound socket, so that
//! the application takes the socket over without a gap.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use seawall_domain::codes;
use seawall_domain::ports::Clock;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::accept::{Accepted, Source, is_loopback};
use super::address::Listener;
use super::network::Network;
use super::server::{BoundAddress, duplicate};
use crate::host::{Check, Health, Startup};
use crate::limits::{HEADER_MAX_BYTES, URI_MAX_BYTES};
use crate::problem::{self, Challenge};
use crate::trace::{RequestIds, X_REQUEST_ID};

/// Connections answered at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// From the accepted connection to the end of its one answer, in milliseconds.
const EXCHANGE_MS: u64 = 5_000;
/// Wait after a failure to accept, in milliseconds.
const ACCEPT_BACKOFF_MS: u64 = 100;

/// What the answers are made of.
pub struct StartingOptions {
    /// How far the start has come.
    pub startup: Box<dyn Fn() -> Startup + Send + Sync>,
    /// Time, for problems.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable, for request ids.
    pub seed: [u8; 16],
}

/// The ops listener, answering for a process that starts. Ends when dropped; answers under way are finished.
pub struct Starting {
    accepting: JoinHandle<()>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Starting {
    /// Answers on the socket of `listener`, which stays whole. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be duplicated or listened on.
    pub fn serve(listener: &Listener, options: StartingOptions) -> io::Result<Self> {
        let (source, address) = duplicate(listener)?;
        let is_outside = matches!(address, BoundAddress::Tcp(tcp) if !is_loopback(tcp.ip()));
        let desk = Arc::new(Desk {
            ids: RequestIds::new(options.seed),
            options,
            // As for every plain listener: on an address others can reach, trusted peers only.
            only_from: is_outside.then(|| listener.config.trusted_peers.clone()),
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        });
        Ok(Starting {
            accepting: tokio::spawn(accept(desk, source)),
        })
    }
}

struct Desk {
    options: StartingOptions,
    ids: RequestIds,
    only_from: Option<Vec<Network>>,
    room: Arc<Semaphore>,
}

async fn accept(desk: Arc<Desk>, source: Source) {
    loop {
        match source.accept().await {
            Ok(Accepted::Tcp(stream, peer)) => {
                let peer = peer.ip().to_canonical();
                let is_welcome = desk
                    .only_from
                    .as_ref()
                    .is_none_or(|networks| networks.iter().any(|network| network.contains(peer)));
                if is_welcome && let Ok(stream) = TcpStream::from_std(stream) {
                    Arc::clone(&desk).welcome(stream);
                }
            }
            Ok(Accepted::Unix(stream)) => {
                if let Ok(stream) = UnixStream::from_std(stream) {
                    Arc::clone(&desk).welcome(stream);
                }
            }
            Err(_) => sleep(Duration::from_millis(ACCEPT_BACKOFF_MS)).await,
        }
    }
}

impl Desk {
    fn welcome<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self: Arc<Self>, stream: S) {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            return;
        };
        tokio::spawn(async move {
            let _room = room;
            let service = service_fn(|request: Request<hyper::body::Incoming>| {
                let answer = self.answer(request.uri().path()).map(Full::new);
                async { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(false)
                .max_header_size(URI_MAX_BYTES + HEADER_MAX_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away or dawdles is its own affair.
            let _ = timeout(Duration::from_millis(EXCHANGE_MS), connection.map(drop)).await;
        });
    }

    fn answer(&self, path: &str) -> Response<Bytes> {
        let startup = (self.options.startup)();
        let mut answer = match path {
            "/livez" => json(StatusCode::OK, &health("alive", Vec::new())),
            "/startupz" => json(StatusCode::SERVICE_UNAVAILABLE, &startup),
            "/readyz" => json(
                StatusCode::SERVICE_UNAVAILABLE,
                &health("starting", vec![check(&startup)]),
            ),
            _ => {
                let now_at = self.options.clock.now_at();
                let request_id = self.ids.next();
                let mut answer = problem::render(&codes::NOT_READY.error(), request_id, now_at, Challenge::Bearer);
                if let Ok(id) = HeaderValue::from_bytes(request_id.hex().as_bytes()) {
                    answer.headers_mut().insert(X_REQUEST_ID, id);
                }
                answer
            }
        };
        answer
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }
}

fn health(status: &str, checks: Vec<Check>) -> Health {
    Health {
        status: status.into(),
        checks,
    }
}

fn check(startup: &Startup) -> Check {
    Check {
        name: "startup".into(),
        ok: false,
        detail: format!("{} for {} ms", startup.phase, startup.phase_elapsed_ms),
    }
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(serde_json::to_vec(value).unwrap_or_default()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
