//! The door as requests meet it, and the controller against a toy server: work in a queue, so much of it done in a
//! window. No runtime and no clock; every run is the same.

mod requests;
mod waiting;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::class::Class;
use super::controller::{Controller, Moment, WINDOW_MS};
use super::core::{Core, Knock, Permit, STALE_MS};
use super::figures::{Figures, Reason};
use super::rank::Subject;
use super::refusal::Shed;
use super::tenants::Tenant;
use super::{AdmissionOptions, Mode};
use crate::host::Pressure;

const HOUR_MS: u64 = 3_600_000;
const START_AT: u64 = 500_000 * HOUR_MS;

fn core_with(options: AdmissionOptions, in_flight_max: usize) -> Core {
    Core::new(options, in_flight_max, [7; 32], Arc::new(Figures::default()))
}

fn core() -> Core {
    core_with(AdmissionOptions::default(), 1_000_000)
}

fn knock(class: Class, tenant: Tenant) -> Knock {
    Knock {
        class,
        tenant,
        attempt: 1,
        is_metered: class == Class::Verify,
        now_us: 0,
    }
}

fn admit(core: &Core, class: Class) -> Result<Permit<'_>, Shed> {
    core.admit(&knock(class, Tenant::Others), || Subject::Number(1))
}

// The caps in flight.

#[test]
fn the_cap_holds_room_comes_back_and_the_vital_pass() {
    let mut options = AdmissionOptions::default();
    for class in [&mut options.verify, &mut options.login, &mut options.register] {
        class.share_percent = 0;
    }
    let core = core_with(options, 2);
    let held = [
        admit(&core, Class::Login).unwrap(),
        admit(&core, Class::Verify).unwrap(),
    ];
    assert_eq!(admit(&core, Class::Verify).unwrap_err().reason, Reason::InFlight);
    assert!(admit(&core, Class::Vital).is_ok());
    assert_eq!(core.in_flight(), 2, "who is refused takes no room");
    drop(held);
    assert_eq!(core.in_flight(), 0);
    assert!(admit(&core, Class::Register).is_ok());
}

#[test]
fn a_class_has_its_share_in_flight_however_full_the_house_is() {
    let core = core_with(AdmissionOptions::default(), 100);
    let mut held: Vec<_> = (0..100).map(|_| admit(&core, Class::Bulk).unwrap()).collect();
    assert!(admit(&core, Class::Bulk).is_err(), "all was borrowed");
    let mut in_the_share = |class, share: usize| {
        held.extend((0..share).map(|_| admit(&core, class).unwrap()));
        assert_eq!(admit(&core, class).unwrap_err().reason, Reason::InFlight);
    };
    in_the_share(Class::Verify, 50);
    in_the_share(Class::Refresh, 20);
    in_the_share(Class::Login, 20);
    in_the_share(Class::Register, 5);
    assert_eq!(core.in_flight_of(Class::Bulk), 100);
}

// Quotas.

#[test]
fn a_keys_quota_is_its_own_and_cannot_be_used_up_by_naming_it() {
    let options = AdmissionOptions {
        server_key_verifies_per_second: Some(10),
        ..AdmissionOptions::default()
    };
    let core = core_with(options, 1_000);
    let ask = |key| {
        let knock = knock(Class::Verify, Tenant::Key(key));
        core.admit(&knock, || Subject::Number(1))
            .map(|permit| permit.quota.unwrap())
    };
    for _ in 0..1_000 {
        ask(1).unwrap();
    }
    let quota = ask(1).unwrap();
    core.tenants.at(quota.place).quota.charge(0, quota.per_second, 11);
    let shed = ask(1).unwrap_err();
    assert_eq!(shed.reason, Reason::ServerKey);
    assert!((1..=200).contains(&shed.retry_after_ms), "{shed:?}");
    let claimed = knock(Class::Verify, Tenant::ClaimedKey(1));
    let of_claimed = core.admit(&claimed, || Subject::Number(1));
    assert!(of_claimed.is_err(), "a new connection has no quota of its own");
    assert!(ask(2).is_ok(), "another key's quota is untouched");
    let other = knock(Class::Refresh, Tenant::Key(1));
    assert!(
        core.admit(&other, || Subject::Number(1)).is_ok(),
        "only checks are counted"
    );
}

#[test]
fn off_has_no_quota_and_a_dry_run_counts_what_it_lets_through() {
    for (mode, would) in [(Mode::Off, 0), (Mode::DryRun, 1)] {
        let core = core_with(
            AdmissionOptions {
                mode,
                server_key_verifies_per_second: Some(1),
                ..AdmissionOptions::default()
            },
            1_000,
        );
        let knock = knock(Class::Verify, Tenant::Key(1));
        let place = core.admit(&knock, || Subject::Number(1)).unwrap().place;
        core.tenants.at(place).quota.charge(0, 1, 5);
        assert!(core.admit(&knock, || Subject::Number(1)).is_ok());
        let figures = core.figures.class(Class::Verify);
        assert_eq!(figures.shed_count(Reason::ServerKey, true), would);
        assert_eq!(figures.shed_count(Reason::ServerKey, false), 0);
    }
}

// The controller and a toy server.

/// Who asks, how often a window.
#[derive(Clone, Copy)]
struct Crowd {
    class: Class,
    tenant: Tenant,
    requests: u64,
    attempt: u64,
}

fn crowd(class: Class, tenant: Tenant, requests: u64) -> Crowd {
    Crowd {
        class,
        tenant,
        requests,
        attempt: 1,
    }
}

/// A server that does so many units a window, in order.
struct Toy<'a> {
    core: &'a Core,
    controller: Controller,
    /// When each came, and what it is.
    queue: VecDeque<(u64, Class, Permit<'a>)>,
    /// Does the store answer nobody?
    is_stalled: bool,
    window: u64,
    /// Units done in a window.
    capacity: u64,
    pressure: Pressure,
    /// Accounts that ask take turns through these.
    next_account: u64,
}

/// What one window did.
#[derive(Default)]
struct Done {
    /// Requests let in, by the place of their crowd.
    admitted: Vec<u64>,
    /// Units answered within a second.
    in_time: u64,
    lag_ms: f64,
    players_lag_ms: f64,
}

impl<'a> Toy<'a> {
    fn new(core: &'a Core, capacity: u64) -> Self {
        Toy {
            core,
            controller: Controller::new(),
            queue: VecDeque::new(),
            is_stalled: false,
            window: 0,
            capacity,
            pressure: Pressure::default(),
            next_account: 0,
        }
    }

    fn window(&mut self, crowds: &[Crowd]) -> Done {
        let mut done = Done::default();
        let now_ms = self.window * WINDOW_MS;
        for crowd in crowds {
            let mut admitted = 0;
            for _ in 0..crowd.requests {
                // A golden ratio's steps: all accounts come by in an even mix.
                self.next_account = self.next_account.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let account = self.next_account;
                let knock = Knock {
                    class: crowd.class,
                    tenant: crowd.tenant,
                    attempt: crowd.attempt,
                    is_metered: false,
                    now_us: now_ms * 1000,
                };
                if let Ok(permit) = self.core.admit(&knock, || Subject::Account(account)) {
                    self.queue.push_back((self.window, crowd.class, permit));
                    admitted += 1;
                }
            }
            done.admitted.push(admitted);
        }
        let mut left = self.capacity;
        let mut waiting = VecDeque::new();
        let (mut late, mut in_line) = (0, 0);
        // Checks have threads of their own: they are done first.
        let (checks, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|(_, class, _)| *class == Class::Verify);
        for (came, class, permit) in checks.into_iter().chain(rest) {
            let cost = u64::from(self.core.options.load().class(class).unwrap().cost_units);
            if self.is_stalled && class != Class::Verify {
                waiting.push_back((came, class, permit));
            } else if cost > left {
                left = 0;
                *(if class == Class::Verify {
                    &mut late
                } else {
                    &mut in_line
                }) += cost;
                waiting.push_back((came, class, permit));
            } else {
                left -= cost;
                done.in_time += if self.window - came < 10 { cost } else { 0 };
            }
        }
        self.queue = waiting;
        // What waits for the store makes no thread late.
        let ms = |units| units as f64 / self.capacity as f64 * WINDOW_MS as f64;
        (done.lag_ms, done.players_lag_ms) = (ms(late), ms(in_line));
        self.window += 1;
        let moment = Moment {
            elapsed_ms: WINDOW_MS as f64,
            lag_ms: done.lag_ms,
            now_ms: self.window * WINDOW_MS,
            now_at: START_AT + self.window * WINDOW_MS,
            players_lag_ms: done.players_lag_ms,
            pressure: self.pressure,
        };
        self.controller.window(self.core, &moment);
        done
    }

    fn windows(&mut self, count: usize, crowds: &[Crowd]) -> Vec<Done> {
        (0..count).map(|_| self.window(crowds)).collect()
    }
}

fn mean(of: &[Done], figure: impl Fn(&Done) -> u64) -> f64 {
    of.iter().map(figure).sum::<u64>() as f64 / of.len() as f64
}

const GAME: Tenant = Tenant::Game(1);

#[test]
fn ten_times_too_much_leaves_goodput_at_its_peak_and_verify_whole() {
    let core = core();
    let mut toy = Toy::new(&core, 4_000);
    // Verify 1,000, refresh 5,000 and login 35,000 units: ten times the capacity.
    let crowds = [
        crowd(Class::Verify, Tenant::Key(1), 1_000),
        crowd(Class::Refresh, GAME, 1_000),
        crowd(Class::Login, GAME, 5_000),
    ];
    // The first windows let in too much; it is worked off within five seconds.
    let begun = toy.windows(50, &crowds);
    let steady = toy.windows(100, &crowds);
    let all = begun.iter().chain(&steady);
    assert!(
        all.clone().all(|done| done.admitted[0] == 1_000),
        "verify is never shed"
    );
    let good = mean(&steady, |done| done.in_time);
    assert!(good > 0.85 * 4_000.0, "goodput {good} of 4000");
    let least = steady.iter().map(|done| done.in_time).min().unwrap();
    assert!(least > 2_000, "it swings down to {least}");
    assert!(
        all.skip(3).all(|done| done.admitted[1] > 0),
        "it never closes to the next class"
    );
    let worst = |of: fn(&Done) -> f64| steady.iter().map(of).fold(0.0, f64::max);
    assert_eq!(worst(|done| done.lag_ms), 0.0, "checks do not wait");
    let worst_players_ms = worst(|done| done.players_lag_ms);
    assert!(worst_players_ms < 400.0, "{worst_players_ms}");
    let logins = mean(&steady, |done| done.admitted[2]) * 7.0;
    assert!(logins > 0.15 * 3_000.0, "the guarantee of logins: {logins}");
}

#[test]
fn verify_alone_above_capacity_is_shed_fairly_by_tenant() {
    let core = core();
    let mut toy = Toy::new(&core, 3_000);
    let crowds = [
        crowd(Class::Verify, Tenant::Key(1), 10_000),
        crowd(Class::Verify, Tenant::Key(2), 500),
        crowd(Class::Verify, Tenant::Key(3), 800),
    ];
    toy.windows(50, &crowds);
    let steady = toy.windows(100, &crowds);
    for done in &steady {
        assert_eq!(
            (done.admitted[1], done.admitted[2]),
            (500, 800),
            "the quiet ones are untouched"
        );
    }
    let greedy = mean(&steady, |done| done.admitted[0]);
    assert!(
        (1_200.0..1_900.0).contains(&greedy),
        "it has what the others leave: {greedy}"
    );
}

#[test]
fn a_game_at_ten_times_does_not_touch_the_players_of_another() {
    let core = core();
    let mut toy = Toy::new(&core, 4_000);
    let crowds = [
        crowd(Class::Login, GAME, 4_000),
        crowd(Class::Login, Tenant::Game(2), 60),
        crowd(Class::Login, Tenant::Game(3), 150),
    ];
    toy.windows(60, &crowds);
    for done in toy.windows(60, &crowds) {
        assert_eq!((done.admitted[1], done.admitted[2]), (60, 150));
    }
}

#[test]
fn lower_classes_run_only_in_what_verify_leaves() {
    let core = core();
    let mut toy = Toy::new(&core, 2_000);
    let crowds = [
        crowd(Class::Verify, Tenant::Key(1), 5_000),
        crowd(Class::Login, GAME, 500),
    ];
    toy.windows(60, &crowds);
    let steady = toy.windows(50, &crowds);
    assert_eq!(mean(&steady, |done| done.admitted[1]), 0.0);
}

#[test]
fn after_a_stalled_store_goodput_is_back_within_two_seconds() {
    let core = core();
    let mut toy = Toy::new(&core, 4_000);
    let crowds = [
        crowd(Class::Verify, Tenant::Key(1), 1_000),
        crowd(Class::Refresh, GAME, 400),
    ];
    toy.windows(50, &crowds);
    toy.pressure.commit_wait_ms = 800.0;
    toy.is_stalled = true;
    let stalled = toy.windows(20, &crowds);
    assert!(stalled.iter().all(|done| done.admitted[0] == 1_000), "verify goes on");
    toy.pressure.commit_wait_ms = 2.0;
    toy.is_stalled = false;
    toy.windows(20, &crowds);
    let after = toy.windows(10, &crowds);
    let back = mean(&after, |done| done.in_time);
    assert!(back > 0.95 * 3_000.0, "{back} of 3000");
}

#[test]
fn a_slow_hash_pool_holds_down_logins_alone() {
    let core = core();
    let mut toy = Toy::new(&core, 100_000);
    let crowds = [
        crowd(Class::Verify, Tenant::Key(1), 1_000),
        crowd(Class::Refresh, GAME, 1_000),
        crowd(Class::Login, GAME, 1_000),
    ];
    toy.windows(20, &crowds);
    toy.pressure.hash_wait_ms = 2_000.0;
    let held = toy.windows(20, &crowds);
    let last = held.last().unwrap();
    assert_eq!((last.admitted[0], last.admitted[1]), (1_000, 1_000));
    assert!(last.admitted[2] < 500, "{}", last.admitted[2]);
    assert!(core.figures.class(Class::Login).shed_count(Reason::Hash, false) > 0);
    assert_eq!(core.figures.class(Class::Login).shed_count(Reason::Level, false), 0);
    toy.pressure.hash_wait_ms = 10.0;
    let back = toy.windows(40, &crowds);
    assert_eq!(back.last().unwrap().admitted[2], 1_000);
}

#[test]
fn a_slow_hash_pool_does_not_hold_down_logins_that_need_no_hash() {
    let core = core();
    let mut toy = Toy::new(&core, 100_000);
    let crowds = [crowd(Class::Login, GAME, 1_000)];
    let mut windows = |count: u64, hashed: u64| {
        let each = (0..count).map(|_| {
            let so_far = toy.pressure.hash_jobs.unwrap_or(0);
            toy.pressure.hash_jobs = Some(so_far + hashed);
            toy.pressure.hash_wait_ms = 2_000.0;
            toy.windows(1, &crowds).last().unwrap().admitted[0]
        });
        each.last().unwrap()
    };
    windows(10, 10);
    assert_eq!(
        windows(30, 10),
        1_000,
        "guests, and a few passwords that the pool itself refuses"
    );
    let held = windows(30, 1_000);
    assert!(held < 500, "a flood of passwords: {held}");
}

#[test]
fn repeated_attempts_are_shed_first_and_not_of_refreshes() {
    let core = core();
    let mut toy = Toy::new(&core, 2_000);
    let again = |class, requests| Crowd {
        attempt: 2,
        ..crowd(class, GAME, requests)
    };
    let crowds = [crowd(Class::Login, GAME, 250), again(Class::Login, 250)];
    toy.windows(50, &crowds);
    let steady = toy.windows(50, &crowds);
    let (first, second) = (
        mean(&steady, |done| done.admitted[0]),
        mean(&steady, |done| done.admitted[1]),
    );
    assert!(first > 225.0, "first attempts: {first}");
    assert!(second < 60.0, "repeated ones: {second}");

    let core = self::core();
    let mut toy = Toy::new(&core, 1_250);
    let crowds = [crowd(Class::Refresh, GAME, 250), again(Class::Refresh, 250)];
    toy.windows(50, &crowds);
    let steady = toy.windows(50, &crowds);
    let (first, second) = (
        mean(&steady, |done| done.admitted[0]),
        mean(&steady, |done| done.admitted[1]),
    );
    assert!((first - second).abs() < 40.0, "{first} and {second}");
}

#[test]
fn memory_that_is_tight_is_believed_at_once_and_the_floor_stays_open() {
    let core = core();
    let mut toy = Toy::new(&core, 10_000);
    let crowds = [crowd(Class::Login, GAME, 500)];
    toy.windows(20, &crowds);
    toy.pressure.memory_is_tight = true;
    let held = toy.windows(200, &crowds);
    assert!(held[1].admitted[0] < 500, "at the first sign");
    assert!(held.last().unwrap().admitted[0] > 0, "never to nothing");
}

/// Lets the toy shed half of the logins.
fn half_shed(core: &Core) -> Toy<'_> {
    let mut toy = Toy::new(core, 1_750);
    toy.windows(50, &[crowd(Class::Login, GAME, 500)]);
    assert!(core.is_shedding.load(Ordering::Relaxed));
    toy
}

fn is_in(core: &Core, account: u64, now_ms: u64) -> bool {
    let knock = Knock {
        now_us: now_ms * 1000,
        ..knock(Class::Login, GAME)
    };
    core.admit(&knock, || Subject::Account(account)).is_ok()
}

#[test]
fn a_player_is_in_or_out_for_the_hour() {
    let core = core();
    let toy = half_shed(&core);
    let now_ms = toy.window * WINDOW_MS;
    let who = |core: &Core| -> Vec<bool> { (0..300).map(|account| is_in(core, account, now_ms)).collect() };
    let first = who(&core);
    assert_eq!(first, who(&core), "asking again changes nothing");
    let inside = first.iter().filter(|is_in| **is_in).count();
    assert!((60..240).contains(&inside), "{inside} of 300");
    core.hour.fetch_add(1, Ordering::Relaxed);
    let moved = first.iter().zip(who(&core)).filter(|(a, b)| **a != *b).count();
    assert!(moved > 60, "another hour, other players: {moved} moved");
}

#[test]
fn without_a_window_for_two_seconds_the_caps_stand_alone() {
    let core = core();
    let toy = half_shed(&core);
    let now_ms = toy.window * WINDOW_MS;
    let out = (0..).find(|account| !is_in(&core, *account, now_ms)).unwrap();
    assert!(!is_in(&core, out, now_ms + STALE_MS - 1));
    assert!(is_in(&core, out, now_ms + STALE_MS), "nobody believes an old level");
}

#[test]
fn a_dry_run_lets_everybody_through_and_counts() {
    let core = core();
    let toy = half_shed(&core);
    core.options.store(Arc::new(AdmissionOptions {
        mode: Mode::DryRun,
        ..AdmissionOptions::default()
    }));
    let now_ms = toy.window * WINDOW_MS;
    assert!((0..200).all(|account| is_in(&core, account, now_ms)));
    let would = core.figures.class(Class::Login).shed_count(Reason::Level, true);
    assert!((40..160).contains(&would), "{would}");
    core.options.store(Arc::new(AdmissionOptions {
        mode: Mode::Off,
        ..AdmissionOptions::default()
    }));
    assert!((0..200).all(|account| is_in(&core, account, now_ms)));
    assert_eq!(core.figures.class(Class::Login).shed_count(Reason::Level, true), would);
}

#[test]
fn a_refused_player_is_asked_back_later_the_more_is_refused() {
    let core = core();
    let mut toy = Toy::new(&core, 700);
    toy.windows(60, &[crowd(Class::Login, GAME, 1_000)]);
    let base_ms = core.retry_base_ms(Class::Login);
    assert!((5_000..=20_000).contains(&base_ms), "ten times too much: {base_ms}");
    assert_eq!(core.retry_base_ms(Class::Verify), 1_000);
}

#[test]
fn when_the_storm_is_over_everything_is_open_and_idle() {
    let core = core();
    let mut toy = Toy::new(&core, 1_000);
    toy.windows(50, &[crowd(Class::Login, GAME, 1_000)]);
    toy.windows(30, &[crowd(Class::Login, GAME, 10)]);
    assert!(!core.is_shedding.load(Ordering::Relaxed));
    let open = toy.window(&[crowd(Class::Login, GAME, 100)]);
    assert_eq!(open.admitted[0], 100);
    assert!(!toy.controller.is_idle());
    toy.windows(30, &[]);
    assert!(toy.controller.is_idle());
}
