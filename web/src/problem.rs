//! Refusals on the wire: `application/problem+json` (RFC 9457), rendered in one place.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use seawall_domain::{Error, Kind, Param};

use crate::codes;
use crate::limits::RETRY_AFTER_BASE_MS;
use crate::trace::RequestId;
use crate::wire::{Problem, Waiting};

/// Media type of every refusal.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Which proof of identity a 401 asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// A player's access token.
    Bearer,
    /// A game server's signature.
    Signature,
}

impl Challenge {
    fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Challenge::Bearer => "Bearer realm=\"seawall\"",
            Challenge::Signature => "Seawall-HMAC-SHA256 realm=\"seawall\"",
        })
    }
}

/// What a refusal tells besides the error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Advice {
    /// A place in the waiting room for logins; says when to try again.
    pub waiting: Option<Waiting>,
    /// The spread of the game's first calls after an update, in milliseconds.
    pub reconnect_spread_ms: Option<u64>,
}

/// When to try again: what the error says, else between one and three times the base, spread by the request id. Only
/// refusals that pass by carry one.
#[must_use]
pub fn retry_after_ms(error: &Error, request_id: RequestId) -> Option<u64> {
    let passes_by = matches!(error.code.kind, Kind::Limited | Kind::Unavailable);
    let spread = RETRY_AFTER_BASE_MS + request_id.spread() % (2 * RETRY_AFTER_BASE_MS);
    passes_by.then(|| error.retry_after_ms.unwrap_or(spread))
}

/// The body of a refusal.
#[must_use]
pub fn body(error: &Error, request_id: RequestId, now_at: u64) -> Problem {
    let status = codes::status(&error.code);
    let params = error.params.iter().map(|(name, value)| {
        let value = match value {
            Param::Text(text) => serde_json::Value::from(text.as_str()),
            Param::Number(number) => serde_json::Value::from(*number),
        };
        ((*name).to_owned(), value)
    });
    Problem {
        kind: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or("Error").to_owned(),
        status: status.as_u16(),
        code: error.code.name.to_owned(),
        detail: error.detail.clone(),
        params: params.collect(),
        request_id: request_id.hex().as_str().to_owned(),
        retry_after_ms: retry_after_ms(error, request_id),
        waiting: None,
        reconnect_spread_ms: None,
        server_time_at: now_at,
    }
}

/// A refusal as an answer.
#[must_use]
pub fn render(error: &Error, request_id: RequestId, now_at: u64, challenge: Challenge) -> Response<Bytes> {
    render_with(error, request_id, now_at, challenge, Advice::default())
}

/// A refusal as an answer, with advice.
#[must_use]
pub fn render_with(
    error: &Error,
    request_id: RequestId,
    now_at: u64,
    challenge: Challenge,
    advice: Advice,
) -> Response<Bytes> {
    let mut problem = body(error, request_id, now_at);
    if let Some(waiting) = &advice.waiting {
        problem.retry_after_ms = Some(waiting.poll_after_ms);
    }
    (problem.waiting, problem.reconnect_spread_ms) = (advice.waiting, advice.reconnect_spread_ms);
    let text = serde_json::to_vec(&problem).unwrap_or_default();
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = codes::status(&error.code);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, PROBLEM_JSON);
    if let Some(ms) = problem.retry_after_ms {
        headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000).max(1)));
    }
    if error.code.kind == Kind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, challenge.header());
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall_domain::codes as domain;

    fn rendered(error: &Error) -> (Response<Bytes>, Problem) {
        let answer = render(error, RequestId([9; 16]), 1234, Challenge::Bearer);
        let problem = serde_json::from_slice(answer.body()).unwrap();
        (answer, problem)
    }

    #[test]
    fn a_refusal_carries_code_params_request_id_and_time() {
        let (answer, problem) = rendered(&domain::FIELD_INVALID.error().with("field", "x").with_number("limit", 3));
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(problem.code, "request.field_invalid");
        assert_eq!(problem.params["limit"], 3);
        assert_eq!(problem.request_id, "09".repeat(16));
        assert_eq!(problem.server_time_at, 1234);
        assert_eq!(problem.retry_after_ms, None);
    }

    #[test]
    fn our_own_trouble_says_when_and_a_bad_proof_says_which_proof() {
        let (answer, problem) = rendered(&domain::OVERLOADED.error());
        let ms = problem.retry_after_ms.unwrap();
        assert!((RETRY_AFTER_BASE_MS..3 * RETRY_AFTER_BASE_MS).contains(&ms));
        assert_eq!(answer.headers()[RETRY_AFTER], ms.div_ceil(1000).to_string());
        let (answer, problem) = rendered(&domain::OVERLOADED.error().retry_after_ms(4001));
        assert_eq!(
            (answer.headers()[RETRY_AFTER].to_str().unwrap(), problem.retry_after_ms),
            ("5", Some(4001))
        );
        let (answer, _) = rendered(&domain::SESSION_INVALID.error());
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer realm=\"seawall\"");
    }

    #[test]
    fn every_code_renders() {
        let own = codes::CODES.iter().map(|(code, _)| *code);
        for code in own.chain(domain::CODES.iter().copied()) {
            let (answer, problem) = rendered(&code.error());
            assert_eq!(answer.status().as_u16(), problem.status, "{}", code.name);
            assert!(answer.status().as_u16() >= 400);
            assert_eq!(answer.status() == 401, answer.headers().contains_key(WWW_AUTHENTICATE));
            let passes_by = matches!(answer.status().as_u16(), 429 | 503);
            assert_eq!(passes_by, answer.headers().contains_key(RETRY_AFTER), "{}", code.name);
        }
    }
}
