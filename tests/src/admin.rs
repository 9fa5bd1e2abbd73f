//! Asks a server over its admin socket: HTTP/1.1, one connection per request, no library.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::server::{Answer, Failure};

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// An operator's request body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// None.
    None,
    /// JSON.
    Json(&'a Value),
    /// Lines of an import.
    Lines(&'a str),
}

/// An operator on the host.
#[derive(Debug, Clone)]
pub struct Admin {
    socket: PathBuf,
}

impl Admin {
    /// Of the server that listens on `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.ask("GET", path, Body::None)
    }

    /// POST.
    pub fn post(&self, path: &str, body: Body<'_>) -> Result<Answer, Failure> {
        self.ask("POST", path, body)
    }

    fn ask(&self, method: &str, path: &str, body: Body<'_>) -> Result<Answer, Failure> {
        let (content_type, bytes) = match body {
            Body::None => ("", Vec::new()),
            Body::Json(json) => ("content-type: application/json\r\n", json.to_string().into_bytes()),
            Body::Lines(lines) => ("content-type: application/octet-stream\r\n", lines.as_bytes().to_vec()),
        };
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        stream.set_write_timeout(Some(ANSWER_MAX))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{content_type}content-length: {}\r\n\r\n",
            bytes.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(&bytes)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| "the admin socket's answer was cut off".into())
    }
}

/// Status and body; `None` when the answer is not whole.
fn parse(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>())
    });
    let length = length.unwrap_or(Ok(0)).ok()?;
    let body = body.get(..length)?;
    Some(Answer {
        status,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_answer_is_read_and_a_cut_one_is_none() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 7\r\nx: y\r\n\r\n{\"a\":1}";
        let parsed = parse(answer).unwrap();
        assert_eq!((parsed.status, &parsed.body["a"]), (201, &Value::from(1)));
        for end in 0..answer.len() {
            assert!(parse(&answer[..end]).is_none(), "cut at {end}");
        }
    }
}
