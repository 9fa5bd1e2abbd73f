//! Token checks of the real platform, in process on the memory engine, with so many revocations held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use seawall_domain::revocation::Revocation;
use seawall_domain::tables::TABLES;
use seawall_domain::testing::World;
use seawall_domain::verify::Verified;
use seawall_domain::{Mirrors, SessionId};
use seawall_storage::{KeyRing, OpenOptions, Store};
use seawall_tests::server::Failure;
use serde_json::{Value, json};

/// Tokens checked in turn; as many places in the table of revocations, so that its memory is not warm.
const TOKENS: usize = 50_000;
/// Rounds over all tokens.
const ROUNDS: usize = 10;
/// Sessions that are really revoked lie above those of the tokens, far enough apart.
const FIRST: u64 = 1 << 40;

pub fn figures(held: u64) -> Result<Value, Failure> {
    let (mirrors, keys, clock) = (Mirrors::default(), KeyRing::from_entropy(&[7; 32]), World::clock());
    let boot = AtomicU64::new(0);
    let options = OpenOptions::new(
        TABLES,
        keys.clone(),
        Arc::new(move || boot.fetch_add(1, Ordering::Relaxed)),
        [9; 32],
    );
    let store = Store::open_memory(mirrors.attach(options))?;
    let world = World::over(store, mirrors.clone(), keys, clock, 1).map_err(|e| e.to_string())?;
    let mut tokens = Vec::with_capacity(TOKENS);
    for _ in 0..TOKENS {
        tokens.push(world.register_guest().map_err(|e| e.to_string())?.session.access_token);
    }
    let before = mirrors.revocations().allocated_bytes();
    for number in 0..held {
        mirrors
            .revocations()
            .put_session(SessionId(FIRST + number), Revocation::Replaced);
    }
    let bytes = mirrors.revocations().allocated_bytes() - before;
    let call = world.server();
    let mut rounds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for token in &tokens {
            let answer = world.platform.session_verify(&call, token, None);
            if !matches!(answer, Verified::Valid(_)) {
                return Err("a good token was not found valid".into());
            }
        }
        rounds.push(begun.elapsed().as_nanos() as f64 / TOKENS as f64);
    }
    rounds.sort_by(f64::total_cmp);
    Ok(json!({"check_ns": rounds[ROUNDS / 2], "bytes_each": bytes as f64 / held.max(1) as f64}))
}
