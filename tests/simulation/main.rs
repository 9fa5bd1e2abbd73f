//! The store and the segment log in simulated worlds: one seed decides the schedule, the clock, the clients, the faults
//! and the crashes. `SEAWALL_SEED=n` runs one seed, `SEAWALL_SEEDS=n` so many, `SEAWALL_SECONDS=n` as many as fit.

mod auditor;
mod damage;
mod log_world;
mod model;
mod summary;
mod tables;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use seawall_storage::simulation::Defect;

use auditor::Checked;
use summary::Summary;

/// Seeds of one run, and those within which every defect must be noticed.
const SEEDS: u64 = 500;

type Run = fn(u64, Option<Defect>) -> Checked<Summary>;

/// One kind of world: the test that runs it, and how.
#[derive(Clone, Copy)]
struct Kind {
    test: &'static str,
    run: Run,
}

const STORE: Kind = Kind {
    test: "the_store_holds",
    run: world::run,
};
const LOG: Kind = Kind {
    test: "the_segment_log_holds",
    run: log_world::run,
};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text}")),
    )
}

/// Runs a seed; a panic anywhere in it is a finding like any other.
fn run_seed(kind: Kind, seed: u64, defect: Option<Defect>) -> Checked<Summary> {
    catch_unwind(AssertUnwindSafe(|| (kind.run)(seed, defect))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("it panicked: {}", text.unwrap_or_default()))
    })
}

/// Runs a seed that must hold.
fn hold(kind: Kind, seed: u64) -> Summary {
    run_seed(kind, seed, None).unwrap_or_else(|wrong| {
        let again = format!("cargo test --release -p seawall-tests --test simulation {}", kind.test);
        panic!("seed {seed}: {wrong}\nagain: SEAWALL_SEED={seed} {again}")
    })
}

/// Runs the seeds that were asked for and prints what they came to.
fn hold_all(kind: Kind) -> Summary {
    let begun = Instant::now();
    let one = number("SEAWALL_SEED");
    let first = one.or(number("SEAWALL_FIRST_SEED")).unwrap_or(0);
    let seeds = one.map_or(number("SEAWALL_SEEDS").unwrap_or(SEEDS), |_| 1);
    let limit = number("SEAWALL_SECONDS").map(Duration::from_secs);
    let mut sum = Summary::default();
    let mut seed = first;
    while limit.map_or(seed - first < seeds, |limit| begun.elapsed() < limit) {
        sum.add(&hold(kind, seed));
        seed += 1;
    }
    let (test, done, seconds) = (kind.test, seed - first, begun.elapsed().as_secs_f64());
    println!(
        "simulation, {test}: {done} seeds from {first} held, {:.0} a second: {sum}",
        done as f64 / seconds
    );
    if done >= SEEDS {
        assert!(
            sum.lives > 5 * done && sum.acknowledged > 50 * done && sum.unknown > done,
            "a dull world: {sum}"
        );
    }
    sum
}

/// The simulation makes the mistake, and the auditor must notice within the seeds of a short run.
fn must_be_noticed(kind: Kind, defect: Defect) {
    let caught = (0..SEEDS).find_map(|seed| Some((seed, run_seed(kind, seed, Some(defect)).err()?)));
    let (seed, wrong) = caught.unwrap_or_else(|| panic!("{defect:?} was not noticed within {SEEDS} seeds"));
    println!("simulation: {defect:?} is noticed at seed {seed}: {wrong}");
}

#[test]
fn the_store_holds() {
    let sum = hold_all(STORE);
    assert!(
        sum.lives < SEEDS || (sum.refusals > 0 && sum.trimmed > 0),
        "a dull world: {sum}"
    );
}

#[test]
fn the_segment_log_holds() {
    hold_all(LOG);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for kind in [STORE, LOG] {
        let histories: Vec<_> = (0..12).map(|seed| hold(kind, seed).history).collect();
        for (seed, history) in (0..).zip(&histories) {
            assert_eq!(hold(kind, seed).history, *history, "{} of seed {seed}", kind.test);
        }
        let others: BTreeSet<_> = histories.iter().collect();
        assert_eq!(others.len(), histories.len(), "another seed is another history");
    }
}

#[test]
fn every_defect_of_the_store_is_noticed() {
    for defect in Defect::ALL {
        must_be_noticed(STORE, defect);
    }
}

#[test]
fn every_defect_of_the_segment_log_is_noticed() {
    for defect in [Defect::SkipFsync, Defect::NoDirsync] {
        must_be_noticed(LOG, defect);
    }
}
