//! What waits for a segment log's writer: chunks of rendered records, each no longer than a group. Appenders render and
//! checksum outside the lock and copy inside it; the writer takes a whole chunk at a time.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use parking_lot::{Condvar, Mutex};

use super::format::{GROUP_HEADER_BYTES, SEGMENT_KEYS_MAX, SEGMENT_RECORD_MAX_BYTES, render_record};
use super::{SearchKey, SegmentPosition};

/// A group is no longer than this (plus one record), nor than an eighth of a segment.
const GROUP_MAX_BYTES: usize = 1 << 20;

/// Why a record was not made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full; nothing happened; try again.
    #[error("append queue is full")]
    Busy,
    /// The record or its keys are over the limit.
    #[error("record is too large")]
    TooLarge,
    /// The log is closed.
    #[error("log is closed")]
    Closed,
    /// Writing failed twice; whether the record exists is unknown.
    #[error("write failed, outcome unknown")]
    Unknown,
}

/// The future of an append.
#[must_use = "whether the record is durable is known only through its future"]
pub struct Append {
    reply: Result<oneshot::Receiver<SegmentPosition>, AppendError>,
}

impl Append {
    /// Blocks the thread until the record is durable; for tools and tests.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<SegmentPosition, AppendError> {
        crate::wait::block_on(self)
    }
}

impl Future for Append {
    type Output = Result<SegmentPosition, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.reply {
            Ok(receiver) => Pin::new(receiver)
                .poll(context)
                .map(|reply| reply.map_err(|_| AppendError::Unknown)),
            Err(error) => Poll::Ready(Err(*error)),
        }
    }
}

/// Records that will be one group. Offsets count from the start of `bytes`.
pub(super) struct Chunk {
    /// Room for the group header, then rendered records.
    pub(super) bytes: Vec<u8>,
    pub(super) records: u32,
    pub(super) min_at: u64,
    pub(super) max_at: u64,
    pub(super) keys: Vec<(SearchKey, u32)>,
    pub(super) waiters: Vec<(u32, oneshot::Sender<SegmentPosition>)>,
}

impl Chunk {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(64 << 10);
        bytes.resize(GROUP_HEADER_BYTES, 0);
        Self {
            bytes,
            records: 0,
            min_at: u64::MAX,
            max_at: 0,
            keys: Vec::new(),
            waiters: Vec::new(),
        }
    }
}

struct Inside {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    closed: bool,
}

/// The queue.
pub(super) struct Queue {
    inside: Mutex<Inside>,
    filled: Condvar,
    max_bytes: usize,
    group_bytes: usize,
}

impl Queue {
    /// At most `max_bytes` wait, for segments of `segment_bytes`.
    pub(super) fn new(max_bytes: usize, segment_bytes: u32) -> Self {
        let group_bytes = GROUP_MAX_BYTES.min(usize::try_from(segment_bytes / 8).unwrap_or(GROUP_MAX_BYTES));
        let inside = Inside {
            chunks: VecDeque::new(),
            bytes: 0,
            closed: false,
        };
        Self {
            inside: Mutex::new(inside),
            filled: Condvar::new(),
            max_bytes,
            group_bytes,
        }
    }

    pub(super) fn append(&self, at: u64, body: &[u8], keys: &[SearchKey]) -> Append {
        let (reply, receiver) = oneshot::channel();
        Append {
            reply: self.push(at, body, keys, Some(reply)).map(|()| receiver),
        }
    }

    pub(super) fn enqueue(&self, at: u64, body: &[u8], keys: &[SearchKey]) -> Result<(), AppendError> {
        self.push(at, body, keys, None)
    }

    fn push(
        &self,
        at: u64,
        body: &[u8],
        keys: &[SearchKey],
        reply: Option<oneshot::Sender<SegmentPosition>>,
    ) -> Result<(), AppendError> {
        if body.len() > SEGMENT_RECORD_MAX_BYTES || keys.len() > SEGMENT_KEYS_MAX {
            return Err(AppendError::TooLarge);
        }
        let record = render_record(at, body, keys);
        let mut inside = self.inside.lock();
        if inside.closed {
            return Err(AppendError::Closed);
        }
        if inside.bytes + record.len() > self.max_bytes {
            return Err(AppendError::Busy);
        }
        inside.bytes += record.len();
        if inside
            .chunks
            .back()
            .is_none_or(|chunk| chunk.bytes.len() >= self.group_bytes)
        {
            inside.chunks.push_back(Chunk::new());
        }
        let was_idle = inside.chunks.len() == 1;
        if let Some(chunk) = inside.chunks.back_mut() {
            let offset = u32::try_from(chunk.bytes.len()).unwrap_or(u32::MAX);
            chunk.bytes.extend_from_slice(&record);
            chunk.records += 1;
            chunk.min_at = chunk.min_at.min(at);
            chunk.max_at = chunk.max_at.max(at);
            chunk.keys.extend(keys.iter().map(|key| (*key, offset)));
            chunk.waiters.extend(reply.map(|reply| (offset, reply)));
        }
        drop(inside);
        if was_idle {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// The next chunk; waits for one. `None` once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Chunk> {
        let mut inside = self.inside.lock();
        loop {
            if let Some(chunk) = inside.chunks.pop_front() {
                inside.bytes -= chunk.bytes.len() - GROUP_HEADER_BYTES;
                return Some(chunk);
            }
            if inside.closed {
                return None;
            }
            self.filled.wait(&mut inside);
        }
    }

    /// The next chunk, if there is one.
    #[cfg(feature = "simulation")]
    pub(super) fn try_take(&self) -> Option<Chunk> {
        let mut inside = self.inside.lock();
        let chunk = inside.chunks.pop_front()?;
        inside.bytes -= chunk.bytes.len() - GROUP_HEADER_BYTES;
        Some(chunk)
    }

    pub(super) fn close(&self) {
        self.inside.lock().closed = true;
        self.filled.notify_all();
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.inside.lock().bytes
    }
}
