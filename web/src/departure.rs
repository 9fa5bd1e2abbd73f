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
use crate::route::Route;

/// Whether the work of a route is given up with its connection: what only reads, and what players' clients repeat.
fn ends_with_caller(route: &Route) -> bool {
    let only_reads = route.method() == http::Method::GET || route.class == Class::Verify;
    only_reads || matches!(route.op, "session.create" | "account.create" | "session.refresh")
}

/// Gives the end of the connection a chance to show that arrived right behind a login or registration: a crowded server
/// reads both at once, long after the client has tried again. It does not always show (decisions/0812).
pub(crate) async fn let_show(route: &Route) {
    if matches!(route.class, Class::Login | Class::Register) {
        tokio::task::yield_now().await;
    }
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
    use std::task::Waker;

    use super::*;
    use crate::origin::Surface;
    use crate::routes::{ROUTES, find};

    #[test]
    fn logins_and_registrations_give_way_once_and_nothing_else_does() {
        let polls = |op: &str| {
            let mut showing = pin!(let_show(find(op).unwrap()));
            let mut cx = Context::from_waker(Waker::noop());
            (1..9).find(|_| showing.as_mut().poll(&mut cx).is_ready())
        };
        assert_eq!((polls("session.create"), polls("account.create")), (Some(2), Some(2)));
        assert_eq!((polls("session.verify"), polls("session.refresh")), (Some(1), Some(1)));
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
