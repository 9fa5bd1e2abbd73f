//! Benchmarks of the real binary beside its peers.
//!
//! `bench run` measures scenarios ([`scenario`]) with the load generator ([`load`]) and writes the report ([`report`]); `bench list`
//! names them. `bench part …` is what this program starts of itself on the server's CPU: peers that are a few lines of Rust.

mod bench;
mod buckets;
mod dataset;
mod load;
mod machine;
mod part;
mod peer;
mod process;
mod report;
mod scenario;
mod seawall;
mod sessions;
mod storm;
mod streams;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use seawall_load::calls;
use seawall_tests::server::Failure;

use bench::Bench;
use machine::LOADER_CPU;
use report::{Head, Row};
use scenario::{SCENARIOS, Scenario};

/// Benchmarks of Seawall beside their peers.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure scenarios and write the report; all when none is named.
    Run(Run),
    /// Name the scenarios.
    List,
    /// A peer, started by the bench itself.
    #[command(hide = true, subcommand)]
    Part(part::Part),
}

#[derive(Args)]
struct Run {
    /// Which scenarios.
    scenarios: Vec<String>,
    /// The binary under measurement.
    #[arg(long, default_value = "target/dist/seawall")]
    seawall: PathBuf,
    /// Where the report goes, and scratch data below it.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// The report to compare with.
    #[arg(long, default_value = "tests/bench/REPORT.json")]
    committed: PathBuf,
    /// Where large sets of accounts are kept [default: bench in the cache folder of the user].
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Runs of each side.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of a run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(options) => run(&options),
        Verb::List => {
            for scenario in SCENARIOS {
                println!("{}", scenario.name);
            }
            Ok(true)
        }
        Verb::Part(part) => part::run(part).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the chosen scenarios; whether all of them could be measured. A missed goal is no failure of the run: the report shows it.
fn run(options: &Run) -> Result<bool, Failure> {
    let chosen = chosen(&options.scenarios)?;
    let committed = report::committed(&options.committed)?;
    let busy = machine::busy_share();
    let mut head = head(options);
    if let Some(disturbed) = machine::disturbance(busy) {
        eprintln!("bench: {disturbed}; the figures are those of a shared machine");
        head.machine = format!("{}; {disturbed}", head.machine);
    }
    let cores = std::thread::available_parallelism()?.get();
    machine::pin(LOADER_CPU)?;
    let bench = Bench {
        seawall: std::path::absolute(&options.seawall)?,
        work: std::path::absolute(options.out.join("work"))?,
        cache: options.cache.clone().unwrap_or_else(cache),
        runs: options.runs.max(1),
        span: Duration::from_secs_f64(options.seconds),
        files_max: machine::raise_file_limit(),
        cores,
    };
    let (mut rows, mut whole) = (Vec::new(), true);
    for scenario in chosen {
        let begun = Instant::now();
        eprintln!("== {}", scenario.name);
        let mut fresh = match (scenario.run)(&bench) {
            Ok(fresh) => fresh,
            Err(error) => {
                whole = false;
                vec![Row::missing(
                    scenario.name,
                    "the scenario",
                    &format!("it failed: {error}"),
                    true,
                )]
            }
        };
        report::complete(&mut fresh, &head);
        fresh.iter().for_each(print_row);
        eprintln!("== {} took {:.0} s", scenario.name, begun.elapsed().as_secs_f64());
        rows.extend(fresh);
        // After each, so that an interrupted run leaves what it has.
        report::write(&options.out, &head, &rows, &report::falls(&committed, &rows))?;
    }
    let _ = std::fs::remove_dir_all(&bench.work);
    for fall in report::falls(&committed, &rows) {
        eprintln!("SLOWER: {fall}");
    }
    println!("{}", options.out.join("report.md").display());
    Ok(whole)
}

fn cache() -> PathBuf {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = set.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"));
    cache.join("seawall/bench")
}

fn chosen(names: &[String]) -> Result<Vec<&'static Scenario>, Failure> {
    if names.is_empty() {
        return Ok(SCENARIOS.iter().collect());
    }
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.ok_or_else(|| format!("there is no scenario {name}; see `bench list`").into())
    };
    names.iter().map(find).collect()
}

fn head(options: &Run) -> Head {
    let date = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    Head {
        machine: machine::describe(),
        peers: machine::peers(),
        date: date.map_or_else(
            |_| String::new(),
            |date| String::from_utf8_lossy(&date.stdout).trim().to_owned(),
        ),
        commit: machine::commit(),
        effort: format!(
            "Server and peers on CPU {}, loader on CPU {LOADER_CPU}; medians of {} interleaved runs of {} s.",
            machine::SERVER_CPU,
            options.runs,
            options.seconds
        ),
    }
}

fn print_row(row: &Row) {
    let beside = match (&row.peer, row.peer_value, row.ratio) {
        (Some(peer), Some(theirs), Some(ratio)) => {
            format!("  {peer} {}  ratio {}", report::number(theirs), report::number(ratio))
        }
        _ => String::new(),
    };
    let goal = match (&row.goal, row.goal_met) {
        (Some(goal), Some(met)) => format!("  goal {goal} {}", if met { "met" } else { "MISSED" }),
        _ => String::new(),
    };
    let note = row.note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default();
    println!(
        "{}: {} {} {}{beside}{goal}{note}",
        row.scenario,
        row.metric,
        report::number(row.value),
        row.unit
    );
}
