//! Power cuts: the disk as it is at an instant, without what the kernel still held in memory.

use seawall_tests::server::Started;

use crate::audit::Known;
use crate::mounts::Cuttable;
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{World, caller, pause, tail};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: "4, 7",
        name: "power-cut",
        expected: "no acknowledged write missing, unknown ones whole or absent, chain intact; cuts fall on control-file \
                   replacements too",
        run: |rig| cuts(rig, "", rig.times(10, 60)),
    },
    Scenario {
        number: "6",
        name: "power-cut-first-start",
        expected: "either absent or complete: a start after any cut of the first start works",
        run: first_start,
    },
];

/// Loads under these faults, cuts so many times, and audits every cut with what was known at its instant.
pub fn cuts(rig: &Rig, faults: &str, number: u64) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let disk = Cuttable::new(folder.path())?;
    let mut world = World::new(rig, &disk.live())?;
    let (mut acknowledged, mut resolved, mut tokens, mut begun) = (0, 0, 0, 0);
    // In batches, so that the copies of one disk stay few.
    for batch in 0..number.div_ceil(10) {
        let server = world.up(faults)?;
        let batch_size = (number - batch * 10).min(10);
        let mut dice = world.dice.fork(batch);
        let cuts = world.work(caller(&server), |work| {
            let mut cuts = Vec::new();
            for cut in 0..batch_size {
                work.until_acknowledged(30)?;
                pause(dice.within(20, 250));
                let (known, done) = work.frozen(|| disk.cut(cut))?;
                done?;
                cuts.push(known);
            }
            Ok(cuts)
        })?;
        server.kill()?;
        for (cut, mut known) in (0u64..).zip(cuts) {
            begun += 1;
            let audited = after_cut(&world, &disk, cut, &mut known)
                .map_err(|trouble| named(trouble, &format!("after power cut {begun}")))?;
            acknowledged = acknowledged.max(known.acknowledged());
            resolved += audited.resolved;
            tokens += audited.tokens;
        }
        // The live disk goes on: nothing was lost there.
        world.restart_and_audit()?;
    }
    Ok(format!(
        "{number} cuts, {acknowledged} operations acknowledged, {resolved} of unknown outcome settled, {tokens} tokens checked"
    ))
}

fn after_cut(world: &World, disk: &Cuttable, cut: u64, known: &mut Known) -> Result<crate::audit::Audited, Trouble> {
    let mount = disk.after(cut)?;
    let mut again = world.elsewhere(mount.at.join("data"), known.clone());
    let audited = again.restart_and_audit();
    drop(mount);
    disk.forget(cut);
    audited
}

fn named(trouble: Trouble, what: &str) -> Trouble {
    match trouble {
        Trouble::Wrong(finding) => Trouble::Wrong(format!("{what}: {finding}")),
        other => other,
    }
}

/// Cuts while a first start is held up at each of its steps, and while it runs.
fn first_start(rig: &Rig) -> Result<String, Trouble> {
    const POINTS: &[&str] = &[
        "control.before_rename",
        "control.after_rename",
        "open.created",
        "open.recovered",
        "index.build",
        "commit.before_write",
        "commit.after_sync",
    ];
    let folder = rig.folder()?;
    let disk = Cuttable::new(folder.path())?;
    let mut number = 0;
    for point in POINTS {
        let parent = disk.live().join(point);
        std::fs::create_dir_all(&parent)?;
        let world = World::new(rig, &parent)?;
        // Killed there, and the power goes at once: what was not synced is not on the copy.
        match world.start(&format!("kill@{point}"))? {
            Started::Ended { code: None, .. } => {}
            Started::Ended { code, log } => return wrong(format!("{point}: ended with {code:?}: {}", tail(&log))),
            Started::Up(_) => return wrong(format!("{point} was not passed")),
        }
        disk.cut(number)?;
        let mount = disk.after(number)?;
        let data = mount.at.join(point).join("data");
        std::fs::create_dir_all(&data)?;
        let mut after = world.elsewhere(data, world.known.clone());
        let server = after.up("").map_err(|trouble| named(trouble, point))?;
        after.work(caller(&server), |work| work.until_acknowledged(20))?;
        after.audit(server).map_err(|trouble| named(trouble, point))?;
        drop(mount);
        disk.forget(number);
        number += 1;
    }
    Ok(format!("{number} cuts, each start after it served"))
}
