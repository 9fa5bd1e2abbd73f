//! The controller's task: it wakes every 5 ms, measures by how much it was late, and closes a window every 100 ms. When
//! nobody asks anything it parks until the next request, which costs nothing. Beside it the usher, who gives turns.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use seawall_domain::ports::Clock;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::controller::{Controller, Moment, WINDOW_MS};
use super::core::Core;
use crate::host::Host;

/// Between two measurements of lateness.
const BEAT: Duration = Duration::from_millis(5);
const WINDOW: Duration = Duration::from_millis(WINDOW_MS);

/// Values of [`Core::life`].
pub(super) const NOT_STARTED: u8 = 0;
pub(super) const RUNNING: u8 = 1;
pub(super) const STOPPED: u8 = 2;

/// The tasks, while they run; they end with this.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<Option<[AbortHandle; 2]>>);

impl Running {
    pub(super) fn start(&self, core: &Arc<Core>, host: Arc<dyn Host>, clock: Arc<dyn Clock>) {
        let mut tasks = self.0.lock();
        if tasks.is_none() {
            core.life.store(RUNNING, Ordering::Relaxed);
            core.turns.begin(Handle::current().metrics().num_workers());
            let (controlled, ushered) = (Arc::clone(core), Arc::clone(core));
            let controller = tokio::spawn(async move { run(&controlled, &*host, &*clock).await });
            let usher = tokio::spawn(async move { usher(&ushered).await });
            *tasks = Some([controller.abort_handle(), usher.abort_handle()]);
        }
    }

    pub(super) fn stop(&self, core: &Core) {
        if let Some(tasks) = self.0.lock().take() {
            tasks.iter().for_each(AbortHandle::abort);
            core.turns.open();
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
    loop {
        let begun = Instant::now();
        let lag_ms = beat(begun).await;
        let moment = Moment {
            elapsed_ms: begun.elapsed().as_secs_f64() * 1000.0,
            lag_ms,
            now_ms: core.us(std::time::Instant::now()) / 1000,
            now_at: clock.now_at(),
            turn_wait_ms: core.turns.take_wait_ms(core.us(std::time::Instant::now())),
            pressure: host.pressure(),
        };
        controller.window(core, &moment);
        if controller.is_idle() {
            park(core).await;
        }
    }
}

/// One window of beats; the mean lateness in milliseconds.
async fn beat(begun: Instant) -> f64 {
    let (mut beats, mut late) = (0u32, Duration::ZERO);
    while begun.elapsed() < WINDOW {
        let slept = Instant::now();
        tokio::time::sleep(BEAT).await;
        late += slept.elapsed().saturating_sub(BEAT);
        beats += 1;
    }
    late.as_secs_f64() * 1000.0 / f64::from(beats.max(1))
}

/// Gives turns: a handful, then whatever else is ready on the network threads, then the next.
async fn usher(core: &Core) {
    loop {
        core.turns.called().await;
        loop {
            tokio::task::yield_now().await;
            let now_us = core.us(std::time::Instant::now());
            if !core.turns.give(&core.options.load(), now_us) {
                break;
            }
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
}
