//! Copies taken under load, brought forward to every lsn, equal the original at that lsn; what does not follow is refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::checkpoint::{Checkpoint, Digest};
use crate::copied::copy_dir;
use crate::store::Store;
use crate::store::tests::{SECRETS, SHIPS, TABLES, options, put, ship, stamp};

struct Original {
    folder: tempfile::TempDir,
    store: Store,
}

fn original() -> Original {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store"), options()).unwrap();
    Original { folder, store }
}

impl Original {
    /// Every kind of change: rows with an index that move and go, sealed rows, counters.
    fn change(&self, number: u64) {
        let (id, name) = (number % 7, format!("ship {number}"));
        put(&self.store, id, ship(u32::try_from(number % 3).unwrap(), &name))
            .wait()
            .unwrap();
        let secret = u32::try_from(number % 5).unwrap();
        self.store
            .write(stamp(number), move |tx| {
                tx.put(&SECRETS, &secret, &ship(1, "hidden"))?;
                tx.delete(&SHIPS, &((number + 3) % 7))?;
                tx.next_id("ship")
            })
            .wait()
            .unwrap();
    }

    fn digest(&self) -> (u64, Digest) {
        let (head, digest) = self.store.digest(&mut |_| {}).unwrap();
        (head.lsn, digest)
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.store.journal(0, &mut |frame| frames.push(frame.to_vec())).unwrap();
        frames
    }

    /// A checkpoint, laid where a restore into the answered directory finds it.
    fn copy(&self, name: &str) -> PathBuf {
        let dir = self.folder.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        self.store.checkpoint(&dir.join(ENGINE_DIR)).unwrap();
        dir
    }
}

fn begin(dir: &Path) -> Restore {
    Restore::begin(dir, options()).unwrap()
}

#[test]
fn a_copy_brought_forward_to_any_lsn_equals_the_original_there() {
    let original = original();
    (0..10).for_each(|number| original.change(number));
    let mut copies = vec![original.copy("at the start")];
    let mut digests: BTreeMap<u64, Digest> = [original.digest()].into();
    for number in 10..40 {
        original.change(number);
        digests.extend([original.digest()]);
        if number == 25 {
            copies.push(original.copy("in the middle"));
        }
    }
    let frames = original.frames();
    for copy in copies {
        let first = Checkpoint::open(&copy.join(ENGINE_DIR), TABLES).unwrap();
        assert_eq!(first.cluster_id(), original.store.cluster_id());
        assert_eq!(first.digest(&mut |_| {}).unwrap(), digests[&first.head().lsn]);
        for until in [
            first.head().lsn,
            first.head().lsn + 2,
            *digests.last_key_value().unwrap().0,
        ] {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("restored");
            crate::files::create_dir(&HostDisk, &target).unwrap();
            copy_dir(&copy.join(ENGINE_DIR), &target.join(ENGINE_DIR));
            let mut restore = begin(&target);
            for frame in frames.iter().filter(|frame| frame_facts(frame).unwrap().lsn <= until) {
                let applied = restore.apply(frame).unwrap();
                assert_eq!(applied, frame_facts(frame).unwrap().lsn > first.head().lsn);
            }
            let head = restore.finish(&[3; 32]).unwrap();
            assert_eq!(head.lsn, until);
            let store = Store::open(&target, options()).unwrap();
            let report = store.verify(&mut |_| {}).unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
            assert_eq!(store.digest(&mut |_| {}).unwrap().1, digests[&until], "lsn {until}");
            put(&store, 1, ship(1, "after")).wait().unwrap();
            assert_eq!(
                (store.head().lsn, store.head().epoch),
                (until + 1, head.epoch + EPOCH_STEP)
            );
            store.shutdown();
            drop(store);
            let again = Store::open(&target, options()).unwrap();
            assert!(again.verify(&mut |_| {}).unwrap().is_clean());
        }
    }
}

#[test]
fn a_digest_sees_one_changed_byte() {
    let original = original();
    original.change(1);
    let (_, before) = original.digest();
    put(&original.store, 1, ship(1, "gulm")).wait().unwrap();
    let (_, one) = original.digest();
    put(&original.store, 1, ship(1, "gull")).wait().unwrap();
    let (_, other) = original.digest();
    assert!(before != one && one != other);
}

#[test]
fn copies_are_whole_while_the_store_is_written() {
    let original = original();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                original.change(number);
                number += 1;
            }
        });
        let mut last = 0;
        for copy in 0..5 {
            let acknowledged = original.store.head().lsn;
            let dir = original.copy(&format!("copy {copy}"));
            let made = Checkpoint::open(&dir.join(ENGINE_DIR), TABLES).unwrap();
            assert!(made.head().lsn >= acknowledged.max(last));
            last = made.head().lsn;
            drop(made);
            begin(&dir).finish(&[3; 32]).unwrap();
            let store = Store::open(&dir, options()).unwrap();
            let report = store.verify(&mut |_| {}).unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

#[test]
fn what_does_not_follow_is_refused() {
    let original = original();
    original.change(1);
    let dir = original.copy("copy");
    (2..5).for_each(|number| original.change(number));
    let frames = original.frames();
    let other = Store::open(&original.folder.path().join("other"), {
        let mut other = options();
        other.entropy = [6; 32];
        other
    })
    .unwrap();
    put(&other, 1, ship(1, "gull")).wait().unwrap();
    let mut foreign = Vec::new();
    other.journal(0, &mut |frame| foreign.push(frame.to_vec())).unwrap();

    let mut restore = begin(&dir);
    let next = frame_facts(&frames[2]).unwrap().lsn;
    assert_eq!(restore.head().lsn + 1, next);
    let mut damaged = frames[2].clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(restore.apply(&damaged), Err(RestoreError::Frame { .. })));
    assert!(matches!(restore.apply(&foreign[0]), Err(RestoreError::Foreign(1))));
    assert!(matches!(restore.apply(&frames[3]), Err(RestoreError::Gap { .. })));
    assert!(!restore.apply(&frames[0]).unwrap(), "an old frame is left out");
    assert!(restore.apply(&frames[2]).unwrap());
    restore.finish(&[3; 32]).unwrap();
    assert!(matches!(
        Restore::begin(&dir, options()),
        Err(RestoreError::NotEmpty(_))
    ));
}

#[test]
fn pages_of_the_journal_are_bounded_and_leave_nothing_out() {
    let original = original();
    (0..12).for_each(|number| original.change(number));
    let all = original.frames();
    for max_bytes in [0, 1, 600, 5_000, usize::MAX] {
        let (mut found, mut next) = (Vec::new(), 1);
        loop {
            let page = original.store.journal_page(next, max_bytes).unwrap();
            let Some(last) = page.last() else { break };
            next = frame_facts(last).unwrap().lsn + 1;
            let bytes: usize = page.iter().map(Vec::len).sum();
            assert!(page.len() == 1 || bytes <= max_bytes, "{bytes} of {max_bytes}");
            found.extend(page);
        }
        assert_eq!(found, all, "pages of {max_bytes}");
    }
}
