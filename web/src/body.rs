//! Reading a request's body: media type first, then size by `Content-Length`, then size and time while it arrives. A
//! refused body of moderate size is still read, so that the connection can go on.

use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body::Body;
use http_body_util::BodyExt;
use seawall_domain::Error;
use tokio::time::Instant;

use crate::codes;
use crate::limits::DRAIN_MAX_BYTES;

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// Nothing; what comes is ignored within the drain limit.
    None,
    /// JSON.
    Json,
    /// JSON; nothing at all means `{}`.
    OptionalJson,
    /// Bytes of any media type.
    Raw,
}

/// A refusal, and whether the connection must be closed because the body was not read to its end.
#[derive(Debug)]
pub struct Refusal {
    /// What to answer.
    pub error: Error,
    /// Close after the answer.
    pub close: bool,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal { error, close: false }
    }
}

/// Reads the body by the route's rule, at most `max_bytes`, until `deadline`.
pub async fn read<B>(
    rule: BodyRule,
    headers: &HeaderMap,
    body: B,
    max_bytes: usize,
    deadline: Instant,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes>,
{
    let mut body = pin!(body);
    let announced = announced(headers);
    let refused = match announced {
        Some(length) if length > max_bytes as u64 && rule != BodyRule::None => Some(too_large(max_bytes)),
        _ if body.is_end_stream() => None,
        _ => wrong_media_type(rule, headers),
    };
    match refused {
        Some(error) => Err(discard(error, announced, body, deadline).await),
        None if body.is_end_stream() => Ok(Bytes::new()),
        None => match timed(deadline, collect(rule, body.as_mut(), max_bytes)).await {
            Collected::Whole(bytes) => Ok(bytes),
            Collected::Refused(error) => Err(discard(error, announced, body, deadline).await),
            Collected::Broken => Err(Refusal {
                error: codes::REQUEST_MALFORMED.error(),
                close: true,
            }),
            Collected::Late => Err(Refusal {
                error: codes::TIMEOUT.error(),
                close: true,
            }),
        },
    }
}

/// Turns a request away before its body was read: the body is thrown away within the limit, so that the connection can
/// go on. False when it has to be closed.
pub async fn pass_over<B>(headers: &HeaderMap, body: B, deadline: Instant) -> bool
where
    B: Body<Data = Bytes>,
{
    if body.is_end_stream() {
        return true;
    }
    drained(announced(headers), pin!(body), deadline).await
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

enum Collected {
    Whole(Bytes),
    Refused(Error),
    Broken,
    Late,
}

async fn timed(deadline: Instant, work: impl Future<Output = Collected>) -> Collected {
    tokio::time::timeout_at(deadline, work).await.unwrap_or(Collected::Late)
}

async fn collect<B>(rule: BodyRule, mut body: std::pin::Pin<&mut B>, max_bytes: usize) -> Collected
where
    B: Body<Data = Bytes>,
{
    let max_bytes = if rule == BodyRule::None {
        DRAIN_MAX_BYTES
    } else {
        max_bytes
    };
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = match body.frame().await {
            None => break,
            Some(Err(_)) => return Collected::Broken,
            Some(Ok(frame)) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > max_bytes {
            return Collected::Refused(too_large(max_bytes));
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Collected::Whole(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Collected::Whole(whole.freeze())
}

async fn discard<B>(error: Error, announced: Option<u64>, body: std::pin::Pin<&mut B>, deadline: Instant) -> Refusal
where
    B: Body<Data = Bytes>,
{
    let is_drained = drained(announced, body, deadline).await;
    Refusal {
        error,
        close: !is_drained,
    }
}

/// Throws a refused body away, up to [`DRAIN_MAX_BYTES`]; tells whether the connection can go on.
async fn drained<B>(announced: Option<u64>, mut body: std::pin::Pin<&mut B>, deadline: Instant) -> bool
where
    B: Body<Data = Bytes>,
{
    if announced.is_some_and(|length| length > DRAIN_MAX_BYTES as u64) {
        return false;
    }
    let drained = async {
        let mut left = DRAIN_MAX_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let size = frame.data_ref().map_or(0, Bytes::len);
            left = left.checked_sub(size)?;
        }
        Some(())
    };
    let latest = deadline.min(Instant::now() + Duration::from_secs(2));
    matches!(tokio::time::timeout_at(latest, drained).await, Ok(Some(())))
}

fn too_large(limit: usize) -> Error {
    codes::TOO_LARGE
        .because(format!("The body is larger than {limit} bytes; nothing was done."))
        .with_number("limit_bytes", limit as u64)
}

fn wrong_media_type(rule: BodyRule, headers: &HeaderMap) -> Option<Error> {
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return Some(codes::CONTENT_TYPE.error());
    }
    let takes_json = matches!(rule, BodyRule::Json | BodyRule::OptionalJson);
    (takes_json && !is_json(headers)).then(|| codes::CONTENT_TYPE.error())
}

/// `application/json`, with no charset or that of UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts
        .next()
        .is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
    let charsets = parts.filter_map(|part| part.split_once('='));
    is_json
        && charsets
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .all(|(_, charset)| charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    fn headers(pairs: &[(http::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    async fn outcome(
        rule: BodyRule,
        headers: HeaderMap,
        body: &'static [u8],
        max: usize,
    ) -> Result<Bytes, (&'static str, bool)> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let read = read(rule, &headers, Full::new(Bytes::from_static(body)), max, deadline).await;
        read.map_err(|refusal| (refusal.error.code.name, refusal.close))
    }

    #[tokio::test]
    async fn media_types_are_checked_before_the_body() {
        let json = |value| headers(&[(CONTENT_TYPE, value)]);
        for good in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert_eq!(
                outcome(BodyRule::Json, json(good), b"{}", 10).await,
                Ok("{}".into()),
                "{good}"
            );
        }
        for bad in [
            "text/plain",
            "application/json; charset=gbk",
            "application/x-www-form-urlencoded",
        ] {
            assert_eq!(
                outcome(BodyRule::Json, json(bad), b"{}", 10).await,
                Err(("request.content_type", false)),
                "{bad}"
            );
        }
        let zipped = headers(&[(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")]);
        assert_eq!(
            outcome(BodyRule::Json, zipped, b"{}", 10).await,
            Err(("request.content_type", false))
        );
        assert_eq!(
            outcome(BodyRule::OptionalJson, HeaderMap::new(), b"", 10).await,
            Ok(Bytes::new())
        );
        assert_eq!(
            outcome(BodyRule::Raw, HeaderMap::new(), b"a,b", 10).await,
            Ok("a,b".into())
        );
    }

    #[tokio::test]
    async fn sizes_are_refused_at_once_or_at_the_limit() {
        let at_once = headers(&[(CONTENT_LENGTH, "70000")]);
        assert_eq!(
            outcome(BodyRule::Raw, at_once, b"x", 10).await,
            Err(("request.too_large", true))
        );
        let small = headers(&[(CONTENT_LENGTH, "11")]);
        assert_eq!(
            outcome(BodyRule::Raw, small, b"hello world", 10).await,
            Err(("request.too_large", false))
        );
        assert_eq!(
            outcome(BodyRule::Raw, HeaderMap::new(), b"hello world", 10).await,
            Err(("request.too_large", false))
        );
        assert_eq!(
            outcome(BodyRule::Raw, HeaderMap::new(), b"hello worl", 10).await,
            Ok("hello worl".into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_arriving_is_given_up_at_its_deadline() {
        let frames =
            futures_util::stream::once(async { Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"{"))) });
        let body = StreamBody::new(futures_util::StreamExt::chain(frames, futures_util::stream::pending()));
        let deadline = Instant::now() + Duration::from_secs(30);
        let refusal = read(BodyRule::Raw, &HeaderMap::new(), body, 10, deadline)
            .await
            .unwrap_err();
        assert_eq!((refusal.error.code.name, refusal.close), ("request.timeout", true));
        assert_eq!(Instant::now(), deadline);
    }
}
