//! Memory that runs out: the kernel kills a server whose control group has too little, at any instant; and one with as
//! much as its plan says is never killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seawall_tests::server::{Server, Started};

use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{World, caller, keep_sessions, pause, tail};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "19",
        name: "out-of-memory",
        expected: "a control group with less memory than the load needs: the kernel kills; every acknowledged write is there",
        run: out_of_memory,
    },
    Scenario {
        number: "19",
        name: "memory-plan",
        expected: "a control group with exactly memory.budget_mib: never killed under load",
        run: plan_holds,
    },
];

/// The smallest budget there is, in MiB.
const BUDGET_MIB: u64 = 256;
const ROOT: &str = "/sys/fs/cgroup";

/// A control group with a limit of memory. Removed when dropped.
struct Cage {
    path: PathBuf,
    is_v2: bool,
}

impl Cage {
    fn new(name: &str, limit_bytes: u64) -> Result<Self, Trouble> {
        let group = format!("seawall-{}-{name}", std::process::id());
        let old = Path::new(ROOT).join("memory");
        let is_v2 = !old.join("memory.limit_in_bytes").is_file();
        let above = if is_v2 { PathBuf::from(ROOT) } else { old };
        let refused = |error: std::io::Error| {
            Trouble::NotRun(format!(
                "no control group for memory can be made here: {}: {error}",
                above.display()
            ))
        };
        if is_v2 {
            std::fs::write(above.join("cgroup.subtree_control"), "+memory").map_err(refused)?;
        }
        let cage = Self {
            path: above.join(group),
            is_v2,
        };
        std::fs::create_dir(&cage.path).map_err(refused)?;
        let file = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        std::fs::write(cage.path.join(file), limit_bytes.to_string()).map_err(refused)?;
        if is_v2 {
            // Absent where there is no swap.
            let _ = std::fs::write(cage.path.join("memory.swap.max"), "0");
        }
        Ok(cage)
    }

    /// Puts the program that follows into the group.
    fn wrapper(&self) -> Vec<String> {
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.path.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    /// A figure of a file with a name and a number in each line; 0 when it is not there.
    fn figure(&self, file: &str, name: &str) -> u64 {
        let text = std::fs::read_to_string(self.path.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    }

    /// How often the kernel killed in here.
    fn kills(&self) -> u64 {
        self.figure(
            if self.is_v2 {
                "memory.events"
            } else {
                "memory.oom_control"
            },
            "oom_kill",
        )
    }

    /// Memory in use that is no cache of a file, in bytes.
    fn own_bytes(&self) -> u64 {
        self.figure("memory.stat", if self.is_v2 { "anon" } else { "rss" })
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // The kernel lets go of it only once its last process is gone.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.path).is_ok() {
                return;
            }
            pause(20);
        }
    }
}

/// What a server in its own words of memory needs without load and under it.
fn needs_memory(world: &mut World) -> Result<(u64, u64), Trouble> {
    let cage = Cage::new("roomy", 4 << 30)?;
    let server = start_in(world, &cage)?;
    let Started::Up(server) = server else {
        return wrong("the server does not start with 4 GiB");
    };
    let at_rest = cage.own_bytes();
    let peak = loaded_peak(world, &server, &cage, 100)?;
    server.kill()?;
    world.restart_and_audit()?;
    Ok((at_rest, peak))
}

fn start_in(world: &mut World, cage: &Cage) -> Result<Started, Trouble> {
    world.launch.wrapper = cage.wrapper();
    let started = world.start("");
    world.launch.wrapper.clear();
    let started = started?;
    if let Started::Up(server) = &started {
        keep_sessions(server)?;
    }
    Ok(started)
}

/// The most memory of its own that is seen while so much is acknowledged.
fn loaded_peak(world: &mut World, server: &Server, cage: &Cage, more: u64) -> Result<u64, Trouble> {
    world.work(caller(server), |work| {
        let (wanted, mut peak) = (work.acknowledged() + more, 0);
        let deadline = Instant::now() + Duration::from_secs(120);
        while work.acknowledged() < wanted && Instant::now() < deadline && cage.kills() == 0 {
            peak = peak.max(cage.own_bytes());
            pause(2);
        }
        Ok(peak)
    })
}

fn out_of_memory(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    world
        .launch
        .arguments
        .extend(["--set".into(), format!("memory.budget_mib={BUDGET_MIB}")]);
    let (at_rest, peak) = needs_memory(&mut world)?;
    let (mut at_start, mut at_work, mut resolved) = (0, 0, 0);
    for round in 0..rig.times(8, 60) {
        let limit = at_rest + world.dice.within(0, peak.saturating_sub(at_rest) >> 10) * 1024;
        let cage = Cage::new(&round.to_string(), limit)?;
        match start_in(&mut world, &cage)? {
            Started::Ended { code: None, .. } if cage.kills() > 0 => at_start += 1,
            Started::Ended { code, log } => {
                return wrong(format!("in {limit} bytes: ended with {code:?}: {}", tail(&log)));
            }
            Started::Up(mut server) => {
                let ended = world.work(caller(&server), |_| Ok(server.ended(Duration::from_secs(6))))?;
                match ended {
                    Ok(None) if cage.kills() > 0 => at_work += 1,
                    Ok(code) => {
                        return wrong(format!(
                            "in {limit} bytes: ended with {code:?}: {}",
                            tail(&server.log())
                        ));
                    }
                    // Enough, this time.
                    Err(_) => server.kill()?,
                }
            }
        }
        resolved += world.restart_and_audit()?.resolved;
    }
    if at_work == 0 {
        return wrong(format!("never killed under load, {at_start} times at the start"));
    }
    Ok(format!(
        "needs {} MiB at rest and {} under load; killed {at_work} times under load and {at_start} at the start, {resolved} \
         unknown outcomes settled, none lost",
        at_rest >> 20,
        peak >> 20
    ))
}

fn plan_holds(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    world
        .launch
        .arguments
        .extend(["--set".into(), format!("memory.budget_mib={BUDGET_MIB}")]);
    let cage = Cage::new("plan", BUDGET_MIB << 20)?;
    let server = match start_in(&mut world, &cage)? {
        Started::Up(server) => server,
        Started::Ended { code, log } => return wrong(format!("ended with {code:?}: {}", tail(&log))),
    };
    let acknowledged = rig.times(1500, 10_000);
    let peak = loaded_peak(&mut world, &server, &cage, acknowledged)?;
    if cage.kills() > 0 {
        return wrong(format!(
            "killed by the kernel in {BUDGET_MIB} MiB after a peak of {} MiB",
            peak >> 20
        ));
    }
    world.audit(server)?;
    Ok(format!(
        "budget and limit {BUDGET_MIB} MiB, {} operations acknowledged: peak {} MiB without caches of files, never killed",
        world.known.acknowledged(),
        peak >> 20
    ))
}
