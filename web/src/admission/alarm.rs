//! Pressure asks for proofs of work: while logins or registrations are shed, or password hashes wait for too long, devices
//! that an account does not know must work first. Looks at what the controller found; the platform is told, and knows
//! which games want it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use seawall_domain::Platform;
use tokio::task::AbortHandle;

use super::class::Class;
use super::core::Core;
use super::{Admission, Mode};
use crate::wire;

/// Between two looks.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// So many more looks with pressure than without ask: two seconds of it.
const ASKING_AT: u32 = 8;
/// More is not counted, so that pressure of long ago is soon forgotten.
const COUNTED_MAX: u32 = 12;
/// So many calm looks in a row end it: thirty seconds. Asking itself makes things calmer, so not at the first one.
const CALM_LOOKS: u32 = 120;

/// Whether to ask; one step is one look.
#[derive(Debug, Default)]
struct Asking {
    pressed: u32,
    calm_looks: u32,
    is_on: bool,
}

impl Asking {
    fn step(&mut self, is_pressed: bool) -> bool {
        if is_pressed {
            self.pressed = (self.pressed + 1).min(COUNTED_MAX);
            self.calm_looks = 0;
        } else {
            self.pressed = self.pressed.saturating_sub(1);
            self.calm_looks = self.calm_looks.saturating_add(1);
        }
        if self.pressed >= ASKING_AT {
            self.is_on = true;
        } else if self.calm_looks >= CALM_LOOKS {
            self.is_on = false;
        }
        self.is_on
    }
}

/// The task that looks, while it runs; it ends with this, and with it the asking.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    task: Mutex<Option<AbortHandle>>,
    is_pressed: Arc<AtomicBool>,
}

impl Alarm {
    /// Begins to look on the current runtime; once is enough.
    pub(crate) fn start(&self, admission: &Admission, platform: &Platform) {
        let mut task = self.task.lock();
        if task.is_none() {
            let (core, platform) = (Arc::clone(&admission.core), platform.clone());
            let is_pressed = Arc::clone(&self.is_pressed);
            *task = Some(tokio::spawn(async move { run(&core, &platform, &is_pressed).await }).abort_handle());
        }
    }

    /// Ends it; nobody is asked for the sake of pressure from now on.
    pub(crate) fn stop(&self, platform: &Platform) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
            self.is_pressed.store(false, Ordering::Relaxed);
            platform.ask_for_challenges(false);
        }
    }

    /// What an operator sees.
    pub(crate) fn view(&self, platform: &Platform) -> wire::AdmissionChallenges {
        wire::AdmissionChallenges {
            is_pressed: self.is_pressed.load(Ordering::Relaxed),
            is_asking: platform.asks_for_challenges(),
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

async fn run(core: &Core, platform: &Platform, is_pressed: &AtomicBool) {
    let (mut asking, mut was_asking) = (Asking::default(), false);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now_ms = core.us(Instant::now()) / 1_000;
        let pressed = is_pressed_now(core, now_ms);
        is_pressed.store(pressed, Ordering::Relaxed);
        let is_enforced = core.options.load().mode == Mode::Enforce;
        let is_asking = asking.step(pressed && is_enforced) && is_enforced;
        if is_asking != was_asking {
            was_asking = is_asking;
            platform.ask_for_challenges(is_asking);
            tracing::info!(is_asking, "proofs of work because of pressure");
        }
    }
}

/// Did the last window show it? A controller that does not look, because nobody comes or because it is stuck, shows
/// nothing.
fn is_pressed_now(core: &Core, now_ms: u64) -> bool {
    if !core.is_fresh(now_ms) {
        return false;
    }
    let hash_wait_max_ms = core.options.load().hash_wait_max_ms as f64;
    let signs = core.signs.lock();
    let is_shed = |class: Class| signs.fractions.at(class) < 1.0;
    is_shed(Class::Login) || is_shed(Class::Register) || signs.pressure.hash_wait_ms > hash_wait_max_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(asking: &mut Asking, looks: u32, is_pressed: bool) -> bool {
        (0..looks).fold(asking.is_on, |_, _| asking.step(is_pressed))
    }

    #[test]
    fn a_moment_of_pressure_asks_nothing_two_seconds_do() {
        let mut asking = Asking::default();
        assert!(!looks(&mut asking, ASKING_AT - 1, true));
        assert!(!looks(&mut asking, 4, false));
        assert!(!looks(&mut asking, 4, true));
        assert!(looks(&mut asking, 1, true));
    }

    #[test]
    fn pressure_that_comes_and_goes_asks_too_when_there_is_more_of_it_than_calm() {
        let mut asking = Asking::default();
        let is_on = (0..30).fold(false, |_, turn| looks(&mut asking, 1, turn % 3 != 0));
        assert!(is_on);
        let mut asking = Asking::default();
        let is_on = (0..30).fold(false, |_, turn| looks(&mut asking, 1, turn % 2 == 0));
        assert!(!is_on);
    }

    #[test]
    fn half_a_minute_of_calm_ends_it_and_nothing_shorter() {
        let mut asking = Asking::default();
        assert!(looks(&mut asking, 1_000, true));
        assert!(looks(&mut asking, CALM_LOOKS - 1, false));
        assert!(looks(&mut asking, 1, true));
        assert!(looks(&mut asking, CALM_LOOKS - 1, false));
        assert!(!looks(&mut asking, 1, false));
    }
}
