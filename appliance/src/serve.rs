//! The life of a serving process: start, signals, reload, drain, end.

use std::sync::Arc;
use std::time::Duration;

use crate::signals::{Signals, Wish};
use rustix::process::{Resource, getrlimit, setrlimit};
use seawall_domain::ports::Clock as _;
use seawall_domain::{Call, Platform};
use seawall_storage::NodeStart;
use seawall_web::{
    App, DrainConfig, DrainReport, Host as _, Listener, ListenerConfig, Server, Starting, StartingOptions, Tls,
};
use tokio::runtime::Handle;

use crate::certificates::Certificates;
use crate::cli::failure::{DONE, Failure, WARNINGS};
use crate::cli::lines;
use crate::clock::SystemClock;
use crate::compose::Parts;
use crate::data_dir::DataDir;
use crate::entropy::OsEntropy;
use crate::heartbeat::Heartbeat;
use crate::host::{ProcessHost, Serving};
use crate::precedence::Precedence;
use crate::pressure::LOOK_EVERY;
use crate::runtimes::Runtimes;
use crate::service_manager::InheritedSockets;
use crate::settings::config::{DrainTimes, HostConfig};
use crate::settings::registry::Reload as Effect;
use crate::settings::{Problem, Settings, catalogue, document};
use crate::startup::{Phase, Progress};
use crate::tasks::{Round, Task, Tasks};
use crate::telemetry::Telemetry;
use crate::{build_info, listeners, service_manager};

/// Between two looks at the certificate files.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(60);

/// Between two looks at the room on the disk.
const DISK_LOOK: Duration = Duration::from_secs(1);
/// Between two looks at what backups and drills are due.
const BACKUP_LOOK: Duration = Duration::from_secs(30);

/// Name of the ops listener, which answers from the beginning.
const OPS: &str = "ops";

/// Pages of ended rows removed in one round of the sweep; the next round goes on.
const SWEEP_PAGES_MAX: usize = 1_000;

/// Reads the settings, the first time and at every reload.
pub type ReadSettings<'a> = &'a dyn Fn() -> Result<(Settings, HostConfig), Vec<Problem>>;

/// What is served: the settings, and listeners beside those of the settings.
pub struct Plan {
    /// Settings, for `config.show` and for telling changes at a reload.
    pub settings: Settings,
    /// Settings, typed.
    pub config: HostConfig,
    /// Listeners beside those of the settings.
    pub more_listeners: Vec<ListenerConfig>,
}

/// `seawall serve`; answers the exit code.
///
/// # Errors
/// Why the server cannot start.
pub fn serve(read: ReadSettings<'_>) -> Result<u8, Failure> {
    let (settings, config) = read().map_err(|problems| Failure::Failed(lines(&problems)))?;
    run(
        Plan {
            settings,
            config,
            more_listeners: Vec::new(),
        },
        read,
        |_| Ok(()),
    )
}

/// Serves until told to stop; `ready` is called once everything answers.
///
/// # Errors
/// Why the server cannot start, or what `ready` found.
pub fn run(
    plan: Plan,
    read: ReadSettings<'_>,
    ready: impl FnOnce(&Running) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let telemetry = Telemetry::start(&plan.config).map_err(Failure::Failed)?;
    raise_descriptor_limit();
    let inherited = InheritedSockets::take();
    let runtimes = Runtimes::start(&plan.config)?;
    let players = runtimes.players.handle().clone();
    let precedence = Arc::clone(&runtimes.precedence);
    let code = runtimes.checks.block_on(async {
        let mut signals =
            Signals::listen().map_err(|error| Failure::Failed(format!("signals cannot be received: {error}")))?;
        let mut running = tokio::select! {
            started = Running::start(plan, inherited, &players, &precedence) => started?,
            // Opening can take long; whatever it is at, leaving is as safe as a crash.
            () = signals.stop() => return Ok(DONE),
        };
        let ended = match ready(&running) {
            Ok(()) => Ok(running.until_stopped(&mut signals, &telemetry, read).await),
            Err(failure) => Err(failure),
        };
        running.end().await;
        ended
    });
    runtimes.end();
    telemetry.stop();
    code
}

/// Every connection is a descriptor; the soft limit of most systems is far too low.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if setrlimit(Resource::Nofile, limit).is_err() {
        tracing::warn!("the limit of open files cannot be raised to its hard limit");
    }
}

/// A serving process.
pub struct Running {
    /// The parts behind the listeners.
    pub parts: Parts,
    /// The process as the HTTP layer sees it.
    pub host: Arc<ProcessHost>,
    /// The application behind the listeners.
    pub app: App,
    /// The listeners.
    pub server: Server,
    /// Where the certificates come from.
    pub certificates: Arc<Certificates>,
    settings: Settings,
    drain: DrainTimes,
}

impl Running {
    async fn start(
        plan: Plan,
        inherited: InheritedSockets,
        players: &Handle,
        precedence: &Arc<Precedence>,
    ) -> Result<Self, Failure> {
        let Plan {
            settings,
            config,
            more_listeners,
        } = plan;
        let now_at = SystemClock.now_at();
        let progress = Arc::new(Progress::default());
        let dir = DataDir::create(&config.data_dir).map_err(|error| Failure::Failed(error.to_string()))?;
        let certificates = Arc::new(Certificates::prepare(&config, &dir, now_at).map_err(Failure::Failed)?);
        // Bound before anything is opened, so that a taken port is said at once; only the ops listener answers yet.
        let bound = bound(&config, more_listeners, &certificates.tls, inherited).map_err(Failure::Failed)?;
        let starting = answer_health(&bound, &progress).map_err(Failure::Failed)?;
        let parts = open_parts(&config, &dir, &progress).await?;
        progress.enter(Phase::Listening);
        let heartbeat = Heartbeat::start();
        let host = ProcessHost::new(&parts, heartbeat.clone(), progress, document::show(&settings));
        let host = Arc::new(host);
        let app: App = parts.app(&config, Arc::clone(&host) as _, &heartbeat, precedence);
        let server = Server::start(bound, app.clone(), players)
            .map_err(|error| Failure::Failed(format!("the listeners cannot be started: {error}")))?;
        app.start_admission(players);
        let followed = app.clone();
        precedence.follow(move || followed.players_work());
        drop(starting);
        note_start(&parts, now_at);
        let mut list = task_list(&parts, &config, &certificates, &heartbeat);
        list.push(pressure_task(&host));
        let tasks = Tasks::start(list);
        let listening = server
            .local_addresses()
            .iter()
            .map(|(name, address)| (name.clone(), listeners::shown(address)));
        host.serves(Serving {
            tasks,
            listeners: listening.collect(),
            precedence: Arc::clone(precedence),
        });
        announce(&host);
        Ok(Self {
            parts,
            host,
            app,
            server,
            certificates,
            settings,
            drain: config.drain,
        })
    }

    /// Waits for signals; answers the exit code of the drain.
    async fn until_stopped(&mut self, signals: &mut Signals, telemetry: &Telemetry, read: ReadSettings<'_>) -> u8 {
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    Wish::Stop => break,
                    Wish::Reload => self.reload(telemetry, read),
                },
                () = self.host.stop_asked() => break,
            }
        }
        let report = self.drain(signals).await;
        if report.cut == 0 { DONE } else { WARNINGS }
    }

    /// Takes what may change while running; refuses settings that are wrong and keeps the old ones.
    fn reload(&mut self, telemetry: &Telemetry, read: ReadSettings<'_>) {
        let (settings, config) = match read() {
            Ok(loaded) => loaded,
            Err(problems) => {
                return tracing::error!(problems = lines(&problems), "reload refused; the old settings stay");
            }
        };
        let taken = self
            .certificates
            .replace(&config, &self.parts.dir)
            .and_then(|()| telemetry.set_level(&config.log_level));
        if let Err(reason) = taken {
            return tracing::error!(reason, "reload refused; the old settings stay");
        }
        let needs_restart: Vec<&str> = changed(&self.settings, &settings)
            .filter(|setting| setting.reload == Effect::Restart)
            .map(|setting| setting.path)
            .collect();
        tracing::info!(?needs_restart, "settings reloaded");
        self.drain = config.drain;
        self.app.set_admission(config.limits.admission.clone());
        self.host.set_settings(document::show(&settings));
        self.settings = settings;
    }

    /// Drains in the order that loses no request; a second signal ends the waiting.
    async fn drain(&self, signals: &mut Signals) -> DrainReport {
        service_manager::stopping();
        tracing::info!(
            connections = self.server.open_connections(),
            "stopping; a second signal ends the waiting"
        );
        let config = DrainConfig {
            lame_duck_ms: millis(self.drain.lame_duck),
            limit_ms: millis(self.drain.hard_limit.max(self.drain.lame_duck)),
        };
        let draining = self.server.drain(config);
        tokio::pin!(draining);
        tokio::select! {
            report = &mut draining => report,
            () = signals.stop() => {
                self.server.drain(DrainConfig::at_once()).await;
                draining.await
            }
        }
    }

    async fn end(self) {
        // Not before the drain is over: until then calls come in as before, and some of them too many.
        self.app.stop_admission();
        if let Some(serving) = self.host.serving() {
            serving.tasks.stop().await;
        }
        let stopped_at = SystemClock.now_at();
        if let Err(error) = self
            .parts
            .store
            .node()
            .note_stop(self.parts.store.incarnation(), stopped_at)
        {
            tracing::warn!(%error, "the end of this run could not be noted");
        }
        let closed = tokio::task::spawn_blocking(move || self.parts.close()).await;
        if closed.is_err() {
            tracing::error!("closing the data panicked; what was acknowledged is durable all the same");
        }
        tracing::info!("stopped");
    }
}

/// Opens the data off the network threads.
async fn open_parts(config: &HostConfig, dir: &DataDir, progress: &Arc<Progress>) -> Result<Parts, Failure> {
    let (config, dir, progress) = (config.clone(), dir.clone(), Arc::clone(progress));
    let opening = tokio::task::spawn_blocking(move || Parts::open(&config, dir, &progress));
    let parts = opening
        .await
        .map_err(|_| Failure::Failed("opening the data panicked; please report it".into()))??;
    tracing::info!(plan = parts.memory.line(), "memory");
    Ok(parts)
}

/// Lets the ops listener say what the start is at.
fn answer_health(bound: &[Listener], progress: &Arc<Progress>) -> Result<Option<Starting>, String> {
    let Some(ops) = bound.iter().find(|listener| listener.name() == OPS) else {
        return Ok(None);
    };
    let progress = Arc::clone(progress);
    let options = StartingOptions {
        startup: Box::new(move || progress.startup()),
        clock: Arc::new(SystemClock),
        seed: OsEntropy.bytes(),
    };
    Starting::serve(ops, options)
        .map(Some)
        .map_err(|error| format!("listener {OPS}: cannot be started: {error}"))
}

fn announce(host: &ProcessHost) {
    service_manager::ready();
    let listeners = host.serving().map(|serving| {
        serving
            .listeners
            .iter()
            .map(|(name, address)| format!("{name} {address}"))
            .collect::<Vec<_>>()
            .join(", ")
    });
    tracing::info!(
        version = build_info::VERSION,
        commit = build_info::COMMIT,
        listeners,
        phases_ms = host.phases_ms(),
        ready = host.readiness().iter().all(|check| check.ok),
        "serving"
    );
}

fn note_start(parts: &Parts, started_at: u64) {
    let start = NodeStart {
        started_at,
        version: build_info::VERSION.into(),
        stopped_at: None,
    };
    if let Err(error) = parts.store.node().note_start(parts.store.incarnation(), &start) {
        tracing::warn!(%error, "this start could not be noted");
    }
}

fn bound(
    config: &HostConfig,
    more: Vec<ListenerConfig>,
    tls: &Arc<Tls>,
    mut inherited: InheritedSockets,
) -> Result<Vec<Listener>, String> {
    let mut all = vec![
        listeners::admin(&config.admin_socket)?,
        listeners::listener(&config.ops, tls)?,
    ];
    for listener in &config.listeners {
        all.push(listeners::listener(listener, tls)?);
    }
    all.extend(more);
    let bound = listeners::bind(all, &mut inherited)?;
    inherited.close_rest();
    Ok(bound)
}

/// The background tasks of a serving process.
fn task_list(parts: &Parts, config: &HostConfig, certificates: &Arc<Certificates>, heartbeat: &Heartbeat) -> Vec<Task> {
    let platform = parts.platform.clone();
    let sweep = move || -> Round { Box::pin(sweep(platform.clone())) };
    let auth_log = Arc::clone(&parts.auth_log);
    let retain = move || -> Round {
        let kept = auth_log.retain(SystemClock.now_at());
        Box::pin(async { kept })
    };
    let disk = Arc::clone(&parts.disk);
    let measure = move || -> Round {
        let looked = disk.look().map_err(|error| error.to_string());
        Box::pin(async { looked })
    };
    let certificates = Arc::clone(certificates);
    let look = move || -> Round {
        let looked = certificates.reload_if_changed();
        Box::pin(async { looked })
    };
    let mut tasks = backup_tasks(parts, config);
    tasks.extend([
        Task {
            name: "sweep",
            interval: config.sweep_interval,
            round: Box::new(sweep),
        },
        Task {
            name: "auth-log-retention",
            interval: Duration::from_secs(3600),
            round: Box::new(retain),
        },
        Task {
            name: "disk",
            interval: DISK_LOOK,
            round: Box::new(measure),
        },
        Task {
            name: "certificates",
            interval: CERTIFICATE_LOOK,
            round: Box::new(look),
        },
    ]);
    tasks.extend(service_manager::watchdog(heartbeat.clone(), parts.store.clone()));
    tasks
}

/// Looks at what tells overload.
fn pressure_task(host: &ProcessHost) -> Task {
    let pressure = Arc::clone(host.pressure_seen());
    let look = move || -> Round {
        pressure.look();
        Box::pin(async { Ok(()) })
    };
    Task {
        name: "pressure",
        interval: LOOK_EVERY,
        round: Box::new(look),
    }
}

fn backup_tasks(parts: &Parts, config: &HostConfig) -> Vec<Task> {
    let (archived, scheduled) = (Arc::clone(&parts.backups), Arc::clone(&parts.backups));
    let archive = move || -> Round { Box::pin(Arc::clone(&archived).archive_round()) };
    let schedule = move || -> Round {
        scheduled.schedule_round();
        Box::pin(async { Ok(()) })
    };
    vec![
        Task {
            name: "backup-archive",
            interval: config.backup.archive_interval,
            round: Box::new(archive),
        },
        Task {
            name: "backup-schedule",
            interval: BACKUP_LOOK,
            round: Box::new(schedule),
        },
    ]
}

/// Removes ended rows, a page after the other, until none are left or the round is full.
async fn sweep(platform: Platform) -> Result<(), String> {
    for _ in 0..SWEEP_PAGES_MAX {
        let call = Call::platform(OsEntropy.bytes());
        let swept = platform.sweep(&call).await.map_err(|error| error.to_string())?;
        if !swept.more {
            break;
        }
    }
    Ok(())
}

/// Settings whose value differs.
fn changed<'a>(
    old: &'a Settings,
    new: &'a Settings,
) -> impl Iterator<Item = &'static crate::settings::registry::Setting> + 'a {
    catalogue::SETTINGS
        .iter()
        .filter(|setting| old.get(setting).value != new.get(setting).value)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
