//! The sequencer: one thread that runs every write, one after the other, each on top of all before it. That alone makes
//! transactions serialisable. While the writer thread commits one group, the next fills; a group is handed over as soon
//! as the writer is free, or stops filling at its limits. It never waits to grow.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, select};

use crate::catalog::number_of;
use crate::commit::{Awaited, Job, Settled, Verdict};
use crate::fault;
use crate::floors::Floors;
use crate::frame::{Envelope, FrameBuilder};
use crate::limits::{GROUP_MAX_BYTES, GROUP_MAX_TX};
use crate::overlay::{Layers, Overlay};
use crate::shared::Shared;
use crate::stamp::TxClock;
use crate::tx::{Tx, TxOutcome};

/// What arrives at the sequencer.
pub(crate) enum Message {
    /// A write, and when it was queued.
    Run(Box<dyn Job>, Instant),
    /// Finish what is queued and end.
    Stop,
}

/// A committed row that an observer wants to hear of: full key and stored value, in the order of the writes.
pub(crate) type Notice = (Vec<u8>, Option<Vec<u8>>);

/// A group that no longer grows.
pub(crate) struct ClosedGroup {
    pub(crate) rows: Arc<Overlay>,
    pub(crate) frame: FrameBuilder,
    pub(crate) waiters: Vec<Box<dyn Job>>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) now_at: u64,
}

/// A group that still fills.
struct Group {
    rows: Overlay,
    frame: FrameBuilder,
    waiters: Vec<Box<dyn Job>>,
    notices: Vec<Notice>,
    now_at: u64,
}

impl Group {
    fn new() -> Self {
        Self {
            rows: Overlay::default(),
            frame: FrameBuilder::new(),
            waiters: Vec::new(),
            notices: Vec::new(),
            now_at: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.waiters.len() >= GROUP_MAX_TX || self.frame.payload_bytes() >= GROUP_MAX_BYTES
    }

    fn settle(&mut self, how: Settled) {
        self.waiters.drain(..).for_each(|job| job.settle(how));
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; there may be more.
    Went,
    /// There is nothing to do until a write arrives.
    NeedsWrite,
    /// There is nothing to do until the writer is done with its group.
    NeedsWriter,
    /// Either of the two will do.
    NeedsEither,
    /// It is over.
    Ended,
}

/// The thread's state.
pub(crate) struct Sequencer {
    shared: Arc<Shared>,
    queue: Receiver<Message>,
    writer: Sender<ClosedGroup>,
    /// One word per group the writer is done with: whether it is durable.
    done: Receiver<bool>,
    group: Group,
    in_flight: Option<Arc<Overlay>>,
    clock: TxClock,
    floors: RefCell<Floors>,
    stopping: bool,
}

impl Sequencer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        queue: Receiver<Message>,
        writer: Sender<ClosedGroup>,
        done: Receiver<bool>,
        clock: TxClock,
    ) -> Self {
        Self {
            shared,
            queue,
            writer,
            done,
            group: Group::new(),
            in_flight: None,
            clock,
            floors: RefCell::default(),
            stopping: false,
        }
    }

    /// Runs until told to stop or until every handle is gone.
    pub(crate) fn run(mut self) {
        loop {
            match self.step() {
                Step::Went => {}
                Step::NeedsWrite => self.await_write(),
                Step::NeedsWriter => self.await_writer(),
                Step::NeedsEither => self.await_either(),
                Step::Ended => break,
            }
        }
    }

    /// Does one thing that can be done without waiting, or says what there is to wait for.
    pub(crate) fn step(&mut self) -> Step {
        if self.in_flight.is_some()
            && let Ok(durable) = self.done.try_recv()
        {
            self.group_done(durable);
            return Step::Went;
        }
        let filling = !self.stopping && !self.group.is_full();
        if filling && let Ok(message) = self.queue.try_recv() {
            self.receive(message);
            return Step::Went;
        }
        match (self.in_flight.is_some(), filling) {
            (true, true) => Step::NeedsEither,
            (true, false) => Step::NeedsWriter,
            (false, _) if !self.group.waiters.is_empty() => {
                self.close_group();
                Step::Went
            }
            (false, _) if self.stopping => {
                self.refuse_the_rest();
                Step::Ended
            }
            (false, _) => Step::NeedsWrite,
        }
    }

    fn await_write(&mut self) {
        let message = self.queue.recv().unwrap_or(Message::Stop);
        self.receive(message);
    }

    fn await_writer(&mut self) {
        let durable = self.done.recv().unwrap_or(false);
        self.group_done(durable);
    }

    fn await_either(&mut self) {
        select! {
            recv(self.queue) -> message => self.receive(message.unwrap_or(Message::Stop)),
            recv(self.done) -> durable => self.group_done(durable.unwrap_or(false)),
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Stop => self.stopping = true,
            Message::Run(job, _) if self.shared.has_failed() => job.settle(Settled::Closed),
            Message::Run(job, queued) => {
                let waited_us = u64::try_from(queued.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.shared.figures.queue_wait_us.record(waited_us);
                self.begin(job);
            }
        }
    }

    /// Runs a job, unless nobody waits for it: what its caller gave up may have been asked for again, and done, since.
    fn begin(&mut self, job: Box<dyn Job>) {
        let figures = &self.shared.figures;
        match job.awaited(&self.clock) {
            Awaited::Yes => self.run_job(job),
            Awaited::Gone => drop(figures.abandoned.fetch_add(1, Ordering::Relaxed)),
            Awaited::Late => {
                figures.late.fetch_add(1, Ordering::Relaxed);
                // It read nothing, so there is nothing to wait for.
                job.settle(Settled::Late);
            }
        }
    }

    fn run_job(&mut self, mut job: Box<dyn Job>) {
        let now_at = self.clock.next(job.stamp().now_at);
        self.shared
            .figures
            .clock_held_back
            .store(self.clock.held_back(), Ordering::Relaxed);
        let stamp = job.stamp().clone();
        let below = Layers {
            overlays: [None, Some(&self.group.rows), self.in_flight.as_deref()],
            engine: self.shared.engine.as_ref(),
        };
        let mut tx = Tx::new(self.shared.rules(), below, &stamp, now_at)
            .in_room(self.shared.room.read())
            .over_floors(&self.floors);
        let verdict = job.run(&mut tx);
        let outcome = tx.finish();
        match verdict {
            Verdict::Keep if !outcome.own.is_empty() => {
                let envelope = Envelope {
                    op: stamp.op,
                    caller: &stamp.caller,
                    now_at,
                    request_id: &stamp.request_id,
                    class: outcome.class,
                    idempotency_key: stamp.idempotency_key.as_ref(),
                };
                self.keep(outcome, &envelope);
            }
            Verdict::Keep => {}
            Verdict::Drop => drop(self.shared.figures.refused.fetch_add(1, Ordering::Relaxed)),
        }
        self.group.waiters.push(job);
    }

    fn keep(&mut self, outcome: TxOutcome, envelope: &Envelope<'_>) {
        let catalog = &self.shared.catalog;
        self.group
            .frame
            .add(envelope, self.shared.rules().frame_part(&outcome.own));
        for (key, value) in outcome.own.rows() {
            if !catalog.observers(number_of(key)).is_empty() {
                self.group.notices.push((key.clone(), value.clone()));
            }
        }
        self.floors.get_mut().kept(&outcome.own);
        self.group.rows.merge(outcome.own);
        self.group.now_at = envelope.now_at;
    }

    /// With the writer free: hands the group over, or answers it at once when it has nothing to commit. Nothing it read
    /// is undurable then, because no group is in flight.
    fn close_group(&mut self) {
        if self.group.frame.transactions() == 0 {
            self.group.settle(Settled::Durable);
            return;
        }
        let Group {
            rows,
            frame,
            waiters,
            notices,
            now_at,
        } = std::mem::replace(&mut self.group, Group::new());
        fault::hit("commit.closed");
        let rows = Arc::new(rows);
        self.in_flight = Some(Arc::clone(&rows));
        if let Err(lost) = self.writer.send(ClosedGroup {
            rows,
            frame,
            waiters,
            notices,
            now_at,
        }) {
            // The writer thread is gone, so this group never reached the engine.
            lost.0.waiters.into_iter().for_each(|job| job.settle(Settled::Closed));
            self.group_done(false);
        }
    }

    fn group_done(&mut self, durable: bool) {
        self.in_flight = None;
        if !durable {
            if !self.shared.has_failed() {
                self.shared.fatal("the writer thread ended");
            }
            // Built on rows that may not exist, and never handed over: it left nothing.
            self.group.settle(Settled::Closed);
            self.group = Group::new();
            self.floors.get_mut().forget();
        }
    }

    fn refuse_the_rest(&mut self) {
        while let Ok(message) = self.queue.try_recv() {
            if let Message::Run(job, _) = message {
                job.settle(Settled::Closed);
            }
        }
    }
}
