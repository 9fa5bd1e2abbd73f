//! One look at a window of 100 ms: what came, what was let in, how late everything is; and from that who may pass in the
//! next one. No clock and no runtime in here, so that a simulation can drive it.

use std::sync::atomic::Ordering;

use seawall_domain::UnixMs;

use super::AdmissionOptions;
use super::class::{Class, PerClass, SHEDDABLE};
use super::core::Core;
use super::hashing::Hashing;
use super::level::{Level, Seen};
use super::rank;
use super::refusal;
use super::share::{self, Room};
use super::signs::{Signs, TenantSigns};
use super::tenants::{TENANTS_MAX, Tenant};
use crate::host::Pressure;

/// Length of a window, in milliseconds.
pub const WINDOW_MS: u64 = 100;
/// Windows of nothing from a tenant after which its place is free: a minute.
const FORGET_WINDOWS: u32 = 600;
/// Windows of nothing at all after which there is nothing to control: two seconds.
pub(crate) const IDLE_WINDOWS: u32 = 20;
/// Weight of the newest window in what a tenant is taken to ask for.
const FRESH: f64 = 0.5;
/// How much tight memory counts beside other signs.
const TIGHT: f64 = 2.0;
/// What is left of a level that was good, whatever the signs say. Of everything more than of what waits for something:
/// a token check refused is hardly cheaper than one answered, and the lateness may be a neighbour's on the machine.
const KEPT: f64 = 0.1;
const KEPT_OF_ALL: f64 = 0.5;
/// Tenants shown.
const SHOWN: usize = 10;

/// A window that ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Its length in milliseconds.
    pub(crate) elapsed_ms: f64,
    /// Mean lateness in it of the threads that token checks run on, in milliseconds.
    pub(crate) lag_ms: f64,
    /// Its end on the scale of [`Core`].
    pub(crate) now_ms: u64,
    /// Its end on the wall clock.
    pub(crate) now_at: UnixMs,
    /// Mean lateness of the players' threads, in milliseconds.
    pub(crate) players_lag_ms: f64,
    /// What the process says.
    pub(crate) pressure: Pressure,
}

/// What is remembered of one tenant's use of one class: the counts of the last look, and rates in units a window.
#[derive(Debug, Clone, Copy, Default)]
struct Remembered {
    first_units: u64,
    again_units: u64,
    admitted_units: u64,
    first: f64,
    again: f64,
    admitted: f64,
}

impl Remembered {
    fn asked(&self) -> f64 {
        self.first + self.again
    }
}

#[derive(Debug, Clone)]
struct Memory {
    tenant: Tenant,
    idle_windows: u32,
    flows: [Remembered; SHEDDABLE],
}

/// The controller's memory.
#[derive(Debug)]
pub(crate) struct Controller {
    /// Of everything: lateness and memory.
    level: Level,
    /// Of what runs on the players' threads and waits for the store, which token checks do not.
    store_level: Level,
    /// Of logins, which wait for password hashes.
    hash_level: Level,
    hashing: Hashing,
    memory: Vec<Memory>,
    completed_units: PerClass<f64>,
    ratio_before: PerClass<f64>,
    idle_windows: u32,
    is_shedding: bool,
}

/// A wait beside its target.
#[derive(Debug, Clone, Copy)]
struct Wait {
    /// Times the target; above 1 is trouble.
    trouble: f64,
    ms: f64,
}

impl Wait {
    fn of(ms: f64, target_ms: u64) -> Self {
        let trouble = ms / target_ms.max(1) as f64;
        Wait { trouble, ms }
    }

    fn or_worse(self, other: Wait) -> Self {
        if other.trouble > self.trouble { other } else { self }
    }
}

/// Sums of one window by class, in units.
#[derive(Debug, Default)]
struct Sums {
    offered: PerClass<f64>,
    admitted: PerClass<f64>,
    completed: PerClass<f64>,
    /// Smoothed over the last windows.
    asked: PerClass<f64>,
}

impl Controller {
    pub(crate) fn new() -> Self {
        let nothing = Memory {
            tenant: Tenant::Others,
            idle_windows: 0,
            flows: [Remembered::default(); SHEDDABLE],
        };
        Controller {
            level: Level::new(KEPT_OF_ALL),
            store_level: Level::new(KEPT),
            hash_level: Level::new(KEPT),
            hashing: Hashing::new(),
            memory: vec![nothing; TENANTS_MAX + 1],
            completed_units: PerClass::default(),
            ratio_before: PerClass::of(|_| 1.0),
            idle_windows: 0,
            is_shedding: false,
        }
    }

    /// Has there been nothing to do for long, and is nothing held down?
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_windows >= IDLE_WINDOWS && !self.is_shedding
    }

    /// Looks at a window and says who passes in the next.
    pub(crate) fn window(&mut self, core: &Core, moment: &Moment) {
        let options = core.options.load();
        let sums = self.look(core, moment);
        let is_nothing = sums.offered.sum() == 0.0;
        self.idle_windows = if is_nothing {
            self.idle_windows.saturating_add(1)
        } else {
            0
        };
        let room = self.judge(&options, &sums, moment);
        let shares = PerClass::of(|class| {
            options
                .class(class)
                .map_or(0.0, |own| f64::from(own.share_percent) / 100.0)
        });
        let given = share::classes(room, &sums.asked, &shares);
        let is_shedding = Class::SHED.iter().any(|class| given.at(*class) < sums.asked.at(*class));
        if is_shedding {
            self.hand_out(core, &given, &sums.asked);
        } else if self.is_shedding {
            core.tenants.open();
        }
        self.is_shedding = is_shedding;
        core.is_shedding.store(is_shedding, Ordering::Relaxed);
        let is_hash_short = self.hash_units().is_finite();
        core.is_hash_short.store(is_hash_short, Ordering::Relaxed);
        core.hour.store(rank::hour(moment.now_at), Ordering::Relaxed);
        core.last_window_ms.store(moment.now_ms, Ordering::Relaxed);
        self.tell(core, moment, &sums, &given);
    }

    /// Takes the differences of all counts.
    fn look(&mut self, core: &Core, moment: &Moment) -> Sums {
        let scale = WINDOW_MS as f64 / moment.elapsed_ms.max(1.0);
        let mut sums = Sums::default();
        for (at, place) in core.tenants.used() {
            let Some(memory) = self.memory.get_mut(at) else {
                continue;
            };
            let tenant = place.tenant();
            if memory.tenant != tenant {
                memory.tenant = tenant;
                memory.flows.iter_mut().for_each(Remembered::begin_anew);
            }
            let mut all = 0.0;
            for ((class, flow), own) in Class::SHED.iter().zip(place.flows()).zip(&mut memory.flows) {
                let first = since(&mut own.first_units, flow.first_units.load(Ordering::Relaxed)) * scale;
                let again = since(&mut own.again_units, flow.again_units.load(Ordering::Relaxed)) * scale;
                let admitted = since(&mut own.admitted_units, flow.admitted_units.load(Ordering::Relaxed)) * scale;
                own.first += FRESH * (first - own.first);
                own.again += FRESH * (again - own.again);
                own.admitted += FRESH * (admitted - own.admitted);
                all += first + again;
                sums.offered.set(*class, sums.offered.at(*class) + first + again);
                sums.admitted.set(*class, sums.admitted.at(*class) + admitted);
                sums.asked.set(*class, sums.asked.at(*class) + own.asked());
            }
            memory.idle_windows = if all == 0.0 {
                memory.idle_windows.saturating_add(1)
            } else {
                0
            };
            if memory.idle_windows >= FORGET_WINDOWS && at != TENANTS_MAX {
                memory.idle_windows = 0;
                core.tenants.free(at);
            }
        }
        for class in Class::SHED {
            let so_far = core.completed_units(class) as f64;
            sums.completed
                .set(class, (so_far - self.completed_units.at(class)).max(0.0) * scale);
            self.completed_units.set(class, so_far);
        }
        sums
    }

    /// Lets the levels go one step.
    fn judge(&mut self, options: &AdmissionOptions, sums: &Sums, moment: &Moment) -> Room {
        let pressure = &moment.pressure;
        let floor = options.floor_units_per_second as f64 * WINDOW_MS as f64 / 1000.0;
        let seen = |of: fn(&PerClass<f64>) -> f64, wait: Wait, is_certain: bool| Seen {
            offered: of(&sums.offered),
            admitted: of(&sums.admitted),
            completed: of(&sums.completed),
            trouble: wait.trouble,
            wait_ms: wait.ms,
            is_certain,
        };
        let of_lag = Wait::of(moment.lag_ms.max(pressure.loop_lag_ms_mean), options.lag_target_ms);
        let of_memory = Wait {
            trouble: if pressure.memory_is_tight { TIGHT } else { 0.0 },
            ms: 0.0,
        };
        let all = of_lag.or_worse(of_memory);
        self.level
            .step(seen(PerClass::sum, all, pressure.memory_is_tight), floor);
        let of_commit = Wait::of(pressure.commit_wait_ms, options.commit_wait_max_ms);
        let of_players = Wait::of(moment.players_lag_ms, options.players_lag_max_ms);
        let storing = |units: &PerClass<f64>| units.sum() - units.at(Class::Verify);
        let store = of_commit.or_worse(of_players);
        self.store_level
            .step(seen(storing, store, of_commit.trouble > 1.0), floor);
        let of_hash = Wait::of(pressure.hash_wait_ms, options.hash_wait_max_ms);
        let hashing = |units: &PerClass<f64>| units.at(Class::Login);
        self.hash_level.step(seen(hashing, of_hash, false), floor);
        let logins = sums.admitted.at(Class::Login) / f64::from(options.login.cost_units.max(1));
        self.hashing.see(pressure.hash_jobs, logins);
        Room {
            units: self.level.units(),
            store_units: self.store_level.units(),
            hash_units: self.hash_units(),
        }
    }

    /// Units of logins that the hash pool leaves room for; infinite where most of them do not need it.
    fn hash_units(&self) -> f64 {
        if self.hashing.is_most() {
            self.hash_level.units()
        } else {
            f64::INFINITY
        }
    }

    /// Turns the classes' units into who passes, tenant by tenant.
    fn hand_out(&self, core: &Core, given: &PerClass<f64>, asked: &PerClass<f64>) {
        let used: Vec<usize> = core.tenants.used().map(|(at, _)| at).collect();
        for (place, class) in Class::SHED.into_iter().enumerate() {
            let of = |at: usize| self.memory.get(at)?.flows.get(place);
            let is_enough = given.at(class) >= asked.at(class);
            let level = if is_enough {
                f64::INFINITY
            } else {
                let mut wishes: Vec<f64> = used.iter().filter_map(|at| of(*at)).map(Remembered::asked).collect();
                share::fair_level(given.at(class), &mut wishes)
            };
            for at in &used {
                let (Some(own), Some(flow)) = (of(*at), core.tenants.at(*at).flow(class)) else {
                    continue;
                };
                let units = own.asked().min(level);
                let pass = if class.prefers_first_attempts() {
                    share::fractions(units, own.first, own.again)
                } else {
                    share::fractions(units, own.asked(), 0.0)
                };
                let again = if class.prefers_first_attempts() {
                    pass.again
                } else {
                    pass.first
                };
                flow.given_milliunits.store((units * 1_000.0) as u64, Ordering::Relaxed);
                flow.first_below.store(rank::threshold(pass.first), Ordering::Relaxed);
                flow.again_below.store(rank::threshold(again), Ordering::Relaxed);
            }
        }
    }

    /// Publishes what was found.
    fn tell(&mut self, core: &Core, moment: &Moment, sums: &Sums, given: &PerClass<f64>) {
        let mut fractions = PerClass::default();
        for class in Class::SHED {
            let (asked, given) = (sums.asked.at(class), given.at(class));
            let fraction = if given >= asked { 1.0 } else { given / asked };
            fractions.set(class, fraction);
            core.figures.class(class).fraction.set(fraction);
            let before = self.ratio_before.at(class);
            let ratio = refusal::ratio(asked, given, before);
            core.set_retry_base_ms(class, refusal::retry_base_ms(ratio, before));
            self.ratio_before.set(class, ratio);
        }
        let per_second = 1000.0 / WINDOW_MS as f64;
        let limit = self.level.units() * per_second;
        let lag_ms = moment.lag_ms.max(moment.pressure.loop_lag_ms_mean);
        core.figures.lag_ms.set(lag_ms);
        core.figures.limit_units.set(limit);
        core.figures.players_lag_ms.set(moment.players_lag_ms);
        core.figures.commit_wait_ms.set(moment.pressure.commit_wait_ms);
        core.figures.hash_wait_ms.set(moment.pressure.hash_wait_ms);
        *core.signs.lock() = Signs {
            lag_ms,
            players_lag_ms: moment.players_lag_ms,
            pressure: moment.pressure,
            is_overloaded: self.level.is_overloaded() || self.store_level.is_overloaded(),
            limit_units_per_second: limit,
            store_limit_units_per_second: self.store_level.units() * per_second,
            hash_limit_units_per_second: self.hash_units() * per_second,
            offered: scaled(&sums.offered, per_second),
            admitted: scaled(&sums.admitted, per_second),
            fractions,
            tenants: self.busiest(core),
        };
    }

    /// The tenants that ask for most, by class.
    fn busiest(&self, core: &Core) -> Vec<TenantSigns> {
        let per_second = 1000.0 / WINDOW_MS as f64;
        let mut all: Vec<TenantSigns> = Vec::with_capacity(SHOWN);
        for (at, place) in core.tenants.used() {
            let Some(memory) = self.memory.get(at) else { continue };
            for ((class, own), flow) in Class::SHED.iter().zip(&memory.flows).zip(place.flows()) {
                // What faded to nothing is not shown.
                if own.asked() * per_second < 0.5 {
                    continue;
                }
                all.push(TenantSigns {
                    tenant: memory.tenant,
                    class: *class,
                    offered: own.asked() * per_second,
                    admitted: own.admitted * per_second,
                    fraction: f64::from(flow.first_below.load(Ordering::Relaxed)) / f64::from(rank::RANKS),
                });
            }
        }
        all.sort_by(|a, b| b.offered.total_cmp(&a.offered));
        all.truncate(SHOWN);
        all
    }
}

impl Remembered {
    /// Another tenant took the place; the counts go on from where they are.
    fn begin_anew(&mut self) {
        (self.first, self.again, self.admitted) = (0.0, 0.0, 0.0);
    }
}

fn since(last: &mut u64, now: u64) -> f64 {
    let more = now.saturating_sub(*last);
    *last = now;
    more as f64
}

fn scaled(units: &PerClass<f64>, times: f64) -> PerClass<f64> {
    PerClass(units.0.map(|unit| unit * times))
}
