//! The one application behind all listeners, and inside the process for the command line and tests.
//!
//! A request goes: request id, host and size of the head, preflight, surface of the listener, router, the gates of its
//! route ([`crate::endpoint`]), handler; the answer is dressed on the way back.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodFilter, MethodRouter};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use seawall_domain::ports::{Clock, Entropy};
use seawall_domain::{ClientAddress, Error, Platform};
use tokio::runtime::Handle;
use tower::Service;
use tracing::Instrument;

use crate::admission::alarm::Alarm;
use crate::admission::{Admission, AdmissionOptions, Class, PlayersWork};
use crate::host::Host;
use crate::limits::{HEADER_MAX_BYTES, HEADER_MAX_COUNT, Limits, URI_MAX_BYTES};
use crate::listener::drain::DrainSignal;
use crate::metrics::HttpMetrics;
use crate::origin::{Origin, Surface};
use crate::problem::{self, Challenge};
use crate::recheck::Recheck;
use crate::route::Route;
use crate::routes::ROUTES;
use crate::trace::{RequestId, TRACEPARENT, X_REQUEST_ID};
use crate::{codes, cors, endpoint};

/// Everything the application needs from outside.
pub struct AppOptions {
    /// The business.
    pub platform: Platform,
    /// The process around it.
    pub host: Arc<dyn Host>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for request ids.
    pub entropy: Arc<dyn Entropy>,
    /// From [`HttpMetrics::register`] on `registry`.
    pub metrics: HttpMetrics,
    /// What `/metrics` shows.
    pub registry: Arc<Registry>,
    /// Limits.
    pub limits: Limits,
}

/// What every request reaches.
pub(crate) struct Inner {
    pub(crate) platform: Platform,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: HttpMetrics,
    pub(crate) registry: Arc<Registry>,
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) alarm: Alarm,
    pub(crate) recheck: Recheck,
    pub(crate) drain: DrainSignal,
    openapi: Mutex<HashMap<Vec<Surface>, Bytes>>,
}

impl Inner {
    /// Are so many connections in service that idle ones shall rest sooner?
    pub(crate) fn is_crowded(&self) -> bool {
        usize::try_from(self.metrics.in_service.get()).is_ok_and(|count| count > self.limits.crowd_connections)
    }

    /// The OpenAPI document of some surfaces; made once for each listener's set.
    pub(crate) fn openapi(&self, surfaces: &[Surface]) -> Bytes {
        let mut made = self.openapi.lock();
        let document = made
            .entry(surfaces.to_vec())
            .or_insert_with(|| crate::openapi::document(surfaces).to_string().into());
        document.clone()
    }
}

/// What the gates learnt of one request before its route was known.
#[derive(Clone)]
pub(crate) struct Facts {
    pub(crate) origin: Arc<Origin>,
    pub(crate) client: ClientAddress,
    pub(crate) request_id: RequestId,
    pub(crate) started: Instant,
    /// What it waited for its turn before that.
    pub(crate) waited: Duration,
}

/// The application. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) inner: Arc<Inner>,
    /// Routes without parameters, by path: found without the router, which costs a good part of a token check.
    fixed: Arc<HashMap<&'static str, Vec<&'static Route>>>,
    router: Router,
}

impl App {
    /// Builds the router from [`ROUTES`].
    #[must_use]
    pub fn new(options: AppOptions) -> Self {
        let mut rank_key = [0; 32];
        options.entropy.fill(&mut rank_key);
        let admission = Admission::new(
            options.limits.admission.clone(),
            options.limits.in_flight_max,
            rank_key,
            Arc::clone(&options.metrics.admission),
        );
        let recheck = Recheck::new(options.limits.verify_recheck_every, options.metrics.rechecked.clone());
        let inner = Arc::new(Inner {
            platform: options.platform,
            host: options.host,
            clock: options.clock,
            entropy: options.entropy,
            metrics: options.metrics,
            registry: options.registry,
            limits: options.limits,
            admission,
            alarm: Alarm::default(),
            recheck,
            drain: DrainSignal::default(),
            openapi: Mutex::default(),
        });
        let router = router(&inner);
        let mut fixed: HashMap<&'static str, Vec<&'static Route>> = HashMap::new();
        for route in ROUTES.iter().filter(|route| !route.path.contains('{')) {
            fixed.entry(route.path).or_default().push(route);
        }
        App {
            inner,
            fixed: Arc::new(fixed),
            router,
        }
    }

    /// Begins to control admission by load, on the current runtime, beside the `players` runtime where they have one of
    /// their own; a serving process calls it once. Until then, and
    /// after [`App::stop_admission`], only the caps on requests in flight hold. How it is doing is in `admission.show`.
    pub fn start_admission(&self, players: &Handle) {
        self.inner
            .admission
            .start(Arc::clone(&self.inner.host), Arc::clone(&self.inner.clock), players);
        self.inner.alarm.start(&self.inner.admission, &self.inner.platform);
    }

    /// What was done for players so far.
    #[must_use]
    pub fn players_work(&self) -> PlayersWork {
        self.inner.admission.players_work()
    }

    /// Ends it, when nobody calls any more: whoever drains is still asked as much as before.
    pub fn stop_admission(&self) {
        self.inner.alarm.stop(&self.inner.platform);
        self.inner.admission.stop();
    }

    /// Other options of admission from now on; the cap on requests in flight stays.
    pub fn set_admission(&self, options: AdmissionOptions) {
        self.inner.admission.set_options(options);
    }

    /// Calls inside the process, as the operator `uid`; every surface is open.
    pub async fn call(&self, operator_uid: u32, request: Request<Bytes>) -> Response<Bytes> {
        let origin = Arc::new(Origin::in_process(&Surface::ALL, operator_uid, self.seed()));
        self.call_from(&origin, request).await
    }

    /// Calls inside the process from an origin of the caller's making; for tests of the gates.
    pub async fn call_from(&self, origin: &Arc<Origin>, request: Request<Bytes>) -> Response<Bytes> {
        self.respond(origin, request.map(Full::new)).await
    }

    /// 16 unpredictable bytes for an origin's request ids.
    #[must_use]
    pub fn seed(&self) -> [u8; 16] {
        let mut seed = [0; 16];
        self.inner.entropy.fill(&mut seed);
        seed
    }

    /// Answers one request of a connection.
    pub async fn respond<B>(&self, origin: &Arc<Origin>, request: Request<B>) -> Response<Bytes>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        self.respond_after(Duration::ZERO, origin, request).await
    }

    /// Answers a request that waited so long for its turn, which is part of its caller's time.
    pub(crate) async fn respond_after<B>(
        &self,
        waited: Duration,
        origin: &Arc<Origin>,
        request: Request<B>,
    ) -> Response<Bytes>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let started = Instant::now();
        let request_id = origin.request_ids.of(request.headers());
        let surface = Surface::of_path(request.uri().path());
        let (version, allowed_origin) = (request.version(), self.allowed_origin(surface, request.headers()));
        let fixed = self.fixed_route(&request);
        let span = request_span(fixed, request_id);
        let mut answer = match self.before_routing(origin, surface, &request) {
            Before::Answer(answer) => answer,
            Before::Refuse(error) => self.refused(&error, request_id, started),
            Before::Go => {
                let client = origin.client_address(request.headers());
                let facts = Facts {
                    origin: Arc::clone(origin),
                    client,
                    request_id,
                    started,
                    waited,
                };
                // Moving the future into a span costs more than the span; so only when there is one.
                if span.is_disabled() {
                    self.routed(facts, fixed, request).await
                } else {
                    Box::pin(self.routed(facts, fixed, request))
                        .instrument(span.clone())
                        .await
                }
            }
        };
        span.record("status", answer.status().as_u16());
        tracing::debug!(parent: &span, took_us = started.elapsed().as_micros(), "answered");
        if let Some(origin) = allowed_origin {
            cors::permit(origin, answer.headers_mut());
        }
        self.dress(version, request_id, answer.headers_mut());
        answer
    }

    /// The route of a path without parameters.
    fn fixed_route<B>(&self, request: &Request<B>) -> Option<&'static Route> {
        let at_path = self.fixed.get(request.uri().path())?;
        at_path.iter().find(|route| route.method() == request.method()).copied()
    }

    /// Hands the request to its route, the fixed one or the one the router finds.
    async fn routed<B>(&self, facts: Facts, fixed: Option<&'static Route>, request: Request<B>) -> Response<Bytes>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        if let Some(route) = fixed {
            let (parts, body) = request.into_parts();
            return endpoint::respond(&self.inner, route, &facts, parts, body).await;
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(facts);
        let Ok(answer) = self.router.clone().call(request).await;
        let (parts, body) = answer.into_parts();
        // Answers are whole in memory: collecting neither waits nor fails.
        let bytes = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        Response::from_parts(parts, bytes)
    }

    /// What is answered before the route is known.
    fn before_routing<B>(&self, origin: &Origin, surface: Option<Surface>, request: &Request<B>) -> Before {
        let (uri, headers) = (request.uri(), request.headers());
        if cors::is_preflight(request.method(), headers, surface) {
            return Before::Answer(cors::preflight(headers, |origin| {
                self.inner.platform.origin_allowed(origin)
            }));
        }
        let path_bytes = uri.path_and_query().map_or(0, |path| path.as_str().len());
        if path_bytes > URI_MAX_BYTES {
            return Before::Refuse(codes::URI_TOO_LONG.error());
        }
        if headers.len() > HEADER_MAX_COUNT || header_bytes(headers) > HEADER_MAX_BYTES {
            return Before::Refuse(codes::HEADER_TOO_LARGE.error());
        }
        if !serves_host(&origin.listener.hosts, uri.host(), headers) {
            return Before::Refuse(codes::HOST_UNKNOWN.error());
        }
        match surface {
            Some(surface) if !origin.listener.surfaces.contains(&surface) => {
                Before::Refuse(codes::ROUTE_UNKNOWN.error())
            }
            _ => Before::Go,
        }
    }

    fn allowed_origin(&self, surface: Option<Surface>, headers: &HeaderMap) -> Option<HeaderValue> {
        let is_public = surface == Some(Surface::Sdk);
        is_public.then(|| cors::allowed_origin(headers, |origin| self.inner.platform.origin_allowed(origin)))?
    }

    fn refused(&self, error: &Error, request_id: RequestId, started: Instant) -> Response<Bytes> {
        let answer = problem::render(error, request_id, self.inner.clock.now_at(), Challenge::Bearer);
        self.inner.metrics.op(None).answered(answer.status(), started.elapsed());
        answer
    }

    /// Headers every answer carries.
    fn dress(&self, version: Version, request_id: RequestId, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, request_id.traceparent());
        if let Ok(id) = HeaderValue::from_bytes(request_id.hex().as_bytes()) {
            headers.insert(X_REQUEST_ID, id);
        }
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        if version < Version::HTTP_2 && self.inner.drain.is_draining() {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if version >= Version::HTTP_2 {
            headers.remove(CONNECTION);
        }
    }
}

/// The span of a request. Token checks are a hundred times as many as everything else, and a span that is written costs
/// a fifth of a check: theirs shows at level debug, all others at info.
fn request_span(fixed: Option<&'static Route>, request_id: RequestId) -> tracing::Span {
    let empty = tracing::field::Empty;
    let request_id = request_id.hex();
    if fixed.is_some_and(|route| route.class == Class::Verify) {
        tracing::debug_span!(
            "request",
            op = empty,
            request_id = request_id.as_str(),
            status = empty,
            game = empty
        )
    } else {
        tracing::info_span!(
            "request",
            op = empty,
            request_id = request_id.as_str(),
            status = empty,
            game = empty
        )
    }
}

enum Before {
    Answer(Response<Bytes>),
    Refuse(Error),
    Go,
}

/// Sum of names and values.
fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// True when the listener serves the host of the request line or the `Host` header, or has no list. An address is never
/// in a list of names, so health checks by address need a listener without one.
fn serves_host(hosts: &[String], of_uri: Option<&str>, headers: &HeaderMap) -> bool {
    if hosts.is_empty() {
        return true;
    }
    let named = of_uri.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
    let is_v6 = named.starts_with('[') && named.ends_with(']');
    let bare = match named.rsplit_once(':') {
        Some((host, port)) if !is_v6 && u16::from_str(port).is_ok() => host,
        _ => named,
    };
    let bare = bare.trim_start_matches('[').trim_end_matches(']');
    let matches = |host: &String| match (IpAddr::from_str(host), IpAddr::from_str(bare)) {
        (Ok(listed), Ok(asked)) => listed == asked,
        _ => host.eq_ignore_ascii_case(bare.trim_end_matches('.')),
    };
    hosts.iter().any(matches)
}

/// One axum route per path, one method handler per entry of [`ROUTES`].
fn router(inner: &Arc<Inner>) -> Router {
    let mut paths: BTreeMap<&'static str, MethodRouter> = BTreeMap::new();
    for route in ROUTES {
        let app = Arc::clone(inner);
        let handler = move |request: axum::extract::Request| {
            let app = Arc::clone(&app);
            async move {
                let (mut parts, body) = request.into_parts();
                match parts.extensions.remove::<Facts>() {
                    Some(facts) => endpoint::respond(&app, route, &facts, parts, body)
                        .await
                        .map(Body::from),
                    None => Response::new(Body::empty()),
                }
            }
        };
        let filter = MethodFilter::try_from(route.method()).unwrap_or(MethodFilter::GET);
        let methods = paths.remove(route.path).unwrap_or_default();
        paths.insert(route.path, methods.on(filter, handler));
    }
    let fallback = |refuse: fn(&Arc<Inner>, &axum::extract::Request) -> Response<Body>| {
        let app = Arc::clone(inner);
        move |request: axum::extract::Request| {
            let answer = refuse(&app, &request);
            async move { answer }
        }
    };
    let router = paths
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods));
    router
        .fallback(fallback(unknown_route))
        .method_not_allowed_fallback(fallback(wrong_method))
}

fn unknown_route(app: &Arc<Inner>, request: &axum::extract::Request) -> Response<Body> {
    refused_unrouted(app, request, &codes::ROUTE_UNKNOWN.error())
}

fn wrong_method(app: &Arc<Inner>, request: &axum::extract::Request) -> Response<Body> {
    let mut answer = refused_unrouted(app, request, &codes::METHOD.error());
    let path = request.uri().path();
    let methods: Vec<http::Method> = ROUTES
        .iter()
        .filter(|r| r.matches_path(path))
        .map(|r| r.method())
        .collect();
    if let Ok(allow) = HeaderValue::from_str(&methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ")) {
        answer.headers_mut().insert(http::header::ALLOW, allow);
    }
    answer
}

fn refused_unrouted(app: &Inner, request: &axum::extract::Request, error: &Error) -> Response<Body> {
    let Some(facts) = request.extensions().get::<Facts>() else {
        return Response::new(Body::empty());
    };
    let answer = problem::render(error, facts.request_id, app.clock.now_at(), Challenge::Bearer);
    app.metrics.op(None).answered(answer.status(), facts.started.elapsed());
    answer.map(Body::from)
}
