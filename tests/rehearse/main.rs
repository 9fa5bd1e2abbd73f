//! `seawall rehearse` as an operator runs it: the real binary, on data of a demo, with and without a server beside it, and against one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use seawall_tests::server::{Server, binary};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How often a rehearsal is begun whose loader was late, because this machine does other things too.
const ATTEMPTS: usize = 4;
const STOP_MAX: Duration = Duration::from_secs(30);
/// A rehearsal of a few seconds that any host carries.
const SMALL: [&str; 8] = [
    "--players",
    "200",
    "--duration",
    "1",
    "--rate",
    "20",
    "--steps",
    "0.5,1,2",
];

/// A data directory that a demo server has used and left.
struct Demo {
    root: TempDir,
}

impl Demo {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let demo = Self { root };
        let server = demo.serve();
        for device in ["a", "b", "c"] {
            let answer = server
                .client()
                .login("/sdk/v1/accounts", device, &json!({"kind": "guest"}))
                .unwrap();
            assert_eq!(answer.status, 201);
        }
        assert!(server.stop(STOP_MAX).unwrap());
        demo
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn file(&self, name: &str) -> String {
        self.root.path().join(name).display().to_string()
    }

    fn serve(&self) -> Server {
        Server::start(&self.data()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary().unwrap());
        command
            .args(["rehearse", "--json", "--data"])
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Rehearses until the loader was in time; one test at a time, for all loaders want the same processor.
    fn rehearse(&self, arguments: &[&str]) -> (Output, Value) {
        let turn = std::fs::File::create(std::env::temp_dir().join("seawall-tests-rehearse.lock")).unwrap();
        turn.lock().unwrap();
        let mut left = ATTEMPTS;
        loop {
            let output = self.command(arguments).output().unwrap();
            let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let steps = told["steps"].as_array().cloned().unwrap_or_default();
            left -= 1;
            let is_late =
                steps.iter().any(|step| step["is_void"] == true) || told["knee"].is_null() && !steps.is_empty();
            if !is_late || left == 0 {
                return (output, told);
            }
        }
    }

    fn has_copy(&self) -> bool {
        self.data().join("rehearsal-tmp").exists()
    }
}

/// Every file below a directory with its content.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else if path.is_file() {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn check(output: &Output, told: &Value, mode: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    // On a machine that is never quiet the loader stays late, and that is said.
    if told["carries"]
        .as_str()
        .is_some_and(|text| text.starts_with("The loader was late"))
    {
        assert_eq!(output.status.code(), Some(3), "{said}\n{told}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}\n{told}");
    assert_eq!(
        (told["mode"].as_str(), told["false_invalids"].as_u64()),
        (Some(mode), Some(0))
    );
    let steps = told["steps"].as_array().unwrap();
    assert_eq!(
        steps
            .iter()
            .map(|step| step["factor"].as_f64().unwrap())
            .collect::<Vec<_>>(),
        [0.5, 1.0, 2.0]
    );
    for step in steps {
        assert!(step["goodput_units_per_s"].as_f64().unwrap() > 0.0, "{step}");
        assert!(step["calls"]["verify"]["p99_ms"].as_f64().unwrap() > 0.0, "{step}");
        assert_eq!(step["admission"].is_null(), mode == "target", "{step}");
    }
    assert!(told["knee"]["factor"].as_f64().is_some() && told["knee_rule"].as_str().is_some());
    assert!(told["carries"].as_str().unwrap().contains("players"), "{told}");
}

#[test]
fn a_copy_of_stopped_data_is_rehearsed_on_and_removed() {
    let demo = Demo::new();
    let before = content(&demo.data());
    let (report, proposal) = (demo.file("report.html"), demo.file("proposal.toml"));
    let files = ["--report", &report, "--proposal", &proposal];
    let (output, told) = demo.rehearse(&[&SMALL[..], &files].concat());
    check(&output, &told, "local");
    assert!(told["proposals"].is_array(), "{told}");
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && !page.contains("<script"));
    let checked = Command::new(binary().unwrap())
        .args(["config", "check", "--config", &proposal])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(!demo.has_copy());
    let after = content(&demo.data());
    let changed: Vec<_> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "the original was touched: {changed:?}");
}

#[test]
fn a_running_server_makes_the_copy_and_goes_on() {
    let demo = Demo::new();
    let server = demo.serve();
    let entry = server
        .client()
        .login("/sdk/v1/accounts", "d", &json!({"kind": "guest"}))
        .unwrap();
    let refused = demo.command(&SMALL).output().unwrap();
    assert_eq!(
        refused.status.code(),
        Some(2),
        "its players would notice: somebody has to say yes"
    );
    let (output, told) = demo.rehearse(&[&SMALL[..], &["--yes"]].concat());
    check(&output, &told, "local");
    assert!(
        told["whom"].as_str().unwrap().contains("made by the running server"),
        "{told}"
    );
    assert!(!demo.has_copy());
    let token = entry.text("/session/access_token");
    assert_eq!(server.client().verify(token).unwrap().text("/status"), "valid");
    let games = Command::new(binary().unwrap())
        .args(["game", "list", "--json", "--data"])
        .arg(demo.data())
        .output()
        .unwrap();
    assert!(games.status.success() && !String::from_utf8_lossy(&games.stdout).contains("rehearsal"));
}

#[test]
fn a_target_is_driven_with_marked_accounts() {
    let demo = Demo::new();
    let server = demo.serve();
    let secret = demo.file("secret");
    std::fs::write(&secret, server.fact("secret")).unwrap();
    let target = [
        "--target",
        server.fact("plain_url"),
        "--game",
        server.fact("game_id"),
        "--package",
        server.fact("package_id"),
        "--key",
        server.fact("key_id"),
        "--secret-file",
        &secret,
    ];
    let asked = demo.command(&[&SMALL[..], &target].concat()).output().unwrap();
    assert_eq!(asked.status.code(), Some(2), "nobody said yes");
    let flood = demo
        .command(&[&target[..], &["--yes", "--rate", "100000"]].concat())
        .output()
        .unwrap();
    assert_eq!(flood.status.code(), Some(2), "there is a ceiling");
    let (output, told) = demo.rehearse(&[&SMALL[..], &target, &["--yes"]].concat());
    check(&output, &told, "target");
    for text in [&output.stdout, &output.stderr] {
        assert!(
            !String::from_utf8_lossy(text).contains(server.fact("secret")),
            "the secret was shown"
        );
    }
    assert!(!demo.has_copy());
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_that_is_interrupted_cleans_up() {
    let demo = Demo::new();
    let long = ["--players", "20", "--duration", "60", "--rate", "5", "--steps", "1"];
    let mut running = Killed(demo.command(&long).spawn().unwrap());
    let log = demo.data().join("rehearsal-tmp/rehearsal.log");
    wait_until("its server starts", || log.exists());
    let signalled = Command::new("kill")
        .args(["-INT", &running.0.id().to_string()])
        .status()
        .unwrap();
    assert!(signalled.success());
    let mut code = None;
    wait_until("it ends", || {
        code = running.0.try_wait().unwrap();
        code.is_some()
    });
    assert_eq!(code.unwrap().code(), Some(1));
    assert!(!demo.has_copy());
    // Nobody has the data any more.
    let server = demo.serve();
    assert!(server.stop(STOP_MAX).unwrap());
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + STOP_MAX;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}
