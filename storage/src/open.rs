//! Opening a store from its directory, strictly: whatever durable data is missing, shortened or foreign stops the start
//! with the file, the reason and what to do. A store never starts silently shorter than it was.
//!
//! The directory: `lock`, `control` (see [`crate::control`]), `db/` (the engine), `node.redb` (the node store).

pub(crate) mod check;
mod floor;
mod indexes;
mod recovery;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::catalog::Catalog;
use crate::control::{ControlError, ControlFile, ControlState};
use crate::disk::{Disk, HostDisk};
use crate::engine::rocks::RocksEngine;
use crate::engine::{Engine, Replayed};
use crate::error::{EngineError, TxError};
use crate::fault;
use crate::files;
use crate::head::Head;
use crate::journal::{Journal, JournalLimits};
use crate::node::{NodeError, NodeStore};
use crate::options::{OpenOptions, ProgressFn};
use crate::shared::{Identity, Shared};
use crate::stamp::TxClock;
use crate::store::{Home, Store, derive_id};

pub(crate) use floor::FloorKeeper;
pub use recovery::Recovery;

/// Name of the control file.
pub(crate) const CONTROL_FILE: &str = "control";
/// Name of the engine's directory.
pub(crate) const ENGINE_DIR: &str = "db";
const NODE_FILE: &str = "node.redb";

/// Why a store does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailure {
    /// Another process has the directory.
    Locked,
    /// A file or directory could not be read or written.
    Io,
    /// The control file is unreadable.
    ControlDamaged,
    /// There is an engine but no control file.
    ControlMissing,
    /// There is a control file but no engine.
    EngineMissing,
    /// The engine refuses its files.
    EngineDamaged,
    /// The engine ends before the durable floor, or its history differs there.
    LostData,
    /// Head and journal contradict each other.
    JournalDamaged,
    /// Engine and control file belong to different clusters or epochs.
    Foreign,
    /// A newer release wrote tables that this one does not have.
    NewerRelease,
    /// The table list of this build is wrong.
    Tables,
}

impl OpenFailure {
    /// All of them, by exit code.
    pub const ALL: [Self; 11] = [
        Self::Locked,
        Self::Io,
        Self::Tables,
        Self::ControlDamaged,
        Self::ControlMissing,
        Self::EngineMissing,
        Self::EngineDamaged,
        Self::LostData,
        Self::JournalDamaged,
        Self::Foreign,
        Self::NewerRelease,
    ];

    /// Stable code for scripts and logs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Locked => "store.locked",
            Self::Io => "store.io",
            Self::ControlDamaged => "store.control_damaged",
            Self::ControlMissing => "store.control_missing",
            Self::EngineMissing => "store.engine_missing",
            Self::EngineDamaged => "store.engine_damaged",
            Self::LostData => "store.lost_data",
            Self::JournalDamaged => "store.journal_damaged",
            Self::Foreign => "store.foreign",
            Self::NewerRelease => "store.newer_release",
            Self::Tables => "store.tables",
        }
    }

    /// Exit code of a process that could not start because of this. 20..=29: the data needs a person, restarting does
    /// not help; 10..=12: trying again may.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Locked => 10,
            Self::Io => 11,
            Self::Tables => 12,
            Self::ControlDamaged => 20,
            Self::ControlMissing => 21,
            Self::EngineMissing => 22,
            Self::EngineDamaged => 23,
            Self::LostData => 24,
            Self::JournalDamaged => 25,
            Self::Foreign => 26,
            Self::NewerRelease => 27,
        }
    }

    /// What a person can do.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Locked => "stop the other process that uses this directory",
            Self::Io => "check permissions, free space and the disk, then start again",
            Self::ControlDamaged | Self::ControlMissing => {
                "restore the control file from the same moment as the engine, or restore a backup, or join as a new standby"
            }
            Self::EngineMissing => "put the engine's directory back, or restore a backup, or join as a new standby",
            Self::EngineDamaged | Self::LostData | Self::JournalDamaged => {
                "do not delete anything; promote the standby or restore a backup, and keep this directory for examination"
            }
            Self::Foreign => "the files come from different nodes or copies; put those together that belong together",
            Self::NewerRelease => "start the release that wrote this directory, or a newer one",
            Self::Tables => "this build is wrong; report it",
        }
    }
}

/// A store that did not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}: {reason}; {}", .failure.code(), .file.display(), .failure.advice())]
pub struct OpenError {
    /// The kind, with its code, exit code and advice.
    pub failure: OpenFailure,
    /// The file or directory it is about.
    pub file: PathBuf,
    /// What was found.
    pub reason: String,
}

impl OpenError {
    pub(crate) fn new(failure: OpenFailure, file: &Path, reason: impl Into<String>) -> Self {
        Self {
            failure,
            file: file.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn engine(file: &Path, error: &EngineError) -> Self {
        let failure = match error {
            EngineError::Corrupt(_) => OpenFailure::EngineDamaged,
            EngineError::Io(_) | EngineError::Busy(_) => OpenFailure::Io,
        };
        Self::new(failure, file, error.to_string())
    }

    fn row(file: &Path, error: &TxError) -> Self {
        match error {
            TxError::Engine(error) => Self::engine(file, error),
            other => Self::new(OpenFailure::EngineDamaged, file, other.to_string()),
        }
    }

    pub(crate) fn control(file: &Path, error: &ControlError) -> Self {
        let failure = if matches!(error, ControlError::Damaged) {
            OpenFailure::ControlDamaged
        } else {
            OpenFailure::Io
        };
        Self::new(failure, file, error.to_string())
    }
}

/// The paths of one directory.
struct Places {
    control: PathBuf,
    engine: PathBuf,
    node: PathBuf,
}

/// Opens the engine in a directory, or creates it there.
type OpenEngine<'a> = &'a dyn Fn(&Path, bool) -> Result<Box<dyn Engine>, EngineError>;

/// What a store is opened on: the host, or a simulation of it.
pub(crate) struct Ground<'a> {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) engine: OpenEngine<'a>,
    pub(crate) node: &'a dyn Fn(&Path) -> Result<NodeStore, NodeError>,
}

/// A directory that was found good, ready to be started.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) journal: Journal,
    pub(crate) clock: TxClock,
    pub(crate) home: Home,
}

impl Store {
    /// Opens the store in `dir`, or creates one when the directory is fresh.
    ///
    /// # Errors
    /// [`OpenError`] with a stable code, the file, the reason and advice.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<Self, OpenError> {
        let (memory, progress) = (options.memory, Arc::clone(&options.progress));
        let tell = |found: &Replayed| {
            if found.logs > 0 {
                let Replayed {
                    logs, bytes, batches, ..
                } = found;
                progress(&format!(
                    "replaying {batches} batches, {bytes} bytes, from {logs} write-ahead logs"
                ));
            }
        };
        let ground = Ground {
            disk: Arc::new(HostDisk),
            engine: &|dir, create| Ok(Box::new(RocksEngine::open_telling(dir, &memory, create, &tell)?)),
            node: &NodeStore::open,
        };
        let opened = open_on(&ground, dir, options)?;
        Self::start(opened).map_err(|error| OpenError::new(OpenFailure::Io, dir, error.to_string()))
    }
}

/// Takes the directory, checks everything in it against everything else, and leaves a floor at what was found.
pub(crate) fn open_on(ground: &Ground<'_>, dir: &Path, options: OpenOptions) -> Result<Opened, OpenError> {
    let disk = &ground.disk;
    let io = |error: std::io::Error| OpenError::new(OpenFailure::Io, dir, error.to_string());
    files::create_dir(disk.as_ref(), dir).map_err(io)?;
    let lock = disk.lock_dir(dir).map_err(io)?;
    let lock = lock.ok_or_else(|| OpenError::new(OpenFailure::Locked, dir, "another process uses it"))?;
    let places = Places {
        control: dir.join(CONTROL_FILE),
        engine: dir.join(ENGINE_DIR),
        node: dir.join(NODE_FILE),
    };
    let OpenOptions {
        tables,
        keys,
        journal,
        memory,
        on_fatal,
        progress,
        boot_ms,
        entropy,
        observers,
    } = options;
    let catalog = Catalog::new(tables, observers).map_err(|reason| OpenError::new(OpenFailure::Tables, dir, reason))?;

    let mut control = open_control(&places, disk, &entropy, &progress)?;
    let History {
        engine,
        head,
        journal,
        mut recovery,
    } = open_history(&places, ground, &mut control, journal, &progress)?;
    fault::hit("open.recovered");
    control.state.incarnation += 1;
    recovery.incarnation = control.state.incarnation;
    raise_floor(&mut control, head);
    control
        .write()
        .map_err(|error| OpenError::control(&places.control, &error))?;
    let node = (ground.node)(&places.node)
        .map_err(|error| OpenError::new(OpenFailure::Io, &places.node, error.to_string()))?;

    let identity = Identity {
        cluster_id: control.state.cluster_id,
        incarnation: control.state.incarnation,
    };
    let start = (head, identity);
    let shared = Shared::new(engine, catalog, keys, memory.row_cache_bytes, start, on_fatal);
    fault::hit("open.indexes");
    indexes::prepare(&shared, &progress).map_err(|error| indexes::open_error(&places.engine, error))?;
    let keeper = FloorKeeper::new(control, Arc::clone(&shared), progress);
    let home = Home {
        _lock: Some(lock),
        floor: Some(keeper),
        node,
        recovery,
    };
    let clock = TxClock::new(boot_ms, head.now_at);
    Ok(Opened {
        shared,
        journal,
        clock,
        home,
    })
}

fn open_control(
    places: &Places,
    disk: &Arc<dyn Disk>,
    entropy: &[u8; 32],
    progress: &ProgressFn,
) -> Result<ControlFile, OpenError> {
    let failed = |error: ControlError| OpenError::control(&places.control, &error);
    match ControlFile::open(disk, &places.control).map_err(failed)? {
        Some(control) => {
            if control.repaired {
                progress("one slot of the control file is damaged; the other one is used");
            }
            Ok(control)
        }
        None if disk.is_dir(&places.engine) => {
            let reason = "there is an engine but no control file";
            Err(OpenError::new(OpenFailure::ControlMissing, &places.control, reason))
        }
        None => {
            let state = ControlState::fresh(derive_id("cluster id", entropy), derive_id("node id", entropy));
            ControlFile::create(disk, &places.control, state).map_err(failed)
        }
    }
}

/// Opens the engine; creates it when the control file says that it never was complete.
fn open_engine(
    places: &Places,
    ground: &Ground<'_>,
    control: &mut ControlFile,
    progress: &ProgressFn,
) -> Result<Box<dyn Engine>, OpenError> {
    let disk = ground.disk.as_ref();
    let failed = |error: EngineError| OpenError::engine(&places.engine, &error);
    if control.state.initialised {
        if !disk.is_dir(&places.engine) {
            return Err(OpenError::new(
                OpenFailure::EngineMissing,
                &places.engine,
                "the control file says it exists",
            ));
        }
        progress("opening the engine");
        return (ground.engine)(&places.engine, false).map_err(failed);
    }
    let io = |error: std::io::Error| OpenError::new(OpenFailure::Io, &places.engine, error.to_string());
    if disk.is_dir(&places.engine) {
        // A first start that was interrupted: nothing in here was ever acknowledged.
        disk.remove_dir_all(&places.engine).map_err(io)?;
    }
    progress("creating the engine");
    let engine = (ground.engine)(&places.engine, true).map_err(failed)?;
    let head = Head::start(control.state.epoch).encode(&control.state.cluster_id);
    engine
        .commit(&[crate::engine::BatchOp::Put(
            crate::engine::Space::Meta,
            &Head::key(),
            &head,
        )])
        .map_err(|error| OpenError::engine(&places.engine, &error))?;
    fault::hit("open.created");
    disk.sync_dir(files::parent(&places.engine)).map_err(io)?;
    control.state.initialised = true;
    control
        .write()
        .map_err(|error| OpenError::control(&places.control, &error))?;
    Ok(engine)
}

/// An engine whose head and journal agree with each other and with the control file.
struct History {
    engine: Box<dyn Engine>,
    head: Head,
    journal: Journal,
    recovery: Recovery,
}

fn open_history(
    places: &Places,
    ground: &Ground<'_>,
    control: &mut ControlFile,
    limits: JournalLimits,
    progress: &ProgressFn,
) -> Result<History, OpenError> {
    let mut recovery = Recovery {
        created: !control.state.initialised,
        floor_lsn: control.state.floor_lsn,
        control_repaired: control.repaired,
        ..Recovery::default()
    };
    let begun = Instant::now();
    let engine = open_engine(places, ground, control, progress)?;
    recovery.engine_took = begun.elapsed();
    recovery.replayed = engine.replayed();
    fault::hit("open.engine");
    let begun = Instant::now();
    let (head, journal) = check::history(engine.view().as_ref(), &control.state, limits)
        .map_err(|failed| OpenError::new(failed.failure, &places.engine, failed.reason))?;
    // After a restore the next frame opens the epoch of the control file.
    let epoch = control.state.epoch;
    recovery.check_took = begun.elapsed();
    (recovery.lsn, recovery.epoch) = (head.lsn, epoch);
    Ok(History {
        engine,
        head: Head { epoch, ..head },
        journal,
        recovery,
    })
}

/// Everything up to the head was read back from the disk, so the floor may rise to it.
fn raise_floor(control: &mut ControlFile, head: Head) {
    control.state.floor_lsn = head.lsn;
    control.state.floor_chain = head.chain;
}

#[cfg(test)]
mod tests;
