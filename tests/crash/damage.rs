//! Files that come back damaged, shortened, older, or not at all. What was acknowledged and is lost must be said, with
//! file, reason, advice and an exit code of its own; what was only half written may go silently.

use std::path::{Path, PathBuf};

use seawall_tests::server::Started;

use crate::kills::killed_at;
use crate::mounts::{run, text};
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller, tail};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "8",
        name: "torn-tail",
        expected: "a write-ahead log or segment torn in its last, unacknowledged record opens; the tail is cut",
        run: torn_tail,
    },
    Scenario {
        number: "9, 10, 12",
        name: "damaged-files",
        expected: "flipped bytes, emptied and deleted files: refused with file, reason, advice and exit code, twice the \
                   same; or mended where a second copy exists, and said",
        run: damaged_files,
    },
    Scenario {
        number: "12",
        name: "damaged-table-file",
        expected: "a flipped byte in a table file is an error or a finding of db verify, never a wrong answer",
        run: damaged_table,
    },
    Scenario {
        number: "12",
        name: "damaged-frames",
        expected: "a frame of the journal with a flipped bit under good checksums: refused at the start when it is needed \
                   there, else found by db verify, which names its number",
        run: damaged_frames,
    },
    Scenario {
        number: "11",
        name: "yesterday",
        expected: "an engine from an older copy is refused: exit 24, store.lost_data",
        run: |rig| yesterday(rig, ""),
    },
    Scenario {
        number: "11",
        name: "yesterday-whole",
        expected: "a whole directory from an older copy opens as it was: only a peer could know better",
        run: yesterday_whole,
    },
];

fn copy(from: &Path, to: &Path) -> Result<(), Trouble> {
    let _ = std::fs::remove_dir_all(to);
    run(&["cp", "-a", "--reflink=auto", &text(from), &text(to)])
        .map(drop)
        .map_err(Trouble::Wrong)
}

/// Files below a directory whose name ends so, the newest name last.
fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut found: Vec<PathBuf> = entries.unwrap_or_default();
    found.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().ends_with(ending))
    });
    found.sort();
    found
}

/// The largest file of a directory whose name ends so.
pub fn largest(dir: &Path, ending: &str) -> Result<PathBuf, Trouble> {
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |meta| meta.len());
    match files(dir, ending).into_iter().max_by_key(size) {
        Some(path) => Ok(path),
        None => wrong(format!("no {ending} file in {}", dir.display())),
    }
}

/// Flips one bit.
fn flip(path: &Path, at: u64) -> Result<(), Trouble> {
    let mut bytes = std::fs::read(path)?;
    match bytes.get_mut(usize::try_from(at).unwrap_or(usize::MAX)) {
        Some(byte) => *byte ^= 0x10,
        None => return wrong(format!("{} has no byte {at}", path.display())),
    }
    Ok(std::fs::write(path, bytes)?)
}

fn length(path: &Path) -> Result<u64, Trouble> {
    Ok(std::fs::metadata(path)?.len())
}

/// Takes so many bytes off the end.
pub fn cut(path: &Path, bytes: u64) -> Result<(), Trouble> {
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    Ok(file.set_len(length(path)?.saturating_sub(bytes))?)
}

/// A world that was killed under load, with table files, write-ahead log and segments.
fn used(rig: &Rig, parent: &Path) -> Result<World, Trouble> {
    let mut world = World::new(rig, parent)?;
    for _ in 0..2 {
        let server = world.up("")?;
        world.work(caller(&server), |work| {
            work.until_acknowledged(200)?;
            Ok(server.signal("KILL")?)
        })?;
        server.kill()?;
        // Settles what was unknown, so that the copies below are known for certain.
        world.restart_and_audit()?;
    }
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(300))?;
    // The floor is written within a second of the last commit.
    crate::world::pause(1200);
    server.kill()?;
    Ok(world)
}

fn torn_tail(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    // Its last group is in the log, and nobody was told.
    killed_at(&mut world, "kill@commit.after_sync:60")?;
    let base = folder.path().join("base");
    copy(&world.data, &base)?;
    let known = world.known.clone();
    let mut tried = 0;
    for bytes in [1, 3, 8, 20, 50] {
        copy(&base, &world.data)?;
        world.known = known.clone();
        cut(&largest(&world.data.join("db"), ".log")?, bytes)?;
        world.restart_and_audit()?;
        tried += 1;
    }
    copy(&base, &world.data)?;
    world.known = known.clone();
    let segment = largest(&world.data.join("auth-log"), ".seg")?;
    tear_segment(&segment)?;
    let server = world.up("")?;
    if !server.log().contains("torn tail") {
        return wrong(format!("the torn segment is not mentioned: {}", tail(&server.log())));
    }
    world.audit(server)?;
    Ok(format!(
        "{tried} torn logs and a torn segment opened; acknowledged writes are there"
    ))
}

/// Half a group behind the last whole one: its header and no more.
fn tear_segment(path: &Path) -> Result<(), Trouble> {
    let mut bytes = std::fs::read(path)?;
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let first: Vec<u8> = bytes.iter().skip(32).take(40).copied().collect();
    bytes.resize(bytes.len().max(end + 48), 0);
    bytes
        .iter_mut()
        .skip(end + 1)
        .zip(first)
        .for_each(|(to, from)| *to = from);
    Ok(std::fs::write(path, bytes)?)
}

/// What a start on damaged files must come to.
enum Wanted {
    /// One of these exit codes, with all these words in the message.
    Refused(&'static [i32], &'static [&'static str]),
    /// It opens, nothing acknowledged is missing, and the log says this.
    Mended(&'static str),
}

struct Case {
    name: &'static str,
    damage: fn(&Path) -> Result<(), Trouble>,
    wanted: Wanted,
}

const ADVICE: &str = "do not delete anything";

const CASES: &[Case] = &[
    Case {
        name: "bit flipped in the middle of the write-ahead log",
        damage: |data| {
            let log = largest(&data.join("db"), ".log")?;
            flip(&log, length(&log)? / 2)
        },
        wanted: Wanted::Refused(&[23], &["store.engine_damaged", "/db", ADVICE]),
    },
    Case {
        name: "write-ahead log deleted",
        damage: |data| Ok(std::fs::remove_file(largest(&data.join("db"), ".log")?)?),
        wanted: Wanted::Refused(&[23, 24], &["store.", "/db", ADVICE]),
    },
    Case {
        name: "write-ahead log emptied",
        damage: |data| cut(&largest(&data.join("db"), ".log")?, u64::MAX),
        wanted: Wanted::Refused(&[23, 24], &["store.", "/db", ADVICE]),
    },
    Case {
        name: "write-ahead log cut by half",
        damage: |data| {
            let log = largest(&data.join("db"), ".log")?;
            cut(&log, length(&log)? / 2)
        },
        wanted: Wanted::Refused(&[23, 24], &["store.", "/db", ADVICE]),
    },
    Case {
        name: "table file deleted",
        damage: |data| Ok(std::fs::remove_file(largest(&data.join("db"), ".sst")?)?),
        wanted: Wanted::Refused(&[23], &["store.engine_damaged", ".sst", ADVICE]),
    },
    Case {
        name: "MANIFEST deleted",
        damage: |data| {
            let name = std::fs::read_to_string(data.join("db/CURRENT"))?;
            Ok(std::fs::remove_file(data.join("db").join(name.trim()))?)
        },
        wanted: Wanted::Refused(&[23], &["MANIFEST", ADVICE]),
    },
    Case {
        name: "bit flipped in the MANIFEST",
        damage: |data| {
            let name = std::fs::read_to_string(data.join("db/CURRENT"))?;
            flip(&data.join("db").join(name.trim()), 60)
        },
        wanted: Wanted::Refused(&[23], &["store.engine_damaged", "/db", ADVICE]),
    },
    Case {
        name: "CURRENT deleted",
        damage: |data| Ok(std::fs::remove_file(data.join("db/CURRENT"))?),
        wanted: Wanted::Refused(&[22, 23], &["CURRENT"]),
    },
    Case {
        name: "engine deleted",
        damage: |data| Ok(std::fs::remove_dir_all(data.join("db"))?),
        wanted: Wanted::Refused(&[22], &["store.engine_missing", "/db", "restore a backup"]),
    },
    Case {
        name: "control file deleted",
        damage: |data| Ok(std::fs::remove_file(data.join("control"))?),
        wanted: Wanted::Refused(&[21], &["store.control_missing", "/control", "restore"]),
    },
    Case {
        name: "one slot of the control file flipped",
        damage: |data| flip(&data.join("control"), 40),
        wanted: Wanted::Mended("one slot of the control file is damaged"),
    },
    Case {
        name: "both slots of the control file flipped",
        damage: |data| {
            flip(&data.join("control"), 40)?;
            flip(&data.join("control"), 8192 + 40)
        },
        wanted: Wanted::Refused(&[20], &["store.control_damaged", "/control", "restore"]),
    },
    Case {
        name: "control file emptied",
        damage: |data| Ok(std::fs::write(data.join("control"), b"")?),
        wanted: Wanted::Refused(&[20], &["store.control_damaged", "/control", "restore"]),
    },
    Case {
        name: "header of a segment flipped",
        damage: |data| {
            for index in files(&data.join("auth-log"), ".idx") {
                std::fs::remove_file(index)?;
            }
            flip(&largest(&data.join("auth-log"), ".seg")?, 3)
        },
        wanted: Wanted::Refused(&[1], &["auth-log", "segment", "move the file away"]),
    },
    Case {
        name: "record of a segment flipped",
        damage: |data| {
            for index in files(&data.join("auth-log"), ".idx") {
                std::fs::remove_file(index)?;
            }
            flip(&largest(&data.join("auth-log"), ".seg")?, 200)
        },
        wanted: Wanted::Mended("damaged in the middle"),
    },
    Case {
        name: "index of a segment flipped",
        damage: |data| {
            let index = largest(&data.join("auth-log"), ".idx")?;
            flip(&index, length(&index)? / 2)
        },
        wanted: Wanted::Mended(""),
    },
    Case {
        name: "cluster key deleted",
        damage: |data| Ok(std::fs::remove_file(data.join("keys/cluster.key"))?),
        wanted: Wanted::Refused(&[1, 20, 21, 22, 23, 24, 25, 26], &["cluster.key"]),
    },
    Case {
        name: "bit flipped in the cluster key",
        damage: |data| {
            let key = data.join("keys/cluster.key");
            flip(&key, length(&key)? / 2)
        },
        wanted: Wanted::Refused(&[1, 20, 21, 22, 23, 24, 25, 26], &["cluster.key"]),
    },
];

fn damaged_files(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = used(rig, folder.path())?;
    let base = folder.path().join("base");
    copy(&world.data, &base)?;
    let known = world.known.clone();
    let (mut refused, mut mended, mut findings) = (0, 0, Vec::new());
    for case in CASES {
        copy(&base, &world.data)?;
        world.known = known.clone();
        world.known.has_auth_log = !case.name.contains("of a segment");
        (case.damage)(&world.data)?;
        let ended = match &case.wanted {
            Wanted::Refused(codes, words) => is_refused(&world, codes, words).map(|()| refused += 1),
            Wanted::Mended(word) => is_mended(&mut world, word).map(|()| mended += 1),
        };
        match ended {
            Ok(()) => {}
            Err(Trouble::Wrong(finding)) => findings.push(format!("{}: {finding}", case.name)),
            Err(other) => return Err(other),
        }
    }
    if !findings.is_empty() {
        return wrong(findings.join("\n  "));
    }
    Ok(format!("{refused} refused with exit code and advice, {mended} mended"))
}

/// Refused, and again: a refusal must not be what makes the next start pass.
fn is_refused(world: &World, codes: &[i32], words: &[&str]) -> Result<(), Trouble> {
    for _ in 0..2 {
        match world.start("")? {
            Started::Up(_) => return wrong("opened although it must not"),
            Started::Ended { code, log } => {
                let is_expected = code.is_some_and(|code| codes.contains(&code));
                let missing: Vec<_> = words.iter().filter(|word| !log.contains(**word)).collect();
                if !is_expected || !missing.is_empty() {
                    return wrong(format!("exit {code:?}, message lacks {missing:?}: {}", tail(&log)));
                }
            }
        }
    }
    Ok(())
}

fn is_mended(world: &mut World, word: &str) -> Result<(), Trouble> {
    let server = world.up("")?;
    if !server.log().contains(word) {
        return wrong(format!("does not say `{word}`: {}", tail(&server.log())));
    }
    world.audit(server)?;
    Ok(())
}

/// Opening need not read every block; whoever does must get an error, never something else.
fn damaged_table(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = used(rig, folder.path())?;
    let base = folder.path().join("base");
    copy(&world.data, &base)?;
    let known = world.known.clone();
    let (mut refused, mut found, mut tried) = (0, 0, 0);
    for table in files(&base.join("db"), ".sst") {
        let name = table.file_name().unwrap_or_default().to_owned();
        copy(&base, &world.data)?;
        world.known = known.clone();
        flip(&world.data.join("db").join(&name), 30)?;
        tried += 1;
        match world.start("")? {
            Started::Ended {
                code: Some(20..=29),
                log,
            } if log.contains("store.") => refused += 1,
            Started::Ended { code, log } => return wrong(format!("{name:?}: exit {code:?}: {}", tail(&log))),
            Started::Up(server) => match world.audit(server) {
                // A lost valid token is the one thing that must not come of it.
                Err(Trouble::Wrong(finding)) if finding.contains("must be valid") => {
                    return wrong(format!("{name:?}: {finding}"));
                }
                Err(Trouble::Wrong(_)) => found += 1,
                Err(other) => return Err(other),
                Ok(_) => return wrong(format!("{name:?}: a flipped byte was noticed by nobody")),
            },
        }
    }
    if tried == 0 {
        return wrong("there was no table file to damage");
    }
    Ok(format!(
        "{tried} table files: {refused} refused at the start, {found} found by the checks"
    ))
}

/// Frames written damaged, which only the journal's own chain can tell.
fn damaged_frames(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up("flip_frames")?;
    world.work(caller(&server), |work| work.until_acknowledged(300))?;
    server.kill()?;
    let at_verify = match world.verify() {
        Ok(frames) => return wrong(format!("{frames} frames are sound although every sixteenth is not")),
        Err(Trouble::Wrong(finding)) => finding,
        Err(other) => return Err(other),
    };
    let names_it = ["journal 0000", "store.journal_damaged"]
        .iter()
        .any(|word| at_verify.contains(word));
    if !names_it {
        return wrong(format!("db verify says only {at_verify}"));
    }
    // Behind the floor they are needed at the start; before it they are history.
    match world.start("")? {
        Started::Ended { code: Some(25), log } if log.contains("store.journal_damaged") && log.contains(ADVICE) => {
            Ok("db verify names the frame; the start is refused with exit 25".into())
        }
        Started::Ended { code, log } => wrong(format!("exit {code:?}: {}", tail(&log))),
        Started::Up(server) => {
            server.kill()?;
            Ok("db verify names the frame; the start, which does not need it, serves".into())
        }
    }
}

/// The engine of an older copy under today's control file.
pub fn yesterday(rig: &Rig, faults: &str) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(50))?;
    server.stop(STEP_MAX)?;
    let (older, data) = (folder.path().join("older"), world.data.clone());
    copy(&data.join("db"), &older)?;
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(50))?;
    server.stop(STEP_MAX)?;
    copy(&older, &data.join("db"))?;
    for _ in 0..2 {
        match world.start(faults)? {
            Started::Ended { code: Some(24), log } if log.contains("store.lost_data") && log.contains(ADVICE) => {}
            Started::Ended { code, log } => return wrong(format!("exit {code:?}: {}", tail(&log))),
            Started::Up(_) => return wrong("an engine older than the floor opened although it must not"),
        }
    }
    Ok("exit 24, store.lost_data, with both lsns and advice, twice".into())
}

fn yesterday_whole(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.stop(STEP_MAX)?;
    let older = folder.path().join("older");
    copy(&world.data, &older)?;
    let known = world.known.clone();
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.stop(STEP_MAX)?;
    copy(&older, &world.data)?;
    world.known = known;
    world.restart_and_audit()?;
    Ok("opens; everything of that day is there and whole".into())
}
