//! The composition root: opens the parts in order, hands each what it needs, and takes them apart in reverse.

use std::sync::Arc;

use prometheus_client::registry::Registry;

use seawall_domain::{HashCost, Mirrors, Platform, PlatformOptions, tables};
use seawall_storage::{JournalLimits, KeyRing, OpenOptions, Store};
use seawall_web::{App, AppOptions, Host, HttpMetrics};

use crate::auth_log::SegmentAuthLog;
use crate::backup::create::Source;
use crate::backup::deletions;
use crate::backup::service::Backups;
use crate::cli::failure::Failure;
use crate::clock::{SystemClock, boottime_ms};
use crate::data_dir::DataDir;
use crate::disk_watch::DiskWatch;
use crate::entropy::OsEntropy;
use crate::hash_pool::{HashPoolOptions, HashThreads};
use crate::heartbeat::Heartbeat;
use crate::memory::MemoryPlan;
use crate::metrics::{self, Sources};
use crate::precedence::Precedence;
use crate::recovery;
use crate::settings::config::HostConfig;
use crate::startup::{Phase, Progress};

/// The parts that answer requests, whoever asks.
pub struct Parts {
    /// Where everything lies.
    pub dir: DataDir,
    /// The store.
    pub store: Store,
    /// The business.
    pub platform: Platform,
    /// Threads for password hashes.
    pub hash: Arc<HashThreads>,
    /// The authentication log.
    pub auth_log: Arc<SegmentAuthLog>,
    /// Backups of all of it.
    pub backups: Arc<Backups>,
    /// Who has how much memory.
    pub memory: MemoryPlan,
    /// Room on the disk.
    pub disk: Arc<DiskWatch>,
}

impl Parts {
    /// Opens everything in `dir`; `progress` is told which phase of the start begins.
    ///
    /// # Errors
    /// Which part cannot be opened, why, and what to do.
    pub fn open(config: &HostConfig, dir: DataDir, progress: &Arc<Progress>) -> Result<Self, Failure> {
        progress.enter(Phase::ReadingKeys);
        let memory = MemoryPlan::new(config.memory_bytes, config.hash_threads, config.credential_cache);
        let key_file = dir.cluster_key();
        let keys = KeyRing::load_or_create(&key_file, dir.root(), &OsEntropy.bytes());
        let keys = keys.map_err(|error| Failure::Failed(format!("{}: {error}", key_file.display())))?;
        let mirrors = Mirrors::default();
        progress.enter(Phase::OpeningStore);
        let store = Store::open(
            dir.root(),
            mirrors.attach(store_options(config, &memory, keys.clone(), progress)),
        )?;
        recovery::say(&store);
        progress.enter(Phase::OpeningAuthLog);
        let auth_log =
            Arc::new(SegmentAuthLog::open(&dir.auth_log(), config.auth_log_retention_ms).map_err(Failure::Failed)?);
        let hash_cost = HashCost::default();
        let hash = HashThreads::start(HashPoolOptions {
            threads: config.hash_threads,
            deadline: config.hash_deadline,
            permitted_wait: config.hash_permitted_wait,
            cost: hash_cost,
        });
        let hash = Arc::new(hash.map_err(|error| Failure::Failed(format!("no threads for password hashes: {error}")))?);
        progress.enter(Phase::LoadingRevocations);
        let platform = Platform::open(PlatformOptions {
            store: store.clone(),
            mirrors,
            keys,
            auth_log: Arc::clone(&auth_log) as _,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            hash_pool: Arc::clone(&hash) as _,
            hash_cost,
            credential_cache: memory.credential_cache,
            abuse: config.abuse,
        });
        let platform = platform.map_err(|error| Failure::Failed(format!("the platform cannot be opened: {error}")))?;
        deletions::reapply(&dir, &platform).map_err(Failure::Failed)?;
        // Not before: the few rows that a start writes must not be refused for lack of room.
        let disk = DiskWatch::start(dir.root(), config.disk, store.clone());
        let disk = disk.map_err(|error| Failure::Failed(format!("{}: {error}", dir.root().display())))?;
        let source = Source {
            store: store.clone(),
            auth_log: Arc::clone(&auth_log),
            dir: dir.clone(),
            settings_file: config.settings_file.clone(),
        };
        Ok(Self {
            backups: Backups::new(config.backup.clone(), source),
            dir,
            store,
            platform,
            hash,
            auth_log,
            memory,
            disk: Arc::new(disk),
        })
    }

    /// The application in front of the parts.
    #[must_use]
    pub fn app(
        &self,
        config: &HostConfig,
        host: Arc<dyn Host>,
        heartbeat: &Heartbeat,
        precedence: &Arc<Precedence>,
    ) -> App {
        let mut registry = Registry::default();
        let http = HttpMetrics::register(&mut registry);
        let sources = Sources {
            store: self.store.clone(),
            platform: self.platform.clone(),
            hash: Arc::clone(&self.hash),
            auth_log: Arc::clone(&self.auth_log),
            disk: Arc::clone(&self.disk),
            backups: Arc::clone(&self.backups),
            precedence: Arc::clone(precedence),
        };
        metrics::register(&mut registry, sources, heartbeat);
        App::new(AppOptions {
            platform: self.platform.clone(),
            host,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            metrics: http,
            registry: Arc::new(registry),
            limits: config.limits.clone(),
        })
    }

    /// Ends the parts in order: what is queued becomes durable, then the threads are gone.
    pub fn close(&self) {
        self.backups.stop();
        self.hash.stop();
        self.store.shutdown();
        self.auth_log.close();
    }
}

fn store_options(config: &HostConfig, memory: &MemoryPlan, keys: KeyRing, progress: &Arc<Progress>) -> OpenOptions {
    let mut options = OpenOptions::new(tables::TABLES, keys, Arc::new(boottime_ms), OsEntropy.bytes());
    options.journal = JournalLimits {
        max_bytes: config.journal_max_bytes,
        max_age_ms: config.journal_max_age_ms,
    };
    options.memory = memory.store;
    let progress = Arc::clone(progress);
    options.progress = Arc::new(move |detail| progress.note(detail));
    options.on_fatal = Arc::new(|reason| {
        // Whether the last group is durable is unknown: nobody may be answered. The next start finds out.
        tracing::error!(
            reason,
            "the store failed; the process ends so that nothing wrong is answered"
        );
        std::process::abort();
    });
    options
}
