//! The order of system calls: a file system may forget a new name until its directory is synced, and most forget rarely
//! enough that no power cut shows it. So the calls themselves are read: every file that gets its name by `rename` is
//! synced before, and its directory after, by the same thread, before that thread goes on to another file.

use std::collections::HashMap;
use std::path::Path;

use crate::mounts::{needs_strace, text};
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    number: "7",
    name: "durable-names",
    expected: "every file is synced before it gets its name, and the name before it is relied on",
    run: |rig| names(rig, ""),
}];

/// A first start, load, rotation of a segment, and a stop, under strace.
pub fn names(rig: &Rig, faults: &str) -> Result<String, Trouble> {
    needs_strace()?;
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let log = folder.path().join("calls");
    let calls = "trace=rename,renameat,renameat2,fsync,fdatasync";
    world.launch.wrapper = [
        "strace",
        "-f",
        "-y",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "signal=none",
        "-e",
        calls,
        "-o",
        &text(&log),
    ]
    .map(str::to_owned)
    .to_vec();
    let server = world.up(faults)?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.stop(STEP_MAX)?;
    let calls = std::fs::read_to_string(&log)?;
    let checked = check(&calls, &world.data)?;
    if checked < 5 {
        return wrong(format!("only {checked} names were given: the trace missed them"));
    }
    Ok(format!("{checked} names given by rename, each synced before and after"))
}

/// Per thread: files synced, and the name whose directory is not synced yet.
#[derive(Default)]
struct Thread {
    synced: Vec<String>,
    open: Option<(String, String)>,
}

/// How many names of the store were given properly.
fn check(calls: &str, data: &Path) -> Result<usize, Trouble> {
    let mut threads: HashMap<&str, Thread> = HashMap::new();
    let mut checked = 0;
    for line in calls.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let state = threads.entry(thread).or_default();
        if call.starts_with("rename") {
            let names: Vec<&str> = call.split('"').skip(1).step_by(2).collect();
            let [from, to] = names[..] else { continue };
            if !is_ours(Path::new(to), data) || !call.ends_with("= 0") {
                continue;
            }
            if let Some((_, name)) = &state.open {
                return wrong(format!(
                    "the name of {name} is not made durable before {to} gets its own"
                ));
            }
            if !state.synced.iter().any(|synced| synced == from) {
                return wrong(format!(
                    "the content of {to} is not made durable before it gets its name"
                ));
            }
            let parent = Path::new(to).parent().map(text).unwrap_or_default();
            state.open = Some((parent, to.to_owned()));
            checked += 1;
        } else if let Some(path) = call.split(['<', '>']).nth(1) {
            if state.open.as_ref().is_some_and(|(parent, _)| parent == path) {
                state.open = None;
            }
            state.synced.push(path.to_owned());
        }
    }
    match threads.values().find_map(|thread| thread.open.as_ref()) {
        Some((_, name)) => wrong(format!("the name of {name} is not made durable")),
        None => Ok(checked),
    }
}

/// Sockets and the engine's own log of events are no data.
fn is_ours(path: &Path, data: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.starts_with(data) && !name.starts_with("LOG") && !name.ends_with(".sock")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "7 fsync(5</d/control.tmp>) = 0\n\
                        7 rename(\"/d/control.tmp\", \"/d/control\") = 0\n\
                        8 fdatasync(9</d/db/000004.log>) = 0\n\
                        7 fsync(6</d>) = 0\n";

    #[test]
    fn each_step_of_a_replacement_is_needed() {
        let data = Path::new("/d");
        assert_eq!(check(GOOD, data).unwrap(), 1);
        for step in ["7 fsync(5</d/control.tmp>) = 0\n", "7 fsync(6</d>) = 0\n"] {
            assert!(check(&GOOD.replace(step, ""), data).is_err(), "{step}");
        }
        assert_eq!(check(GOOD, Path::new("/elsewhere")).unwrap(), 0);
    }
}
