//! The store as its callers see it, over the memory engine: visibility, refusal, indexes, sealing, counters, order.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::error::CodecError;
use crate::keyring::KeyRing;
use crate::limits::*;
use crate::overlay::Overlay;
use crate::record::decode_row;
use crate::span::Span;
use crate::table::{Class, Index, IndexDef, Preset, table};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ship {
    pub(crate) harbour: u32,
    pub(crate) name: String,
}

impl Record for Ship {
    const VERSION: u8 = 1;
}

pub(crate) const SHIPS_BY_HARBOUR: Index<u32, u64> = Index::new(IndexDef {
    number: 21,
    name: "ships_by_harbour",
    doc: "Ships in a harbour.",
    of: |key, value, emit| {
        let (_, ship) = decode_row::<u64, Ship>(key, value)?;
        emit(&ship.harbour.to_be_bytes());
        Ok(())
    },
});

pub(crate) static SHIPS: Table<u64, Ship> = table(TableDef {
    preset: Preset::Range,
    cached: true,
    indexes: &[SHIPS_BY_HARBOUR.def],
    ..TableDef::new(20, "ships", "Test rows.")
});

pub(crate) static SECRETS: Table<u32, Ship> = table(TableDef {
    sealed: true,
    class: Class::RemoteDurable,
    cached: true,
    ..TableDef::new(22, "secrets", "Sealed test rows.")
});

pub(crate) static TABLES: &[&TableDef] = &[&SHIPS.def, &SECRETS.def];

pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new(TABLES, KeyRing::from_entropy(&[7; 32]), Arc::new(|| 0), [5; 32]);
    options.on_fatal = Arc::new(|_| {});
    options
}

fn memory() -> Store {
    Store::open_memory(options()).unwrap()
}

pub(crate) fn stamp(number: u64) -> Stamp {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&number.to_be_bytes());
    Stamp {
        op: "ship.sail",
        caller: format!("captain {number}"),
        request_id: [1; 16],
        now_at: 1_000 + number,
        entropy,
        idempotency_key: None,
    }
}

pub(crate) fn ship(harbour: u32, name: &str) -> Ship {
    Ship {
        harbour,
        name: name.into(),
    }
}

pub(crate) fn put(store: &Store, id: u64, value: Ship) -> Commit<(), TxError> {
    store.write(stamp(id), move |tx| tx.put(&SHIPS, &id, &value))
}

fn in_harbour(store: &Store, harbour: u32) -> Vec<u64> {
    store
        .read(|view| view.index(&SHIPS_BY_HARBOUR, &Span::prefix(&harbour), 1000))
        .unwrap()
        .rows
}

#[test]
fn a_write_is_read_back_and_moves_the_head() {
    let store = memory();
    assert_eq!(store.head().lsn, 0);
    put(&store, 7, ship(1, "gull")).wait().unwrap();
    let head = store.head();
    assert_eq!((head.lsn, head.epoch, head.now_at), (1, 1, 1_007));
    assert_ne!(head.chain, [0; 32]);
    assert_eq!(store.get(&SHIPS, &7).wait().unwrap().as_deref(), Some(&ship(1, "gull")));
    assert_eq!(store.get(&SHIPS, &8).wait().unwrap(), None);
    assert_eq!(store.read(|view| view.head()).unwrap(), Some(head));
}

#[test]
fn a_cached_row_follows_its_changes() {
    let store = memory();
    for number in 0..50 {
        put(&store, 7, ship(number, "gull")).wait().unwrap();
        assert_eq!(store.get(&SHIPS, &7).wait().unwrap().unwrap().harbour, number);
        assert_eq!(store.get(&SHIPS, &7).wait().unwrap().unwrap().harbour, number);
    }
    store.write(stamp(1), |tx| tx.delete(&SHIPS, &7)).wait().unwrap();
    assert_eq!(store.get(&SHIPS, &7).wait().unwrap(), None);
    assert_eq!(store.stats().cache_hits, 50);
}

#[test]
fn refused_and_panicking_closures_leave_nothing() {
    let store = memory();
    put(&store, 1, ship(1, "gull")).wait().unwrap();
    let before = store.head();
    #[derive(Debug, PartialEq)]
    enum No {
        Storm,
        Tx,
    }
    impl From<TxError> for No {
        fn from(_: TxError) -> Self {
            Self::Tx
        }
    }
    let refused = store.write(stamp(2), |tx| {
        tx.put(&SHIPS, &1, &ship(9, "lost"))?;
        tx.next_id("ship")?;
        Err::<(), _>(No::Storm)
    });
    assert_eq!(refused.wait(), Err(WriteError::Refused(No::Storm)));
    let panicked = store.write(stamp(3), |tx| -> Result<(), No> {
        tx.put(&SHIPS, &1, &ship(9, "lost"))?;
        panic!("on purpose")
    });
    assert_eq!(panicked.wait(), Err(WriteError::Panicked));
    assert_eq!(store.head(), before);
    assert_eq!(store.get(&SHIPS, &1).wait().unwrap().unwrap().name, "gull");
    assert_eq!(in_harbour(&store, 9), [0u64; 0]);
    assert_eq!(store.read(|view| view.counter("ship")), Ok(0));
    assert_eq!(store.stats().refused, 2);
}

#[test]
fn an_ignored_statement_error_still_drops_the_transaction() {
    let store = memory();
    let ignored = store.write(stamp(1), |tx| -> Result<(), TxError> {
        tx.put(&SHIPS, &1, &ship(1, "kept?"))?;
        let _ = tx.raise_counter("ship", ID_LIMIT);
        Ok(())
    });
    assert_eq!(ignored.wait(), Err(WriteError::Refused(TxError::CounterExhausted)));
    assert_eq!(store.get(&SHIPS, &1).wait().unwrap(), None);
}

#[test]
fn each_write_sees_all_before_it() {
    let store = memory();
    let commits: Vec<_> = (0..2_000u64)
        .map(|number| {
            store.write(stamp(number), move |tx| {
                let id = tx.next_id("ship")?;
                let before = tx.get(&SHIPS, &(id - 1))?.map_or(0, |ship| ship.harbour);
                tx.put(&SHIPS, &id, &ship(before + 1, "fleet"))?;
                Ok::<_, TxError>((id, before))
            })
        })
        .collect();
    for (number, commit) in (0..).zip(commits) {
        assert_eq!(commit.wait().unwrap(), (number + 1, u32::try_from(number).unwrap()));
    }
    assert!(store.head().lsn < 2_000, "writes were grouped");
    assert_eq!(store.stats().group_transactions.sum, 2_000);
}

#[test]
fn indexes_follow_their_rows() {
    let store = memory();
    for id in 0..10 {
        put(&store, id, ship(u32::try_from(id % 2).unwrap(), "fleet"))
            .wait()
            .unwrap();
    }
    assert_eq!(in_harbour(&store, 1), [1, 3, 5, 7, 9]);
    let seen = store.write(stamp(0), |tx| {
        tx.put(&SHIPS, &3, &ship(0, "moved"))?;
        tx.delete(&SHIPS, &5)?;
        tx.put(&SHIPS, &7, &ship(1, "same harbour"))?;
        let span = Span::prefix(&1u32);
        Ok::<_, TxError>((
            tx.index(&SHIPS_BY_HARBOUR, &span, 10)?,
            tx.index(&SHIPS_BY_HARBOUR, &span.backward(), 2)?,
        ))
    });
    assert_eq!(seen.wait().unwrap(), (vec![1, 7, 9], vec![9, 7]));
    assert_eq!(in_harbour(&store, 1), [1, 7, 9]);
    assert_eq!(in_harbour(&store, 0), [0, 2, 3, 4, 6, 8]);
}

#[test]
fn pages_follow_one_another() {
    let store = memory();
    for id in 0..25 {
        put(&store, id, ship(1, "fleet")).wait().unwrap();
    }
    for span in [Span::all(), Span::all().backward()] {
        let (mut next, mut ids) = (Some(span.clone()), Vec::new());
        while let Some(at) = next {
            let page = store.read(|view| view.scan(&SHIPS, &at, 10)).unwrap();
            ids.extend(page.rows.iter().map(|row| row.0));
            next = page.next;
        }
        let mut wanted: Vec<u64> = (0..25).collect();
        if span == Span::all().backward() {
            wanted.reverse();
        }
        assert_eq!(ids, wanted);
    }
    let page = store
        .read(|view| view.index(&SHIPS_BY_HARBOUR, &Span::prefix(&1u32), 24))
        .unwrap();
    let rest = store
        .read(|view| view.index(&SHIPS_BY_HARBOUR, &page.next.unwrap(), 24))
        .unwrap();
    assert_eq!((rest.rows, rest.next), (vec![24], None));
}

#[test]
fn sealed_values_are_unreadable_below_and_readable_above() {
    let store = memory();
    let value = ship(3, "a very private name");
    let stored = value.clone();
    let read = store.write(stamp(1), move |tx| {
        tx.put(&SECRETS, &5, &stored)?;
        tx.get(&SECRETS, &5)
    });
    assert_eq!(read.wait().unwrap(), Some(value.clone()));
    assert_eq!(store.get(&SECRETS, &5).wait().unwrap().as_deref(), Some(&value));
    assert_eq!(
        store.read(|view| view.scan(&SECRETS, &Span::all(), 9)).unwrap().rows,
        [(5, value)]
    );
    for space in crate::engine::Space::ALL {
        let rows = crate::engine::conformance::rows(
            store.inner.shared.engine.view().as_ref(),
            space,
            &crate::span::EngineRange::everything(),
        );
        assert!(
            !rows
                .iter()
                .any(|(_, value)| value.windows(7).any(|part| part == b"private")),
            "{space:?}"
        );
    }
}

#[test]
fn limits_are_exact() {
    let store = memory();
    let name = |bytes: usize| "x".repeat(bytes);
    // version 1, harbour 1, length of the name 3
    let fits = store.write(stamp(1), move |tx| {
        tx.put(&SHIPS, &1, &ship(1, &name(VALUE_MAX_BYTES - 5)))
    });
    assert_eq!(fits.wait(), Ok(()));
    let over = store.write(stamp(1), move |tx| {
        tx.put(&SHIPS, &1, &ship(1, &name(VALUE_MAX_BYTES - 4)))
    });
    assert_eq!(over.wait(), Err(WriteError::TooLarge));
    let many = |rows: u64| {
        store.write(stamp(1), move |tx| {
            (0..rows).try_for_each(|id| tx.put(&SHIPS, &id, &ship(1, &"x".repeat(60_000))))
        })
    };
    assert_eq!(many(17).wait(), Ok(()));
    assert_eq!(many(18).wait(), Err(WriteError::TooLarge));
    let scan = store.write(stamp(1), |tx| tx.scan(&SHIPS, &Span::all(), SCAN_MAX_ROWS + 1));
    assert_eq!(scan.wait(), Err(WriteError::TooLarge));
}

#[test]
fn observers_hear_in_order_before_the_reply() {
    let (heard, hear) = mpsc::channel();
    let options = options()
        .observe(&SHIPS, move |id, ship: Option<&Ship>| {
            heard.send((*id, ship.map(|ship| ship.harbour))).unwrap();
        })
        .observe(&SECRETS, |_, secret| assert_eq!(secret.unwrap().name, "opened"));
    let store = Store::open_memory(options).unwrap();
    let commits: Vec<_> = (0..100u32)
        .map(|n| put(&store, u64::from(n % 3), ship(n, "x")))
        .collect();
    for (n, commit) in (0..).zip(commits) {
        commit.wait().unwrap();
        assert_eq!(hear.try_recv(), Ok((u64::from(n % 3), Some(n))));
    }
    let both = store.write(stamp(1), |tx| {
        tx.delete(&SHIPS, &1)?;
        tx.put(&SECRETS, &1, &ship(1, "opened"))
    });
    both.wait().unwrap();
    assert_eq!(hear.try_recv(), Ok((1, None)));
    assert!(!store.has_failed());
}

#[test]
fn a_failing_observer_finishes_the_store() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let mut options = options().observe(&SHIPS, |_, _| panic!("mirror broken"));
    let told = Arc::clone(&reasons);
    options.on_fatal = Arc::new(move |reason| told.lock().push(reason.to_owned()));
    let store = Store::open_memory(options).unwrap();
    assert_eq!(put(&store, 1, ship(1, "x")).wait(), Err(WriteError::Unknown));
    assert_eq!(put(&store, 1, ship(1, "x")).wait(), Err(WriteError::Closed));
    assert_eq!(*reasons.lock(), ["observer of ships panicked"]);
}

#[test]
fn unregistered_tables_are_refused() {
    static OTHER: Table<u64, Ship> = table(TableDef::new(99, "other", ""));
    let store = memory();
    assert_eq!(store.get(&OTHER, &1).wait(), Err(ReadError::UnknownTable(99)));
    assert_eq!(
        store.read(|view| view.get(&OTHER, &1)),
        Err(ReadError::UnknownTable(99))
    );
    let write = store.write(stamp(1), |tx| tx.put(&OTHER, &1, &ship(1, "x")));
    assert_eq!(write.wait(), Err(WriteError::Refused(TxError::UnknownTable(99))));
}

#[test]
fn shutdown_finishes_what_is_queued_and_refuses_the_rest() {
    let store = memory();
    let commits: Vec<_> = (0..500).map(|id| put(&store, id, ship(1, "x"))).collect();
    store.shutdown();
    assert!(commits.into_iter().all(|commit| commit.wait() == Ok(())));
    assert_eq!(put(&store, 1, ship(1, "x")).wait(), Err(WriteError::Closed));
    assert_eq!(
        store.query(Duration::from_secs(9), |_| Ok(())).wait(),
        Err(ReadError::Closed)
    );
    store.shutdown();
}

#[test]
fn the_last_handle_shuts_down_even_from_inside_a_write() {
    let store = memory();
    let inner = store.clone();
    let commit = store.write(stamp(1), move |tx| {
        let _keep = &inner;
        tx.put(&SHIPS, &1, &ship(1, "x"))
    });
    drop(store);
    assert_eq!(commit.wait(), Ok(()));
}

#[test]
fn a_full_queue_says_busy_and_changes_nothing() {
    let store = memory();
    let (release, first) = holding(&store);
    let queued: Vec<_> = (0..QUEUE_MAX_TX as u64)
        .map(|id| put(&store, id, ship(1, "queued")))
        .collect();
    assert_eq!(store.stats().queue_length, QUEUE_MAX_TX);
    assert_eq!(put(&store, 1 << 40, ship(1, "over")).wait(), Err(WriteError::Busy));
    drop(release);
    assert_eq!(first.wait(), Ok(()));
    assert!(queued.into_iter().all(|commit| commit.wait() == Ok(())));
    assert_eq!(store.get(&SHIPS, &(1 << 40)).wait().unwrap(), None);
}

/// A write that holds the sequencer until the returned sender is dropped; it has begun when this returns.
fn holding(store: &Store) -> (mpsc::Sender<()>, Commit<(), TxError>) {
    let (release, blocked) = mpsc::channel::<()>();
    let (started, running) = mpsc::channel();
    let holding = store.write(stamp(0), move |tx| {
        started.send(()).unwrap();
        let _ = blocked.recv();
        tx.put(&SHIPS, &0, &ship(1, "holding"))
    });
    running.recv_timeout(Duration::from_secs(30)).unwrap();
    (release, holding)
}

#[test]
fn what_nobody_waits_for_any_more_is_not_begun() {
    static BOOT_MS: AtomicU64 = AtomicU64::new(1_000);
    let mut options = options();
    options.boot_ms = Arc::new(|| BOOT_MS.load(Ordering::SeqCst));
    let store = Store::open_memory(options).unwrap();
    let (release, holding) = holding(&store);
    let awaited = |id: u64, until_boot_ms: Option<u64>| {
        store.write_while_awaited(stamp(id), until_boot_ms, move |tx| {
            tx.put(&SHIPS, &id, &ship(2, "awaited"))
        })
    };
    let (late, exact, unlimited) = (awaited(1, Some(1_499)), awaited(2, Some(1_500)), awaited(3, None));
    drop(awaited(4, None));
    drop(awaited(5, Some(9_999)));
    drop(put(&store, 6, ship(2, "in any case")));
    BOOT_MS.store(1_500, Ordering::SeqCst);
    drop(release);
    assert_eq!(late.wait(), Err(WriteError::Late));
    assert_eq!(
        (exact.wait(), unlimited.wait(), holding.wait()),
        (Ok(()), Ok(()), Ok(()))
    );
    put(&store, 7, ship(3, "after")).wait().unwrap();
    assert_eq!(in_harbour(&store, 2), [2, 3, 6]);
    let stats = store.stats();
    assert_eq!(
        (stats.late, stats.abandoned, stats.refused, stats.transactions),
        (1, 2, 0, 5)
    );
}

#[test]
fn a_write_that_has_begun_is_committed_although_its_caller_goes() {
    let store = memory();
    let (started, running) = mpsc::channel();
    let (release, blocked) = mpsc::channel::<()>();
    let begun: Commit<(), TxError> = store.write_while_awaited(stamp(1), None, move |tx| {
        started.send(()).unwrap();
        let _ = blocked.recv();
        tx.put(&SHIPS, &1, &ship(2, "begun"))
    });
    running.recv_timeout(Duration::from_secs(30)).unwrap();
    drop(begun);
    drop(release);
    put(&store, 2, ship(3, "after")).wait().unwrap();
    assert_eq!(in_harbour(&store, 2), [1]);
    assert_eq!(store.stats().abandoned, 0);
}

#[test]
fn transactions_share_one_clock() {
    static BOOT: AtomicU64 = AtomicU64::new(0);
    let mut options = options();
    options.boot_ms = Arc::new(|| BOOT.load(Ordering::SeqCst));
    let store = Store::open_memory(options).unwrap();
    let now_at = |wall_at: u64| {
        let stamp = Stamp {
            now_at: wall_at,
            ..stamp(0)
        };
        store.write(stamp, |tx| Ok::<_, TxError>(tx.now_at())).wait().unwrap()
    };
    assert_eq!([now_at(5_000), now_at(4_000), now_at(5_001)], [5_000, 5_000, 5_001]);
    assert_eq!(now_at(5_001 + CLOCK_JUMP_MAX_MS + 1), 5_001);
    assert_eq!(store.stats().clock_held_back, 1);
}

#[test]
fn entropy_is_the_same_for_the_same_label_only() {
    let store = memory();
    let bytes = store.write(stamp(1), |tx| {
        Ok::<_, TxError>([tx.entropy32("a"), tx.entropy32("a"), tx.entropy32("b")])
    });
    let [a, again, b] = bytes.wait().unwrap();
    assert!(a == again && a != b);
}

#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8),
    Delete(u8),
    Fail,
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        5 => (any::<u8>(), 0u8..5).prop_map(|(id, harbour)| Act::Put(id % 32, harbour)),
        2 => any::<u8>().prop_map(|id| Act::Delete(id % 32)),
        1 => Just(Act::Fail),
    ];
    prop::collection::vec(prop::collection::vec(act, 1..6), 1..40)
}

fn run_acts(tx: &mut Tx<'_>, acts: &[Act]) -> Result<(), TxError> {
    for act in acts {
        match *act {
            Act::Put(id, harbour) => tx.put(&SHIPS, &u64::from(id), &ship(harbour.into(), "x"))?,
            Act::Delete(id) => tx.delete(&SHIPS, &u64::from(id))?,
            Act::Fail => {
                return Err(CodecError::Invalid("on purpose")).map_err(|error| TxError::Codec { table: 0, error });
            }
        }
    }
    Ok(())
}

fn replayed(store: &Store) -> Result<(), TestCaseError> {
    use crate::engine::{BatchOp, Engine, Space, conformance::rows};
    use crate::overlay::Layers;
    use crate::span::EngineRange;
    let shared = &store.inner.shared;
    let copy = MemoryEngine::new();
    let mut chain = [0; 32];
    for (_, frame) in rows(
        shared.engine.view().as_ref(),
        Space::Journal,
        &EngineRange::everything(),
    ) {
        let frame = crate::frame::decode(&frame).unwrap();
        prop_assert_eq!(frame.position.prev_chain, chain);
        chain = frame.chain;
        let below = Layers {
            overlays: [None; 3],
            engine: &copy,
        };
        let mut overlay = Overlay::default();
        shared.rules().add_frame(&mut overlay, below, &frame).unwrap();
        for (key, value) in overlay.rows() {
            let space = shared.catalog.space(crate::catalog::number_of(key)).unwrap();
            let op = value
                .as_ref()
                .map_or(BatchOp::Delete(space, key), |value| BatchOp::Put(space, key, value));
            copy.commit(&[op]).unwrap();
        }
    }
    prop_assert_eq!(chain, store.head().chain);
    for space in [Space::Range, Space::Point] {
        let everything = EngineRange::everything();
        let (ours, theirs) = (shared.engine.view(), copy.view());
        prop_assert_eq!(
            rows(ours.as_ref(), space, &everything),
            rows(theirs.as_ref(), space, &everything)
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn agrees_with_a_model_and_the_journal_replays_to_the_same_rows(transactions in acts()) {
        let store = memory();
        let mut model: BTreeMap<u64, u32> = BTreeMap::new();
        let mut commits = Vec::new();
        for acts in transactions {
            if !acts.iter().any(|act| matches!(act, Act::Fail)) {
                for act in &acts {
                    match *act {
                        Act::Put(id, harbour) => drop(model.insert(id.into(), harbour.into())),
                        Act::Delete(id) => drop(model.remove(&id.into())),
                        Act::Fail => {}
                    }
                }
            }
            commits.push(store.write(stamp(1), move |tx| run_acts(tx, &acts)));
        }
        for commit in commits {
            let _ = commit.wait();
        }
        let rows = store.read(|view| view.scan(&SHIPS, &Span::all(), 1000)).unwrap().rows;
        let rows: BTreeMap<u64, u32> = rows.into_iter().map(|(id, ship)| (id, ship.harbour)).collect();
        prop_assert_eq!(&rows, &model);
        for harbour in 0..5 {
            let wanted: Vec<u64> = model.iter().filter(|row| *row.1 == harbour).map(|row| *row.0).collect();
            prop_assert_eq!(in_harbour(&store, harbour), wanted);
        }
        replayed(&store)?;
    }
}
