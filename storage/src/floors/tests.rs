//! Floors hide nothing, whatever is written, dropped and scanned in which order; and they do begin behind what is gone.

use proptest::prelude::*;

use super::*;
use crate::error::TxError;
use crate::span::Span;
use crate::store::Store;
use crate::store::tests::{SHIPS, SHIPS_BY_HARBOUR, options, ship, stamp};
use crate::tx::Tx;

/// What a transaction does.
#[derive(Debug, Clone)]
enum Act {
    /// A ship is in a harbour from now on.
    Moor(u64, u32),
    /// A ship is gone.
    Sink(u64),
    /// Somebody looks at a harbour.
    Look(u32),
    /// Somebody looks at the harbours up to one.
    LookUpTo(u32),
}

fn acts() -> impl Strategy<Value = Vec<(Vec<Act>, bool)>> {
    let act = prop_oneof![
        4 => (0u64..24, 0u32..3).prop_map(|(id, harbour)| Act::Moor(id, harbour)),
        3 => (0u64..24).prop_map(Act::Sink),
        3 => (0u32..3).prop_map(Act::Look),
        1 => (0u32..4).prop_map(Act::LookUpTo),
    ];
    let transaction = (proptest::collection::vec(act, 1..6), prop::bool::weighted(0.7));
    proptest::collection::vec(transaction, 1..40)
}

/// Looks forward, from the floor on, and backward, which knows no floors.
fn look(tx: &mut Tx<'_>, span: &Span) -> Result<(), TxError> {
    let forward = tx.index(&SHIPS_BY_HARBOUR, span, 1_000)?;
    let mut backward = tx.index(&SHIPS_BY_HARBOUR, &span.clone().backward(), 1_000)?;
    backward.reverse();
    assert_eq!(forward, backward, "a floor hides an entry");
    let first = tx.index(&SHIPS_BY_HARBOUR, span, 1)?;
    assert_eq!(first.first(), backward.first());
    Ok(())
}

fn run(tx: &mut Tx<'_>, acts: &[Act], is_kept: bool) -> Result<(), TxError> {
    for act in acts {
        match act {
            Act::Moor(id, harbour) => tx.put(&SHIPS, id, &ship(*harbour, "gull"))?,
            Act::Sink(id) => tx.delete(&SHIPS, id)?,
            Act::Look(harbour) => look(tx, &Span::prefix(harbour))?,
            Act::LookUpTo(harbour) => look(tx, &Span::all().before(harbour))?,
        }
    }
    if is_kept {
        Ok(())
    } else {
        Err(TxError::CounterExhausted)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_hidden(transactions in acts()) {
        let store = Store::open_memory(options()).unwrap();
        for (number, (acts, is_kept)) in transactions.into_iter().enumerate() {
            let outcome = store.write(stamp(number as u64), move |tx| run(tx, &acts, is_kept)).wait();
            prop_assert_eq!(outcome.is_ok(), is_kept, "{:?}", outcome);
            let all = store.write(stamp(0), |tx| (0u32..4).try_for_each(|harbour| look(tx, &Span::prefix(&harbour)))).wait();
            prop_assert_eq!(all, Ok(()));
        }
    }
}

fn key(prefix: u8, id: u8) -> Vec<u8> {
    vec![0, 21, prefix, id]
}

fn of_prefix(prefix: u8) -> EngineRange {
    EngineRange {
        start: vec![0, 21, prefix],
        end: Some(vec![0, 21, prefix + 1]),
        backward: false,
    }
}

fn changes(rows: &[(Vec<u8>, bool)]) -> Overlay {
    let mut own = Overlay::default();
    for (key, is_there) in rows {
        own.set(key.clone(), is_there.then(Vec::new));
    }
    own
}

#[test]
fn a_scan_begins_behind_what_is_gone_and_at_what_came_back() {
    let (mut floors, none) = (Floors::default(), Overlay::default());
    let range = of_prefix(7);
    let begin = |floors: &Floors| floors.narrow(&range, &none).start;
    floors.learn(&range, &none, None);
    floors.kept(&changes(&[(key(7, 5), true)]));
    floors.learn(&range, &none, Some(&key(7, 5)));
    assert_eq!(
        begin(&floors),
        range.start,
        "nothing was deleted yet: nothing to remember"
    );
    floors.kept(&changes(&[(key(7, 5), false), (key(7, 9), true)]));
    assert_eq!(begin(&floors), range.start, "nobody has looked since");
    floors.learn(&range, &none, Some(&key(7, 9)));
    assert_eq!(begin(&floors), key(7, 9));
    assert_eq!(floors.narrow(&of_prefix(8), &none), of_prefix(8), "another prefix");
    floors.kept(&changes(&[(key(7, 9), false)]));
    floors.learn(&range, &none, None);
    assert_eq!(begin(&floors), vec![0, 21, 8], "all is gone");
    let own = changes(&[(key(7, 2), true)]);
    assert_eq!(
        floors.narrow(&range, &own),
        range,
        "not past what the transaction itself wrote"
    );
    floors.learn(&range, &own, Some(&key(7, 2)));
    assert_eq!(begin(&floors), vec![0, 21, 8], "what may be dropped teaches nothing");
    floors.kept(&own);
    assert_eq!(begin(&floors), key(7, 2));
    floors.forget();
    assert_eq!(begin(&floors), range.start);
}

#[test]
fn what_is_remembered_is_bounded() {
    let (mut floors, none) = (Floors::default(), Overlay::default());
    let prefix = |number: u32| [&[0, 21][..], &number.to_be_bytes()].concat();
    let range = |number: u32| EngineRange {
        start: prefix(number),
        end: prefix_end(&prefix(number)),
        backward: false,
    };
    floors.learn(&range(0), &none, None);
    for number in 0..3 * u32::try_from(FLOORS_MAX).unwrap() {
        let gone = [prefix(number), vec![1]].concat();
        floors.kept(&changes(&[(gone, false)]));
        assert!(floors.by_prefix.len() <= FLOORS_MAX);
    }
    let long = EngineRange {
        start: vec![0; PREFIX_MAX_BYTES + 1],
        end: prefix_end(&[0; PREFIX_MAX_BYTES + 1]),
        backward: false,
    };
    floors.learn(&long, &none, None);
    for length in 3..20 {
        let start = vec![21; length];
        let end = prefix_end(&start);
        floors.learn(
            &EngineRange {
                start,
                end,
                backward: false,
            },
            &none,
            None,
        );
    }
    assert!(floors.lengths.values().all(|lengths| lengths.len() <= LENGTHS_MAX));
    assert!(
        floors
            .lengths
            .values()
            .flatten()
            .all(|length| *length <= PREFIX_MAX_BYTES)
    );
}
