//! Proofs of work: what is redeemed once, and what is not redeemed at all.

use super::*;
use seawall_storage::KeyRing;
use serde_json::{Value, json};

const NOW_AT: UnixMs = 1_700_000_000_000;
const GAME: GameId = GameId(7);

fn challenges() -> Challenges {
    with(ChallengeOptions {
        difficulty_max: 50,
        ..ChallengeOptions::default()
    })
}

fn with(options: ChallengeOptions) -> Challenges {
    Challenges::new(KeyRing::from_entropy(&[3; 32]).derive("challenge"), options)
}

fn issue(challenges: &Challenges, now_at: UnixMs, seed: u8) -> (String, Value) {
    match challenges
        .issue(GAME, now_at, &[seed; CHALLENGE_ENTROPY_BYTES])
        .unwrap()
    {
        LoginOutcome::Challenge {
            kind,
            challenge_id,
            data,
        } => {
            assert_eq!(kind, "altcha");
            (challenge_id, data)
        }
        LoginOutcome::Session(_) => panic!(),
    }
}

/// Does the work as a client does.
pub(crate) fn solve(challenge_id: &str, data: &Value) -> ChallengeResponse {
    let text = |name: &str| data[name].as_str().unwrap().to_owned();
    let number = (0..=data["maxnumber"].as_u64().unwrap())
        .find(|number| {
            let digest = Sha256::digest(format!("{}{number}", text("salt")));
            hex(&digest) == text("challenge")
        })
        .expect("a number");
    let payload = json!({
        "algorithm": text("algorithm"),
        "challenge": text("challenge"),
        "number": number,
        "salt": text("salt"),
        "signature": text("signature"),
        "took": 12,
    });
    response(challenge_id, &payload)
}

fn response(challenge_id: &str, payload: &Value) -> ChallengeResponse {
    ChallengeResponse {
        challenge_id: challenge_id.to_owned(),
        response: STANDARD.encode(payload.to_string()),
    }
}

fn altered(solved: &ChallengeResponse, field: &str, value: Value) -> ChallengeResponse {
    let mut payload: Value = serde_json::from_slice(&STANDARD.decode(&solved.response).unwrap()).unwrap();
    payload[field] = value;
    response(&solved.challenge_id, &payload)
}

#[test]
fn a_proof_counts_once() {
    let challenges = challenges();
    let (id, data) = issue(&challenges, NOW_AT, 1);
    assert_eq!(data["challenge"], id.as_str());
    assert_eq!(data["maxnumber"], 50);
    let solved = solve(&id, &data);
    assert_eq!(challenges.redeem(&solved, GAME, NOW_AT + 1_000), Ok(true));
    assert_eq!(challenges.redeem(&solved, GAME, NOW_AT + 1_001), Ok(false));
    let (id, data) = issue(&challenges, NOW_AT, 2);
    assert_eq!(challenges.redeem(&solve(&id, &data), GAME, NOW_AT), Ok(true));
}

#[test]
fn it_counts_until_its_end_and_is_remembered_so_long() {
    let challenges = challenges();
    let solve_one = |seed| {
        let (id, data) = issue(&challenges, NOW_AT, seed);
        solve(&id, &data)
    };
    let (early, late) = (solve_one(1), solve_one(2));
    assert_eq!(challenges.redeem(&early, GAME, NOW_AT), Ok(true));
    assert_eq!(
        challenges.redeem(&early, GAME, NOW_AT + 299_999),
        Ok(false),
        "still remembered"
    );
    assert_eq!(challenges.redeem(&late, GAME, NOW_AT + 300_000), Ok(false), "its end");
    assert_eq!(challenges.redeem(&late, GAME, NOW_AT + 299_999), Ok(true));
}

#[test]
fn a_proof_of_another_game_or_key_or_for_another_challenge_does_not_count() {
    let challenges = challenges();
    let (id, data) = issue(&challenges, NOW_AT, 1);
    let solved = solve(&id, &data);
    assert_eq!(challenges.redeem(&solved, GameId(8), NOW_AT), Ok(false));
    let stranger = Challenges::new(
        KeyRing::from_entropy(&[4; 32]).derive("challenge"),
        ChallengeOptions::default(),
    );
    assert_eq!(stranger.redeem(&solved, GAME, NOW_AT), Ok(false), "a forged signature");
    let other_id = ChallengeResponse {
        challenge_id: "0".repeat(64),
        ..solved.clone()
    };
    assert_eq!(challenges.redeem(&other_id, GAME, NOW_AT), Ok(false));
    for (field, value) in [
        ("signature", json!("00")),
        ("signature", json!(data["signature"].as_str().unwrap().to_uppercase())),
        ("number", json!(51)),
        ("number", json!(-1)),
        ("algorithm", json!("SHA-1")),
        ("salt", json!("x?expires=1800000000&game=7&")),
    ] {
        assert_eq!(
            challenges.redeem(&altered(&solved, field, value), GAME, NOW_AT),
            Ok(false),
            "{field}"
        );
    }
    assert_eq!(
        challenges.redeem(&solved, GAME, NOW_AT),
        Ok(true),
        "none of these used it up"
    );
}

#[test]
fn no_digit_moves_between_salt_and_number() {
    let challenges = challenges();
    let payload_of = |seed| {
        let (id, data) = issue(&challenges, NOW_AT, seed);
        let solved = solve(&id, &data);
        let payload: Value = serde_json::from_slice(&STANDARD.decode(&solved.response).unwrap()).unwrap();
        (solved, payload)
    };
    // Two digits, so that one can be moved.
    let (solved, payload) = (1..=255)
        .map(payload_of)
        .find(|(_, payload)| payload["number"].as_u64() >= Some(11))
        .expect("a number of two digits");
    let number = payload["number"].as_u64().unwrap().to_string();
    let salt = format!("{}{}", payload["salt"].as_str().unwrap(), &number[..1]);
    let moved = altered(
        &altered(&solved, "salt", json!(salt)),
        "number",
        json!(number[1..].parse::<u64>().unwrap()),
    );
    assert_eq!(challenges.redeem(&moved, GAME, NOW_AT), Ok(false));
}

#[test]
fn a_clock_set_back_spends_no_proof_twice_and_shuts_nobody_out() {
    let challenges = challenges();
    let (id, data) = issue(&challenges, NOW_AT, 1);
    let solved = solve(&id, &data);
    assert_eq!(challenges.redeem(&solved, GAME, NOW_AT), Ok(true));
    assert_eq!(challenges.redeem(&solved, GAME, NOW_AT - 5_000), Ok(false));
    let back_at = NOW_AT - 3_600_000;
    assert_eq!(challenges.redeem(&solved, GAME, back_at), Ok(false));
    let (id, data) = issue(&challenges, NOW_AT, 2);
    assert_eq!(
        challenges.redeem(&solve(&id, &data), GAME, back_at),
        Ok(false),
        "it would live for more than an hour"
    );
    let (id, data) = issue(&challenges, back_at, 3);
    assert_eq!(challenges.redeem(&solve(&id, &data), GAME, back_at), Ok(true));
}

#[test]
fn a_full_memory_says_come_again() {
    let challenges = with(ChallengeOptions {
        difficulty_max: 5,
        used_max: 2,
        ..ChallengeOptions::default()
    });
    let redeem = |seed, now_at| {
        let (id, data) = issue(&challenges, now_at, seed);
        challenges.redeem(&solve(&id, &data), GAME, now_at)
    };
    assert_eq!([redeem(1, NOW_AT), redeem(2, NOW_AT)], [Ok(true), Ok(true)]);
    let error = redeem(3, NOW_AT).unwrap_err();
    assert_eq!((error.code, error.retry_after_ms), (OVERLOADED, Some(5_000)));
    assert_eq!(redeem(4, NOW_AT + 700_000), Ok(true));
}

#[test]
fn rubbish_is_no_proof() {
    let challenges = challenges();
    for text in ["", "%%%", "e30=", "bnVsbA==", &"A".repeat(RESPONSE_MAX_BYTES + 4)] {
        let rubbish = ChallengeResponse {
            challenge_id: String::new(),
            response: text.to_owned(),
        };
        assert_eq!(challenges.redeem(&rubbish, GAME, NOW_AT), Ok(false));
    }
}
