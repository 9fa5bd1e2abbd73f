//! The floor keeper: writes the durable head into the control file, at most once a second and at the end.

use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::raise_floor;
use crate::control::{ControlFile, ControlState};
use crate::limits::FLOOR_INTERVAL;
use crate::options::ProgressFn;
use crate::shared::Shared;

/// Keeps the control file's floor.
pub(crate) struct FloorKeeper {
    control: Arc<Mutex<ControlFile>>,
    shared: Arc<Shared>,
    progress: ProgressFn,
    stop: Sender<()>,
    stopped: Receiver<()>,
}

impl FloorKeeper {
    pub(crate) fn new(control: ControlFile, shared: Arc<Shared>, progress: ProgressFn) -> Self {
        let (stop, stopped) = bounded(1);
        Self {
            control: Arc::new(Mutex::new(control)),
            shared,
            progress,
            stop,
            stopped,
        }
    }

    /// The content of the control file.
    pub(crate) fn state(&self) -> ControlState {
        self.control.lock().state.clone()
    }

    /// Starts the thread.
    pub(crate) fn spawn(&self) -> std::io::Result<JoinHandle<()>> {
        let (control, shared) = (Arc::clone(&self.control), Arc::clone(&self.shared));
        let (stopped, progress) = (self.stopped.clone(), Arc::clone(&self.progress));
        std::thread::Builder::new().name("store-floor".into()).spawn(move || {
            while stopped.recv_timeout(FLOOR_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                refresh(&mut control.lock(), &shared, &progress);
            }
        })
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        // A full channel holds the same word already.
        let _ = self.stop.try_send(());
    }

    /// Writes the floor now; the last one once nothing commits any more.
    pub(crate) fn keep(&self) {
        refresh(&mut self.control.lock(), &self.shared, &self.progress);
    }
}

/// A floor that cannot be written is only a weaker check at the next start, so it is said and tried again.
fn refresh(control: &mut ControlFile, shared: &Shared, progress: &ProgressFn) {
    let head = *shared.head.read();
    if control.state.floor_lsn == head.lsn || shared.has_failed() {
        return;
    }
    let before = control.state.clone();
    raise_floor(control, head);
    if let Err(error) = control.write() {
        control.state = before;
        progress(&format!(
            "the durable floor could not be written to the control file: {error}"
        ));
    }
}
