//! A file system that the kernel gives up and turns read-only, whoever has files open: what ext4 does by itself when it
//! meets an error in its metadata.

use std::path::{Path, PathBuf};
use std::time::Instant;

use seawall_tests::server::{Server, Started};

use crate::audit::Known;
use crate::mounts::{Mount, blank, format, needs, run, text};
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, caller, has_stopped, pause, tail};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "17",
        name: "read-only-remount",
        expected: "a file system that turns read-only: the process ends with a reason, nothing acknowledged is lost, a \
                   start on it is refused",
        run: between_syncs,
    },
    Scenario {
        number: "17",
        name: "read-only-in-a-sync",
        expected: "the same while syncs are under way: nothing acknowledged before is lost; how often the kernel then \
                   answers a sync with success that does not last is counted",
        run: in_a_sync,
    },
];

/// A file system on an image, with a server that works on it.
struct Victim {
    folder: tempfile::TempDir,
    image: PathBuf,
    mount: Mount,
    world: World,
}

impl Victim {
    fn new(rig: &Rig) -> Result<Self, Trouble> {
        needs(&["mkfs.ext4", "mount", "losetup"])?;
        let folder = rig.folder()?;
        let image = folder.path().join("image");
        blank(&image, 512)?;
        format(&["mkfs.ext4", "-q", "-F"], &image)?;
        let mount = Mount::image(&image, &folder.path().join("live"))?;
        let world = World::new(rig, &mount.at)?;
        Ok(Self {
            folder,
            image,
            mount,
            world,
        })
    }

    /// Gives the file system up under load; `still` first waits until no thread of the server is inside the kernel.
    /// Answers what the clients knew just before, and how a start on it is refused.
    fn give_up(&mut self, still: bool) -> Result<(Known, String), Trouble> {
        let mut server = self.world.up("")?;
        let mount = &self.mount;
        let (before, code) = self.world.work(caller(&server), |work| {
            work.until_acknowledged(60)?;
            let (before, done) = work.frozen(|| {
                if still {
                    hold(&server)?;
                }
                mount.remount("abort").map_err(Trouble::NotRun)?;
                Ok(server.signal("CONT")?)
            })?;
            done.and_then(|()| match server.ended(STEP_MAX) {
                Ok(code) => Ok((before, code)),
                Err(_) => wrong("the process goes on although nothing can be written"),
            })
        })?;
        if !server.log().contains("the process ends") {
            return wrong(format!("it ended with {code:?} and says only {}", tail(&server.log())));
        }
        match self.world.start("")? {
            Started::Ended { code, log } if has_stopped(code, &log) && log.contains("Read-only") => {
                Ok((before, format!("exit {code:?}")))
            }
            Started::Ended { code, log } => wrong(format!("exit {code:?}: {}", tail(&log))),
            Started::Up(_) => wrong("it serves on a read-only file system"),
        }
    }
}

/// Stops the process and waits until every thread of it has stopped, so that no call is under way.
fn hold(server: &Server) -> Result<(), Trouble> {
    server.signal("STOP")?;
    let deadline = Instant::now() + STEP_MAX;
    let tasks = PathBuf::from(format!("/proc/{}/task", server.pid()));
    while !is_stopped(&tasks)? {
        if Instant::now() > deadline {
            return wrong("the process does not stop");
        }
        pause(1);
    }
    Ok(())
}

fn is_stopped(tasks: &Path) -> Result<bool, Trouble> {
    for task in std::fs::read_dir(tasks)? {
        // A thread that ends meanwhile is no thread that runs.
        let stat = std::fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
        if !matches!(state, None | Some('T' | 't' | 'Z' | 'X')) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn between_syncs(rig: &Rig) -> Result<String, Trouble> {
    let (mut resolved, mut refused) = (0, String::new());
    for _ in 0..rig.times(2, 10) {
        let mut victim = Victim::new(rig)?;
        (_, refused) = victim.give_up(true)?;
        let Victim {
            image,
            mount,
            mut world,
            ..
        } = victim;
        let at = mount.at.clone();
        drop(mount);
        let again = Mount::image(&image, &at)?;
        resolved += world.restart_and_audit()?.resolved;
        drop(again);
    }
    Ok(format!(
        "ended with a reason, a start is refused ({refused}); writable again: {resolved} settled, nothing lost"
    ))
}

/// On ext4 a sync that is under way while the kernel gives the file system up may succeed and yet not last, in any
/// program (decision 0504). So the strict question is only about what was acknowledged before.
fn in_a_sync(rig: &Rig) -> Result<String, Trouble> {
    let rounds = rig.times(2, 20);
    let mut lied = 0;
    for _ in 0..rounds {
        let mut victim = Victim::new(rig)?;
        let (before, _) = victim.give_up(false)?;
        let Victim {
            folder,
            image,
            mount,
            mut world,
        } = victim;
        let at = mount.at.clone();
        drop(mount);
        let second = folder.path().join("second");
        run(&["cp", "--sparse=always", &text(&image), &text(&second)]).map_err(Trouble::Wrong)?;
        let again = Mount::image(&image, &at)?;
        let audited = world.restart_and_audit();
        drop(again);
        match audited {
            Ok(_) => {}
            Err(Trouble::Wrong(_)) => {
                let again = Mount::image(&second, &at)?;
                let audited = world.elsewhere(world.data.clone(), before).restart_and_audit();
                drop(again);
                audited?;
                lied += 1;
            }
            Err(other) => return Err(other),
        }
    }
    Ok(format!(
        "{rounds} times: nothing acknowledged before is lost; {lied} times the kernel answered a sync with success that \
         did not last"
    ))
}
