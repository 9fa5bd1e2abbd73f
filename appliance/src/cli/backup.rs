//! `seawall backup …` and `seawall restore`. Backups and drills are made by the process that holds the data; everything
//! else works on the repository alone, also on another host.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seawall_domain::ports::Clock as _;
use serde_json::{Value, json};

use super::ask::{AdminClient, Ask};
use super::backup_grammar::{BackupVerb, RestoreFlags};
use super::failure::{DONE, FAILED, Failure};
use super::instant;
use super::output::{Output, View};
use crate::backup::archive::{self, next_batch};
use crate::backup::key::BackupKey;
use crate::backup::manifest::Manifest;
use crate::backup::progress::Progress;
use crate::backup::prune::{Keep, prune};
use crate::backup::repository::Repository;
use crate::backup::restore::{self, Plan, Point, Wish};
use crate::backup::service::BackupConfig;
use crate::backup::target::Target;
use crate::backup::{BackupError, check};
use crate::clock::SystemClock;
use crate::entropy::OsEntropy;

/// Between two looks at a job of the server.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two lines about progress.
const LINE_EVERY: Duration = Duration::from_secs(2);

const BACKUPS: View = View::Table {
    rows: "backups",
    columns: &[
        "id",
        "lsn",
        "epoch",
        "made_at",
        "file_count",
        "plain_bytes",
        "sent_bytes",
    ],
};

/// `backup now` and `backup drill`: begins the job and follows it; answers the exit code.
///
/// # Errors
/// When the platform refuses or the job fails.
pub async fn follow(verb: &BackupVerb, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    let (path, result) = match verb {
        BackupVerb::Drill => ("/admin/v1/backups/drill", "drilled"),
        _ => ("/admin/v1/backups", "made"),
    };
    let before = show(client).await?;
    client.call(Ask::post(path)).await?.success()?;
    let mut lines = Lines::new();
    let after = loop {
        let shown = show(client).await?;
        let Some(progress) = shown.pointer("/running/progress") else {
            break shown;
        };
        let number = |field: &str| progress.get(field).and_then(Value::as_u64).unwrap_or(0);
        let phase = progress.get("phase").and_then(Value::as_str).unwrap_or_default();
        lines.say(phase, number("done_bytes"), number("total_bytes"));
        tokio::time::sleep(LOOK_EVERY).await;
    };
    if after.get("failures") == before.get("failures") {
        out.answer(after.get(result).unwrap_or(&Value::Null), View::Record);
        return Ok(DONE);
    }
    let failure = after.get("failure").and_then(Value::as_str);
    let failure = failure.unwrap_or("backup.failed: see the server's log");
    let (code, detail) = failure.split_once(": ").unwrap_or(("backup.failed", failure));
    Err(Failure::Refused(json!({ "code": code, "detail": detail })))
}

async fn show(client: &dyn AdminClient) -> Result<Value, Failure> {
    client.call(Ask::get("/admin/v1/backups")).await?.success()
}

/// Verbs that work on the repository alone; answers the exit code.
///
/// # Errors
/// What the repository says.
pub async fn local(verb: &BackupVerb, config: &BackupConfig, out: &Output) -> Result<u8, Failure> {
    let open = || config.open(false);
    match verb {
        BackupVerb::Key { out: file } => key(file, out),
        BackupVerb::List => list(&open()?, out).await,
        BackupVerb::Inspect { id } => inspect(&open()?, id.as_deref(), out).await,
        BackupVerb::Verify { sample } => verify(&open()?, *sample, out).await,
        BackupVerb::Prune { keep_last, keep_days } => {
            let keep = Keep {
                last: keep_last.map_or(config.keep.last, |last| last as usize),
                days: keep_days.unwrap_or(if keep_last.is_some() { 0 } else { config.keep.days }),
            };
            let pruned = prune(&open()?, keep, SystemClock.now_at()).await?;
            out.answer(&json!(pruned), View::Record);
            Ok(DONE)
        }
        BackupVerb::Now | BackupVerb::Drill => Err(Failure::Usage("this verb asks a server".into())),
    }
}

fn key(file: &Path, out: &Output) -> Result<u8, Failure> {
    let key = BackupKey::create(file, OsEntropy.bytes())?;
    let told = "keep a copy away from this host; without it no backup can be restored by anybody";
    out.answer(
        &json!({ "file": file, "fingerprint": key.fingerprint(), "note": told }),
        View::Record,
    );
    Ok(DONE)
}

/// A manifest with its files counted rather than named.
fn summary(manifest: &Manifest) -> Value {
    let mut shown = json!(manifest);
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("files");
        fields.insert("file_count".into(), manifest.files.len().into());
    }
    shown
}

async fn list(repository: &Repository, out: &Output) -> Result<u8, Failure> {
    repository.recognise().await?;
    let all = Manifest::all(repository).await?;
    let batches = archive::batches(repository).await?;
    let ends_lsn = batches.iter().map(|batch| batch.last).max();
    let backups: Vec<Value> = all.iter().map(summary).collect();
    out.answer(
        &json!({ "backups": backups, "archive": { "batches": batches.len(), "last_lsn": ends_lsn } }),
        BACKUPS,
    );
    Ok(DONE)
}

async fn inspect(repository: &Repository, id: Option<&str>, out: &Output) -> Result<u8, Failure> {
    repository.recognise().await?;
    let newest = Manifest::ids(repository).await?.pop();
    let id = id.map(str::to_owned).or(newest);
    let id = id.ok_or_else(|| BackupError::Missing("a backup".into()))?;
    let manifest = Manifest::load(repository, &id).await?;
    let batches = archive::batches(repository).await?;
    let (mut lsn, mut epoch) = (manifest.lsn, manifest.epoch);
    while let Some((batch, until)) = next_batch(&batches, lsn, epoch, u64::MAX) {
        (lsn, epoch) = (until, if until == batch.last { batch.epoch } else { epoch });
    }
    let mut shown = if out.is_json() {
        json!(manifest)
    } else {
        summary(&manifest)
    };
    if let Some(fields) = shown.as_object_mut() {
        fields.insert("restorable_to_lsn".into(), lsn.into());
    }
    out.answer(&shown, View::Record);
    Ok(DONE)
}

async fn verify(repository: &Repository, sample: Option<usize>, out: &Output) -> Result<u8, Failure> {
    let progress = Arc::new(Progress::default());
    let seed = OsEntropy.bytes();
    let checking = check::check(repository, sample.map(|count| (count, seed)), &progress);
    let report = told(checking, &progress).await?;
    out.answer(&json!(report), View::Record);
    Ok(if report.problem_count == 0 { DONE } else { FAILED })
}

/// `seawall restore`; answers the exit code.
///
/// # Errors
/// What the repository or the directory says.
pub async fn restore(flags: &RestoreFlags, config: &BackupConfig, out: &Output) -> Result<u8, Failure> {
    let mut config = config.clone();
    if let Some(from) = &flags.from {
        config.target = Some(Target::parse(from).map_err(BackupError::Target)?);
    }
    if let Some(file) = &flags.key_file {
        config.key_file.clone_from(file);
    }
    let repository = config.open(false)?;
    let point = match (flags.lsn, flags.at) {
        (Some(lsn), _) => Point::Lsn(lsn),
        (None, Some(at)) => Point::At(at),
        (None, None) => Point::Newest,
    };
    let wish = Wish {
        point,
        base: flags.base.clone(),
        epoch: flags.epoch,
    };
    let plan = restore::plan(&repository, &wish).await?;
    say_plan(&repository, &plan, &flags.into);
    let (begun, progress) = (Instant::now(), Arc::new(Progress::default()));
    let restored = told(restore::restore(&repository, &plan, &flags.into, &progress), &progress).await?;
    let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let digest = flags.digest.then(|| restore::digest(&flags.into)).transpose()?;
    let bytes = restored.file_bytes + restored.frame_bytes;
    out.answer(
        &json!({
            "into": flags.into, "base": plan.base.id, "lsn": restored.head.lsn, "epoch": restored.head.epoch,
            "now_at": restored.head.now_at, "frames": restored.frames, "bytes": bytes, "took_ms": took_ms,
            "mb_per_s": bytes / 1000 / took_ms.max(1), "digest": digest,
            "deletions_to_reapply": restored.beyond.accounts.len(), "unread": restored.beyond.unread,
        }),
        View::Record,
    );
    Ok(DONE)
}

fn say_plan(repository: &Repository, plan: &Plan, into: &Path) {
    let to = match plan.point {
        Point::Newest => "the end of the archive".to_owned(),
        Point::Lsn(lsn) => format!("lsn {lsn}"),
        Point::At(at) => instant::show(at),
    };
    let base = &plan.base;
    let _ = writeln!(
        std::io::stderr(),
        "restoring {} into {}: backup {} of {} (lsn {}, {} files, {} bytes), then the journal up to {to}",
        repository.shown(),
        into.display(),
        base.id,
        instant::show(base.made_at),
        base.lsn,
        base.files.len(),
        base.plain_bytes,
    );
}

/// Does `work` and tells how far it is.
async fn told<T>(work: impl Future<Output = Result<T, BackupError>>, progress: &Progress) -> Result<T, BackupError> {
    let mut lines = Lines::new();
    tokio::pin!(work);
    loop {
        match tokio::time::timeout(LOOK_EVERY, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                let (phase, done, total) = progress.read();
                lines.say(phase, done, total);
            }
        }
    }
}

/// Lines about progress on standard error, a few seconds apart.
struct Lines {
    phase: String,
    since: Instant,
    spoken: Instant,
}

impl Lines {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            phase: String::new(),
            since: now,
            spoken: now,
        }
    }

    fn say(&mut self, phase: &str, done: u64, total: u64) {
        if phase != self.phase {
            (self.phase, self.since) = (phase.to_owned(), Instant::now());
        }
        if self.spoken.elapsed() >= LINE_EVERY {
            self.spoken = Instant::now();
            let _ = writeln!(std::io::stderr(), "{}", line(phase, done, total, self.since.elapsed()));
        }
    }
}

fn line(phase: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let per_s = done.saturating_mul(1000) / u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    match (phase, total) {
        ("checking", total) => format!("{phase}: {done} of {total} objects"),
        (_, 0) => format!("{phase}: {} MB, {} MB/s", done / 1_000_000, per_s / 1_000_000),
        (_, total) => format!(
            "{phase}: {} % of {} MB, {} MB/s",
            done.saturating_mul(100) / total,
            total / 1_000_000,
            per_s / 1_000_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::super::ask::{Answer, Answering};
    use super::*;

    /// Runs for two looks, then is done; fails when told so.
    struct Server {
        looks: Mutex<u64>,
        fails: bool,
    }

    impl AdminClient for Server {
        fn call(&self, ask: Ask) -> Answering<'_> {
            let mut looks = self.looks.lock();
            *looks += 1;
            let is_running = (2..5).contains(&*looks);
            let body = json!({
                "running": is_running.then(|| json!({ "progress": { "phase": "sending", "done_bytes": 1, "total_bytes": 2 } })),
                "failures": u64::from(self.fails && *looks >= 5), "failure": "backup.target_failed: no answer",
                "made": { "id": "new" }, "asked": ask.path,
            });
            Box::pin(async move { Ok(Answer { status: 200, body }) })
        }

        fn is_running(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn a_job_is_followed_to_its_end_and_its_failure_told() {
        let server = |fails| Server {
            looks: Mutex::new(0),
            fails,
        };
        let out = Output::new(true);
        assert_eq!(follow(&BackupVerb::Now, &server(false), &out).await.unwrap(), 0);
        let failed = follow(&BackupVerb::Now, &server(true), &out).await.unwrap_err();
        assert_eq!(
            (failed.exit_code(), failed.to_string().as_str()),
            (1, "backup.target_failed: no answer")
        );
    }

    #[test]
    fn lines_tell_the_rate() {
        assert_eq!(
            line("sending", 50_000_000, 200_000_000, Duration::from_secs(2)),
            "sending: 25 % of 200 MB, 25 MB/s"
        );
        assert_eq!(
            line("frames", 3_000_000, 0, Duration::from_secs(1)),
            "frames: 3 MB, 3 MB/s"
        );
        assert_eq!(line("checking", 3, 9, Duration::ZERO), "checking: 3 of 9 objects");
    }
}
