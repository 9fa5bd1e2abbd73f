//! Taking over accounts: a million onto an empty store, and a million onto ten.

use std::path::Path;

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::Bench;
use crate::dataset::{Dataset, FIRST_UID, disk_bytes, import, settle};
use crate::machine::SyncTimes;
use crate::process::{cpu_seconds, peak_bytes};
use crate::report::Row;
use crate::seawall::Seawall;

const NAME: &str = "import";
const ACCOUNTS: u64 = 1_000_000;
/// Accounts that are there before.
const BEFORE: u64 = 10_000_000;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "`seawall account import` of a million generated accounts (1 to 3 names, a salted hash of eight recipes, five columns) into a \
            serving process, acknowledged durably chunk by chunk; server and command line share all CPUs. Once onto an empty store, \
            once onto ten million accounts with thirty million sessions, where compaction takes its share.",
    ideas: &[(
        "rate",
        "Names and accounts arrive in random key order, so each table is rewritten about once per level; next: larger memtables while an \
         import runs.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let sync = bench.sync_times()?;
    let empty = bench.scratch()?;
    let mut rows = onto(
        bench,
        &empty.path().join("data"),
        "onto an empty store",
        FIRST_UID,
        &sync,
    )?;
    drop(empty);
    let label = "onto 10 million accounts";
    let Some(set) = Dataset::ensure(bench, BEFORE)? else {
        rows.push(Row::missing(NAME, label, "the disk has no room for the set", false));
        return Ok(rows);
    };
    let scratch = bench.scratch()?;
    let data = scratch.path().join("data");
    set.copy_to(&data)?;
    rows.extend(onto(bench, &data, label, FIRST_UID + BEFORE, &sync)?);
    Ok(rows)
}

fn onto(bench: &Bench, data: &Path, label: &str, first_uid: u64, sync: &SyncTimes) -> Result<Vec<Row>, Failure> {
    let mut seawall = Seawall::start_at(bench, data, &[], None)?;
    let (bytes, cpu_s) = (disk_bytes(data), cpu_seconds(seawall.pid()));
    let took = import(bench, data, first_uid, ACCOUNTS)?;
    let cpu_us = (cpu_seconds(seawall.pid()) - cpu_s) * 1e6 / ACCOUNTS as f64;
    let peak = peak_bytes(seawall.pid());
    settle(data)?;
    seawall.stop()?;
    let grown = disk_bytes(data).saturating_sub(bytes) as f64 / ACCOUNTS as f64;
    let row = |metric: &str, unit: &str, value: f64| Row::of(NAME, &format!("{metric}, {label}"), unit, &[value]);
    Ok(vec![
        row("rate", "accounts/s", ACCOUNTS as f64 / took.as_secs_f64())
            .at_least(50_000.0)
            .synced(sync.p50_us),
        row("server CPU", "CPU-us/account", cpu_us),
        row("peak memory", "MiB", peak as f64 / f64::from(1 << 20)),
        row("disk, with the journal of the import", "bytes/account", grown),
    ])
}
