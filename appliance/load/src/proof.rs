//! Proofs of work as a client does them: the challenge a login or registration was answered with, the number that solves it, and the
//! same call once more with the proof. The format is ALTCHA v1; the words are those of the public API.
//!
//! Every device of a crowd would work on a processor of its own, and the loader has one for all of them. So the work is done by the
//! few threads of a [`Solver`], beside the loop that must not stand still.

mod proving;
mod solver;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Answer;

pub use proving::Proving;
pub use solver::{Done, QUEUE_MAX, Solver, THREADS};

/// The kind of challenges that can be solved.
const KIND: &str = "altcha";
/// The algorithm of these.
const ALGORITHM: &str = "SHA-256";
/// Longest that a client works on one challenge, also when the challenge would live longer or does not say.
pub const WORK_MAX: Duration = Duration::from_secs(60);
/// Numbers that are tried between two looks at whether to go on: about a tenth of a millisecond.
const LOOK_EVERY: u64 = 1_024;

/// Whether an answer asks for a proof of work before anything else. A registration says so with 201, as when it made something.
#[must_use]
pub fn asks_for_proof(answer: &Answer<'_>) -> bool {
    matches!(answer.status, 200 | 201) && answer.field("outcome") == Some("challenge")
}

/// A challenge: which number, written in digits behind the salt, has this hash?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    id: String,
    digest: Vec<u8>,
    hash: String,
    salt: String,
    signature: String,
    number_max: u64,
    /// How long it may be answered, from when it came.
    pub lives: Duration,
}

impl Challenge {
    /// The challenge in an answer; `None` when there is none, or none of a kind that is known.
    #[must_use]
    pub fn of(answer: &Answer<'_>) -> Option<Self> {
        let body: Value = serde_json::from_slice(answer.body).ok()?;
        let challenge = body.get("challenge")?;
        let data = challenge.get("data")?;
        let text = |from: &Value, name: &str| Some(from.get(name)?.as_str()?.to_owned());
        if text(challenge, "kind")? != KIND || text(data, "algorithm")? != ALGORITHM {
            return None;
        }
        let (hash, salt) = (text(data, "challenge")?, text(data, "salt")?);
        let now_ms = body.get("server_time_at").and_then(Value::as_u64);
        Some(Self {
            id: text(challenge, "challenge_id")?,
            digest: bytes_of(&hash)?,
            lives: lives(&salt, now_ms),
            hash,
            salt,
            signature: text(data, "signature")?,
            number_max: data.get("maxnumber")?.as_u64()?,
        })
    }

    /// Searches the number while `goes_on`; `None` when it was not found until then, or is not there.
    pub fn solve(&self, goes_on: impl Fn() -> bool) -> Option<Proof> {
        let salted = Sha256::new_with_prefix(&self.salt);
        let mut digits = String::new();
        for number in 0..=self.number_max {
            if number % LOOK_EVERY == 0 && !goes_on() {
                return None;
            }
            digits.clear();
            let _ = write!(digits, "{number}");
            let hash = salted.clone().chain_update(&digits).finalize();
            if hash.as_slice() == self.digest {
                return Some(self.proof(number));
            }
        }
        None
    }

    fn proof(&self, number: u64) -> Proof {
        let payload = json!({
            "algorithm": ALGORITHM,
            "challenge": self.hash,
            "number": number,
            "salt": self.salt,
            "signature": self.signature,
        });
        Proof {
            challenge_id: self.id.clone(),
            response: STANDARD.encode(payload.to_string()),
        }
    }
}

/// What is left of a challenge: ALTCHA tells its end as a parameter of the salt, in Unix seconds of the server's clock.
fn lives(salt: &str, server_time_at: Option<u64>) -> Duration {
    let told = salt.split(['?', '&']).find_map(|part| part.strip_prefix("expires="));
    let expires_s = told.and_then(|text| text.parse::<u64>().ok());
    let left = expires_s.zip(server_time_at).map(|(expires_s, now_ms)| {
        let left_ms = expires_s.saturating_mul(1_000).saturating_sub(now_ms);
        Duration::from_millis(left_ms)
    });
    left.unwrap_or(WORK_MAX).min(WORK_MAX)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    };
    hex.as_bytes().chunks(2).map(pair).collect()
}

/// A proof of work, good for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    challenge_id: String,
    response: String,
}

impl Proof {
    /// The body of the call that was challenged, a JSON object that is not empty, with this proof.
    #[must_use]
    pub fn with_body(&self, body: &str) -> String {
        let response = json!({"challenge_id": self.challenge_id, "response": self.response});
        let open = body.trim_end();
        let open = open.strip_suffix('}').unwrap_or(open);
        format!("{open},\"challenge_response\":{response}}}")
    }

    /// A whole request as bytes, the same call with this proof: all its headers, the idempotency key among them, stay. `None` when it
    /// is no request with a body of text.
    #[must_use]
    pub fn with_request(&self, request: &[u8]) -> Option<Vec<u8>> {
        let (head, body) = request.split_at(memmem::find(request, b"\r\n\r\n")?);
        let body = self.with_body(std::str::from_utf8(body.strip_prefix(b"\r\n\r\n")?).ok()?);
        let mut text = String::with_capacity(request.len() + body.len());
        let is_length = |line: &str| line.to_ascii_lowercase().starts_with("content-length:");
        for line in std::str::from_utf8(head)
            .ok()?
            .split("\r\n")
            .filter(|line| !is_length(line))
        {
            text.push_str(line);
            text.push_str("\r\n");
        }
        let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
        Some(text.into_bytes())
    }
}

#[cfg(test)]
pub(crate) mod tests;
