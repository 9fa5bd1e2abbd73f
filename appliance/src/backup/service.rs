//! Backups of a serving process: the archive's rounds, the schedule, and one backup or drill at a time on a thread of its
//! own that gives way to players.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_domain::ports::Clock as _;
use seawall_domain::{Code, Error, Kind};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::create::{Source, create};
use super::drill::drill;
use super::key::BackupKey;
use super::progress::Progress;
use super::prune::{Keep, prune};
use super::repository::Repository;
use super::standing::{self, Made, Standing};
use super::target::Target;
use super::{BackupError, archive};
use crate::clock::SystemClock;
use crate::entropy::OsEntropy;
use crate::metrics::Figures;

/// How much the threads of backups give way, as of `nice`.
const NICE: i32 = 10;
/// After a failed backup or drill the schedule waits this long.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// A backup or drill is running already.
pub const RUNNING: Code = Code {
    name: "backup.running",
    kind: Kind::Conflict,
    doc: "A backup or a drill is running already; `seawall status` shows how far it is.",
};
/// No target is set.
pub const NO_TARGET: Code = Code {
    name: "backup.no_target",
    kind: Kind::Conflict,
    doc: "No place for backups is set; set backup.target, as in dir:///srv/backup, and start the server again.",
};

/// Settings of backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupConfig {
    /// Where the repository lies; `None` for no backups.
    pub target: Option<Target>,
    /// The backup key.
    pub key_file: PathBuf,
    /// Credentials of S3-compatible storage; `None` for the environment's.
    pub credentials_file: Option<PathBuf>,
    /// Between rounds of the archive.
    pub archive_interval: Duration,
    /// Between backups; `None` for none by itself.
    pub interval: Option<Duration>,
    /// Between drills; `None` for none by itself.
    pub drill_interval: Option<Duration>,
    /// From when on the last proven restore is too old.
    pub proven_max_age: Duration,
    /// What a prune after a backup of the schedule leaves.
    pub keep: Keep,
}

impl BackupConfig {
    /// Opens the repository with the key that is there.
    ///
    /// # Errors
    /// [`BackupError::Target`] when none is set, [`BackupError::Key`].
    pub fn open(&self, create: bool) -> Result<Repository, BackupError> {
        let target = self
            .target
            .as_ref()
            .ok_or_else(|| BackupError::Target(NO_TARGET.doc.into()))?;
        let key = BackupKey::load(&self.key_file)?;
        Repository::open(target, self.credentials_file.as_deref(), key, create)
    }

    /// Makes the key at its first use.
    fn ensure_key(&self) -> Result<(), BackupError> {
        if self.key_file.exists() {
            return Ok(());
        }
        let key = BackupKey::create(&self.key_file, OsEntropy.bytes())?;
        tracing::warn!(
            file = %self.key_file.display(),
            fingerprint = key.fingerprint(),
            "BACKUP KEY MADE: keep a copy of this file away from this host; without it no backup can be restored by anybody"
        );
        Ok(())
    }
}

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// A backup; by the schedule also what is old goes.
    Create {
        /// Asked for by the schedule.
        is_scheduled: bool,
    },
    /// A drill.
    Drill,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Self::Create { .. } => "backup.create",
            Self::Drill => "backup.drill",
        }
    }
}

struct Running {
    job: Job,
    started_at: u64,
    progress: Arc<Progress>,
}

/// The backups of this process.
pub struct Backups {
    config: BackupConfig,
    source: Source,
    standing: Mutex<Standing>,
    running: Mutex<Option<Running>>,
    /// When the schedule may try again after a failure.
    not_before: Mutex<Option<Instant>>,
    is_stale: Mutex<bool>,
    cursor: tokio::sync::Mutex<Option<archive::Cursor>>,
    archiving: Arc<Progress>,
}

impl Backups {
    /// The backups of `source`.
    #[must_use]
    pub fn new(config: BackupConfig, source: Source) -> Arc<Self> {
        let node = source.store.node();
        let cursor: Option<archive::Cursor> = standing::read(node, standing::CURSOR);
        let mut found = Standing::load(node);
        found.archived_lsn = cursor.as_ref().map_or(0, |cursor| cursor.lsn);
        Arc::new(Self {
            config,
            standing: Mutex::new(found),
            source,
            running: Mutex::new(None),
            not_before: Mutex::new(None),
            is_stale: Mutex::new(false),
            cursor: tokio::sync::Mutex::new(cursor),
            archiving: Arc::default(),
        })
    }

    /// How backups stand, for metrics.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// Is a target set?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.config.target.is_some()
    }

    /// For `/metrics`. A backup or proof that never was is as old as 1970.
    pub(crate) fn figures(&self, out: &mut Figures<'_, '_>) -> std::fmt::Result {
        if !self.is_on() {
            return Ok(());
        }
        let (standing, now_at) = (self.standing(), SystemClock.now_at());
        let age_s = |at: Option<u64>| now_at.saturating_sub(at.unwrap_or(0)) / 1000;
        let made = standing.made.unwrap_or_default();
        out.gauge(
            "seawall_backup_last_success_age_s",
            "Age of the newest backup",
            age_s(Some(made.at)),
        )?;
        out.gauge(
            "seawall_backup_plain_bytes",
            "Content of the newest backup",
            made.plain_bytes,
        )?;
        out.gauge(
            "seawall_backup_sent_bytes",
            "Sent for the newest backup",
            made.sent_bytes,
        )?;
        out.gauge(
            "seawall_backup_proven_restore_age_s",
            "Age of the last proven restore",
            age_s(standing.proven_at),
        )?;
        out.counter(
            "seawall_backup_failures",
            "Backups and drills that failed",
            standing.failures,
        )?;
        out.gauge(
            "seawall_backup_archived_lsn",
            "Newest journal frame in the archive",
            standing.archived_lsn,
        )?;
        out.counter(
            "seawall_backup_archived_frames",
            "Journal frames archived",
            standing.archived_frames,
        )?;
        out.counter("seawall_backup_archived_bytes", "Their bytes", standing.archived_bytes)?;
        out.counter(
            "seawall_backup_archive_failures",
            "Rounds of the archive that failed",
            standing.archive_failures,
        )?;
        out.counter(
            "seawall_backup_gaps",
            "Times journal frames were gone before they were archived",
            standing.gaps,
        )
    }

    /// For `backup.show` and status.
    #[must_use]
    pub fn show(&self) -> Value {
        let running = self.running.lock();
        let running = running.as_ref().map(|running| {
            json!({ "job": running.job.name(), "started_at": running.started_at, "progress": running.progress.to_json() })
        });
        let mut shown = self.standing.lock().to_json();
        if let Some(fields) = shown.as_object_mut() {
            fields.insert(
                "target".into(),
                json!(self.config.target.as_ref().map(ToString::to_string)),
            );
            fields.insert("running".into(), json!(running));
            fields.insert("warning".into(), json!(self.warning()));
        }
        shown
    }

    /// What an operator should know, if anything.
    fn warning(&self) -> Option<String> {
        if !self.is_on() {
            return Some("no backups are made: backup.target is not set".into());
        }
        let standing = self.standing.lock();
        let age = |at: u64| Duration::from_millis(SystemClock.now_at().saturating_sub(at));
        match (&standing.made, standing.proven_at) {
            (None, _) => Some("no backup was made yet".into()),
            (_, None) => Some("no restore was proven yet; run `seawall backup drill`".into()),
            (_, Some(at)) if age(at) > self.config.proven_max_age => Some(format!(
                "the last proven restore is {} hours old; run `seawall backup drill`",
                age(at).as_secs() / 3600
            )),
            _ => None,
        }
    }

    /// Begins a job and returns at once.
    ///
    /// # Errors
    /// [`RUNNING`], [`NO_TARGET`], or that the system gives no thread.
    pub fn begin(self: &Arc<Self>, job: Job) -> Result<(), Error> {
        if !self.is_on() {
            return Err(NO_TARGET.error());
        }
        let progress = Arc::new(Progress::default());
        {
            let mut running = self.running.lock();
            if running.is_some() {
                return Err(RUNNING.error());
            }
            *running = Some(Running {
                job,
                started_at: SystemClock.now_at(),
                progress: Arc::clone(&progress),
            });
        }
        let this = Arc::clone(self);
        let spawned = on_thread("backup", move || async move {
            let mut ending = Ending {
                backups: this,
                job,
                done: Err(BackupError::Host("its thread panicked; please report it".into())),
            };
            ending.done = ending.backups.work(job, &progress).await;
        });
        spawned.map(drop).map_err(|error| {
            *self.running.lock() = None;
            seawall_domain::codes::STORE_BUSY.because(format!("no thread for a backup: {error}"))
        })
    }

    async fn work(&self, job: Job, progress: &Progress) -> Result<(), BackupError> {
        let begun = Instant::now();
        self.config.ensure_key()?;
        let repository = self.config.open(true)?;
        let node = self.source.store.node();
        match job {
            Job::Create { is_scheduled } => {
                let manifest = create(&repository, &self.source, SystemClock.now_at(), progress).await?;
                // Up to the backup at least, so that the one before can be brought forward to it.
                self.ship(&repository, progress).await?;
                let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let made = Made::of(&manifest, SystemClock.now_at(), took_ms);
                tracing::info!(?made, "backup made");
                self.standing.lock().note_made(node, made);
                if is_scheduled {
                    let pruned = prune(&repository, self.config.keep, SystemClock.now_at()).await?;
                    tracing::info!(removed = ?pruned.removed, bytes = pruned.bytes, "old backups removed");
                }
            }
            Job::Drill => {
                let scratch = self.source.dir.root().join("drill-tmp");
                let proof = drill(&repository, &scratch, &|| SystemClock.now_at(), progress).await?;
                match &proof.problem {
                    None => tracing::info!(?proof, "restore proven"),
                    Some(problem) => tracing::error!(
                        problem,
                        "the drill failed: the backups cannot be restored as they should"
                    ),
                }
                self.standing.lock().note_drill(node, proof);
            }
        }
        Ok(())
    }

    fn ended(&self, job: Job, done: Result<(), BackupError>) {
        if let Err(error) = done {
            tracing::error!(job = job.name(), code = error.code(), %error, "failed");
            let mut standing = self.standing.lock();
            standing.failures += 1;
            standing.failure = Some(format!("{}: {error}", error.code()));
            *self.not_before.lock() = Some(Instant::now() + RETRY_AFTER);
        }
        *self.running.lock() = None;
    }

    /// Archives what is new; one at a time.
    async fn ship(&self, repository: &Repository, progress: &Progress) -> Result<(), BackupError> {
        let mut cursor = self.cursor.lock().await;
        let shipped = archive::ship(repository, &self.source.store, &mut cursor, progress).await;
        if let Some(cursor) = cursor.as_ref() {
            standing::write(self.source.store.node(), standing::CURSOR, cursor);
        }
        let mut standing = self.standing.lock();
        standing.archived_lsn = cursor.as_ref().map_or(0, |cursor| cursor.lsn);
        let shipped = shipped?;
        standing.archived_frames += shipped.frames;
        standing.archived_bytes += shipped.bytes;
        if shipped.has_gap {
            standing.gaps += 1;
            // The next look of the schedule makes a backup: from there on every point can be restored again.
            standing.made = None;
            tracing::error!(
                "the journal was trimmed before it was archived: points in between cannot be restored; a new backup is due"
            );
        }
        Ok(())
    }

    /// A round of the archive.
    ///
    /// # Errors
    /// Why nothing could be archived, as a sentence.
    pub async fn archive_round(self: Arc<Self>) -> Result<(), String> {
        let head_lsn = self.source.store.head().lsn;
        if !self.is_on() || self.standing.lock().archived_lsn >= head_lsn {
            return Ok(());
        }
        let this = Arc::clone(&self);
        let round = on_thread("archive", move || async move {
            this.config.ensure_key()?;
            let repository = this.config.open(true)?;
            repository.claim(&this.source.store.cluster_id()).await?;
            this.ship(&repository, &this.archiving).await
        });
        let done = match round {
            Ok(done) => done
                .await
                .unwrap_or_else(|_| Err(BackupError::Host("the archive's thread ended".into()))),
            Err(error) => Err(BackupError::Host(format!("no thread for the archive: {error}"))),
        };
        done.map_err(|error| {
            self.standing.lock().archive_failures += 1;
            format!("{}: {error}", error.code())
        })
    }

    /// A look at what is due: a backup, then a drill; and whether the proof is too old.
    pub fn schedule_round(self: &Arc<Self>) {
        if !self.is_on() {
            return;
        }
        self.warn_once();
        let is_waiting = self.not_before.lock().is_some_and(|instant| Instant::now() < instant);
        if is_waiting || self.running.lock().is_some() {
            return;
        }
        let standing = self.standing.lock().clone();
        let now_at = SystemClock.now_at();
        let is_due = |interval: Option<Duration>, last_at: Option<u64>| {
            let ago = Duration::from_millis(now_at.saturating_sub(last_at.unwrap_or(0)));
            interval.is_some_and(|interval| ago >= interval)
        };
        let due = if is_due(self.config.interval, standing.made.as_ref().map(|made| made.at)) {
            Some(Job::Create { is_scheduled: true })
        } else if standing.made.is_some() && is_due(self.config.drill_interval, standing.drilled.map(|proof| proof.at))
        {
            Some(Job::Drill)
        } else {
            None
        };
        if let Some(job) = due
            && let Err(error) = self.begin(job)
        {
            tracing::warn!(%error, job = job.name(), "could not begin");
        }
    }

    fn warn_once(&self) {
        let warning = self.warning();
        let was_stale = std::mem::replace(&mut *self.is_stale.lock(), warning.is_some());
        if let Some(warning) = warning.filter(|_| !was_stale) {
            tracing::warn!(warning, "backups need a look");
        }
    }

    /// What is under way ends at its next step.
    pub fn stop(&self) {
        self.archiving.stop();
        if let Some(running) = self.running.lock().as_ref() {
            running.progress.stop();
        }
    }
}

/// Tells how a job ended, also when its thread panics.
struct Ending {
    backups: Arc<Backups>,
    job: Job,
    done: Result<(), BackupError>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.backups.ended(self.job, std::mem::replace(&mut self.done, Ok(())));
    }
}

/// Runs `work` on a thread of its own with a runtime of its own, at low priority; the receiver gets what it gives.
fn on_thread<T, F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> std::io::Result<oneshot::Receiver<T>>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name(format!("{name}-io"))
        .build()?;
    let (runtime, (tell, told)) = (Arc::new(runtime), oneshot::channel());
    let its = Arc::clone(&runtime);
    let spawned = std::thread::Builder::new().name(name.into()).spawn(move || {
        // Giving way is a wish, not a need: where it is refused, this runs at normal priority.
        let _ = rustix::process::nice(NICE);
        let _ = tell.send(its.block_on(work()));
        let_go(its);
    });
    let_go(runtime);
    spawned.map(|_| told)
}

/// Whoever is last ends the runtime, without waiting: it may not be waited for on a thread of another runtime.
fn let_go(runtime: Arc<tokio::runtime::Runtime>) {
    if let Some(runtime) = Arc::into_inner(runtime) {
        runtime.shutdown_background();
    }
}
