//! The least of HTTP/1 that a client of known servers needs: one answer at the head of a buffer.

use memchr::memmem;

/// Longest head that is waited for.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Longest body that is waited for.
const BODY_MAX_BYTES: usize = 16 << 20;
/// Bytes of a body that are shown.
const SAMPLE_BYTES: usize = 200;

/// An answer, borrowed from the connection's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status; 0 for a handshake, which has none.
    pub status: u16,
    /// The head, from the status line to before the empty line.
    pub head: &'a [u8],
    /// The whole body.
    pub body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The text of a JSON field of the body that has no escapes, found by its name wherever it stands.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a str> {
        let mut from = 0;
        loop {
            let place = from + memmem::find(self.body.get(from..)?, name.as_bytes())?;
            from = place + name.len();
            let quoted = place > 0 && self.body.get(place - 1) == Some(&b'"');
            let Some(rest) = self.body.get(from..).and_then(|rest| rest.strip_prefix(b"\":\"")) else {
                continue;
            };
            if quoted {
                let end = memchr::memchr(b'"', rest)?;
                return std::str::from_utf8(rest.get(..end)?).ok();
            }
        }
    }

    /// The whole number of a JSON field of the body.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        let place = memmem::find(self.body, format!("\"{name}\":").as_bytes())?;
        let rest = self.body.get(place + name.len() + 3..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
    }

    /// The text of a header; its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(header(self.head, name.as_bytes())?).ok()
    }

    /// Whether the body holds these bytes.
    #[must_use]
    pub fn has(&self, bytes: &str) -> bool {
        memmem::find(self.body, bytes.as_bytes()).is_some()
    }

    /// Whether the server ends the connection after this answer.
    #[must_use]
    pub fn closes(&self) -> bool {
        header(self.head, b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
    }

    /// The beginning of it, to show somebody.
    #[must_use]
    pub fn sample(&self) -> String {
        let shown = self.body.get(..SAMPLE_BYTES).unwrap_or(self.body);
        format!("{} {}", self.status, String::from_utf8_lossy(shown))
    }
}

/// What lies at the head of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// Not all of an answer yet.
    Partial,
    /// An answer, and how many bytes it takes.
    Whole(Answer<'a>, usize),
    /// Nothing this parser knows: the connection is of no use any more.
    Bad(&'static str),
}

/// Looks for an answer at the head of `bytes`.
pub fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some(head_end) = memmem::find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_MAX_BYTES {
            Parsed::Bad("the head does not end")
        } else {
            Parsed::Partial
        };
    };
    let (head, _) = bytes.split_at(head_end);
    let Some(status) = status(head) else {
        return Parsed::Bad("no status line");
    };
    let length = match header(head, b"content-length") {
        Some(value) => match std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<usize>().ok())
        {
            Some(length) if length <= BODY_MAX_BYTES => length,
            Some(_) => return Parsed::Bad("the body is longer than any of ours"),
            None => return Parsed::Bad("content-length is no number"),
        },
        None if status == 204 || status == 304 => 0,
        None => return Parsed::Bad("no content-length"),
    };
    let body_begin = head_end + 4;
    match bytes.get(body_begin..body_begin + length) {
        Some(body) => Parsed::Whole(Answer { status, head, body }, body_begin + length),
        None => Parsed::Partial,
    }
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The value of a header, without the spaces around it.
fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    while let Some(end) = memmem::find(rest, b"\r\n") {
        rest = rest.get(end + 2..)?;
        let (line, after) = rest.split_at_checked(name.len())?;
        let Some(value) = after.strip_prefix(b":").filter(|_| line.eq_ignore_ascii_case(name)) else {
            continue;
        };
        let end = memmem::find(value, b"\r\n").unwrap_or(value.len());
        return Some(value.get(..end)?.trim_ascii());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 29\r\n\r\n{\"a\":\"1\",\"refresh_token\":\"x\"}";

    #[test]
    fn an_answer_is_whole_at_its_last_byte_and_not_before() {
        for end in 0..ANSWER.len() {
            assert_eq!(parse(&ANSWER[..end]), Parsed::Partial, "cut at {end}");
        }
        let two = [ANSWER, b"HTTP/1.1 204"].concat();
        let Parsed::Whole(answer, length) = parse(&two) else {
            panic!("whole")
        };
        assert_eq!((answer.status, length, answer.body.len()), (200, ANSWER.len(), 29));
        assert_eq!(parse(&two[length..]), Parsed::Partial);
    }

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let Parsed::Whole(answer, _) = parse(ANSWER) else {
            panic!("whole")
        };
        assert_eq!(answer.field("refresh_token"), Some("x"));
        assert_eq!(answer.field("token"), None, "the end of another name");
        assert_eq!(answer.field("a"), Some("1"));
        assert_eq!(answer.field("b"), None);
        assert_eq!(answer.header("content-TYPE"), Some("application/json"));
        assert_eq!(answer.header("retry-after"), None);
        let numbers = Answer {
            status: 503,
            head: b"",
            body: b"{\"after_ms\":12,\"retry_after_ms\":1500}",
        };
        assert_eq!(numbers.number("retry_after_ms"), Some(1500));
        assert_eq!((numbers.number("after_ms"), numbers.number("ms")), (Some(12), None));
        assert!(answer.has("\"a\":\"1\"") && !answer.has("\"a\":\"2\""));
    }

    #[test]
    fn heads_of_any_kind() {
        let whole = |bytes: &[u8]| match parse(bytes) {
            Parsed::Whole(answer, length) => (answer.status, answer.closes(), length == bytes.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            whole(b"HTTP/1.1 503 x\r\nConnection: close\r\ncontent-length:0\r\n\r\n"),
            (503, true, true)
        );
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n"), (204, false, true));
        assert_eq!(
            whole(b"HTTP/1.0 200 OK\r\nx-content-length: 9\r\ncontent-length: 0\r\n\r\n"),
            (200, false, true)
        );
        for bad in [
            &b"HTTP/1.1 200 OK\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
        ] {
            assert!(
                matches!(parse(bad), Parsed::Bad(_)),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        assert!(matches!(parse(&[b'x'; HEAD_MAX_BYTES + 1]), Parsed::Bad(_)));
    }
}
