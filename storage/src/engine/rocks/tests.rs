//! Conformance, and the settings that this engine must have: what RocksDB does by default loses data silently.

use super::*;
use crate::engine::conformance;

fn open(dir: &Path, create: bool) -> Result<RocksEngine, EngineError> {
    RocksEngine::open(dir, &MemoryBudget::default(), create)
}

/// An engine whose directory lives as long as it does.
struct Temporary {
    engine: RocksEngine,
    _dir: tempfile::TempDir,
}

impl Engine for Temporary {
    fn get(&self, space: Space, key: &[u8], tier: Tier) -> Result<Fetched, EngineError> {
        self.engine.get(space, key, tier)
    }
    fn view(&self) -> Box<dyn EngineView + '_> {
        self.engine.view()
    }
    fn commit(&self, batch: &[BatchOp<'_>]) -> Result<(), EngineError> {
        self.engine.commit(batch)
    }
    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }
    fn properties(&self) -> Vec<(&'static str, u64)> {
        self.engine.properties()
    }
    fn estimate(&self, space: Space, range: &EngineRange) -> (u64, u64) {
        self.engine.estimate(space, range)
    }
}

#[test]
fn conforms() {
    conformance::run(&|| {
        let dir = tempfile::tempdir().unwrap();
        Box::new(Temporary {
            engine: open(dir.path(), true).unwrap(),
            _dir: dir,
        })
    });
}

/// 200 synced rows in the log, none in table files.
fn filled(dir: &Path) {
    let engine = open(dir, true).unwrap();
    for number in 0..200u32 {
        engine
            .commit(&[BatchOp::Put(Space::Point, &number.to_be_bytes(), &[7; 100])])
            .unwrap();
    }
}

fn rows(engine: &RocksEngine) -> usize {
    conformance::rows(engine.view().as_ref(), Space::Point, &EngineRange::everything()).len()
}

fn largest_log(dir: &Path) -> std::path::PathBuf {
    let logs = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap()
}

#[test]
fn committed_rows_come_back() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    assert_eq!(rows(&open(dir.path(), false).unwrap()), 200);
}

#[test]
fn a_directory_without_an_engine_is_not_made_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(&dir.path().join("db"), false).is_err());
}

#[test]
fn a_torn_last_record_is_cut_and_nothing_else_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let log = largest_log(dir.path());
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 10]).unwrap();
    let whole = bytes.len() as u64 / 200 * 199;
    let engine = open(dir.path(), false).unwrap();
    assert_eq!(rows(&engine), 199);
    let found = engine.replayed();
    assert_eq!((found.logs, found.batches), (1, 199));
    let torn = found.torn.unwrap();
    assert_eq!((torn.file, torn.from_byte + torn.bytes), (log, bytes.len() as u64 - 10));
    assert!(
        torn.from_byte >= whole.saturating_sub(100),
        "{} of {whole}",
        torn.from_byte
    );
}

#[test]
fn what_is_said_of_a_torn_log_is_what_the_engine_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), true).unwrap();
    // Records of one piece, of several, and such that end near the end of a block.
    for number in 0..40u32 {
        let value = vec![7; 900 * number as usize];
        let batch = [BatchOp::Put(Space::Point, &number.to_be_bytes(), &value)];
        engine.commit(&batch).unwrap();
    }
    drop(engine);
    let log = largest_log(dir.path());
    let bytes = std::fs::read(&log).unwrap();
    for cut in [1, 5, 8, 400, 35_200, 35_300, 70_000, 100_000, 400_000, bytes.len() - 60] {
        let torn = tempfile::tempdir().unwrap();
        crate::copied::copy_dir(dir.path(), torn.path());
        let log = torn.path().join(log.file_name().unwrap());
        std::fs::write(&log, &bytes[..bytes.len() - cut]).unwrap();
        let engine = open(torn.path(), false).unwrap();
        assert_eq!(engine.replayed().batches, rows(&engine) as u64, "cut by {cut}");
    }
}

#[test]
fn a_log_that_was_replayed_is_not_replayed_again() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let found = open(dir.path(), false).unwrap().replayed();
    assert_eq!((found.batches, found.torn), (200, None));
    assert_eq!(open(dir.path(), false).unwrap().replayed().batches, 0);
}

#[test]
fn a_flipped_bit_in_the_middle_of_the_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let log = largest_log(dir.path());
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    assert!(matches!(open(dir.path(), false), Err(EngineError::Corrupt(_))));
}

/// A log that ends in a record of 150,000 bytes after smaller ones, and where that record begins.
fn ending_in_a_long_record(dir: &Path) -> (std::path::PathBuf, Vec<u8>, usize) {
    let engine = open(dir, true).unwrap();
    for number in 0..20u32 {
        let value: Vec<u8> = (1..=255).cycle().take(2_000).collect();
        let batch = [BatchOp::Put(Space::Point, &number.to_be_bytes(), &value)];
        engine.commit(&batch).unwrap();
    }
    let before = std::fs::metadata(largest_log(dir)).unwrap().len();
    let value: Vec<u8> = (1..=255).cycle().take(150_000).collect();
    engine
        .commit(&[BatchOp::Put(Space::Point, &20u32.to_be_bytes(), &value)])
        .unwrap();
    drop(engine);
    let log = largest_log(dir);
    let bytes = std::fs::read(&log).unwrap();
    (log, bytes, usize::try_from(before).unwrap())
}

/// The engine over a copy whose log has these bytes.
fn with_log(dir: &Path, log: &Path, bytes: &[u8]) -> Result<(RocksEngine, tempfile::TempDir), EngineError> {
    let copy = tempfile::tempdir().unwrap();
    crate::copied::copy_dir(dir, copy.path());
    std::fs::write(copy.path().join(log.file_name().unwrap()), bytes).unwrap();
    open(copy.path(), false).map(|engine| (engine, copy))
}

#[test]
fn pages_of_the_last_record_that_never_reached_the_disk_are_cut_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (log, bytes, begin) = ending_in_a_long_record(dir.path());
    let pages: Vec<_> = (begin / 4096..bytes.len().div_ceil(4096)).collect();
    assert!(pages.len() > 30, "{pages:?}");
    // One page each; every second one; all but one each.
    let singles = pages.iter().map(|page| vec![*page]);
    let halves = [0, 1].map(|rest| pages.iter().copied().filter(|page| page % 2 == rest).collect());
    let others = pages
        .iter()
        .map(|page| pages.iter().copied().filter(|other| other != page).collect());
    for missing in singles.chain(halves).chain(others) {
        let mut torn = bytes.clone();
        for page in &missing {
            let (from, until) = ((page * 4096).max(begin), ((page + 1) * 4096).min(bytes.len()));
            torn[from..until].fill(0);
        }
        let (engine, _dir) = with_log(dir.path(), &log, &torn).unwrap_or_else(|error| panic!("{missing:?}: {error}"));
        assert_eq!(rows(&engine), 20, "{missing:?}");
        assert_eq!(engine.replayed().batches, 20, "{missing:?}");
        assert_eq!(
            engine.replayed().torn.map(|torn| torn.from_byte),
            Some(begin as u64),
            "{missing:?}"
        );
    }
}

#[test]
fn a_page_missing_before_the_last_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, bytes, begin) = ending_in_a_long_record(dir.path());
    for page in 0..begin / 4096 {
        let mut damaged = bytes.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0);
        match with_log(dir.path(), &log, &damaged).map(|_| ()) {
            Err(EngineError::Corrupt(reason)) => {
                let file = log.file_name().unwrap().to_string_lossy().into_owned();
                assert!(reason.contains(&file) && reason.contains("follows"), "{page}: {reason}");
            }
            other => panic!("page {page}: {other:?}"),
        }
    }
}

#[test]
fn a_last_record_that_is_wrong_without_a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, bytes, begin) = ending_in_a_long_record(dir.path());
    for at in [begin, begin + 3, begin + 100, bytes.len() - 40_000, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(
            matches!(
                with_log(dir.path(), &log, &damaged).map(|_| ()),
                Err(EngineError::Corrupt(_))
            ),
            "byte {at}"
        );
    }
}

#[test]
fn a_flipped_bit_beside_a_few_zeros_is_no_hole() {
    // Of many lengths, so that they end at many places of a sector; each ends in zeros.
    for zeros in 0..16 {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path(), true).unwrap();
        let mut value: Vec<u8> = (1..=255).cycle().take(1_000 + 33 * zeros).collect();
        value.extend(vec![0; zeros]);
        engine.commit(&[BatchOp::Put(Space::Point, b"row", &value)]).unwrap();
        drop(engine);
        let log = largest_log(dir.path());
        let mut bytes = std::fs::read(&log).unwrap();
        let middle = bytes.len() - 500;
        bytes[middle] ^= 1;
        let refused = with_log(dir.path(), &log, &bytes).map(|_| ());
        assert!(
            matches!(refused, Err(EngineError::Corrupt(_))),
            "{zeros} zeros: {refused:?}"
        );
    }
}

#[test]
fn a_hole_behind_a_log_that_is_not_whole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), true).unwrap();
    let long: Vec<u8> = (1..=255).cycle().take(50_000).collect();
    engine
        .commit(&[BatchOp::Put(Space::Range, b"kept in its memtable", b"row")])
        .unwrap();
    engine.commit(&[BatchOp::Put(Space::Point, b"first", &long)]).unwrap();
    let first = largest_log(dir.path());
    // Another log begins; this one stays, for the row of the other space is in it.
    engine.db.flush_cf(engine.space(Space::Point).unwrap()).unwrap();
    engine.commit(&[BatchOp::Put(Space::Range, b"second", &long)]).unwrap();
    let begin = 8_192;
    drop(engine);
    let logs = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = logs
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    let second = logs.last().unwrap().clone();
    assert!(logs.len() == 2 && second != first, "{logs:?}");
    let mut holed = std::fs::read(&second).unwrap();
    holed[begin..begin + 4_096].fill(0);
    let (engine, copy) = with_log(dir.path(), &second, &holed).unwrap();
    assert_eq!(
        engine.get(Space::Range, b"second", Tier::Disk).unwrap(),
        Fetched::Absent,
        "it is cut"
    );
    drop((engine, copy));
    let copy = tempfile::tempdir().unwrap();
    crate::copied::copy_dir(dir.path(), copy.path());
    std::fs::write(copy.path().join(second.file_name().unwrap()), holed).unwrap();
    let earlier = copy.path().join(first.file_name().unwrap());
    let mut bytes = std::fs::read(&earlier).unwrap();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    std::fs::write(&earlier, bytes).unwrap();
    assert!(matches!(
        open(copy.path(), false).map(|_| ()),
        Err(EngineError::Corrupt(_))
    ));
}

#[test]
fn space_that_was_never_written_ends_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut bytes, _) = ending_in_a_long_record(dir.path());
    for zeros in [1, 6, 7, 4_096, 100_000] {
        bytes.resize(bytes.len() + zeros, 0);
        let (engine, _dir) = with_log(dir.path(), &log, &bytes).unwrap();
        assert_eq!((rows(&engine), engine.replayed().torn), (21, None), "{zeros} zeros");
    }
}

#[test]
fn a_missing_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    std::fs::remove_file(largest_log(dir.path())).unwrap();
    assert!(matches!(open(dir.path(), false), Err(EngineError::Corrupt(_))));
}

#[test]
fn memory_reads_say_when_they_need_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let engine = open(dir.path(), false).unwrap();
    engine.db.flush_cf(engine.space(Space::Point).unwrap()).unwrap();
    drop(engine);
    let engine = open(dir.path(), false).unwrap();
    let key = 5u32.to_be_bytes();
    assert_eq!(
        engine.get(Space::Point, &key, Tier::Memory).unwrap(),
        Fetched::NeedsDisk
    );
    assert!(matches!(
        engine.get(Space::Point, &key, Tier::Disk).unwrap(),
        Fetched::Found(_)
    ));
    assert!(matches!(
        engine.get(Space::Point, &key, Tier::Memory).unwrap(),
        Fetched::Found(_)
    ));
    let range = EngineRange::everything();
    let (estimated, bytes) = engine.estimate(Space::Point, &range);
    assert!(
        (100..=200).contains(&estimated) && bytes > 0,
        "{estimated} rows, {bytes} bytes"
    );
}

#[test]
fn an_unknown_space_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    {
        let options = database_options(&MemoryBudget::default(), false, &wal::End::Plain).unwrap();
        let names = Space::ALL.map(Space::name).into_iter().chain([DEFAULT_SPACE]);
        let mut db = DB::open_cf(&options, dir.path(), names).unwrap();
        db.create_cf("tomorrow", &Options::default()).unwrap();
    }
    let error = open(dir.path(), false).err().unwrap().to_string();
    assert!(error.contains("tomorrow"), "{error}");
}

#[test]
fn the_strict_options_are_in_force() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let written = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let newest = written
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS-"))
        .max()
        .unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    for wanted in [
        "track_and_verify_wals=true",
        "paranoid_checks=true",
        "wal_recovery_mode=kTolerateCorruptedTailRecords",
        "recycle_log_file_num=0",
        "max_total_wal_size=67108864",
        "WAL_ttl_seconds=0",
        "unordered_write=false",
        "enable_pipelined_write=false",
        "manual_wal_flush=false",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in force");
    }
    assert_eq!(
        text.matches("paranoid_file_checks=true").count(),
        Space::ALL.len(),
        "per space"
    );
}

#[test]
fn a_file_that_is_gone_is_damage_and_no_passing_trouble() {
    for name in ["CURRENT", "MANIFEST"] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let files = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut gone = files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(name));
        std::fs::remove_file(gone.next().unwrap()).unwrap();
        let Err(error) = open(dir.path(), false) else {
            panic!("opened without {name}")
        };
        assert!(
            matches!(&error, EngineError::Corrupt(text) if text.contains(name)),
            "{error}"
        );
    }
}
