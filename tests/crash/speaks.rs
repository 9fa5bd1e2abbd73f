//! What an operator reads at a start: what was found, what was replayed, what was cut, why it is refused.

use std::process::Command;

use seawall_tests::server::{Server, Started};

use crate::damage::{cut, largest};
use crate::kills::killed_at;
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller, tail};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    number: "-",
    name: "recovery-speaks",
    expected: "a start says how the last run ended, what is replayed, where the history ends, and which bytes were cut; a \
               refusal says file, reason, advice, and its exit code is in the help",
    run: speaks,
}];

/// Every one of these is in the log of this start.
fn says(server: &Server, words: &[&str]) -> Result<(), Trouble> {
    let log = server.log();
    match words.iter().find(|word| !log.contains(**word)) {
        Some(missing) => wrong(format!("the start does not say `{missing}`: {}", tail(&log))),
        None => Ok(()),
    }
}

/// The number behind `name=` in the line with these words.
fn number(server: &Server, line: &str, name: &str) -> Result<u64, Trouble> {
    let log = server.log();
    let found = log
        .lines()
        .find(|text| text.contains(line))
        .and_then(|text| {
            text.split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        })
        .and_then(|digits| digits.parse().ok());
    found.ok_or_else(|| Trouble::Wrong(format!("no {name} in the line `{line}`: {}", tail(&log))))
}

const WHOLE: &str = "the data is whole";
const CUT: &str = "a half-written group was cut; nobody was told that it was written";

fn speaks(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up("")?;
    says(&server, &["the data directory is new"])?;
    world.work(caller(&server), |work| {
        work.until_acknowledged(150)?;
        Ok(server.signal("KILL")?)
    })?;
    server.kill()?;

    let server = world.up("")?;
    says(
        &server,
        &[
            "did not end in order",
            "replaying ",
            "opening the engine",
            "epoch=1",
            "incarnation=2",
            "percent=",
        ],
    )?;
    let lsn = number(&server, WHOLE, "lsn")?;
    let batches = number(&server, WHOLE, "replayed_batches")?;
    if lsn == 0 || batches == 0 || number(&server, WHOLE, "floor_lsn")? > lsn {
        return wrong(format!(
            "lsn {lsn}, {batches} batches replayed: {}",
            tail(&server.log())
        ));
    }
    if !server.stop(STEP_MAX)? {
        return wrong("the server did not stop in order");
    }
    let server = world.up("")?;
    says(&server, &["last_run=\"ended in order\""])?;
    if server.log().contains(CUT) {
        return wrong("it says that it cut something after an orderly stop");
    }
    world.audit(server)?;

    // Its last group is in the log, and nobody was told.
    killed_at(&mut world, "kill@commit.after_sync:40")?;
    let log = largest(&world.data.join("db"), ".log")?;
    cut(&log, 3)?;
    let torn_at = std::fs::metadata(&log)?.len();
    let server = world.up("")?;
    says(&server, &[CUT, &log.display().to_string()])?;
    let (from, bytes) = (number(&server, CUT, "from_byte")?, number(&server, CUT, "bytes")?);
    if from + bytes != torn_at || number(&server, CUT, "after_lsn")? != number(&server, WHOLE, "lsn")? {
        return wrong(format!(
            "cut from {from}, {bytes} bytes, of {torn_at}: {}",
            tail(&server.log())
        ));
    }
    world.audit(server)?;
    refuses(&world)?;
    Ok(format!(
        "after a kill: lsn {lsn}, {batches} batches replayed; a torn tail: {bytes} bytes from {from} on; a refusal: file, \
         reason, advice; all codes in the help"
    ))
}

/// A start without its engine, and the help on its exit code.
fn refuses(world: &World) -> Result<(), Trouble> {
    std::fs::rename(world.data.join("db"), world.data.join("elsewhere"))?;
    match world.start("")? {
        Started::Ended { code: Some(22), log }
            if said_all(&log, &["store.engine_missing", "/db", "restore a backup"]) => {}
        Started::Ended { code, log } => return wrong(format!("without an engine: exit {code:?}: {}", tail(&log))),
        Started::Up(_) => return wrong("it serves without its engine"),
    }
    let help = Command::new(&world.launch.binary).args(["serve", "--help"]).output()?;
    let help = String::from_utf8_lossy(&help.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    if said_all(
        &help,
        &["10 store.locked", "22 store.engine_missing", "27 store.newer_release"],
    ) {
        Ok(())
    } else {
        wrong(format!("`serve --help` does not list the exit codes: {help}"))
    }
}

fn said_all(text: &str, words: &[&str]) -> bool {
    words.iter().all(|word| text.contains(word))
}
