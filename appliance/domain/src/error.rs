//! One error vocabulary without a transport: a kind says how a caller must behave, a code says what happened, the
//! detail says what to do. The web layer turns kinds into status codes and nothing else.

use std::collections::BTreeMap;

/// How the caller must behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed or breaks a stated rule; repeating it is useless (400).
    Invalid,
    /// The credential is proven bad (401). Never used for our own trouble.
    Unauthenticated,
    /// The caller is known and may not do this (403).
    Forbidden,
    /// The named thing does not exist (404).
    NotFound,
    /// The state does not allow it, or an idempotency key was used for something else (409).
    Conflict,
    /// The body or a batch is larger than its named limit (413).
    TooLarge,
    /// The caller's own quota is used up (429); carries `retry_after_ms`.
    Limited,
    /// Our own trouble; the outcome may be unknown (503); carries `retry_after_ms`.
    Unavailable,
    /// A defect (500).
    Internal,
}

/// A stable error code, an entry of [`crate::codes::CODES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code {
    /// `noun.what`, never renamed.
    pub name: &'static str,
    /// How the caller must behave.
    pub kind: Kind,
    /// For the reference: what it means and what to do.
    pub doc: &'static str,
}

impl Code {
    /// An error of this code with its standard text.
    #[must_use]
    pub fn error(&self) -> Error {
        self.because(self.doc)
    }

    /// An error of this code with a text of its own (English, no secret).
    #[must_use]
    pub fn because(&self, detail: impl Into<String>) -> Error {
        Error {
            code: *self,
            detail: detail.into(),
            params: BTreeMap::new(),
            retry_after_ms: None,
        }
    }
}

/// A typed parameter of an error, so that clients can translate.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Param {
    /// A text.
    Text(String),
    /// A whole number, for example a limit or an instant.
    Number(u64),
}

/// A refusal or a failure, for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", code.name)]
pub struct Error {
    /// What happened.
    pub code: Code,
    /// What is wrong and what to do, in English. Holds no secret.
    pub detail: String,
    /// Typed values of the message.
    pub params: BTreeMap<&'static str, Param>,
    /// When to try again; always set for [`Kind::Limited`] and [`Kind::Unavailable`] by the time it is sent.
    pub retry_after_ms: Option<u64>,
}

impl Error {
    /// Adds a text parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.params.insert(name, Param::Text(value.into()));
        self
    }

    /// Adds a number parameter.
    #[must_use]
    pub fn with_number(mut self, name: &'static str, value: u64) -> Self {
        self.params.insert(name, Param::Number(value));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}
