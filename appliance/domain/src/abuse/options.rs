//! What the abuse limits are set to.

use crate::challenge::ChallengeOptions;

/// What happens to a call that is beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitAction {
    /// It is refused with 429, the limit's name and a time.
    Refuse,
    /// It must bring a proof of work; see [`ChallengeOptions`].
    Challenge,
}

/// A limit: so many at once, so many for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Stable name, told in the refusal's `limit`.
    pub name: &'static str,
    /// Events a second for ever, above 0; at least one a day is let through.
    pub per_s: f64,
    /// Events at once, after a pause; 0 switches the limit off. No more than come back at the rate in 90 days.
    pub burst: u32,
    /// What happens beyond it. A limit on addresses never refuses on its own, whatever it says here: thousands of
    /// players share the one address of a carrier.
    pub action: LimitAction,
}

impl Limit {
    const fn new(name: &'static str, per_s: f64, burst: u32, action: LimitAction) -> Self {
        Self {
            name,
            per_s,
            burst,
            action,
        }
    }

    /// Time between two events at the rate: a microsecond to a day.
    pub(super) fn interval_us(&self) -> u64 {
        const DAY_US: f64 = 86_400_000_000.0;
        let interval_us = 1_000_000.0 / self.per_s;
        // A rate that is no number, or none at all, is the slowest.
        if interval_us >= 0.0 {
            interval_us.clamp(1.0, DAY_US) as u64
        } else {
            DAY_US as u64
        }
    }
}

/// The abuse limits of logins, registrations, password changes and bound names.
///
/// Attempts are counted per address, device, account and game; wrong passwords once more per address, device and
/// account. A device that logged in to the account before is not held back by the account's limits: else anybody could
/// lock a player out by sending wrong passwords.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AbuseOptions {
    /// Whether anything is counted at all. Default true.
    pub enabled: bool,
    /// Cells of exact state, 8 bytes each, for all limits together. Default 1,000,000.
    pub cells: usize,
    /// Attempts per IPv4 address: default 20/s, 1,000 at once, challenge.
    pub ipv4: Limit,
    /// Attempts per IPv4 /24: default 100/s, 5,000 at once, challenge.
    pub ipv4_network: Limit,
    /// Attempts per IPv6 /64: default 5/s, 200 at once, challenge.
    pub ipv6_network: Limit,
    /// Attempts per device: default 0.5/s, 30 at once, refuse.
    pub device: Limit,
    /// Attempts per account or name: default 0.5/s, 30 at once, refuse.
    pub account: Limit,
    /// Attempts per game and package: default 50,000/s, 500,000 at once, challenge.
    pub game: Limit,
    /// Messages per phone number: default one a minute, 3 at once, refuse. For operations with a phone.
    pub phone: Limit,
    /// Wrong passwords per address (IPv4 address or IPv6 /64): default 1/s, 200 at once, challenge.
    pub failed_address: Limit,
    /// Wrong passwords per device: default one a minute, 10 at once, refuse.
    pub failed_device: Limit,
    /// Wrong passwords per account or name: default one a minute, 10 at once, refuse.
    pub failed_account: Limit,
    /// Proofs of work.
    pub challenge: ChallengeOptions,
}

impl Default for AbuseOptions {
    fn default() -> Self {
        use LimitAction::{Challenge, Refuse};
        const A_MINUTE: f64 = 1.0 / 60.0;
        Self {
            enabled: true,
            cells: 1_000_000,
            ipv4: Limit::new("ipv4", 20.0, 1_000, Challenge),
            ipv4_network: Limit::new("ipv4_network", 100.0, 5_000, Challenge),
            ipv6_network: Limit::new("ipv6_network", 5.0, 200, Challenge),
            device: Limit::new("device", 0.5, 30, Refuse),
            account: Limit::new("account", 0.5, 30, Refuse),
            game: Limit::new("game", 50_000.0, 500_000, Challenge),
            phone: Limit::new("phone", A_MINUTE, 3, Refuse),
            failed_address: Limit::new("failed_address", 1.0, 200, Challenge),
            failed_device: Limit::new("failed_device", A_MINUTE, 10, Refuse),
            failed_account: Limit::new("failed_account", A_MINUTE, 10, Refuse),
            challenge: ChallengeOptions::default(),
        }
    }
}

impl AbuseOptions {
    /// Nothing is counted and nobody is held back; challenges are still issued when asked for.
    #[must_use]
    pub fn off() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }
}
