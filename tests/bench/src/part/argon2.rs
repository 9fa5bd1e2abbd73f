//! Password hashes of the server's cost in a loop on one thread, with the memory kept: the most that a thread can do.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use seawall_domain::HashCost;
use seawall_tests::server::Failure;
use serde_json::{Value, json};

pub fn figures(seconds: f64) -> Result<Value, Failure> {
    let cost = HashCost::default();
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(|e| e.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut memory = vec![Block::default(); argon2.params().block_count()];
    let (begun, span, mut done, mut out) = (Instant::now(), Duration::from_secs_f64(seconds), 0_u64, [0; 32]);
    while begun.elapsed() < span {
        let salt = done.to_be_bytes().repeat(2);
        argon2
            .hash_password_into_with_memory(b"difference", &salt, &mut out, &mut memory)
            .map_err(|e| e.to_string())?;
        std::hint::black_box(out);
        done += 1;
    }
    Ok(json!({"rate": done as f64 / begun.elapsed().as_secs_f64()}))
}
