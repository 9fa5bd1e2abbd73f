//! Every dependency of the token check fails in turn, under the real platform over the real engine: no valid token is called
//! invalid or denied meanwhile, and no bad one valid, asked for one by one and in batches. The list is [`FAULTS`]; what is
//! covered elsewhere is in decisions/0814-faults-of-the-token-check.md.
//!
//! The control: a build that takes "unknown" for "invalid" ([`UNKNOWN_IS_INVALID`]) is caught by the same checks.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use seawall_storage::limits::{QUEUE_MAX_TX, READ_QUEUE_MAX, READER_THREADS};
use seawall_storage::{DiskRoom, OpenOptions, ReadError, Store};

use super::Verified;
use crate::codes::{OVERLOADED, STORE_BUSY, STORE_FULL};
use crate::proof::Proof;
use crate::tables::TABLES;
use crate::tables::session::SESSIONS;
use crate::testing::{START_AT, World, block_on, client, operator};
use crate::token::DecodeFailure;
use crate::{Call, Error, Mirrors, Platform, PlatformOptions, SessionId};

/// Valid tokens of each stage.
const GOOD: usize = 96;
const DAY_MS: u64 = 86_400_000;

thread_local! {
    /// Makes this build wrong on this thread: what is unknown is answered as invalid.
    static UNKNOWN_IS_INVALID: Cell<bool> = const { Cell::new(false) };
}

/// What the wrong build answers in place of "unknown"; nothing in a right one.
pub(super) fn wrong_verdict() -> Option<Verified> {
    let is_wrong = UNKNOWN_IS_INVALID.get();
    is_wrong.then(|| Verified::Invalid(Proof::of_decoding(DecodeFailure::Forged)))
}

/// Tokens of which it is known what they are.
#[derive(Clone)]
struct Crowd {
    good: Vec<String>,
    /// Sessions of the good ones.
    sessions: Vec<SessionId>,
    bad: Vec<(&'static str, String)>,
}

/// A world on the real engine, its crowd, and the game server that asks.
struct Stage {
    world: World,
    crowd: Crowd,
    call: Call,
    dir: tempfile::TempDir,
}

impl Stage {
    fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::on_disk(dir.path()).unwrap();
        let crowd = crowd(&world);
        let call = world.server();
        Self {
            world,
            crowd,
            call,
            dir,
        }
    }

    /// Ends the process, so to speak; the next but one finds all rows in table files, and nothing in memory.
    fn ended(self) -> (Crowd, tempfile::TempDir) {
        let Self { world, crowd, dir, .. } = self;
        world.store.shutdown();
        drop(world);
        World::on_disk(dir.path()).unwrap().store.shutdown();
        (crowd, dir)
    }

    /// The store alone after a restart, and what a platform over it is opened with.
    fn restarted(self) -> (Store, PlatformOptions, tempfile::TempDir) {
        let (_, dir) = self.ended();
        let (mirrors, elsewhere) = (Mirrors::default(), World::new().unwrap());
        let options = OpenOptions::new(TABLES, elsewhere.keys.clone(), Arc::new(|| 1_000), [9; 32]);
        let store = Store::open(dir.path(), mirrors.attach(options)).unwrap();
        let options = PlatformOptions {
            store: store.clone(),
            ..elsewhere.options(mirrors)
        };
        (store, options, dir)
    }

    /// The world after a restart.
    fn reopened(self) -> (World, Crowd, tempfile::TempDir) {
        let (crowd, dir) = self.ended();
        (World::on_disk(dir.path()).unwrap(), crowd, dir)
    }
}

fn crowd(world: &World) -> Crowd {
    let token = |name: &str| world.register(name).unwrap().session.access_token;
    let replaced = token("replaced");
    world.log_in("replaced").unwrap();
    let revoked = token("revoked");
    block_on(world.platform.session_logout(&client(), &revoked, true)).unwrap();
    let good = (0..GOOD).map(|_| world.register_guest().unwrap().session);
    let (good, sessions): (Vec<_>, Vec<_>) = good.map(|pair| (pair.access_token, pair.session_id)).unzip();
    let mut forged = good[0].clone().into_bytes();
    let last = forged.last_mut().unwrap();
    *last = if *last == b'A' { b'Q' } else { b'A' };
    Crowd {
        good,
        sessions,
        bad: vec![
            ("replaced", replaced),
            ("revoked", revoked),
            ("forged", String::from_utf8(forged).unwrap()),
            ("malformed", "sw1.rubbish".to_owned()),
        ],
    }
}

/// What the game server must be told of good tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// The check does not need what fails.
    Valid,
    /// It does, and says so.
    Unknown,
}

/// What is wrong with the answers, one sentence each; nothing when all is well.
fn findings(platform: &Platform, call: &Call, crowd: &Crowd, told: Told) -> Vec<String> {
    let good = crowd.good.iter().map(|token| ("good", token));
    let bad = crowd.bad.iter().map(|(what, token)| (*what, token));
    let (kinds, tokens): (Vec<_>, Vec<_>) = good.chain(bad).map(|(what, token)| (what, token.clone())).unzip();
    let single = tokens.iter().map(|token| platform.session_verify(call, token, None));
    let batches = tokens
        .chunks(40)
        .flat_map(|batch| platform.session_verify_batch(call, batch).unwrap());
    let answers = single.chain(batches);
    let asked = kinds.iter().chain(&kinds);
    asked
        .zip(answers)
        .filter_map(|(what, answer)| match (*what, &answer, told) {
            ("good", Verified::Valid(_), Told::Valid) | ("good", Verified::Unknown { .. }, Told::Unknown) => None,
            ("good", _, _) => Some(format!("a good token, to be {told:?}: {answer:?}")),
            (_, Verified::Valid(_), _) => Some(format!("a {what} token is valid")),
            (_, Verified::Invalid(_), Told::Unknown) => Some(format!("a {what} token is invalid without a proof")),
            _ => None,
        })
        .collect()
}

/// A platform some dependency of which has failed, and what must live on for it to be so.
type Struck = (Platform, Box<dyn Any>);

struct Fault {
    name: &'static str,
    told: Told,
    /// Lets it happen, and proves that it has.
    strike: fn(Stage) -> Struck,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "engine error: no table file can be read",
        told: Told::Valid,
        strike: unreadable_while_serving,
    },
    Fault {
        name: "engine error at a start: not even the MAC keys can be read",
        told: Told::Unknown,
        strike: unreadable_at_a_start,
    },
    Fault {
        name: "engine error at a start: the revocations cannot be read",
        told: Told::Unknown,
        strike: revocations_unreadable_at_a_start,
    },
    Fault {
        name: "slow reads: all readers are held up and their queue is full",
        told: Told::Valid,
        strike: slow_reads,
    },
    Fault {
        name: "full queue: the sequencer is held up",
        told: Told::Valid,
        strike: full_queue,
    },
    Fault {
        name: "closed sequencer",
        told: Told::Valid,
        strike: closed_sequencer,
    },
    Fault {
        name: "cache wiped: memory is lost, rows and passwords with it",
        told: Told::Valid,
        strike: cache_wiped,
    },
    Fault {
        name: "revocations not yet loaded",
        told: Told::Unknown,
        strike: half_loaded,
    },
    Fault {
        name: "clock step: a day back",
        told: Told::Valid,
        strike: |stage| stepped(stage, START_AT - DAY_MS),
    },
    Fault {
        name: "clock step: to 1970",
        told: Told::Valid,
        strike: |stage| stepped(stage, 0),
    },
    Fault {
        name: "clock step: ahead, by as much as is believed",
        told: Told::Valid,
        strike: |stage| stepped(stage, START_AT + seawall_storage::limits::CLOCK_JUMP_MAX_MS),
    },
    Fault {
        name: "full disk, and a full queue of the auth log",
        told: Told::Valid,
        strike: full_disk,
    },
];

/// Overwrites every table file where it lies. What is in the block cache can still be read.
fn ruin_table_files(dir: &Path) {
    let mut ruined = BTreeSet::new();
    // The engine may be replacing some just now.
    while ruin_others(dir, &mut ruined) > 0 {}
}

/// Ruins the table files that are not among `ruined`; how many. One that the engine removes meanwhile is none.
fn ruin_others(dir: &Path, ruined: &mut BTreeSet<PathBuf>) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            count += ruin_others(&path, ruined);
            continue;
        }
        let is_table = path.extension().is_some_and(|extension| extension == "sst");
        if !is_table || !ruined.insert(path.clone()) {
            continue;
        }
        let Ok(file) = std::fs::OpenOptions::new().write(true).open(&path) else {
            assert!(!path.exists(), "a table file can be written");
            continue;
        };
        let bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        std::io::Write::write_all(&mut &file, &bytes).unwrap();
        count += 1;
    }
    count
}

fn unreadable_while_serving(stage: Stage) -> Struck {
    let (world, crowd, dir) = stage.reopened();
    ruin_table_files(dir.path());
    let fails = |id: &SessionId| {
        matches!(
            world.store.read(|view| view.get(&SESSIONS, id)),
            Err(ReadError::Engine(_))
        )
    };
    assert!(crowd.sessions.iter().any(fails), "session rows cannot be read");
    (world.platform.clone(), Box::new((world, dir)))
}

fn unreadable_at_a_start(stage: Stage) -> Struck {
    let (_, options, dir) = stage.restarted();
    ruin_table_files(dir.path());
    let platform = Platform::open_unready(options);
    assert!(platform.load().is_err(), "the start fails");
    (platform, Box::new(dir))
}

fn revocations_unreadable_at_a_start(stage: Stage) -> Struck {
    let (store, options, dir) = stage.restarted();
    let mirrors = options.mirrors.clone();
    store.read(|view| mirrors.load_catalogue(view)).unwrap();
    ruin_table_files(dir.path());
    let platform = Platform::open_unready(options);
    assert!(
        store.read(|view| mirrors.load(view, START_AT)).is_err(),
        "the start fails at the revocations"
    );
    assert!(!platform.catalogue().games.is_empty(), "the catalogue is there");
    (platform, Box::new(dir))
}

fn slow_reads(stage: Stage) -> Struck {
    let Stage { world, dir, .. } = stage;
    let (release, released) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    let released = Arc::new(parking_lot::Mutex::new(released));
    let held = || {
        let (begin, released) = (begin.clone(), Arc::clone(&released));
        world.store.query(Duration::from_secs(600), move |_| {
            begin.send(()).unwrap();
            let _ = released.lock().recv();
            Ok(())
        })
    };
    let mut reads: Vec<_> = (0..READER_THREADS).map(|_| held()).collect();
    (0..READER_THREADS).for_each(|_| begun.recv_timeout(Duration::from_secs(30)).unwrap());
    reads.extend((0..READ_QUEUE_MAX).map(|_| held()));
    let refused = block_on(world.store.query(Duration::from_secs(600), |_| Ok(())));
    assert_eq!(refused, Err(ReadError::Busy), "no reader is free and none will be");
    (world.platform.clone(), Box::new((release, reads, world, dir)))
}

fn full_queue(stage: Stage) -> Struck {
    let Stage { world, dir, .. } = stage;
    let held = world.hold_store();
    let queued: Vec<_> = (0..QUEUE_MAX_TX)
        .map(|_| {
            let stamp = world.platform.stamp(&operator(), "test.fill");
            world.store.write(stamp, |_| Ok::<(), Error>(()))
        })
        .collect();
    assert_eq!(world.register_guest().unwrap_err().code, OVERLOADED);
    (world.platform.clone(), Box::new((held, queued, world, dir)))
}

fn closed_sequencer(stage: Stage) -> Struck {
    let Stage { world, dir, .. } = stage;
    world.store.shutdown();
    assert_eq!(world.register_guest().unwrap_err().code, STORE_BUSY);
    (world.platform.clone(), Box::new((world, dir)))
}

fn cache_wiped(stage: Stage) -> Struck {
    let (world, _, dir) = stage.reopened();
    world.platform.forget_verified_passwords();
    assert_eq!(world.platform.counters().credential_cache_entries, 0);
    (world.platform.clone(), Box::new((world, dir)))
}

fn half_loaded(stage: Stage) -> Struck {
    let Stage { mut world, dir, .. } = stage;
    world.load_half().unwrap();
    assert!(!world.platform.ready());
    (world.platform.clone(), Box::new((world, dir)))
}

fn stepped(stage: Stage, to: u64) -> Struck {
    let Stage { world, dir, .. } = stage;
    world.clock.step_to(to);
    (world.platform.clone(), Box::new((world, dir)))
}

fn full_disk(stage: Stage) -> Struck {
    let Stage { world, dir, .. } = stage;
    world.store.set_disk_room(DiskRoom::Exhausted);
    world.log.full.store(true, Ordering::SeqCst);
    assert_eq!(world.register_guest().unwrap_err().code, STORE_FULL);
    (world.platform.clone(), Box::new((world, dir)))
}

/// Lets a fault happen and asks for everything during it.
fn during(fault: &Fault) -> Vec<String> {
    let stage = Stage::set();
    let (crowd, call) = (stage.crowd.clone(), stage.call.clone());
    let before = findings(&stage.world.platform, &call, &crowd, Told::Valid);
    assert!(before.is_empty(), "before {}: {before:?}", fault.name);
    let (platform, _lives_on) = (fault.strike)(stage);
    findings(&platform, &call, &crowd, fault.told)
}

#[test]
fn whatever_fails_no_valid_token_is_called_invalid_or_denied() {
    for fault in FAULTS {
        let findings = during(fault);
        assert!(findings.is_empty(), "{}: {}", fault.name, findings.join("\n"));
    }
}

#[test]
fn a_build_that_takes_unknown_for_invalid_is_caught() {
    UNKNOWN_IS_INVALID.set(true);
    let caught = FAULTS.iter().filter(|fault| fault.told == Told::Unknown);
    for fault in caught {
        let findings = during(fault);
        let of_good = findings.iter().filter(|finding| finding.starts_with("a good token"));
        assert_eq!(
            of_good.count(),
            2 * GOOD,
            "{}: every good token, asked for twice",
            fault.name
        );
    }
}

#[test]
fn while_a_start_loads_its_revocations_answers_go_from_unknown_to_valid() {
    let Stage {
        mut world,
        crowd,
        call,
        dir: _dir,
    } = Stage::set();
    world.load_half().unwrap();
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| world.load_rest());
        loop {
            let was_ready = world.platform.ready();
            for token in &crowd.good {
                match world.platform.session_verify(&call, token, None) {
                    Verified::Valid(_) => {}
                    Verified::Unknown { .. } if !was_ready => {}
                    other => panic!("a good token, ready {was_ready}: {other:?}"),
                }
            }
            for (what, token) in &crowd.bad {
                let answer = world.platform.session_verify(&call, token, None);
                assert!(!matches!(answer, Verified::Valid(_)), "a {what} token is valid");
            }
            if was_ready {
                break;
            }
        }
        loading.join().unwrap().unwrap();
    });
    assert_eq!(
        findings(&world.platform, &call, &crowd, Told::Valid),
        Vec::<String>::new()
    );
}
