//! Signed calls of game servers: the four headers, and what was signed.

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use seawall_domain::key::SignedRequest;
use seawall_domain::{Caller, Error, Platform, codes};
use sha2::{Digest, Sha256};

use crate::origin::ListenerFacts;

/// Who signed the request; [`codes::SIGNATURE_MISSING`] when a header lacks.
pub fn authenticate(
    platform: &Platform,
    listener: &ListenerFacts,
    parts: &Parts,
    body: &Bytes,
    changes_something: bool,
) -> Result<Caller, Error> {
    let path_and_query = signed_path(listener, parts);
    platform.key_authenticate(&SignedRequest {
        key_id: header(&parts.headers, "seawall-key-id")?,
        timestamp: header(&parts.headers, "seawall-timestamp")?,
        nonce: header(&parts.headers, "seawall-nonce")?,
        signature: header(&parts.headers, "seawall-signature")?,
        method: parts.method.as_str(),
        path_and_query: &path_and_query,
        body_sha256: Sha256::digest(body).into(),
        changes_something,
    })
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Error> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next().and_then(|value| value.to_str().ok()), lines.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(codes::SIGNATURE_MISSING.error().with("header", name)),
    }
}

/// Path with query as the client sent it: the listener's public prefix, the path, and `?` with the query unless empty.
fn signed_path(listener: &ListenerFacts, parts: &Parts) -> String {
    let mut path = String::with_capacity(listener.public_path_prefix.len() + 64);
    path.push_str(&listener.public_path_prefix);
    path.push_str(parts.uri.path());
    if let Some(query) = parts.uri.query().filter(|query| !query.is_empty()) {
        path.push('?');
        path.push_str(query);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(prefix: &str, uri: &str) -> String {
        let listener = ListenerFacts {
            public_path_prefix: prefix.into(),
            ..Default::default()
        };
        let (parts, ()) = http::Request::builder().uri(uri).body(()).unwrap().into_parts();
        signed_path(&listener, &parts)
    }

    #[test]
    fn the_signed_path_is_what_the_client_sent() {
        assert_eq!(path("", "/server/v1/sessions/verify"), "/server/v1/sessions/verify");
        assert_eq!(path("/api", "/server/v1/x?a=1&b=%20"), "/api/server/v1/x?a=1&b=%20");
        assert_eq!(path("", "/server/v1/x?"), "/server/v1/x");
        assert_eq!(path("", "https://host/server/v1/x?a"), "/server/v1/x?a");
    }

    #[test]
    fn a_missing_or_repeated_header_is_no_signature() {
        let mut headers = HeaderMap::new();
        assert_eq!(
            header(&headers, "seawall-nonce").unwrap_err().code,
            codes::SIGNATURE_MISSING
        );
        headers.append("seawall-nonce", "a".parse().unwrap());
        assert_eq!(header(&headers, "seawall-nonce").unwrap(), "a");
        headers.append("seawall-nonce", "b".parse().unwrap());
        assert!(header(&headers, "seawall-nonce").is_err());
    }
}
