//! What the HTTP layer and the command line ask of this process: health, and the operator verbs that are not business.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use seawall_domain::ports::Clock as _;
use seawall_domain::{Code, Error, Kind, Platform, UnixMs, codes};
use seawall_storage::Store;
use seawall_web::{Check, Host, HostAnswer, Startup, Version};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::backup::service::{Backups, Job};
use crate::build_info;
use crate::clock::SystemClock;
use crate::compose::Parts;
use crate::data_dir::DataDir;
use crate::disk_watch::DiskWatch;
use crate::hash_pool::HashThreads;
use crate::heartbeat::Heartbeat;
use crate::memory::MemoryPlan;
use crate::metrics::ProcessFigures;
use crate::precedence::Precedence;
use crate::pressure::Pressure;
use crate::rehearse;
use crate::startup::{Phase, Progress};
use crate::tasks::Tasks;

/// Starts shown in status.
const STARTS_SHOWN: usize = 5;

/// `db verify` was asked of a server.
const VERIFY_OFFLINE: Code = Code {
    name: "store.verify_offline",
    kind: Kind::Conflict,
    doc: "A full check would disturb players; stop the server and run `seawall db verify`, or verify a copy.",
};

/// `store.copy` was asked while a copy is there.
const COPY_EXISTS: Code = Code {
    name: "store.copy_exists",
    kind: Kind::Conflict,
    doc: "A rehearsal is under way, or one that was killed left its copy; `seawall rehearse` removes what is left over.",
};

/// What only a serving process has, filled in once it serves.
pub struct Serving {
    /// Background tasks.
    pub tasks: Tasks,
    /// Name and address of every listener.
    pub listeners: Vec<(String, String)>,
    /// Who goes first on the processors.
    pub precedence: Arc<Precedence>,
}

/// The process around the HTTP layer.
pub struct ProcessHost {
    store: Store,
    dir: DataDir,
    platform: Platform,
    hash: Arc<HashThreads>,
    backups: Arc<Backups>,
    memory: MemoryPlan,
    disk: Arc<DiskWatch>,
    heartbeat: Heartbeat,
    pressure: Arc<Pressure>,
    progress: Arc<Progress>,
    /// Answer of `config.show`; swapped at reload.
    settings: ArcSwap<Value>,
    begun: Instant,
    started_at: UnixMs,
    serving: Arc<OnceLock<Serving>>,
    stop: watch::Sender<bool>,
}

impl ProcessHost {
    /// The host of `parts`.
    #[must_use]
    pub fn new(parts: &Parts, heartbeat: Heartbeat, progress: Arc<Progress>, settings: Value) -> Self {
        Self {
            store: parts.store.clone(),
            dir: parts.dir.clone(),
            platform: parts.platform.clone(),
            hash: Arc::clone(&parts.hash),
            backups: Arc::clone(&parts.backups),
            memory: parts.memory.clone(),
            disk: Arc::clone(&parts.disk),
            pressure: Arc::new(Pressure::new(
                heartbeat.clone(),
                parts.store.clone(),
                Arc::clone(&parts.hash),
                parts.memory.total_bytes(),
            )),
            heartbeat,
            progress,
            settings: ArcSwap::from_pointee(settings),
            begun: Instant::now(),
            started_at: SystemClock.now_at(),
            serving: Arc::default(),
            stop: watch::Sender::new(false),
        }
    }

    /// How hard it is pressed; somebody has to look from time to time.
    #[must_use]
    pub fn pressure_seen(&self) -> &Arc<Pressure> {
        &self.pressure
    }

    /// From now on this process serves.
    pub fn serves(&self, serving: Serving) {
        let _ = self.serving.set(serving);
        self.progress.enter(Phase::Serving);
    }

    /// What the serving process has; `None` before it serves.
    #[must_use]
    pub fn serving(&self) -> Option<&Serving> {
        self.serving.get()
    }

    /// New settings apply.
    pub fn set_settings(&self, settings: Value) {
        self.settings.store(Arc::new(settings));
    }

    /// What the start went into.
    #[must_use]
    pub fn phases_ms(&self) -> String {
        self.progress.phases_ms()
    }

    /// Resolves when somebody asked this process to stop.
    pub async fn stop_asked(&self) {
        let mut asked = self.stop.subscribe();
        // The sender lives as long as `self`.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    fn status_json(&self) -> Value {
        let serving = self.serving.get();
        let listeners: Vec<Value> = serving
            .map_or(&[][..], |s| &s.listeners)
            .iter()
            .map(|(name, address)| json!({ "name": name, "address": address }))
            .collect();
        let head = self.store.head();
        let standing = self.hash.standing();
        let process = ProcessFigures::read();
        json!({
            "version": build_info::VERSION, "commit": build_info::COMMIT, "role": "primary",
            "pid": std::process::id(), "started_at": self.started_at, "uptime_s": self.begun.elapsed().as_secs(),
            "ready": self.readiness().iter().all(|check| check.ok),
            "listeners": listeners,
            "store": { "lsn": head.lsn, "epoch": head.epoch, "incarnation": self.store.incarnation(), "queue_length": self.store.stats().queue_length },
            "hash_pool": { "threads": standing.threads, "waiting": standing.waiting, "cost_us": standing.cost_us, "done": standing.counters.done,
                "refused": standing.counters.refused_full + standing.counters.refused_late + standing.counters.pushed_out },
            "memory": { "planned_bytes": self.memory.total_bytes(), "resident_bytes": process.resident_bytes },
            "disk": self.disk.status(),
            "backup": self.backups.show(),
            "precedence": serving.map(|s| s.precedence.show()),
            "tasks": serving.map(|s| s.tasks.status()),
            "starts": self.starts(),
        })
    }

    fn starts(&self) -> Vec<Value> {
        let starts = self.store.node().starts(STARTS_SHOWN).unwrap_or_default();
        starts.into_iter().map(|(incarnation, start)| json!({ "incarnation": incarnation, "started_at": start.started_at, "version": start.version, "stopped_at": start.stopped_at })).collect()
    }

    fn begin(&self, job: Job) -> HostAnswer {
        let begun = self.backups.begin(job).map(|()| self.backups.show());
        Box::pin(async move { begun })
    }
}

/// Counts rows, so it belongs off the network threads.
fn stats_json(store: &Store) -> Value {
    let tables = store.table_stats().into_iter();
    let tables: Vec<Value> = tables
        .map(|t| json!({ "number": t.number, "name": t.name, "rows": t.rows, "bytes": t.bytes, "exact": t.exact }))
        .collect();
    let stats = store.stats();
    let engine: serde_json::Map<String, Value> = stats
        .engine
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).into()))
        .collect();
    json!({
        "tables": tables, "engine": engine,
        "journal": { "first_lsn": stats.journal_first_lsn, "last_lsn": stats.journal_last_lsn, "bytes": stats.journal_bytes },
        "commit": { "transactions": stats.transactions, "sync_p50_us": stats.sync_us.quantile(0.5), "sync_p99_us": stats.sync_us.quantile(0.99),
            "group_p50": stats.group_transactions.quantile(0.5) },
        "cache": { "hits": stats.cache_hits, "misses": stats.cache_misses, "entries": stats.cache_entries, "bytes": stats.cache_bytes },
    })
}

/// The engine's tables are linked into a folder of the data directory; whoever asked completes the copy and removes it.
fn copy(store: &Store, into: &Path) -> Result<Value, Error> {
    if into.exists() {
        return Err(COPY_EXISTS.error());
    }
    let failed = |error: &dyn std::fmt::Display| {
        codes::DEFECT.because(format!("{}: the store cannot be copied: {error}", into.display()))
    };
    DataDir::create(into).map_err(|error| failed(&error))?;
    store.checkpoint(&into.join("db")).map_err(|error| failed(&error))?;
    Ok(json!({ "path": into, "lsn": store.head().lsn }))
}

fn answered(value: Value) -> HostAnswer {
    Box::pin(async move { Ok(value) })
}

/// Runs something that reads the disk off the network threads.
fn blocking(work: impl FnOnce() -> Result<Value, Error> + Send + 'static) -> HostAnswer {
    Box::pin(async move {
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|_| Err(codes::DEFECT.error()))
    })
}

impl Host for ProcessHost {
    fn status(&self) -> HostAnswer {
        answered(self.status_json())
    }

    fn store_stats(&self) -> HostAnswer {
        let store = self.store.clone();
        blocking(move || Ok(stats_json(&store)))
    }

    fn store_verify(&self) -> HostAnswer {
        if self.serving.get().is_some() {
            return Box::pin(async { Err(VERIFY_OFFLINE.error()) });
        }
        let store = self.store.clone();
        blocking(move || crate::verify::verify(&store))
    }

    fn store_copy(&self) -> HostAnswer {
        let (store, into) = (self.store.clone(), self.dir.root().join(rehearse::copy::FOLDER));
        blocking(move || copy(&store, &into))
    }

    fn backup_create(&self) -> HostAnswer {
        self.begin(Job::Create { is_scheduled: false })
    }

    fn backup_drill(&self) -> HostAnswer {
        self.begin(Job::Drill)
    }

    fn backup_show(&self) -> HostAnswer {
        answered(self.backups.show())
    }

    fn config_show(&self) -> HostAnswer {
        answered(Value::clone(&self.settings.load()))
    }

    fn platform_stop(&self) -> HostAnswer {
        self.stop.send_replace(true);
        answered(json!({ "stopping": true }))
    }

    fn is_alive(&self) -> bool {
        self.heartbeat.is_alive()
    }

    fn readiness(&self) -> Vec<Check> {
        let check = |name: &str, ok: bool, detail: &str| Check {
            name: name.into(),
            ok,
            detail: if ok { String::new() } else { detail.into() },
        };
        vec![
            check(
                "store",
                !self.store.has_failed(),
                "a commit failed; the process is ending",
            ),
            check(
                "revocations",
                self.platform.ready(),
                "revocations are still being loaded",
            ),
        ]
    }

    fn startup(&self) -> Startup {
        self.progress.startup()
    }

    fn pressure(&self) -> seawall_web::Pressure {
        let ms = |figure: u64| figure as f64;
        seawall_web::Pressure {
            loop_lag_ms_mean: ms(self.pressure.loop_lag_ms_mean()),
            beats: self.heartbeat.beats(),
            commit_wait_ms: ms(self.pressure.commit_wait_ms()),
            hash_wait_ms: ms(self.pressure.hash_wait_ms()),
            hash_jobs: Some(self.pressure.hash_jobs()),
            memory_is_tight: self.pressure.memory_is_tight(),
        }
    }

    fn version(&self) -> Version {
        Version {
            version: build_info::VERSION.into(),
            commit: build_info::COMMIT.into(),
            target: build_info::TARGET.into(),
        }
    }
}
