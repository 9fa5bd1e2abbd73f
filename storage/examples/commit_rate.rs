//! Synced transactions per second through the sequencer onto RocksDB, at several numbers of writes in flight.
//!
//! `cargo run --release -p seawall-storage --example commit_rate -- [DIR] [SECONDS]`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a measuring tool for developers"
)]

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_storage::{
    Index, IndexDef, Key, KeyRing, OpenOptions, Record, Span, Stamp, Store, Table, TableDef, TxError, table,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Row {
    body: Vec<u8>,
}

impl Record for Row {
    const VERSION: u8 = 1;
}

static ROWS: Table<u64, Row> = table(TableDef::new(10, "rows", "About 100 bytes each."));
const BY_HASH: Index<u64, u64> = Index::new(IndexDef {
    number: 12,
    name: "rows_by_hash",
    doc: "Two entries per row, all over the place.",
    of: |key, _, emit| {
        let id = u64::decode(key)?;
        emit(&id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        emit(&id.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).to_be_bytes());
        Ok(())
    },
});
static INDEXED: Table<u64, Row> = table(TableDef {
    indexes: &[BY_HASH.def],
    ..TableDef::new(11, "indexed", "About 100 bytes each, indexed.")
});
static TABLES: &[&TableDef] = &[&ROWS.def, &INDEXED.def];

fn stamp(number: u64) -> Stamp {
    let mut entropy = [0; 32];
    entropy
        .iter_mut()
        .zip(number.to_be_bytes())
        .for_each(|(to, from)| *to = from);
    Stamp {
        op: "row.put",
        caller: "commit_rate".into(),
        request_id: [0; 16],
        now_at: number,
        entropy,
        idempotency_key: None,
    }
}

/// Keeps `in_flight` writes open for `span`; transactions and frames per second.
fn run(store: &Store, in_flight: usize, span: Duration, next: &mut u64) -> (f64, f64, f64) {
    let (begun, first_lsn) = (Instant::now(), store.head().lsn);
    let (mut open, mut done) = (VecDeque::with_capacity(in_flight), 0u64);
    let mut waited = Duration::ZERO;
    while begun.elapsed() < span {
        while open.len() < in_flight {
            let id = *next;
            *next += 1;
            let write = store.write(stamp(id), move |tx| tx.put(&ROWS, &id, &Row { body: vec![7; 100] }));
            open.push_back((Instant::now(), write));
        }
        // Half of them are answered before new ones come, as a crowd of clients would behave.
        for _ in 0..in_flight.div_ceil(2) {
            let (queued, write) = open.pop_front().unwrap();
            write
                .wait()
                .unwrap_or_else(|error: seawall_storage::WriteError<TxError>| panic!("{error}"));
            waited += queued.elapsed();
            done += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let frames = (store.head().lsn - first_lsn) as f64;
    (
        done as f64 / seconds,
        done as f64 / frames,
        waited.as_secs_f64() * 1e3 / done as f64,
    )
}

/// Rows per second when every transaction writes 500 new rows with two index entries each, four in flight.
fn bulk(store: &Store, span: Duration) -> f64 {
    let (begun, mut open, mut rows) = (Instant::now(), VecDeque::new(), 0u64);
    while begun.elapsed() < span {
        let first = rows;
        rows += 500;
        open.push_back(store.write(stamp(first), move |tx| {
            (first..first + 500).try_for_each(|id| tx.put(&INDEXED, &id, &Row { body: vec![7; 100] }))
        }));
        if open.len() == 4 {
            let write = open.pop_front().unwrap();
            write
                .wait()
                .unwrap_or_else(|error: seawall_storage::WriteError<TxError>| panic!("{error}"));
        }
    }
    open.into_iter()
        .for_each(|write| write.wait().unwrap_or_else(|error| panic!("{error}")));
    rows as f64 / begun.elapsed().as_secs_f64()
}

/// Transactions per second when each scans three index prefixes, as a login does, 256 in flight.
fn lookups(store: &Store, seconds: u64) -> f64 {
    let (begun, mut open, mut done) = (Instant::now(), VecDeque::new(), 0u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        while open.len() < 256 {
            let id = done + open.len() as u64;
            open.push_back(store.write(stamp(id), move |tx| {
                for step in 0..3u64 {
                    let hash = (id * 3 + step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    tx.index(&BY_HASH, &Span::prefix(&hash), 10)?;
                }
                tx.put(&ROWS, &id, &Row { body: vec![7; 100] })
            }));
        }
        for _ in 0..128 {
            let write = open.pop_front().unwrap();
            write
                .wait()
                .unwrap_or_else(|error: seawall_storage::WriteError<TxError>| panic!("{error}"));
            done += 1;
        }
    }
    done as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(|| PathBuf::from("/var/tmp/seawall-commit-rate"), PathBuf::from);
    let seconds = args.next().and_then(|text| text.parse().ok()).unwrap_or(3);
    let _ = std::fs::remove_dir_all(&dir);
    let store = Store::open(
        &dir,
        OpenOptions::new(TABLES, KeyRing::from_entropy(&[1; 32]), Arc::new(|| 0), [1; 32]),
    )
    .unwrap();
    let mut next = 0;
    for in_flight in [1, 8, 16, 32, 64, 128, 256, 512, 1024] {
        let (rate, per_group, wait_ms) = run(&store, in_flight, Duration::from_secs(seconds), &mut next);
        println!("{in_flight:5} in flight: {rate:9.0} tx/s, {per_group:6.1} tx per sync, {wait_ms:6.2} ms mean");
    }
    println!(
        "{:9.0} rows/s in transactions of 500 indexed rows",
        bulk(&store, Duration::from_secs(seconds))
    );
    println!(
        "{:9.0} tx/s that look three prefixes up in an index and write one row",
        lookups(&store, seconds)
    );
    let sync = store.stats().sync_us;
    println!("sync p50 < {} us, p99 < {} us", sync.quantile(0.5), sync.quantile(0.99));
    store.shutdown();
    std::fs::remove_dir_all(&dir).unwrap();
}
