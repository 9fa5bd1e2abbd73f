use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::runtimes::hooked;

/// A runtime whose threads are of checks, as the server's are.
fn runtime(precedence: &Arc<Precedence>, threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).enable_all();
    hooked(&mut builder, precedence).build().expect("a runtime")
}

/// What the kernel schedules the calling thread by: `SCHED_OTHER` 0, `SCHED_RR` 2.
fn own_policy() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("stat");
    let after_name = stat.rsplit_once(')').expect("a name").1;
    after_name
        .split_ascii_whitespace()
        .nth(38)
        .expect("policy")
        .parse()
        .expect("a number")
}

/// Waits until `found` says so; false when it never does.
fn within(limit: Duration, mut found: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !found() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    true
}

/// A precedence that is watched; `None`, said aloud, where the system does not permit it: then nothing goes first.
fn watched(percent: u32) -> Option<Arc<Precedence>> {
    let precedence = Precedence::new(percent);
    precedence.watch();
    let decided = || precedence.standing().first || precedence.refused.lock().is_some();
    assert!(within(Duration::from_secs(10), decided));
    let refused = precedence.refused.lock().clone();
    if let Some(reason) = refused {
        println!("NOT SHOWN without the privilege: {reason}");
        assert!(!precedence.standing().first);
        return None;
    }
    Some(precedence)
}

#[test]
fn threads_of_checks_go_first_and_none_that_they_start() {
    let Some(precedence) = watched(95) else {
        return;
    };
    let runtime = runtime(&precedence, 2);
    let goes_first = || runtime.block_on(async { tokio::spawn(async { own_policy() }).await.expect("a task") }) == 2;
    assert!(within(Duration::from_secs(10), goes_first), "{:?}", precedence.show());
    let of_blocking = runtime.block_on(async {
        let blocking = tokio::spawn(async { tokio::task::spawn_blocking(own_policy).await });
        blocking.await.expect("a task").expect("a blocking call")
    });
    let started = || std::thread::spawn(own_policy).join().expect("a thread");
    let of_started = runtime.block_on(async move { tokio::spawn(async move { started() }).await.expect("a task") });
    assert_eq!((of_blocking, of_started), (0, 0));

    precedence.stop();
    assert!(!precedence.standing().first);
    let after = runtime.block_on(async { tokio::spawn(async { own_policy() }).await.expect("a task") });
    assert_eq!(after, 0, "after the end all share");
}

#[test]
fn checks_that_spend_their_budget_share_until_the_window_is_over() {
    let Some(precedence) = watched(1) else {
        return;
    };
    let runtime = runtime(&precedence, 1);
    let goes_first = || runtime.block_on(async { tokio::spawn(async { own_policy() }).await.expect("a task") }) == 2;
    assert!(within(Duration::from_secs(10), goes_first));
    // Works on until the kernel says it shares, then until it goes first again.
    let seen = runtime.block_on(async {
        let work = tokio::spawn(async {
            let deadline = Instant::now() + Duration::from_secs(20);
            let mut shared = false;
            while Instant::now() < deadline {
                match (shared, own_policy()) {
                    (false, 0) => shared = true,
                    (true, 2) => return true,
                    _ => {}
                }
            }
            false
        });
        work.await.expect("a task")
    });
    assert!(seen, "{:?}", precedence.show());
    assert!(precedence.standing().spent_windows > 0);
    precedence.stop();
}

#[test]
fn in_a_storm_checks_go_first_from_a_look_until_they_have_caught_up() {
    // Nobody watches: this test is who looks.
    let precedence = Precedence::new(0);
    let runtime = runtime(&precedence, 1);
    let policy = || runtime.block_on(async { tokio::spawn(async { own_policy() }).await.expect("a task") });
    let all_joined = || precedence.checks.sums().threads == 1;
    assert!(within(Duration::from_secs(10), all_joined));
    precedence.catch_up();
    let refused = precedence.refused.lock().clone();
    if let Some(reason) = refused {
        println!("NOT SHOWN without the privilege: {reason}");
        return;
    }
    let goes_first = || {
        precedence.catch_up();
        policy() == 2
    };
    assert!(within(Duration::from_secs(10), goes_first));
    assert!(
        within(Duration::from_secs(10), || policy() == 0),
        "it had nothing more to do"
    );

    // The storm is over while it catches up: it goes first and stays so.
    precedence.catch_up();
    precedence.set_first(true);
    assert!((0..100).all(|_| policy() == 2));
}

#[test]
fn in_a_storm_too_checks_share_when_their_budget_is_spent() {
    let precedence = Precedence::new(0);
    let runtime = runtime(&precedence, 1);
    let all_joined = || precedence.checks.sums().threads == 1;
    assert!(within(Duration::from_secs(10), all_joined));
    let mut watch = Watch {
        budget: Budget::new(1, 1),
        storm: Storm::default(),
        waited_ns: 0,
        work: PlayersWork::default(),
    };
    let rough = Seen {
        waiting: 1.0,
        threads: 1,
        bulk_units: 0,
        players_units: 1,
        keeps_back: true,
    };
    (0..10).for_each(|_| watch.storm.see(rough));
    assert!(watch.storm.is_on());
    // Never has nothing to do: goes first for a while, then shares.
    let seen = Arc::new(AtomicU64::new(0));
    let (seeing, wanted) = (Arc::clone(&seen), [2, 0]);
    let work = runtime.spawn(async move {
        let deadline = Instant::now() + Duration::from_secs(20);
        for (count, policy) in (1..).zip(wanted) {
            while own_policy() != policy && Instant::now() < deadline {}
            seeing.store(count, Ordering::Relaxed);
        }
    });
    precedence.look(budget::WINDOW_NS, &mut watch);
    if let Some(reason) = precedence.refused.lock().clone() {
        println!("NOT SHOWN without the privilege: {reason}");
        work.abort();
        return;
    }
    assert!(within(Duration::from_secs(10), || seen.load(Ordering::Relaxed) == 1));
    let shares = || {
        precedence.look(budget::WINDOW_NS + 1, &mut watch);
        seen.load(Ordering::Relaxed) == 2
    };
    assert!(within(Duration::from_secs(10), shares), "{:?}", precedence.show());
    assert_eq!(precedence.standing().spent_windows, 1);
}

#[test]
fn without_a_budget_nothing_goes_first() {
    let precedence = Precedence::new(0);
    precedence.watch();
    assert!(precedence.watch.lock().is_none());
    let runtime = runtime(&precedence, 1);
    let policy = runtime.block_on(async { tokio::spawn(async { own_policy() }).await.expect("a task") });
    assert_eq!((policy, precedence.standing().first), (0, false));
}

#[test]
fn threads_that_end_leave_their_crew() {
    let precedence = Precedence::new(0);
    let runtime = runtime(&precedence, 3);
    let all_joined = || precedence.checks.sums().threads == 3;
    assert!(
        within(Duration::from_secs(10), all_joined),
        "{}",
        precedence.checks.sums().threads
    );
    drop(runtime);
    assert_eq!(precedence.checks.sums().threads, 0);
}
