//! How long the check of a password takes, with a hash and from the cache of verified passwords:
//! `cargo run --release -p seawall-domain --features testing --example credential_rate`.
#![expect(clippy::print_stdout, reason = "a tool for people")]
#![expect(clippy::expect_used, reason = "a tool that may end with a message")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use seawall_domain::credential_cache::{CredentialCache, CredentialCacheOptions, PasswordMark};
use seawall_domain::ports::HashMemory;
use seawall_domain::testing::{START_AT, World};
use seawall_domain::{AccountId, HashCost, password};
use seawall_storage::Secret32;

const ACCOUNTS: u64 = 150_000;
const HITS: u32 = 2_000_000;
const HASHES: u32 = 50;
const LOGINS: u32 = 20_000;

fn mark(account: u64) -> PasswordMark {
    PasswordMark {
        account: AccountId(account),
        version: 1,
        changed_at: START_AT,
    }
}

/// Cold: the hash, in kept memory and in memory taken for each.
fn hashes() {
    let cost = HashCost::default();
    let mut kept = HashMemory::for_cost(cost);
    let record = password::hash("correct horse", &[1; 16], cost, &mut kept).expect("a hash");
    let begun = Instant::now();
    for _ in 0..HASHES {
        assert_eq!(password::check_phc("correct horse", &record, &mut kept), Ok(true));
    }
    let in_kept = begun.elapsed() / HASHES;
    let begun = Instant::now();
    for _ in 0..HASHES {
        let mut fresh = HashMemory::for_cost(cost);
        assert_eq!(password::check_phc("correct horse", &record, &mut fresh), Ok(true));
    }
    let in_fresh = begun.elapsed() / HASHES;
    let begun = Instant::now();
    for _ in 0..HASHES {
        kept.wipe();
        black_box(&kept);
    }
    println!(
        "a hash: {in_kept:?} in kept memory, {in_fresh:?} in fresh memory; a wipe: {:?}",
        begun.elapsed() / HASHES
    );
}

/// Warm: the cache alone, scattered over its accounts.
fn hits() {
    let cache = CredentialCache::new(CredentialCacheOptions::default(), Secret32::new([7; 32]));
    for account in 0..ACCOUNTS {
        cache.remember(mark(account), "correct horse", START_AT, 0);
    }
    let timed = |password: &str| {
        let (begun, mut found) = (Instant::now(), 0_u32);
        for n in 0..u64::from(HITS) {
            found += u32::from(cache.recalls(mark(n.wrapping_mul(7_919_777) % ACCOUNTS), password, START_AT));
        }
        (begun.elapsed().as_nanos() / u128::from(HITS), found)
    };
    println!(
        "cache: (ns, found) for right passwords {:?}, for wrong ones {:?}",
        timed("correct horse"),
        timed("wrong")
    );
}

/// Warm: whole logins over the store in memory, for the part of the check in them.
fn logins() {
    let world = World::new().expect("a world");
    world.register("alice").expect("an account");
    let timed = |forget: bool| -> Duration {
        let begun = Instant::now();
        for _ in 0..LOGINS {
            if forget {
                world.platform.forget_verified_passwords();
            }
            world.log_in("alice").expect("a login");
        }
        begun.elapsed() / LOGINS
    };
    println!(
        "a login over the store in memory: {:?} warm, {:?} cold with the cheapest hash",
        timed(false),
        timed(true)
    );
}

fn main() {
    hashes();
    hits();
    logins();
}
