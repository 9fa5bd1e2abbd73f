//! What admission counts, for `/metrics` and the live view. Labels are classes, reasons, attempts and header names, all
//! from fixed lists; handles are resolved once.

use std::sync::atomic::AtomicU64;

use http::HeaderName;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::class::Class;
use super::hints::{SEAWALL_DEVICE, SEAWALL_GAME, X_ATTEMPT, X_DEADLINE_MS};

type FloatGauge = Gauge<f64, AtomicU64>;

/// Attempts told apart: first, second, third, later.
const ATTEMPTS: [&str; 4] = ["1", "2", "3", "more"];

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// More is asked for than can be done.
    Level,
    /// More passwords are waiting than can be hashed.
    Hash,
    /// Too many requests are in flight.
    InFlight,
    /// The server key's quota is used up.
    ServerKey,
    /// The caller has stopped waiting before work began.
    Deadline,
    /// It is not their turn in the waiting room.
    WaitingRoom,
}

impl Reason {
    /// All, in order.
    pub const ALL: [Reason; 6] = [
        Reason::Level,
        Reason::Hash,
        Reason::InFlight,
        Reason::ServerKey,
        Reason::Deadline,
        Reason::WaitingRoom,
    ];

    /// The metric label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::Level => "level",
            Reason::Hash => "hash",
            Reason::InFlight => "in_flight",
            Reason::ServerKey => "server_key",
            Reason::Deadline => "deadline",
            Reason::WaitingRoom => "waiting_room",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassAttempt {
    class: &'static str,
    attempt: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassReason {
    class: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHeader {
    header: &'static str,
}

/// Counters of one class.
#[derive(Debug)]
pub struct ClassFigures {
    offered: [Counter; 4],
    /// Let in.
    pub admitted: Counter,
    shed: [Counter; Reason::ALL.len()],
    would_shed: [Counter; Reason::ALL.len()],
    /// Answered without our trouble before the caller's deadline.
    pub in_time: Counter,
    /// From the head of the request to the beginning of its work, in microseconds, all together.
    pub wait_us: Counter,
    /// Fraction of the offered work that is let in, 0 to 1.
    pub fraction: FloatGauge,
}

impl ClassFigures {
    /// A request came; the attempt counts from 1.
    pub fn offered(&self, attempt: u64) {
        let place = usize::try_from(attempt.clamp(1, 4) - 1).unwrap_or(0);
        if let Some(counter) = self.offered.get(place) {
            counter.inc();
        }
    }

    /// How many came.
    #[must_use]
    pub fn offered_count(&self) -> u64 {
        self.offered.iter().map(Counter::get).sum()
    }

    /// A request was refused, or would have been.
    pub fn shed(&self, reason: Reason, is_dry: bool) {
        let counters = if is_dry { &self.would_shed } else { &self.shed };
        if let Some(counter) = counters.get(reason as usize) {
            counter.inc();
        }
    }

    /// How many were refused for a reason, or would have been.
    #[must_use]
    pub fn shed_count(&self, reason: Reason, is_dry: bool) -> u64 {
        let counters = if is_dry { &self.would_shed } else { &self.shed };
        counters.get(reason as usize).map_or(0, Counter::get)
    }
}

/// All counters of admission.
#[derive(Debug)]
pub struct Figures {
    classes: [ClassFigures; 6],
    bad_hints: [(HeaderName, Counter); 4],
    /// Mean lateness of the runtime in the last window, in milliseconds.
    pub lag_ms: FloatGauge,
    /// Units a second that are let in; infinite without a limit.
    pub limit_units: FloatGauge,
    /// Mean lateness of the players' threads in the last window, in milliseconds.
    pub players_lag_ms: FloatGauge,
    /// Waits the host reported in the last window, in milliseconds.
    pub commit_wait_ms: FloatGauge,
    /// As before, for password hashes.
    pub hash_wait_ms: FloatGauge,
    /// Refusals held back.
    pub held: Gauge,
    /// Requests and handshakes of players that have come and not begun.
    pub queued: Gauge,
}

#[derive(Default)]
struct Families {
    offered: Family<ClassAttempt, Counter>,
    admitted: Family<OfClass, Counter>,
    shed: Family<ClassReason, Counter>,
    would_shed: Family<ClassReason, Counter>,
    in_time: Family<OfClass, Counter>,
    wait_us: Family<OfClass, Counter>,
    fraction: Family<OfClass, FloatGauge>,
    bad_hints: Family<OfHeader, Counter>,
}

impl Families {
    fn of_class(&self, class: Class) -> ClassFigures {
        let class = class.name();
        let of_reason = |family: &Family<ClassReason, Counter>| {
            Reason::ALL.map(|reason| {
                let reason = reason.name();
                family.get_or_create_owned(&ClassReason { class, reason })
            })
        };
        let fraction = self.fraction.get_or_create_owned(&OfClass { class });
        fraction.set(1.0);
        ClassFigures {
            offered: ATTEMPTS.map(|attempt| self.offered.get_or_create_owned(&ClassAttempt { class, attempt })),
            admitted: self.admitted.get_or_create_owned(&OfClass { class }),
            shed: of_reason(&self.shed),
            would_shed: of_reason(&self.would_shed),
            in_time: self.in_time.get_or_create_owned(&OfClass { class }),
            wait_us: self.wait_us.get_or_create_owned(&OfClass { class }),
            fraction,
        }
    }

    fn figures(&self) -> Figures {
        let hint =
            |name: HeaderName, header: &'static str| (name, self.bad_hints.get_or_create_owned(&OfHeader { header }));
        let limit_units = FloatGauge::default();
        limit_units.set(f64::INFINITY);
        Figures {
            classes: Class::ALL.map(|class| self.of_class(class)),
            bad_hints: [
                hint(X_ATTEMPT, "x-attempt"),
                hint(X_DEADLINE_MS, "x-deadline-ms"),
                hint(SEAWALL_DEVICE, "seawall-device"),
                hint(SEAWALL_GAME, "seawall-game"),
            ],
            lag_ms: FloatGauge::default(),
            limit_units,
            players_lag_ms: FloatGauge::default(),
            commit_wait_ms: FloatGauge::default(),
            hash_wait_ms: FloatGauge::default(),
            held: Gauge::default(),
            queued: Gauge::default(),
        }
    }

    fn register(self, registry: &mut Registry) {
        let prefix = registry.sub_registry_with_prefix("seawall_admission");
        prefix.register(
            "offered",
            "Requests that came, by class and attempt; all attempts by first ones is the amplification",
            self.offered,
        );
        prefix.register("admitted", "Requests let in, by class", self.admitted);
        prefix.register(
            "shed",
            "Requests refused before any work, by class and reason",
            self.shed,
        );
        prefix.register(
            "would_shed",
            "Requests a dry run let through that would have been refused",
            self.would_shed,
        );
        prefix.register(
            "in_time",
            "Requests answered before the caller's deadline without trouble of ours",
            self.in_time,
        );
        prefix.register(
            "wait_microseconds",
            "From the head of requests to the beginning of their work, all together",
            self.wait_us,
        );
        prefix.register("fraction", "Fraction of the offered work that is let in", self.fraction);
        prefix.register(
            "bad_hints",
            "Headers for admission that were malformed and ignored",
            self.bad_hints,
        );
    }
}

impl Default for Figures {
    /// Counters nobody reads.
    fn default() -> Self {
        Families::default().figures()
    }
}

impl Figures {
    /// Registers everything under `seawall_admission_`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let families = Families::default();
        let figures = families.figures();
        families.register(registry);
        let prefix = registry.sub_registry_with_prefix("seawall_admission");
        prefix.register(
            "lag_milliseconds",
            "Mean lateness of the runtime in the last window",
            figures.lag_ms.clone(),
        );
        prefix.register(
            "limit_units",
            "Work let in a second; infinite without a limit",
            figures.limit_units.clone(),
        );
        prefix.register(
            "players_lag_milliseconds",
            "Mean lateness of the players' threads in the last window",
            figures.players_lag_ms.clone(),
        );
        prefix.register(
            "commit_wait_milliseconds",
            "Wait for a commit, as admission saw it",
            figures.commit_wait_ms.clone(),
        );
        prefix.register(
            "hash_wait_milliseconds",
            "Wait for a password hash, as admission saw it",
            figures.hash_wait_ms.clone(),
        );
        prefix.register("held_refusals", "Refusals held back", figures.held.clone());
        prefix.register(
            "queued",
            "Requests and handshakes of players that have come and not begun",
            figures.queued.clone(),
        );
        figures
    }

    /// Counters of a class.
    #[must_use]
    pub fn class(&self, class: Class) -> &ClassFigures {
        let [vital, verify, refresh, login, register, bulk] = &self.classes;
        match class {
            Class::Vital => vital,
            Class::Verify => verify,
            Class::Refresh => refresh,
            Class::Login => login,
            Class::Register => register,
            Class::Bulk => bulk,
        }
    }

    /// How many requests of classes that can be shed came.
    #[must_use]
    pub fn offered_count(&self) -> u64 {
        let shed = Class::SHED.into_iter();
        shed.map(|class| self.class(class).offered_count()).sum()
    }

    /// A header was malformed.
    pub fn bad_hint(&self, name: &HeaderName) {
        if let Some((_, counter)) = self.bad_hints.iter().find(|(own, _)| own == name) {
            counter.inc();
        }
    }

    /// How many headers of a name were malformed.
    #[must_use]
    pub fn bad_hints(&self, name: &HeaderName) -> u64 {
        let own = self.bad_hints.iter().find(|(own, _)| own == name);
        own.map_or(0, |(_, counter)| counter.get())
    }
}
