//! Kills a process that writes, with SIGKILL at an arbitrary moment, again and again on the same directory: everything it
//! had acknowledged must be there afterwards, nothing half, and the store must verify clean.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use seawall_storage::{
    Index, IndexDef, KeyRing, OpenOptions, Preset, Record, SegmentLog, SegmentOptions, SegmentPosition, Span, Stamp,
    Store, Table, TableDef, TxError, decode_row, table,
};
use serde::{Deserialize, Serialize};

const CHILD_DIR: &str = "SEAWALL_KILL_TEST_DIR";

#[derive(Debug, Serialize, Deserialize)]
struct Transfer {
    from: u32,
    to: u32,
}

impl Record for Transfer {
    const VERSION: u8 = 1;
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Purse {
    balance: i64,
}

impl Record for Purse {
    const VERSION: u8 = 1;
}

const BY_PURSE: Index<u32, u64> = Index::new(IndexDef {
    number: 11,
    name: "transfers_by_purse",
    doc: "Transfers of a purse.",
    of: |key, value, emit| {
        let (_, transfer) = decode_row::<u64, Transfer>(key, value)?;
        emit(&transfer.from.to_be_bytes());
        emit(&transfer.to.to_be_bytes());
        Ok(())
    },
});

static TRANSFERS: Table<u64, Transfer> = table(TableDef {
    preset: Preset::Range,
    indexes: &[BY_PURSE.def],
    ..TableDef::new(10, "transfers", "Test rows.")
});
static PURSES: Table<u32, Purse> = table(TableDef {
    sealed: true,
    ..TableDef::new(12, "purses", "Test rows.")
});
static TABLES: &[&TableDef] = &[&TRANSFERS.def, &PURSES.def];

fn open(dir: &Path) -> (Store, SegmentLog) {
    let options = OpenOptions::new(TABLES, KeyRing::from_entropy(&[1; 32]), Arc::new(|| 0), [1; 32]);
    let store = Store::open(&dir.join("store"), options).unwrap_or_else(|error| panic!("{error}"));
    let log = SegmentOptions {
        max_bytes: 256 << 10,
        ..SegmentOptions::new("kill")
    };
    (store, SegmentLog::open(&dir.join("log"), log).unwrap())
}

fn stamp(number: u64) -> Stamp {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&number.to_be_bytes());
    Stamp {
        op: "purse.move",
        caller: "kill".into(),
        request_id: [0; 16],
        now_at: 1,
        entropy,
        idempotency_key: None,
    }
}

fn add(tx: &mut seawall_storage::Tx<'_>, purse: u32, amount: i64) -> Result<(), TxError> {
    let mut row = tx.get(&PURSES, &purse)?.unwrap_or_default();
    row.balance += amount;
    tx.put(&PURSES, &purse, &row)
}

/// Moves one coin between two purses per write, 20 writes in flight, and prints every acknowledged id.
fn child(dir: &Path) {
    let (store, log) = open(dir);
    let mut out = std::io::stdout().lock();
    let mut open = std::collections::VecDeque::new();
    for number in 0u64.. {
        let (from, to) = (u32::try_from(number % 7).unwrap(), u32::try_from(number % 11).unwrap());
        let write = store.write(stamp(number), move |tx| {
            let id = tx.next_id("transfer")?;
            tx.put(&TRANSFERS, &id, &Transfer { from, to })?;
            add(tx, from, -1)?;
            add(tx, to, 1)?;
            Ok::<_, TxError>(id)
        });
        open.push_back((write, log.append(number, &number.to_be_bytes(), &[(1, number % 5)])));
        if open.len() == 20 {
            let (write, append) = open.pop_front().unwrap();
            let position = append.wait().unwrap();
            writeln!(
                out,
                "ack {} {} {}",
                write.wait().unwrap(),
                position.segment,
                position.offset
            )
            .unwrap();
            out.flush().unwrap();
        }
    }
}

/// Starts a child, kills it after `lines` acknowledgements; the last ones it printed.
fn run_and_kill(dir: &Path, lines: usize) -> (u64, SegmentPosition, usize) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "acknowledged_writes_survive_kills", "--nocapture"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut id, mut position, mut seen) = (0, SegmentPosition::START, 0);
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(Ok(line)) = output.next() {
        let Some(words) = line.split("ack ").nth(1) else {
            continue;
        };
        let numbers: Vec<u64> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
        if let [new_id, segment, offset] = numbers[..] {
            id = id.max(new_id);
            position = position.max(SegmentPosition {
                segment,
                offset: u32::try_from(offset).unwrap(),
            });
            seen += 1;
        }
        if seen == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    (id, position, seen)
}

fn check(dir: &Path, acknowledged: u64, position: SegmentPosition) {
    let (store, log) = open(dir);
    let last = store.read(|view| view.counter("transfer")).unwrap();
    assert!(last >= acknowledged, "id {last} of {acknowledged}");
    let (mut count, mut balance, mut next) = (0, 0, Some(Span::all()));
    while let Some(span) = next {
        let page = store.read(|view| view.scan(&TRANSFERS, &span, 1000)).unwrap();
        for (id, transfer) in &page.rows {
            count += 1;
            assert_eq!(*id, count, "no gap: every transfer before an acknowledged one is there");
            assert!(transfer.from < 7 && transfer.to < 11);
        }
        next = page.next;
    }
    assert_eq!(count, last);
    for (_, purse) in store.read(|view| view.scan(&PURSES, &Span::all(), 1000)).unwrap().rows {
        balance += purse.balance;
    }
    assert_eq!(balance, 0, "no transfer is half there");
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let found = log.read_from(position, 1, 1).unwrap().records;
    assert_eq!(
        found.first().map(|hit| hit.position),
        Some(position),
        "the acknowledged record is where it was said"
    );
}

#[test]
fn acknowledged_writes_survive_kills() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return child(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for lines in [1, 57, 200, 411, 90, 333] {
        let (id, position, seen) = run_and_kill(dir.path(), lines);
        assert!(seen >= lines, "the child ended by itself");
        acknowledged = acknowledged.max(id);
        check(dir.path(), acknowledged, position);
    }
}
