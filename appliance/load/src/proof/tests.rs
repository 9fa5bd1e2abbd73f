use std::time::Instant;

use super::*;

/// Longest that a test waits for a thread.
const PATIENCE: Duration = Duration::from_secs(30);
const NOW_MS: u64 = 1_700_000_000_000;

/// The body of a challenge that `number` solves, which ends at `expires_s`.
pub fn challenge_body(chance: &str, number: u64, expires_s: u64) -> String {
    let salt = format!("{chance}?expires={expires_s}&game=1&");
    let hash: String = Sha256::digest(format!("{salt}{number}"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    json!({
        "outcome": "challenge",
        "challenge": {
            "kind": "altcha",
            "challenge_id": hash,
            "data": {"algorithm": "SHA-256", "challenge": hash, "maxnumber": 5_000, "salt": salt, "signature": "s"},
        },
        "server_time_at": NOW_MS,
    })
    .to_string()
}

/// When a challenge ends that is fresh, in Unix seconds.
pub const FRESH_S: u64 = NOW_MS / 1_000 + 300;
/// The same of one that came too late.
pub const STALE_S: u64 = NOW_MS / 1_000 - 1;

/// The number in the proof of a call, whose hash is the challenge it names.
pub fn number_of(body: &Value) -> u64 {
    let response = &body["challenge_response"];
    let payload = STANDARD.decode(response["response"].as_str().unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["challenge"], response["challenge_id"]);
    let hash = Sha256::digest(format!("{}{}", payload["salt"].as_str().unwrap(), payload["number"]));
    assert_eq!(bytes_of(payload["challenge"].as_str().unwrap()).unwrap(), hash.to_vec());
    assert_eq!(
        (&payload["algorithm"], &payload["signature"]),
        (&json!("SHA-256"), &json!("s"))
    );
    payload["number"].as_u64().unwrap()
}

fn challenge(body: &str) -> Option<Challenge> {
    let answer = Answer {
        status: 200,
        head: b"",
        body: body.as_bytes(),
    };
    assert!(asks_for_proof(&answer));
    Challenge::of(&answer)
}

/// One that has no number.
fn endless(lives: Duration) -> Challenge {
    Challenge {
        digest: Vec::new(),
        number_max: u64::MAX,
        lives,
        ..challenge(&challenge_body("a", 1, FRESH_S)).unwrap()
    }
}

fn take(solver: &mut Solver) -> Done {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(done) = solver.take() {
            return done;
        }
        assert!(Instant::now() < end, "no thread came back");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn the_number_is_found_from_the_first_to_the_last() {
    for number in [0, 1, 1_023, 1_024, 5_000] {
        let challenge = challenge(&challenge_body("a", number, FRESH_S)).unwrap();
        assert_eq!(challenge.lives, WORK_MAX, "300 s are more than anybody works");
        let proof = challenge.solve(|| true).unwrap();
        let body: Value = serde_json::from_str(&proof.with_body("{\"game_id\":\"1\"}")).unwrap();
        assert_eq!((body["game_id"].as_str(), number_of(&body)), (Some("1"), number));
        assert!(challenge.solve(|| false).is_none(), "its time is over before it begins");
    }
    let none = challenge(&challenge_body("a", 5_001, FRESH_S)).unwrap();
    assert!(none.solve(|| true).is_none(), "no number up to the last");
}

#[test]
fn a_challenge_ends_when_its_salt_says() {
    let lives = |expires_s| challenge(&challenge_body("a", 1, expires_s)).unwrap().lives;
    assert_eq!(lives(NOW_MS / 1_000 + 20), Duration::from_secs(20));
    assert_eq!(lives(STALE_S), Duration::ZERO);
    let silent = challenge_body("a", 1, FRESH_S).replace("?expires=", "?other=");
    assert_eq!(challenge(&silent).unwrap().lives, WORK_MAX);
}

#[test]
fn what_is_no_challenge_of_ours_is_not_worked_on() {
    let body = challenge_body("a", 1, FRESH_S);
    for (word, other) in [
        ("\"altcha\"", "\"riddle\""),
        ("SHA-256", "SHA-512"),
        ("maxnumber", "least"),
        ("\"salt\"", "\"pepper\""),
    ] {
        assert_eq!(challenge(&body.replace(word, other)), None, "{word}");
    }
}

#[test]
fn a_request_comes_again_with_its_headers() {
    let proof = challenge(&challenge_body("a", 3, FRESH_S))
        .unwrap()
        .solve(|| true)
        .unwrap();
    let request = crate::service::post("/sdk/v1/accounts", &[("Idempotency-Key", "k")], "{\"a\":1}");
    let text = String::from_utf8(proof.with_request(&request).unwrap()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /sdk/v1/accounts HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nIdempotency-Key: k\r\n"), "{head}");
    assert_eq!(head.matches("content-length").count(), 1);
    assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
    assert_eq!(number_of(&serde_json::from_str(body).unwrap()), 3);
    assert_eq!(proof.with_request(b"GET / HTTP/1.1"), None);
}

#[test]
fn a_solver_takes_so_many_and_no_more() {
    let mut solver = Solver::default();
    let now = Instant::now();
    for slot in 0..QUEUE_MAX {
        assert!(solver.submit(slot, endless(PATIENCE), now), "{slot}");
    }
    assert!(!solver.submit(QUEUE_MAX, endless(PATIENCE), now), "there is no room");
    assert_eq!((solver.out(), solver.take()), (QUEUE_MAX, None));
    drop(solver);
    assert!(
        now.elapsed() < PATIENCE,
        "threads end with the solver, not with their work"
    );
}

#[test]
fn what_ends_makes_room() {
    let mut solver = Solver::default();
    let now = Instant::now();
    for slot in 0..QUEUE_MAX {
        assert!(solver.submit(slot, endless(Duration::ZERO), now));
    }
    assert_eq!(take(&mut solver).proof, None, "it had ended when it came");
    let solved = challenge(&challenge_body("a", 4_000, FRESH_S)).unwrap();
    assert!(solver.submit(7_777, solved, now));
    let last = (0..QUEUE_MAX).map(|_| take(&mut solver)).last().unwrap();
    assert_eq!(solver.out(), 0);
    // Two threads may come back in either order.
    let found = last.proof.is_some() && last.slot == 7_777;
    assert!(found || last.proof.is_none(), "{last:?}");
}
