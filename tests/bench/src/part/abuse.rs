//! The abuse limits under a flood of keys that come once, with players and abusers among them, on a simulated clock.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use seawall_domain::abuse::{AbuseLimits, AbuseOptions, Attempt, Dimension, SEED_BYTES, Verdict};
use seawall_domain::{GameId, PackageId};
use seawall_tests::server::Failure;
use serde_json::{Value, json};

/// Length of the flood on the simulated clock, in steps of a tenth of a second.
const STEPS: u64 = 600;
const STEP_MS: u64 = 100;
const START_MS: u64 = 1_700_000_000_000;
/// Attempts that fail on a wrong password: one of so many of the flood. More than a server can hash.
const FAILS_ONE_IN: u64 = 2_000;
/// Attempts of the flood that would send a message to a phone: one of so many.
const PHONE_ONE_IN: u64 = 1_000;
/// Players, who begin one after the other: so many attempts at once, then one every so many steps. They keep every limit.
const PLAYERS: u64 = 20_000;
const PLAYER_BURST: u64 = 15;
const PLAYER_STEPS: u64 = 40;
/// Devices that attack ever new names, and as many names that are attacked from ever new devices.
const ABUSERS: u64 = 50;
/// When they begin, and how many times each comes in a step.
const ABUSE_BEGINS: u64 = 300;
const ABUSE_EACH: u64 = 10;
/// Keys of the run over one limit alone: one of so many of the flood's number.
const ALONE_ONE_IN: u64 = 5;

/// Whose keys these are; each kind has numbers of its own.
#[derive(Clone, Copy)]
enum Kind {
    Flood = 1,
    Player,
    AbusingDevice,
    AbusedName,
    Accomplice,
}

/// An id that is nobody else's, scattered over 64 bits.
fn scattered(kind: Kind, number: u64) -> u64 {
    let n = (kind as u64) << 56 | number;
    let mixed = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (mixed ^ mixed >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}

/// A login from an address, a device and under a name of its own, to the one game there is.
fn login(kind: Kind, number: u64) -> Attempt {
    let bits = scattered(kind, number);
    let ip = if number.is_multiple_of(2) {
        // Public addresses only: loopback names nobody.
        IpAddr::V4(Ipv4Addr::from_bits(0x8000_0000 | bits as u32))
    } else {
        let network = 0x2000_0000_0000_0000 | bits >> 4;
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(network) << 64 | 1))
    };
    Attempt {
        ip: Some(ip),
        device: Some(u128::from(bits).to_be_bytes()),
        account: Some(u128::from(bits) << 64),
        game: Some((GameId(1), PackageId(1))),
        phone: None,
    }
}

/// Time this thread was on a processor, which other work of the machine does not lengthen.
fn on_cpu_ns() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split(' ').next().unwrap_or_default().parse()?)
}

/// What became of players and abusers.
#[derive(Default)]
struct Seen {
    attempts: u64,
    refused: u64,
    challenged: u64,
    /// For each abuser how many attempts it made and at which it was first refused.
    abusers: Vec<(u64, Option<u64>)>,
}

impl Seen {
    /// A step of the players: in each some come again, and some for the first time.
    fn players(&mut self, limits: &AbuseLimits, step: u64) {
        let begin = PLAYERS / (STEPS / 2);
        for player in 0..PLAYERS.min(begin * (step + 1)) {
            let since = step - player / begin;
            let times = match since {
                0 => PLAYER_BURST,
                _ => u64::from(since.is_multiple_of(PLAYER_STEPS)),
            };
            for _ in 0..times {
                self.attempts += 1;
                match limits.screen(&login(Kind::Player, player), now_ms(step)) {
                    // The one game is beyond its limit itself while the flood lasts, and asks everybody.
                    Verdict::Pass => {}
                    Verdict::Challenge(over) => self.challenged += u64::from(over.dimension != Dimension::Game),
                    Verdict::Refuse(_) => self.refused += 1,
                }
            }
        }
    }

    /// A step of the abusers.
    fn abusers(&mut self, limits: &AbuseLimits, step: u64) {
        if step < ABUSE_BEGINS {
            return;
        }
        for time in 0..ABUSE_EACH {
            let now_ms = now_ms(step) + time * STEP_MS / ABUSE_EACH;
            for (abuser, (made, refused_at)) in (0..).zip(&mut self.abusers) {
                let fresh = login(Kind::Accomplice, (step * ABUSE_EACH + time) * 2 * ABUSERS + abuser);
                let (attempt, dimension) = if abuser < ABUSERS {
                    let device = login(Kind::AbusingDevice, abuser).device;
                    (Attempt { device, ..fresh }, Dimension::Device)
                } else {
                    let account = login(Kind::AbusedName, abuser).account;
                    (Attempt { account, ..fresh }, Dimension::Account)
                };
                *made += 1;
                if matches!(limits.screen(&attempt, now_ms), Verdict::Refuse(over) if over.dimension == dimension) {
                    refused_at.get_or_insert(*made);
                }
            }
        }
    }
}

fn now_ms(step: u64) -> u64 {
    START_MS + step * STEP_MS
}

/// Attempts of a flood between two steps; the processor time of each.
fn flood(limits: &AbuseLimits, from: u64, to: u64, step: u64) -> Result<u64, Failure> {
    let begun_ns = on_cpu_ns()?;
    let count = (to - from).max(1);
    for number in from..to {
        let mut attempt = login(Kind::Flood, number);
        if number.is_multiple_of(PHONE_ONE_IN) {
            attempt.phone = attempt.device;
        }
        black_box(limits.screen(&attempt, now_ms(step) + (number - from) * STEP_MS / count));
        if number.is_multiple_of(FAILS_ONE_IN) {
            limits.failure(&attempt, now_ms(step));
        }
    }
    Ok(on_cpu_ns()? - begun_ns)
}

/// Nanoseconds of a decision over devices alone.
fn alone(keys: u64) -> Result<f64, Failure> {
    let limits = AbuseLimits::new(&AbuseOptions::default(), &entropy());
    let begun_ns = on_cpu_ns()?;
    for number in 0..keys {
        let attempt = Attempt {
            device: Some(u128::from(scattered(Kind::Flood, number)).to_be_bytes()),
            ..Attempt::default()
        };
        black_box(limits.screen(&attempt, START_MS + number * STEPS * STEP_MS / keys));
    }
    Ok((on_cpu_ns()? - begun_ns) as f64 / keys as f64)
}

fn entropy() -> [u8; SEED_BYTES] {
    std::array::from_fn(|n| (n as u8).wrapping_mul(171) ^ 0x35)
}

pub fn figures(keys: u64) -> Result<Value, Failure> {
    let options = AbuseOptions::default();
    let limits = AbuseLimits::new(&options, &entropy());
    let mut seen = Seen {
        abusers: vec![(0, None); 2 * ABUSERS as usize],
        ..Seen::default()
    };
    let mut flood_ns = 0;
    for step in 0..STEPS {
        flood_ns += flood(&limits, keys * step / STEPS, keys * (step + 1) / STEPS, step)?;
        seen.players(&limits, step);
        seen.abusers(&limits, step);
    }
    // Devices and names have the same limit; the first attempt too many is the one after the burst.
    let too_many = u64::from(options.device.burst) + 1;
    let after_ms = |at: u64| at.saturating_sub(too_many) * STEP_MS / ABUSE_EACH;
    let refused: Vec<u64> = seen.abusers.iter().filter_map(|(_, at)| at.map(after_ms)).collect();
    let (counters, abusers) = (limits.counters(), seen.abusers.len());
    Ok(json!({
        "decision_ns": flood_ns as f64 / keys as f64,
        "alone_ns": alone(keys / ALONE_ONE_IN)?,
        "bytes": counters.bytes,
        "players": seen.attempts,
        "players_refused": seen.refused as f64 / seen.attempts.max(1) as f64,
        "players_challenged": seen.challenged as f64 / seen.attempts.max(1) as f64,
        "abusers_caught": refused.len() as f64 / abusers.max(1) as f64,
        "caught_last_ms": refused.iter().max(),
        "cells_used": counters.cells_used,
        "cells_evicted": counters.cells_evicted,
    }))
}
