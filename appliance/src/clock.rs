//! The only place of the product that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_domain::UnixMs;
use seawall_domain::ports::Clock;

/// The host's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one reader of the wall clock; all else takes time as an argument"
    )]
    fn now_at(&self) -> UnixMs {
        // A clock before 1970 reads as 0; the store never lets time run backwards.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now_at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        now_at.saturating_add_signed(offset_ms())
    }
}

/// The wall clock is never shifted in a build for players.
#[cfg(not(feature = "faults"))]
#[inline(always)]
const fn offset_ms() -> i64 {
    0
}

/// What the file named by `SEAWALL_CLOCK_FILE` says, in milliseconds: the crash suite steps the clock while we run.
#[cfg(feature = "faults")]
fn offset_ms() -> i64 {
    static FILE: std::sync::LazyLock<Option<std::ffi::OsString>> =
        std::sync::LazyLock::new(|| std::env::var_os("SEAWALL_CLOCK_FILE"));
    let text = FILE.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Milliseconds since boot, sleep included: what a jump of the wall clock is measured against.
#[must_use]
pub fn boottime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (
        u64::try_from(time.tv_sec).unwrap_or(0),
        u64::try_from(time.tv_nsec).unwrap_or(0),
    );
    seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_move_forward_and_are_in_milliseconds() {
        let year_2026_at = 1_767_225_600_000;
        assert!(SystemClock.now_at() > year_2026_at);
        let first = boottime_ms();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while boottime_ms() == first {
            assert!(std::time::Instant::now() < deadline, "boottime stands still");
        }
        assert!(boottime_ms() - first < 5_000);
    }
}
