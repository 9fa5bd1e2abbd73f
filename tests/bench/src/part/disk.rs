//! The disk alone: blocks written one after the other into a file whose space was allocated, each synced.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;
use serde_json::{Value, json};

/// Space of a file, like a segment's.
const FILE_BYTES: u64 = 64 << 20;

pub fn figures(dir: &Path, seconds: f64, block_bytes: usize) -> Result<Value, Failure> {
    std::fs::create_dir_all(dir)?;
    let block = vec![7; block_bytes];
    let (begun, span, mut bytes, mut files) = (Instant::now(), Duration::from_secs_f64(seconds), 0_u64, 0_u64);
    let mut left = 0;
    let mut file = None;
    while begun.elapsed() < span {
        if left < block_bytes as u64 {
            files += 1;
            let fresh = File::create(dir.join(format!("{files}.blocks")))?;
            rustix::fs::fallocate(&fresh, rustix::fs::FallocateFlags::empty(), 0, FILE_BYTES)?;
            file = Some(fresh);
            left = FILE_BYTES;
        }
        let Some(file) = &mut file else { break };
        file.write_all(&block)?;
        file.sync_data()?;
        bytes += block_bytes as u64;
        left -= block_bytes as u64;
    }
    Ok(json!({"bytes_per_s": bytes as f64 / begun.elapsed().as_secs_f64()}))
}
