//! The reader pool: a few named threads for everything that may have to wait for the disk, behind a bounded queue with a
//! deadline, so that a stalled disk stalls these threads and nothing else.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use futures_channel::oneshot;

use crate::error::ReadError;
use crate::limits::{READ_QUEUE_MAX, READER_THREADS};

/// How much the readers give way to the network threads and to the commit of writes, as of `nice`: whoever waits for the
/// disk can wait for a processor.
const NICE: i32 = 5;

type Work = Box<dyn FnOnce(Result<(), ReadError>) + Send>;

struct ReadJob {
    deadline: Instant,
    work: Work,
}

/// The queue of the pool; dropping it ends the threads once it is empty.
pub(crate) struct Readers {
    queue: Sender<ReadJob>,
}

/// The future of a query on the pool.
#[must_use = "a query's result is known only through its future"]
pub struct Query<R> {
    answer: Answer<R>,
}

enum Answer<R> {
    Waiting(oneshot::Receiver<Result<R, ReadError>>),
    Now(Option<Result<R, ReadError>>),
}

impl<R> Query<R> {
    pub(crate) fn now(result: Result<R, ReadError>) -> Self {
        Self {
            answer: Answer::Now(Some(result)),
        }
    }

    /// Blocks the thread until the answer is there; for start-up code, tools and tests.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<R, ReadError> {
        crate::wait::block_on(self)
    }
}

impl<R> Unpin for Query<R> {}

impl<R> Future for Query<R> {
    type Output = Result<R, ReadError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.answer {
            Answer::Waiting(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|reply| reply.unwrap_or(Err(ReadError::Closed))),
            Answer::Now(result) => Poll::Ready(result.take().unwrap_or(Err(ReadError::Closed))),
        }
    }
}

impl Readers {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start() -> std::io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (queue, jobs) = bounded(READ_QUEUE_MAX);
        let threads = (0..READER_THREADS)
            .map(|number| {
                let jobs = jobs.clone();
                std::thread::Builder::new()
                    .name(format!("store-read-{number}"))
                    .spawn(move || work(&jobs))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok((Self { queue }, threads))
    }

    /// Queues `read`; it does not run when the deadline has passed by the time a thread is free.
    pub(crate) fn query<R: Send + 'static>(
        &self,
        deadline: Duration,
        read: impl FnOnce() -> Result<R, ReadError> + Send + 'static,
    ) -> Query<R> {
        let (reply, receiver) = oneshot::channel();
        let work: Work = Box::new(move |allowed| {
            // A caller that went away does not want to know.
            let _ = reply.send(allowed.and_then(|()| read()));
        });
        match self.queue.try_send(ReadJob {
            deadline: Instant::now() + deadline,
            work,
        }) {
            Ok(()) => Query {
                answer: Answer::Waiting(receiver),
            },
            Err(TrySendError::Full(_)) => Query::now(Err(ReadError::Busy)),
            Err(TrySendError::Disconnected(_)) => Query::now(Err(ReadError::Closed)),
        }
    }

    /// Queries waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

fn work(jobs: &Receiver<ReadJob>) {
    // Giving way is a wish, not a need.
    let _ = rustix::process::nice(NICE);
    for job in jobs {
        let allowed = if Instant::now() > job.deadline {
            Err(ReadError::Deadline)
        } else {
            Ok(())
        };
        // A panicking query loses its reply channel, which its caller sees as `Closed`; the thread goes on.
        let _ = catch_unwind(AssertUnwindSafe(|| (job.work)(allowed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(30);

    /// Occupies every thread until the returned sender is dropped.
    fn occupy(readers: &Readers) -> mpsc::Sender<()> {
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = std::sync::Arc::new(std::sync::Mutex::new(blocked));
        let (started, running) = mpsc::channel();
        for _ in 0..READER_THREADS {
            let (blocked, started) = (blocked.clone(), started.clone());
            drop(readers.query(LONG, move || {
                started.send(()).unwrap();
                let _ = blocked.lock().map(|blocked| blocked.recv());
                Ok(())
            }));
            running.recv_timeout(LONG).unwrap();
        }
        release
    }

    #[test]
    fn answers_and_survives_a_panic() {
        let (readers, threads) = Readers::start().unwrap();
        for _ in 0..READER_THREADS * 2 {
            let lost: Query<u32> = readers.query(LONG, || panic!("query fails"));
            assert_eq!(lost.wait(), Err(ReadError::Closed));
        }
        assert_eq!(readers.query(LONG, || Ok(7)).wait(), Ok(7));
        drop(readers);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_late_query_does_not_run_and_a_full_queue_says_busy() {
        let (readers, _threads) = Readers::start().unwrap();
        let release = occupy(&readers);
        let late: Query<u32> = readers.query(Duration::ZERO, || panic!("must not run"));
        let queued: Vec<_> = (1..READ_QUEUE_MAX)
            .map(|n| readers.query(LONG, move || Ok(n)))
            .collect();
        assert_eq!(readers.waiting(), READ_QUEUE_MAX);
        assert_eq!(readers.query(LONG, || Ok(0)).wait(), Err(ReadError::Busy));
        drop(release);
        assert_eq!(late.wait(), Err(ReadError::Deadline));
        assert!(queued.into_iter().all(|query| query.wait().is_ok()));
    }
}
