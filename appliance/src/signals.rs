//! The signals of a serving process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
pub enum Wish {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals of a serving process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on; what comes meanwhile waits.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// SIGTERM or SIGINT.
    pub async fn stop(&mut self) {
        let (terminate, interrupt) = (&mut self.terminate, &mut self.interrupt);
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    }

    /// Whichever comes first.
    pub async fn next(&mut self) -> Wish {
        let Self {
            terminate,
            interrupt,
            hangup,
        } = self;
        tokio::select! {
            _ = terminate.recv() => Wish::Stop,
            _ = interrupt.recv() => Wish::Stop,
            _ = hangup.recv() => Wish::Reload,
        }
    }
}
