//! Refusals of admission. When there is most to refuse there is least time for it: the text of each code and class is
//! prepared once, and only id, times and numbers are put in. When to come back follows from how much is refused.

use std::io::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use seawall_domain::{Code, codes as domain_codes};

use super::class::Class;
use super::figures::Reason;
use crate::codes;
use crate::limits::RETRY_AFTER_BASE_MS;
use crate::problem::{self, Advice, PROBLEM_JSON};
use crate::trace::RequestId;

/// Longest time anybody is told to stay away, in milliseconds.
pub const RETRY_AFTER_MAX_MS: u64 = 60_000;
/// Most that is multiplied by three for the jitter, so that the longest times are spread too.
const BASE_MAX_MS: f64 = RETRY_AFTER_MAX_MS as f64 / 3.0;
/// Weight of the newest window in how much too much comes.
const FRESH: f64 = 0.1;
/// More is added when the pressure rose since the last window.
const RISING: f64 = 1.5;
/// Where the prepared text ends and the request's own begins.
const CUT_AT: &str = "\"request_id\":\"";

/// A request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// Why.
    pub reason: Reason,
    /// When to try again, before jitter for our own trouble, exactly for a quota; in milliseconds.
    pub retry_after_ms: u64,
}

impl Reason {
    /// The code on the wire.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Reason::Level | Reason::Hash | Reason::InFlight | Reason::WaitingRoom => domain_codes::OVERLOADED,
            Reason::ServerKey => codes::LIMIT_SERVER_KEY,
            Reason::Deadline => codes::OVERLOAD_DEADLINE,
        }
    }
}

/// When to come back, where `ratio` times as much comes as may pass, and `ratio_before` it was; before jitter.
pub(crate) fn retry_base_ms(ratio: f64, ratio_before: f64) -> u64 {
    let trend = if ratio > ratio_before * 1.05 { RISING } else { 1.0 };
    let ms = RETRY_AFTER_BASE_MS as f64 * ratio * trend;
    // In range by the clamp.
    ms.clamp(RETRY_AFTER_BASE_MS as f64, BASE_MAX_MS) as u64
}

/// How many times what may pass comes, after a window in which `offered` units came and `admitted` might pass. Over about a
/// second: one window of a burst says nothing of when there will be room.
pub(crate) fn ratio(offered: f64, admitted: f64, before: f64) -> f64 {
    let now = (offered / admitted.max(1.0)).max(1.0);
    before + FRESH * (now - before)
}

/// Uniform over [T, 3T] by the request id, at most [`RETRY_AFTER_MAX_MS`].
pub(crate) fn jittered_ms(base_ms: u64, request_id: RequestId) -> u64 {
    let base_ms = base_ms.clamp(1, RETRY_AFTER_MAX_MS);
    (base_ms + request_id.spread() % (2 * base_ms + 1)).min(RETRY_AFTER_MAX_MS)
}

/// The prepared texts.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// By reason, then class.
    heads: [[Box<[u8]>; 6]; Reason::ALL.len()],
    /// `Retry-After` by whole seconds.
    seconds: Vec<HeaderValue>,
}

impl Prepared {
    pub(crate) fn new() -> Self {
        let seconds = 0..=RETRY_AFTER_MAX_MS / 1000;
        Prepared {
            heads: Reason::ALL.map(|reason| Class::ALL.map(|class| head(reason, class))),
            seconds: seconds.map(|second| HeaderValue::from(second.max(1))).collect(),
        }
    }

    /// The answer to a refused request. A place in a waiting room says when to come back.
    pub(crate) fn render(
        &self,
        shed: Shed,
        class: Class,
        request_id: RequestId,
        now_at: u64,
        advice: &Advice,
    ) -> Response<Bytes> {
        let ms = match (&advice.waiting, shed.reason) {
            (Some(waiting), _) => waiting.poll_after_ms.clamp(1, RETRY_AFTER_MAX_MS),
            (None, Reason::ServerKey) => shed.retry_after_ms.clamp(1, RETRY_AFTER_MAX_MS),
            (None, _) => jittered_ms(shed.retry_after_ms, request_id),
        };
        let heads = self.heads.get(shed.reason as usize);
        let head = heads
            .and_then(|heads| heads.get(class as usize))
            .map_or(&[][..], |head| head);
        let mut body = Vec::with_capacity(head.len() + 128);
        body.extend_from_slice(head);
        body.extend_from_slice(request_id.hex().as_bytes());
        // Writing to memory does not fail.
        let _ = write!(body, "\",\"retry_after_ms\":{ms},\"server_time_at\":{now_at}");
        write_advice(advice, &mut body);
        body.push(b'}');
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = match shed.reason {
            Reason::ServerKey => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        let second = usize::try_from(ms.div_ceil(1000)).unwrap_or(usize::MAX);
        if let Some(second) = self.seconds.get(second) {
            headers.insert(RETRY_AFTER, second.clone());
        }
        answer
    }
}

/// The fields of advice, behind others.
fn write_advice(advice: &Advice, body: &mut Vec<u8>) {
    // Writing to memory does not fail.
    if let Some(waiting) = &advice.waiting {
        body.extend_from_slice(b",\"waiting\":");
        let _ = serde_json::to_writer(&mut *body, waiting);
    }
    if let Some(ms) = advice.reconnect_spread_ms {
        let _ = write!(body, ",\"reconnect_spread_ms\":{ms}");
    }
}

/// The refusal's text up to the request's id, written by the type every refusal has.
fn head(reason: Reason, class: Class) -> Box<[u8]> {
    let error = reason
        .code()
        .error()
        .with("class", class.name())
        .with("reason", reason.name());
    let text = serde_json::to_string(&problem::body(&error, RequestId([0; 16]), 0)).unwrap_or_default();
    let head = text.split_once(CUT_AT).map_or("", |(head, _)| head);
    [head, CUT_AT].concat().into_bytes().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Problem;

    #[test]
    fn every_prepared_refusal_is_a_problem_with_a_time() {
        let prepared = Prepared::new();
        for reason in Reason::ALL {
            for class in Class::ALL {
                let shed = Shed {
                    reason,
                    retry_after_ms: 1_500,
                };
                let answer = prepared.render(shed, class, RequestId([9; 16]), 1234, &Advice::default());
                let problem: Problem = serde_json::from_slice(answer.body()).unwrap();
                assert_eq!(problem.code, reason.code().name);
                assert_eq!(problem.status, answer.status().as_u16());
                assert_eq!(codes::status(&reason.code()), answer.status());
                assert_eq!(problem.params["class"], class.name());
                assert_eq!(problem.params["reason"], reason.name());
                assert_eq!((problem.request_id, problem.server_time_at), ("09".repeat(16), 1234));
                let ms = problem.retry_after_ms.unwrap();
                assert_eq!(answer.headers()[RETRY_AFTER], ms.div_ceil(1000).to_string());
                assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
            }
        }
    }

    #[test]
    fn advice_is_part_of_the_problem_and_a_place_says_when_to_come_back() {
        let waiting = crate::wire::Waiting {
            ticket: "dGlja2V0".into(),
            place: 77,
            estimate_ms: 9_500,
            poll_after_ms: 9_500,
        };
        let advice = Advice {
            waiting: Some(waiting),
            reconnect_spread_ms: Some(60_000),
        };
        let shed = Shed {
            reason: Reason::Level,
            retry_after_ms: 1_500,
        };
        let id = RequestId([9; 16]);
        let answer = Prepared::new().render(shed, Class::Login, id, 1234, &advice);
        let error = domain_codes::OVERLOADED.error();
        let written = problem::render_with(&error, id, 1234, problem::Challenge::Bearer, advice.clone());
        for answer in [answer, written] {
            let problem: Problem = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(problem.waiting, advice.waiting);
            assert_eq!(problem.reconnect_spread_ms, Some(60_000));
            assert_eq!(problem.retry_after_ms, Some(9_500));
            assert_eq!(answer.headers()[RETRY_AFTER], "10");
        }
    }

    #[test]
    fn times_to_come_back_lie_between_t_and_three_t_and_end_at_a_minute() {
        let ids = (0..1_000u16).map(|number| {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            RequestId(id)
        });
        let times: Vec<u64> = ids.map(|id| jittered_ms(2_000, id)).collect();
        assert!(times.iter().all(|ms| (2_000..=6_000).contains(ms)));
        assert!(times.iter().filter(|ms| **ms < 4_000).count().abs_diff(500) < 100);
        assert_eq!(jittered_ms(1_000_000, RequestId([1; 16])), RETRY_AFTER_MAX_MS);
    }

    #[test]
    fn the_more_is_refused_the_later_one_is_asked_back() {
        let base = |ratio| retry_base_ms(ratio, 1e12);
        assert_eq!(base(1.0), 1_000);
        assert_eq!(base(5.0), 5_000);
        assert_eq!(base(1e9), 20_000, "three times it is a minute");
        assert_eq!(retry_base_ms(5.0, 2.0), 7_500, "later when it is getting worse");
    }

    #[test]
    fn a_burst_in_one_window_is_not_taken_for_a_flood() {
        let mut told = 1.0;
        told = ratio(1_000.0, 100.0, told);
        assert!((told - 1.9).abs() < 1e-9, "{told}");
        for _ in 0..30 {
            told = ratio(1_000.0, 100.0, told);
        }
        assert!((9.0..=10.0).contains(&told), "a flood that lasts is: {told}");
        for _ in 0..60 {
            told = ratio(100.0, 100.0, told);
        }
        assert!(told < 1.1, "and is forgotten: {told}");
    }

    /// The sign that no JSON is built: a refusal costs far less than the general way.
    #[test]
    fn a_prepared_refusal_is_cheaper_than_a_written_one() {
        let prepared = Prepared::new();
        let shed = Shed {
            reason: Reason::Level,
            retry_after_ms: 1_000,
        };
        let error = domain_codes::OVERLOADED
            .error()
            .with("class", "login")
            .with("reason", "level");
        let id = RequestId([3; 16]);
        let fastest = |work: &dyn Fn() -> Response<Bytes>| {
            let round = || {
                let begun = std::time::Instant::now();
                for _ in 0..200 {
                    std::hint::black_box(work());
                }
                begun.elapsed()
            };
            (0..50).map(|_| round()).min().unwrap()
        };
        let ours = fastest(&|| prepared.render(shed, Class::Login, id, 1_767_225_600_000, &Advice::default()));
        let general = fastest(&|| problem::render(&error, id, 1_767_225_600_000, problem::Challenge::Bearer));
        assert!(ours < general, "{ours:?} against {general:?}");
    }
}
