//! What a group leaves in the engine: one frame that says everything, a head that agrees, a journal within its caps.

use std::collections::BTreeSet;

use super::*;
use crate::catalog::MARK_TABLE;
use crate::engine::conformance::rows;
use crate::error::TxError;
use crate::frame::{Frame, decode};
use crate::journal::JournalLimits;
use crate::span::{EngineRange, Span};
use crate::stamp::Stamp;
use crate::store::Store;
use crate::store::tests::{SECRETS, SHIPS, options, put, ship, stamp};
use crate::table::Class;

fn frames(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows(
        store.shared().engine.view().as_ref(),
        Space::Journal,
        &EngineRange::everything(),
    )
}

fn with_last_frame<R>(store: &Store, look: impl FnOnce(&Frame<'_>) -> R) -> R {
    let frames = frames(store);
    look(&decode(&frames.last().unwrap().1).unwrap())
}

#[test]
fn a_frame_says_who_what_and_when() {
    let store = Store::open_memory(options()).unwrap();
    put(&store, 1, ship(1, "old")).wait().unwrap();
    let head = store.head();
    let stamp = Stamp {
        request_id: [9; 16],
        idempotency_key: Some([8; 32]),
        now_at: 5_000,
        ..stamp(3)
    };
    let write = store.write(stamp, |tx| {
        tx.put(&SECRETS, &2, &ship(1, "sealed"))?;
        tx.put(&SHIPS, &7, &ship(1, "put twice"))?;
        tx.put(&SHIPS, &7, &ship(2, "last wins"))?;
        tx.delete(&SHIPS, &1)
    });
    write.wait().unwrap();
    with_last_frame(&store, |frame| {
        assert_eq!(
            (frame.position.lsn, frame.position.prev_chain),
            (head.lsn + 1, head.chain)
        );
        assert_eq!(
            (frame.position.cluster_id, frame.position.now_at),
            (store.cluster_id(), 5_000)
        );
        assert_eq!((frame.chain, frame.class), (store.head().chain, Class::RemoteDurable));
        let [tx] = frame.transactions.as_slice() else {
            panic!("one transaction")
        };
        assert_eq!((tx.op, tx.caller, tx.now_at), ("ship.sail", "captain 3", 5_000));
        assert_eq!(
            (tx.request_id, tx.idempotency_key, tx.class),
            ([9; 16], Some([8; 32]), Class::RemoteDurable)
        );
        let changes: Vec<_> = tx
            .rows
            .iter()
            .map(|row| (row.table, row.key.to_vec(), row.value.is_some()))
            .collect();
        let [one, seven, two] = [1u64.to_be_bytes(), 7u64.to_be_bytes(), [0, 0, 0, 2, 0, 0, 0, 0]];
        assert_eq!(
            changes,
            [
                (20, one.to_vec(), false),
                (20, seven.to_vec(), true),
                (22, two[..4].to_vec(), true)
            ]
        );
        assert!(
            !tx.rows
                .iter()
                .filter_map(|row| row.value)
                .any(|value| value.windows(6).any(|part| part == b"sealed"))
        );
    });
}

#[test]
fn a_transaction_of_a_local_table_is_local_and_reading_raises_nothing() {
    let store = Store::open_memory(options()).unwrap();
    let write = store.write(stamp(1), |tx| {
        tx.get(&SECRETS, &1)?;
        tx.put(&SHIPS, &1, &ship(1, "x"))
    });
    write.wait().unwrap();
    with_last_frame(&store, |frame| assert_eq!(frame.class, Class::Local));
}

#[test]
fn refused_transactions_and_readers_leave_no_trace_in_a_frame() {
    let store = Store::open_memory(options()).unwrap();
    let commits: Vec<_> = (0..90u64)
        .map(|n| {
            store.write(stamp(n), move |tx| {
                tx.get(&SHIPS, &n)?;
                match n % 3 {
                    0 => tx.put(&SHIPS, &n, &ship(1, "kept")),
                    1 => tx.put(&SHIPS, &n, &ship(1, "lost")).and(Err(TxError::CounterExhausted)),
                    _ => Ok(()),
                }
            })
        })
        .collect();
    for (n, commit) in commits.into_iter().enumerate() {
        assert_eq!(commit.wait().is_ok(), n % 3 != 1);
    }
    let frames = frames(&store);
    let transactions: usize = frames
        .iter()
        .map(|(_, frame)| decode(frame).unwrap().transactions.len())
        .sum();
    assert_eq!(transactions, 30);
    assert!(
        !frames
            .iter()
            .any(|(_, frame)| frame.windows(4).any(|part| part == b"lost"))
    );
}

#[test]
fn long_callers_are_cut_at_a_character() {
    let store = Store::open_memory(options()).unwrap();
    let caller = "港".repeat(100);
    let stamp = Stamp {
        caller: caller.clone(),
        ..stamp(1)
    };
    store
        .write(stamp, |tx| tx.put(&SHIPS, &1, &ship(1, "x")))
        .wait()
        .unwrap();
    with_last_frame(&store, |frame| assert_eq!(frame.transactions[0].caller, &caller[..255]));
}

#[test]
fn frames_follow_one_another_without_gaps() {
    let store = Store::open_memory(options()).unwrap();
    let commits: Vec<_> = (0..1000).map(|id| put(&store, id, ship(1, "x"))).collect();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
    let mut chain = [0; 32];
    for (lsn, (key, frame)) in (1u64..).zip(frames(&store)) {
        let frame = decode(&frame).unwrap();
        assert_eq!(
            (key, frame.position.lsn, frame.position.prev_chain),
            (lsn.to_be_bytes().to_vec(), lsn, chain)
        );
        chain = frame.chain;
    }
    assert_eq!(chain, store.head().chain);
}

#[test]
fn marks_and_frames_are_trimmed_together() {
    let limits = JournalLimits {
        max_bytes: 10_000,
        max_age_ms: u64::MAX,
    };
    let store = Store::open_memory(crate::OpenOptions {
        journal: limits,
        ..options()
    })
    .unwrap();
    for id in 0..300 {
        put(&store, id, ship(1, "x")).wait().unwrap();
        let lsns: BTreeSet<_> = frames(&store).into_iter().map(|(key, _)| key).collect();
        let view = store.shared().engine.view();
        for (key, _) in rows(view.as_ref(), Space::Meta, &Span::all().numbered(MARK_TABLE)) {
            assert!(lsns.contains(bare_key(&key)), "a mark without its frames");
        }
    }
    let bytes: usize = frames(&store).iter().map(|(_, frame)| frame.len()).sum();
    assert_eq!(bytes as u64, store.stats().journal_bytes);
    assert!((9_000..11_000).contains(&bytes), "{bytes}");
}

#[test]
fn a_group_closes_at_its_byte_limit() {
    let store = Store::open_memory(options()).unwrap();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let first = store.write(stamp(0), move |tx| {
        let _ = blocked.recv();
        tx.put(&SHIPS, &0, &ship(1, "x"))
    });
    let commits: Vec<_> = (1..=60)
        .map(|id| put(&store, id, ship(1, &"x".repeat(60_000))))
        .collect();
    drop(release);
    first.wait().unwrap();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
    for (_, frame) in frames(&store) {
        assert!(
            frame.len() <= crate::limits::GROUP_MAX_BYTES + 60_000 + 1000,
            "{} bytes",
            frame.len()
        );
    }
    assert!(frames(&store).len() >= 4);
}

#[test]
fn the_largest_group_fits_a_frame() {
    use crate::limits::{FRAME_MAX_BYTES, GROUP_MAX_BYTES, GROUP_MAX_TX, ROW_ENVELOPE_BYTES, TX_MAX_BYTES};
    // The smallest rows have the greatest share of envelopes.
    let rows = |store: &Store, count: u64| {
        store.write(stamp(1), move |tx| (0..count).try_for_each(|id| tx.delete(&SHIPS, &id)))
    };
    let most = (TX_MAX_BYTES / (2 + 8 + ROW_ENVELOPE_BYTES)) as u64;
    let store = Store::open_memory(options()).unwrap();
    assert_eq!(rows(&store, most).wait(), Ok(()));
    assert!(rows(&store, most + 1).wait().is_err());
    let envelope = 1 + crate::limits::OP_MAX_BYTES + 1 + crate::limits::CALLER_MAX_BYTES + 8 + 16 + 1 + 33 + 4;
    assert!(crate::frame::HEADER_BYTES + GROUP_MAX_BYTES + TX_MAX_BYTES + GROUP_MAX_TX * envelope < FRAME_MAX_BYTES);
    assert!(frames(&store)[0].1.len() <= crate::frame::HEADER_BYTES + TX_MAX_BYTES + envelope);
}
