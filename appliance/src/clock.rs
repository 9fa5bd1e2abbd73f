//! The only place of the product that reads a clock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use seawall_domain::UnixMs;
use seawall_domain::ports::Clock;
use seawall_storage::limits::CLOCK_JUMP_MAX_MS;

/// The host's wall clock, as far as it can be believed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

static STEADY: Steady = Steady::new();

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one reader of the wall clock; all else takes time as an argument"
    )]
    fn now_at(&self) -> UnixMs {
        // A clock before 1970 reads as 0; the store never lets time run backwards.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall_at = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        STEADY.judge(wall_at.saturating_add_signed(offset_ms()), boottime_ms())
    }

    fn boot_ms(&self) -> u64 {
        boottime_ms()
    }
}

/// How often the wall clock jumped and was not believed since the start.
#[must_use]
pub fn jumps_held_back() -> u64 {
    STEADY.jumps.load(Ordering::Relaxed)
}

/// Believes the wall clock while it agrees with the boot-time clock to within a minute. One that jumps is held back: ahead,
/// it would end every token at once; behind, a restriction made now would begin tomorrow. The first reading is believed,
/// because the host may have been off for long.
struct Steady {
    /// How far the wall clock is ahead of the boot-time clock, as last believed, in milliseconds.
    ahead_ms: AtomicI64,
    holds: AtomicBool,
    jumps: AtomicU64,
}

impl Steady {
    const fn new() -> Self {
        Self {
            ahead_ms: AtomicI64::new(i64::MIN),
            holds: AtomicBool::new(false),
            jumps: AtomicU64::new(0),
        }
    }

    /// What the time is, given both clocks.
    fn judge(&self, wall_at: u64, boot_ms: u64) -> u64 {
        let ahead_ms = wall_at.cast_signed().saturating_sub(boot_ms.cast_signed());
        let believed_ms = self.ahead_ms.load(Ordering::Relaxed);
        let jump_ms = ahead_ms.saturating_sub(believed_ms);
        if believed_ms == i64::MIN || jump_ms.unsigned_abs() <= CLOCK_JUMP_MAX_MS {
            self.ahead_ms.store(ahead_ms, Ordering::Relaxed);
            if self.holds.load(Ordering::Relaxed) && self.holds.swap(false, Ordering::Relaxed) {
                tracing::warn!("the wall clock is believed again");
            }
            return wall_at;
        }
        if !self.holds.swap(true, Ordering::Relaxed) {
            self.jumps.fetch_add(1, Ordering::Relaxed);
            tracing::error!(
                jump_ms,
                "the wall clock jumped and is not believed; set it right, or restart to believe it"
            );
        }
        boot_ms.saturating_add_signed(believed_ms)
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
    fn a_jump_ahead_is_held_back_until_the_clock_is_right_again() {
        let year_ms = 365 * 86_400_000;
        let steady = Steady::new();
        assert_eq!(steady.judge(1_000_000, 500), 1_000_000, "the first reading is believed");
        assert_eq!(steady.judge(1_050_000, 510), 1_050_000, "small corrections are");
        assert_eq!(steady.judge(1_050_090 + year_ms, 600), 1_050_090, "a year is not");
        assert_eq!(steady.judge(1_050_190 + year_ms, 700), 1_050_190);
        assert_eq!(
            steady.jumps.load(Ordering::Relaxed),
            1,
            "one jump, however often it is read"
        );
        assert_eq!(steady.judge(1_050_300, 800), 1_050_300, "right again");
        assert_eq!(steady.judge(1_050_500 + year_ms, 1_000), 1_050_500);
        assert_eq!(steady.jumps.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_jump_back_is_held_back_too() {
        let day_ms = 86_400_000;
        let steady = Steady::new();
        assert_eq!(steady.judge(10 * day_ms, 0), 10 * day_ms);
        assert_eq!(steady.judge(9 * day_ms + 1_000, 1_000), 10 * day_ms + 1_000);
        assert_eq!(
            steady.judge(10 * day_ms + 2_030, 2_000),
            10 * day_ms + 2_030,
            "right again"
        );
        assert_eq!(
            steady.judge(10 * day_ms + 1_990, 2_010),
            10 * day_ms + 1_990,
            "a small step back is believed"
        );
        assert_eq!(steady.jumps.load(Ordering::Relaxed), 1);
    }

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
