//! What a host may set about admission. Plain numbers, so that two sets compare equal; replaced as a whole while running.

use super::class::Class;

/// What becomes of a decision to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It is carried out.
    #[default]
    Enforce,
    /// It is counted, and the request goes through. The cap on requests in flight holds all the same.
    DryRun,
    /// None is made: no levels and no quotas. The cap on requests in flight holds all the same. For benches.
    Off,
}

impl Mode {
    /// Its name in the live view.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::DryRun => "dry_run",
            Mode::Off => "off",
        }
    }
}

/// When logins pass the waiting room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitingRoomMode {
    /// Never; refused logins get no ticket.
    Off,
    /// While logins are shed, and only where that is enforced.
    #[default]
    Auto,
    /// Always, whatever is done about load.
    Always,
}

impl WaitingRoomMode {
    /// Its name in settings and in the live view.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            WaitingRoomMode::Off => "off",
            WaitingRoomMode::Auto => "auto",
            WaitingRoomMode::Always => "always",
        }
    }
}

/// What a class is worth, costs and may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassOptions {
    /// Guaranteed share, 0-100 percent: of all requests in flight, and of the work the classes above [`Class::Refresh`]
    /// leave. [`Class::Verify`] takes all it needs, whatever stands here for it; this is its share in flight.
    pub share_percent: u8,
    /// Work of one request in units, 1-1000; a token check is the measure.
    pub cost_units: u32,
    /// Time a caller is taken to wait who does not say it, in milliseconds, 1-60000. A request that waited longer before
    /// its work began is not begun.
    pub deadline_ms: u64,
}

/// Every number of admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionOptions {
    /// Enforced, counted only, or off.
    pub mode: Mode,
    /// Token checks.
    pub verify: ClassOptions,
    /// Token refresh, and what a player with a token asks.
    pub refresh: ClassOptions,
    /// Login.
    pub login: ClassOptions,
    /// Registration.
    pub register: ClassOptions,
    /// Lists and scans.
    pub bulk: ClassOptions,
    /// Mean lateness of the threads that token checks run on above which they are overloaded, in milliseconds, 1-1000.
    pub lag_target_ms: u64,
    /// Mean lateness of the players' threads above which everything but token checks is held down, in milliseconds, 1-60000.
    pub players_lag_max_ms: u64,
    /// Wait for a commit above which the store is overloaded, in milliseconds, 1-60000.
    pub commit_wait_max_ms: u64,
    /// Wait for a password hash above which logins are held down, in milliseconds, 1-60000.
    pub hash_wait_max_ms: u64,
    /// Work that is admitted even when every signal is bad, in units a second, 10-1000000: a controller that is
    /// misled must not close the house.
    pub floor_units_per_second: u64,
    /// Token checks a second of one server key, 1-1000000; more are answered 429 `limit.server_key`, load or no load.
    /// One second's worth may come at once. None: no such quota.
    pub server_key_verifies_per_second: Option<u32>,
    /// Refusals held back at a time, 0-1000000, for connections that keep asking after being refused; further ones
    /// are answered at once.
    pub held_refusals_max: usize,
    /// When logins pass the waiting room.
    pub waiting_room: WaitingRoomMode,
    /// Logins a second of one game that the waiting room lets in while it stands open always, 1-1000000. While it is open
    /// for load only, the controller says how many.
    pub waiting_room_logins_per_second: u32,
}

impl AdmissionOptions {
    /// The options of a class; none for [`Class::Vital`], which is not shed.
    #[must_use]
    pub fn class(&self, class: Class) -> Option<&ClassOptions> {
        match class {
            Class::Vital => None,
            Class::Verify => Some(&self.verify),
            Class::Refresh => Some(&self.refresh),
            Class::Login => Some(&self.login),
            Class::Register => Some(&self.register),
            Class::Bulk => Some(&self.bulk),
        }
    }
}

impl Default for AdmissionOptions {
    fn default() -> Self {
        let class = |share_percent, cost_units, deadline_ms| ClassOptions {
            share_percent,
            cost_units,
            deadline_ms,
        };
        AdmissionOptions {
            mode: Mode::Enforce,
            verify: class(50, 1, 1_000),
            refresh: class(20, 5, 2_000),
            login: class(20, 7, 5_000),
            register: class(5, 7, 5_000),
            bulk: class(5, 10, 10_000),
            lag_target_ms: 20,
            players_lag_max_ms: 250,
            commit_wait_max_ms: 100,
            hash_wait_max_ms: 500,
            floor_units_per_second: 200,
            server_key_verifies_per_second: None,
            held_refusals_max: 100_000,
            waiting_room: WaitingRoomMode::Auto,
            waiting_room_logins_per_second: 500,
        }
    }
}
