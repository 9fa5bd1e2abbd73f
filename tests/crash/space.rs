//! Resources that run out: space for data, journal and segments, descriptors.

use std::path::Path;
use std::time::{Duration, Instant};

use seawall_tests::server::{Server, Started};

use crate::mounts::{Mount, needs};
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller, has_stopped, pause, tail};

/// Left free when a disk is filled up from outside, in bytes.
const LEFT_BYTES: u64 = 64 << 10;

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "16",
        name: "full-disk",
        expected: "writes are refused with a reason, token checks go on, and with space again writes do, without a restart",
        run: full_slowly,
    },
    Scenario {
        number: "16",
        name: "suddenly-full-disk",
        expected: "no space for anything, before anybody noticed: an acknowledged write is never lost; what ends or refuses says so; with space \
                   again it serves",
        run: |rig| full(rig, None),
    },
    Scenario {
        number: "16",
        name: "full-auth-log",
        expected: "no space for segments: nobody is let in unlogged; with space again it serves",
        run: |rig| full(rig, Some("auth-log")),
    },
    Scenario {
        number: "16",
        name: "full-at-start",
        expected: "a start without space is refused with file and advice, or serves; with space again it serves",
        run: full_at_start,
    },
    Scenario {
        number: "17",
        name: "few-descriptors",
        expected: "a start without descriptors is refused with a reason; data opens later",
        run: few_descriptors,
    },
];

/// Takes all the space but so much.
fn fill(at: &Path, left_bytes: u64) -> Result<std::path::PathBuf, Trouble> {
    let path = at.join("ballast");
    let free = free_bytes(at)?;
    let file = std::fs::File::create(&path)?;
    let mut left = free.saturating_sub(left_bytes);
    let block = vec![1_u8; 64 << 10];
    let mut out = std::io::BufWriter::new(file);
    while left > 0 {
        let take = usize::try_from(left.min(block.len() as u64)).unwrap_or(block.len());
        if std::io::Write::write_all(&mut out, block.get(..take).unwrap_or(&block)).is_err() {
            break;
        }
        left -= take as u64;
    }
    Ok(path)
}

/// Free bytes of a file system, as `df` says.
fn free_bytes(at: &Path) -> Result<u64, Trouble> {
    let said =
        crate::mounts::run(&["df", "--output=avail", "-B1", &crate::mounts::text(at)]).map_err(Trouble::Wrong)?;
    let last = said.lines().last().unwrap_or_default().trim().to_owned();
    last.parse().map_err(|_| Trouble::Wrong(format!("df says {said}")))
}

/// Works until the process ended by itself or a while has passed; whether it ended.
fn work_on(world: &mut World, server: &mut Server, a_while_ms: u64) -> Result<bool, Trouble> {
    world.work(caller(server), |_| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(a_while_ms) {
            if server.ended(Duration::ZERO).is_ok() {
                return Ok(true);
            }
            pause(10);
        }
        Ok(false)
    })
}

/// Runs out of space under load, on the whole directory or on one folder of it.
fn full(rig: &Rig, part: Option<&str>) -> Result<String, Trouble> {
    needs(&["mount", "df"])?;
    let folder = rig.folder()?;
    let (at, parent) = match part {
        None => (folder.path().join("small"), folder.path().join("small")),
        Some(name) => (folder.path().join("data").join(name), folder.path().to_owned()),
    };
    let mount = Mount::memory(200, &at)?;
    let mut world = World::new(rig, &parent)?;
    // Little memory makes small logs, which ask for space often.
    world
        .launch
        .arguments
        .extend(["--set".into(), "memory.budget_mib=256".into()]);
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.stop(STEP_MAX)?;
    let mut server = world.up("")?;
    let ballast = fill(&mount.at, LEFT_BYTES)?;
    let over = work_on(&mut world, &mut server, rig.times(15_000, 60_000))?;
    let log = server.log();
    if !log.contains("No space left") {
        return wrong(format!(
            "the disk never got full, or nothing is said of it: {}",
            tail(&log)
        ));
    }
    let during = if over {
        match world.start("")? {
            Started::Ended { code, log } if has_stopped(code, &log) && log.contains("space") => {
                format!("the process ended with the reason, a start is refused with {code:?}")
            }
            Started::Ended { code, log } => return wrong(format!("a start without space: {code:?}: {}", tail(&log))),
            Started::Up(server) => {
                server.kill()?;
                "the process ended with the reason, and started again on what space there is".into()
            }
        }
    } else {
        server.kill()?;
        "it said so and went on serving".into()
    };
    std::fs::remove_file(ballast)?;
    let audited = world.restart_and_audit()?;
    Ok(format!(
        "{during}; with space again: {} unknown outcomes settled, none lost",
        audited.resolved
    ))
}

/// Until the server has said something.
fn until_said(server: &Server, words: &str) -> Result<(), Trouble> {
    let deadline = Instant::now() + STEP_MAX;
    while !server.log().contains(words) {
        if Instant::now() > deadline {
            return wrong(format!("`{words}` is never said: {}", tail(&server.log())));
        }
        pause(20);
    }
    Ok(())
}

/// Little space is left under load: the server notices before the engine does.
fn full_slowly(rig: &Rig) -> Result<String, Trouble> {
    needs(&["mount", "df"])?;
    let folder = rig.folder()?;
    let mount = Mount::memory(256, &folder.path().join("small"))?;
    let mut world = World::new(rig, &mount.at)?;
    let server = world.up("")?;
    let (refused, tokens) = world.work(caller(&server), |work| {
        work.until_acknowledged(100)?;
        let (known, ballast) = work.frozen(|| fill(&mount.at, 3 << 20))?;
        let ballast = ballast?;
        until_said(&server, "the disk is full")?;
        let caller = caller(&server);
        let guest = serde_json::json!({"kind": "guest"});
        let refused = caller.client.login("/sdk/v1/accounts", "late", &guest)?;
        if (refused.status, refused.text("/code")) != (503, "store.full") {
            return wrong(format!(
                "a registration on a full disk answered {} {}",
                refused.status, refused.body
            ));
        }
        let (mut tokens, mut invalid) = (Vec::new(), 0);
        for player in known.books.iter().flat_map(|book| &book.players) {
            tokens.extend(player.sessions.iter().flat_map(|session| session.access.clone()));
        }
        crate::load::verify_all(&caller, &tokens, |_, answer| {
            invalid += usize::from(!matches!(answer.text("/status"), "valid" | "invalid" | "denied"));
        })?;
        if invalid > 0 {
            return wrong(format!("{invalid} of {} token checks have no answer", tokens.len()));
        }
        std::fs::remove_file(ballast)?;
        until_said(&server, "the disk has room again")?;
        work.until_acknowledged(50)?;
        Ok((refused.text("/code").to_owned(), tokens.len()))
    })?;
    world.audit(server)?;
    Ok(format!(
        "writes answered 503 {refused}, {tokens} tokens were checked meanwhile; with space again writes went on"
    ))
}

fn short(log: &str) -> String {
    tail(log)
        .chars()
        .rev()
        .take(160)
        .collect::<String>()
        .chars()
        .rev()
        .collect()
}

fn full_at_start(rig: &Rig) -> Result<String, Trouble> {
    needs(&["mount", "df"])?;
    let folder = rig.folder()?;
    let mount = Mount::memory(192, &folder.path().join("small"))?;
    let mut world = World::new(rig, &mount.at)?;
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.kill()?;
    let ballast = fill(&mount.at, LEFT_BYTES)?;
    let seen = match world.start("")? {
        Started::Ended { code, log } if has_stopped(code, &log) && log.contains("space") => {
            format!("ended with {code:?}: {}", short(&log))
        }
        Started::Ended { code, log } => return wrong(format!("exit {code:?}: {}", tail(&log))),
        Started::Up(server) => {
            server.kill()?;
            "serves on what space there is".into()
        }
    };
    std::fs::remove_file(ballast)?;
    world.restart_and_audit()?;
    Ok(format!("{seen}; with space again it serves, nothing lost"))
}

fn few_descriptors(rig: &Rig) -> Result<String, Trouble> {
    needs(&["prlimit"])?;
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.kill()?;
    let (mut refused, mut served) = (0, 0);
    for limit in [16, 24, 32, 40, 48, 64, 96] {
        let plain = world.launch.wrapper.clone();
        world.launch.wrapper = vec!["prlimit".into(), format!("--nofile={limit}:{limit}")];
        let started = world.start("");
        world.launch.wrapper = plain;
        match started? {
            Started::Ended { code, log } if has_stopped(code, &log) => {
                if !log.to_lowercase().contains("too many open files") && !log.contains("os error 24") {
                    return wrong(format!("limit {limit}: exit {code:?} says only {}", tail(&log)));
                }
                refused += 1;
            }
            Started::Ended { code, log } => {
                return wrong(format!("limit {limit}: ended with {code:?}: {}", tail(&log)));
            }
            Started::Up(mut server) => {
                work_on(&mut world, &mut server, 400)?;
                server.kill()?;
                served += 1;
            }
        }
        world.restart_and_audit()?;
    }
    Ok(format!(
        "{refused} starts ended with the reason, {served} served with few descriptors; nothing lost"
    ))
}
