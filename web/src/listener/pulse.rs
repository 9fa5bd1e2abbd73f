//! What a connection is doing and until when it may: one small shared record, written by the socket wrapper and by the
//! requests, read by the driver of the connection. Nothing is armed or cancelled per request: a deadline only moves,
//! and the driver re-arms its one timer when it fires early or a nearer deadline appears.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::turnstile::Line;
use crate::admission::Class;
use crate::limits::{LINGER_MS, Limits};

/// No time to linger is running.
const NOT_CLOSING: u64 = u64::MAX;
/// The next request has no turn yet.
const NO_TURN: u64 = u64::MAX;

/// What a connection waits for; also the metric label when the wait was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// Nothing has arrived yet.
    FirstByte = 0,
    /// A head has begun to arrive.
    Head = 1,
    /// A request is worked on or its answer is being read.
    Busy = 2,
    /// Kept alive.
    Idle = 3,
    /// Closing: the client may still be sending.
    Linger = 4,
    /// The next request has arrived and waits for its turn.
    Queued = 5,
}

impl Phase {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Phase::FirstByte,
            1 => Phase::Head,
            2 => Phase::Busy,
            5 => Phase::Queued,
            _ => Phase::Idle,
        }
    }

    pub(super) fn timeout_label(self) -> &'static str {
        match self {
            Phase::FirstByte => "first_byte_timeout",
            Phase::Head => "header_timeout",
            Phase::Busy => "exchange_timeout",
            Phase::Idle => "idle_timeout",
            Phase::Linger => "linger_timeout",
            Phase::Queued => "queue_timeout",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Pulse {
    base: Instant,
    phase: AtomicU8,
    due_ms: AtomicU64,
    /// When the client must have stopped sending; [`NOT_CLOSING`] until our side is closed. Apart from the phase, so that a
    /// stream that ends later takes nothing back.
    linger_due_ms: AtomicU64,
    in_flight: AtomicU32,
    /// What the next request waited for the turn it has, in microseconds, or [`NO_TURN`].
    turn_us: AtomicU64,
    /// Its line at the turnstile, in two parts.
    tenant: AtomicU64,
    class: AtomicU8,
    /// What it was answered for last.
    last_class: AtomicU8,
    is_h2: AtomicBool,
    /// All that was written has left for the socket.
    is_flushed: AtomicBool,
    /// A handler wants to know whether the client is still there.
    is_end_wanted: AtomicBool,
    /// It was looked for, and found.
    has_ended: AtomicBool,
    first_byte_ms: u64,
    header_ms: u64,
    exchange_ms: u64,
    idle_ms: u64,
    rest_after_ms: u64,
    rest_in_crowd_after_ms: u64,
    /// Wakes the driver when the drain moves on.
    pub(super) waker: AtomicWaker,
}

impl Pulse {
    pub(crate) fn new(limits: &Limits) -> Self {
        Pulse {
            base: Instant::now(),
            phase: AtomicU8::new(Phase::FirstByte as u8),
            due_ms: AtomicU64::new(limits.first_byte_ms),
            linger_due_ms: AtomicU64::new(NOT_CLOSING),
            in_flight: AtomicU32::new(0),
            turn_us: AtomicU64::new(NO_TURN),
            tenant: AtomicU64::new(Line::NEW.tenant),
            class: AtomicU8::new(Line::NEW.class as u8),
            last_class: AtomicU8::new(Line::NEW.class as u8),
            is_h2: AtomicBool::new(false),
            is_flushed: AtomicBool::new(true),
            is_end_wanted: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            first_byte_ms: limits.first_byte_ms,
            header_ms: limits.header_ms,
            exchange_ms: limits.total_ms + limits.idle_ms,
            idle_ms: limits.idle_ms,
            rest_after_ms: limits.rest_after_ms,
            rest_in_crowd_after_ms: limits.rest_in_crowd_after_ms,
            waker: AtomicWaker::new(),
        }
    }

    /// Of a connection that goes on being idle until then, and stood in this line before.
    pub(super) fn idle_until(limits: &Limits, due: Instant, line: Line) -> Self {
        let pulse = Self::new(limits);
        pulse.answered_for(line);
        pulse.answered_for(line);
        let left = due.saturating_duration_since(pulse.base);
        pulse.enter(Phase::Idle, u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        pulse
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, phase: Phase, for_ms: u64) {
        let due_ms = self.now_ms().saturating_add(for_ms);
        self.due_ms.store(due_ms, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        if self.linger_due_ms.load(Ordering::Relaxed) == NOT_CLOSING {
            Phase::from_u8(self.phase.load(Ordering::Relaxed))
        } else {
            Phase::Linger
        }
    }

    /// When the present phase must be over.
    pub(super) fn due(&self) -> Instant {
        let linger_due_ms = self.linger_due_ms.load(Ordering::Relaxed);
        let due_ms = if linger_due_ms == NOT_CLOSING {
            self.due_ms.load(Ordering::Relaxed)
        } else {
            linger_due_ms
        };
        self.base + Duration::from_millis(due_ms)
    }

    /// The time for the first byte begins anew.
    pub(super) fn restart(&self) {
        self.enter(Phase::FirstByte, self.first_byte_ms);
    }

    /// HTTP/2 has its own framing: bytes that arrive between requests begin no head.
    pub(super) fn speak_h2(&self) {
        self.is_h2.store(true, Ordering::Relaxed);
        self.enter(Phase::Idle, self.idle_ms);
    }

    /// Bytes arrived.
    pub(super) fn received(&self) {
        if self.is_between_requests() && !self.is_h2.load(Ordering::Relaxed) {
            self.enter(Phase::Head, self.header_ms);
        }
    }

    /// Has nothing of a request been read?
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self.phase(), Phase::FirstByte | Phase::Idle | Phase::Queued)
    }

    /// The next request is here and waits for its turn.
    pub(super) fn queued(&self) {
        if self.phase() != Phase::Queued {
            self.enter(Phase::Queued, self.exchange_ms);
        }
    }

    /// Is the next request, of which nothing has been read, to have a turn first?
    pub(super) fn awaits_turn(&self) -> bool {
        self.is_between_requests() && self.turn_us.load(Ordering::Relaxed) == NO_TURN
    }

    /// The next request has its turn, for which it waited so long.
    pub(super) fn take_turn(&self, waited: Duration) {
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(NO_TURN);
        self.turn_us.store(waited_us.min(NO_TURN - 1), Ordering::Relaxed);
        if self.phase() == Phase::Queued {
            self.enter(Phase::Idle, self.idle_ms);
        }
    }

    /// A request that was read uses the turn; how long it waited for it, or none when it was read without.
    pub(super) fn use_turn(&self) -> Option<Duration> {
        let waited_us = self.turn_us.swap(NO_TURN, Ordering::Relaxed);
        (waited_us != NO_TURN).then(|| Duration::from_micros(waited_us))
    }

    /// Where its next request waits for its turn.
    pub(crate) fn line(&self) -> Line {
        let class = usize::from(self.class.load(Ordering::Relaxed));
        Line {
            tenant: self.tenant.load(Ordering::Relaxed),
            class: Class::ALL.get(class).copied().unwrap_or(Line::NEW.class),
        }
    }

    /// It asked for something that belongs there, and was answered. The second time in a row its next request waits there: who logs
    /// in or registers once goes on as a player who has a token.
    pub(crate) fn answered_for(&self, line: Line) {
        self.tenant.store(line.tenant, Ordering::Relaxed);
        let last = self.last_class.swap(line.class as u8, Ordering::Relaxed);
        let class = if last == line.class as u8 {
            line.class
        } else {
            Line::NEW.class
        };
        self.class.store(class as u8, Ordering::Relaxed);
    }

    /// A request has been read up to the end of its head.
    pub(super) fn request_began(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy, self.exchange_ms);
    }

    /// An answer was handed to the connection to its last byte, or was given up.
    pub(super) fn answer_ended(&self) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.enter(Phase::Idle, self.idle_ms);
        }
    }

    /// The next read is to ask the system whether the client's side has ended, whatever the runtime knows of it. The task of
    /// an HTTP/1 connection is the handler's own; that of an HTTP/2 connection is woken.
    pub(crate) fn look_for_end(&self) {
        self.is_end_wanted.store(true, Ordering::Release);
        if self.is_h2.load(Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    /// Is the end still to be looked for?
    pub(crate) fn is_end_wanted(&self) -> bool {
        self.is_end_wanted.load(Ordering::Acquire)
    }

    /// Has the client's side ended, as far as that was looked for?
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Looks for the end if that is wanted; whether it is there.
    pub(crate) fn looks_for_end(&self, is_there: impl FnOnce() -> bool) -> bool {
        if !self.is_end_wanted.load(Ordering::Relaxed) {
            return false;
        }
        let has_ended = is_there();
        self.has_ended.store(has_ended, Ordering::Relaxed);
        self.is_end_wanted.store(false, Ordering::Release);
        has_ended
    }

    /// Our side of the connection is closed.
    pub(super) fn closing(&self) {
        if self.phase() != Phase::Linger {
            let due_ms = self.now_ms().saturating_add(LINGER_MS);
            self.linger_due_ms.store(due_ms, Ordering::Relaxed);
        }
    }

    /// False while the first request, or the head of one, is still awaited: closing then would refuse it.
    pub(super) fn may_be_closed(&self) -> bool {
        !matches!(self.phase(), Phase::FirstByte | Phase::Head | Phase::Queued)
    }

    /// Something was written, or all of it has left.
    pub(super) fn flushed(&self, all: bool) {
        self.is_flushed.store(all, Ordering::Relaxed);
    }

    /// How long after the last look a connection is to be asked whether it may rest.
    pub(super) fn rest_look(&self) -> Duration {
        Duration::from_millis(self.rest_after_ms.min(self.rest_in_crowd_after_ms))
    }

    /// As [`Pulse::may_move`], and for a while; a shorter one in a crowd.
    pub(super) fn may_rest(&self, is_crowded: bool) -> bool {
        let now_ms = self.now_ms();
        let idle_since_ms = self.due_ms.load(Ordering::Relaxed).saturating_sub(self.idle_ms);
        let after_ms = if is_crowded {
            self.rest_in_crowd_after_ms
        } else {
            self.rest_after_ms
        };
        self.may_move() && now_ms.saturating_sub(idle_since_ms) >= after_ms
    }

    /// True when nothing of a request or an answer is held.
    pub(super) fn may_move(&self) -> bool {
        self.phase() == Phase::Idle && self.is_quiet() && self.is_flushed.load(Ordering::Relaxed)
    }

    /// True while no request is being worked on.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_holds_nothing_may_rest() {
        let limits = Limits::default();
        let pulse = Pulse::new(&limits);
        let long = Duration::from_millis(limits.rest_after_ms);
        tokio::time::advance(long).await;
        assert!(!pulse.may_rest(false), "it has not asked yet");
        pulse.received();
        pulse.request_began();
        tokio::time::advance(long).await;
        assert!(!pulse.may_rest(false), "a request is worked on");
        pulse.flushed(false);
        pulse.answer_ended();
        tokio::time::advance(long).await;
        assert!(!pulse.may_rest(false), "the answer has not left");
        pulse.flushed(true);
        assert!(pulse.may_rest(false));
        pulse.received();
        assert!(!pulse.may_rest(false), "a head has begun");
        pulse.request_began();
        pulse.answer_ended();
        assert!(!pulse.may_rest(true), "not for long enough");
        tokio::time::advance(Duration::from_millis(limits.rest_in_crowd_after_ms)).await;
        assert!(pulse.may_rest(true) && !pulse.may_rest(false), "sooner in a crowd");
    }

    #[test]
    fn a_connection_waits_among_those_who_ask_again_for_what_it_asks_again() {
        let pulse = Pulse::new(&Limits::default());
        assert_eq!(pulse.line(), Line::NEW);
        let after = |class| {
            pulse.answered_for(Line { tenant: 7, class });
            pulse.line().class
        };
        assert_eq!(after(Class::Login), Class::Refresh, "a player who has a token now");
        assert_eq!(after(Class::Refresh), Class::Refresh);
        assert_eq!(after(Class::Register), Class::Refresh);
        assert_eq!(
            after(Class::Register),
            Class::Register,
            "somebody who registers again and again"
        );
        assert_eq!(after(Class::Refresh), Class::Refresh);
        assert_eq!(pulse.line().tenant, 7);
    }

    #[test]
    fn a_connection_that_rested_waits_where_it_did() {
        let limits = Limits::default();
        let pulse = Pulse::new(&limits);
        for class in Class::SHED {
            let line = Line { tenant: 7, class };
            pulse.answered_for(line);
            pulse.answered_for(line);
            assert_eq!(pulse.line(), line);
            assert_eq!(Pulse::idle_until(&limits, pulse.due(), pulse.line()).line(), line);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_follows_the_phase() {
        let limits = Limits::default();
        let pulse = Pulse::new(&limits);
        let start = Instant::now();
        let due_after = |pulse: &Pulse| u64::try_from((pulse.due() - Instant::now()).as_millis()).unwrap();
        assert_eq!(
            (pulse.phase(), due_after(&pulse)),
            (Phase::FirstByte, limits.first_byte_ms)
        );
        pulse.received();
        tokio::time::advance(Duration::from_millis(100)).await;
        pulse.received();
        assert_eq!(
            (pulse.phase(), pulse.due() - start),
            (Phase::Head, Duration::from_millis(limits.header_ms))
        );
        pulse.request_began();
        pulse.request_began();
        assert_eq!(
            (pulse.phase(), due_after(&pulse)),
            (Phase::Busy, limits.total_ms + limits.idle_ms)
        );
        pulse.answer_ended();
        assert!(!pulse.is_quiet());
        pulse.answer_ended();
        assert_eq!((pulse.phase(), due_after(&pulse)), (Phase::Idle, limits.idle_ms));
        pulse.speak_h2();
        pulse.received();
        assert_eq!(pulse.phase(), Phase::Idle);
        pulse.request_began();
        pulse.closing();
        assert_eq!((pulse.phase(), due_after(&pulse)), (Phase::Linger, LINGER_MS));
        tokio::time::advance(Duration::from_millis(100)).await;
        pulse.closing();
        pulse.answer_ended();
        assert_eq!((pulse.phase(), due_after(&pulse)), (Phase::Linger, LINGER_MS - 100));
    }
}
