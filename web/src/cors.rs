//! CORS for browser and H5 games: preflights are answered before anything else, and answers to allowed origins may be
//! read by their page.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use crate::origin::Surface;

/// How long a browser may remember a preflight, in seconds.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("86400");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST");
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, traceparent, x-attempt, x-deadline-ms, seawall-device, seawall-game, seawall-ticket",
);
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, x-request-id, traceparent");

/// True for a browser's question whether it may ask.
#[must_use]
pub fn is_preflight(method: &Method, headers: &HeaderMap, surface: Option<Surface>) -> bool {
    *method == Method::OPTIONS
        && surface == Some(Surface::Sdk)
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight: the permission, or nothing that a browser takes for one.
#[must_use]
pub fn preflight(headers: &HeaderMap, is_allowed: impl FnOnce(&str) -> bool) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer.headers_mut().insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed_origin(headers, is_allowed) {
        let answered = answer.headers_mut();
        answered.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answered.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answered.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        answered.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    }
    answer
}

/// The `Origin` of the request when some game allows it.
#[must_use]
pub fn allowed_origin(headers: &HeaderMap, is_allowed: impl FnOnce(&str) -> bool) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    is_allowed(origin.to_str().ok()?).then(|| origin.clone())
}

/// Lets the page of `origin` read an answer and the headers that say when to try again.
pub fn permit(origin: HeaderValue, answer: &mut HeaderMap) {
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    answer.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preflights_of_allowed_origins_are_answered_with_a_day_of_permission() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("https://play.example"));
        assert!(!is_preflight(&Method::OPTIONS, &headers, Some(Surface::Sdk)));
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        assert!(is_preflight(&Method::OPTIONS, &headers, Some(Surface::Sdk)));
        assert!(!is_preflight(&Method::OPTIONS, &headers, Some(Surface::Server)));
        let yes = preflight(&headers, |origin| origin == "https://play.example");
        assert_eq!(yes.status(), 204);
        assert_eq!(yes.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://play.example");
        assert_eq!(yes.headers()[ACCESS_CONTROL_MAX_AGE], "86400");
        let no = preflight(&headers, |_| false);
        assert!(!no.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
