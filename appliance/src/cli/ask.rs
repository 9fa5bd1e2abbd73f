//! What the command line asks of the platform: a request of the admin surface, the same whether it goes through the
//! socket of a running server or is answered in this process.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;

use http::Method;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// What a request carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// JSON, encoded.
    Json(Vec<u8>),
    /// Raw bytes (a chunk of an import).
    Raw(Vec<u8>),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// `GET` or `POST`.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Body.
    pub body: Body,
}

impl Ask {
    /// A GET.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: Body::None,
        }
    }

    /// A POST without a body.
    #[must_use]
    pub fn post(path: impl Into<String>) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: Body::None,
        }
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        // Wire types always encode; should one not, the platform refuses the empty body.
        self.body = Body::Json(serde_json::to_vec(body).unwrap_or_default());
        self
    }

    /// With raw bytes.
    #[must_use]
    pub fn raw(mut self, bytes: Vec<u8>) -> Self {
        self.body = Body::Raw(bytes);
        self
    }

    /// With the fields of `query` as query parameters; absent ones are left out.
    #[must_use]
    pub fn query(mut self, query: &impl Serialize) -> Self {
        let fields: HashMap<String, Value> = serde_json::to_value(query)
            .and_then(serde_json::from_value)
            .unwrap_or_default();
        let mut fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_null()).collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        for (index, (name, value)) in fields.iter().enumerate() {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let separator = if index == 0 { '?' } else { '&' };
            let _ = write!(self.path, "{separator}{name}={}", escaped(&text));
        }
        self
    }
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body; null when it was empty.
    pub body: Value,
}

impl Answer {
    /// The body of a success.
    ///
    /// # Errors
    /// The problem document of a refusal.
    pub fn success(self) -> Result<Value, Failure> {
        if (200..300).contains(&self.status) {
            Ok(self.body)
        } else {
            Err(Failure::Refused(self.body))
        }
    }
}

/// The future of an answer.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + 'a>>;

/// Whoever answers requests of the admin surface.
pub trait AdminClient {
    /// Asks.
    fn call(&self, ask: Ask) -> Answering<'_>;
    /// True when a running server answers.
    fn is_running(&self) -> bool;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queries_are_escaped_and_absent_fields_left_out() {
        let ask = Ask::get("/x").query(&json!({ "b": "a b&c=é", "a": 5, "c": null }));
        assert_eq!(ask.path, "/x?a=5&b=a%20b%26c%3D%C3%A9");
        assert_eq!(Ask::get("/x").query(&json!({})).path, "/x");
    }

    #[test]
    fn a_refusal_keeps_its_problem() {
        let refused = Answer {
            status: 404,
            body: json!({ "code": "game.unknown" }),
        };
        assert!(matches!(refused.success(), Err(Failure::Refused(problem)) if problem["code"] == "game.unknown"));
        assert_eq!(
            Answer {
                status: 201,
                body: json!(1)
            }
            .success()
            .unwrap(),
            json!(1)
        );
    }
}
