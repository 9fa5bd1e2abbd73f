//! The live view of admission.

use std::sync::atomic::Ordering;

use super::class::Class;
use super::core::Core;
use super::figures::Reason;
use super::task;
use crate::wire;

/// What an operator sees.
pub(super) fn view(core: &Core, server_time_at: u64) -> wire::AdmissionView {
    let signs = core.signs.lock().clone();
    let options = core.options.load();
    let tenants = signs.tenants.iter().map(|own| wire::AdmissionTenant {
        tenant: own.tenant.name(),
        class: own.class.name().to_owned(),
        offered_units_per_second: whole(own.offered),
        admitted_units_per_second: whole(own.admitted),
        fraction_permille: permille(own.fraction),
    });
    wire::AdmissionView {
        mode: options.mode.name().to_owned(),
        controller: controller(core).to_owned(),
        is_overloaded: signs.is_overloaded,
        is_shedding: core.is_shedding.load(Ordering::Relaxed),
        lag_us: whole(signs.lag_ms * 1000.0),
        players_lag_us: whole(signs.players_lag_ms * 1000.0),
        commit_wait_us: whole(signs.pressure.commit_wait_ms * 1000.0),
        hash_wait_us: whole(signs.pressure.hash_wait_ms * 1000.0),
        memory_is_tight: signs.pressure.memory_is_tight,
        capacity_units_per_second: limited(signs.limit_units_per_second),
        store_capacity_units_per_second: limited(signs.store_limit_units_per_second),
        hash_capacity_units_per_second: limited(signs.hash_limit_units_per_second),
        in_flight: core.in_flight() as u64,
        in_flight_max: core.in_flight_max() as u64,
        queued: u64::try_from(core.figures.queued.get()).unwrap_or(0),
        held_refusals: core.held.count() as u64,
        classes: Class::ALL
            .into_iter()
            .map(|class| {
                let own = options.class(class);
                let figures = core.figures.class(class);
                wire::AdmissionClass {
                    class: class.name().to_owned(),
                    share_percent: own.map(|own| own.share_percent),
                    cost_units: own.map(|own| own.cost_units),
                    deadline_ms: own.map(|own| own.deadline_ms),
                    fraction_permille: signs.fractions.get(class).copied().map_or(1000, permille),
                    offered_units_per_second: whole(signs.offered.at(class)),
                    admitted_units_per_second: whole(signs.admitted.at(class)),
                    in_flight: core.in_flight_of(class) as u64,
                    retry_after_base_ms: core.retry_base_ms(class),
                    offered: figures.offered_count(),
                    admitted: figures.admitted.get(),
                    in_time: figures.in_time.get(),
                    wait_us_mean: figures.wait_us.get() / figures.admitted.get().max(1),
                    refused: refused(core, class, false),
                    would_be_refused: refused(core, class, true),
                }
            })
            .collect(),
        tenants: tenants.collect(),
        waiting_room: wire::WaitingRooms::default(),
        challenges: wire::AdmissionChallenges::default(),
        server_time_at,
    }
}

fn refused(core: &Core, class: Class, is_dry: bool) -> wire::AdmissionRefused {
    let of = |reason| core.figures.class(class).shed_count(reason, is_dry);
    wire::AdmissionRefused {
        level: of(Reason::Level),
        hash: of(Reason::Hash),
        in_flight: of(Reason::InFlight),
        server_key: of(Reason::ServerKey),
        deadline: of(Reason::Deadline),
        waiting_room: of(Reason::WaitingRoom),
    }
}

/// How the controller's task is.
fn controller(core: &Core) -> &'static str {
    match core.life.load(Ordering::Relaxed) {
        task::NOT_STARTED => "not_started",
        task::STOPPED => "stopped",
        _ if core.is_parked.load(Ordering::Relaxed) => "parked",
        _ if core.is_fresh(core.us(std::time::Instant::now()) / 1000) => "running",
        _ => "late",
    }
}

fn limited(units: f64) -> Option<u64> {
    units.is_finite().then(|| whole(units))
}

/// Rounded; figures of an operator's table, never negative.
fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

fn permille(fraction: f64) -> u16 {
    (fraction.clamp(0.0, 1.0) * 1000.0).round() as u16
}
