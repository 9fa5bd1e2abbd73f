//! The threads of a segment log. The writer turns each chunk into one group: one write, one sync, then the replies. When
//! a sync fails nothing can be said about the file any more, so it is sealed at its last acknowledged byte and the group
//! goes into a new one; when that fails too the log is finished. The indexer writes the indexes of sealed segments.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::format::{self, GROUP_HEADER_BYTES};
use super::index::{self, IndexEntry};
use super::queue::{Chunk, Queue};
use super::{Segment, SegmentPosition, State};
use crate::disk::{Access, DiskFile};
use crate::fault;

/// Sealed segments that may wait for their index; the index of one too many is written at the next open.
const INDEX_QUEUE_MAX: usize = 256;

/// The writer and the indexer of a log, connected.
pub(super) fn pair(state: &Arc<State>, queue: &Arc<Queue>) -> (Writer, Indexer) {
    let (to_index, sealed) = bounded(INDEX_QUEUE_MAX);
    let writer = Writer {
        state: Arc::clone(state),
        queue: Arc::clone(queue),
        active: None,
        to_index,
    };
    let indexer = Indexer {
        state: Arc::clone(state),
        sealed,
    };
    (writer, indexer)
}

/// Starts a thread for each.
pub(super) fn start(name: &str, mut writer: Writer, indexer: Indexer) -> io::Result<Vec<JoinHandle<()>>> {
    let index = std::thread::Builder::new().name(format!("idx-{name}"));
    let index = index.spawn(move || indexer.run())?;
    let write = std::thread::Builder::new().name(format!("seg-{name}"));
    let write = write.spawn(move || writer.run())?;
    Ok(vec![write, index])
}

/// The segment being written.
struct Active {
    number: u64,
    file: Box<dyn DiskFile>,
    end: u32,
}

/// Turns chunks into durable groups.
pub(crate) struct Writer {
    state: Arc<State>,
    queue: Arc<Queue>,
    active: Option<Active>,
    to_index: Sender<u64>,
}

impl Writer {
    fn run(&mut self) {
        while let Some(chunk) = self.queue.take() {
            if !self.handle(chunk) {
                return;
            }
        }
        self.seal();
    }

    /// One group, when something is queued, without waiting; false when nothing was.
    #[cfg(feature = "simulation")]
    pub(crate) fn step(&mut self) -> bool {
        match self.queue.try_take() {
            Some(chunk) => {
                self.handle(chunk);
                true
            }
            None => false,
        }
    }

    /// What the thread does at the end.
    #[cfg(feature = "simulation")]
    pub(crate) fn finish(&mut self) {
        while self.step() {}
        self.seal();
    }

    /// Writes one chunk; false when the log is finished.
    fn handle(&mut self, chunk: Chunk) -> bool {
        if self.write(chunk) {
            return true;
        }
        self.queue.close();
        // What was queued behind a failed write is dropped, which its appenders see as `Unknown`.
        while self.queue.take().is_some() {}
        self.seal();
        false
    }

    /// Makes one chunk durable, in a second segment if need be; false when that failed too.
    fn write(&mut self, mut chunk: Chunk) -> bool {
        let payload = chunk.bytes.len() - GROUP_HEADER_BYTES;
        let header = format::group_header(u32::try_from(payload).unwrap_or(u32::MAX), chunk.records);
        chunk.bytes.iter_mut().zip(header).for_each(|(to, from)| *to = from);
        for _ in 0..2 {
            match self.try_write(&chunk.bytes) {
                Ok(at) => {
                    self.publish(chunk, at);
                    return true;
                }
                Err(error) => {
                    self.state.failed_groups.fetch_add(1, Ordering::Relaxed);
                    self.state
                        .report(&format!("a group could not be made durable: {error}"));
                    self.seal();
                }
            }
        }
        (self.state.options.on_fatal)(&format!("segment log {} cannot be written", self.state.options.name));
        false
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<SegmentPosition> {
        let begun = Instant::now();
        let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let max_bytes = self.state.options.max_bytes;
        let full = |active: &Active| {
            active.end > format::FILE_HEADER_BYTES && u64::from(active.end) + u64::from(length) > u64::from(max_bytes)
        };
        if self.active.as_ref().is_some_and(full) {
            self.seal();
        }
        let active = match &mut self.active {
            Some(active) => active,
            none => none.insert(create(&self.state)?),
        };
        let at = SegmentPosition {
            segment: active.number,
            offset: active.end,
        };
        active.file.write_all_at(bytes, u64::from(active.end))?;
        fault::hit("segment.before_sync");
        self.state.sync(active.file.as_ref())?;
        active.end += length;
        self.state
            .sync_us
            .record(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        Ok(at)
    }

    fn publish(&self, chunk: Chunk, at: SegmentPosition) {
        self.state.group_records.record(u64::from(chunk.records));
        if let Some(segment) = self.state.segments.write().get_mut(&at.segment) {
            if let Some(entries) = &segment.entries {
                let placed = chunk
                    .keys
                    .iter()
                    .map(|(key, offset)| IndexEntry::new(*key, at.offset + offset));
                entries.write().extend(placed);
            }
            segment.end = at.offset + u32::try_from(chunk.bytes.len()).unwrap_or(0);
            segment.records += u64::from(chunk.records);
            segment.min_at = segment.min_at.min(chunk.min_at);
            segment.max_at = segment.max_at.max(chunk.max_at);
        }
        for (offset, reply) in chunk.waiters {
            // An appender that went away does not want to know.
            let _ = reply.send(SegmentPosition {
                segment: at.segment,
                offset: at.offset + offset,
            });
        }
    }

    /// Ends the active segment at its last acknowledged byte.
    fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        fault::hit("segment.rotate");
        let ended = active
            .file
            .set_len(u64::from(active.end))
            .and_then(|()| active.file.sync_all());
        if let Err(error) = ended {
            // Only unused space is at stake; the next open cuts it.
            self.state
                .report(&format!("segment {:x} could not be ended: {error}", active.number));
            return;
        }
        // A full queue leaves the index to the next open.
        let _ = self.to_index.try_send(active.number);
    }
}

/// Creates the next segment: allocated, with its header, durable before it gets its name.
fn create(state: &State) -> io::Result<Active> {
    let number = state.segments.read().last_key_value().map_or(1, |(last, _)| last + 1);
    let path = state.path(number);
    let tmp = path.with_extension("seg.tmp");
    let file = state.disk.open(&tmp, Access::Create)?;
    file.allocate(u64::from(state.options.max_bytes))?;
    file.write_all_at(&format::file_header(number), 0)?;
    file.sync_all()?;
    state.disk.rename(&tmp, &path)?;
    state.disk.sync_dir(&state.dir)?;
    state.segments.write().insert(number, Segment::empty());
    Ok(Active {
        number,
        file,
        end: format::FILE_HEADER_BYTES,
    })
}

/// Writes the indexes of sealed segments.
pub(crate) struct Indexer {
    state: Arc<State>,
    sealed: Receiver<u64>,
}

impl Indexer {
    fn run(self) {
        for number in &self.sealed {
            self.index(number);
        }
    }

    /// One index, when a segment waits for it, without waiting; false when none does.
    #[cfg(feature = "simulation")]
    pub(crate) fn step(&self) -> bool {
        let waiting = self.sealed.try_recv();
        waiting.is_ok_and(|number| {
            self.index(number);
            true
        })
    }

    fn index(&self, number: u64) {
        let state = &self.state;
        let Some(segment) = state.segments.read().get(&number).cloned() else {
            return;
        };
        let Some(entries) = segment.entries.as_ref().map(|entries| entries.read().clone()) else {
            return;
        };
        match index::write(
            state.disk.as_ref(),
            &state.index_path(number),
            number,
            &segment,
            entries,
        ) {
            Ok(()) => {
                if let Some(segment) = state.segments.write().get_mut(&number) {
                    segment.entries = None;
                }
            }
            // The entries stay in memory until the next open writes them.
            Err(error) => state.report(&format!("index of segment {number:x} could not be written: {error}")),
        }
    }
}
