//! Answers written below HTTP: to a connection that is refused before its first request, and in place of the bare
//! status hyper writes when it cannot read a request's head. They are problems like all others.

use bytes::Bytes;
use seawall_domain::{Code, Error};

use crate::codes;
use crate::problem::{self, Challenge};
use crate::trace::{RequestId, X_REQUEST_ID};

/// A whole HTTP/1.1 answer that closes the connection.
pub(super) fn answer(error: &Error, request_id: RequestId, now_at: u64) -> Bytes {
    let answer = problem::render(error, request_id, now_at, Challenge::Bearer);
    let status = answer.status();
    let mut text = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("Error")
    );
    for (name, value) in answer.headers() {
        line(&mut text, name.as_str(), value.to_str().unwrap_or_default());
    }
    line(&mut text, X_REQUEST_ID.as_str(), request_id.hex().as_str());
    line(&mut text, "cache-control", "no-store");
    line(&mut text, "connection", "close");
    line(&mut text, "content-length", &answer.body().len().to_string());
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(answer.body());
    bytes.into()
}

fn line(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(": ");
    text.push_str(value);
    text.push_str("\r\n");
}

/// The code for an answer hyper made by itself: its status, and no request id, which every answer of ours has.
pub(super) fn code_of_automatic(head: &[u8]) -> Option<Code> {
    let status = head
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| head.strip_prefix(b"HTTP/1.0 "))?
        .get(..3)?;
    let code = match status {
        b"400" => codes::REQUEST_MALFORMED,
        b"414" => codes::URI_TOO_LONG,
        b"431" => codes::HEADER_TOO_LARGE,
        _ => return None,
    };
    let name = X_REQUEST_ID;
    let is_ours = head
        .windows(name.as_str().len())
        .any(|part| part.eq_ignore_ascii_case(name.as_str().as_bytes()));
    (!is_ours).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_that_are_not_ours_are_replaced() {
        let automatic =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(code_of_automatic(automatic), Some(codes::HEADER_TOO_LARGE));
        let ours = answer(&codes::REQUEST_MALFORMED.error(), RequestId([1; 16]), 5);
        assert_eq!(code_of_automatic(&ours), None);
        assert_eq!(code_of_automatic(b"HTTP/1.1 404 Not Found\r\n\r\n"), None);
        assert_eq!(code_of_automatic(b""), None);
    }
}
