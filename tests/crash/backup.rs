//! Backups of the real binary under write load: made, archived, the server killed, and every acknowledged player found
//! again in what was restored, at an exact lsn, an exact instant, and the end. A drill proves it and can fail.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use seawall_tests::server::{Client, Failure, binary};
use serde_json::{Value, json};

const STATE_MAX: Duration = Duration::from_secs(60);
/// Players registered before each step goes on.
const STEP: usize = 25;

/// A place for backups, and what the program needs to reach it.
struct Place {
    target: String,
    settings: Vec<(&'static str, String)>,
    /// Flips one byte of the newest batch of the archive; gives the batch's good bytes back when called again.
    archive: Box<dyn Archive>,
}

/// What a test does to the archive behind the program's back.
trait Archive {
    fn flip_newest(&self);
    fn mend(&self);
}

struct Folder(PathBuf, Mutex<Vec<u8>>);

impl Folder {
    fn newest(&self) -> PathBuf {
        let batches = std::fs::read_dir(self.0.join("journal")).unwrap();
        batches.map(|entry| entry.unwrap().path()).max().unwrap()
    }
}

impl Archive for Folder {
    fn flip_newest(&self) {
        let mut bytes = std::fs::read(self.newest()).unwrap();
        self.1.lock().unwrap().clone_from(&bytes);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        std::fs::write(self.newest(), bytes).unwrap();
    }

    fn mend(&self) {
        std::fs::write(self.newest(), &*self.1.lock().unwrap()).unwrap();
    }
}

/// A server with backups; killed when dropped.
struct Platform {
    child: Child,
    facts: Value,
}

impl Platform {
    fn start(data: &Path, place: &Place) -> Result<Self, Failure> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data.with_extension("log"))?;
        let mut command = Command::new(binary()?);
        command
            .args(["demo", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data);
        for (key, value) in place.all_settings() {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.args([
            "--set",
            "backup.archive_interval_ms=1000",
            "--set",
            "backup.interval_h=0",
        ]);
        command.args(["--set", "backup.drill_interval_h=0"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        let facts = serde_json::from_str(&line)
            .map_err(|error| format!("{error}: see {}", data.with_extension("log").display()))?;
        Ok(Self { child, facts })
    }

    fn client(&self) -> Client {
        let fact = |name: &str| self.facts[name].as_str().unwrap_or_default();
        Client::new(
            fact("plain_url"),
            fact("game_id"),
            fact("package_id"),
            fact("key_id"),
            fact("secret"),
        )
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    fn all_settings(&self) -> Vec<(&'static str, String)> {
        let mut all = self.settings.clone();
        all.push(("backup.target", self.target.clone()));
        all
    }
}

struct Rig {
    _folder: tempfile::TempDir,
    data: PathBuf,
    place: Place,
}

impl Rig {
    fn new(place: impl FnOnce(&Path) -> Place) -> Self {
        let folder = tempfile::Builder::new().prefix("seawall-backup-").tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let place = place(folder.path());
        Self {
            _folder: folder,
            data,
            place,
        }
    }

    /// Runs the command line on `data`; exit code, the JSON it printed, all it said.
    fn cli(&self, data: &Path, arguments: &[&str]) -> (i32, Value, String) {
        let mut command = Command::new(binary().unwrap());
        command.args(arguments).args(["--json", "--data"]).arg(data);
        for (key, value) in self.place.all_settings() {
            command.args(["--set", &format!("{key}={value}")]);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let json = serde_json::from_str(said.lines().last().unwrap_or("null")).unwrap_or(Value::Null);
        (
            output.status.code().unwrap_or(-1),
            json,
            said + &String::from_utf8_lossy(&output.stderr),
        )
    }

    fn done(&self, arguments: &[&str]) -> Value {
        let (code, answer, said) = self.cli(&self.data, arguments);
        assert_eq!(code, 0, "{arguments:?}: {said}");
        answer
    }

    fn restore(&self, name: &str, arguments: &[&str]) -> (PathBuf, Value) {
        let into = self.data.with_file_name(name);
        let key = self.data.join("keys/backup.key");
        let mut all = vec![
            "restore",
            "--digest",
            "--from",
            &self.place.target,
            "--key-file",
            key.to_str().unwrap(),
        ];
        all.extend(["--into", into.to_str().unwrap()]);
        all.extend(arguments);
        let (code, answer, said) = self.cli(&self.data, &all);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("restoring ") && said.contains("lsn"),
            "says what it will do: {said}"
        );
        (into, answer)
    }

    fn head_lsn(&self) -> u64 {
        self.done(&["status"])["store"]["lsn"].as_u64().unwrap()
    }

    fn wait_for_archive(&self, lsn: u64) {
        let deadline = Instant::now() + STATE_MAX;
        while self.done(&["status"])["backup"]["archive"]["lsn"].as_u64().unwrap() < lsn {
            assert!(Instant::now() < deadline, "the archive does not reach lsn {lsn}");
            std::thread::sleep(Duration::from_millis(50)); // poll
        }
    }
}

/// A player whose registration was acknowledged.
#[derive(Clone)]
struct Player {
    name: String,
    access: String,
}

fn register_until(client: &Client, writer: usize, stop: &AtomicBool, players: &Mutex<Vec<Player>>) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("w{writer}x{number}");
        let credential = json!({"kind": "username", "username": name, "password": format!("{name}-secret")});
        // Cut off in the middle: whether that one is there is unknown, and nobody asks.
        let Ok(answer) = client.login("/sdk/v1/accounts", &name, &credential) else {
            return;
        };
        assert!(answer.status == 201 || answer.status >= 500, "{}", answer.body);
        if answer.status == 201 {
            let access = answer.text("/session/access_token").to_owned();
            players.lock().unwrap().push(Player { name, access });
        }
    }
}

fn wait_for_players(players: &Mutex<Vec<Player>>, more: usize) -> Vec<Player> {
    let (begun, deadline) = (players.lock().unwrap().len(), Instant::now() + STATE_MAX);
    while players.lock().unwrap().len() < begun + more {
        assert!(Instant::now() < deadline, "the load never got going");
        std::thread::sleep(Duration::from_millis(5)); // poll
    }
    players.lock().unwrap().clone()
}

fn assert_valid(client: &Client, players: &[Player]) {
    for player in players {
        let verified = client.verify(&player.access).unwrap();
        assert_eq!(
            (verified.status, verified.text("/status")),
            (200, "valid"),
            "{}: {}",
            player.name,
            verified.body
        );
    }
}

/// What was acknowledged at two points of the story, and the lsns and the instant that belong to them.
struct Story {
    first: Value,
    second: Value,
    before_second: Vec<Player>,
    at_end: Vec<Player>,
    end_lsn: u64,
}

/// Load, a backup, load, a backup, load, the archive catches up, kill -9.
fn play(rig: &Rig) -> Story {
    let platform = Platform::start(&rig.data, &rig.place).unwrap();
    let (players, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (client, stop, players) = (platform.client(), &stop, &players);
            scope.spawn(move || register_until(&client, writer, stop, players));
        }
        wait_for_players(&players, STEP);
        let first = rig.done(&["backup", "now"]);
        let before_second = wait_for_players(&players, STEP);
        let second = rig.done(&["backup", "now"]);
        let at_end = wait_for_players(&players, STEP);
        let end_lsn = rig.head_lsn();
        rig.wait_for_archive(end_lsn);
        platform.kill();
        stop.store(true, Ordering::Relaxed);
        Story {
            first,
            second,
            before_second,
            at_end,
            end_lsn,
        }
    })
}

fn a_story_comes_back(rig: &Rig) {
    let story = play(rig);
    let lsn = |made: &Value| made["lsn"].as_u64().unwrap();
    assert!(
        story.second["sent_files"].as_u64() < story.second["files"].as_u64(),
        "incremental: {}",
        story.second
    );
    let list = rig.done(&["backup", "list"]);
    let backups = list["backups"].as_array().unwrap();
    assert_eq!(backups.len(), 2, "{list}");

    // From the first backup to exactly the second: the digest the platform had there.
    let (first_id, second_lsn) = (story.first["id"].as_str().unwrap(), lsn(&story.second).to_string());
    let (into, restored) = rig.restore("at-lsn", &["--base", first_id, "--lsn", &second_lsn]);
    assert_eq!(restored["lsn"].as_u64(), Some(lsn(&story.second)));
    assert_eq!(restored["digest"], backups[1]["digest"], "equal data at an equal lsn");
    assert!(lsn(&story.first) < lsn(&story.second) && restored["frames"].as_u64() > Some(0));
    let platform = Platform::start(&into, &rig.place).unwrap();
    assert_valid(&platform.client(), &story.before_second);
    platform.kill();

    // To the instant of that same frame: the same place.
    let at = backups[1]["now_at"].as_u64().unwrap().to_string();
    let (_, by_time) = rig.restore("at-time", &["--base", first_id, "--at", &at]);
    assert!(
        by_time["lsn"].as_u64() >= restored["lsn"].as_u64(),
        "frames of one millisecond belong together: {by_time}"
    );
    assert!(by_time["now_at"].as_u64() <= backups[1]["now_at"].as_u64(), "{by_time}");

    // To the end.
    let (into, newest) = rig.restore("newest", &[]);
    assert!(newest["lsn"].as_u64().unwrap() >= story.end_lsn, "{newest}");
    let platform = Platform::start(&into, &rig.place).unwrap();
    assert_valid(&platform.client(), &story.at_end);
    platform.kill();
    let (code, report, said) = rig.cli(&into, &["db", "verify"]);
    assert_eq!((code, report["problem_count"].as_u64()), (0, Some(0)), "{said}");
}

/// Takes over one account, active or deleted, as an old platform exports it; its password is `secret`.
fn import(rig: &Rig, status: &str, changed_at: u64) {
    let file = rig.data.with_file_name("accounts.ndjson");
    let line = json!({
        "uid": 77, "username": "leaver", "password": "5ebe2294ecd0e0f08eab7690d2a6ee69", "password_recipe": "md5(password)",
        "status": status, "changed_at": changed_at,
    });
    std::fs::write(&file, format!("{line}\n")).unwrap();
    rig.done(&["account", "import", file.to_str().unwrap()]);
}

fn log_leaver_in(platform: &Platform) -> (u16, String) {
    let credential = json!({"kind": "username", "username": "leaver", "password": "secret"});
    let answer = platform.client().login("/sdk/v1/sessions", "d", &credential).unwrap();
    (answer.status, answer.text("/code").to_owned())
}

fn a_drill_can_fail(rig: &Rig) {
    play(rig);
    let green = rig.done(&["backup", "drill"]);
    assert!(
        green["problem"].is_null() && green["frames"].as_u64() > Some(0),
        "{green}"
    );
    let checked = rig.done(&["backup", "verify"]);
    assert_eq!(checked["problem_count"], 0, "{checked}");
    // The newest batch may lie beyond the newest backup, where the drill does not look: this makes it part of the way.
    rig.done(&["backup", "now"]);
    rig.done(&["backup", "drill"]);
    rig.place.archive.flip_newest();
    let (code, _, said) = rig.cli(&rig.data, &["backup", "drill"]);
    assert!(
        code == 1 && said.contains("backup.drill_failed"),
        "one flipped byte must turn the drill red: {code} {said}"
    );
    let (code, report, said) = rig.cli(&rig.data, &["backup", "verify"]);
    assert_eq!((code, report["problem_count"].as_u64()), (1, Some(1)), "{said}");
    rig.place.archive.mend();
    rig.done(&["backup", "drill"]);
}

fn directory(folder: &Path) -> Place {
    let path = folder.join("repository");
    Place {
        target: format!("dir://{}", path.display()),
        settings: Vec::new(),
        archive: Box::new(Folder(path, Mutex::default())),
    }
}

/// A real S3 server that checks signatures, over a folder; ended when dropped.
struct S3 {
    server: Child,
    root: PathBuf,
    port: u16,
}

const ACCESS_KEY: &str = "seawall-test";
const SECRET_KEY: &str = "not-a-secret-of-anybody";

impl S3 {
    /// `packaging/build/setup test` installs it; without it the test fails rather than pass over what it is for.
    fn start(folder: &Path) -> Self {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"));
        let program = cache.join("seawall/tools/bin/s3s-fs");
        assert!(
            program.is_file(),
            "{} is not installed: packaging/build/setup test",
            program.display()
        );
        let root = folder.join("s3");
        std::fs::create_dir_all(root.join("bucket")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let server = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
            .arg(&root)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let s3 = Self { server, root, port };
        let deadline = Instant::now() + STATE_MAX;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the S3 server does not listen");
            std::thread::sleep(Duration::from_millis(20)); // poll
        }
        s3
    }

    fn place(&self, folder: &Path, secret: &str) -> Place {
        let credentials = folder.join("credentials");
        std::fs::write(
            &credentials,
            format!("aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n"),
        )
        .unwrap();
        Place {
            target: format!(
                "s3://bucket/deep/prefix?endpoint=http://127.0.0.1:{}&region=us-east-1",
                self.port
            ),
            settings: vec![("backup.credentials_file", credentials.display().to_string())],
            archive: Box::new(Folder(self.root.join("bucket/deep/prefix"), Mutex::default())),
        }
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn the_same_holds_for_s3_compatible_storage() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path());
    a_story_comes_back(&Rig::new(|here| s3.place(here, SECRET_KEY)));
}

#[test]
fn a_drill_over_s3_can_fail_and_wrong_credentials_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path());
    let rig = Rig::new(|here| s3.place(here, "another-secret"));
    let key = rig.data.join("keys/backup.key");
    std::fs::create_dir(rig.data.join("keys")).unwrap();
    rig.done(&["backup", "key", "--out", key.to_str().unwrap()]);
    let (code, _, said) = rig.cli(&rig.data, &["backup", "list"]);
    assert!(
        code == 1 && said.contains("backup.target_failed") && !said.contains("another-secret"),
        "{code} {said}"
    );
    a_drill_can_fail(&Rig::new(|here| s3.place(here, SECRET_KEY)));
}

#[test]
fn an_account_deleted_after_the_point_does_not_come_back_with_a_restore() {
    let rig = Rig::new(directory);
    let platform = Platform::start(&rig.data, &rig.place).unwrap();
    import(&rig, "active", 1_700_000_000_000);
    assert_eq!(log_leaver_in(&platform).0, 200);
    let lsn = rig.done(&["backup", "now"])["lsn"].to_string();
    import(&rig, "deleted", 1_700_000_001_000);
    let gone = (403, "account.deleted".to_owned());
    assert_eq!(log_leaver_in(&platform), gone);
    rig.wait_for_archive(rig.head_lsn());
    platform.kill();

    let (into, restored) = rig.restore("before", &["--lsn", &lsn]);
    assert_eq!(restored["deletions_to_reapply"], 1, "{restored}");
    for start in ["first", "second"] {
        let platform = Platform::start(&into, &rig.place).unwrap();
        assert_eq!(log_leaver_in(&platform), gone, "{start} start");
        platform.kill();
        assert!(!into.join("deletions-to-reapply.json").exists());
    }
}

#[test]
fn a_killed_platform_comes_back_from_a_directory_at_any_point() {
    a_story_comes_back(&Rig::new(directory));
}

#[test]
fn a_drill_is_green_and_one_flipped_byte_turns_it_red() {
    a_drill_can_fail(&Rig::new(directory));
}

#[test]
fn a_used_directory_and_a_wrong_key_are_refused_and_nothing_is_touched() {
    let rig = Rig::new(directory);
    let platform = Platform::start(&rig.data, &rig.place).unwrap();
    rig.done(&["backup", "now"]);
    let status = rig.done(&["status"]);
    assert_eq!(
        status["backup"]["warning"],
        "no restore was proven yet; run `seawall backup drill`"
    );
    platform.kill();
    let before = std::fs::read(rig.data.join("control")).unwrap();
    let (code, _, said) = rig.cli(&rig.data, &["restore", "--into", rig.data.to_str().unwrap()]);
    assert!(code == 1 && said.contains("backup.not_empty"), "{code} {said}");
    assert_eq!(std::fs::read(rig.data.join("control")).unwrap(), before);
    let key = rig.data.with_file_name("other.key");
    rig.done(&["backup", "key", "--out", key.to_str().unwrap()]);
    let into = rig.data.with_file_name("into");
    let arguments = [
        "restore",
        "--key-file",
        key.to_str().unwrap(),
        "--into",
        into.to_str().unwrap(),
    ];
    let (code, _, said) = rig.cli(&rig.data, &arguments);
    assert!(
        code == 1 && said.contains("backup.key_wrong") && !into.exists(),
        "{code} {said}"
    );
}
