//! The real binary, killed with SIGKILL: whatever was acknowledged before is there after.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seawall_tests::accounts::{Plan, password, username, write};
use seawall_tests::server::{Answer, Client, Server, binary};
use serde_json::{Value, json};

/// A data directory that outlives several starts.
struct Disk {
    _folder: tempfile::TempDir,
    data: PathBuf,
}

fn disk() -> Disk {
    let folder = tempfile::Builder::new().prefix("seawall-crash-").tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    Disk { _folder: folder, data }
}

/// Runs the CLI against the data directory (over the admin socket while a server runs).
fn cli(data: &std::path::Path, arguments: &[&str]) -> (i32, Value, String) {
    let output = Command::new(binary().unwrap())
        .args(arguments)
        .args(["--json", "--data"])
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code().unwrap_or(-1),
        serde_json::from_str(text.lines().last().unwrap_or("null")).unwrap_or(Value::Null),
        text + &errors,
    )
}

struct Player {
    name: String,
    account_id: String,
    access: String,
    refresh: String,
    logged_out: bool,
}

fn register(client: &Client, name: &str) -> Option<Player> {
    let credential = json!({"kind": "username", "username": name, "password": format!("{name}-secret")});
    let answer: Answer = client.login("/sdk/v1/accounts", name, &credential).ok()?;
    if answer.status != 201 {
        assert!(
            answer.status >= 500,
            "registration of {name} answered {} {}",
            answer.status,
            answer.body
        );
        return None;
    }
    Some(Player {
        name: name.to_owned(),
        account_id: answer.text("/account_id").to_owned(),
        access: answer.text("/session/access_token").to_owned(),
        refresh: answer.text("/session/refresh_token").to_owned(),
        logged_out: false,
    })
}

/// One writer: registers players and logs every third one out again, until told to stop or cut off.
fn write_until_cut(client: &Client, prefix: &str, stop: &AtomicBool, done: &AtomicU64) -> Vec<Player> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(mut player) = register(client, &format!("{prefix}x{number}")) else {
            continue;
        };
        if number % 3 == 0 {
            let answer = client.sdk("/sdk/v1/sessions/logout", Some(&player.access), &json!({}));
            match answer {
                Ok(answer) => {
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    player.logged_out = true;
                }
                Err(_) => continue, // outcome unknown: either is right
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
        acknowledged.push(player);
    }
    acknowledged
}

fn check(client: &Client, players: &[Player]) {
    for player in players {
        let verified = client.verify(&player.access).unwrap();
        assert_eq!(verified.status, 200, "{}", verified.body);
        let expected = if player.logged_out { "invalid" } else { "valid" };
        assert_eq!(
            verified.text("/status"),
            expected,
            "player {} after the crash: {}",
            player.name,
            verified.body
        );
        if player.logged_out {
            assert_eq!(verified.text("/reason"), "revoked");
        } else {
            assert_eq!(verified.text("/account_id"), player.account_id);
        }
    }
}

/// Logging in costs a password hash and replaces the older session; a few at the very end stand for all.
fn check_logins(client: &Client, players: &[Player]) {
    for player in players.iter().filter(|player| !player.logged_out).take(5) {
        let refreshed = client
            .sdk(
                "/sdk/v1/sessions/refresh",
                None,
                &json!({"refresh_token": player.refresh}),
            )
            .unwrap();
        assert_eq!(refreshed.status, 200, "{}", refreshed.body);
        let credential =
            json!({"kind": "username", "username": player.name, "password": format!("{}-secret", player.name)});
        let login = client.login("/sdk/v1/sessions", "another-device", &credential).unwrap();
        assert_eq!(
            (login.status, login.text("/account_id")),
            (200, player.account_id.as_str()),
            "{}",
            login.body
        );
    }
}

#[test]
fn acknowledged_registrations_and_logouts_survive_kill_9() {
    let disk = disk();
    let everyone: Mutex<Vec<Player>> = Mutex::new(Vec::new());
    for round in 0..3 {
        let server = Server::start(&disk.data).unwrap();
        let client = server.client();
        check(&client, &everyone.lock().unwrap());
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let (client, stop, done, everyone) = (client.clone(), &stop, &done, &everyone);
                scope.spawn(move || {
                    let players = write_until_cut(&client, &format!("r{round}w{writer}"), stop, done);
                    everyone.lock().unwrap().extend(players);
                });
            }
            let deadline = Instant::now() + Duration::from_secs(60);
            while done.load(Ordering::Relaxed) < 60 && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5)); // poll
            }
            server.kill().unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        assert!(done.load(Ordering::Relaxed) >= 60, "the load never got going");
    }
    let server = Server::start(&disk.data).unwrap();
    check(&server.client(), &everyone.lock().unwrap());
    check_logins(&server.client(), &everyone.lock().unwrap());
    assert!(
        server.stop(Duration::from_secs(60)).unwrap(),
        "a clean stop leaves with success"
    );
    let (code, report, text) = cli(&disk.data, &["db", "verify"]);
    assert_eq!(code, 0, "{text}");
    assert!(report.is_object(), "{text}");
}

#[test]
fn a_restriction_that_was_acknowledged_survives_kill_9() {
    let disk = disk();
    let server = Server::start(&disk.data).unwrap();
    let player = register(&server.client(), "restricted1").unwrap();
    let (code, _, text) = cli(
        &disk.data,
        &[
            "account",
            "restrict",
            "--account",
            &player.account_id,
            "--action",
            "login",
            "--reason",
            "cheating",
        ],
    );
    assert_eq!(code, 0, "{text}");
    server.kill().unwrap();
    let server = Server::start(&disk.data).unwrap();
    let verified = server.client().verify(&player.access).unwrap();
    assert_eq!(
        (verified.text("/status"), verified.text("/code")),
        ("denied", "account.restricted"),
        "{}",
        verified.body
    );
}

#[test]
fn an_import_killed_in_the_middle_resumes_and_equals_an_undisturbed_one() {
    const COUNT: u64 = 60_000;
    let disk = disk();
    let file = disk.data.with_extension("ndjson");
    write(
        Plan {
            count: COUNT,
            first_uid: 1000,
            seed: 3,
            csv: false,
        },
        &mut std::fs::File::create(&file).map(std::io::BufWriter::new).unwrap(),
    )
    .unwrap();
    let pepper = disk.data.with_extension("pepper");
    std::fs::write(&pepper, seawall_tests::accounts::PEPPER).unwrap();
    let arguments = [
        "account",
        "import",
        file.to_str().unwrap(),
        "--pepper-file",
        pepper.to_str().unwrap(),
    ];

    let mut server = Server::start(&disk.data).unwrap();
    for _ in 0..2 {
        let mut import = Command::new(binary().unwrap())
            .args(arguments)
            .args(["--json", "--data"])
            .arg(&disk.data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for_some_accounts(&disk.data);
        server.kill().unwrap();
        let _ = import.kill();
        let _ = import.wait();
        server = Server::start(&disk.data).unwrap();
    }
    let (code, summary, text) = cli(&disk.data, &arguments);
    assert_eq!(code, 0, "{text}");
    assert_eq!(summary.pointer("/lines").and_then(Value::as_u64), Some(COUNT), "{text}");
    assert_eq!(summary.pointer("/refused").and_then(Value::as_u64), Some(0), "{text}");
    let client = server.client();
    for uid in [1000, 1001, 1500, 30_000, 1000 + COUNT - 1] {
        let credential = json!({"kind": "username", "username": username(uid), "password": password(uid)});
        let login = client.login("/sdk/v1/sessions", "device", &credential).unwrap();
        let banned = login.status == 403;
        assert!(login.status == 200 || banned, "{uid}: {}", login.body);
        assert!(
            banned || login.text("/player_id") == uid.to_string(),
            "the uid stays the player id: {}",
            login.body
        );
    }
    let (code, again, text) = cli(&disk.data, &arguments);
    assert_eq!(code, 0, "{text}");
    assert_eq!(again.pointer("/lines").and_then(Value::as_u64), Some(COUNT), "{text}");
}

/// Until the first account of the file is in, or a deadline.
fn wait_for_some_accounts(data: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Instant::now() < deadline {
        let (code, _, _) = cli(data, &["account", "show", "--account", "1000"]);
        if code == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10)); // poll
    }
    panic!("the import wrote nothing in time");
}
