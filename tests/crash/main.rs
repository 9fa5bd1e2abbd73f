//! The crash rig: the real binary is killed, its power cut, its disk broken, its clock stepped, under a mixed load of
//! clients that know what was acknowledged; an auditor compares. It prints a table and leaves with 1 when a scenario
//! failed. `SCENARIO=name` runs one, `SEAWALL_SEED=n` repeats its random choices, `SEAWALL_SOAK=1` makes it long.

mod audit;
mod book;
mod clock;
mod controls;
mod damage;
mod dice;
mod errors;
mod importer;
mod kills;
mod load;
mod memory;
mod mounts;
mod power;
mod read_only;
mod scenario;
mod space;
mod speaks;
mod takeover;
mod trace;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use seawall_tests::server::binary;

use scenario::{Line, Rig, Scenario};

/// Every scenario, in the order of the table. Controls last: they mean something only when the others pass.
fn scenarios() -> Vec<&'static Scenario> {
    let lists = [
        kills::SCENARIOS,
        takeover::SCENARIOS,
        power::SCENARIOS,
        trace::SCENARIOS,
        errors::SCENARIOS,
        space::SCENARIOS,
        read_only::SCENARIOS,
        memory::SCENARIOS,
        damage::SCENARIOS,
        speaks::SCENARIOS,
        clock::SCENARIOS,
        controls::SCENARIOS,
    ];
    lists.into_iter().flatten().collect()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn rig() -> Result<Rig, String> {
    let seawall = binary().map_err(|error| error.to_string())?;
    let faulty = variable("SEAWALL_FAULTS_BIN")
        .map(PathBuf::from)
        .unwrap_or_else(|| seawall.with_file_name("seawall-faults"));
    if !faulty.is_file() {
        return Err(format!("{} is missing; `make crash` builds it", faulty.display()));
    }
    let now = UNIX_EPOCH.elapsed().map_or(1, |age| age.as_secs());
    let seed = variable("SEAWALL_SEED")
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(now);
    let scratch = variable("TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    Ok(Rig {
        faulty,
        soak: variable("SEAWALL_SOAK").is_some(),
        seed,
        scratch,
    })
}

fn main() -> ExitCode {
    let rig = match rig() {
        Ok(rig) => rig,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    let wanted = variable("SCENARIO");
    let chosen: Vec<&Scenario> = scenarios()
        .into_iter()
        .filter(|scenario| wanted.as_deref().is_none_or(|name| name == scenario.name))
        .collect();
    if chosen.is_empty() {
        let names: Vec<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
        eprintln!("no scenario of this name; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    println!("crash rig, seed {}{}", rig.seed, if rig.soak { ", long" } else { "" });
    let mut lines = Vec::new();
    for scenario in chosen {
        let line = scenario.play(&rig);
        println!(
            "{:>8}  {:<26} {:>4} s  {}",
            line.verdict, line.name, line.seconds, line.seen
        );
        if line.is("FAILED") {
            println!("          again: SEAWALL_SEED={} {}", rig.seed, line.command());
        }
        lines.push(line);
    }
    let folder = PathBuf::from(variable("CRASH_OUT").unwrap_or_else(|| "target/crash".into()));
    if wanted.is_none()
        && let Err(error) = write_report(&folder, &rig, &lines)
    {
        eprintln!("{}: {error}", folder.display());
        return ExitCode::FAILURE;
    }
    let count = |verdict: &str| lines.iter().filter(|line| line.is(verdict)).count();
    println!(
        "{} passed, {} failed, {} not run",
        count("passed"),
        count("FAILED"),
        count("NOT RUN")
    );
    if count("FAILED") > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The table as a file.
fn write_report(folder: &std::path::Path, rig: &Rig, lines: &[Line]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut text = String::from(
        "# What the crash rig saw\n\nWritten by `make crash`; numbers are those of the plan of faults.\n\n",
    );
    let length = if rig.soak { "long" } else { "short" };
    text.push_str(&format!("Seed {}, {length} run.\n\n", rig.seed));
    text.push_str("| # | scenario | command | expected | seen | time |\n|---|---|---|---|---|---|\n");
    for line in lines {
        text.push_str(&line.markdown());
        text.push('\n');
    }
    std::fs::write(folder.join("report.md"), text)
}
