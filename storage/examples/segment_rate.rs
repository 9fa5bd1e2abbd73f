//! Group-synced appends per second to a segment log, 600 bytes and four search keys each.
//!
//! `cargo run --release -p seawall-storage --example segment_rate -- [DIR] [SECONDS] [THREADS]`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measuring tool for developers"
)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall_storage::{AppendError, SegmentLog, SegmentOptions};

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(|| PathBuf::from("/var/tmp/seawall-segment-rate"), PathBuf::from);
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let threads = args.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let _ = std::fs::remove_dir_all(&dir);
    let log = SegmentLog::open(&dir, SegmentOptions::new("rate")).unwrap();
    let (stop, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (log, stop, refused) = (&log, &stop, &refused);
            scope.spawn(move || append(log, thread, stop, refused));
        }
        while begun.elapsed() < Duration::from_secs(seconds) {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
    });
    log.close();
    let elapsed = begun.elapsed().as_secs_f64();
    let stats = log.stats();
    println!(
        "{:.0} appends/s, {:.0} MB/s, {:.0} per group, sync p50 < {} us, p99 < {} us, {} segments, queue full {} times",
        stats.records as f64 / elapsed,
        stats.bytes as f64 / elapsed / 1e6,
        stats.records as f64 / stats.group_records.count() as f64,
        stats.sync_us.quantile(0.5),
        stats.sync_us.quantile(0.99),
        stats.segments,
        refused.load(Ordering::Relaxed),
    );
    let begun = Instant::now();
    let hits = log.search((2, 77), 0, u64::MAX, None, 100).unwrap().len();
    println!(
        "search over all segments: {hits} hits in {:.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );
    drop(log);
    std::fs::remove_dir_all(&dir).unwrap();
}

fn append(log: &SegmentLog, thread: u64, stop: &AtomicBool, refused: &AtomicU64) {
    let body = [7; 600];
    let mut number = thread << 40;
    while !stop.load(Ordering::Relaxed) {
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let keys = [(1, spread), (2, number % 100_000), (3, spread >> 8), (4, number)];
        match log.enqueue(number, &body, &keys) {
            Ok(()) => number += 1,
            Err(AppendError::Busy) => {
                refused.fetch_add(1, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_micros(200));
            }
            Err(error) => panic!("{error}"),
        }
    }
}
