//! The network threads: two runtimes, so that however much players ask at once, token checks have threads of their own.
//! Which connection goes where is the HTTP layer's business. See decisions/0816-two-sets-of-threads.md.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::cli::failure::Failure;
use crate::precedence::Precedence;
use crate::settings::config::HostConfig;

/// How much the threads of players give way to those of token checks, as of `nice`: a third of their weight.
const PLAYERS_NICE: i32 = 5;

/// How long the threads of a runtime may take to end.
const END_MAX: Duration = Duration::from_secs(2);

/// Both runtimes.
pub struct Runtimes {
    /// Token checks, operators, health and background tasks.
    pub checks: Runtime,
    /// Players.
    pub players: Runtime,
    /// Which of their threads go first.
    pub precedence: Arc<Precedence>,
}

impl Runtimes {
    /// As many threads for each as the settings say.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(config: &HostConfig) -> Result<Self, Failure> {
        let precedence = Precedence::new(config.checks_first_percent);
        let checks = built(hooked(network(config).thread_name("checks"), &precedence))?;
        let (idle, leaving) = (Arc::clone(&precedence), Arc::clone(&precedence));
        let mut players = network(config);
        players
            .thread_name("players")
            .on_thread_start(give_way)
            .on_thread_park(move || idle.players_idle())
            .on_thread_stop(move || leaving.leave());
        let players = built(&mut players)?;
        precedence.watch();
        Ok(Self {
            checks,
            players,
            precedence,
        })
    }

    /// Ends both, players first.
    pub fn end(self) {
        self.precedence.stop();
        self.players.shutdown_timeout(END_MAX);
        self.checks.shutdown_timeout(END_MAX);
    }
}

/// Giving way is a wish, not a need: where it is refused, both run at normal priority.
fn give_way() {
    let _ = rustix::process::nice(PLAYERS_NICE);
}

/// Makes threads of checks tell when they have nothing to do.
pub fn hooked<'builder>(builder: &'builder mut Builder, precedence: &Arc<Precedence>) -> &'builder mut Builder {
    let (idle, leaving) = (Arc::clone(precedence), Arc::clone(precedence));
    builder
        .on_thread_park(move || idle.checks_idle())
        .on_thread_stop(move || leaving.leave())
}

fn network(config: &HostConfig) -> Builder {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(config.worker_threads).enable_all();
    builder
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    let built = builder.build();
    built.map_err(|error| Failure::Failed(format!("no network threads: {error}")))
}
