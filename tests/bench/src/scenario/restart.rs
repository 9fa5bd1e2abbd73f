//! Killed in the middle of writing, started again: how long until a token is checked rightly, and what that time goes into.

use std::process::Command;
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;
use serde_json::Value;

use super::Scenario;
use super::verify_hot::CONNECTIONS;
use crate::bench::Bench;
use crate::calls::Guests;
use crate::dataset::Dataset;
use crate::load::{NoMeter, Plan, run as load};
use crate::report::{Row, median};
use crate::seawall::{Player, Seawall};

const NAME: &str = "restart";
const ACCOUNTS: u64 = 10_000_000;
const KILLS: usize = 5;
/// Writing goes on for so long before the kill: long enough that tables of the memory are full.
const LOAD: Duration = Duration::from_secs(8);

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Ten million accounts with thirty million sessions; guests register as fast as they are answered, server and loader on all \
            CPUs; after 8 s SIGKILL, and a start at once. Measured from the start of the process to the right answer about a token whose \
            registration was acknowledged just before the kill.",
    ideas: &[(
        "first right answer",
        "Opening RocksDB's table files and replaying its log; see the parts.",
    )],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let Some(set) = Dataset::ensure(bench, ACCOUNTS)? else {
        return Ok(vec![Row::missing(
            NAME,
            "10 million accounts",
            "the disk has no room for the set",
            false,
        )]);
    };
    let scratch = bench.scratch()?;
    let data = scratch.path().join("data");
    set.copy_to(&data)?;
    let mut seawall = Seawall::start_at(bench, &data, &[], None)?;
    let (mut first_ms, mut written, mut wrong, mut parts) = (Vec::new(), Vec::new(), 0.0, Vec::new());
    for round in 0..KILLS {
        let (last, rate) = kill_in_the_middle(&seawall, round as u64)?;
        written.push(rate);
        seawall.kill()?;
        let begun = Instant::now();
        seawall.start_again()?;
        let answer = seawall.client()?.verify(&last.access_token)?;
        first_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        wrong += f64::from(u8::from(answer.text("/status") != "valid"));
        parts.push(phases(&seawall.log()));
    }
    seawall.stop()?;
    let mut rows = vec![
        Row::of(NAME, "first right answer", "ms", &first_ms).at_most(1000.0),
        Row::of(NAME, "acknowledged tokens not valid", "tokens", &[wrong]).at_most(0.0),
        Row::of(NAME, "registrations before the kill", "requests/s", &written),
    ];
    for position in 0..parts.first().map_or(0, Vec::len) {
        let runs: Vec<&(String, f64)> = parts.iter().filter_map(|run| run.get(position)).collect();
        let times: Vec<f64> = runs.iter().map(|(_, ms)| *ms).collect();
        if let Some((name, _)) = runs.first().filter(|_| median(&times) >= 1.0) {
            rows.push(Row::of(NAME, &format!("of it {name}"), "ms", &times));
        }
    }
    Ok(rows)
}

/// Registers guests until the server is killed; the last one that was acknowledged, and the rate until then.
fn kill_in_the_middle(seawall: &Seawall, series: u64) -> Result<(Player, f64), Failure> {
    let plan = Plan {
        patience: Duration::ZERO,
        ..Plan::closed(seawall.target(), CONNECTIONS, LOAD + Duration::from_millis(300))
    };
    let mut guests = Guests::keeping(seawall).in_series(series);
    let pid = seawall.pid();
    let killer = std::thread::spawn(move || {
        std::thread::park_timeout(LOAD);
        Command::new("kill").args(["-KILL", &pid.to_string()]).status()
    });
    load(&plan, &mut guests, &mut NoMeter)?;
    killer.join().map_err(|_| "the killer panicked")??;
    let rate = guests.players.len() as f64 / LOAD.as_secs_f64();
    let last = guests.players.pop().ok_or("nobody was registered before the kill")?;
    Ok((last, rate))
}

/// How long the server was in each phase of its start, and what of that was the engine's, as its log says.
fn phases(log: &str) -> Vec<(String, f64)> {
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let last = |message: &str| lines.iter().rev().find(|line| line["message"] == message);
    let phases = last("serving")
        .and_then(|line| line["phases_ms"].as_str())
        .unwrap_or_default();
    let part = |text: &str| {
        let (name, ms) = text.trim().rsplit_once(' ')?;
        Some((name.to_owned(), ms.parse().ok()?))
    };
    let engine = last("the data is whole").and_then(|line| {
        let note = format!(
            "opening_store: the engine, replaying {} bytes at first",
            line["replayed_bytes"]
        );
        Some((note, line["engine_ms"].as_f64()?))
    });
    phases.split(',').filter_map(part).chain(engine).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_from_the_line_of_the_last_start() {
        let log = "{\"message\":\"serving\",\"phases_ms\":\"opening_store 1\"}\nno json\n\
                   {\"message\":\"serving\",\"phases_ms\":\"reading_keys 0.2, opening_store 640.5\"}\n{\"message\":\"drain\"}";
        assert_eq!(
            phases(log),
            [("reading_keys".to_owned(), 0.2), ("opening_store".to_owned(), 640.5)]
        );
        let whole = "{\"message\":\"the data is whole\",\"engine_ms\":600,\"replayed_bytes\":7}";
        assert_eq!(
            phases(whole),
            [(
                "opening_store: the engine, replaying 7 bytes at first".to_owned(),
                600.0
            )]
        );
        assert!(phases("").is_empty());
    }
}
