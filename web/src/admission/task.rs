//! The controller's task, on the threads that token checks run on: it closes a window every 100 ms. How late those threads
//! are the process measures anyway, for its health. A second task measures it on the players' threads, every 5 ms. When
//! nobody asks anything both park until the next request, which costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_domain::ports::Clock;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::controller::{Controller, Moment, WINDOW_MS};
use super::core::Core;
use crate::host::Host;

/// Between two measurements of the players' lateness.
const BEAT: Duration = Duration::from_millis(5);
const BEAT_US: u64 = BEAT.as_micros() as u64;
const WINDOW: Duration = Duration::from_millis(WINDOW_MS);

/// Values of [`Core::life`].
pub(super) const NOT_STARTED: u8 = 0;
pub(super) const RUNNING: u8 = 1;
pub(super) const STOPPED: u8 = 2;

/// The tasks, while they run; they end with this.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Option<[AbortHandle; 2]>>);

impl Running {
    pub(super) fn start(&self, core: &Arc<Core>, host: Arc<dyn Host>, clock: Arc<dyn Clock>, players: &Handle) {
        let mut tasks = self.0.lock();
        if tasks.is_none() {
            core.life.store(RUNNING, Ordering::Relaxed);
            core.players_lag.begin(core.us(std::time::Instant::now()));
            let (controlled, beaten) = (Arc::clone(core), Arc::clone(core));
            let controller = tokio::spawn(async move { run(&controlled, &*host, &*clock).await });
            let beat = players.spawn(async move { beat_of_players(&beaten).await });
            *tasks = Some([controller.abort_handle(), beat.abort_handle()]);
        }
    }

    pub(super) fn stop(&self, core: &Core) {
        if let Some(tasks) = self.0.lock().take() {
            tasks.iter().for_each(AbortHandle::abort);
            core.life.store(STOPPED, Ordering::Relaxed);
            core.is_parked.store(false, Ordering::Relaxed);
            core.is_shedding.store(false, Ordering::Relaxed);
            core.tenants.open();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(tasks) = self.0.lock().take() {
            tasks.iter().for_each(AbortHandle::abort);
        }
    }
}

async fn run(core: &Core, host: &dyn Host, clock: &dyn Clock) {
    let mut controller = Controller::new();
    let mut beats = host.pressure().beats;
    loop {
        let begun = Instant::now();
        tokio::time::sleep(WINDOW).await;
        let pressure = host.pressure();
        let lag_ms = pressure.beats.mean_ms_since(beats);
        beats = pressure.beats;
        let moment = Moment {
            elapsed_ms: begun.elapsed().as_secs_f64() * 1000.0,
            lag_ms,
            now_ms: core.us(std::time::Instant::now()) / 1000,
            now_at: clock.now_at(),
            players_lag_ms: core.players_lag.take_ms(core.us(std::time::Instant::now())),
            pressure,
        };
        controller.window(core, &moment);
        if controller.is_idle() {
            park(core).await;
            // What went on while nobody asked is not the next window's.
            beats = host.pressure().beats;
        }
    }
}

/// How late the players' threads are. They may be so late that nobody measures: then it is since when.
#[derive(Debug, Default)]
pub(super) struct PlayersLag {
    /// Lateness of the beats since the last look, in microseconds, all together; and how many they were.
    late_us: AtomicU64,
    beats: AtomicU64,
    /// When the last was, on the scale of [`Core::us`].
    last_us: AtomicU64,
}

impl PlayersLag {
    /// From now on beats are missed.
    fn begin(&self, now_us: u64) {
        self.last_us.store(now_us, Ordering::Relaxed);
    }

    fn beat(&self, late_us: u64, now_us: u64) {
        self.late_us.fetch_add(late_us, Ordering::Relaxed);
        self.beats.fetch_add(1, Ordering::Relaxed);
        self.last_us.store(now_us, Ordering::Relaxed);
    }

    /// Mean lateness since the last call, or how long a beat has been missing, whichever is more; in milliseconds.
    fn take_ms(&self, now_us: u64) -> f64 {
        let (late_us, beats) = (
            self.late_us.swap(0, Ordering::Relaxed),
            self.beats.swap(0, Ordering::Relaxed),
        );
        let due_us = self.last_us.load(Ordering::Relaxed).saturating_add(BEAT_US);
        let mean_us = late_us.checked_div(beats).unwrap_or(0);
        mean_us.max(now_us.saturating_sub(due_us)) as f64 / 1000.0
    }
}

async fn beat_of_players(core: &Core) {
    loop {
        let slept = Instant::now();
        tokio::time::sleep(BEAT).await;
        let late = slept.elapsed().saturating_sub(BEAT);
        let now_us = core.us(std::time::Instant::now());
        core.players_lag
            .beat(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), now_us);
        if core.is_parked.load(Ordering::Relaxed) {
            core.players_wake.notified().await;
        }
    }
}

/// Waits for the next request.
async fn park(core: &Core) {
    let asked = || core.figures.offered_count();
    let before = asked();
    core.is_parked.store(true, Ordering::SeqCst);
    // A request between the window and the line above has not woken anybody.
    if asked() == before {
        core.wake.notified().await;
    }
    core.is_parked.store(false, Ordering::SeqCst);
    core.players_lag.begin(core.us(std::time::Instant::now()));
    core.players_wake.notify_one();
}
