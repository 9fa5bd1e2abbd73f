//! What a write brings along besides its closure: who asks, when, and unpredictable bytes. Nothing below this point reads
//! a clock or a generator, so a closure that runs again does the same again.

use std::sync::Arc;

use crate::limits::CLOCK_JUMP_MAX_MS;

/// Brought along by every write.
#[derive(Clone)]
pub struct Stamp {
    /// Operation, `noun.verb`.
    pub op: &'static str,
    /// Who asks, for the journal; no secret, at most 255 bytes are kept.
    pub caller: String,
    /// The request it belongs to.
    pub request_id: [u8; 16],
    /// Wall clock, Unix milliseconds. The transaction may see a later instant, never an earlier one than others saw.
    pub now_at: u64,
    /// 32 unpredictable bytes, new for every write.
    pub entropy: [u8; 32],
    /// Hash of the caller's idempotency key, if there was one.
    pub idempotency_key: Option<[u8; 32]>,
}

impl std::fmt::Debug for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stamp")
            .field("op", &self.op)
            .field("now_at", &self.now_at)
            .finish_non_exhaustive()
    }
}

/// Reads the boot-time clock (milliseconds, runs on through suspend); a port of the caller.
pub type BootClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Gives each transaction its now: never before the last one, and never far ahead of what the boot-time clock allows.
pub(crate) struct TxClock {
    boot_ms: BootClock,
    last_now_at: u64,
    last_boot_ms: Option<u64>,
    held_back: u64,
}

impl TxClock {
    pub(crate) fn new(boot_ms: BootClock, last_now_at: u64) -> Self {
        Self {
            boot_ms,
            last_now_at,
            last_boot_ms: None,
            held_back: 0,
        }
    }

    /// The now of the next transaction. The first one after a start is believed: the host may have been off for long.
    pub(crate) fn next(&mut self, wall_at: u64) -> u64 {
        let boot_ms = (self.boot_ms)();
        if let Some(last_boot_ms) = self.last_boot_ms {
            let passed_at = self.last_now_at.saturating_add(boot_ms.saturating_sub(last_boot_ms));
            if wall_at > passed_at.saturating_add(CLOCK_JUMP_MAX_MS) {
                self.held_back += 1;
                self.last_now_at = passed_at;
            } else {
                self.last_now_at = self.last_now_at.max(wall_at);
            }
        } else {
            self.last_now_at = self.last_now_at.max(wall_at);
        }
        self.last_boot_ms = Some(boot_ms);
        self.last_now_at
    }

    /// The boot-time clock, in milliseconds.
    pub(crate) fn boot_ms(&self) -> u64 {
        (self.boot_ms)()
    }

    /// How often a jump was held back since the start.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn clock(last_now_at: u64) -> (TxClock, Arc<AtomicU64>) {
        let boot = Arc::new(AtomicU64::new(1_000));
        let read = Arc::clone(&boot);
        (
            TxClock::new(Arc::new(move || read.load(Ordering::Relaxed)), last_now_at),
            boot,
        )
    }

    #[test]
    fn never_backwards() {
        let (mut clock, _) = clock(500_000);
        assert_eq!(clock.next(400_000), 500_000);
        assert_eq!(clock.next(500_001), 500_001);
        assert_eq!(clock.next(3), 500_001);
        assert_eq!(clock.held_back(), 0);
    }

    #[test]
    fn the_first_instant_after_a_start_is_believed() {
        let (mut clock, _) = clock(500_000);
        assert_eq!(clock.next(900_000_000), 900_000_000);
    }

    #[test]
    fn a_forward_jump_is_held_back_and_counted() {
        let (mut clock, boot) = clock(0);
        clock.next(1_000_000);
        boot.fetch_add(2_000, Ordering::Relaxed);
        assert_eq!(
            clock.next(1_000_000 + 2_000 + CLOCK_JUMP_MAX_MS),
            1_062_000,
            "exactly the allowance passes"
        );
        boot.fetch_add(5_000, Ordering::Relaxed);
        assert_eq!(clock.next(9_000_000), 1_067_000);
        assert_eq!(clock.held_back(), 1);
        boot.fetch_add(1, Ordering::Relaxed);
        assert_eq!(
            clock.next(1_067_500),
            1_067_500,
            "back to normal once the wall clock is sane"
        );
        assert_eq!(clock.held_back(), 1);
    }

    #[test]
    fn debug_shows_no_entropy() {
        let stamp = Stamp {
            op: "a.b",
            caller: "secret caller".into(),
            request_id: [1; 16],
            now_at: 5,
            entropy: [222; 32],
            idempotency_key: None,
        };
        assert_eq!(format!("{stamp:?}"), r#"Stamp { op: "a.b", now_at: 5, .. }"#);
    }
}
