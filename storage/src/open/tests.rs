//! Real directories: what a restart finds, and everything that must stop a start. A crash is a copy of the directory
//! taken while the store runs: what was acknowledged is synced and must be in the copy.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;
use crate::copied::copy_dir;
use crate::engine::{BatchOp, Fetched, Space, Tier};
use crate::error::ReadError;
use crate::keyring::{KeyRing, SealError};
use crate::span::Span;
use crate::store::tests::{SECRETS, SHIPS, SHIPS_BY_HARBOUR, Ship, TABLES, put, ship, stamp};
use crate::table::{Index, IndexDef, Preset, Table, TableDef, table};

fn host() -> Arc<dyn Disk> {
    Arc::new(HostDisk)
}

fn options(seed: u8) -> OpenOptions {
    let mut options = OpenOptions::new(TABLES, KeyRing::from_entropy(&[7; 32]), Arc::new(|| 0), [seed; 32]);
    options.on_fatal = Arc::new(|reason| panic!("{reason}"));
    options
}

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, options(5))
}

fn failure(dir: &Path) -> OpenFailure {
    let error = open(dir).err().unwrap();
    let text = error.to_string();
    assert!(
        text.contains(error.failure.code()) && text.contains(error.failure.advice()),
        "{text}"
    );
    error.failure
}

fn replace_dir(dir: &Path, with: &Path) {
    std::fs::remove_dir_all(dir).unwrap();
    copy_dir(with, dir);
}

fn write(store: &Store, ids: std::ops::Range<u64>) {
    for id in ids {
        put(store, id, ship(1, "gull")).wait().unwrap();
    }
}

/// A directory with ten rows, shut down in order.
fn filled() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0..10);
    store.shutdown();
    dir
}

fn rows(store: &Store) -> usize {
    store
        .read(|view| view.scan(&SHIPS, &Span::all(), 10_000))
        .unwrap()
        .rows
        .len()
}

#[test]
fn a_restart_continues_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (head, cluster_id) = {
        let store = open(dir.path()).unwrap();
        assert_eq!((store.incarnation(), store.head().lsn), (1, 0));
        write(&store, 0..10);
        (store.head(), store.cluster_id())
    };
    let store = open(dir.path()).unwrap();
    assert_eq!(
        (store.head(), store.cluster_id(), store.incarnation()),
        (head, cluster_id, 2)
    );
    assert_eq!(rows(&store), 10);
    let control = store.control().unwrap();
    assert_eq!((control.floor_lsn, control.floor_chain), (head.lsn, head.chain));
    write(&store, 10..12);
    assert_eq!(store.head().lsn, head.lsn + 2);
    assert_eq!(
        store
            .read(|view| view.index(&SHIPS_BY_HARBOUR, &Span::prefix(&1u32), 99))
            .unwrap()
            .rows
            .len(),
        12
    );
}

#[test]
fn now_never_goes_back_across_a_restart() {
    let dir = filled();
    let store = open(dir.path()).unwrap();
    let early = crate::Stamp { now_at: 1, ..stamp(1) };
    let now_at = store.write(early, |tx| Ok::<_, TxError>(tx.now_at())).wait().unwrap();
    assert_eq!(now_at, 1_009);
}

#[test]
fn everything_acknowledged_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for round in 1..=5 {
        write(&store, (round - 1) * 20..round * 20);
        let crashed = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), crashed.path());
        let copy = open(crashed.path()).unwrap();
        assert_eq!((rows(&copy) as u64, copy.head()), (round * 20, store.head()));
        write(&copy, 1000..1001);
    }
}

#[test]
fn a_crash_during_load_keeps_every_acknowledged_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let commits: Vec<_> = (0..3_000).map(|id| put(&store, id, ship(1, "gull"))).collect();
    let mut acknowledged = 0;
    let crashed = tempfile::tempdir().unwrap();
    for (number, commit) in commits.into_iter().enumerate() {
        commit.wait().unwrap();
        acknowledged = number + 1;
        if number == 700 {
            // Copied while later groups are being written, so its tail may be torn.
            copy_dir(dir.path(), crashed.path());
            break;
        }
    }
    let copy = open(crashed.path()).unwrap();
    assert!(rows(&copy) >= acknowledged, "{} of {acknowledged}", rows(&copy));
}

#[test]
fn one_process_at_a_time() {
    let dir = filled();
    let store = open(dir.path()).unwrap();
    assert_eq!(failure(dir.path()), OpenFailure::Locked);
    drop(store);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn missing_parts_are_named() {
    let dir = filled();
    std::fs::remove_file(dir.path().join(CONTROL_FILE)).unwrap();
    assert_eq!(failure(dir.path()), OpenFailure::ControlMissing);
    let dir = filled();
    std::fs::remove_dir_all(dir.path().join(ENGINE_DIR)).unwrap();
    assert_eq!(failure(dir.path()), OpenFailure::EngineMissing);
    let dir = filled();
    std::fs::remove_dir_all(dir.path().join(ENGINE_DIR)).unwrap();
    std::fs::create_dir(dir.path().join(ENGINE_DIR)).unwrap();
    assert!(open(dir.path()).is_err(), "an empty engine directory");
    let dir = filled();
    std::fs::write(dir.path().join(CONTROL_FILE), b"nonsense").unwrap();
    assert_eq!(failure(dir.path()), OpenFailure::ControlDamaged);
}

#[test]
fn an_engine_from_yesterday_is_refused() {
    let dir = filled();
    let yesterday = tempfile::tempdir().unwrap();
    copy_dir(&dir.path().join(ENGINE_DIR), yesterday.path());
    let store = open(dir.path()).unwrap();
    write(&store, 10..20);
    store.shutdown();
    drop(store);
    replace_dir(&dir.path().join(ENGINE_DIR), yesterday.path());
    let error = open(dir.path()).err().unwrap();
    assert_eq!(error.failure, OpenFailure::LostData);
    assert!(error.reason.contains("lsn 10, but lsn 20"), "{error}");
}

#[test]
fn a_lost_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0..50);
    let crashed = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), crashed.path());
    for entry in std::fs::read_dir(crashed.path().join(ENGINE_DIR)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(failure(crashed.path()), OpenFailure::EngineDamaged);
}

fn largest_log(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join(ENGINE_DIR))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(16))]
    #[test]
    fn a_cut_log_is_a_whole_prefix_or_refused(cut in 1u64..6_000, known in 0u64..=30) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        write(&store, 0..known);
        store.shutdown();
        drop(store);
        let crashed = tempfile::tempdir().unwrap();
        {
            let store = open(dir.path()).unwrap();
            write(&store, known..30);
            copy_dir(dir.path(), crashed.path());
        }
        // The second start rotated the log, so only what was written after the floor is in the largest one or before it.
        let log = largest_log(crashed.path());
        let length = std::fs::metadata(&log).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length.saturating_sub(cut)).unwrap();
        match open(crashed.path()) {
            Ok(store) => {
                let (head, report) = (store.head(), store.verify(&mut |_| {}).unwrap());
                proptest::prop_assert!(report.is_clean(), "{:?}", report.problems);
                proptest::prop_assert_eq!(rows(&store) as u64, head.lsn);
                proptest::prop_assert!(head.lsn >= known, "{} is below the floor {}", head.lsn, known);
            }
            Err(error) => {
                let expected = [OpenFailure::LostData, OpenFailure::EngineDamaged].contains(&error.failure);
                proptest::prop_assert!(expected, "{}", error);
            }
        }
    }
}

#[test]
fn a_log_cut_below_the_floor_is_refused() {
    let dir = filled();
    let log = largest_log(dir.path());
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length - 400)
        .unwrap();
    let error = open(dir.path()).err().unwrap();
    assert_eq!(error.failure, OpenFailure::LostData, "{error}");
}

#[test]
fn another_history_of_the_same_length_is_refused() {
    let dir = filled();
    let other = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), other.path());
    for (dir, name) in [(dir.path(), "ours"), (other.path(), "theirs")] {
        let store = open(dir).unwrap();
        put(&store, 99, ship(1, name)).wait().unwrap();
        store.shutdown();
    }
    replace_dir(&dir.path().join(ENGINE_DIR), &other.path().join(ENGINE_DIR));
    assert_eq!(failure(dir.path()), OpenFailure::LostData);
}

#[test]
fn another_clusters_engine_is_refused() {
    let (dir, other) = (filled(), tempfile::tempdir().unwrap());
    let store = Store::open(other.path(), options(6)).unwrap();
    write(&store, 0..10);
    store.shutdown();
    drop(store);
    replace_dir(&dir.path().join(ENGINE_DIR), &other.path().join(ENGINE_DIR));
    assert_eq!(failure(dir.path()), OpenFailure::Foreign);
}

/// Changes the closed engine of `dir` underneath the store.
fn tamper(dir: &Path, change: impl FnOnce(&RocksEngine)) {
    let engine = RocksEngine::open(&dir.join(ENGINE_DIR), &crate::MemoryBudget::default(), false).unwrap();
    change(&engine);
}

#[test]
fn a_damaged_or_missing_or_additional_frame_is_refused() {
    let last = 10u64.to_be_bytes();
    let dir = filled();
    tamper(dir.path(), |engine| {
        let Fetched::Found(mut frame) = engine.get(Space::Journal, &last, Tier::Disk).unwrap() else {
            panic!("no frame")
        };
        frame[60] ^= 1;
        engine.commit(&[BatchOp::Put(Space::Journal, &last, &frame)]).unwrap();
    });
    assert_eq!(failure(dir.path()), OpenFailure::JournalDamaged);
    let dir = filled();
    tamper(dir.path(), |engine| {
        engine.commit(&[BatchOp::Delete(Space::Journal, &last)]).unwrap();
    });
    assert_eq!(failure(dir.path()), OpenFailure::JournalDamaged);
    let dir = filled();
    tamper(dir.path(), |engine| {
        let Fetched::Found(frame) = engine.get(Space::Journal, &last, Tier::Disk).unwrap() else {
            panic!("no frame")
        };
        engine
            .commit(&[BatchOp::Put(Space::Journal, &11u64.to_be_bytes(), &frame)])
            .unwrap();
    });
    assert!(open(dir.path()).is_err());
    let dir = filled();
    tamper(dir.path(), |engine| {
        engine.commit(&[BatchOp::Delete(Space::Meta, &Head::key())]).unwrap();
    });
    assert_eq!(failure(dir.path()), OpenFailure::LostData);
}

#[test]
fn an_interrupted_first_start_begins_again() {
    for with_engine in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let state = ControlState::fresh([1; 16], [2; 16]);
        ControlFile::create(&host(), &dir.path().join(CONTROL_FILE), state).unwrap();
        if with_engine {
            std::fs::create_dir(dir.path().join(ENGINE_DIR)).unwrap();
            std::fs::write(dir.path().join(ENGINE_DIR).join("CURRENT"), b"MANI").unwrap();
        }
        let store = open(dir.path()).unwrap();
        write(&store, 0..3);
        assert_eq!((rows(&store), store.cluster_id()), (3, [1; 16]));
    }
}

static RENAMED: Table<u64, Ship> = table(TableDef {
    preset: Preset::Range,
    indexes: &[SHIPS_BY_HARBOUR.def],
    ..TableDef::new(20, "boats", "The number of another table.")
});

#[test]
fn tables_of_a_newer_release_are_refused() {
    static OLDER: &[&TableDef] = &[&SHIPS.def];
    static OTHER: &[&TableDef] = &[&RENAMED.def, &SECRETS.def];
    for tables in [OLDER, OTHER] {
        let dir = filled();
        let older = OpenOptions { tables, ..options(5) };
        let error = Store::open(dir.path(), older).err().unwrap();
        assert_eq!(error.failure, OpenFailure::NewerRelease, "{error}");
        assert!(open(dir.path()).is_ok());
    }
}

const SHIPS_BY_NAME_LENGTH: Index<u8, u64> = Index::new(IndexDef {
    number: 29,
    name: "ships_by_name_length",
    doc: "Declared later.",
    of: |key, value, emit| {
        let (_, ship) = crate::decode_row::<u64, Ship>(key, value)?;
        emit(&[u8::try_from(ship.name.len()).unwrap_or(u8::MAX)]);
        Ok(())
    },
});

static SHIPS_LATER: Table<u64, Ship> = table(TableDef {
    indexes: &[SHIPS_BY_HARBOUR.def, SHIPS_BY_NAME_LENGTH.def],
    ..SHIPS.def
});

#[test]
fn a_new_index_is_built_over_old_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let commits: Vec<_> = (0..5_000u64)
        .map(|id| put(&store, id, ship(1, &"x".repeat((id % 7) as usize))))
        .collect();
    commits.into_iter().for_each(|commit| commit.wait().unwrap());
    drop(store);
    let said = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&said);
    let progress: ProgressFn = Arc::new(move |text: &str| hear.lock().push(text.to_owned()));
    static LATER: &[&TableDef] = &[&SHIPS_LATER.def, &SECRETS.def];
    let later = OpenOptions {
        tables: LATER,
        progress,
        ..options(5)
    };
    let store = Store::open(dir.path(), later).unwrap();
    let found = store
        .read(|view| view.index(&SHIPS_BY_NAME_LENGTH, &Span::prefix(&3u8), 10_000))
        .unwrap()
        .rows;
    assert_eq!(found, (0..5_000).filter(|id| id % 7 == 3).collect::<Vec<_>>());
    assert!(
        said.lock()
            .iter()
            .any(|text| text == "building index ships_by_name_length: 5000 rows")
    );
}

#[test]
fn the_journal_stays_within_its_cap_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let limits = JournalLimits {
        max_bytes: 20_000,
        max_age_ms: u64::MAX,
    };
    let mut first = 0;
    for round in 0..4 {
        let store = Store::open(
            dir.path(),
            OpenOptions {
                journal: limits,
                ..options(5)
            },
        )
        .unwrap();
        write(&store, round * 100..round * 100 + 100);
        let stats = store.stats();
        assert!(stats.journal_bytes <= 20_000 + 2_000, "{} bytes", stats.journal_bytes);
        assert!(stats.journal_first_lsn > first && stats.journal_last_lsn == (round + 1) * 100);
        first = stats.journal_first_lsn;
        let kept = crate::engine::conformance::rows(
            store.shared().engine.view().as_ref(),
            Space::Journal,
            &crate::EngineRange::everything(),
        );
        assert_eq!(kept[0].0, first.to_be_bytes());
        assert_eq!(
            kept.iter().map(|frame| frame.1.len() as u64).sum::<u64>(),
            stats.journal_bytes
        );
    }
}

#[test]
fn without_its_cluster_key_a_sealed_row_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    store
        .write(stamp(1), |tx| tx.put(&SECRETS, &1, &ship(1, "id card")))
        .wait()
        .unwrap();
    drop(store);
    let keys = KeyRing::from_entropy(&[8; 32]);
    let store = Store::open(dir.path(), OpenOptions { keys, ..options(5) }).unwrap();
    let damaged = ReadError::Seal {
        table: 22,
        error: SealError::Damaged(1),
    };
    assert_eq!(store.get(&SECRETS, &1).wait(), Err(damaged));
}

#[test]
fn codes_and_exit_codes_are_distinct() {
    use OpenFailure::*;
    let all = [
        Locked,
        Io,
        ControlDamaged,
        ControlMissing,
        EngineMissing,
        EngineDamaged,
        LostData,
        JournalDamaged,
        Foreign,
        NewerRelease,
        Tables,
    ];
    for (at, a) in all.iter().enumerate() {
        for b in &all[at + 1..] {
            assert!(a.code() != b.code() && a.exit_code() != b.exit_code());
        }
    }
}

/// Waits for a state, with a deadline.
fn until(state: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !state() {
        assert!(std::time::Instant::now() < deadline, "the state did not come");
        std::thread::yield_now();
    }
}

#[test]
fn the_floor_follows_the_head_while_the_store_runs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for round in 1..=2 {
        write(&store, 0..10);
        until(|| store.control().unwrap().floor_lsn == store.head().lsn);
        let on_disk = ControlFile::open(&host(), &dir.path().join(CONTROL_FILE))
            .unwrap()
            .unwrap();
        assert_eq!(on_disk.state, store.control().unwrap(), "round {round}");
        assert_eq!(on_disk.state.floor_chain, store.head().chain);
    }
}

#[test]
fn a_floor_that_cannot_be_written_is_said_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&said);
    let progress: ProgressFn = Arc::new(move |text: &str| hear.lock().push(text.to_owned()));
    let store = Store::open(dir.path(), OpenOptions { progress, ..options(5) }).unwrap();
    let in_the_way = dir.path().join("control.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    write(&store, 0..3);
    until(|| {
        said.lock()
            .iter()
            .any(|text: &String| text.contains("floor could not be written"))
    });
    assert_eq!(store.control().unwrap().floor_lsn, 0);
    std::fs::remove_dir(&in_the_way).unwrap();
    until(|| store.control().unwrap().floor_lsn == 3);
}

#[test]
fn an_interrupted_index_build_starts_again() {
    let dir = filled();
    tamper(dir.path(), |engine| {
        let state = crate::catalog::row_key(crate::catalog::INDEX_STATE_TABLE, &21u16.to_be_bytes());
        let stray = [&[0, 21, 0, 0, 0, 9][..], &3u64.to_be_bytes()].concat();
        let range = Span::all().numbered(21);
        engine
            .commit(&[
                BatchOp::Put(Space::Meta, &state, &[1]),
                BatchOp::DeleteRange(Space::Range, &range.start, &range.end.unwrap()),
                BatchOp::Put(Space::Range, &stray, &[]),
            ])
            .unwrap();
    });
    let store = open(dir.path()).unwrap();
    let report = store.verify(&mut |_| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(report.index_entries, 10);
}

#[test]
fn a_damaged_control_slot_is_said_and_survived() {
    let dir = filled();
    let path = dir.path().join(CONTROL_FILE);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&said);
    let progress: ProgressFn = Arc::new(move |text: &str| hear.lock().push(text.to_owned()));
    let store = Store::open(dir.path(), OpenOptions { progress, ..options(5) }).unwrap();
    assert_eq!(rows(&store), 10);
    assert!(
        said.lock()
            .iter()
            .any(|text| text.contains("slot of the control file is damaged"))
    );
}

#[test]
fn the_node_store_lies_beside_and_counts_starts() {
    let dir = filled();
    for incarnation in 2..5 {
        let store = open(dir.path()).unwrap();
        let start = crate::NodeStart {
            started_at: incarnation,
            version: "1".into(),
            stopped_at: None,
        };
        store.node().note_start(store.incarnation(), &start).unwrap();
        assert_eq!(store.node().starts(1).unwrap(), [(incarnation, start)]);
    }
}

#[test]
fn a_path_that_cannot_be_a_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert_eq!(failure(&file), OpenFailure::Io);
    assert_eq!(failure(&file.join("below")), OpenFailure::Io);
}

#[test]
fn a_start_says_what_it_found_and_what_it_cut() {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path()).unwrap();
    let first = store.recovery().clone();
    assert!(first.created && first.lsn == 0 && first.incarnation == 1 && first.replayed.batches == 0);
    write(&store, 0..20);
    copy_dir(dir.path(), crashed.path());
    let store = open(crashed.path()).unwrap();
    let found = store.recovery().clone();
    assert_eq!(
        (found.created, found.lsn, found.epoch, found.incarnation),
        (false, 20, 1, 2)
    );
    assert!(found.floor_lsn <= 20 && !found.control_repaired && found.replayed.torn.is_none());
    // The engine's own first batches are among them.
    assert!(
        found.replayed.batches >= 20 && found.replayed.logs == 1,
        "{:?}",
        found.replayed
    );
    drop(store);

    let torn = tempfile::tempdir().unwrap();
    copy_dir(dir.path(), torn.path());
    let log = largest_log(torn.path());
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 7]).unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let mut options = options(1);
    let note = Arc::clone(&said);
    options.progress = Arc::new(move |text| note.lock().push(text.to_owned()));
    let store = Store::open(torn.path(), options).unwrap();
    let found = store.recovery();
    let cut = found.replayed.torn.clone().unwrap();
    assert_eq!((found.lsn, cut.file), (19, log));
    assert_eq!(cut.from_byte + cut.bytes, bytes.len() as u64 - 7);
    let replaying = format!("replaying {} batches", found.replayed.batches);
    assert!(
        said.lock().iter().any(|text| text.starts_with(&replaying)),
        "{:?}",
        said.lock()
    );
}

#[test]
fn every_refusal_has_an_exit_code_of_its_own_in_the_order_of_the_list() {
    let codes: Vec<u8> = OpenFailure::ALL.iter().map(|failure| failure.exit_code()).collect();
    assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    let names: std::collections::BTreeSet<_> = OpenFailure::ALL.iter().map(|failure| failure.code()).collect();
    assert_eq!(names.len(), OpenFailure::ALL.len());
}
