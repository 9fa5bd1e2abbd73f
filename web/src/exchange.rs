//! What a handler gets and gives: a request that passed every gate, and an answer still to be dressed.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri};
use seawall_domain::verify::Verified;
use seawall_domain::{Call, Error, GameId, Platform, UnixMs, codes as domain_codes};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admission::Metered;
use crate::app::Inner;
use crate::origin::Origin;
use crate::route::Route;
use crate::{codes, json};

/// `application/json`.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a handler answers with.
pub type Handled = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// A handler: decode, one verb, encode.
pub type Handler = fn(Exchange) -> Handled;

/// A request that passed every gate of its route.
pub struct Exchange {
    pub(crate) app: Arc<Inner>,
    pub(crate) route: &'static Route,
    pub(crate) origin: Arc<Origin>,
    /// Who calls, from where, under which id.
    pub call: Call,
    /// The access token of routes that ask for one; empty on others.
    pub bearer: String,
    pub(crate) uri: Uri,
    pub(crate) path_params: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) charge: Charge,
}

/// Where work is charged that is known only now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    /// Index of the tenant's place.
    pub(crate) place: usize,
    /// The quota of the caller's key, where checks are counted.
    pub(crate) quota: Option<Metered>,
}

/// Tokens of a batch that are as much work as one check: most of a check is its request.
const BATCH_TOKENS_BY_UNIT: usize = 8;

impl Exchange {
    /// The business.
    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.app.platform
    }

    /// Lets a sample of token checks be read again.
    pub fn sample(&self, token: &str, answer: &Verified) {
        self.app.recheck.sample(&self.app.platform, token, answer);
    }

    /// Now.
    #[must_use]
    pub fn now_at(&self) -> UnixMs {
        self.app.clock.now_at()
    }

    /// The call was found to be of `tokens` token checks, of which one was charged when it was let in.
    pub fn charge_batch(&self, tokens: usize) {
        let units = (tokens / BATCH_TOKENS_BY_UNIT) as u64;
        self.app.admission.charge(self.route.class, self.charge.place, units);
        self.charge_checks(tokens.saturating_sub(1) as u64);
    }

    /// Charges token checks to the quota of the key that signed.
    pub(crate) fn charge_checks(&self, checks: u64) {
        if let Some(quota) = self.charge.quota {
            self.app.admission.charge_quota(quota, checks);
        }
    }

    /// The JSON body. Fields nobody knows are counted.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let decoded = json::decode::<T>(if self.body.is_empty() { b"{}" } else { &self.body })?;
        self.app
            .metrics
            .op(Some(self.route.op))
            .unknown_fields(decoded.unknown_fields);
        Ok(decoded.value)
    }

    /// The query string.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Error> {
        axum::extract::Query::<T>::try_from_uri(&self.uri)
            .map(|query| query.0)
            .map_err(|_| codes::QUERY_INVALID.error().with("route", self.route.op))
    }

    /// An identifier in the path.
    pub fn path<T: FromStr>(&self, name: &'static str) -> Result<T, Error> {
        let text = self
            .path_params
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str());
        text.and_then(|text| text.parse().ok()).ok_or_else(|| {
            domain_codes::FIELD_INVALID
                .because(format!("`{name}` in the path is malformed."))
                .with("field", name)
                .with("rule", "malformed")
        })
    }

    /// The raw body.
    #[must_use]
    pub fn raw_body(&self) -> &Bytes {
        &self.body
    }

    /// Names the game in the request's span, so that its log line can be found by it.
    pub fn note_game(&self, game_id: GameId) {
        tracing::Span::current().record("game", game_id.0);
    }
}

/// An answer before its headers.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Media type.
    pub content_type: HeaderValue,
    /// Body.
    pub body: Bytes,
    /// Nothing is sent and the connection ends, for callers that take any answer for a verdict.
    pub is_withheld: bool,
}

/// Marks a response that is not to be sent: its connection, or its HTTP/2 stream, ends without one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Withheld;

impl Answer {
    /// 200 with JSON.
    pub fn ok<T: Serialize>(value: &T) -> Result<Self, Error> {
        Self::json(StatusCode::OK, value)
    }

    /// 201 with JSON.
    pub fn created<T: Serialize>(value: &T) -> Result<Self, Error> {
        Self::json(StatusCode::CREATED, value)
    }

    /// JSON with a status.
    pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Result<Self, Error> {
        let mut body = Vec::with_capacity(512);
        serde_json::to_writer(&mut body, value)
            .map_err(|_| domain_codes::DEFECT.because("The answer could not be encoded; report the request id."))?;
        Ok(Answer {
            status,
            content_type: JSON,
            body: body.into(),
            is_withheld: false,
        })
    }

    /// No answer: the connection ends. Where there is none, as inside the process, it is a bare 503.
    #[must_use]
    pub fn withheld() -> Self {
        Answer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            content_type: JSON,
            body: Bytes::new(),
            is_withheld: true,
        }
    }

    /// A text of another media type.
    #[must_use]
    pub fn text(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Answer {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static(content_type),
            body: body.into(),
            is_withheld: false,
        }
    }
}
