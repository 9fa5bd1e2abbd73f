use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::super::pulse::Phase;
use super::super::transport::Transport;
use super::super::turnstile::{Line, Rules, Turnstile};
use super::*;
use crate::limits::Limits;

const PATIENCE: Duration = Duration::from_secs(10);

/// A connection whose requests begin at a turnstile that nobody attends, with nothing left of its round.
struct Rig {
    client: TcpStream,
    served: Watched<Transport>,
    turnstile: Arc<Turnstile>,
    pulse: Arc<Pulse>,
}

impl Rig {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let turnstile = Turnstile::new(1, Gauge::default(), Rules::default);
        let pulse = Arc::new(Pulse::new(&Limits::default()));
        let mut last = Entry::new(&turnstile, 1);
        let passed = std::future::poll_fn(|cx| entry_passes(&mut last, cx)).now_or_never();
        assert!(passed.is_some(), "the last of this round");
        let entry = Some(Entry::new(&turnstile, 1));
        let stream = Transport::new(stream, Bytes::new());
        let served = Watched::new(
            stream,
            Bytes::new(),
            Arc::clone(&pulse),
            Box::new(|_| Bytes::new()),
            entry,
        );
        Rig {
            client,
            served,
            turnstile,
            pulse,
        }
    }

    /// Asks, and waits until the request stands in the queue.
    async fn ask(&mut self, request: &[u8]) {
        self.client.write_all(request).await.unwrap();
        let mut none = [0; 64];
        let queued = async {
            while self.pulse.phase() != Phase::Queued {
                assert!(self.served.read(&mut none).now_or_never().is_none(), "it has no turn");
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, queued).await.expect("it is queued");
    }

    async fn read(&mut self, room: usize) -> Vec<u8> {
        let mut buf = vec![0; room];
        let count = timeout(PATIENCE, self.served.read(&mut buf))
            .await
            .expect("something")
            .unwrap();
        buf.truncate(count);
        buf
    }
}

fn entry_passes(entry: &mut Entry, cx: &Context<'_>) -> Poll<()> {
    entry.poll_pass(cx, Line::NEW).map(|_| ())
}

#[tokio::test]
async fn a_request_is_read_when_it_has_its_turn() {
    let mut rig = Rig::new().await;
    rig.ask(b"GET /livez").await;
    rig.client.write_all(b" HTTP/1.1").await.unwrap();
    assert!(
        rig.served.read(&mut [0; 64]).now_or_never().is_none(),
        "more of it is no turn"
    );
    rig.turnstile.begin_round();
    assert_eq!(rig.read(4).await, b"GET ", "no more than there is room for");
    let mut rest = Vec::new();
    while rest.len() < 15 {
        rest.extend(rig.read(64).await);
    }
    assert_eq!(rest, b"/livez HTTP/1.1");
    assert_eq!(rig.pulse.phase(), Phase::Head);
    rig.client.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(rig.read(64).await, b"\r\n\r\n", "the rest of a request needs no turn");
}

#[tokio::test]
async fn who_leaves_while_it_waits_is_let_go() {
    let mut rig = Rig::new().await;
    rig.ask(b"GET /livez HTTP/1.1\r\n\r\n").await;
    drop(rig.client);
    let mut none = [0; 64];
    let count = timeout(PATIENCE, rig.served.read(&mut none))
        .await
        .expect("the end")
        .unwrap();
    assert_eq!(count, 0, "nothing is read for nobody");
}

#[tokio::test]
async fn the_wait_for_a_turn_is_known_once_and_keeps_the_connection_from_resting() {
    let mut rig = Rig::new().await;
    rig.ask(b"GET /livez HTTP/1.1\r\n\r\n").await;
    assert!(!rig.pulse.may_move() && !rig.pulse.may_be_closed());
    assert_eq!(rig.pulse.use_turn(), None);
    rig.turnstile.begin_round();
    assert_eq!(rig.read(64).await.len(), 23);
    assert!(rig.pulse.use_turn().is_some_and(|waited| !waited.is_zero()));
    assert_eq!(
        rig.pulse.use_turn(),
        None,
        "what else has been read is to take a turn of its own"
    );
}
