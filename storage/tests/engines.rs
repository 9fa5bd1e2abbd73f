//! The same history on every engine: identical closures must leave identical rows, indexes and chain in memory and on
//! RocksDB, across restarts and crashes of the latter.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod copied;

use std::sync::Arc;

use copied::copy_dir;
use proptest::prelude::*;
use seawall_storage::{
    Index, IndexDef, JournalLimits, KeyRing, OpenOptions, Preset, Record, Span, Stamp, Store, Table, TableDef, Tx,
    TxError, WriteError, decode_row, table,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Berth {
    ship: u32,
    note: String,
}

impl Record for Berth {
    const VERSION: u8 = 1;
}

const BY_SHIP: Index<u32, (u16, u16)> = Index::new(IndexDef {
    number: 11,
    name: "berths_by_ship",
    doc: "Berths of a ship.",
    of: |key, value, emit| {
        let (_, berth) = decode_row::<(u16, u16), Berth>(key, value)?;
        emit(&berth.ship.to_be_bytes());
        Ok(())
    },
});

static BERTHS: Table<(u16, u16), Berth> = table(TableDef {
    preset: Preset::Range,
    indexes: &[BY_SHIP.def],
    ..TableDef::new(10, "berths", "Test rows.")
});
static LOGS: Table<u32, Berth> = table(TableDef {
    sealed: true,
    cached: true,
    ..TableDef::new(12, "logs", "Test rows.")
});
static NOTES: Table<(), Berth> = table(TableDef {
    preset: Preset::Small,
    ..TableDef::new(13, "notes", "One row.")
});
static TABLES: &[&TableDef] = &[&BERTHS.def, &LOGS.def, &NOTES.def];

fn options() -> OpenOptions {
    let mut options = OpenOptions::new(TABLES, KeyRing::from_entropy(&[1; 32]), Arc::new(|| 0), [1; 32]);
    options.journal = JournalLimits {
        max_bytes: 1 << 20,
        max_age_ms: u64::MAX,
    };
    options
}

#[derive(Debug, Clone)]
enum Step {
    Put(u16, u16, u32, String),
    Delete(u16, u16),
    Log(u32, String),
    Note(String),
    Count,
    ClearQuay(u16),
    Refuse,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u16..4, 0u16..6, 0u32..5, ".{0,12}").prop_map(|(quay, place, ship, note)| Step::Put(quay, place, ship, note)),
        2 => (0u16..4, 0u16..6).prop_map(|(quay, place)| Step::Delete(quay, place)),
        2 => (0u32..4, ".{0,12}").prop_map(|(id, note)| Step::Log(id, note)),
        1 => ".{0,12}".prop_map(Step::Note),
        1 => Just(Step::Count),
        1 => (0u16..4).prop_map(Step::ClearQuay),
        1 => Just(Step::Refuse),
    ]
}

fn act(tx: &mut Tx<'_>, step: &Step) -> Result<(), TxError> {
    match step.clone() {
        Step::Put(quay, place, ship, note) => tx.put(&BERTHS, &(quay, place), &Berth { ship, note }),
        Step::Delete(quay, place) => tx.delete(&BERTHS, &(quay, place)),
        Step::Log(id, note) => tx.put(&LOGS, &id, &Berth { ship: id, note }),
        Step::Note(note) => tx.put(&NOTES, &(), &Berth { ship: 0, note }),
        Step::Count => tx.next_id("berth").map(drop),
        Step::ClearQuay(quay) => {
            let rows = tx.scan(&BERTHS, &Span::prefix(&quay), 100)?;
            rows.iter().try_for_each(|(key, _)| tx.delete(&BERTHS, key))
        }
        Step::Refuse => Err(TxError::CounterExhausted),
    }
}

fn stamp(number: u64) -> Stamp {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&number.to_be_bytes());
    Stamp {
        op: "berth.act",
        caller: "test".into(),
        request_id: [2; 16],
        now_at: number,
        entropy,
        idempotency_key: None,
    }
}

fn write(store: &Store, number: u64, steps: &[Step]) -> Result<(), WriteError<TxError>> {
    let steps = steps.to_vec();
    store
        .write(stamp(number), move |tx| steps.iter().try_for_each(|step| act(tx, step)))
        .wait()
}

type Everything = (
    Vec<((u16, u16), Berth)>,
    Vec<Vec<(u16, u16)>>,
    Vec<(u32, Berth)>,
    Option<Berth>,
    u64,
);

fn everything(store: &Store) -> Everything {
    let by_ship = |ship: u32| {
        store
            .read(|view| view.index(&BY_SHIP, &Span::prefix(&ship), 1000))
            .unwrap()
            .rows
    };
    (
        store.read(|view| view.scan(&BERTHS, &Span::all(), 1000)).unwrap().rows,
        (0..5).map(by_ship).collect(),
        store.read(|view| view.scan(&LOGS, &Span::all(), 1000)).unwrap().rows,
        store.read(|view| view.get(&NOTES, &())).unwrap(),
        store.read(|view| view.counter("berth")).unwrap(),
    )
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Between {
    Nothing,
    Restart,
    Crash,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn every_engine_tells_the_same_story(
        transactions in prop::collection::vec(
            (
                prop::collection::vec(step(), 1..6),
                prop_oneof![8 => Just(Between::Nothing), 1 => Just(Between::Restart), 1 => Just(Between::Crash)],
            ),
            1..25,
        ),
    ) {
        let mut dir = tempfile::tempdir().unwrap();
        let memory = Store::open_memory(options()).unwrap();
        let mut disk = Store::open(dir.path(), options()).unwrap();
        for (number, (steps, between)) in (0..).zip(&transactions) {
            match between {
                Between::Nothing => {}
                Between::Restart => {
                    disk.shutdown();
                    drop(disk);
                    disk = Store::open(dir.path(), options()).unwrap();
                }
                Between::Crash => {
                    let crashed = tempfile::tempdir().unwrap();
                    copy_dir(dir.path(), crashed.path());
                    drop(disk);
                    dir = crashed;
                    disk = Store::open(dir.path(), options()).unwrap();
                }
            }
            prop_assert_eq!(write(&memory, number, steps), write(&disk, number, steps));
        }
        prop_assert_eq!(everything(&memory), everything(&disk));
        prop_assert_eq!(memory.head(), disk.head());
        prop_assert_eq!(memory.cluster_id(), disk.cluster_id());
        for store in [&memory, &disk] {
            let report = store.verify(&mut |_| {}).unwrap();
            prop_assert!(report.is_clean(), "{:?}", report.problems);
        }
    }
}

#[test]
fn table_sizes_are_known_on_both() {
    let dir = tempfile::tempdir().unwrap();
    for store in [
        Store::open_memory(options()).unwrap(),
        Store::open(dir.path(), options()).unwrap(),
    ] {
        for number in 0..50 {
            write(
                &store,
                number,
                &[Step::Put(1, u16::try_from(number).unwrap(), 2, "note".into())],
            )
            .unwrap();
        }
        let sizes = store.table_stats();
        assert_eq!(
            sizes.iter().map(|size| size.name).collect::<Vec<_>>(),
            ["counters", "berths", "berths_by_ship", "logs", "notes"]
        );
        assert!(
            sizes.iter().all(|size| size.exact),
            "few rows are counted, wherever they lie"
        );
        assert_eq!((sizes[1].rows, sizes[2].rows), (50, 50));
        let exact = store.verify(&mut |_| {}).unwrap().tables;
        assert_eq!(exact.iter().find(|size| size.name == "berths").unwrap().rows, 50);
        let stats = store.stats();
        assert_eq!((stats.transactions, stats.journal_last_lsn), (50, 50));
        assert!(!stats.engine.is_empty() && stats.sync_us.count() == 50);
    }
}
