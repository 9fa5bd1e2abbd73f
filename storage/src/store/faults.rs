//! The store over an engine that fails, stalls or has to go to the disk, as told. Nothing of this exists outside tests.

use std::sync::atomic::AtomicU64;

use parking_lot::Condvar;

use super::tests::{SECRETS, SHIPS, TABLES, put, ship, stamp};
use super::*;
use crate::engine::{BatchOp, Capabilities, Engine, EngineView, Space};
use crate::error::EngineError;
use crate::journal::JournalLimits;
use crate::keyring::KeyRing;
use crate::span::EngineRange;

/// A door that tests open and shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    moved: Condvar,
    waiting: AtomicU64,
}

impl Gate {
    fn shut(&self) {
        *self.shut.lock() = true;
    }

    fn open(&self) {
        *self.shut.lock() = false;
        self.moved.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while *shut {
            self.moved.wait(&mut shut);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Until `count` threads stand before the door.
    fn await_waiting(&self, count: u64) {
        until(|| self.waiting.load(Ordering::SeqCst) >= count);
    }
}

/// Waits for a state, with a deadline.
fn until(state: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !state() {
        assert!(Instant::now() < deadline, "the state did not come");
        std::thread::yield_now();
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Failing {
    Never,
    /// The batch is lost.
    Lost,
    /// The batch is there although the commit failed.
    Doubtful,
}

#[derive(Default)]
struct Plan {
    commits: Gate,
    disk: Gate,
    failing: Mutex<Option<Failing>>,
    cold: AtomicBool,
}

struct FaultyEngine {
    rows: MemoryEngine,
    plan: Arc<Plan>,
}

impl Engine for FaultyEngine {
    fn get(&self, space: Space, key: &[u8], tier: Tier) -> Result<Fetched, EngineError> {
        match tier {
            Tier::Memory if self.plan.cold.load(Ordering::SeqCst) => return Ok(Fetched::NeedsDisk),
            Tier::Memory => {}
            Tier::Disk => self.plan.disk.pass(),
        }
        self.rows.get(space, key, tier)
    }

    fn view(&self) -> Box<dyn EngineView + '_> {
        self.rows.view()
    }

    fn commit(&self, batch: &[BatchOp<'_>]) -> Result<(), EngineError> {
        self.plan.commits.pass();
        let failing = self.plan.failing.lock().unwrap_or(Failing::Never);
        if failing != Failing::Lost {
            self.rows.commit(batch)?;
        }
        if failing == Failing::Never {
            Ok(())
        } else {
            Err(EngineError::Io("injected".into()))
        }
    }

    fn capabilities(&self) -> Capabilities {
        self.rows.capabilities()
    }

    fn properties(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    fn estimate(&self, space: Space, range: &EngineRange) -> (u64, u64) {
        self.rows.estimate(space, range)
    }
}

struct Rig {
    store: Store,
    plan: Arc<Plan>,
    fatal: Arc<Mutex<Vec<String>>>,
}

fn rig() -> Rig {
    let plan = Arc::new(Plan::default());
    let engine = Box::new(FaultyEngine {
        rows: MemoryEngine::new(),
        plan: Arc::clone(&plan),
    });
    let fatal = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&fatal);
    let on_fatal: crate::FatalFn = Arc::new(move |reason| told.lock().push(reason.to_owned()));
    let catalog = Catalog::new(TABLES, Vec::new()).unwrap();
    let start = (
        Head::start(1),
        Identity {
            cluster_id: [1; 16],
            incarnation: 1,
        },
    );
    let keys = KeyRing::from_entropy(&[1; 32]);
    let shared = Shared::new(engine, catalog, keys, 1 << 20, start, on_fatal);
    let home = Home {
        _lock: None,
        floor: None,
        node: NodeStore::in_memory().unwrap(),
        recovery: Default::default(),
    };
    let journal = Journal::new(JournalLimits::default(), []);
    let store = Store::start(Opened {
        shared,
        journal,
        clock: TxClock::new(Arc::new(|| 0), 0),
        home,
    })
    .unwrap();
    Rig { store, plan, fatal }
}

#[test]
fn a_failed_commit_answers_nobody_success_and_ends_writing() {
    for failing in [Failing::Lost, Failing::Doubtful] {
        let Rig { store, plan, fatal } = rig();
        put(&store, 1, ship(1, "kept")).wait().unwrap();
        plan.commits.shut();
        let in_flight = put(&store, 2, ship(1, "in flight"));
        plan.commits.await_waiting(1);
        let on_top: Vec<_> = (3..50).map(|id| put(&store, id, ship(1, "on top"))).collect();
        until(|| store.stats().queue_length == 0);
        *plan.failing.lock() = Some(failing);
        plan.commits.open();
        assert_eq!(in_flight.wait(), Err(WriteError::Unknown));
        assert!(
            on_top
                .into_iter()
                .all(|commit| commit.wait() == Err(WriteError::Closed))
        );
        assert_eq!(put(&store, 60, ship(1, "late")).wait(), Err(WriteError::Closed));
        assert_eq!(*fatal.lock(), ["commit failed: storage engine: injected"]);
        assert!(store.has_failed());
        assert_eq!(store.get(&SHIPS, &1).wait().unwrap().unwrap().name, "kept");
        assert_eq!(store.head().lsn, 1, "the head does not move past what is certain");
        store.shutdown();
    }
}

#[test]
fn results_that_wrote_nothing_wait_for_what_they_read() {
    let Rig { store, plan, .. } = rig();
    plan.commits.shut();
    let write = put(&store, 1, ship(1, "new"));
    plan.commits.await_waiting(1);
    let read = store.write(stamp(2), |tx| tx.get(&SHIPS, &1));
    let refused = store.write(stamp(3), |tx| {
        let found = tx.get(&SHIPS, &1)?;
        Err::<(), _>(TxError::UnknownTable(
            u16::try_from(found.map_or(0, |ship| ship.harbour)).unwrap(),
        ))
    });
    until(|| store.stats().queue_length == 0 && store.stats().refused == 1);
    let mut replies = (Box::pin(read), Box::pin(refused));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::future::Future::poll(replies.0.as_mut(), &mut context).is_pending());
    assert!(std::future::Future::poll(replies.1.as_mut(), &mut context).is_pending());
    plan.commits.open();
    assert_eq!(write.wait(), Ok(()));
    assert_eq!(crate::block_on(replies.0).unwrap(), Some(ship(1, "new")));
    assert_eq!(
        crate::block_on(replies.1),
        Err(WriteError::Refused(TxError::UnknownTable(1)))
    );
    assert_eq!(store.head().lsn, 1, "they need no frame of their own");
}

#[test]
fn results_are_lost_with_what_they_read() {
    let Rig { store, plan, .. } = rig();
    plan.commits.shut();
    let write = put(&store, 1, ship(1, "lost"));
    plan.commits.await_waiting(1);
    let read = store.write(stamp(2), |tx| tx.get(&SHIPS, &1));
    until(|| store.stats().queue_length == 0);
    *plan.failing.lock() = Some(Failing::Lost);
    plan.commits.open();
    assert_eq!(write.wait(), Err(WriteError::Unknown));
    assert_eq!(
        read.wait(),
        Err(WriteError::Closed),
        "nobody sees a row that may not exist"
    );
}

#[test]
fn the_next_group_fills_while_one_is_committed() {
    let Rig { store, plan, .. } = rig();
    plan.commits.shut();
    let first = put(&store, 0, ship(1, "x"));
    plan.commits.await_waiting(1);
    let rest: Vec<_> = (1..=100).map(|id| put(&store, id, ship(1, "x"))).collect();
    until(|| store.stats().queue_length == 0);
    assert_eq!(
        store.get(&SHIPS, &0).wait().unwrap(),
        None,
        "not visible before it is durable"
    );
    plan.commits.open();
    first.wait().unwrap();
    rest.into_iter().for_each(|commit| commit.wait().unwrap());
    assert_eq!(store.head().lsn, 2);
}

#[test]
fn a_group_stops_filling_at_its_limit() {
    let Rig { store, plan, .. } = rig();
    plan.commits.shut();
    let first = put(&store, 0, ship(1, "x"));
    plan.commits.await_waiting(1);
    let rest: Vec<_> = (0..600).map(|id| put(&store, id, ship(1, "x"))).collect();
    until(|| store.stats().queue_length == 600 - crate::limits::GROUP_MAX_TX);
    plan.commits.open();
    first.wait().unwrap();
    rest.into_iter().for_each(|commit| commit.wait().unwrap());
    assert_eq!(
        store.head().lsn,
        1 + 600u64.div_ceil(crate::limits::GROUP_MAX_TX as u64)
    );
}

#[test]
fn a_stalled_disk_stalls_neither_cached_rows_nor_writes() {
    let Rig { store, plan, .. } = rig();
    for id in 0..9 {
        put(&store, id, ship(1, "x")).wait().unwrap();
    }
    let key = 3u32;
    store
        .write(stamp(1), move |tx| tx.put(&SECRETS, &key, &ship(1, "cached")))
        .wait()
        .unwrap();
    store.get(&SECRETS, &key).wait().unwrap().unwrap();
    plan.cold.store(true, Ordering::SeqCst);
    plan.disk.shut();
    let stalled: Vec<_> = (0..9).map(|id| store.get(&SHIPS, &id)).collect();
    plan.disk.await_waiting(crate::limits::READER_THREADS as u64);
    assert_eq!(store.get(&SECRETS, &key).wait().unwrap().unwrap().name, "cached");
    let blind = store.write(stamp(2), move |tx| tx.put(&SECRETS, &9, &ship(1, "needs no read")));
    assert_eq!(blind.wait(), Ok(()));
    let late: Query<()> = store.query(Duration::ZERO, |_| panic!("must not run"));
    plan.disk.open();
    assert_eq!(late.wait(), Err(ReadError::Deadline));
    for lookup in stalled {
        assert_eq!(lookup.wait().unwrap().unwrap().name, "x");
    }
}

#[test]
fn a_reader_never_sees_less_than_what_was_answered() {
    let store = Store::open_memory(super::tests::options()).unwrap();
    let answered = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    put(&store, 7, ship(0, "x")).wait().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let at_least = answered.load(Ordering::SeqCst);
                    let seen = store.get(&SHIPS, &7).wait().unwrap().unwrap().harbour;
                    assert!(u64::from(seen) >= at_least, "{seen} after {at_least} was answered");
                }
            });
        }
        for version in 1..3_000u32 {
            put(&store, 7, ship(version, "x")).wait().unwrap();
            answered.store(version.into(), Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
    assert!(store.stats().cache_hits > 0);
}
