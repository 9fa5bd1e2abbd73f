//! Segment logs on real files: order, search, rotation, crashes, torn tails, damage, expiry, limits.

use proptest::prelude::*;

use super::*;

struct Reports(Arc<Mutex<Vec<String>>>);

impl Reports {
    fn contain(&self, part: &str) -> bool {
        self.0.lock().iter().any(|text| text.contains(part))
    }
}

fn options(max_bytes: u32) -> (SegmentOptions, Reports) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&said);
    let options = SegmentOptions {
        max_bytes,
        on_fatal: Arc::new(|_| {}),
        report: Arc::new(move |text| hear.lock().push(text.to_owned())),
        ..SegmentOptions::new("test")
    };
    (options, Reports(said))
}

fn open(dir: &Path, max_bytes: u32) -> (SegmentLog, Reports) {
    let (options, reports) = options(max_bytes);
    (SegmentLog::open(dir, options).unwrap(), reports)
}

/// Record `n`: instant `n`, keys (1, n % 10) and (2, n), a body that says so.
fn append(log: &SegmentLog, n: u64) -> Append {
    log.append(n, body(n).as_bytes(), &[(1, n % 10), (2, n)])
}

fn body(n: u64) -> String {
    format!("record {n} {}", "x".repeat((n % 50) as usize))
}

fn numbers(hits: &[SegmentHit]) -> Vec<u64> {
    hits.iter()
        .map(|hit| {
            assert_eq!(hit.record.body, body(hit.record.at).as_bytes());
            hit.record.at
        })
        .collect()
}

fn all(log: &SegmentLog) -> Vec<u64> {
    let (mut found, mut next) = (Vec::new(), SegmentPosition::START);
    loop {
        let page = log.read_from(next, 7, 1000).unwrap();
        if page.records.is_empty() {
            return found;
        }
        found.extend(numbers(&page.records));
        next = page.next;
    }
}

fn search(log: &SegmentLog, key: SearchKey) -> Vec<u64> {
    numbers(&log.search(key, 0, u64::MAX, None, 10_000).unwrap())
}

fn fill(log: &SegmentLog, range: std::ops::Range<u64>) -> Vec<SegmentPosition> {
    let appends: Vec<_> = range.map(|n| append(log, n)).collect();
    appends.into_iter().map(|append| append.wait().unwrap()).collect()
}

#[test]
fn appended_records_are_found_in_order_and_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 4096);
    let positions = fill(&log, 0..500);
    assert!(positions.is_sorted() && log.stats().segments > 5, "{:?}", log.stats());
    assert_eq!(all(&log), (0..500).collect::<Vec<_>>());
    assert_eq!(
        search(&log, (1, 3)),
        (0..500).rev().filter(|n| n % 10 == 3).collect::<Vec<_>>()
    );
    assert_eq!(search(&log, (2, 77)), [77]);
    assert_eq!(search(&log, (3, 77)), [0u64; 0]);
    let page = log.search((1, 3), 100, 300, None, 5).unwrap();
    assert_eq!(numbers(&page), [293, 283, 273, 263, 253]);
    let rest = log.search((1, 3), 100, 300, Some(page[4].position), 3).unwrap();
    assert_eq!(numbers(&rest), [243, 233, 223]);
    let stats = log.stats();
    assert_eq!(
        (stats.records, stats.group_records.sum, stats.queued_bytes),
        (500, 500, 0)
    );
}

#[test]
fn a_restart_keeps_everything_and_never_reuses_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let mut newest = SegmentPosition::START;
    for round in 0..4 {
        let (log, reports) = open(dir.path(), 8192);
        for position in fill(&log, round * 100..round * 100 + 100) {
            assert!(position > newest);
            newest = position;
        }
        assert_eq!(all(&log), (0..round * 100 + 100).collect::<Vec<_>>());
        assert_eq!(search(&log, (1, 5)).len() as u64, (round + 1) * 10);
        drop(log);
        assert!(reports.0.lock().is_empty(), "{:?}", reports.0.lock());
    }
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "seg") {
            assert!(path.with_extension("idx").exists(), "{} has an index", path.display());
        }
    }
}

/// The directory as a crash would leave it. The log's threads work on meanwhile: a file may get its name between being listed and
/// being copied, and is then as if it had not been written yet. A segment that has its name is never missing.
fn crash(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let copied = std::fs::copy(entry.path(), copy.path().join(entry.file_name()));
        let is_segment = entry.path().extension().is_some_and(|extension| extension == "seg");
        match copied {
            Err(error) if !is_segment && error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
    copy
}

#[test]
fn everything_acknowledged_survives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 16 << 10);
    for round in 1..=5 {
        fill(&log, (round - 1) * 100..round * 100);
        let crashed = crash(dir.path());
        let (copy, _) = open(crashed.path(), 16 << 10);
        assert_eq!(all(&copy), (0..round * 100).collect::<Vec<_>>());
        assert_eq!(search(&copy, (2, 42)), [42]);
    }
}

/// One active segment of 100 single-record groups, crashed; its file and the end of its records.
fn crashed_segment() -> (tempfile::TempDir, PathBuf, u32) {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    for n in 0..100 {
        append(&log, n).wait().unwrap();
    }
    let end = log.state.segments.read()[&1].end;
    let crashed = crash(dir.path());
    let path = crashed.path().join(format!("{:016x}.seg", 1));
    (crashed, path, end)
}

#[test]
fn a_torn_tail_is_cut_at_every_length_and_said() {
    let (dir, path, end) = crashed_segment();
    let whole = std::fs::read(&path).unwrap();
    let torn = format::group_header(5000, 9)
        .iter()
        .copied()
        .chain([7; 300])
        .collect::<Vec<u8>>();
    for length in [1, 5, 15, 16, 17, 100, 316] {
        let mut bytes = whole.clone();
        let at = end as usize;
        bytes[at..at + length].copy_from_slice(&torn[..length]);
        std::fs::write(&path, &bytes).unwrap();
        let _ = std::fs::remove_file(path.with_extension("idx"));
        let (log, reports) = open(dir.path(), 1 << 20);
        assert_eq!(all(&log), (0..100).collect::<Vec<_>>());
        assert!(reports.contain("torn tail"), "{length}: {:?}", reports.0.lock());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), u64::from(end));
    }
}

#[test]
fn damage_in_the_middle_costs_only_the_damaged_group_and_is_never_cut() {
    let (dir, path, _) = crashed_segment();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    let position = log.search((2, 50), 0, u64::MAX, None, 1).unwrap()[0].position;
    drop(log);
    let mut byte = [0];
    file.read_exact_at(&mut byte, u64::from(position.offset) + 20).unwrap();
    file.write_all_at(&[byte[0] ^ 1], u64::from(position.offset) + 20)
        .unwrap();
    let length = file.metadata().unwrap().len();
    std::fs::remove_file(path.with_extension("idx")).unwrap();
    let (log, reports) = open(dir.path(), 1 << 20);
    assert_eq!(all(&log), (0..100).filter(|n| *n != 50).collect::<Vec<_>>());
    assert_eq!(search(&log, (2, 50)), [0u64; 0]);
    assert_eq!(search(&log, (2, 51)), [51]);
    assert!(reports.contain("damaged in the middle"));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
}

#[test]
fn lost_and_damaged_indexes_are_rebuilt() {
    let (dir, path, _) = crashed_segment();
    drop(open(dir.path(), 1 << 20));
    let index = path.with_extension("idx");
    std::fs::remove_file(&index).unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    assert_eq!(search(&log, (2, 42)), [42]);
    let mut bytes = std::fs::read(&index).unwrap();
    let last = bytes.len() - 1;
    bytes[200] ^= 1;
    bytes[last] ^= 1;
    std::fs::write(&index, &bytes).unwrap();
    for n in 0..100 {
        assert_eq!(search(&log, (2, n)), [n]);
    }
}

#[test]
fn a_newer_format_and_a_foreign_file_stop_the_open() {
    let (dir, path, _) = crashed_segment();
    std::fs::write(&path, [9; 100]).unwrap();
    let error = SegmentLog::open(dir.path(), options(1 << 20).0).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
}

#[test]
fn old_segments_expire_only_when_allowed_and_never_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 4096);
    fill(&log, 0..300);
    assert_eq!(log.expire(u64::MAX).unwrap(), 0, "kept for ever by default");
    drop(log);
    let (allowed, _) = options(4096);
    let log = SegmentLog::open(
        dir.path(),
        SegmentOptions {
            keep_ms: Some(100),
            ..allowed
        },
    )
    .unwrap();
    let removed = log.expire(250).unwrap();
    let left = all(&log);
    assert!(
        removed > 0 && left[0] > 50 && left[0] <= 150 && left.last() == Some(&299),
        "{removed} {left:?}"
    );
    log.expire(u64::MAX).unwrap();
    assert_eq!(log.stats().segments, 1);
    let highest = *log.state.segments.read().last_key_value().unwrap().0;
    assert!(append(&log, 1).wait().unwrap().segment > highest);
}

#[test]
fn limits_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let (options, _) = options(1 << 20);
    let log = SegmentLog::open(
        dir.path(),
        SegmentOptions {
            queue_bytes: 100_000,
            ..options
        },
    )
    .unwrap();
    let keys = [(1, 1); SEGMENT_KEYS_MAX + 1];
    assert!(log.append(1, &[7; SEGMENT_RECORD_MAX_BYTES], &keys[1..]).wait().is_ok());
    assert_eq!(
        log.append(1, &[7; SEGMENT_RECORD_MAX_BYTES + 1], &[]).wait(),
        Err(AppendError::TooLarge)
    );
    assert_eq!(log.append(1, &[], &keys).wait(), Err(AppendError::TooLarge));
    let hits = log.search((1, 1), 0, 9, None, 9).unwrap();
    assert_eq!(hits[0].record.body.len(), SEGMENT_RECORD_MAX_BYTES);
    log.close();
    assert_eq!(log.append(1, &[], &[]).wait(), Err(AppendError::Closed));
}

#[test]
fn a_full_queue_says_busy() {
    let queue = queue::Queue::new(1000, 1 << 20);
    let mut queued = 0;
    while queue.enqueue(1, &[0; 100], &[]).is_ok() {
        queued += 1;
    }
    assert_eq!(queue.enqueue(1, &[0; 100], &[]), Err(AppendError::Busy));
    assert_eq!(queued, 1000 / format::record_bytes(&[0; 100], &[]));
    assert_eq!(queue.take().unwrap().records as usize, queued);
    assert_eq!(queue.queued_bytes(), 0);
    assert_eq!(queue.enqueue(1, &[0; 100], &[]), Ok(()));
}

#[test]
fn closing_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    for n in 0..1000 {
        log.enqueue(n, body(n).as_bytes(), &[]).unwrap();
    }
    log.close();
    drop(log);
    assert_eq!(all(&open(dir.path(), 1 << 20).0), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_directory_that_cannot_be_written_ends_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, reports) = open(dir.path(), 1 << 20);
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(append(&log, 1).wait(), Err(AppendError::Unknown));
    assert!(reports.contain("could not be made durable"));
    assert_eq!(log.stats().failed_groups, 2);
    log.close();
    assert_eq!(append(&log, 2).wait(), Err(AppendError::Closed));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    let second = SegmentLog::open(dir.path(), options(1 << 20).0).err().unwrap();
    assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
    drop(log);
    open(dir.path(), 1 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_cut_of_a_crashed_segment_leaves_a_prefix(cut in 0usize..20_000, flip in any::<bool>()) {
        let (dir, path, end) = crashed_segment();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = (64 + cut % (end as usize - 64)).min(bytes.len() - 1);
        bytes[at..].fill(0);
        if flip {
            bytes[at] = 0x53;
        }
        std::fs::write(&path, &bytes).unwrap();
        let (log, _) = open(dir.path(), 1 << 20);
        let found = all(&log);
        prop_assert_eq!(&found, &(0..found.len() as u64).collect::<Vec<_>>());
        fill(&log, 100..101);
        prop_assert_eq!(all(&log).last().copied(), Some(100));
    }
}

#[derive(Debug, Clone)]
enum Act {
    Append(u8, u16),
    Restart,
    Crash,
    Expire(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (0u8..4, 0u16..400).prop_map(|(kind, size)| Act::Append(kind, size)),
        1 => Just(Act::Restart),
        1 => Just(Act::Crash),
        1 => (0u16..200).prop_map(Act::Expire),
    ];
    prop::collection::vec(act, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Whatever happens in between, what was appended and has not expired is found, in order and by key.
    #[test]
    fn agrees_with_a_model(acts in acts()) {
        let mut dir = tempfile::tempdir().unwrap();
        let keeping = || SegmentOptions { keep_ms: Some(50), ..options(4096).0 };
        let mut log = SegmentLog::open(dir.path(), keeping()).unwrap();
        let mut model: Vec<(u64, u8, usize)> = Vec::new();
        for (at, act) in (0u64..).zip(acts) {
            match act {
                Act::Append(kind, size) => {
                    log.append(at, &vec![7; size.into()], &[(kind, u64::from(kind)), (9, at)]).wait().unwrap();
                    model.push((at, kind, size.into()));
                }
                Act::Restart => {
                    drop(log);
                    log = SegmentLog::open(dir.path(), keeping()).unwrap();
                }
                Act::Crash => {
                    let crashed = crash(dir.path());
                    drop(log);
                    dir = crashed;
                    log = SegmentLog::open(dir.path(), keeping()).unwrap();
                }
                Act::Expire(ahead) => {
                    log.expire(at + u64::from(ahead)).unwrap();
                    let left = log.read_from(SegmentPosition::START, 10_000, usize::MAX).unwrap().records;
                    let gone = model.len() - left.len();
                    prop_assert!(model.drain(..gone).all(|row| row.0 + 50 < at + u64::from(ahead)), "too young to go");
                }
            }
        }
        let found = log.read_from(SegmentPosition::START, 10_000, usize::MAX).unwrap().records;
        let rows: Vec<_> = found.iter().map(|hit| (hit.record.at, hit.record.keys[0].0, hit.record.body.len())).collect();
        prop_assert_eq!(&rows, &model);
        for kind in 0..4u8 {
            let wanted: Vec<_> = model.iter().rev().filter(|row| row.1 == kind).map(|row| row.0).collect();
            let hits = log.search((kind, kind.into()), 0, u64::MAX, None, 10_000).unwrap();
            prop_assert_eq!(hits.iter().map(|hit| hit.record.at).collect::<Vec<_>>(), wanted);
        }
        for (at, ..) in &model {
            prop_assert_eq!(log.search((9, *at), *at, *at + 1, None, 9).unwrap().len(), 1);
            prop_assert_eq!(log.search((9, *at), *at + 1, u64::MAX, None, 9).unwrap().len(), 0);
        }
    }
}

#[test]
fn enqueued_records_keep_the_order_of_their_calls() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path(), 64 << 10);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let log = &log;
            scope.spawn(move || {
                for n in 0..500 {
                    log.enqueue(n, &thread.to_be_bytes(), &[(5, thread)]).unwrap();
                }
            });
        }
    });
    log.append(0, b"last", &[]).wait().unwrap();
    for thread in 0..4 {
        let hits = log.search((5, thread), 0, u64::MAX, None, 10_000).unwrap();
        let order: Vec<_> = hits.iter().rev().map(|hit| hit.record.at).collect();
        assert_eq!(order, (0..500).collect::<Vec<_>>());
    }
}

#[test]
fn a_failed_sync_seals_the_segment_and_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (log, reports) = open(dir.path(), 1 << 20);
    let before = fill(&log, 0..10);
    log.state.failing_syncs.store(1, Ordering::SeqCst);
    let after = append(&log, 10).wait().unwrap();
    assert!(
        before.iter().all(|position| position.segment < after.segment),
        "a new segment"
    );
    assert!(reports.contain("could not be made durable: injected"));
    assert_eq!((log.stats().failed_groups, log.stats().segments), (1, 2));
    fill(&log, 11..20);
    assert_eq!(all(&log), (0..20).collect::<Vec<_>>());
    let crashed = crash(dir.path());
    assert_eq!(all(&open(crashed.path(), 1 << 20).0), (0..20).collect::<Vec<_>>());
    drop(log);
    assert_eq!(all(&open(dir.path(), 1 << 20).0), (0..20).collect::<Vec<_>>());
}

#[test]
fn two_failed_syncs_end_the_log_and_answer_nobody_success() {
    let dir = tempfile::tempdir().unwrap();
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&fatal);
    let on_fatal: FatalFn = Arc::new(move |reason| told.lock().push(reason.to_owned()));
    let log = SegmentLog::open(
        dir.path(),
        SegmentOptions {
            on_fatal,
            ..options(1 << 20).0
        },
    )
    .unwrap();
    fill(&log, 0..10);
    log.state.failing_syncs.store(2, Ordering::SeqCst);
    assert_eq!(append(&log, 10).wait(), Err(AppendError::Unknown));
    assert_eq!(*fatal.lock(), ["segment log test cannot be written"]);
    log.close();
    assert_eq!(append(&log, 11).wait(), Err(AppendError::Closed));
    assert_eq!(
        all(&log),
        (0..10).collect::<Vec<_>>(),
        "what was acknowledged can be read"
    );
}

#[test]
fn a_copy_of_the_durable_part_holds_every_acknowledged_record_and_opens() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (log, _) = open(dir.path(), 4096);
    fill(&log, 0..300);
    for (path, bytes) in log.durable_files() {
        let whole = std::fs::read(&path).unwrap();
        let length = usize::try_from(bytes).unwrap();
        assert!(length <= whole.len());
        std::fs::write(copy.path().join(path.file_name().unwrap()), &whole[..length]).unwrap();
    }
    fill(&log, 300..310);
    let (copied, reports) = open(copy.path(), 4096);
    assert_eq!(all(&copied), (0..300).collect::<Vec<_>>());
    assert!(!reports.contain("torn") && !reports.contain("damaged"));
}
