//! What a route is: one operation with its path, its gates, its wire types and its handler. The list of them is
//! [`crate::routes`].

use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use seawall_domain::{Code, codes};
use serde::de::DeserializeOwned;

use crate::admission::Class;
use crate::body::BodyRule;
use crate::codes as transport;
use crate::exchange::Handler;
use crate::limits::BODY_MAX_BYTES;
use crate::origin::Surface;

/// Codes any request can meet, whatever its route.
pub const ANYWHERE: &[Code] = &[
    transport::REQUEST_MALFORMED,
    transport::ROUTE_UNKNOWN,
    transport::METHOD,
    transport::URI_TOO_LONG,
    transport::HEADER_TOO_LARGE,
    transport::HOST_UNKNOWN,
    transport::PEER_FORBIDDEN,
    transport::CONNECTION_LIMIT,
    codes::OVERLOADED,
    transport::OVERLOAD_DEADLINE,
    codes::STORE_BUSY,
    codes::STORE_FULL,
    codes::OUTCOME_UNKNOWN,
    codes::DEFECT,
];

const SIGNATURE: &[Code] = &[
    codes::SIGNATURE_MISSING,
    codes::SIGNATURE_KEY_UNKNOWN,
    codes::SIGNATURE_SKEWED,
    codes::SIGNATURE_INVALID,
];

const JSON_BODY: &[Code] = &[
    transport::MALFORMED_JSON,
    transport::DUPLICATE_KEY,
    transport::TOO_LARGE,
    transport::CONTENT_TYPE,
    transport::TIMEOUT,
    codes::FIELD_INVALID,
];

/// How a caller proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Not at all; the body may hold a credential.
    None,
    /// `Authorization: Bearer` with a player's access token.
    Bearer,
    /// A game server's signature; nonces are remembered only where something changes.
    Signed {
        /// Changes something.
        changes_something: bool,
    },
    /// By being the peer of the root-only socket.
    Socket,
}

/// Whether an `Idempotency-Key` is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdempotencyRule {
    /// Ignored.
    None,
    /// Taken when there.
    Optional,
    /// 400 without.
    Required,
}

/// A body or query type: its schema, and whether an example is one.
#[derive(Clone, Copy)]
pub struct Wire {
    /// JSON Schema.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Decodes a sample.
    pub accepts: fn(&str) -> Result<(), serde_json::Error>,
}

/// The wire type `T`.
#[must_use]
pub const fn of<T: JsonSchema + DeserializeOwned>() -> Wire {
    Wire {
        schema: |generator| generator.subschema_for::<T>(),
        accepts: |text| serde_json::from_str::<T>(text).map(drop),
    }
}

/// One operation.
pub struct Route {
    is_post: bool,
    /// Path, parameters in braces.
    pub path: &'static str,
    /// `noun.verb`.
    pub op: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Door.
    pub surface: Surface,
    /// Proof of identity.
    pub auth: Auth,
    /// Idempotency key.
    pub idempotency: IdempotencyRule,
    /// Importance.
    pub class: Class,
    /// Does it use up the token checks a second of its server key?
    pub is_metered: bool,
    /// What body it takes.
    pub body: BodyRule,
    /// Largest body.
    pub body_max_bytes: usize,
    /// Type of the body.
    pub request: Option<Wire>,
    /// Type of the query string.
    pub query: Option<Wire>,
    /// Type of the answer; none for an answer that is no JSON or has no fixed shape.
    pub response: Option<Wire>,
    /// Status of success.
    pub status: u16,
    /// Errors of its own, beside those of its gates.
    pub errors: &'static [Code],
    /// Sample body.
    pub request_example: Option<&'static str>,
    /// Sample answer.
    pub response_example: Option<&'static str>,
    /// Decode, one verb, encode.
    pub handler: Handler,
}

impl Route {
    const fn new(
        surface: Surface,
        auth: Auth,
        is_post: bool,
        path: &'static str,
        op: &'static str,
        handler: Handler,
    ) -> Self {
        Route {
            is_post,
            path,
            op,
            summary: "",
            surface,
            auth,
            idempotency: IdempotencyRule::None,
            class: Class::Vital,
            is_metered: false,
            body: BodyRule::None,
            body_max_bytes: BODY_MAX_BYTES,
            request: None,
            query: None,
            response: None,
            status: 200,
            errors: &[],
            request_example: None,
            response_example: None,
            handler,
        }
    }

    pub(crate) const fn sdk(
        is_post: bool,
        path: &'static str,
        op: &'static str,
        class: Class,
        handler: Handler,
    ) -> Self {
        let mut route = Route::new(Surface::Sdk, Auth::None, is_post, path, op, handler);
        route.class = class;
        if is_post {
            route.idempotency = IdempotencyRule::Optional;
        }
        route
    }

    pub(crate) const fn server(
        path: &'static str,
        op: &'static str,
        changes_something: bool,
        handler: Handler,
    ) -> Self {
        let mut route = Route::new(
            Surface::Server,
            Auth::Signed { changes_something },
            true,
            path,
            op,
            handler,
        );
        route.class = Class::Verify;
        if changes_something {
            route.idempotency = IdempotencyRule::Required;
        }
        route
    }

    pub(crate) const fn admin(is_post: bool, path: &'static str, op: &'static str, handler: Handler) -> Self {
        Route::new(Surface::Admin, Auth::Socket, is_post, path, op, handler)
    }

    pub(crate) const fn ops(path: &'static str, op: &'static str, handler: Handler) -> Self {
        Route::new(Surface::Ops, Auth::None, false, path, op, handler)
    }

    pub(crate) const fn bearer(mut self) -> Self {
        self.auth = Auth::Bearer;
        self
    }

    pub(crate) const fn metered(mut self) -> Self {
        self.is_metered = true;
        self
    }

    pub(crate) const fn takes(mut self, request: Wire, example: &'static str) -> Self {
        self.body = BodyRule::Json;
        self.request = Some(request);
        self.request_example = Some(example);
        self
    }

    pub(crate) const fn takes_optionally(mut self, request: Wire, example: &'static str) -> Self {
        self = self.takes(request, example);
        self.body = BodyRule::OptionalJson;
        self
    }

    pub(crate) const fn takes_up_to(mut self, request: Wire, example: &'static str, max_bytes: usize) -> Self {
        self = self.takes(request, example);
        self.body_max_bytes = max_bytes;
        self
    }

    pub(crate) const fn takes_raw(mut self, max_bytes: usize) -> Self {
        self.body = BodyRule::Raw;
        self.body_max_bytes = max_bytes;
        self
    }

    pub(crate) const fn asks(mut self, query: Wire) -> Self {
        self.query = Some(query);
        self
    }

    pub(crate) const fn gives(mut self, response: Wire, example: &'static str) -> Self {
        self.response = Some(response);
        self.response_example = Some(example);
        self
    }

    pub(crate) const fn created(mut self) -> Self {
        self.status = 201;
        self
    }

    pub(crate) const fn fails(mut self, errors: &'static [Code]) -> Self {
        self.errors = errors;
        self
    }

    pub(crate) const fn says(mut self, summary: &'static str) -> Self {
        self.summary = summary;
        self
    }

    /// GET or POST; there is no other, since firewalls refuse the rest.
    #[must_use]
    pub fn method(&self) -> Method {
        if self.is_post { Method::POST } else { Method::GET }
    }

    /// Every code the route can answer with, beside those any request can meet ([`ANYWHERE`]): its own and those of
    /// its gates.
    #[must_use]
    pub fn all_errors(&self) -> Vec<Code> {
        let auth: &[Code] = match self.auth {
            Auth::None => &[],
            Auth::Bearer => &[
                codes::TOKEN_MISSING,
                codes::SESSION_INVALID,
                codes::ACCOUNT_DELETED,
                codes::NOT_READY,
            ],
            Auth::Signed {
                changes_something: false,
            } => SIGNATURE,
            Auth::Signed {
                changes_something: true,
            } => &[
                codes::SIGNATURE_MISSING,
                codes::SIGNATURE_KEY_UNKNOWN,
                codes::SIGNATURE_SKEWED,
                codes::SIGNATURE_INVALID,
                codes::SIGNATURE_REPLAYED,
            ],
            Auth::Socket => &[],
        };
        let quota: &[Code] = if self.is_metered {
            &[transport::LIMIT_SERVER_KEY]
        } else {
            &[]
        };
        let idempotency: &[Code] = match self.idempotency {
            IdempotencyRule::None => &[],
            IdempotencyRule::Optional => &[transport::IDEMPOTENCY_MALFORMED, codes::IDEMPOTENCY_MISMATCH],
            IdempotencyRule::Required => &[
                codes::IDEMPOTENCY_REQUIRED,
                transport::IDEMPOTENCY_MALFORMED,
                codes::IDEMPOTENCY_MISMATCH,
            ],
        };
        let body: &[Code] = match self.body {
            BodyRule::None => &[],
            BodyRule::Raw => &[transport::TOO_LARGE, transport::TIMEOUT],
            BodyRule::Json | BodyRule::OptionalJson => JSON_BODY,
        };
        let query: &[Code] = if self.query.is_some() {
            &[transport::QUERY_INVALID]
        } else {
            &[]
        };
        // An import's id is a text, which is known or not; all other parameters are numbers.
        let path: &[Code] = if self.path.contains('{') && !self.path.contains("{import_id}") {
            &[codes::FIELD_INVALID]
        } else {
            &[]
        };
        let mut all: Vec<Code> = [auth, quota, idempotency, body, query, path, self.errors].concat();
        all.sort_by_key(|code| code.name);
        all.dedup();
        all
    }

    /// True when a concrete path is one of this route's.
    #[must_use]
    pub fn matches_path(&self, path: &str) -> bool {
        let mut asked = path.split('/');
        let all_equal = self.path.split('/').all(|own| {
            let part = asked.next();
            if own.starts_with('{') {
                part.is_some_and(|part| !part.is_empty())
            } else {
                part == Some(own)
            }
        });
        all_equal && asked.next().is_none()
    }

    /// The path with its parameters filled in, in order.
    #[must_use]
    pub fn path_with(&self, params: &[&str]) -> String {
        let mut params = params.iter();
        let parts = self.path.split('/').map(|part| {
            if part.starts_with('{') {
                params.next().copied().unwrap_or(part)
            } else {
                part
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }
}
