//! One request of a known route through its gates, in this order: admission, body, the caller's deadline, who calls,
//! idempotency key, handler (with a deadline, and a panic answered as 500).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, RawPathParams};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body;
use seawall_domain::{Call, Caller, Error, Idempotency, codes};

use crate::admission::waiting::Entrant;
use crate::admission::{Class, Knock, Permit, Shed, Tenant, hints};
use crate::app::{Facts, Inner};
use crate::body::{self, Refusal};
use crate::departure::{self, Work};
use crate::exchange::{Answer, Charge, Exchange, Withheld};
use crate::limits::{BODY_MAX_BYTES, USER_AGENT_MAX_BYTES};
use crate::listener::turnstile::Line;
use crate::problem::{self, Advice, Challenge};
use crate::route::{Auth, IdempotencyRule, Route};
use crate::signed;

/// Answers one request of `route`, dressing refusals as problems and counting the outcome.
pub async fn respond<B>(
    app: &Arc<Inner>,
    route: &'static Route,
    facts: &Facts,
    parts: Parts,
    body: B,
) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
{
    tracing::Span::current().record("op", route.op);
    let (entrant, admitted) = admit(app, route, facts, &parts.headers);
    let answer = match admitted {
        Ok(permit) => worked_on(app, route, facts, permit, entrant, parts, body).await,
        Err(shed) => turned_away(app, route, facts, (shed, entrant), &parts.headers, body).await,
    };
    app.metrics
        .op(Some(route.op))
        .answered(answer.status(), facts.started.elapsed());
    answer
}

/// Lets the request in by its head alone.
fn admit<'a>(
    app: &'a Inner,
    route: &Route,
    facts: &Facts,
    headers: &HeaderMap,
) -> (Option<Box<Entrant>>, Result<Permit<'a>, Shed>) {
    let figures = &app.metrics.admission;
    let is_vital = route.class == Class::Vital;
    let knock = Knock {
        class: route.class,
        tenant: if is_vital {
            Tenant::Others
        } else {
            hints::tenant(&app.platform, route, headers, &facts.origin.request_ids, figures)
        },
        attempt: if is_vital { 1 } else { hints::attempt(headers, figures) },
        is_metered: route.is_metered,
        now_us: app.admission.us(facts.started),
    };
    let subject = || hints::subject(route, headers, facts, figures);
    let mut entrant = Entrant::of(app, route, headers, knock.tenant);
    let admitted = match &mut entrant {
        Some(entrant) => entrant.admit(app, &knock, subject),
        None => app.admission.admit(&knock, subject),
    };
    // Health is let in whoever asks, which says nothing of them.
    if admitted.is_ok() && !is_vital {
        facts.origin.request_ids.pace.admitted();
    }
    (entrant, admitted)
}

/// Answers a request that was not let in. Who keeps asking waits for the answer.
async fn turned_away<B>(
    app: &Inner,
    route: &Route,
    facts: &Facts,
    (shed, entrant): (Shed, Option<Box<Entrant>>),
    headers: &HeaderMap,
    body: B,
) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
{
    let body_deadline = facts.started + Duration::from_millis(app.limits.body_ms);
    let is_whole = body::pass_over(headers, body, body_deadline.into()).await;
    let patience_ms = hints::deadline_ms(headers, &app.metrics.admission);
    let hold = facts.origin.request_ids.pace.refused(
        app.admission.us(facts.started) / 1000,
        patience_ms,
        app.admission.held(),
    );
    if !hold.is_zero()
        && let Some(_held) = app.admission.hold_one()
    {
        tokio::time::sleep(hold).await;
    }
    let advice = entrant.map(|entrant| entrant.after_shed(app, shed, facts.request_id));
    shed_answer(app, route, facts, shed, &advice.unwrap_or_default(), !is_whole)
}

fn shed_answer(app: &Inner, route: &Route, facts: &Facts, shed: Shed, advice: &Advice, close: bool) -> Response<Bytes> {
    let now_at = app.clock.now_at();
    let prepared = app.admission.prepared();
    let mut response = prepared.render(shed, route.class, facts.request_id, now_at, advice);
    if close {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Takes a request that was let in through the other gates, and counts whether its answer was in time.
async fn worked_on<B>(
    app: &Arc<Inner>,
    route: &'static Route,
    facts: &Facts,
    permit: Permit<'_>,
    entrant: Option<Box<Entrant>>,
    parts: Parts,
    body: B,
) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
{
    let tenant = permit.tenant();
    let deadline = permit.deadline_ms.map(|of_class_ms| {
        let said_ms = hints::deadline_ms(&parts.headers, &app.metrics.admission);
        let ms = said_ms.unwrap_or(of_class_ms).min(app.limits.total_ms);
        Deadline {
            at: facts.started + Duration::from_millis(ms).saturating_sub(facts.waited),
            is_said: said_ms.is_some(),
        }
    });
    let response = match through_gates(app, route, facts, &permit, deadline, parts, body).await {
        Ok(answer) => dressed(answer),
        Err(Stopped::Refused(refusal)) => {
            let advice = entrant.map(|entrant| entrant.after_error(app, &refusal.error, facts.request_id));
            refused(app, route, facts, &refusal, advice.unwrap_or_default())
        }
        Err(Stopped::Late(shed)) => shed_answer(app, route, facts, shed, &Advice::default(), false),
    };
    // Its next request waits with those who ask for what this one was answered for, whatever it says then.
    let is_good = response.status().is_success() && route.class != Class::Vital;
    if let Some(pulse) = facts.origin.pulse.as_ref().filter(|_| is_good) {
        pulse.answered_for(Line {
            tenant: tenant.code(),
            class: route.class,
        });
    }
    let is_ours = response.status().is_server_error();
    if !is_ours && deadline.is_none_or(|deadline| Instant::now() <= deadline.at) {
        app.metrics.admission.class(route.class).in_time.inc();
    }
    response
}

/// Until when a caller waits.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    /// The caller said so; else its class is taken to.
    is_said: bool,
}

impl Deadline {
    /// On the boot-time clock, which now reads `boot_ms`.
    fn boot_ms(self, now: Instant, boot_ms: u64) -> u64 {
        let left = self.at.saturating_duration_since(now);
        boot_ms.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Why a request that was let in has no answer of its handler.
enum Stopped {
    Refused(Refusal),
    /// The caller waits no more.
    Late(Shed),
}

impl<E: Into<Refusal>> From<E> for Stopped {
    fn from(refused: E) -> Self {
        Stopped::Refused(refused.into())
    }
}

fn dressed(answer: Answer) -> Response<Bytes> {
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, answer.content_type);
    if answer.is_withheld {
        response.extensions_mut().insert(Withheld);
    }
    response
}

fn refused(app: &Inner, route: &Route, facts: &Facts, refusal: &Refusal, advice: Advice) -> Response<Bytes> {
    let challenge = if matches!(route.auth, Auth::Signed { .. }) {
        Challenge::Signature
    } else {
        Challenge::Bearer
    };
    let now_at = app.clock.now_at();
    let mut response = problem::render_with(&refusal.error, facts.request_id, now_at, challenge, advice);
    if refusal.close {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a route takes: the ordinary limit, or one of its own where it needs more or less.
fn body_max_bytes(app: &Inner, route: &Route) -> usize {
    if route.body_max_bytes == BODY_MAX_BYTES {
        app.limits.body_max_bytes
    } else {
        route.body_max_bytes
    }
}

async fn through_gates<B>(
    app: &Arc<Inner>,
    route: &'static Route,
    facts: &Facts,
    permit: &Permit<'_>,
    deadline: Option<Deadline>,
    mut parts: Parts,
    body: B,
) -> Result<Answer, Stopped>
where
    B: Body<Data = Bytes>,
{
    let body_deadline = facts.started + Duration::from_millis(app.limits.body_ms);
    let body = body::read(
        route.body,
        &parts.headers,
        body,
        body_max_bytes(app, route),
        body_deadline.into(),
    )
    .await?;
    let now = Instant::now();
    if deadline.is_some_and(|deadline| now > deadline.at)
        && let Some(shed) = app.admission.too_late(route.class)
    {
        return Err(Stopped::Late(shed));
    }
    app.metrics
        .admission
        .class(route.class)
        .wait_us
        .inc_by(micros(now.saturating_duration_since(facts.started) + facts.waited));
    let authenticated = authenticate(app, route, facts, &parts, &body);
    if route.class != Class::Vital {
        let is_proven = matches!(&authenticated, Ok((Caller::Server { .. }, _)));
        facts.origin.lane.asked(is_proven && route.class == Class::Verify);
    }
    let (caller, bearer) = authenticated?;
    let call = Call {
        request_id: facts.request_id.0,
        caller,
        address: facts.client,
        user_agent: user_agent(&parts.headers),
        idempotency: idempotency(route, &parts, &body)?,
        // What a class is taken to wait is a guess, good enough to refuse at the door. Below it only what was said counts.
        deadline_boot_ms: deadline
            .filter(|deadline| deadline.is_said)
            .map(|deadline| deadline.boot_ms(now, app.clock.boot_ms())),
    };
    if departure::has_left(route, &facts.origin, app.admission.is_shedding()).await {
        return Ok(Answer::withheld());
    }
    let path_params = path_params(route, &mut parts).await;
    let exchange = Exchange {
        app: Arc::clone(app),
        route,
        origin: Arc::clone(&facts.origin),
        call,
        bearer,
        uri: parts.uri,
        path_params,
        body,
        charge: Charge {
            place: permit.place,
            quota: permit.quota,
        },
    };
    exchange.charge_checks(1);
    Ok(run(app, route, facts, exchange).await?)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Runs the handler. Past the deadline the outcome is unknown to the caller; a panic is a defect, counted and logged.
async fn run(app: &Inner, route: &Route, facts: &Facts, exchange: Exchange) -> Result<Answer, Error> {
    let deadline = facts.started + Duration::from_millis(app.limits.total_ms);
    // Nothing of the exchange is looked at again after a panic, so that a broken invariant cannot be observed.
    let work = Work::of(route, (route.handler)(exchange), deadline);
    let handled = AssertUnwindSafe(work).catch_unwind();
    match tokio::time::timeout_at(deadline.into(), handled).await {
        Ok(Ok(Err(error))) if error.code.kind == seawall_domain::Kind::Internal => {
            tracing::error!(
                op = route.op,
                request_id = facts.request_id.hex().as_str(),
                "defect: {}",
                error.detail
            );
            Err(error)
        }
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => {
            app.metrics.panics.inc();
            tracing::error!(
                op = route.op,
                request_id = facts.request_id.hex().as_str(),
                "the handler panicked"
            );
            Err(codes::DEFECT.error())
        }
        Err(_) => Err(codes::OUTCOME_UNKNOWN.error()),
    }
}

fn authenticate(
    app: &Inner,
    route: &Route,
    facts: &Facts,
    parts: &Parts,
    body: &Bytes,
) -> Result<(Caller, String), Error> {
    match route.auth {
        Auth::None => Ok((Caller::Client, String::new())),
        Auth::Bearer => Ok((Caller::Client, bearer(&parts.headers)?)),
        Auth::Signed { changes_something } => {
            let caller = signed::authenticate(&app.platform, &facts.origin.listener, parts, body, changes_something)?;
            if let Caller::Server { key_id, .. } = &caller {
                facts.origin.request_ids.prove(*key_id);
            }
            Ok((caller, String::new()))
        }
        Auth::Socket => match facts.origin.operator_uid {
            Some(uid) => Ok((Caller::Operator { uid }, String::new())),
            None => Err(crate::codes::ROUTE_UNKNOWN.error()),
        },
    }
}

fn bearer(headers: &HeaderMap) -> Result<String, Error> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token
        .filter(|token| !token.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| codes::TOKEN_MISSING.error())
}

/// As sent, cut at a character's end within the limit.
fn user_agent(headers: &HeaderMap) -> Option<String> {
    let text = String::from_utf8_lossy(headers.get(USER_AGENT)?.as_bytes());
    let mut end = text.len().min(USER_AGENT_MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).map(str::to_owned)
}

fn idempotency(route: &Route, parts: &Parts, body: &Bytes) -> Result<Option<Idempotency>, Error> {
    if route.idempotency == IdempotencyRule::None {
        return Ok(None);
    }
    let Some(value) = parts.headers.get("idempotency-key") else {
        let is_required = route.idempotency == IdempotencyRule::Required;
        return if is_required {
            Err(codes::IDEMPOTENCY_REQUIRED.error())
        } else {
            Ok(None)
        };
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic()));
    let key = key
        .ok_or_else(|| crate::codes::IDEMPOTENCY_MALFORMED.error())?
        .to_owned();
    let mut digest = blake3::Hasher::new();
    for part in [
        parts.method.as_str().as_bytes(),
        b"\n",
        parts.uri.path().as_bytes(),
        b"\n",
        body,
    ] {
        digest.update(part);
    }
    Ok(Some(Idempotency {
        key,
        request_digest: digest.finalize().into(),
    }))
}

async fn path_params(route: &Route, parts: &mut Parts) -> Vec<(String, String)> {
    if !route.path.contains('{') {
        return Vec::new();
    }
    let params = RawPathParams::from_request_parts(parts, &()).await;
    params.map_or_else(
        |_| Vec::new(),
        |params| params.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
    )
}
