//! Out of file descriptors: errors with a reason, no panic, nothing half-made that could not be opened later.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seawall_storage::{
    AppendError, KeyRing, OpenFailure, OpenOptions, Record, SegmentLog, SegmentOptions, Stamp, Store, Table, TableDef,
    TxError, table,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Row(u64);

impl Record for Row {
    const VERSION: u8 = 1;
}

static ROWS: Table<u64, Row> = table(TableDef::new(10, "rows", "Test rows."));
static TABLES: &[&TableDef] = &[&ROWS.def];

fn options() -> OpenOptions {
    OpenOptions::new(TABLES, KeyRing::from_entropy(&[1; 32]), Arc::new(|| 0), [1; 32])
}

fn put(store: &Store, id: u64) -> Result<(), seawall_storage::WriteError<TxError>> {
    let stamp = Stamp {
        op: "row.put",
        caller: String::new(),
        request_id: [0; 16],
        now_at: id,
        entropy: [0; 32],
        idempotency_key: None,
    };
    store.write(stamp, move |tx| tx.put(&ROWS, &id, &Row(id))).wait()
}

fn limit_descriptors(soft: u64) {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(soft),
            maximum: hard,
        },
    )
    .unwrap();
}

#[test]
fn running_out_of_descriptors_is_an_error_and_passes() {
    let dir = tempfile::tempdir().unwrap();
    let open = Store::open(&dir.path().join("open"), options()).unwrap();
    let log = SegmentOptions {
        on_fatal: Arc::new(|_| {}),
        ..SegmentOptions::new("log")
    };
    let log = SegmentLog::open(&dir.path().join("log"), log).unwrap();
    put(&open, 1).unwrap();
    let before = getrlimit(Resource::Nofile).current.unwrap();
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    for soft in [3, used / 2, used, used + 2, used + 4, used + 8] {
        limit_descriptors(soft);
        let refused = Store::open(&dir.path().join("later"), options()).err();
        let refused_log = SegmentLog::open(&dir.path().join(format!("log{soft}")), SegmentOptions::new("later")).err();
        let written = put(&open, soft);
        limit_descriptors(before);
        if let Some(error) = &refused {
            let failure = [OpenFailure::Io, OpenFailure::EngineDamaged].contains(&error.failure);
            assert!(failure, "{soft}: {error}");
        }
        assert!(
            soft > 3 || (refused.is_some() && refused_log.is_some()),
            "the limit was felt"
        );
        assert_eq!(written, Ok(()), "an open store goes on");
    }
    limit_descriptors(3);
    let append = log.append(1, b"needs a new file", &[]).wait();
    limit_descriptors(before);
    assert_eq!(append, Err(AppendError::Unknown), "its first segment could not be made");
    let later = Store::open(&dir.path().join("later"), options()).unwrap();
    put(&later, 1).unwrap();
    assert!(later.verify(&mut |_| {}).unwrap().is_clean());
}
