//! Error codes of the transport, beside the domain's own, and the one place where a code becomes a status.

use http::StatusCode;
pub use seawall_domain::codes::OVERLOAD_DEADLINE;
use seawall_domain::{Code, Kind};

macro_rules! codes {
    ($($ident:ident = $kind:ident $status:literal $name:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $ident: Code = Code { name: $name, kind: Kind::$kind, doc: $doc };)*
        /// All codes of the transport with their status, in the order of this file.
        pub const CODES: &[(Code, u16)] = &[$(($ident, $status)),*];
    };
}

codes! {
    REQUEST_MALFORMED = Invalid 400 "request.malformed", "The request is no valid HTTP: its request line or a header cannot be read. The connection is closed.";
    MALFORMED_JSON = Invalid 400 "request.malformed_json", "The body is no valid JSON in UTF-8; `line` and `column` tell where it stops to be.";
    DUPLICATE_KEY = Invalid 400 "request.duplicate_key", "The body names a key of one JSON object twice; send it once.";
    QUERY_INVALID = Invalid 400 "request.query_invalid", "The query string has an unknown, repeated or malformed parameter.";
    IDEMPOTENCY_MALFORMED = Invalid 400 "idempotency.malformed", "The Idempotency-Key header must be 1-255 visible ASCII characters.";
    ROUTE_UNKNOWN = NotFound 404 "route.unknown", "No such route on this listener; compare /openapi.json.";
    METHOD = Invalid 405 "route.method", "This route does not take this method; `Allow` names those it takes.";
    TIMEOUT = Invalid 408 "request.timeout", "The request did not arrive within its time; send it again, faster.";
    TOO_LARGE = TooLarge 413 "request.too_large", "The body is larger than `limit_bytes`; nothing was done.";
    URI_TOO_LONG = TooLarge 414 "request.uri_too_long", "Path and query are longer than 16384 bytes.";
    CONTENT_TYPE = Invalid 415 "request.content_type", "Send the body as application/json (charset UTF-8), uncompressed.";
    HOST_UNKNOWN = NotFound 421 "host.unknown", "This listener does not serve the host named by the request.";
    HEADER_TOO_LARGE = TooLarge 431 "request.header_too_large", "The header is larger than 16384 bytes or has more than 100 fields.";
    CONNECTION_LIMIT = Unavailable 503 "connection.limit", "Too many connections; close idle ones and try again after Retry-After.";
    LIMIT_SERVER_KEY = Limited 429 "limit.server_key", "This server key has used up its token checks of this second; check in batches, or ask for a larger quota.";
    PEER_FORBIDDEN = Forbidden 403 "peer.forbidden", "This listener speaks plain HTTP and answers its trusted peers only; use the TLS listener.";
}

/// The HTTP status of a code: that of [`CODES`] for the transport's own, else by the kind.
#[must_use]
pub fn status(code: &Code) -> StatusCode {
    let own = CODES
        .iter()
        .find(|(own, _)| own.name == code.name)
        .and_then(|(_, status)| StatusCode::from_u16(*status).ok());
    own.unwrap_or(match code.kind {
        Kind::Invalid => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Limited => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_across_transport_and_domain() {
        let own = CODES.iter().map(|(code, _)| code.name);
        let all: Vec<_> = own
            .chain(seawall_domain::codes::CODES.iter().map(|code| code.name))
            .collect();
        let unique: BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn statuses_keep_the_meaning_of_the_kinds() {
        assert_eq!(status(&TIMEOUT), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(
            status(&seawall_domain::codes::SESSION_INVALID),
            StatusCode::UNAUTHORIZED
        );
        for code in seawall_domain::codes::CODES {
            assert_eq!(
                status(code) == StatusCode::UNAUTHORIZED,
                code.kind == Kind::Unauthenticated,
                "{}",
                code.name
            );
            assert_eq!(
                status(code) == StatusCode::SERVICE_UNAVAILABLE,
                code.kind == Kind::Unavailable,
                "{}",
                code.name
            );
        }
    }
}
