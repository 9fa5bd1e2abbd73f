//! The command `account import` on a big file, its server killed in the middle, again and again: it resumes, and the end
//! equals that of an undisturbed import.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use seawall_tests::accounts::{PEPPER, Plan, password, username, write};
use serde_json::{Value, json};

use crate::scenario::{Rig, Scenario, Trouble, wrong};
use crate::world::{STEP_MAX, World, pause};

const COUNT: u64 = 60_000;
const FIRST_UID: u64 = 100_000;

pub const SCENARIOS: &[Scenario] = &[Scenario {
    number: "1",
    name: "import-kill",
    expected: "an import whose server is killed twice resumes; every account once, with its uid and its old password",
    run: import_kill,
}];

fn command(world: &World, file: &Path, pepper: &Path) -> Command {
    let mut command = Command::new(&world.launch.binary);
    command
        .args(["account", "import"])
        .arg(file)
        .arg("--pepper-file")
        .arg(pepper)
        .args(["--json", "--data"]);
    command.arg(&world.data).stdin(Stdio::null());
    command
}

fn import_kill(rig: &Rig) -> Result<String, Trouble> {
    let folder = rig.folder()?;
    let world = World::new(rig, folder.path())?;
    let (file, pepper) = (folder.path().join("accounts.ndjson"), folder.path().join("pepper"));
    std::fs::write(&pepper, PEPPER)?;
    let plan = Plan {
        count: COUNT,
        first_uid: FIRST_UID,
        seed: rig.seed,
        csv: false,
    };
    write(plan, &mut std::io::BufWriter::new(std::fs::File::create(&file)?))?;
    let mut stood = Vec::new();
    for milestone in [COUNT / 4, COUNT / 2] {
        let server = world.up("")?;
        let mut import = command(&world, &file, &pepper)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let admin = seawall_tests::admin::Admin::new(Path::new(server.fact("admin_socket")));
        let path = format!(
            "/admin/v1/accounts/show?realm_id=1&username={}",
            username(FIRST_UID + milestone)
        );
        let deadline = Instant::now() + STEP_MAX;
        while admin.get(&path)?.status != 200 {
            if Instant::now() > deadline {
                return wrong("the import does not get on");
            }
            pause(5);
        }
        server.kill()?;
        let _ = import.kill();
        import.wait()?;
        stood.push(milestone);
    }
    let server = world.up("")?;
    let said = command(&world, &file, &pepper).output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap_or(Value::Null);
    let number = |name: &str| summary.get(name).and_then(Value::as_u64);
    if !said.status.success() || number("lines") != Some(COUNT) || number("refused") != Some(0) {
        return wrong(format!(
            "the import ended with {:?}: {summary} {}",
            said.status,
            String::from_utf8_lossy(&said.stderr)
        ));
    }
    if number("created") != Some(COUNT) {
        return wrong(format!("not every account was made once: {summary}"));
    }
    let client = server.client();
    for uid in [FIRST_UID, FIRST_UID + 1, FIRST_UID + COUNT / 2, FIRST_UID + COUNT - 1] {
        let credential = json!({"kind": "username", "username": username(uid), "password": password(uid)});
        let login = client.login("/sdk/v1/sessions", "device", &credential)?;
        let is_right = login.status == 403 || (login.status == 200 && login.text("/player_id") == uid.to_string());
        if !is_right {
            return wrong(format!("uid {uid} logs in with {} {}", login.status, login.body));
        }
    }
    server.kill()?;
    world.verify()?;
    Ok(format!(
        "killed at {stood:?} of {COUNT} lines; resumed, {COUNT} accounts made once"
    ))
}
