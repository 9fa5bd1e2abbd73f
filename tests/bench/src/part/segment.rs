//! Appends of 600 bytes with four search keys to a segment log, through the library.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use seawall_storage::{Append, AppendError, SegmentLog, SegmentOptions};
use seawall_tests::server::Failure;
use serde_json::{Value, json};

/// Body of a record.
const BODY: [u8; 600] = [7; 600];
/// What a record takes on disk, about: body, envelope and keys.
const RECORD_BYTES: usize = 660;
/// Pause when the queue is full.
const BUSY_PAUSE: Duration = Duration::from_micros(200);

pub fn figures(dir: &Path, seconds: f64, group_bytes: Option<usize>) -> Result<Value, Failure> {
    let log = SegmentLog::open(dir, SegmentOptions::new("bench"))?;
    let (begun, span) = (Instant::now(), Duration::from_secs_f64(seconds));
    let end = begun + span;
    match group_bytes {
        None => append_freely(&log, end)?,
        Some(bytes) => append_in_groups(&log, end, bytes / RECORD_BYTES)?,
    }
    log.close();
    let elapsed = begun.elapsed().as_secs_f64();
    let stats = log.stats();
    if stats.failed_groups > 0 {
        return Err(format!("{} groups failed", stats.failed_groups).into());
    }
    Ok(json!({
        "rate": stats.records as f64 / elapsed,
        "bytes_per_s": stats.bytes as f64 / elapsed,
        "records_per_group": stats.records as f64 / stats.group_records.count().max(1) as f64,
        "sync_p50_us": stats.sync_us.quantile(0.5),
    }))
}

/// Keys of a record: spread, few, spread, dense.
fn keys(number: u64) -> [(u8, u64); 4] {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [(1, spread), (2, number % 100_000), (3, spread >> 8), (4, number)]
}

fn append_freely(log: &SegmentLog, end: Instant) -> Result<(), Failure> {
    let mut number = 0;
    while Instant::now() < end {
        match log.enqueue(number, &BODY, &keys(number)) {
            Ok(()) => number += 1,
            Err(AppendError::Busy) => std::thread::park_timeout(BUSY_PAUSE),
            Err(error) => return Err(error.to_string().into()),
        }
    }
    Ok(())
}

/// Two groups at a time: one is written while the next waits, so that each is taken whole.
fn append_in_groups(log: &SegmentLog, end: Instant, records: usize) -> Result<(), Failure> {
    let (mut number, mut out): (u64, VecDeque<Append>) = (0, VecDeque::new());
    while Instant::now() < end {
        for _ in 1..records.max(1) {
            log.enqueue(number, &BODY, &keys(number)).map_err(|e| e.to_string())?;
            number += 1;
        }
        out.push_back(log.append(number, &BODY, &keys(number)));
        number += 1;
        if out.len() > 1
            && let Some(oldest) = out.pop_front()
        {
            oldest.wait().map_err(|e| e.to_string())?;
        }
    }
    for append in out {
        append.wait().map_err(|e| e.to_string())?;
    }
    Ok(())
}
