//! Many streams of one HTTP/2 connection, a closed loop over each. HTTP/2 is a state machine of its own, so this part uses the `h2`
//! crate on a runtime of one thread; it is for processor times and peaks, not for latencies.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use seawall_load::{Answer, Meter, Outcome, Verdict};

/// Window of a stream and, times its streams, of the connection: large enough that only the server's windows count.
const WINDOW_BYTES: u32 = 1 << 20;

/// One run over one connection.
pub struct StreamPlan {
    /// Address, plain with prior knowledge.
    pub address: SocketAddr,
    /// Streams kept busy.
    pub streams: usize,
    /// Not counted at first.
    pub warm_up: Duration,
    /// How long to measure.
    pub span: Duration,
}

struct Run {
    outcome: Outcome,
    from: Instant,
    end: Instant,
}

impl Run {
    fn counts(&self, now: Instant) -> bool {
        now >= self.from && now < self.end
    }
}

/// Runs a plan; `requests` are heads and bodies sent in turn.
///
/// # Errors
/// When the connection cannot be made.
pub fn run_streams(
    plan: &StreamPlan,
    requests: &[(Request<()>, Bytes)],
    judge: fn(&Answer<'_>) -> Verdict,
    meter: &mut dyn Meter,
) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let stream = TcpStream::connect(plan.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES * 64)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        let from = Instant::now() + plan.warm_up;
        let run = Rc::new(RefCell::new(Run {
            outcome: Outcome::new(),
            from,
            end: from + plan.span,
        }));
        let tasks: Vec<_> = (0..plan.streams)
            .map(|stream| {
                let requests: Vec<_> = requests
                    .iter()
                    .skip(stream % requests.len())
                    .step_by(plan.streams)
                    .cloned()
                    .collect();
                tokio::task::spawn_local(stream_loop(sender.clone(), requests, judge, Rc::clone(&run)))
            })
            .collect();
        tokio::time::sleep_until(from.into()).await;
        meter.begin();
        tokio::time::sleep_until((from + plan.span).into()).await;
        meter.end();
        for task in tasks {
            task.abort();
        }
        let mut outcome = std::mem::take(&mut run.borrow_mut().outcome);
        outcome.elapsed = plan.span;
        outcome.opened = 1;
        Ok(outcome)
    })
}

async fn stream_loop(
    sender: SendRequest<Bytes>,
    requests: Vec<(Request<()>, Bytes)>,
    judge: fn(&Answer<'_>) -> Verdict,
    run: Rc<RefCell<Run>>,
) {
    for (head, body) in requests.iter().cycle() {
        let begun = Instant::now();
        let result = ask(sender.clone(), head, body).await;
        let now = Instant::now();
        let mut run = run.borrow_mut();
        if now >= run.end {
            return;
        }
        if !run.counts(now) {
            continue;
        }
        match result {
            Ok((status, body)) => {
                let answer = Answer {
                    status,
                    head: b"",
                    body: &body,
                };
                match judge(&answer) {
                    Verdict::Ok => {
                        run.outcome.ok += 1;
                        let nanos = u64::try_from((now - begun).as_nanos()).unwrap_or(u64::MAX);
                        run.outcome.latency.saturating_record(nanos);
                    }
                    Verdict::Refused => run.outcome.refused += 1,
                    Verdict::Wrong => {
                        run.outcome.wrong += 1;
                        run.outcome.example(|| answer.sample());
                    }
                }
            }
            Err(error) => {
                run.outcome.errors += 1;
                run.outcome.example(|| format!("lost: {error}"));
                return;
            }
        }
    }
}

async fn ask(sender: SendRequest<Bytes>, head: &Request<()>, body: &Bytes) -> Result<(u16, Vec<u8>), h2::Error> {
    let (answer, mut out) = sender.ready().await?.send_request(head.clone(), false)?;
    out.send_data(body.clone(), true)?;
    let answer = answer.await?;
    let status = answer.status().as_u16();
    let (mut stream, mut bytes) = (answer.into_body(), Vec::new());
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok((status, bytes))
}
