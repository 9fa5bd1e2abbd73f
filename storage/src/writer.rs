//! The writer: one thread that turns a closed group into one frame and one synced batch, then publishes it — caches,
//! observers, head — and only then lets the replies go, in order. A failed or doubtful commit ends the store.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};

use crate::catalog::{bare_key, number_of};
use crate::commit::{Job, Settled};
use crate::engine::{BatchOp, Space};
use crate::error::EngineError;
use crate::fault::{self, Switch};
use crate::frame::{FrameBuilder, FramePosition};
use crate::head::Head;
use crate::journal::Journal;
use crate::limits::FRAME_MAX_BYTES;
use crate::overlay::Overlay;
use crate::sequencer::{ClosedGroup, Notice};
use crate::shared::Shared;

/// The thread's state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    groups: Receiver<ClosedGroup>,
    done: Sender<bool>,
    journal: Journal,
    stage: Stage,
}

/// How far the writer is with a group. Each stage ends where another thread may look.
enum Stage {
    /// It has none.
    Free,
    /// Taken over from the sequencer.
    Taken(ClosedGroup),
    /// Durable, but nobody knows yet.
    Committed(ClosedGroup, Head),
    /// Visible, or failed with a reason; nobody was answered yet.
    Decided(Vec<Box<dyn Job>>, Result<(), String>),
    /// A commit failed; there will be no other group.
    Over,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        groups: Receiver<ClosedGroup>,
        done: Sender<bool>,
        journal: Journal,
    ) -> Self {
        let writer = Self {
            shared,
            groups,
            done,
            journal,
            stage: Stage::Free,
        };
        writer.note_journal();
        writer
    }

    /// Runs until the sequencer is gone.
    pub(crate) fn run(mut self) {
        while let Ok(group) = self.groups.recv() {
            self.take(group);
            while self.advance() {}
            if matches!(self.stage, Stage::Over) {
                break;
            }
        }
    }

    /// Goes one stage on without waiting; false when there is nothing to do.
    #[cfg(feature = "simulation")]
    pub(crate) fn step(&mut self) -> bool {
        if matches!(self.stage, Stage::Free)
            && let Ok(group) = self.groups.try_recv()
        {
            self.take(group);
            return true;
        }
        self.advance()
    }

    fn take(&mut self, mut group: ClosedGroup) {
        if fault::is_on(Switch::ReplyBeforeSync) {
            group.waiters.drain(..).for_each(|job| job.settle(Settled::Durable));
        }
        let (figures, frame) = (&self.shared.figures, &group.frame);
        figures.group_transactions.record(u64::from(frame.transactions()));
        figures.group_bytes.record(frame.payload_bytes() as u64);
        figures
            .transactions
            .fetch_add(u64::from(frame.transactions()), Ordering::Relaxed);
        self.stage = Stage::Taken(group);
    }

    /// Takes the group one stage on; false when there is none.
    fn advance(&mut self) -> bool {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Taken(mut group) => {
                let frame = std::mem::replace(&mut group.frame, FrameBuilder::new());
                match self.commit(&group.rows, frame, group.now_at) {
                    Ok(head) => Stage::Committed(group, head),
                    Err(error) => Stage::Decided(group.waiters, Err(format!("commit failed: {error}"))),
                }
            }
            Stage::Committed(group, head) => {
                let published = self.publish(&group.rows, &group.notices, head);
                Stage::Decided(group.waiters, published)
            }
            Stage::Decided(waiters, outcome) => self.answer(waiters, &outcome),
            idle @ (Stage::Free | Stage::Over) => {
                self.stage = idle;
                return false;
            }
        };
        true
    }

    /// Answers everyone in the group, then frees the sequencer for the next one.
    fn answer(&self, waiters: Vec<Box<dyn Job>>, outcome: &Result<(), String>) -> Stage {
        let how = match outcome {
            Ok(()) => Settled::Durable,
            Err(reason) => {
                self.shared.fatal(reason);
                Settled::Unknown
            }
        };
        for job in waiters {
            fault::hit("reply.before");
            job.settle(how);
        }
        let durable = how == Settled::Durable;
        if self.done.send(durable).is_ok() && durable {
            Stage::Free
        } else {
            Stage::Over
        }
    }

    fn commit(&mut self, rows: &Overlay, frame: FrameBuilder, now_at: u64) -> Result<Head, EngineError> {
        let before = *self.shared.head.read();
        let cluster_id = self.shared.identity.cluster_id;
        let lsn = before.lsn + 1;
        let position = FramePosition {
            cluster_id,
            epoch: before.epoch,
            lsn,
            prev_chain: before.chain,
            commit_lsn: before.lsn,
            now_at,
        };
        let (frame, chain) = frame.finish(&position);
        let frame = fault::frame(frame, lsn);
        if frame.len() > FRAME_MAX_BYTES {
            // The limits of a transaction and of a group rule this out; what cannot be read back must not be written.
            return Err(EngineError::Io(format!(
                "frame of {} bytes is over the limit",
                frame.len()
            )));
        }
        let head = Head {
            lsn,
            epoch: before.epoch,
            chain,
            now_at,
        };
        let upkeep = self.journal.append(lsn, frame.len() as u64, now_at).rows();

        let (lsn_key, head_key, head_row) = (lsn.to_be_bytes(), Head::key(), head.encode(&cluster_id));
        let mut batch = self.row_ops(rows)?;
        batch.push(BatchOp::Put(Space::Journal, &lsn_key, &frame));
        batch.push(BatchOp::Put(Space::Meta, &head_key, &head_row));
        batch.extend(upkeep.ops());
        fault::hit("commit.before_write");
        if upkeep.trims() {
            fault::hit("journal.trim");
        }
        let begun = Instant::now();
        self.shared.engine.commit(&batch)?;
        fault::hit("commit.after_sync");
        let sync_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.figures.sync_us.record(sync_us);
        self.note_journal();
        Ok(head)
    }

    fn row_ops<'r>(&self, rows: &'r Overlay) -> Result<Vec<BatchOp<'r>>, EngineError> {
        let mut batch = Vec::with_capacity(rows.rows().len() + 4);
        for (key, value) in rows.rows() {
            let space = self.shared.catalog.space(number_of(key));
            let space =
                space.ok_or_else(|| EngineError::Corrupt(format!("row of unknown table {}", number_of(key))))?;
            batch.push(match value {
                Some(value) => BatchOp::Put(space, key, value),
                None => BatchOp::Delete(space, key),
            });
        }
        Ok(batch)
    }

    /// Makes a committed group visible. An observer that fails has left a mirror in memory wrong, which is as bad as a
    /// failed commit.
    fn publish(&self, rows: &Overlay, notices: &[Notice], head: Head) -> Result<(), String> {
        for key in rows.rows().keys() {
            if self
                .shared
                .catalog
                .table(number_of(key))
                .is_some_and(|table| table.cached)
            {
                self.shared.cache.invalidate(key);
            }
        }
        for (key, value) in notices {
            self.notify(key, value.as_deref())?;
        }
        *self.shared.head.write() = head;
        fault::hit("publish.after");
        Ok(())
    }

    fn notify(&self, full_key: &[u8], stored: Option<&[u8]>) -> Result<(), String> {
        let number = number_of(full_key);
        let Some(table) = self.shared.catalog.table(number) else {
            return Ok(());
        };
        let plain = stored
            .map(|stored| self.shared.rules().plain(table, full_key, stored.to_vec()))
            .transpose();
        let plain = plain.map_err(|error| error.to_string())?;
        for observer in self.shared.catalog.observers(number) {
            let told = catch_unwind(AssertUnwindSafe(|| {
                (observer.call)(bare_key(full_key), plain.as_deref())
            }));
            match told {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(format!("observer of {} failed: {error}", table.name)),
                Err(_) => return Err(format!("observer of {} panicked", table.name)),
            }
        }
        Ok(())
    }

    fn note_journal(&self) {
        let figures = &self.shared.figures;
        figures
            .journal_first_lsn
            .store(self.journal.first_lsn().unwrap_or(0), Ordering::Relaxed);
        figures.journal_bytes.store(self.journal.bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
