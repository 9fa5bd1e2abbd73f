//! Clients at a service that asks for proofs of work.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::client::{Client, Conduct};
use super::counts::{Counts, Proofs};
use super::crowd::{Crowd, Habits};
use super::members::with_passwords;
use super::*;
use crate::calls::fresh_guests;
use crate::proof::tests::{FRESH_S, STALE_S, challenge_body, number_of};
use crate::service::{ACCOUNTS, REFRESH, Service, VERIFY};
use crate::{NoMeter, Plan, Target, run};

/// A call as the service sees it.
#[derive(Clone)]
struct Asked {
    path: String,
    attempt: Option<String>,
    key: Option<String>,
    body: Value,
}

impl Asked {
    fn has_proof(&self) -> bool {
        self.body.get("challenge_response").is_some()
    }
}

/// What the service does about a registration, by how many came before it.
enum Reaction {
    LetIn,
    /// Asks for this number, until this second.
    Challenge(u64, u64),
    /// Says that it is too busy for so many seconds.
    Busy(u64),
    /// Closes the connection.
    Leave,
}

/// A service on a port of its own, of one thread for each connection, that remembers who asked for what.
struct Doors {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    devices: AtomicU64,
}

impl Doors {
    fn open(react: impl Fn(u64, &Asked) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, react, count) = (Arc::default(), Arc::new(react), Arc::new(AtomicU64::new(0)));
        let log: Arc<Mutex<Vec<Asked>>> = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, log) = (stream.unwrap(), Arc::clone(&log));
                let (react, count) = (Arc::clone(&react), Arc::clone(&count));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    while let Some(call) = read(&mut lines) {
                        log.lock().unwrap().push(call.clone());
                        if call.path == VERIFY {
                            answer(&mut stream, 200, "{\"status\":\"valid\"}");
                            continue;
                        }
                        let number = count.fetch_add(1, Ordering::SeqCst);
                        match react(number, &call) {
                            Reaction::LetIn => {
                                let tokens = format!(
                                    "{{\"outcome\":\"session\",\"session\":{{\"access_token\":\"a{number}\",\"refresh_token\":\"r\"}}}}"
                                );
                                answer(&mut stream, 201, &tokens);
                            }
                            Reaction::Challenge(solved_by, expires_s) => {
                                answer(
                                    &mut stream,
                                    201,
                                    &challenge_body(&number.to_string(), solved_by, expires_s),
                                );
                            }
                            Reaction::Busy(seconds) => {
                                let body = "{\"code\":\"platform.overloaded\"}";
                                answer_with(&mut stream, 503, &format!("retry-after: {seconds}\r\n"), body);
                            }
                            Reaction::Leave => return,
                        }
                    }
                });
            }
        });
        Self {
            address,
            asked,
            devices: AtomicU64::new(0),
        }
    }

    fn registrations(&self) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|call| call.path == ACCOUNTS).cloned().collect()
    }
}

fn read(lines: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        head.push(line);
    }
    let header = |name: &str| {
        head.iter()
            .find_map(|line| line.split_once(": ").filter(|(own, _)| own.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length")?.parse().ok()?];
    lines.read_exact(&mut body).ok()?;
    Some(Asked {
        path: head.first()?.split(' ').nth(1)?.to_owned(),
        attempt: header("x-attempt"),
        key: header("idempotency-key"),
        body: serde_json::from_slice(&body).ok()?,
    })
}

fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    answer_with(stream, status, "", body);
}

fn answer_with(stream: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let length = body.len();
    let text = format!("HTTP/1.1 {status} x\r\nx-request-id: 1\r\n{headers}content-length: {length}\r\n\r\n{body}");
    let _ = stream.write_all(text.as_bytes());
}

impl Service for Doors {
    fn target(&self) -> Target {
        Target::plain(self.address)
    }
    fn game_id(&self) -> String {
        "1".into()
    }
    fn package_id(&self) -> String {
        "1".into()
    }
    fn signature(&self, _: &str, _: &str) -> io::Result<[(&'static str, String); 4]> {
        Ok(["a", "b", "c", "d"].map(|name| (name, String::new())))
    }
    fn take_devices(&self, count: u64) -> u64 {
        self.devices.fetch_add(count, Ordering::SeqCst)
    }
}

/// So many newcomers, until all are in, or for `span`.
fn come(doors: &Doors, count: usize, conduct: Conduct, span: Duration) -> Counts {
    let newcomer = |number| Client::newcomer(&format!("n{number}"), conduct);
    let habits = Habits {
        checks: 1,
        reconnects: false,
        beat: Duration::from_secs(60),
        refresh_every: 0,
        ends_when_in: true,
        seed: 1,
    };
    let mut crowd = Crowd::new(doors, (0..count).map(newcomer).collect(), habits);
    let plan = Plan {
        warm_up: Duration::ZERO,
        ..Plan::closed(doors.target(), count, span)
    };
    run(&plan, &mut crowd, &mut NoMeter).unwrap();
    crowd.counts
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_player_whose_refresh_is_refused_plays_on_and_refreshes_later() {
    // A registration, then refreshes: the first is refused for two seconds, the next ones work.
    let doors = Doors::open(|number, _| {
        if number == 1 {
            Reaction::Busy(2)
        } else {
            Reaction::LetIn
        }
    });
    let habits = Habits {
        checks: 1,
        reconnects: false,
        beat: Duration::from_millis(20),
        refresh_every: 1,
        ends_when_in: false,
        seed: 1,
    };
    let mut crowd = Crowd::new(&doors, vec![Client::newcomer("n0", Conduct::good())], habits);
    let plan = Plan {
        warm_up: Duration::ZERO,
        ..Plan::closed(doors.target(), 1, Duration::from_secs(4))
    };
    run(&plan, &mut crowd, &mut NoMeter).unwrap();
    let asked = doors.asked.lock().unwrap();
    let paths: Vec<&str> = asked.iter().map(|call| call.path.as_str()).collect();
    let refreshes: Vec<usize> = (0..paths.len()).filter(|at| paths[*at] == REFRESH).collect();
    let [refused, next, ..] = refreshes[..] else {
        panic!("{paths:?}");
    };
    assert!(next - refused > 5, "token checks come in between: {paths:?}");
    assert!(paths[refused + 1..next].iter().all(|path| *path == VERIFY));
}

/// Asks everybody without a proof.
fn strict() -> Doors {
    Doors::open(|number, call| {
        if call.has_proof() {
            Reaction::LetIn
        } else {
            Reaction::Challenge(number * 100 % 5_000, FRESH_S)
        }
    })
}

#[test]
fn a_good_client_gets_in_through_a_challenge() {
    let doors = strict();
    let counts = come(&doors, 5, Conduct::good(), LONG);
    assert_eq!(counts.in_at_ms.len(), 5);
    let expected = Proofs {
        asked: 5,
        solved: 5,
        ..Proofs::default()
    };
    assert_eq!((counts.proofs, counts.lost), (expected, 0));
    assert_eq!(
        counts.amplification(Duration::ZERO, LONG),
        1.0,
        "no failure led to a call"
    );
    let calls = doors.registrations();
    assert_eq!(calls.len(), 10);
    for first in calls.iter().filter(|call| !call.has_proof()) {
        let second = calls
            .iter()
            .find(|call| call.has_proof() && call.key == first.key)
            .unwrap();
        assert_eq!(
            (first.attempt.as_deref(), second.attempt.as_deref()),
            (Some("1"), Some("1"))
        );
        assert_eq!(number_of(&second.body) % 100, 0);
        let mut without = second.body.clone();
        without.as_object_mut().unwrap().remove("challenge_response");
        assert_eq!(without, first.body, "the same call");
    }
}

#[test]
fn a_naive_client_counts_a_challenge_as_an_error() {
    let doors = strict();
    // Three retries at once; the next would come a second later.
    let counts = come(&doors, 1, Conduct::naive(), Duration::from_millis(500));
    let expected = Proofs {
        asked: 4,
        ..Proofs::default()
    };
    assert_eq!((counts.in_at_ms.len(), counts.proofs), (0, expected));
    assert_eq!(
        counts.amplification(Duration::ZERO, LONG),
        4.0,
        "three of four are retries"
    );
    assert!(doors.registrations().iter().all(|call| !call.has_proof()));
}

#[test]
fn an_expired_challenge_is_asked_for_again() {
    let doors = Doors::open(|number, call| match number {
        0 => Reaction::Challenge(4_000, STALE_S),
        _ if call.has_proof() => Reaction::LetIn,
        _ => Reaction::Challenge(4_000, FRESH_S),
    });
    let counts = come(&doors, 1, Conduct::good(), LONG);
    let expected = Proofs {
        asked: 2,
        solved: 1,
        expired: 1,
        ..Proofs::default()
    };
    assert_eq!((counts.in_at_ms.len(), counts.proofs), (1, expected));
    let proofs: Vec<bool> = doors.registrations().iter().map(Asked::has_proof).collect();
    assert_eq!(proofs, [false, false, true]);
}

#[test]
fn a_proof_that_does_not_count_is_followed_by_the_next() {
    let doors = Doors::open(|number, _| match number {
        0..3 => Reaction::Challenge(number, FRESH_S),
        _ => Reaction::LetIn,
    });
    let counts = come(&doors, 1, Conduct::good(), LONG);
    let expected = Proofs {
        asked: 3,
        again: 2,
        solved: 3,
        ..Proofs::default()
    };
    assert_eq!((counts.in_at_ms.len(), counts.proofs), (1, expected));
    let numbers: Vec<u64> = doors.registrations()[1..]
        .iter()
        .map(|call| number_of(&call.body))
        .collect();
    assert_eq!(numbers, [0, 1, 2], "each call has the newest proof");
}

#[test]
fn a_proven_call_that_is_lost_is_repeated_as_it_was() {
    let doors = Doors::open(|number, _| match number {
        0 => Reaction::Challenge(9, FRESH_S),
        1 => Reaction::Leave,
        _ => Reaction::LetIn,
    });
    let counts = come(&doors, 1, Conduct::good(), LONG);
    assert_eq!((counts.in_at_ms.len(), counts.lost, counts.proofs.asked), (1, 1, 1));
    let calls = doors.registrations();
    assert_eq!((&calls[1].body, &calls[1].key), (&calls[2].body, &calls[2].key));
    assert_eq!(calls[2].attempt.as_deref(), Some("2"));
}

#[test]
fn a_challenge_nobody_can_solve_is_a_failed_attempt() {
    let doors = Doors::open(|_, _| Reaction::Challenge(5_001, FRESH_S));
    let counts = come(&doors, 1, Conduct::good(), Duration::from_millis(500));
    let calls = doors.registrations();
    assert_eq!(counts.in_at_ms.len(), 0);
    assert!(calls.len() >= 4 && calls.len() < 100, "{}", calls.len());
    assert!(
        counts.proofs.expired >= 3 && counts.proofs.solved == 0,
        "{}",
        counts.proofs
    );
}

#[test]
fn players_are_made_through_challenges() {
    let doors = strict();
    assert_eq!(fresh_guests(&doors, 40).unwrap().len(), 40);
    let named = with_passwords(&doors, 9).unwrap();
    assert_eq!(named.len(), 9);
    let proven = doors.registrations().into_iter().filter(Asked::has_proof);
    let passwords = proven.filter(|call| call.body["credential"]["kind"] == json!("username"));
    assert_eq!(passwords.count(), 9);
}
