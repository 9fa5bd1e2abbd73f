//! A backup of ten million accounts while the platform is written to, and a restore to an exact lsn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seawall_tests::server::Failure;
use serde_json::Value;

use super::Scenario;
use super::verify_hot::CONNECTIONS;
use crate::bench::{Bench, Figures, each};
use crate::calls::Guests;
use crate::dataset::{Dataset, disk_bytes, free_bytes};
use crate::load::{Arrival, Plan};
use crate::report::{Row, median};
use crate::seawall::Seawall;

const NAME: &str = "backup";
const ACCOUNTS: u64 = 10_000_000;
/// Registrations a second meanwhile: what a busy day has, far from what the machine can.
const WRITES_PER_S: f64 = 1_000.0;
const SPAN: Duration = Duration::from_secs(5);
/// Runs without a backup, to compare with.
const BEFORE: usize = 3;
/// Repository and restored directory need about the size of the data each.
const ROOM: f64 = 2.2;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Ten million accounts with thirty million sessions, 1,000 durable guest registrations a second, open loop, server and loader on \
            all CPUs. The backup goes into a directory of the same disk; its MB/s count the platform's content from the copy to the \
            signed manifest, the reading of all rows for the digest included. The restore goes to the exact lsn of the backup.",
    ideas: &[(
        "registration p99",
        "The backup reads, compresses and seals at low priority, but shares two cores and one disk.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let no_room = || {
        Ok(vec![Row::missing(
            NAME,
            "10 million accounts",
            "the disk has no room for the set and its copies",
            false,
        )])
    };
    let Some(set) = Dataset::ensure(bench, ACCOUNTS)? else {
        return no_room();
    };
    let scratch = bench.scratch()?;
    if (free_bytes(scratch.path())? as f64) < ROOM * set.facts.all_bytes as f64 {
        return no_room();
    }
    let (data, into) = (scratch.path().join("data"), scratch.path().join("restored"));
    set.copy_to(&data)?;
    let settings = [
        format!("backup.target=dir://{}", scratch.path().join("repository").display()),
        "backup.interval_h=0".to_owned(),
        "backup.drill_interval_h=0".to_owned(),
    ];
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut seawall = Seawall::start_at(bench, &data, &settings, None)?;
    let arguments = |verb: &[&str]| -> Vec<String> {
        let mut all: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        all.extend(["--json".to_owned(), "--data".to_owned(), data.display().to_string()]);
        settings
            .iter()
            .for_each(|setting| all.extend(["--set".to_owned(), (*setting).to_owned()]));
        all
    };
    let ask = |verb: &[&str]| {
        let all = arguments(verb);
        bench.command_line(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let quiet: Vec<Figures> = (0..BEFORE)
        .map(|run| writes(bench, &seawall, run as u64))
        .collect::<Result<_, _>>()?;
    let (made, busy) = meanwhile(bench, &seawall, || {
        ask(&["backup", "now"]).map_err(|error| error.to_string())
    })?;
    let list = ask(&["backup", "list"])?;
    let digest = list["backups"]
        .as_array()
        .and_then(|all| all.last()?.get("digest").cloned())
        .unwrap_or_default();
    seawall.stop()?;
    let (lsn, target) = (made["lsn"].to_string(), into.display().to_string());
    let restored = ask(&["restore", "--digest", "--lsn", &lsn, "--into", &target])?;
    let is_equal = restored["digest"] == digest && restored["lsn"] == made["lsn"];
    Ok(rows_of(&quiet, &busy, &made, &restored, is_equal, disk_bytes(&into)))
}

fn writes(bench: &Bench, seawall: &Seawall, series: u64) -> Result<Figures, Failure> {
    let arrival = Arrival::Poisson {
        rate: WRITES_PER_S,
        seed: series,
    };
    let plan = Plan::open(seawall.target(), CONNECTIONS, arrival, SPAN);
    bench.measure(&plan, &mut Guests::new(seawall, series), seawall.pid())
}

/// Runs of writes while `work` is under way, one at least.
fn meanwhile(
    bench: &Bench,
    seawall: &Seawall,
    work: impl FnOnce() -> Result<Value, String> + Send,
) -> Result<(Value, Vec<Figures>), Failure> {
    let (is_over, mut busy) = (AtomicBool::new(false), Vec::new());
    let done = std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let done = work();
            is_over.store(true, Ordering::Release);
            done
        });
        while !is_over.load(Ordering::Acquire) {
            busy.push(writes(bench, seawall, 10 + busy.len() as u64).map_err(|error| error.to_string())?);
        }
        working.join().map_err(|_| "the backup's thread panicked".to_owned())?
    })?;
    Ok((done, busy))
}

fn rows_of(
    quiet: &[Figures],
    busy: &[Figures],
    made: &Value,
    restored: &Value,
    is_equal: bool,
    bytes: u64,
) -> Vec<Row> {
    let number = |value: &Value, field: &str| value[field].as_f64().unwrap_or(0.0);
    let one = |metric: &str, unit: &str, value: f64| Row::of(NAME, metric, unit, &[value]);
    let mb_per_s = |bytes: f64, took_ms: f64| bytes / 1e3 / took_ms.max(1.0);
    let (plain, took_ms) = (number(made, "plain_bytes"), number(made, "took_ms"));
    let p99 = |runs: &[Figures]| each(runs, |run| run.p99_us / 1e3);
    let all: Vec<Figures> = quiet.iter().chain(busy).cloned().collect();
    vec![
        one("backup", "MB/s", mb_per_s(plain, took_ms)).note(&format!(
            "{:.1} GB in {:.0} s",
            plain / 1e9,
            took_ms / 1e3
        )),
        one(
            "sent, of the content",
            "share",
            number(made, "sent_bytes") / plain.max(1.0),
        ),
        Row::of(NAME, "registration p99 during the backup", "ms", &p99(busy))
            .beside("without a backup", &p99(quiet))
            .voids(busy),
        one("added to the p99", "ms", median(&p99(busy)) - median(&p99(quiet))),
        one(
            "worst p99 of 5 s during the backup",
            "ms",
            p99(busy).into_iter().fold(0.0, f64::max),
        ),
        one(
            "restore to an exact lsn",
            "MB/s",
            mb_per_s(number(restored, "bytes"), number(restored, "took_ms")),
        )
        .note(&format!(
            "{:.1} GB on disk; reading all of it again for the digest is not counted",
            bytes as f64 / 1e9
        )),
        one(
            "digest after the restore differs",
            "restores",
            f64::from(u8::from(!is_equal)),
        )
        .at_most(0.0),
        Row::failures(NAME, &all),
    ]
}
