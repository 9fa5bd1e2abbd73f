//! Admission: who is let in when more is asked for than can be done. Decided from the head of a request, before its body
//! is read. See decisions/0801-admission.md.
//!
//! [`Class`]es have shares of the capacity, tenants have shares of a class, and accounts have a rank by the hour; a
//! controller looks at a window of 100 ms and says how much passes. Under it lie caps on requests in flight, which hold
//! whether the controller runs or not.

pub(crate) mod alarm;
mod class;
mod controller;
mod core;
pub(crate) mod figures;
mod hashing;
pub(crate) mod hints;
mod level;
mod options;
pub(crate) mod pace;
mod quota;
pub(crate) mod rank;
pub(crate) mod refusal;
mod share;
mod signs;
mod task;
mod tenants;
mod view;
pub(crate) mod waiting;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use seawall_domain::ports::Clock;
use tokio::runtime::Handle;

pub use class::Class;
pub(crate) use class::PerClass;
pub use controller::WINDOW_MS;
pub use core::STALE_MS;
pub use figures::{Figures, Reason};
pub use options::{AdmissionOptions, ClassOptions, Mode, WaitingRoomMode};
pub use refusal::Shed;
pub use tenants::{TENANTS_MAX, Tenant};

use crate::host::Host;
use crate::listener::turnstile;
use crate::wire;
use core::Core;
pub(crate) use core::{Knock, Metered, Permit};
use rank::Subject;
use task::Running;

/// What was done for players since the process began, in units of admission, which only grow, and what waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlayersWork {
    /// Of class `bulk`.
    pub bulk_units: u64,
    /// Of all classes but that of token checks.
    pub all_units: u64,
    /// Requests and handshakes that wait for their turn to begin at this moment.
    pub waiting: u64,
}

/// Admission of one application.
#[derive(Debug)]
pub struct Admission {
    core: Arc<Core>,
    running: Running,
}

impl Admission {
    /// Room for `in_flight_max` requests; ranks are drawn with `rank_key`, which nobody outside may know.
    #[must_use]
    pub fn new(options: AdmissionOptions, in_flight_max: usize, rank_key: [u8; 32], figures: Arc<Figures>) -> Self {
        Admission {
            core: Arc::new(Core::new(options, in_flight_max, rank_key, figures)),
            running: Running::default(),
        }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.core.in_flight()
    }

    /// What was done for players so far, in units.
    #[must_use]
    pub fn players_work(&self) -> PlayersWork {
        let of_players = [Class::Refresh, Class::Login, Class::Register, Class::Bulk];
        PlayersWork {
            bulk_units: self.core.completed_units(Class::Bulk),
            all_units: of_players.map(|class| self.core.completed_units(class)).iter().sum(),
            waiting: u64::try_from(self.core.figures.queued.get()).unwrap_or(0),
        }
    }

    /// Brings the gauges up to date that are read only when somebody looks.
    pub fn refresh_gauges(&self) {
        let held = i64::try_from(self.core.held.count()).unwrap_or(i64::MAX);
        self.core.figures.held.set(held);
    }

    /// Other options from now on.
    pub fn set_options(&self, options: AdmissionOptions) {
        self.core.options.store(Arc::new(options));
    }

    /// Begins to look at windows on the current runtime, where token checks run, until [`Admission::stop`] or the end of
    /// this; once is enough. How late the threads of `players` are is looked at too. Without it the caps in flight stand
    /// alone.
    pub fn start(&self, host: Arc<dyn Host>, clock: Arc<dyn Clock>, players: &Handle) {
        self.running.start(&self.core, host, clock, players);
    }

    /// Ends it; the caps in flight stand alone from now on.
    pub fn stop(&self) {
        self.running.stop(&self.core);
    }

    /// What an operator sees.
    #[must_use]
    pub fn view(&self, server_time_at: u64) -> wire::AdmissionView {
        view::view(&self.core, server_time_at)
    }

    /// Microseconds on the scale of [`Knock::now_us`].
    pub(crate) fn us(&self, at: Instant) -> u64 {
        self.core.us(at)
    }

    /// Lets a request in or not; [`Class::Vital`] always. `subject` is asked only when somebody must stay out.
    pub(crate) fn admit<'s>(&self, knock: &Knock, subject: impl FnOnce() -> Subject<'s>) -> Result<Permit<'_>, Shed> {
        self.core.admit(knock, subject)
    }

    /// Charges token checks to the quota of a proven key.
    pub(crate) fn charge_quota(&self, metered: Metered, checks: u64) {
        let now_us = self.core.us(Instant::now());
        let quota = &self.core.tenants.at(metered.place).quota;
        quota.charge(now_us, metered.per_second, checks);
    }

    /// Charges work that was known only after the body was read.
    pub(crate) fn charge(&self, class: Class, place: usize, units: u64) {
        self.core.charge(class, place, units);
    }

    /// The refusal for a caller whose deadline passed before work began; none where refusals are only counted, or none made.
    pub(crate) fn too_late(&self, class: Class) -> Option<Shed> {
        let (mode, reason) = (self.core.options.load().mode, Reason::Deadline);
        if mode != Mode::Off {
            self.core.figures.class(class).shed(reason, mode == Mode::DryRun);
        }
        (mode == Mode::Enforce).then(|| Shed {
            reason,
            retry_after_ms: self.core.retry_base_ms(class),
        })
    }

    /// How players' work takes turns.
    pub(crate) fn turns(&self) -> turnstile::Rules {
        let options = self.core.options.load();
        turnstile::Rules {
            is_off: options.mode == Mode::Off,
            shares: PerClass::of(|class| options.class(class).map_or(0, |options| options.share_percent)),
        }
    }

    /// Is anybody refused for load now?
    pub(crate) fn is_shedding(&self) -> bool {
        self.core.is_shedding.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Texts of refusals.
    pub(crate) fn prepared(&self) -> &refusal::Prepared {
        &self.core.prepared
    }

    /// How many refusals are held back.
    pub(crate) fn held(&self) -> usize {
        self.core.held.count()
    }

    /// Room to hold one more refusal back.
    pub(crate) fn hold_one(&self) -> Option<pace::HeldOne<'_>> {
        self.core.held.one(self.core.options.load().held_refusals_max)
    }
}
