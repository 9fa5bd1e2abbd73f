//! The process is killed: at random, at every named point, and while it recovers.

use std::time::{Duration, Instant};

use seawall_tests::server::Started;

use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller, pause, tail};

/// A start after a kill may take this long.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// Points that a server passes while it serves, each with the passing that kills.
const SERVING: &[(&str, u64)] = &[
    ("commit.closed", 40),
    ("commit.before_write", 40),
    ("commit.after_sync", 40),
    ("publish.after", 40),
    ("reply.before", 90),
    ("control.before_rename", 3),
    ("control.after_rename", 3),
    ("journal.trim", 2),
    ("segment.before_sync", 20),
];
/// Points of a first start.
const FIRST_START: &[&str] = &[
    "control.before_rename:1",
    "control.after_rename:1",
    "control.before_rename:2",
    "open.created",
    "control.after_rename:3",
    "open.recovered",
    "open.indexes",
    "index.build",
    "commit.before_write:1",
    "commit.after_sync:1",
    "commit.after_sync:3",
];
/// Points of a start on data.
const STARTING: &[&str] = &[
    "open.engine",
    "open.recovered",
    "control.before_rename",
    "control.after_rename",
    "open.indexes",
];

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "1, 2, 20",
        name: "random-kill",
        expected: "every acknowledged write there, refused ones not, unknown ones whole or absent, one effect per key; \
                   opens within 10 s",
        run: random_kill,
    },
    Scenario {
        number: "2",
        name: "failpoint-kill",
        expected: "the same after a kill between close, write, sync, publish and reply, at control-file replacement, \
                   journal trim and segment sync",
        run: failpoint_kill,
    },
    Scenario {
        number: "6",
        name: "first-start-kill",
        expected: "killed at any step of the first start, the next start works",
        run: first_start_kill,
    },
    Scenario {
        number: "3",
        name: "recovery-kill",
        expected: "killed in recovery, and in the recovery after that: the same result as one crash",
        run: recovery_kill,
    },
    Scenario {
        number: "-",
        name: "segment-rotation-kill",
        expected: "killed while a segment of the auth log is sealed, created, indexed: it opens and keeps what it had",
        run: rotation_kill,
    },
];

/// Loads, kills after `dwell_ms`, restarts, audits. The server goes on after the audit.
fn random_kill(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let kills = rig.times(30, 200);
    let (mut slowest, mut resolved, mut tokens) = (Duration::ZERO, 0, 0);
    for round in 0..kills {
        let serving = world.up("")?;
        let (after, dwell_ms) = (world.dice.within(1, 90), world.dice.within(0, 60));
        world.work(caller(&serving), |work| {
            work.until_acknowledged(after)?;
            pause(dwell_ms);
            Ok(serving.signal("KILL")?)
        })?;
        serving.kill()?;
        let begun = Instant::now();
        let again = world.up("")?;
        slowest = slowest.max(begun.elapsed());
        let audited = world.audit(again).map_err(|trouble| at_round(trouble, round))?;
        resolved += audited.resolved;
        tokens = audited.tokens;
    }
    if slowest > OPEN_MAX {
        return wrong(format!("a start took {slowest:?}"));
    }
    if world.known.acknowledged() < kills * 5 {
        return wrong(format!(
            "the load was too thin: {} acknowledged",
            world.known.acknowledged()
        ));
    }
    Ok(format!(
        "{kills} kills, {} operations acknowledged, {resolved} of unknown outcome settled, {tokens} tokens checked, \
         slowest start {} ms",
        world.known.acknowledged(),
        slowest.as_millis()
    ))
}

fn at_round(trouble: Trouble, round: u64) -> Trouble {
    match trouble {
        Trouble::Wrong(finding) => Trouble::Wrong(format!("after kill {round}: {finding}")),
        other => other,
    }
}

/// Works until a point kills the server; an error when it is never passed.
pub fn killed_at(world: &mut World, faults: &str) -> Result<(), Trouble> {
    let mut server = world.up(faults)?;
    world.work(caller(&server), |_| match server.ended(STEP_MAX) {
        Ok(None) => Ok(()),
        Ok(Some(code)) => wrong(format!("{faults}: ended with {code} instead of being killed")),
        Err(_) => wrong(format!("{faults}: the point was never passed")),
    })
}

fn failpoint_kill(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let mut resolved = 0;
    for (point, passing) in SERVING {
        for further in 0..rig.times(1, 10) {
            killed_at(
                &mut world,
                &format!("small_journal,kill@{point}:{}", passing + further * 7),
            )?;
            let audited = world.restart_and_audit().map_err(|trouble| at_point(trouble, point))?;
            resolved += audited.resolved;
        }
    }
    let acknowledged = world.known.acknowledged();
    Ok(format!(
        "{} points, {acknowledged} operations acknowledged, {resolved} of unknown outcome settled",
        SERVING.len()
    ))
}

fn at_point(trouble: Trouble, point: &str) -> Trouble {
    match trouble {
        Trouble::Wrong(finding) => Trouble::Wrong(format!("killed at {point}: {finding}")),
        other => other,
    }
}

/// Starts with faults that must kill before the server serves.
fn killed_starting(world: &World, faults: &str) -> Result<(), Trouble> {
    match world.start(faults)? {
        Started::Ended { code: None, .. } => Ok(()),
        Started::Ended { code, log } => wrong(format!("{faults}: ended with {code:?}: {}", tail(&log))),
        Started::Up(_) => wrong(format!("{faults}: the point was not passed at the start")),
    }
}

fn first_start_kill(rig: &Rig) -> Result<String, Trouble> {
    let mut passed = Vec::new();
    for point in FIRST_START {
        let folder = rig.folder()?;
        let mut world = World::new(rig, folder.path())?;
        killed_starting(&world, &format!("kill@{point}")).map_err(|trouble| at_point(trouble, point))?;
        let server = world.up("").map_err(|trouble| at_point(trouble, point))?;
        world.work(caller(&server), |work| work.until_acknowledged(20))?;
        world.audit(server).map_err(|trouble| at_point(trouble, point))?;
        passed.push(*point);
    }
    Ok(format!("{} points, each start after it served", passed.len()))
}

fn recovery_kill(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    for point in STARTING {
        let server = world.up("")?;
        world.work(caller(&server), |work| {
            work.until_acknowledged(150)?;
            Ok(server.signal("KILL")?)
        })?;
        server.kill()?;
        for _ in 0..2 {
            killed_starting(&world, &format!("kill@{point}")).map_err(|trouble| at_point(trouble, point))?;
        }
        world.restart_and_audit().map_err(|trouble| at_point(trouble, point))?;
    }
    // An index that is built again, cut off twice while it is.
    for passing in [1, 3] {
        killed_starting(&world, &format!("rebuild_indexes,kill@index.build:{passing}"))?;
    }
    world.restart_and_audit()?;
    let server = world.up("rebuild_indexes")?;
    world.audit(server)?;
    Ok(format!("{} points twice each, and two index builds", STARTING.len()))
}

fn rotation_kill(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let points = [
        "*.seg.before_rename",
        "*.seg.after_rename",
        "segment.rotate",
        "*.idx.before_rename",
        "*.idx.after_rename",
    ];
    for point in points {
        // A start begins a new segment at its first record and seals it when it stops in order.
        let mut server = world.up(&format!("kill@{point}"))?;
        world.work(caller(&server), |work| {
            if point.starts_with("*.seg") {
                server.ended(STEP_MAX)?;
                return Ok(());
            }
            work.until_acknowledged(60)
        })?;
        server.signal("TERM")?;
        if server.ended(STEP_MAX)?.is_some() {
            return wrong(format!("{point} was not passed"));
        }
        world.restart_and_audit().map_err(|trouble| at_point(trouble, point))?;
    }
    Ok(format!("{} points", points.len()))
}
