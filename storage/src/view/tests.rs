//! Pages, snapshots and errors of a view.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::engine::BatchOp;
use crate::store::Store;
use crate::store::tests::{SECRETS, SHIPS, SHIPS_BY_HARBOUR, Ship, options, put, ship, stamp};

fn filled(rows: u64, name: &str) -> Store {
    let store = Store::open_memory(options()).unwrap();
    let commits: Vec<_> = (0..rows)
        .map(|id| put(&store, id, ship(u32::try_from(id % 3).unwrap(), name)))
        .collect();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
    store
}

/// All ids of a span, page by page, and how many pages it took.
fn paged(store: &Store, span: &Span, limit: usize) -> (Vec<u64>, usize) {
    let (mut ids, mut next, mut pages) = (Vec::new(), Some(span.clone()), 0);
    while let Some(at) = next {
        let page: Page<(u64, Ship)> = store.read(|view| view.scan(&SHIPS, &at, limit)).unwrap();
        assert!(page.rows.len() <= limit);
        ids.extend(page.rows.iter().map(|row| row.0));
        next = page.next;
        pages += 1;
    }
    (ids, pages)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn pages_of_any_size_add_up(rows in 0u64..60, limit in 1usize..70, from in 0u64..60, before in 0u64..60, backward: bool) {
        let store = filled(rows, "x");
        let mut span = Span::all().from(&from).before(&before);
        let mut wanted: Vec<u64> = (from..before.min(rows)).collect();
        if backward {
            span = span.backward();
            wanted.reverse();
        }
        let (ids, pages) = paged(&store, &span, limit);
        prop_assert_eq!(pages, wanted.len().div_ceil(limit).max(1));
        prop_assert_eq!(ids, wanted);
    }

    #[test]
    fn index_pages_add_up(rows in 0u64..60, limit in 1usize..30, harbour in 0u32..4, backward: bool) {
        let store = filled(rows, "x");
        let mut wanted: Vec<u64> = (0..rows).filter(|id| id % 3 == u64::from(harbour)).collect();
        let mut span = Span::prefix(&harbour);
        if backward {
            span = span.backward();
            wanted.reverse();
        }
        let (mut ids, mut next) = (Vec::new(), Some(span));
        while let Some(at) = next {
            let page = store.read(|view| view.index(&SHIPS_BY_HARBOUR, &at, limit)).unwrap();
            ids.extend(page.rows);
            next = page.next;
        }
        prop_assert_eq!(ids, wanted);
    }
}

#[test]
fn a_page_ends_at_its_byte_limit() {
    let store = filled(100, &"x".repeat(60_000));
    let (ids, pages) = paged(&store, &Span::all(), 1000);
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
    assert_eq!(pages, 100 * 60_000 / SCAN_MAX_BYTES + 1);
}

#[test]
fn a_page_without_room_says_where_to_go_on() {
    let store = filled(3, "x");
    let page = store.read(|view| view.scan(&SHIPS, &Span::all(), 0)).unwrap();
    assert_eq!((page.rows.len(), page.next), (0, Some(Span::all())));
}

#[test]
fn rows_are_read_one_by_one_and_many_at_once() {
    let store = filled(5, "x");
    let rows = store.read(|view| view.get_many(&SHIPS, &[4, 99, 0])).unwrap();
    assert_eq!(rows, [Some(ship(1, "x")), None, Some(ship(0, "x"))]);
}

#[test]
fn a_query_sees_one_moment() {
    let store = filled(1, "x");
    let head = store.head();
    let (started, running) = std::sync::mpsc::channel();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let query = store.query(Duration::from_secs(30), move |view| {
        started.send(()).unwrap();
        let _ = blocked.recv();
        Ok((view.head()?, view.scan(&SHIPS, &Span::all(), 10)?.rows.len()))
    });
    running.recv().unwrap();
    let write = put(&store, 7, ship(1, "later"));
    drop(release);
    assert_eq!(query.wait(), Ok((Some(head), 1)));
    assert_eq!((store.stats().read_us.count(), store.stats().long_reads), (1, 0));
    write.wait().unwrap();
}

#[test]
fn damaged_rows_name_their_table() {
    let store = filled(2, "x");
    store
        .write(stamp(1), |tx| tx.put(&SECRETS, &1, &ship(1, "x")))
        .wait()
        .unwrap();
    let engine = &store.shared().engine;
    engine
        .commit(&[BatchOp::Put(Space::Range, &row_key(20, &0u64.to_be_bytes()), &[])])
        .unwrap();
    engine
        .commit(&[BatchOp::Put(Space::Range, &row_key(21, &[0]), &[])])
        .unwrap();
    engine.commit(&[BatchOp::Put(Space::Meta, &Head::key(), &[1])]).unwrap();
    let is = |error: ReadError, number| matches!(error, ReadError::Codec { table, .. } if table == number);
    assert!(is(store.read(|view| view.get(&SHIPS, &0)).unwrap_err(), 20));
    assert!(is(
        store.read(|view| view.scan(&SHIPS, &Span::all(), 9)).unwrap_err(),
        20
    ));
    assert!(is(
        store
            .read(|view| view.index(&SHIPS_BY_HARBOUR, &Span::all(), 9))
            .unwrap_err(),
        20
    ));
    assert!(is(store.read(|view| view.head()).unwrap_err(), 1));
    assert!(is(store.get(&SHIPS, &0).wait().unwrap_err(), 20));
    assert_eq!(store.get(&SHIPS, &1).wait().unwrap().unwrap().name, "x");
}
