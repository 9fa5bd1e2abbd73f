//! A write on its way: the closure with its stamp as the sequencer sees it, and the future its caller holds.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot;

use crate::error::{TxError, WriteError};
use crate::stamp::{Stamp, TxClock};
use crate::tx::Tx;

/// The future of a write. It resolves once the group is durable; refusals and results that wrote nothing wait as well,
/// because they may have read what was not durable yet. Dropping it does not undo the write; that of
/// [`crate::Store::write_while_awaited`] keeps one from being begun that has not begun.
#[must_use = "the outcome of a write is known only through its future"]
pub struct Commit<T, E> {
    reply: Reply<T, E>,
}

enum Reply<T, E> {
    Waiting(oneshot::Receiver<Result<T, WriteError<E>>>),
    Now(Option<WriteError<E>>),
}

impl<T, E> Commit<T, E> {
    /// A write that was never queued.
    pub(crate) fn rejected(error: WriteError<E>) -> Self {
        Self {
            reply: Reply::Now(Some(error)),
        }
    }

    /// Blocks the thread until the outcome is known; for start-up code, tools and tests.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<T, WriteError<E>> {
        crate::wait::block_on(self)
    }
}

impl<T, E> Unpin for Commit<T, E> {}

impl<T, E> Future for Commit<T, E> {
    type Output = Result<T, WriteError<E>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.reply {
            // A lost sender means a thread of the store died with the job: nobody knows.
            Reply::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|reply| reply.unwrap_or(Err(WriteError::Unknown))),
            Reply::Now(error) => Poll::Ready(Err(error.take().unwrap_or(WriteError::Unknown))),
        }
    }
}

/// What the sequencer does with a transaction that ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its overlay joins the group.
    Keep,
    /// Its overlay is dropped.
    Drop,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Everything it wrote or read is durable: it gets its own result.
    Durable,
    /// The commit failed: nobody knows.
    Unknown,
    /// It left nothing.
    Closed,
    /// Its caller's deadline had passed; it was not begun.
    Late,
}

/// Whether a write is worth beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Somebody waits, or it is to be done in any case.
    Yes,
    /// Whoever asked has dropped the future.
    Gone,
    /// The time for which somebody would wait has passed.
    Late,
}

/// Until when a write may begin, by the boot-time clock, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) until_boot_ms: Option<u64>,
}

/// A queued write without its types.
pub(crate) trait Job: Send {
    fn stamp(&self) -> &Stamp;
    /// Whether it is worth beginning; `clock` is read only when that depends on the time.
    fn awaited(&self, clock: &TxClock) -> Awaited;
    /// Runs the closure; panics end here.
    fn run(&mut self, tx: &mut Tx<'_>) -> Verdict;
    /// Answers the caller.
    fn settle(self: Box<Self>, how: Settled);
}

/// A closure with its reply channel.
pub(crate) struct Write<T, E, F> {
    stamp: Stamp,
    /// None: it is done whether or not anybody waits.
    patience: Option<Patience>,
    run: F,
    outcome: Option<Result<T, WriteError<E>>>,
    reply: oneshot::Sender<Result<T, WriteError<E>>>,
}

impl<T, E, F> Write<T, E, F> {
    pub(crate) fn new(stamp: Stamp, patience: Option<Patience>, run: F) -> (Box<Self>, Commit<T, E>) {
        let (reply, receiver) = oneshot::channel();
        let job = Box::new(Self {
            stamp,
            patience,
            run,
            outcome: None,
            reply,
        });
        (
            job,
            Commit {
                reply: Reply::Waiting(receiver),
            },
        )
    }
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send + 'static,
    E: From<TxError> + Send + 'static,
    F: FnMut(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
{
    fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    fn awaited(&self, clock: &TxClock) -> Awaited {
        let Some(Patience { until_boot_ms }) = self.patience else {
            return Awaited::Yes;
        };
        if self.reply.is_canceled() {
            Awaited::Gone
        } else if until_boot_ms.is_some_and(|until_boot_ms| clock.boot_ms() > until_boot_ms) {
            Awaited::Late
        } else {
            Awaited::Yes
        }
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> Verdict {
        let run = &mut self.run;
        // The overlay of a panicking closure is dropped and the closure never runs again, so nothing half-done is seen.
        let result = catch_unwind(AssertUnwindSafe(|| run(tx)));
        let (outcome, verdict) = match (result, tx.failure()) {
            (Err(_), _) => (Err(WriteError::Panicked), Verdict::Drop),
            (Ok(_), Some(TxError::TooLarge { .. })) => (Err(WriteError::TooLarge), Verdict::Drop),
            (Ok(Err(error)), _) => (Err(WriteError::Refused(error)), Verdict::Drop),
            (Ok(Ok(_)), Some(failure)) => (Err(WriteError::Refused(failure.clone().into())), Verdict::Drop),
            (Ok(Ok(_)), None) if tx.lacks_room() => (Err(WriteError::DiskFull), Verdict::Drop),
            (Ok(Ok(value)), None) => (Ok(value), Verdict::Keep),
        };
        self.outcome = Some(outcome);
        verdict
    }

    fn settle(self: Box<Self>, how: Settled) {
        let Self { outcome, reply, .. } = *self;
        let answer = match how {
            Settled::Durable => outcome.unwrap_or(Err(WriteError::Unknown)),
            Settled::Unknown => Err(WriteError::Unknown),
            Settled::Closed => Err(WriteError::Closed),
            Settled::Late => Err(WriteError::Late),
        };
        // A caller that went away does not want to know.
        let _ = reply.send(answer);
    }
}
