//! Counters of the transport. Label values come from fixed lists (operations, listeners, reasons), so their number is
//! bounded; handles are resolved once, so that a request touches atomics only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::admission::Figures;
use crate::routes::ROUTES;

/// Label value of requests no route took.
const NO_OP: &str = "none";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OpOutcome {
    op: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Op {
    op: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerReason {
    listener: String,
    reason: &'static str,
}

/// How a request ended, for the `outcome` label.
const OUTCOMES: [&str; 5] = ["ok", "refused", "limited", "unavailable", "failed"];

fn outcome(status: StatusCode) -> usize {
    match status.as_u16() {
        0..=399 => 0,
        429 => 2,
        400..=499 => 1,
        503 => 3,
        _ => 4,
    }
}

/// Handles of one operation.
#[derive(Debug, Clone)]
pub struct OpMetrics {
    outcomes: [Counter; 5],
    seconds: Histogram,
    unknown_fields: Counter,
}

impl OpMetrics {
    /// One request was answered.
    pub fn answered(&self, status: StatusCode, took: Duration) {
        if let Some(counter) = self.outcomes.get(outcome(status)) {
            counter.inc();
        }
        self.seconds.observe(took.as_secs_f64());
    }

    /// A body had fields nobody knew.
    pub fn unknown_fields(&self, count: u64) {
        if count > 0 {
            self.unknown_fields.inc_by(count);
        }
    }
}

/// Handles of one listener.
#[derive(Debug, Clone)]
pub struct ListenerMetrics {
    /// Open connections.
    pub open: Gauge,
    /// Connections accepted.
    pub accepted: Counter,
    /// TLS sessions resumed from a ticket.
    pub resumed: Counter,
    name: String,
    refused: Family<ListenerReason, Counter>,
}

impl ListenerMetrics {
    /// A connection was refused or cut; `reason` is one of a fixed list.
    pub fn refused(&self, reason: &'static str) {
        self.refused
            .get_or_create(&ListenerReason {
                listener: self.name.clone(),
                reason,
            })
            .inc();
    }
}

/// The transport's counters, registered once.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    /// What admission counts.
    pub admission: Arc<Figures>,
    ops: Arc<HashMap<&'static str, OpMetrics>>,
    no_op: OpMetrics,
    /// Requests being worked on.
    pub in_flight: Gauge,
    /// Handlers that panicked; each is a defect.
    pub panics: Counter,
    /// Token checks read again from the store.
    pub rechecked: Counter,
    /// Idle connections that gave their buffers back.
    pub resting: Gauge,
    /// Connections with a task and buffers.
    pub in_service: Gauge,
    /// Failures to accept (out of descriptors, …).
    pub accept_errors: Counter,
    /// 0 serving, 1 lame duck, 2 not accepting, 3 closing, 4 closed.
    pub drain_state: Gauge,
    open: Family<Listener, Gauge>,
    accepted: Family<Listener, Counter>,
    resumed: Family<Listener, Counter>,
    refused: Family<ListenerReason, Counter>,
}

impl HttpMetrics {
    /// Registers everything under `seawall_http_`, `seawall_connections_` and `seawall_admission_`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let requests = Family::<OpOutcome, Counter>::default();
        let seconds = Family::<Op, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_1, 3.0, 12))
        });
        let unknown = Family::<Op, Counter>::default();
        let handles = |op: &'static str| OpMetrics {
            outcomes: OUTCOMES.map(|outcome| requests.get_or_create_owned(&OpOutcome { op, outcome })),
            seconds: seconds.get_or_create_owned(&Op { op }),
            unknown_fields: unknown.get_or_create_owned(&Op { op }),
        };
        let metrics = HttpMetrics {
            admission: Arc::new(Figures::register(registry)),
            ops: Arc::new(ROUTES.iter().map(|route| (route.op, handles(route.op))).collect()),
            no_op: handles(NO_OP),
            in_flight: Gauge::default(),
            panics: Counter::default(),
            rechecked: Counter::default(),
            resting: Gauge::default(),
            in_service: Gauge::default(),
            accept_errors: Counter::default(),
            drain_state: Gauge::default(),
            open: Family::default(),
            accepted: Family::default(),
            resumed: Family::default(),
            refused: Family::default(),
        };
        registry.register(
            "seawall_http_requests",
            "Requests answered, by operation and outcome",
            requests,
        );
        registry.register(
            "seawall_http_request_seconds",
            "From the request's head to its answer",
            seconds,
        );
        registry.register(
            "seawall_http_unknown_fields",
            "Request fields nobody knew, ignored",
            unknown,
        );
        metrics.register_own(registry);
        metrics
    }

    fn register_own(&self, registry: &mut Registry) {
        registry.register(
            "seawall_http_in_flight",
            "Requests being worked on",
            self.in_flight.clone(),
        );
        registry.register("seawall_http_panics", "Handlers that panicked", self.panics.clone());
        registry.register(
            "seawall_verify_rechecked",
            "Token checks read again from the store",
            self.rechecked.clone(),
        );
        registry.register("seawall_connections_open", "Open connections", self.open.clone());
        registry.register(
            "seawall_connections_resting",
            "Idle connections that gave their buffers back",
            self.resting.clone(),
        );
        registry.register(
            "seawall_connections_in_service",
            "Connections that have buffers and a task",
            self.in_service.clone(),
        );
        registry.register(
            "seawall_connections_accepted",
            "Connections accepted",
            self.accepted.clone(),
        );
        registry.register(
            "seawall_connections_refused",
            "Connections refused or cut",
            self.refused.clone(),
        );
        registry.register(
            "seawall_tls_resumed",
            "TLS sessions resumed from a ticket",
            self.resumed.clone(),
        );
        registry.register(
            "seawall_accept_errors",
            "Failures to accept a connection",
            self.accept_errors.clone(),
        );
        registry.register(
            "seawall_drain_state",
            "0 serving, 1 lame duck, 2 closing, 3 closed",
            self.drain_state.clone(),
        );
    }

    /// Handles of an operation; those of `none` when there is no such.
    #[must_use]
    pub fn op(&self, op: Option<&str>) -> &OpMetrics {
        op.and_then(|op| self.ops.get(op)).unwrap_or(&self.no_op)
    }

    /// Handles of a listener.
    #[must_use]
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        let label = Listener {
            listener: name.to_owned(),
        };
        ListenerMetrics {
            open: self.open.get_or_create_owned(&label),
            accepted: self.accepted.get_or_create_owned(&label),
            resumed: self.resumed.get_or_create_owned(&label),
            name: name.to_owned(),
            refused: self.refused.clone(),
        }
    }
}
