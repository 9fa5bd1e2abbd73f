//! The wall clock is stepped under load: a year forward, a day back, and right again.

use crate::book::Caller;
use crate::mounts::text;
use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{World, caller};

const DAY_MS: i64 = 86_400_000;

pub const SCENARIOS: &[Scenario] = &[Scenario {
    number: "52",
    name: "clock-steps",
    expected: "+1 year, right again, -1 day, right again, under load: no valid token is answered invalid, a jump is not \
               believed and said, no frame of the journal is deleted, every write stays",
    run: steps,
}];

/// Name, and the wall clock against the right one. The server's own idea of the time must stay right.
const STEPS: &[(&str, i64)] = &[
    ("+1 year", 365 * DAY_MS),
    ("right again", 0),
    ("-1 day", -DAY_MS),
    ("right again", 0),
];

fn steps(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let file = folder.path().join("clock");
    std::fs::write(&file, "0")?;
    let mut world = World::new(rig, folder.path())?;
    world.launch.env.push(("SEAWALL_CLOCK_FILE".into(), text(&file)));
    let mut server = world.up("")?;
    world.work(caller(&server), |work| work.until_acknowledged(150))?;
    let mut frames = 0;
    for (name, wall_ms) in STEPS {
        // Whole, or the server would read half of it.
        std::fs::write(file.with_extension("next"), wall_ms.to_string())?;
        std::fs::rename(file.with_extension("next"), &file)?;
        let caller = caller(&server);
        world.work(caller.clone(), |work| work.until_acknowledged(60))?;
        at_step(&world, &caller).map_err(|trouble| match trouble {
            Trouble::Wrong(finding) => Trouble::Wrong(format!("at {name}: {finding}")),
            other => other,
        })?;
        if *wall_ms == 0 {
            // What was written under the wrong clock is there after a crash, too.
            server.kill()?;
            let kept = world.verify()?;
            if kept < frames {
                return wrong(format!(
                    "at {name}: the journal kept {frames} frames before, {kept} now"
                ));
            }
            frames = kept;
            server = world.up("")?;
        } else if !server.log().contains("the wall clock jumped") {
            return wrong(format!("at {name}: the jump is not said"));
        }
    }
    world.audit(server)?;
    let names: Vec<&str> = STEPS.iter().map(|step| step.0).collect();
    Ok(format!("{}: tokens, writes and {frames} frames kept", names.join(", ")))
}

/// Every token known to be good is still no worse than "try again".
fn at_step(world: &World, caller: &Caller) -> Result<(), Trouble> {
    let (mut tokens, mut invalid) = (Vec::new(), Vec::new());
    for player in world.known.books.iter().flat_map(|book| &book.players) {
        tokens.extend(player.live().map(|session| player.access(session).to_owned()));
    }
    crate::load::verify_all(caller, &tokens, |_, answer| {
        if answer.text("/status") == "invalid" {
            invalid.push(answer.body.to_string());
        }
    })?;
    match invalid.first() {
        Some(first) => wrong(format!(
            "{} of {} good tokens are answered {first}",
            invalid.len(),
            tokens.len()
        )),
        None => Ok(()),
    }
}
