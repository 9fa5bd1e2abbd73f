//! The state every request touches: atomics only. A request that is let in pays for finding its tenant and some counts;
//! its rank is looked at only while something is shed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::class::{Class, PerClass};
use super::figures::{Figures, Reason};
use super::pace::Held;
use super::rank::{self, RANKS, Subject};
use super::refusal::{Prepared, Shed};
use super::signs::Signs;
use super::task::PlayersLag;
use super::tenants::{Flow, Place, TENANTS_MAX, Tenant, Tenants};
use super::{AdmissionOptions, Mode};
use crate::limits::RETRY_AFTER_BASE_MS;

/// Without a window for so long the controller is not believed, and the caps in flight stand alone; in milliseconds.
pub const STALE_MS: u64 = 2_000;

/// One class's counts.
#[derive(Debug)]
struct ClassState {
    in_flight: AtomicUsize,
    completed_units: AtomicU64,
    retry_base_ms: AtomicU64,
}

/// A request at the door.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Knock {
    pub(crate) class: Class,
    pub(crate) tenant: Tenant,
    /// From 1.
    pub(crate) attempt: u64,
    /// Does it count against its server key's quota?
    pub(crate) is_metered: bool,
    /// From [`Core::us`].
    pub(crate) now_us: u64,
}

/// State of admission.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) options: ArcSwap<AdmissionOptions>,
    pub(crate) tenants: Tenants,
    pub(crate) figures: Arc<Figures>,
    pub(crate) prepared: Prepared,
    pub(crate) held: Held,
    pub(super) players_lag: PlayersLag,
    pub(crate) signs: Mutex<Signs>,
    /// Does anybody's rank matter now?
    pub(crate) is_shedding: AtomicBool,
    /// Are logins and registrations held down by the hash pool?
    pub(crate) is_hash_short: AtomicBool,
    /// Hour of the ranks.
    pub(crate) hour: AtomicU64,
    pub(crate) last_window_ms: AtomicU64,
    /// Does the controller wait for the next request?
    pub(crate) is_parked: AtomicBool,
    pub(crate) wake: Notify,
    /// Wakes the beat of the players' threads.
    pub(super) players_wake: Notify,
    /// 0 never begun, 1 running, 2 stopped.
    pub(crate) life: AtomicU8,
    rank_key: [u8; 32],
    begun: Instant,
    in_flight_max: usize,
    in_flight: AtomicUsize,
    classes: PerClass<ClassState>,
}

/// A quota of token checks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metered {
    /// Index of the key's place.
    pub(crate) place: usize,
    /// What is granted.
    pub(crate) per_second: u32,
}

/// Room for one request; gives it back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    core: &'a Core,
    class: Class,
    units: u64,
    /// Index of the tenant's place.
    pub(crate) place: usize,
    /// How long a caller of the class waits who does not say; none for [`Class::Vital`].
    pub(crate) deadline_ms: Option<u64>,
    /// The quota that is to be charged once the caller is proven.
    pub(crate) quota: Option<Metered>,
}

impl Permit<'_> {
    /// Whose place it is; others' where a tenant has none of its own.
    pub(crate) fn tenant(&self) -> Tenant {
        self.core.tenants.at(self.place).tenant()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.core.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(state) = self.core.classes.get(self.class) {
            state.in_flight.fetch_sub(1, Ordering::Relaxed);
            state.completed_units.fetch_add(self.units, Ordering::Relaxed);
        }
    }
}

impl Core {
    pub(crate) fn new(
        options: AdmissionOptions,
        in_flight_max: usize,
        rank_key: [u8; 32],
        figures: Arc<Figures>,
    ) -> Self {
        Core {
            options: ArcSwap::from_pointee(options),
            tenants: Tenants::default(),
            figures,
            prepared: Prepared::new(),
            held: Held::default(),
            players_lag: PlayersLag::default(),
            signs: Mutex::default(),
            is_shedding: AtomicBool::new(false),
            is_hash_short: AtomicBool::new(false),
            hour: AtomicU64::new(0),
            last_window_ms: AtomicU64::new(0),
            is_parked: AtomicBool::new(false),
            wake: Notify::new(),
            players_wake: Notify::new(),
            life: AtomicU8::new(0),
            rank_key,
            begun: Instant::now(),
            in_flight_max,
            in_flight: AtomicUsize::new(0),
            classes: PerClass::of(|_| ClassState {
                in_flight: AtomicUsize::new(0),
                completed_units: AtomicU64::new(0),
                retry_base_ms: AtomicU64::new(RETRY_AFTER_BASE_MS),
            }),
        }
    }

    /// An instant in microseconds since this was made.
    pub(crate) fn us(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }

    /// Lets a request in or not. `subject` is asked only when somebody must stay out.
    pub(crate) fn admit<'s>(&self, knock: &Knock, subject: impl FnOnce() -> Subject<'s>) -> Result<Permit<'_>, Shed> {
        let options = self.options.load();
        let figures = self.figures.class(knock.class);
        figures.offered(knock.attempt);
        let Some(own) = options.class(knock.class) else {
            // Vital: nothing below applies.
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            figures.admitted.inc();
            return Ok(self.permit(knock.class, 0, 0));
        };
        let at = self.tenants.find(knock.tenant);
        let place = self.tenants.at(at);
        let units = u64::from(own.cost_units);
        let is_again = knock.attempt > 1 && knock.class.prefers_first_attempts();
        if let Some(flow) = place.flow(knock.class) {
            let asked = if is_again { &flow.again_units } else { &flow.first_units };
            asked.fetch_add(units, Ordering::Relaxed);
        }
        if self.is_parked.load(Ordering::Relaxed) {
            self.unpark(knock.now_us / 1000);
        }
        if options.mode != Mode::Off
            && let Some(shed) = self.decide(&options, knock, place, is_again, subject)
        {
            let is_dry = options.mode == Mode::DryRun;
            figures.shed(shed.reason, is_dry);
            if !is_dry {
                return Err(shed);
            }
        }
        let mut permit = self.take_room(knock.class, own.share_percent, at, units)?;
        if let Some(flow) = place.flow(knock.class) {
            flow.admitted_units.fetch_add(units, Ordering::Relaxed);
        }
        figures.admitted.inc();
        permit.deadline_ms = Some(own.deadline_ms);
        permit.quota = self.metered(&options, knock);
        Ok(permit)
    }

    /// Quota first, which holds under any load; then the level.
    fn decide<'s>(
        &self,
        options: &AdmissionOptions,
        knock: &Knock,
        place: &Place,
        is_again: bool,
        subject: impl FnOnce() -> Subject<'s>,
    ) -> Option<Shed> {
        if let Some(metered) = self.metered(options, knock)
            && let Some(retry_after_ms) = self.tenants.at(metered.place).quota.over_for_ms(knock.now_us)
        {
            let reason = Reason::ServerKey;
            return Some(Shed { reason, retry_after_ms });
        }
        if !self.is_shedding.load(Ordering::Relaxed) || !self.is_fresh(knock.now_us / 1000) {
            return None;
        }
        let below = passes_below(place.flow(knock.class)?, is_again);
        if below >= RANKS {
            return None;
        }
        let rank = rank::rank(&self.rank_key, self.hour.load(Ordering::Relaxed), subject());
        (rank >= below).then(|| Shed {
            reason: self.shortage(knock.class),
            retry_after_ms: self.retry_base_ms(knock.class),
        })
    }

    /// Where a request's token checks are counted: at the key it names, proven or not. A key in the shared place has no
    /// count of its own.
    fn metered(&self, options: &AdmissionOptions, knock: &Knock) -> Option<Metered> {
        let per_second = options.server_key_verifies_per_second.filter(|_| knock.is_metered)?;
        let place = self.tenants.find(Tenant::Key(knock.tenant.key()?));
        (place != TENANTS_MAX).then_some(Metered { place, per_second })
    }

    fn shortage(&self, class: Class) -> Reason {
        if class.hashes() && self.is_hash_short.load(Ordering::Relaxed) {
            Reason::Hash
        } else {
            Reason::Level
        }
    }

    /// Takes room in flight: any that is free, else what is left of the class's own share.
    fn take_room(&self, class: Class, share_percent: u8, place: usize, units: u64) -> Result<Permit<'_>, Shed> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let own_before = match self.classes.get(class) {
            Some(state) => state.in_flight.fetch_add(1, Ordering::Relaxed),
            None => 0,
        };
        let own_max = self.in_flight_max.saturating_mul(usize::from(share_percent.min(100))) / 100;
        if before < self.in_flight_max || own_before < own_max {
            return Ok(self.permit(class, place, units));
        }
        // Not work that was done: only the room goes back.
        drop(self.permit(class, place, 0));
        self.figures.class(class).shed(Reason::InFlight, false);
        Err(Shed {
            reason: Reason::InFlight,
            retry_after_ms: self.retry_base_ms(class),
        })
    }

    fn permit(&self, class: Class, place: usize, units: u64) -> Permit<'_> {
        Permit {
            core: self,
            class,
            units,
            place,
            deadline_ms: None,
            quota: None,
        }
    }

    /// Work that was known only after the body was read.
    pub(crate) fn charge(&self, class: Class, place: usize, units: u64) {
        if let (Some(flow), Some(state)) = (self.tenants.at(place).flow(class), self.classes.get(class)) {
            flow.first_units.fetch_add(units, Ordering::Relaxed);
            flow.admitted_units.fetch_add(units, Ordering::Relaxed);
            state.completed_units.fetch_add(units, Ordering::Relaxed);
        }
    }

    /// Is the controller to be believed?
    pub(crate) fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.last_window_ms.load(Ordering::Relaxed)) < STALE_MS
    }

    #[cold]
    fn unpark(&self, now_ms: u64) {
        if self.is_parked.swap(false, Ordering::AcqRel) {
            self.last_window_ms.store(now_ms, Ordering::Relaxed);
            self.wake.notify_one();
        }
    }

    /// Requests in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Most requests in flight.
    pub(crate) fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// Requests of a class in flight.
    pub(crate) fn in_flight_of(&self, class: Class) -> usize {
        self.classes
            .get(class)
            .map_or(0, |state| state.in_flight.load(Ordering::Relaxed))
    }

    /// Units of a class answered so far.
    pub(crate) fn completed_units(&self, class: Class) -> u64 {
        self.classes
            .get(class)
            .map_or(0, |state| state.completed_units.load(Ordering::Relaxed))
    }

    /// When a refused request of a class is to come back, before jitter.
    pub(crate) fn retry_base_ms(&self, class: Class) -> u64 {
        self.classes
            .get(class)
            .map_or(RETRY_AFTER_BASE_MS, |state| state.retry_base_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn set_retry_base_ms(&self, class: Class, ms: u64) {
        if let Some(state) = self.classes.get(class) {
            state.retry_base_ms.store(ms, Ordering::Relaxed);
        }
    }
}

fn passes_below(flow: &Flow, is_again: bool) -> u32 {
    if is_again { &flow.again_below } else { &flow.first_below }.load(Ordering::Relaxed)
}
