//! The store and the segment log in simulated worlds: one seed decides the schedule, the clock, the clients, the faults
//! and the crashes. `SEAWALL_SEED=n` runs one seed, `SEAWALL_SEEDS=n` so many, `SEAWALL_SECONDS=n` as many as fit.

mod auditor;
mod damage;
mod log_world;
mod model;
mod tables;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use seawall_storage::simulation::Defect;

use auditor::Checked;
use world::Summary;

/// Seeds of one run, and those within which every defect must be noticed.
const SEEDS: u64 = 500;

type Run = fn(u64, Option<Defect>) -> Checked<Summary>;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, not {text}")),
    )
}

/// Runs a seed; a panic anywhere in it is a finding like any other.
fn run_seed(run: Run, seed: u64, defect: Option<Defect>) -> Checked<Summary> {
    catch_unwind(AssertUnwindSafe(|| run(seed, defect))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("it panicked: {}", text.unwrap_or_default()))
    })
}

/// Runs the seeds that were asked for and prints what they came to.
fn run_seeds(test: &str, run: Run) {
    let begun = Instant::now();
    let first = number("SEAWALL_SEED").or(number("SEAWALL_FIRST_SEED")).unwrap_or(0);
    let seeds = if number("SEAWALL_SEED").is_some() {
        1
    } else {
        number("SEAWALL_SEEDS").unwrap_or(SEEDS)
    };
    let limit = number("SEAWALL_SECONDS").map(Duration::from_secs);
    let (mut done, mut sum) = (0, Summary::default());
    for seed in first.. {
        let over = limit.map_or(done >= seeds, |limit| begun.elapsed() >= limit);
        if over {
            break;
        }
        let summary = run_seed(run, seed, None).unwrap_or_else(|wrong| {
            panic!(
                "seed {seed}: {wrong}\nagain: SEAWALL_SEED={seed} cargo test --release -p seawall-tests --test simulation {test}"
            )
        });
        done += 1;
        sum.acknowledged += summary.acknowledged;
        sum.unknown += summary.unknown;
        sum.lives += summary.lives;
        sum.refusals += summary.refusals;
        sum.trimmed += summary.trimmed;
    }
    assert!(sum.acknowledged > done, "the worlds did next to nothing: {sum:?}");
    println!(
        "simulation, {test}: {done} seeds from {first} held, {:.0} a second: {} starts, {} writes acknowledged, {} in doubt, {} refusals, {} frames trimmed",
        done as f64 / begun.elapsed().as_secs_f64(),
        sum.lives,
        sum.acknowledged,
        sum.unknown,
        sum.refusals,
        sum.trimmed,
    );
}

/// The simulation makes the mistake, and the auditor must notice within the seeds of a short run.
fn must_be_noticed(run: Run, defect: Defect) {
    let caught = (0..SEEDS).find_map(|seed| Some((seed, run_seed(run, seed, Some(defect)).err()?)));
    let (seed, wrong) = caught.unwrap_or_else(|| panic!("{defect:?} was not noticed within {SEEDS} seeds"));
    println!("simulation: {defect:?} is noticed at seed {seed}: {wrong}");
}

#[test]
fn the_store_holds() {
    run_seeds("the_store_holds", world::run);
}

#[test]
fn the_segment_log_holds() {
    run_seeds("the_segment_log_holds", log_world::run);
}

#[test]
fn the_same_seed_is_the_same_history() {
    for run in [world::run as Run, log_world::run] {
        let histories: Vec<_> = (0..12).map(|seed| run(seed, None).expect("it holds").history).collect();
        for (seed, history) in (0..).zip(&histories) {
            assert_eq!(run(seed, None).expect("it holds").history, *history, "seed {seed}");
        }
        let others: std::collections::BTreeSet<_> = histories.iter().collect();
        assert_eq!(others.len(), histories.len(), "another seed is another history");
    }
}

#[test]
fn every_defect_of_the_store_is_noticed() {
    for defect in Defect::ALL {
        must_be_noticed(world::run, defect);
    }
}

#[test]
fn every_defect_of_the_segment_log_is_noticed() {
    for defect in [Defect::SkipFsync, Defect::NoDirsync] {
        must_be_noticed(log_world::run, defect);
    }
}
