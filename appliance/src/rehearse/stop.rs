//! A rehearsal that is told to stop still cleans up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use crate::cli::failure::Failure;
use crate::signals::Signals;

/// Exit code of a process that was told to stop twice, and does not wait.
const TWICE: i32 = 130;

/// Whether somebody asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Set at the first SIGINT or SIGTERM.
    pub flag: Arc<AtomicBool>,
}

impl Stop {
    /// Listens from now on, on a thread that lives as long as the process. The second signal ends the process at once; what is left
    /// over then is removed by the next rehearsal.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn listen() -> Result<Self, Failure> {
        let stop = Self::default();
        let flag = Arc::clone(&stop.flag);
        let (say, hear) = mpsc::channel();
        let listening = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut signals) = Signals::listen() else { return };
                let _ = say.send(());
                signals.stop().await;
                flag.store(true, Ordering::Relaxed);
                signals.stop().await;
                std::process::exit(TWICE);
            });
        };
        let failed = || Failure::Failed("signals cannot be received".into());
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(listening)
            .map_err(|_| failed())?;
        hear.recv().map_err(|_| failed())?;
        Ok(stop)
    }

    /// Goes on unless somebody asked to stop.
    ///
    /// # Errors
    /// When somebody did.
    pub fn check(&self) -> Result<(), Failure> {
        if self.flag.load(Ordering::Relaxed) {
            return Err(Failure::Failed("stopped; nothing was proposed".into()));
        }
        Ok(())
    }
}
