use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const STALL: Duration = Duration::from_millis(400);

/// A server of one thread per connection; answers each `GET` that ends in an empty line by what `answer` says of its number.
fn fake(answer: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, count) = (stream.unwrap(), Arc::clone(&answer), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut request = [0; 512];
                while let Ok(length) = stream.read(&mut request) {
                    if length == 0 {
                        return;
                    }
                    let bytes = answer(count.fetch_add(1, Ordering::SeqCst));
                    if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

struct Get;

impl Callers for Get {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    }
    fn answered(&mut self, _: usize, answer: &Answer<'_>, _: &mut Vec<u8>) -> (Verdict, Next) {
        let verdict = match answer.status {
            200 => Verdict::Ok,
            503 => Verdict::Refused,
            _ => Verdict::Wrong,
        };
        (verdict, Next::Done)
    }
}

/// Stands still once, at the hundredth request, for everybody.
fn stalling() -> SocketAddr {
    let lock = parking(STALL);
    fake(move |number| {
        lock(number == 100);
        ANSWER.to_vec()
    })
}

/// A gate that one call closes for a while and all calls pass.
fn parking(span: Duration) -> impl Fn(bool) + Send + Sync {
    let gate = std::sync::Mutex::new(());
    move |closes| {
        let _inside = gate.lock().unwrap();
        let begun = Instant::now();
        while closes && begun.elapsed() < span {
            std::thread::park_timeout(span);
        }
    }
}

fn plan(address: SocketAddr, arrival: Arrival) -> Plan {
    Plan {
        warm_up: Duration::ZERO,
        ..Plan::open(Target::plain(address), 4, arrival, Duration::from_secs(2))
    }
}

#[test]
fn a_stall_shows_in_the_open_loop_and_hides_in_the_closed_one() {
    let open = run(&plan(stalling(), Arrival::Constant(500.0)), &mut Get, &mut NoMeter).unwrap();
    assert_eq!((open.ok, open.failures()), (1000, 0), "{:?}", open.examples);
    // A fifth of the calls were meant for the time of the stall: they waited for its rest.
    assert!(open.latency_us(0.99) > 300_000.0, "p99 {} us", open.latency_us(0.99));
    assert!(open.latency_us(0.85) > 50_000.0, "p85 {} us", open.latency_us(0.85));
    let closed = run(&plan(stalling(), Arrival::Closed), &mut Get, &mut NoMeter).unwrap();
    assert!(closed.ok > 1000, "{}", closed.ok);
    assert!(
        closed.latency_us(0.99) < 100_000.0,
        "the closed loop asks too seldom to see it: {} us",
        closed.latency_us(0.99)
    );
}

/// Asks like [`Get`], and is busy with something else for a while before its first call.
struct Busy(Option<Duration>);

impl Callers for Busy {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        if let Some(span) = self.0.take() {
            parking(span)(true);
        }
        Get.begin(slot, out);
    }
    fn answered(&mut self, slot: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next) {
        Get.answered(slot, answer, out)
    }
}

#[test]
fn calls_are_given_up_for_a_late_server_and_not_for_a_late_loader() {
    let of = |address, busy| {
        let plan = Plan {
            waits_max: Some(STALL / 8),
            ..plan(address, Arrival::Constant(500.0))
        };
        let outcome = run(&plan, &mut Busy(busy), &mut NoMeter).unwrap();
        assert_eq!(
            (outcome.calls(), outcome.failures()),
            (1000, 0),
            "{:?}",
            outcome.examples
        );
        outcome
    };
    assert!(of(stalling(), None).given_up > 50);
    let late = of(fake(|_| ANSWER.to_vec()), Some(STALL));
    assert_eq!(late.given_up, 0);
    assert!(late.latency_us(0.99) > 300_000.0, "but all its time counts");
}

#[test]
fn every_intended_call_counts_even_when_it_is_never_answered() {
    let silent = fake(|number| {
        if number < 50 {
            ANSWER.to_vec()
        } else {
            std::thread::park_timeout(Duration::from_secs(30));
            Vec::new()
        }
    });
    let plan = Plan {
        span: Duration::from_millis(500),
        patience: Duration::from_millis(200),
        ..plan(silent, Arrival::Constant(1000.0))
    };
    let outcome = run(&plan, &mut Get, &mut NoMeter).unwrap();
    assert_eq!((outcome.ok, outcome.errors), (50, 450), "{:?}", outcome.examples);
}

#[test]
fn answers_are_classified_and_lost_connections_counted() {
    let address = fake(|number| match number % 4 {
        0 => ANSWER.to_vec(),
        1 => b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n".to_vec(),
        2 => b"HTTP/1.1 500 x\r\ncontent-length: 4\r\n\r\noops".to_vec(),
        _ => Vec::new(),
    });
    let outcome = run(&Plan::exactly(Target::plain(address), 1, 40), &mut Get, &mut NoMeter).unwrap();
    let counts = (outcome.ok, outcome.refused, outcome.wrong, outcome.errors);
    assert_eq!(counts, (10, 10, 10, 10), "{:?}", outcome.examples);
    assert!(outcome.examples.iter().any(|text| text.contains("500 oops")));
    assert_eq!(outcome.opened, 10, "one for every connection the server closed");
}

#[test]
fn connections_that_serve_one_call_are_opened_for_each() {
    let address = fake(|_| ANSWER.to_vec());
    let plan = Plan::exactly(Target::plain(address).with_sources(3), 8, 100).with_life(Life::PerCall);
    let outcome = run(&plan, &mut Get, &mut NoMeter).unwrap();
    assert_eq!((outcome.ok, outcome.opened, outcome.failures()), (100, 100, 0));
}

#[test]
fn nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plan = Plan::exactly(Target::plain(address), 2, 20).with_life(Life::PerCall);
    let outcome = run(&plan, &mut Get, &mut NoMeter).unwrap();
    assert_eq!((outcome.ok, outcome.errors), (0, 20));
}

/// Logs in, waits, verifies twice, and tries again when told to.
#[derive(Default)]
struct Client {
    steps: Vec<&'static str>,
}

impl Callers for Client {
    fn begin(&mut self, _: usize, out: &mut Vec<u8>) {
        self.steps.push("begin");
        out.extend_from_slice(b"GET /login HTTP/1.1\r\n\r\n");
    }
    fn answered(&mut self, _: usize, answer: &Answer<'_>, out: &mut Vec<u8>) -> (Verdict, Next) {
        match (answer.status, self.steps.len()) {
            (503, _) => {
                self.steps.push("refused");
                (Verdict::Refused, Next::Wait(Duration::from_millis(20)))
            }
            (_, 3) => {
                self.steps.push("next");
                out.extend_from_slice(b"GET /verify HTTP/1.1\r\n\r\n");
                (Verdict::Ok, Next::Send)
            }
            _ => (Verdict::Ok, Next::Done),
        }
    }
    fn resume(&mut self, _: usize, out: &mut Vec<u8>) {
        self.steps.push("resume");
        out.extend_from_slice(b"GET /login HTTP/1.1\r\n\r\n");
    }
}

#[test]
fn a_client_may_wait_try_again_and_go_on() {
    let address = fake(|number| match number {
        0 => b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => ANSWER.to_vec(),
    });
    let mut client = Client::default();
    let begun = Instant::now();
    let outcome = run(&Plan::exactly(Target::plain(address), 1, 1), &mut client, &mut NoMeter).unwrap();
    assert_eq!(client.steps, ["begin", "refused", "resume", "next"]);
    assert_eq!((outcome.ok, outcome.refused, outcome.opened), (2, 1, 1));
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_connection_that_ends_with_its_answer_does_not_end_the_next_one() {
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 512]);
            // Answer and end arrive together.
            let _ = stream.read(&mut request).and_then(|_| stream.write_all(LAST));
        }
    });
    let plan = Plan {
        span: Duration::from_millis(200),
        ..plan(address, Arrival::Closed)
    };
    let outcome = run(&plan, &mut Get, &mut NoMeter).unwrap();
    assert!(outcome.ok > 20, "{}", outcome.ok);
    assert_eq!(outcome.failures(), 0, "{:?}", outcome.examples);
}

/// Waits a short time for an answer, and asks once more when there is none.
#[derive(Default)]
struct Impatient {
    lost: usize,
    answered: usize,
}

impl Callers for Impatient {
    fn begin(&mut self, slot: usize, out: &mut Vec<u8>) {
        self.resume(slot, out);
    }
    fn answered(&mut self, _: usize, _: &Answer<'_>, _: &mut Vec<u8>) -> (Verdict, Next) {
        self.answered += 1;
        // Longer than the run: only `is_over` ends it in time.
        (Verdict::Ok, Next::Wait(Duration::from_secs(60)))
    }
    fn resume(&mut self, _: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    }
    fn lost(&mut self, _: usize) -> Next {
        self.lost += 1;
        Next::Wait(Duration::from_millis(1))
    }
    fn waits_for(&self, _: usize) -> Option<Duration> {
        Some(Duration::from_millis(100))
    }
    fn is_over(&self) -> bool {
        self.answered == 3
    }
}

#[test]
fn a_client_gives_up_waiting_and_the_run_ends_with_the_last_client() {
    let address = fake(|number| {
        if number > 0 {
            return ANSWER.to_vec();
        }
        std::thread::park_timeout(Duration::from_secs(30));
        Vec::new()
    });
    let mut clients = Impatient::default();
    let begun = Instant::now();
    let plan = Plan {
        warm_up: Duration::ZERO,
        ..Plan::closed(Target::plain(address), 3, Duration::from_secs(30))
    };
    let outcome = run(&plan, &mut clients, &mut NoMeter).unwrap();
    assert_eq!((clients.lost, clients.answered), (1, 3));
    assert_eq!((outcome.ok, outcome.errors, outcome.opened), (3, 1, 4));
    assert!(begun.elapsed() < Duration::from_secs(20), "it did not wait for its end");
}

#[test]
fn loads_run_side_by_side_with_figures_of_their_own() {
    let address = fake(|_| ANSWER.to_vec());
    let (mut open, mut closed) = (Get, Get);
    let mut parts = [
        Part {
            plan: plan(address, Arrival::Constant(200.0)),
            callers: &mut open,
        },
        Part {
            plan: plan(address, Arrival::Closed),
            callers: &mut closed,
        },
    ];
    let outcomes = run_together(&mut parts, &mut NoMeter).unwrap();
    assert_eq!(outcomes[0].ok, 400, "{:?}", outcomes[0].examples);
    assert_eq!(outcomes[0].in_time(Duration::from_secs(60)), 400);
    assert_eq!(outcomes[0].in_time(Duration::ZERO), 0);
    assert!(outcomes[1].ok > 400, "{}", outcomes[1].ok);
}

#[test]
fn what_is_answered_after_the_span_is_not_done_in_it() {
    // 50 ms an answer over one connection, offered twice as many: the calls that wait at the end are answered after it.
    let lock = parking(Duration::from_millis(50));
    let address = fake(move |_| {
        lock(true);
        ANSWER.to_vec()
    });
    let plan = Plan {
        connections: 1,
        patience: Duration::from_secs(20),
        ..plan(address, Arrival::Constant(40.0))
    };
    let outcome = run(&plan, &mut Get, &mut NoMeter).unwrap();
    let (all, in_span) = (outcome.in_time(Duration::MAX), outcome.in_time_in_span(Duration::MAX));
    assert_eq!(all, 80, "{:?}", outcome.examples);
    assert!((20..=41).contains(&in_span), "{in_span} of {all}");
}

#[test]
fn a_late_loader_voids_its_run() {
    let mut outcome = Outcome::new();
    outcome.latency.record_n(1_000_000, 1000).unwrap();
    outcome.late.record_n(49_000, 1000).unwrap();
    assert!(!outcome.is_void(), "49 us is below what counts");
    outcome.late.reset();
    outcome.late.record_n(60_000, 1000).unwrap();
    assert!(outcome.is_void(), "60 us of a p99 of 1 ms is more than 5 %");
    outcome.latency.reset();
    outcome.latency.record_n(2_000_000, 1000).unwrap();
    assert!(!outcome.is_void(), "60 us of 2 ms is not");
}
