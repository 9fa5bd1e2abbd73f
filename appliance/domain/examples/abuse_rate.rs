//! The abuse limits under a flood of keys that come once, with abusers and players among them:
//! `cargo run --release -p seawall-domain --example abuse_rate -- [KEYS]`.
//!
//! Over 60 simulated seconds KEYS attempts (50 million) arrive, each from an address and a device of its own. Half way
//! 100 abusers begin, each one device that sends 100 attempts a second from ever new addresses. 20,000 players keep
//! their limits all the time: fifteen attempts at once, then one every four seconds.
#![expect(clippy::print_stdout, reason = "a tool for people")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use seawall_domain::abuse::{AbuseLimits, AbuseOptions, Attempt, Dimension, MEMORY_MAX_BYTES, Verdict};
use seawall_domain::{ClientAddress, LearntFrom};

const SPAN_MS: u64 = 60_000;
const START_MS: u64 = 1_700_000_000_000;
const ABUSERS: u64 = 100;
const ABUSE_BEGINS_MS: u64 = 30_000;
const PLAYERS: u64 = 20_000;

/// Scatters a counter over 64 bits.
fn scattered(n: u64) -> u64 {
    let mixed = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
    (mixed ^ mixed >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
}

fn attempt(address: u64, device: u64) -> Attempt {
    let bits = scattered(address);
    let ip = if address.is_multiple_of(2) {
        // Public addresses only: loopback is not limited.
        IpAddr::V4(Ipv4Addr::from_bits(0x8000_0000 | bits as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(0x2000_0000_0000_0000 | bits >> 4) << 64 | 1,
        ))
    };
    let address = ClientAddress {
        ip: Some(ip),
        port: None,
        learnt_from: LearntFrom::Peer,
    };
    Attempt {
        device: Some(u128::from(scattered(device)).to_be_bytes()),
        ..Attempt::from(&address)
    }
}

#[derive(Default)]
struct Seen {
    player_attempts: u64,
    players_blocked: u64,
    players_challenged: u64,
    caught_after_ms: Vec<Option<u64>>,
    decisions: u64,
}

/// One simulated millisecond of players and abusers.
fn others(limits: &AbuseLimits, at_ms: u64, fresh: &mut u64, seen: &mut Seen) {
    let now_ms = START_MS + at_ms;
    // Player n begins in millisecond n and comes again every four seconds.
    for player in (at_ms % 4_000..PLAYERS.min(at_ms + 1)).step_by(4_000) {
        let times = if at_ms == player { 15 } else { 1 };
        for _ in 0..times {
            seen.player_attempts += 1;
            match limits.screen(&attempt(u64::MAX - player, u64::MAX - player), now_ms) {
                Verdict::Pass => {}
                Verdict::Challenge(_) => seen.players_challenged += 1,
                Verdict::Refuse(_) => seen.players_blocked += 1,
            }
            seen.decisions += 1;
        }
    }
    if at_ms >= ABUSE_BEGINS_MS && at_ms.is_multiple_of(10) {
        for (abuser, caught) in (0..ABUSERS).zip(&mut seen.caught_after_ms) {
            *fresh += 1;
            let verdict = limits.screen(&attempt(*fresh, u64::MAX / 2 + abuser), now_ms);
            if matches!(verdict, Verdict::Refuse(over) if over.dimension == Dimension::Device) {
                caught.get_or_insert(at_ms - ABUSE_BEGINS_MS);
            }
            seen.decisions += 1;
        }
    }
}

/// Time this thread was on a processor, which other work of the machine does not lengthen.
fn on_cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ns = stat.split(' ').next().and_then(|ns| ns.parse().ok());
    ns.unwrap_or_default()
}

fn one_dimension(limits: &AbuseLimits, keys: u64) -> u64 {
    let started_ns = on_cpu_ns();
    for n in 0..keys {
        let attempt = Attempt {
            device: Some(u128::from(scattered(n << 1 | 1)).to_be_bytes()),
            ..Attempt::default()
        };
        black_box(limits.screen(&attempt, START_MS + SPAN_MS + n / 1_000));
    }
    (on_cpu_ns() - started_ns) / keys
}

fn main() {
    let keys: u64 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(50_000_000);
    let limits = AbuseLimits::new(
        &AbuseOptions::default(),
        &std::array::from_fn(|n| (n as u8).wrapping_mul(171) ^ 0x35),
    );
    let mut seen = Seen {
        caught_after_ms: vec![None; ABUSERS as usize],
        ..Seen::default()
    };
    let (mut fresh, mut flooded, mut flood_ns) = (0, 0, 0);
    for at_ms in 0..SPAN_MS {
        let started_ns = on_cpu_ns();
        while flooded < keys * (at_ms + 1) / SPAN_MS {
            (fresh, flooded) = (fresh + 1, flooded + 1);
            black_box(limits.screen(&attempt(fresh, fresh), START_MS + at_ms));
            seen.decisions += 1;
        }
        flood_ns += on_cpu_ns() - started_ns;
        others(&limits, at_ms, &mut fresh, &mut seen);
    }
    let counters = limits.counters();
    let caught = seen.caught_after_ms.iter().flatten();
    println!("{flooded} keys in {SPAN_MS} simulated ms, {} decisions", seen.decisions);
    println!(
        "{} ns an attempt, judged over address, network and device",
        flood_ns / flooded.max(1)
    );
    println!(
        "{} ns an attempt, judged over device alone",
        one_dimension(&limits, 5_000_000)
    );
    println!("{} bytes of at most {MEMORY_MAX_BYTES}", counters.bytes);
    println!(
        "{} cells used, {} given up while they mattered",
        counters.cells_used, counters.cells_evicted
    );
    println!(
        "players: {} attempts, {} blocked, {} challenged",
        seen.player_attempts, seen.players_blocked, seen.players_challenged
    );
    println!(
        "abusers: {} of {ABUSERS} caught, the last after {} ms",
        caught.clone().count(),
        caught.max().copied().unwrap_or_default()
    );
}
