//! Statements of a transaction, one by one: what they see, what they refuse, and that they are deterministic.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::{CodecError, WriteError};
use crate::keyring::SealError;
use crate::store::Store;
use crate::store::tests::{SECRETS, SHIPS, SHIPS_BY_HARBOUR, Ship, options, put, ship, stamp};
use crate::table::{IndexDef, table};

fn memory() -> Store {
    Store::open_memory(options()).unwrap()
}

/// Runs one transaction and gives its result.
fn run<T: Send + 'static>(
    store: &Store,
    f: impl FnMut(&mut Tx<'_>) -> Result<T, TxError> + Send + 'static,
) -> Result<T, WriteError<TxError>> {
    store.write(stamp(1), f).wait()
}

#[test]
fn a_transaction_sees_its_own_changes_everywhere() {
    let store = memory();
    for id in [1, 3, 5] {
        put(&store, id, ship(1, "old")).wait().unwrap();
    }
    let (scanned, back, by_harbour, there, gone) = run(&store, |tx| {
        tx.put(&SHIPS, &2, &ship(1, "new"))?;
        tx.put(&SHIPS, &3, &ship(2, "moved"))?;
        tx.delete(&SHIPS, &5)?;
        tx.put(&SHIPS, &9, &ship(1, "brief"))?;
        tx.delete(&SHIPS, &9)?;
        Ok((
            tx.scan(&SHIPS, &Span::all(), 10)?,
            tx.scan(&SHIPS, &Span::all().backward(), 2)?,
            tx.index(&SHIPS_BY_HARBOUR, &Span::prefix(&1u32), 10)?,
            tx.exists(&SHIPS, &2)?,
            tx.exists(&SHIPS, &5)?,
        ))
    })
    .unwrap();
    assert_eq!(
        scanned,
        [(1, ship(1, "old")), (2, ship(1, "new")), (3, ship(2, "moved"))]
    );
    assert_eq!(back.iter().map(|row| row.0).collect::<Vec<_>>(), [3, 2]);
    assert_eq!((by_harbour, there, gone), (vec![1, 2], true, false));
}

#[test]
fn scans_stop_at_their_limit() {
    let store = memory();
    for id in 0..10 {
        put(&store, id, ship(1, "x")).wait().unwrap();
    }
    for limit in [0, 1, 9, 10, 11] {
        let found = run(&store, move |tx| tx.scan(&SHIPS, &Span::all(), limit)).unwrap();
        assert_eq!(found.len(), limit.min(10));
        let found = run(&store, move |tx| {
            tx.index(&SHIPS_BY_HARBOUR, &Span::prefix(&1u32), limit)
        })
        .unwrap();
        assert_eq!(found.len(), limit.min(10));
    }
    let between = run(&store, |tx| {
        tx.scan(&SHIPS, &Span::all().after(&3u64).before(&6u64), 99)
    })
    .unwrap();
    assert_eq!(between.iter().map(|row| row.0).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_scan_over_too_many_bytes_is_refused_not_cut() {
    let store = memory();
    for id in 0..80u64 {
        put(&store, id, ship(1, &"x".repeat(60_000))).wait().unwrap();
    }
    assert_eq!(
        run(&store, |tx| tx.scan(&SHIPS, &Span::all(), 80)),
        Err(WriteError::TooLarge)
    );
    assert_eq!(run(&store, |tx| tx.scan(&SHIPS, &Span::all(), 60)).unwrap().len(), 60);
}

#[test]
fn counters_count_from_one_continue_and_end() {
    let store = memory();
    assert_eq!(
        run(&store, |tx| Ok([tx.next_id("a")?, tx.next_id("a")?, tx.next_id("b")?])),
        Ok([1, 2, 1])
    );
    assert_eq!(run(&store, |tx| tx.raise_counter("a", 1000)), Ok(()));
    assert_eq!(run(&store, |tx| tx.raise_counter("a", 50)), Ok(()));
    assert_eq!(run(&store, |tx| tx.next_id("a")), Ok(1001));
    assert_eq!(
        store.read(|view| Ok((view.counter("a")?, view.counter("never")?))),
        Ok((1001, 0))
    );
    assert_eq!(run(&store, |tx| tx.raise_counter("a", ID_LIMIT - 2)), Ok(()));
    assert_eq!(run(&store, |tx| tx.next_id("a")), Ok(ID_LIMIT - 1));
    let exhausted = Err(WriteError::Refused(TxError::CounterExhausted));
    assert_eq!(run(&store, |tx| tx.next_id("a")), exhausted);
    assert_eq!(run(&store, |tx| tx.raise_counter("a", ID_LIMIT).map(|()| 0)), exhausted);
}

#[test]
fn counter_names_are_bounded() {
    const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123";
    let store = memory();
    assert_eq!(LONG.len(), COUNTER_NAME_MAX_BYTES);
    assert_eq!(run(&store, |tx| tx.next_id(LONG)), Ok(1));
    assert_eq!(
        run(&store, |tx| tx.next_id(concat!(
            "x",
            "0123456789012345678901234567890123456789012345678901234567890123"
        ))),
        Err(WriteError::TooLarge)
    );
}

#[test]
fn keys_are_bounded() {
    static WIDE: Table<[u8; KEY_MAX_BYTES], Ship> = table(TableDef::new(30, "wide", ""));
    static WIDER: Table<[u8; KEY_MAX_BYTES + 1], Ship> = table(TableDef::new(31, "wider", ""));
    static BOTH: &[&TableDef] = &[&WIDE.def, &WIDER.def];
    let store = Store::open_memory(crate::OpenOptions {
        tables: BOTH,
        ..options()
    })
    .unwrap();
    assert_eq!(
        run(&store, |tx| tx.put(&WIDE, &[7; KEY_MAX_BYTES], &ship(1, "x"))),
        Ok(())
    );
    assert!(run(&store, |tx| tx.get(&WIDE, &[7; KEY_MAX_BYTES])).unwrap().is_some());
    assert_eq!(
        run(&store, |tx| tx.put(&WIDER, &[7; KEY_MAX_BYTES + 1], &ship(1, "x"))),
        Err(WriteError::TooLarge)
    );
    assert!(store.get(&WIDER, &[7; KEY_MAX_BYTES + 1]).wait().is_err());
}

#[test]
fn a_transaction_counts_every_byte_it_ever_wrote() {
    let store = memory();
    let rewrite = |times: u32| {
        run(&store, move |tx| {
            (0..times).try_for_each(|n| tx.put(&SHIPS, &1, &ship(n, &"x".repeat(60_000))))
        })
    };
    assert_eq!(rewrite(17), Ok(()));
    assert_eq!(rewrite(18), Err(WriteError::TooLarge));
    assert_eq!(store.get(&SHIPS, &1).wait().unwrap().unwrap().harbour, 16);
}

static BROKEN_INDEX: Table<u64, Ship> = table(TableDef {
    indexes: &[IndexDef {
        number: 41,
        name: "broken",
        doc: "",
        of: |_, _, _| Err(CodecError::Invalid("cannot derive")),
    }],
    ..TableDef::new(40, "rows_with_broken_index", "")
});

#[test]
fn an_index_that_cannot_be_derived_refuses_the_row() {
    static ONLY: &[&TableDef] = &[&BROKEN_INDEX.def];
    let store = Store::open_memory(crate::OpenOptions {
        tables: ONLY,
        ..options()
    })
    .unwrap();
    let error = TxError::Codec {
        table: 40,
        error: CodecError::Invalid("cannot derive"),
    };
    assert_eq!(
        run(&store, |tx| tx.put(&BROKEN_INDEX, &1, &ship(1, "x"))),
        Err(WriteError::Refused(error))
    );
    assert_eq!(store.get(&BROKEN_INDEX, &1).wait(), Ok(None));
}

#[test]
fn damaged_rows_are_errors_not_absent_rows() {
    use crate::engine::BatchOp;
    let store = memory();
    let engine = &store.shared().engine;
    engine
        .commit(&[BatchOp::Put(Space::Range, &row_key(20, &1u64.to_be_bytes()), &[9, 9])])
        .unwrap();
    engine
        .commit(&[BatchOp::Put(
            Space::Point,
            &row_key(22, &1u32.to_be_bytes()),
            &[0, 9, 9],
        )])
        .unwrap();
    engine
        .commit(&[BatchOp::Put(Space::Meta, &row_key(COUNTER_TABLE, b"a"), &[1])])
        .unwrap();
    let version = TxError::Codec {
        table: 20,
        error: CodecError::Version { version: 9 },
    };
    assert_eq!(
        run(&store, |tx| tx.get(&SHIPS, &1)),
        Err(WriteError::Refused(version.clone()))
    );
    assert_eq!(
        run(&store, |tx| tx.scan(&SHIPS, &Span::all(), 9)),
        Err(WriteError::Refused(version.clone()))
    );
    assert_eq!(
        run(&store, |tx| tx.put(&SHIPS, &1, &ship(1, "x"))),
        Err(WriteError::Refused(version))
    );
    let seal = TxError::Seal {
        table: 22,
        error: SealError::Short,
    };
    assert_eq!(run(&store, |tx| tx.get(&SECRETS, &1)), Err(WriteError::Refused(seal)));
    assert!(matches!(
        run(&store, |tx| tx.next_id("a")),
        Err(WriteError::Refused(TxError::Codec { table: 2, .. }))
    ));
    assert_eq!(run(&store, |tx| tx.exists(&SHIPS, &1)), Ok(true));
}

#[test]
fn unregistered_indexes_are_refused() {
    const STRAY: Index<u32, u64> = Index::new(IndexDef {
        number: 98,
        name: "stray",
        doc: "",
        of: |_, _, _| Ok(()),
    });
    let store = memory();
    let unknown = Err(WriteError::Refused(TxError::UnknownTable(98)));
    assert_eq!(run(&store, |tx| tx.index(&STRAY, &Span::all(), 1)), unknown);
}

#[test]
fn a_stamp_used_twice_never_seals_two_values_under_one_nonce() {
    let store = memory();
    let nonce = |store: &Store, key: u32| -> Vec<u8> {
        let row = crate::engine::conformance::rows(
            store.shared().engine.view().as_ref(),
            Space::Point,
            &Span::prefix(&key).numbered(22),
        );
        row[0].1[2..26].to_vec()
    };
    let mut seen = std::collections::BTreeSet::new();
    for (key, name) in [(1, "a"), (1, "b"), (2, "a"), (2, "b")] {
        run(&store, move |tx| tx.put(&SECRETS, &key, &ship(1, name))).unwrap();
        assert!(seen.insert(nonce(&store, key)), "{key} {name}");
    }
    run(&store, |tx| tx.put(&SECRETS, &1, &ship(1, "a"))).unwrap();
    assert!(seen.contains(&nonce(&store, 1)), "the same again is the same");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// The same closures with the same stamps on the same rows give the same history, bit by bit.
    #[test]
    fn transactions_are_deterministic(writes in prop::collection::vec((0u64..9, 0u32..4, ".{0,9}"), 1..12)) {
        let heads: Vec<_> = (0..2).map(|_| {
            let store = memory();
            for (number, (id, harbour, name)) in (0..).zip(writes.clone()) {
                let write = store.write(stamp(number), move |tx| {
                    let value = Ship { harbour, name: format!("{name}{:x?}", tx.entropy32("salt")) };
                    tx.put(&SHIPS, &id, &value)?;
                    tx.put(&SECRETS, &harbour, &value)?;
                    tx.next_id("write")
                });
                write.wait().unwrap();
            }
            store.head()
        }).collect();
        prop_assert_eq!(heads[0], heads[1]);
    }
}

#[test]
fn parallel_writers_lose_no_update() {
    let store = Arc::new(memory());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    run(&store, |tx| {
                        let count = tx.get(&SHIPS, &1)?.map_or(0, |ship| ship.harbour);
                        tx.put(&SHIPS, &1, &ship(count + 1, "counted"))
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(store.get(&SHIPS, &1).wait().unwrap().unwrap().harbour, 800);
}
