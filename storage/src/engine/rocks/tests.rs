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
    assert_eq!(rows(&open(dir.path(), false).unwrap()), 199);
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
        let options = database_options(&MemoryBudget::default(), false).unwrap();
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
