//! One HTTP connection, from its first byte to its close: which HTTP it speaks, its requests, and the driver that cuts
//! it when a phase lasts too long or the drain says so. An HTTP/1 connection that idles is taken apart: its stream goes
//! to the parking lot, everything else is given back. See decisions/0701-resting-connections.md.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::drain::{DrainSignal, DrainState};
use super::parking::Begun;
use super::pulse::Pulse;
use super::refusal;
use super::transport::OverSocket;
use super::turnstile::{Entry, Turnstile};
use super::watched::Watched;
use crate::app::{App, Inner};
use crate::exchange::Withheld;
use crate::limits::{
    H2_ERROR_RESETS_MAX, H2_PENDING_RESETS_MAX, H2_SEND_BUFFER_BYTES, H2_STREAMS_MAX, H2_WINDOW_BYTES,
    HEADER_MAX_BYTES, URI_MAX_BYTES,
};
use crate::origin::Origin;

/// What HTTP/2 begins with.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which HTTP, as far as TLS settled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    H1,
    H2,
    /// The first bytes tell.
    Unsettled,
}

/// Why a connection ended, when it was our doing; a metric label.
pub(super) type Cut = Option<&'static str>;

/// What became of a connection.
pub(super) enum Served<S> {
    /// It ended.
    Over(Cut),
    /// It speaks HTTP/1 and nothing of a request or an answer is held: it has been idle, or belongs on other threads.
    Idle(S),
}

/// Serves a connection to its end, or until it idles.
pub(super) async fn serve<S>(
    app: App,
    origin: Arc<Origin>,
    pulse: Arc<Pulse>,
    stream: S,
    Begun { first, is_h2 }: Begun,
    turnstile: &Arc<Turnstile>,
) -> Served<S>
where
    S: AsyncRead + AsyncWrite + OverSocket + Unpin + Send + 'static,
{
    let (clock, ids) = (Arc::clone(&app.inner.clock), Arc::clone(&origin));
    let replace = Box::new(move |code: seawall_domain::Code| {
        refusal::answer(&code.error(), ids.request_ids.next(), clock.now_at())
    });
    let drain = app.inner.drain.clone();
    let takes_turns = !origin.lane.is_for_checks();
    // With HTTP/1 nothing is read of a request that waits; of HTTP/2 many share a connection, and each waits for itself.
    let entry = (takes_turns && !is_h2).then(|| Entry::new(turnstile, 1));
    let io = Watched::new(stream, first, Arc::clone(&pulse), replace, entry);
    let service = RequestService {
        app,
        origin,
        pulse: Arc::clone(&pulse),
        turnstile: takes_turns.then(|| Arc::clone(turnstile)),
    };
    if is_h2 {
        pulse.speak_h2();
        let connection = pin!(h2_builder().serve_connection(TokioIo::new(io), service));
        match drive(connection, &pulse, &drain, |c| c.graceful_shutdown(), Rests::Never).await {
            Let::Go(cut) => Served::Over(cut),
            Let::Rest => Served::Over(None),
        }
    } else {
        serve_h1(io, service, &pulse, &drain).await
    }
}

async fn serve_h1<S>(mut io: Watched<S>, mut service: RequestService, pulse: &Pulse, drain: &DrainSignal) -> Served<S>
where
    S: AsyncRead + AsyncWrite + OverSocket + Unpin + Send + 'static,
{
    loop {
        let rests = Rests::May(Arc::clone(&service.app.inner), Arc::clone(&service.origin));
        let mut connection = h1_builder().serve_connection(TokioIo::new(io), service);
        let let_go = drive(
            Pin::new(&mut connection),
            pulse,
            drain,
            |c| c.graceful_shutdown(),
            rests,
        )
        .await;
        if let Let::Go(cut) = let_go {
            return Served::Over(cut);
        }
        let parts = connection.into_parts();
        (io, service) = (parts.io.into_inner(), parts.service);
        if parts.read_buf.is_empty() {
            return Served::Idle(io.into_stream());
        }
        // The next request has begun to arrive.
        io.give_back(parts.read_buf);
    }
}

/// Waits for the first bytes of a connection, which are kept: whether it speaks HTTP/2, and what they are.
///
/// # Errors
/// Why the connection ends instead.
pub(super) async fn settle<S: AsyncRead + Unpin>(
    stream: &mut S,
    pulse: &Pulse,
    spoken: Spoken,
    first: Bytes,
) -> Result<(bool, Bytes), Cut> {
    if spoken == Spoken::H2 {
        return Ok((true, first));
    }
    match tokio::time::timeout_at(pulse.due(), first_bytes(stream, spoken, first)).await {
        Ok(settled) => settled.map_err(|_| None),
        Err(_) => Err(Some("first_byte_timeout")),
    }
}

/// Tells HTTP/2 with prior knowledge from HTTP/1, unless TLS has settled that.
async fn first_bytes<S: AsyncRead + Unpin>(stream: &mut S, spoken: Spoken, first: Bytes) -> io::Result<(bool, Bytes)> {
    let mut bytes = BytesMut::from(first.as_ref());
    loop {
        let begins_alike = spoken == Spoken::Unsettled && bytes.iter().zip(H2_PREFACE).all(|(a, b)| a == b);
        // Copied, for they may wait, and there may be many that do.
        if !bytes.is_empty() && !begins_alike {
            return Ok((false, Bytes::copy_from_slice(&bytes)));
        }
        if bytes.len() >= H2_PREFACE.len() {
            return Ok((true, Bytes::copy_from_slice(&bytes)));
        }
        bytes.reserve(8 << 10);
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn h1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The head has room for the longest URI beside the longest header. The default of 100 header fields is the limit
    // we want; setting it would move it to the heap. Deadlines are the pulse's, for idle and for arriving heads apart.
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_header_size(URI_MAX_BYTES + HEADER_MAX_BYTES);
    // The end of the client's bytes is the end of its waiting: who has closed the connection and who closed only its own
    // half look alike, and a login must not be done for one who has tried again elsewhere since.
    builder.half_close(false).max_buf_size(128 << 10);
    builder
}

fn h2_builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .initial_stream_window_size(H2_WINDOW_BYTES)
        .initial_connection_window_size(H2_WINDOW_BYTES * 16)
        .max_send_buf_size(H2_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(URI_MAX_BYTES + HEADER_MAX_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(H2_ERROR_RESETS_MAX);
    builder
}

/// Why a connection is polled no more.
enum Let {
    /// It ended.
    Go(Cut),
    /// It holds nothing, and has been idle or belongs on other threads.
    Rest,
}

/// When a connection is taken apart.
enum Rests {
    Never,
    /// After a while without a request, and when it belongs on other threads.
    May(Arc<Inner>, Arc<Origin>),
}

/// Polls a connection to its end, or to its rest where it may have one, with one timer for all its deadlines.
async fn drive<C, E>(
    mut connection: Pin<&mut C>,
    pulse: &Pulse,
    drain: &DrainSignal,
    close: impl Fn(Pin<&mut C>),
    rests: Rests,
) -> Let
where
    C: Future<Output = Result<(), E>>,
{
    let next_look = |due: Instant| match &rests {
        Rests::Never => due,
        Rests::May(..) => due.min(Instant::now() + pulse.rest_look()),
    };
    let mut armed = next_look(pulse.due());
    let mut timer = pin!(sleep_until(armed));
    let (mut was_told, mut is_registered) = (false, false);
    poll_fn(|cx: &mut Context<'_>| {
        // The waker of a task never changes.
        if !is_registered {
            is_registered = true;
            pulse.waker.register(cx.waker());
        }
        if drain.state() == DrainState::Closed {
            return Poll::Ready(Let::Go(Some("drain_limit")));
        }
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Let::Go(None));
        }
        // Polled first, so that a request already here is taken; and a connection that was accepted and has not yet
        // asked anything is let ask once: its answer closes it.
        if !was_told && drain.is_closing() && pulse.may_be_closed() {
            was_told = true;
            close(connection.as_mut());
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Let::Go(None));
            }
        }
        if let Rests::May(_, origin) = &rests
            && !was_told
            && origin.lane.moves()
            && pulse.may_move()
        {
            return Poll::Ready(Let::Rest);
        }
        loop {
            let due = pulse.due();
            if due < armed {
                armed = due;
                timer.as_mut().reset(due);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if due <= armed {
                return Poll::Ready(Let::Go(Some(pulse.phase().timeout_label())));
            }
            if let Rests::May(app, _) = &rests
                && !was_told
                && pulse.may_rest(app.is_crowded())
            {
                return Poll::Ready(Let::Rest);
            }
            armed = next_look(due);
            timer.as_mut().reset(armed);
        }
    })
    .await
}

/// Hands requests to the application and tells the pulse when each begins and ends.
struct RequestService {
    app: App,
    origin: Arc<Origin>,
    pulse: Arc<Pulse>,
    /// Where requests begin that were read without a turn: those of HTTP/2, and of HTTP/1 what came with the one before. None
    /// where nobody waits for that.
    turnstile: Option<Arc<Turnstile>>,
}

impl hyper::service::Service<Request<Incoming>> for RequestService {
    type Response = Response<AnswerBody>;
    type Error = NoAnswer;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoAnswer>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let ending = Ending::of(&self.pulse);
        let (app, origin, pulse) = (self.app.clone(), Arc::clone(&self.origin), Arc::clone(&self.pulse));
        let turn = self.pulse.use_turn();
        let turnstile = self.turnstile.as_ref().filter(|_| turn.is_none());
        let entry = turnstile.map(|turnstile| Entry::new(turnstile, 1));
        Box::pin(async move {
            let waited = match entry {
                Some(mut entry) => poll_fn(|cx| entry.poll_pass(cx, pulse.line())).await,
                None => turn.unwrap_or_default(),
            };
            let answer = app.respond_after(waited, &origin, request).await;
            if answer.extensions().get::<Withheld>().is_some() {
                return Err(NoAnswer);
            }
            Ok(answer.map(|body| AnswerBody {
                body: Full::new(body),
                _ending: ending,
            }))
        })
    }
}

/// An answer is withheld; hyper ends the connection.
#[derive(Debug, thiserror::Error)]
#[error("the answer is withheld")]
struct NoAnswer;

/// Marks the end of an exchange when dropped.
struct Ending {
    pulse: Arc<Pulse>,
}

impl Ending {
    fn of(pulse: &Arc<Pulse>) -> Self {
        pulse.request_began();
        Ending {
            pulse: Arc::clone(pulse),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.pulse.answer_ended();
    }
}

/// An answer's body; hyper drops it when its last byte is taken.
struct AnswerBody {
    body: Full<Bytes>,
    _ending: Ending,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
