//! What every engine must do. Each case gets a fresh engine; a model of plain maps is the judge of the random one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{BatchOp, Engine, EngineView, Fetched, Space, Tier};
use crate::span::EngineRange;

type Fresh<'f> = &'f dyn Fn() -> Box<dyn Engine>;

/// Runs every case.
pub(crate) fn run(fresh: Fresh<'_>) {
    absent_and_found(fresh().as_ref());
    spaces_are_separate(fresh().as_ref());
    later_operations_of_a_batch_win(fresh().as_ref());
    delete_range_is_half_open(fresh().as_ref());
    a_view_does_not_move(fresh().as_ref());
    scans_go_both_ways_and_stop(fresh().as_ref());
    agrees_with_a_model(fresh);
}

fn range(start: &[u8], end: Option<&[u8]>, backward: bool) -> EngineRange {
    EngineRange {
        start: start.to_vec(),
        end: end.map(<[u8]>::to_vec),
        backward,
    }
}

/// All rows of a range.
pub(crate) fn rows(view: &dyn EngineView, space: Space, range: &EngineRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut out = Vec::new();
    view.scan(space, range, &mut |key, value| {
        out.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    out
}

fn absent_and_found(engine: &dyn Engine) {
    assert_eq!(engine.get(Space::Point, b"k", Tier::Disk).unwrap(), Fetched::Absent);
    engine
        .commit(&[
            BatchOp::Put(Space::Point, b"k", b""),
            BatchOp::Put(Space::Point, b"", b"empty key"),
        ])
        .unwrap();
    assert_eq!(
        engine.get(Space::Point, b"k", Tier::Disk).unwrap(),
        Fetched::Found(Vec::new())
    );
    assert_eq!(
        engine.get(Space::Point, b"", Tier::Memory).unwrap(),
        Fetched::Found(b"empty key".to_vec())
    );
    engine
        .commit(&[
            BatchOp::Delete(Space::Point, b"k"),
            BatchOp::Delete(Space::Point, b"never"),
        ])
        .unwrap();
    assert_eq!(engine.get(Space::Point, b"k", Tier::Disk).unwrap(), Fetched::Absent);
    engine.commit(&[]).unwrap();
}

fn spaces_are_separate(engine: &dyn Engine) {
    for space in Space::ALL {
        engine
            .commit(&[BatchOp::Put(space, b"k", space.name().as_bytes())])
            .unwrap();
    }
    for space in Space::ALL {
        assert_eq!(
            engine.get(space, b"k", Tier::Disk).unwrap(),
            Fetched::Found(space.name().as_bytes().to_vec())
        );
        assert_eq!(rows(engine.view().as_ref(), space, &EngineRange::everything()).len(), 1);
    }
}

fn later_operations_of_a_batch_win(engine: &dyn Engine) {
    engine
        .commit(&[
            BatchOp::Put(Space::Range, b"a", b"1"),
            BatchOp::Put(Space::Range, b"a", b"2"),
            BatchOp::Put(Space::Range, b"b", b"1"),
            BatchOp::Delete(Space::Range, b"b"),
            BatchOp::Put(Space::Range, b"c", b"1"),
            BatchOp::DeleteRange(Space::Range, b"c", b"d"),
            BatchOp::Put(Space::Range, b"c", b"3"),
        ])
        .unwrap();
    let found = rows(engine.view().as_ref(), Space::Range, &EngineRange::everything());
    assert_eq!(found, [(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())]);
}

fn delete_range_is_half_open(engine: &dyn Engine) {
    for key in [b"a", b"b", b"c", b"d"] {
        engine.commit(&[BatchOp::Put(Space::Journal, key, b"")]).unwrap();
    }
    engine
        .commit(&[
            BatchOp::DeleteRange(Space::Journal, b"b", b"d"),
            BatchOp::DeleteRange(Space::Journal, b"d", b"a"),
        ])
        .unwrap();
    let left: Vec<_> = rows(engine.view().as_ref(), Space::Journal, &EngineRange::everything())
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(left, [b"a".to_vec(), b"d".to_vec()]);
}

fn a_view_does_not_move(engine: &dyn Engine) {
    engine.commit(&[BatchOp::Put(Space::Meta, b"k", b"1")]).unwrap();
    std::thread::scope(|scope| {
        let view = engine.view();
        let writer = scope.spawn(|| engine.commit(&[BatchOp::Put(Space::Meta, b"k", b"2")]).unwrap());
        assert_eq!(view.get(Space::Meta, b"k").unwrap().as_deref(), Some(b"1".as_slice()));
        assert_eq!(rows(view.as_ref(), Space::Meta, &EngineRange::everything())[0].1, b"1");
        drop(view);
        writer.join().unwrap();
    });
    assert_eq!(
        engine.view().get(Space::Meta, b"k").unwrap().as_deref(),
        Some(b"2".as_slice())
    );
}

fn scans_go_both_ways_and_stop(engine: &dyn Engine) {
    for number in 0..100u8 {
        engine
            .commit(&[BatchOp::Put(Space::Range, &[number], &[number])])
            .unwrap();
    }
    let view = engine.view();
    let keys = |range: &EngineRange| {
        rows(view.as_ref(), Space::Range, range)
            .iter()
            .map(|row| row.0[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&range(&[97], None, false)), [97, 98, 99]);
    assert_eq!(keys(&range(&[97], None, true)), [99, 98, 97]);
    assert_eq!(keys(&range(&[3], Some(&[5]), false)), [3, 4]);
    assert_eq!(keys(&range(&[3], Some(&[5]), true)), [4, 3]);
    assert!(keys(&range(&[5], Some(&[3]), false)).is_empty());
    assert!(keys(&range(&[5], Some(&[3]), true)).is_empty());
    let mut seen = 0;
    view.scan(Space::Range, &EngineRange::everything(), &mut |_, _| {
        seen += 1;
        if seen == 7 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
    .unwrap();
    assert_eq!(seen, 7);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    DeleteRange(u8, u8),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        4 => (any::<u8>(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => any::<u8>().prop_map(Step::Delete),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(from, until)| Step::DeleteRange(from, until)),
    ];
    prop::collection::vec(prop::collection::vec(step, 1..20), 1..20)
}

fn agrees_with_a_model(fresh: Fresh<'_>) {
    let mut runner = TestRunner::new(Config {
        cases: 12,
        ..Config::default()
    });
    runner
        .run(&steps(), |batches| {
            let engine = fresh();
            let mut model: BTreeMap<u8, u8> = BTreeMap::new();
            for batch in batches {
                commit_steps(engine.as_ref(), &batch);
                for step in batch {
                    match step {
                        Step::Put(key, value) => drop(model.insert(key, value)),
                        Step::Delete(key) => drop(model.remove(&key)),
                        Step::DeleteRange(from, until) => model.retain(|key, _| *key < from || *key >= until),
                    }
                }
                let stored = rows(engine.view().as_ref(), Space::Point, &EngineRange::everything());
                let wanted: Vec<_> = model.iter().map(|(key, value)| (vec![*key], vec![*value])).collect();
                prop_assert_eq!(stored, wanted);
            }
            Ok(())
        })
        .unwrap();
}

fn commit_steps(engine: &dyn Engine, steps: &[Step]) {
    let bytes: Vec<[u8; 2]> = steps
        .iter()
        .map(|step| match *step {
            Step::Put(key, value) => [key, value],
            Step::Delete(key) => [key, 0],
            Step::DeleteRange(from, until) => [from, until],
        })
        .collect();
    let ops: Vec<_> = steps
        .iter()
        .zip(&bytes)
        .map(|(step, [a, b])| {
            let (a, b) = (std::slice::from_ref(a), std::slice::from_ref(b));
            match step {
                Step::Put(..) => BatchOp::Put(Space::Point, a, b),
                Step::Delete(_) => BatchOp::Delete(Space::Point, a),
                Step::DeleteRange(..) => BatchOp::DeleteRange(Space::Point, a, b),
            }
        })
        .collect();
    engine.commit(&ops).unwrap();
}
