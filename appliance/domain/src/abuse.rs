//! Abuse limits with bounded memory: who may attempt how much, decided before anything slow, whatever keys an attacker
//! invents. Pure structures; time is an argument, and the chance they are seeded with too.
//!
//! Per limit a count-min sketch (stage 1) finds the keys that come often; only those get a cell of exact state
//! (stage 2) in one table for all limits. All together stay below [`MEMORY_MAX_BYTES`].

use std::sync::atomic::{AtomicU64, Ordering};

use crate::call::ClientAddress;
use crate::codes::{LIMIT_ACCOUNT, LIMIT_ADDRESS, LIMIT_DEVICE, LIMIT_GAME};
use crate::error::Error;
use crate::ids::{GameId, PackageId};

mod cells;
pub(crate) mod gate;
mod key;
mod meter;
mod options;
mod sketch;
#[cfg(test)]
mod tests;

use cells::Cells;
use key::{Seeds, address_id, limited_ip};
use meter::{Meter, Spot};

pub use key::SEED_BYTES;
pub use options::{AbuseOptions, Limit, LimitAction};

/// Most bytes of all limits together, at the default number of cells.
pub const MEMORY_MAX_BYTES: usize = 64 << 20;

/// What a limit is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// An address or a network.
    Address,
    /// A device.
    Device,
    /// An account, or a name that may belong to one.
    Account,
    /// A game and package.
    Game,
}

/// Who attempts something, as far as it is known before any slow work. What is `None` is not limited.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attempt {
    /// Address, unless it is one that stands for many (see [`Attempt::from`]).
    pub ip: Option<std::net::IpAddr>,
    /// Keyed hash of the device.
    pub device: Option<[u8; 16]>,
    /// Account id, or 128 bits of the keyed hash of a name.
    pub account: Option<u128>,
    /// Game and package.
    pub game: Option<(GameId, PackageId)>,
    /// Keyed hash of a phone number, for operations that send a message to it.
    pub phone: Option<[u8; 16]>,
}

impl Attempt {
    /// An attempt from an address. A client without an address (a balancer that names none, a loopback peer) is not
    /// limited by address.
    #[must_use]
    pub fn from(address: &ClientAddress) -> Self {
        Self {
            ip: limited_ip(address),
            ..Self::default()
        }
    }
}

/// A limit that an attempt is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// What it is told by.
    pub dimension: Dimension,
    /// Name of the limit.
    pub limit: &'static str,
    /// What it asks for.
    pub action: LimitAction,
    /// When the next attempt may come, in milliseconds, at least 1.
    pub retry_after_ms: u64,
}

impl Over {
    /// The refusal: 429 with the limit's name and a time.
    #[must_use]
    pub fn error(&self) -> Error {
        let code = match self.dimension {
            Dimension::Address => LIMIT_ADDRESS,
            Dimension::Device => LIMIT_DEVICE,
            Dimension::Account => LIMIT_ACCOUNT,
            Dimension::Game => LIMIT_GAME,
        };
        code.error()
            .with("limit", self.limit)
            .retry_after_ms(self.retry_after_ms)
    }
}

/// What the limits on the caller itself say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Callers {
    /// The device is beyond a limit.
    pub device: Option<Over>,
    /// The account is beyond a limit; to be forgiven when the device is known to it.
    pub account: Option<Over>,
}

impl Callers {
    fn refusal(&self) -> Option<Over> {
        [self.device, self.account]
            .into_iter()
            .flatten()
            .find(|over| over.action == LimitAction::Refuse)
    }
}

/// What happens to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go on.
    Pass,
    /// It must bring a proof of work.
    Challenge(Over),
    /// It is refused.
    Refuse(Over),
}

/// Figures of the limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AbuseCounters {
    /// Attempts judged.
    pub decisions: u64,
    /// Of those, asked for a proof of work by a limit.
    pub challenged: u64,
    /// Refused by address together with device or account.
    pub refused_address: u64,
    /// Refused by device.
    pub refused_device: u64,
    /// Refused by account.
    pub refused_account: u64,
    /// Refused by game.
    pub refused_game: u64,
    /// Wrong passwords counted.
    pub failures: u64,
    /// Cells that hold a key.
    pub cells_used: u64,
    /// Cells given up although they still mattered: more keys are held back than there is room for.
    pub cells_evicted: u64,
    /// Bytes in use.
    pub bytes: u64,
}

/// What an attempt is counted at.
struct Spots {
    device: Option<Spot>,
    account: Option<Spot>,
    phone: Option<Spot>,
    network: Option<Spot>,
    address: Option<Spot>,
    game: Option<Spot>,
}

#[derive(Default)]
struct Tally {
    decisions: AtomicU64,
    challenged: AtomicU64,
    refused: [AtomicU64; 4],
    failures: AtomicU64,
}

/// The limits.
pub struct AbuseLimits {
    is_on: bool,
    seeds: Seeds,
    cells: Cells,
    ipv4: Meter,
    ipv4_network: Meter,
    ipv6_network: Meter,
    device: Meter,
    account: Meter,
    game: Meter,
    phone: Meter,
    failed_address: Meter,
    failed_device: Meter,
    failed_account: Meter,
    /// When a wrong password was last counted: long after it nothing needs to be looked up about them.
    failed_at_ms: AtomicU64,
    tally: Tally,
}

impl AbuseLimits {
    /// Limits with nothing counted yet. `entropy` must be unpredictable, or an attacker could choose keys that push
    /// others out.
    #[must_use]
    pub fn new(options: &AbuseOptions, entropy: &[u8; SEED_BYTES]) -> Self {
        Self {
            is_on: options.enabled,
            seeds: Seeds::new(entropy),
            cells: Cells::new(options.cells),
            ipv4: Meter::new(options.ipv4, 1),
            ipv4_network: Meter::new(options.ipv4_network, 2),
            ipv6_network: Meter::new(options.ipv6_network, 3),
            device: Meter::new(options.device, 4),
            account: Meter::new(options.account, 5),
            game: Meter::new(options.game, 6),
            phone: Meter::new(options.phone, 7),
            failed_address: Meter::new(options.failed_address, 8),
            failed_device: Meter::new(options.failed_device, 9),
            failed_account: Meter::new(options.failed_account, 10),
            failed_at_ms: AtomicU64::new(0),
            tally: Tally::default(),
        }
    }

    /// Counts an attempt and judges it: both steps at once, for callers that forgive nothing.
    pub fn screen(&self, attempt: &Attempt, now_ms: u64) -> Verdict {
        if !self.is_on {
            return Verdict::Pass;
        }
        let spots = self.spots(attempt);
        let callers = self.callers_at(attempt, &spots, now_ms);
        self.decide_at(attempt, &spots, callers, now_ms)
    }

    /// First step: counts the attempt against the limits of device, account and phone. A device that is refused counts
    /// against nothing else, so that it cannot use up what belongs to others.
    pub fn callers(&self, attempt: &Attempt, now_ms: u64) -> Callers {
        if !self.is_on {
            return Callers::default();
        }
        self.callers_at(attempt, &self.spots(attempt), now_ms)
    }

    /// Second step: counts the attempt against the limits of addresses and game, unless it is refused already, and
    /// judges. An address alone only asks for a challenge; together with a device or an account beyond its limit it
    /// refuses.
    pub fn decide(&self, attempt: &Attempt, callers: Callers, now_ms: u64) -> Verdict {
        if !self.is_on {
            return Verdict::Pass;
        }
        self.decide_at(attempt, &self.spots(attempt), callers, now_ms)
    }

    /// Finds out where all that is known of an attempt is counted, before any of it is looked at: memory far away is then
    /// waited for once and not for each limit.
    fn spots(&self, attempt: &Attempt) -> Spots {
        let spot = |meter: &Meter, id: u128| meter.spot(&self.cells, &self.seeds, id);
        let (network, address) = match attempt.ip {
            Some(ip) if ip.is_ipv4() => {
                let id = address_id(ip);
                (Some(spot(&self.ipv4_network, id >> 8)), Some(spot(&self.ipv4, id)))
            }
            Some(ip) => (None, Some(spot(&self.ipv6_network, address_id(ip)))),
            None => (None, None),
        };
        Spots {
            device: attempt.device.map(|id| spot(&self.device, u128::from_be_bytes(id))),
            account: attempt.account.map(|id| spot(&self.account, id)),
            phone: attempt.phone.map(|id| spot(&self.phone, u128::from_be_bytes(id))),
            network,
            address,
            game: attempt
                .game
                .map(|(game, package)| spot(&self.game, u128::from(game.0) << 32 | u128::from(package.0))),
        }
    }

    fn callers_at(&self, attempt: &Attempt, spots: &Spots, now_ms: u64) -> Callers {
        let device = self
            .count(&self.device, Dimension::Device, spots.device, now_ms)
            .or_else(|| {
                let id = attempt.device.map(u128::from_be_bytes);
                self.peek(&self.failed_device, Dimension::Device, id, now_ms)
            });
        let callers = Callers { device, account: None };
        if callers.refusal().is_some() {
            return callers;
        }
        let account = self
            .count(&self.account, Dimension::Account, spots.account, now_ms)
            .or_else(|| self.peek(&self.failed_account, Dimension::Account, attempt.account, now_ms));
        let phone = self.count(&self.phone, Dimension::Account, spots.phone, now_ms);
        Callers {
            device,
            account: account.or(phone),
        }
    }

    fn decide_at(&self, attempt: &Attempt, spots: &Spots, callers: Callers, now_ms: u64) -> Verdict {
        self.tally.decisions.fetch_add(1, Ordering::Relaxed);
        if let Some(over) = callers.refusal() {
            return self.refuse(over);
        }
        let address = self.address(attempt, spots, now_ms);
        let caller = callers.device.or(callers.account);
        if let (Some(over), Some(_)) = (address, caller) {
            return self.refuse(over);
        }
        let game = self.count(&self.game, Dimension::Game, spots.game, now_ms);
        match game.filter(|over| over.action == LimitAction::Refuse) {
            Some(over) => self.refuse(over),
            None => match caller.or(address).or(game) {
                Some(over) => {
                    self.tally.challenged.fetch_add(1, Ordering::Relaxed);
                    Verdict::Challenge(over)
                }
                None => Verdict::Pass,
            },
        }
    }

    fn address(&self, attempt: &Attempt, spots: &Spots, now_ms: u64) -> Option<Over> {
        let (ip, dimension) = (attempt.ip?, Dimension::Address);
        let meter = if ip.is_ipv4() { &self.ipv4 } else { &self.ipv6_network };
        let of_network = self.count(&self.ipv4_network, dimension, spots.network, now_ms);
        self.count(meter, dimension, spots.address, now_ms)
            .or(of_network)
            .or_else(|| self.peek(&self.failed_address, dimension, Some(address_id(ip)), now_ms))
    }

    /// Counts a wrong password of an attempt that was let through.
    pub fn failure(&self, attempt: &Attempt, now_ms: u64) {
        if !self.is_on {
            return;
        }
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        self.failed_at_ms.store(now_ms, Ordering::Relaxed);
        let ids = [
            (&self.failed_device, attempt.device.map(u128::from_be_bytes)),
            (&self.failed_account, attempt.account),
            (&self.failed_address, attempt.ip.map(address_id)),
        ];
        for (meter, id) in ids {
            if let Some(id) = id {
                meter.count(&self.cells, meter.spot(&self.cells, &self.seeds, id), now_ms);
            }
        }
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counters(&self) -> AbuseCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = |dimension: Dimension| self.tally.refused.get(dimension as usize).map_or(0, of);
        let meters = [
            &self.ipv4,
            &self.ipv4_network,
            &self.ipv6_network,
            &self.device,
            &self.account,
            &self.game,
            &self.phone,
            &self.failed_address,
            &self.failed_device,
            &self.failed_account,
        ];
        let bytes = meters.iter().map(|meter| meter.bytes()).sum::<usize>() + self.cells.bytes();
        AbuseCounters {
            decisions: of(&self.tally.decisions),
            challenged: of(&self.tally.challenged),
            refused_address: refused(Dimension::Address),
            refused_device: refused(Dimension::Device),
            refused_account: refused(Dimension::Account),
            refused_game: refused(Dimension::Game),
            failures: of(&self.tally.failures),
            cells_used: self.cells.used(),
            cells_evicted: self.cells.evicted(),
            bytes: bytes as u64,
        }
    }

    fn refuse(&self, over: Over) -> Verdict {
        if let Some(counter) = self.tally.refused.get(over.dimension as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Verdict::Refuse(over)
    }

    fn count(&self, meter: &Meter, dimension: Dimension, spot: Option<Spot>, now_ms: u64) -> Option<Over> {
        let wait_ms = meter.count(&self.cells, spot?, now_ms);
        wait_ms.map(|wait_ms| over(meter, dimension, wait_ms))
    }

    /// Looks at wrong passwords.
    fn peek(&self, meter: &Meter, dimension: Dimension, id: Option<u128>, now_ms: u64) -> Option<Over> {
        let since_ms = now_ms.abs_diff(self.failed_at_ms.load(Ordering::Relaxed));
        if since_ms > meter.back_ms() {
            return None;
        }
        let wait_ms = meter.peek(&self.cells, &self.seeds, id?, now_ms);
        wait_ms.map(|wait_ms| over(meter, dimension, wait_ms))
    }
}

fn over(meter: &Meter, dimension: Dimension, wait_ms: u64) -> Over {
    Over {
        dimension,
        limit: meter.limit.name,
        action: meter.limit.action,
        retry_after_ms: wait_ms.max(1),
    }
}
