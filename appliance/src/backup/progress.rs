//! How far a long piece of work on a repository has come, and whether it shall stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::BackupError;

/// Shared by who works and who looks.
#[derive(Debug, Default)]
pub struct Progress {
    phase: Mutex<&'static str>,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// The next phase begins; `total_bytes` 0 when its size is unknown.
    pub fn enter(&self, phase: &'static str, total_bytes: u64) {
        *self.phase.lock() = phase;
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    /// So many more bytes are done.
    ///
    /// # Errors
    /// [`BackupError::Stopped`] when the work shall end here.
    pub fn add(&self, bytes: u64) -> Result<(), BackupError> {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.stop.load(Ordering::Relaxed) {
            Err(BackupError::Stopped)
        } else {
            Ok(())
        }
    }

    /// The work shall end at its next step.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Phase, bytes done, bytes in all.
    #[must_use]
    pub fn read(&self) -> (&'static str, u64, u64) {
        let phase = *self.phase.lock();
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        (phase, read(&self.done_bytes), read(&self.total_bytes))
    }

    /// For answers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (phase, done_bytes, total_bytes) = self.read();
        json!({ "phase": phase, "done_bytes": done_bytes, "total_bytes": total_bytes })
    }
}
