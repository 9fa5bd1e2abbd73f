//! Callers who leave before they are answered. What a client asks for again by itself ends with its connection, because a
//! late one would undo the newer one; everything else that arrived whole is finished, answered or not. See
//! decisions/0812-callers-who-left.md.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use seawall_domain::Error;
use tokio::runtime::Handle;

use crate::admission::Class;
use crate::exchange::{Answer, Handled};
use crate::origin::Origin;
use crate::route::Route;

/// How often work gives way to the task of its connection, which is another one with HTTP/2, until that has looked.
const YIELDS_MAX: u32 = 8;

/// Whether the work of a route is given up with its connection: what only reads, and what players' clients repeat.
fn ends_with_caller(route: &Route) -> bool {
    let only_reads = route.method() == http::Method::GET || route.class == Class::Verify;
    only_reads || matches!(route.op, "session.create" | "account.create" | "session.refresh")
}

/// Has the caller left, of work that ends with it? A crowded server reads request and end at once, long after the client has
/// tried again; so the connection is let look for its end before such work begins. Logins and registrations always pay for
/// that; a refresh, which is so much less work, only `under_load`.
pub(crate) async fn has_left(route: &Route, origin: &Origin, under_load: bool) -> bool {
    let is_worth_it = match route.class {
        Class::Login | Class::Register => true,
        _ => under_load && route.op == "session.refresh",
    };
    let Some(pulse) = origin.pulse.as_ref().filter(|_| is_worth_it) else {
        return false;
    };
    pulse.look_for_end();
    for _ in 0..YIELDS_MAX {
        tokio::task::yield_now().await;
        if !pulse.is_end_wanted() {
            break;
        }
    }
    pulse.has_ended()
}

/// A handler at work. Dropped before its end it is finished in the background, within its time, unless it ends with its
/// caller. How much can be in the background is bounded by the queues it waits in.
pub(crate) struct Work {
    /// Taken out while it is polled, so that one that panicked is not polled again.
    rest: Option<Handled>,
    /// Until when it may be finished without its caller; `None` when it is not.
    finish_by: Option<Instant>,
}

impl Work {
    /// The work of `route`, which must be over at `deadline`.
    pub(crate) fn of(route: &Route, handled: Handled, deadline: Instant) -> Self {
        Self {
            rest: Some(handled),
            finish_by: (!ends_with_caller(route)).then_some(deadline),
        }
    }
}

impl Future for Work {
    type Output = Result<Answer, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut rest) = self.rest.take() else {
            return Poll::Pending;
        };
        let polled = rest.as_mut().poll(cx);
        if polled.is_pending() {
            self.rest = Some(rest);
        }
        polled
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let (Some(rest), Some(finish_by)) = (self.rest.take(), self.finish_by) else {
            return;
        };
        if Instant::now() < finish_by
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(tokio::time::timeout_at(finish_by.into(), rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::Waker;

    use super::*;
    use crate::Limits;
    use crate::listener::pulse::Pulse;
    use crate::origin::Surface;
    use crate::routes::{ROUTES, find};

    #[test]
    fn the_end_is_looked_for_before_work_that_ends_with_its_caller() {
        let mut origin = Origin::in_process(&Surface::ALL, 0, [1; 16]);
        let pulse = Arc::new(Pulse::new(&Limits::default()));
        origin.pulse = Some(Arc::clone(&pulse));
        // What becomes of it, the connection having looked after the first poll.
        let asked = |op: &str, under_load, found| {
            let mut left = pin!(has_left(find(op).unwrap(), &origin, under_load));
            let mut cx = Context::from_waker(Waker::noop());
            let first = left.as_mut().poll(&mut cx);
            if first.is_pending() {
                assert_eq!(pulse.looks_for_end(|| found), found);
                return left.as_mut().poll(&mut cx).map(Some);
            }
            assert!(!pulse.looks_for_end(|| found), "{op}: not asked for");
            first.map(|_| None)
        };
        for op in ["session.create", "account.create"] {
            assert_eq!(asked(op, false, false), Poll::Ready(Some(false)));
        }
        assert_eq!(asked("session.refresh", false, false), Poll::Ready(None));
        for op in ["session.verify", "session.logout", "account.show"] {
            assert_eq!(asked(op, true, false), Poll::Ready(None));
        }
        assert_eq!(asked("session.refresh", true, true), Poll::Ready(Some(true)));
    }

    #[test]
    fn a_connection_that_does_not_look_is_not_waited_for_for_long() {
        let mut origin = Origin::in_process(&Surface::ALL, 0, [1; 16]);
        origin.pulse = Some(Arc::new(Pulse::new(&Limits::default())));
        let mut left = pin!(has_left(find("session.create").unwrap(), &origin, false));
        let mut cx = Context::from_waker(Waker::noop());
        let polls = (1..99).find(|_| left.as_mut().poll(&mut cx) == Poll::Ready(false));
        assert_eq!(polls, Some(YIELDS_MAX + 1));
    }

    #[test]
    fn only_what_reads_and_what_players_repeat_ends_with_its_caller() {
        let writes = |route: &&Route| route.method() != http::Method::GET && route.class != Class::Verify;
        let ending = ROUTES.iter().filter(writes).filter(|route| ends_with_caller(route));
        let ending: Vec<_> = ending.map(|route| (route.surface, route.op)).collect();
        let ops = ["session.create", "account.create", "session.refresh"];
        assert_eq!(ending, ops.map(|op| (Surface::Sdk, op)));
    }
}
