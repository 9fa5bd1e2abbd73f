//! Disks that fail: errors of a sync, a block device that breaks and works again, slow syncs.

use seawall_tests::server::Started;

use crate::mounts::{Mount, blank, format, needs, needs_strace, run, text};
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller, pause, tail};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "13, 14",
        name: "sync-error",
        expected: "EIO at the n-th sync: the process ends without answering, or does not start and says why; after a \
                   restart every write is whole or absent",
        run: |rig| sync_errors(rig, "fdatasync"),
    },
    Scenario {
        number: "13",
        name: "file-sync-error",
        expected: "the same for syncs of whole files and directories: control file, names",
        run: |rig| sync_errors(rig, "fsync"),
    },
    Scenario {
        number: "15",
        name: "device-error",
        expected: "a block device that fails and then works again: the process ends at the first error; nothing \
                   acknowledged is lost, nothing lost is acknowledged",
        run: device_error,
    },
    Scenario {
        number: "18",
        name: "slow-sync",
        expected: "5 s slow syncs: checks of tokens go on, writes wait, nothing is lost, the queue stays bounded",
        run: slow_sync,
    },
];

/// Positions tried in the short run; the long one tries all until none fires.
const POSITIONS: &[u64] = &[1, 2, 3, 4, 5, 6, 8, 11, 15, 20, 30, 45];
const POSITIONS_MAX: u64 = 300;

fn sync_errors(rig: &Rig, call: &str) -> Result<String, Trouble> {
    needs_strace()?;
    let all: Vec<u64> = (1..=POSITIONS_MAX).collect();
    let short = if call == "fdatasync" {
        POSITIONS
    } else {
        POSITIONS.get(..6).unwrap_or(POSITIONS)
    };
    let positions = if rig.soak { &all } else { short };
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    world.up("")?.stop(STEP_MAX)?;
    let (mut refused, mut ended, mut survived, mut resolved) = (0, 0, 0, 0);
    for position in positions {
        let before = world.launch.wrapper.clone();
        let inject = format!("inject={call}:error=EIO:when={position}");
        let log = text(&folder.path().join("calls"));
        let trace = format!("trace={call}");
        let words = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            "signal=none",
            "-e",
            &trace,
            "-e",
            &inject,
            "-o",
            &log,
        ];
        world.launch.wrapper = words.map(str::to_owned).to_vec();
        let started = world.start("")?;
        world.launch.wrapper = before;
        match started {
            Started::Ended { code, log } => {
                let words = ["store.", "auth log", "ends so that", "Input/output error"];
                let is_said = words.iter().any(|word| log.contains(word));
                if code == Some(0) || !is_said {
                    return wrong(format!("{call} {position}: exit {code:?} says only {}", tail(&log)));
                }
                refused += 1;
            }
            Started::Up(mut server) => {
                let over = world.work(caller(&server), |work| {
                    let begun = work.acknowledged();
                    while work.acknowledged() < begun + 150 {
                        if server.ended(std::time::Duration::ZERO).is_ok() {
                            return Ok(true);
                        }
                        pause(5);
                    }
                    Ok(false)
                })?;
                if over {
                    ended += 1;
                } else {
                    server.signal("KILL")?;
                    survived += 1;
                }
                if over && !server.log().contains("the process ends") {
                    return wrong(format!(
                        "{call} {position}: ended, and says only {}",
                        tail(&server.log())
                    ));
                }
            }
        }
        let fired = std::fs::read_to_string(folder.path().join("calls"))
            .unwrap_or_default()
            .contains("(INJECTED)");
        let audited = world
            .restart_and_audit()
            .map_err(|trouble| at(trouble, call, *position))?;
        resolved += audited.resolved;
        if rig.soak && !fired {
            break;
        }
    }
    Ok(format!(
        "{} positions: {ended} ended the process, {refused} stopped the start, {survived} were survived; {resolved} unknown \
         outcomes settled",
        refused + ended + survived
    ))
}

fn at(trouble: Trouble, call: &str, position: u64) -> Trouble {
    match trouble {
        Trouble::Wrong(finding) => Trouble::Wrong(format!("after EIO at {call} {position}: {finding}")),
        other => other,
    }
}

/// A process that ends with its owner.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file served by nbdkit as one more file, which fails while a trigger file exists; ext4 through a loop device on it.
fn device_error(rig: &Rig) -> Result<String, Trouble> {
    needs(&["nbdkit", "nbdfuse", "mkfs.ext4", "losetup"])?;
    let folder = rig.folder()?;
    let (image, trigger, view) = (
        folder.path().join("image"),
        folder.path().join("fail"),
        folder.path().join("view"),
    );
    blank(&image, 512)?;
    std::fs::write(&view, b"")?;
    let mut nbd = std::process::Command::new("nbdfuse");
    nbd.args([
        &text(&view),
        "[",
        "nbdkit",
        "--exit-with-parent",
        "--filter=error",
        "file",
    ]);
    nbd.args([&format!("file={}", text(&image)), "error=EIO", "error-rate=100%"]);
    nbd.args([&format!("error-file={}", text(&trigger)), "]"]);
    let _nbd = Daemon(
        nbd.stdin(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()?,
    );
    let _view = Unmount(view.clone());
    for _ in 0..500 {
        if std::fs::metadata(&view).is_ok_and(|meta| meta.len() > 0) {
            break;
        }
        pause(10);
    }
    if !std::fs::metadata(&view).is_ok_and(|meta| meta.len() > 0) {
        return Err(Trouble::NotRun("nbdfuse does not work here".into()));
    }
    format(&["mkfs.ext4", "-q", "-F"], &view)?;
    let mount = Mount::image(&view, &folder.path().join("live"))?;
    let mut world = World::new(rig, &mount.at)?;
    let mut server = world.up("")?;
    let failed = world.work(caller(&server), |work| {
        work.until_acknowledged(60)?;
        std::fs::write(&trigger, b"")?;
        let ended = server.ended(STEP_MAX);
        pause(500);
        std::fs::remove_file(&trigger)?;
        ended.map_err(|_| Trouble::Wrong("the process goes on although its disk fails".into()))
    });
    let code = failed?;
    let said = server.log().contains("the process ends");
    drop(server);
    let at = mount.at.clone();
    drop(mount);
    // The device works again; a new mount replays what the file system wrote.
    let again = Mount::image(&view, &at)?;
    let audited = world.restart_and_audit();
    drop(again);
    let audited = audited?;
    if !said {
        return wrong("it ended without saying why");
    }
    Ok(format!(
        "ended at the first error ({code:?}); after it {} unknown outcomes settled, none lost",
        audited.resolved
    ))
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = run(&["fusermount3", "-u", &text(&self.0)]);
    }
}

fn slow_sync(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let mut world = World::new(rig, folder.path())?;
    let server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(100))?;
    server.stop(STEP_MAX)?;
    let stall_ms = rig.times(1500, 5000);
    let server = world.up(&format!("stall@commit.after_sync:{stall_ms}"))?;
    let usable = |player: &&mut crate::book::Player| player.restriction.is_none() && player.live().next().is_some();
    let token = world
        .known
        .books
        .iter_mut()
        .flat_map(|book| &mut book.players)
        .find(usable)
        .map(|player| {
            player.retired = true; // no client ends the session meanwhile
            player.access(player.live().next().unwrap_or(0)).to_owned()
        });
    let Some(token) = token else {
        return wrong("no player has a session");
    };
    let client = server.client();
    let (slowest, checks) = world.work(caller(&server), |_| {
        let (mut slowest, mut checks) = (std::time::Duration::ZERO, 0_u32);
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < u128::from(stall_ms) * 2 {
            let asked = std::time::Instant::now();
            let answer = client.verify(&token)?;
            slowest = slowest.max(asked.elapsed());
            checks += 1;
            if matches!(answer.text("/status"), "invalid" | "") {
                return wrong(format!("a valid token is answered {} {}", answer.status, answer.body));
            }
        }
        Ok((slowest, checks))
    })?;
    server.kill()?;
    world.restart_and_audit()?;
    if slowest.as_millis() * 3 > u128::from(stall_ms) {
        return wrong(format!("a token check took {slowest:?} while syncs took {stall_ms} ms"));
    }
    Ok(format!(
        "syncs of {stall_ms} ms: {checks} token checks went on, the slowest took {} ms",
        slowest.as_millis()
    ))
}
