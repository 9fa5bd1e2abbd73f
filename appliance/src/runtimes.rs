//! The network threads: two runtimes, so that however much players ask at once, token checks have threads of their own.
//! Which connection goes where is the HTTP layer's business. See decisions/0816-two-sets-of-threads.md.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::cli::failure::Failure;
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
}

impl Runtimes {
    /// As many threads for each as the settings say.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(config: &HostConfig) -> Result<Self, Failure> {
        // Giving way is a wish, not a need: where it is refused, both run at normal priority.
        let give_way = || {
            let _ = rustix::process::nice(PLAYERS_NICE);
        };
        Ok(Self {
            checks: built(network(config).thread_name("checks"))?,
            players: built(network(config).thread_name("players").on_thread_start(give_way))?,
        })
    }

    /// Ends both, players first.
    pub fn end(self) {
        self.players.shutdown_timeout(END_MAX);
        self.checks.shutdown_timeout(END_MAX);
    }
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
