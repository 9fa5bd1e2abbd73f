//! One node in a world made of a seed: clients, a clock that jumps, a disk that fails, a scheduler that decides whose
//! step is next, and crashes at every kind of step. Nothing here runs by itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use seawall_storage::simulation::{Defect, Dice, DiskFaults, DiskImage, SimulatedDisk, SimulatedStore};
use seawall_storage::{Commit, JournalLimits, KeyRing, OpenFailure, OpenOptions, Stamp, Table, Tx};

use crate::auditor::{Auditor, Checked, any_owner, must};
use crate::model::{Answer, Expected, ITEMS_MAX, No, Order, Running, perform};
use crate::summary::Summary;
use crate::tables::{ITEMS, Item, LATER_ITEMS, LATER_TABLES, MARKS, Mark, TABLES};

pub const DATA: &str = "/data";
/// Steps of the scheduler in one seed.
const TICKS: u64 = 500;
/// Writes that may wait for an answer.
const WAITING_MAX: usize = 40;

/// A client that waits.
struct Waiting {
    number: u64,
    expected: Expected,
    commit: Commit<Answer, No>,
}

/// The process between a start and its end.
pub struct Life {
    pub node: SimulatedStore,
    items: &'static Table<u64, Item>,
    waiting: Vec<Waiting>,
    heard: Arc<Mutex<Vec<(u64, Mark)>>>,
    mirror: Arc<Mutex<BTreeMap<u64, Item>>>,
    fatal: Arc<Mutex<Option<String>>>,
    /// Steps a doomed process still makes.
    lingers: u64,
    floor_due_at: u64,
}

pub struct World {
    pub dice: Dice,
    pub disk: SimulatedDisk,
    faults: DiskFaults,
    pub auditor: Auditor,
    pub life: Option<Life>,
    orders: Vec<Order>,
    wall_at: u64,
    boot_ms: Arc<AtomicU64>,
    slept_ms: u64,
    /// Head and files of the engine at some time before.
    pub yesterday: Option<(u64, DiskImage)>,
    /// The later release was started once: the earlier one would be refused.
    pub later: bool,
    pub summary: Summary,
}

/// Runs one seed to its end; what is wrong, if anything is.
pub fn run(seed: u64, defect: Option<Defect>) -> Checked<Summary> {
    let mut world = World::new(seed, defect);
    for _ in 0..TICKS {
        world.tick()?;
    }
    world.finish()
}

fn draw_faults(dice: &mut Dice) -> DiskFaults {
    if dice.hits(400) {
        return DiskFaults::default();
    }
    let rate = |dice: &mut Dice| if dice.hits(500) { dice.below(25) } else { 0 };
    DiskFaults {
        sync_fails: rate(dice),
        write_fails: rate(dice),
        space_ends: rate(dice),
        sync_is_slow: 10 * rate(dice),
    }
}

/// Looks at a future once.
pub fn look<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn run_order(order: &Order, items: &'static Table<u64, Item>, tx: &mut Tx<'_>) -> Result<Answer, No> {
    match perform(order, &mut Running { tx, items })? {
        Expected::Answer(answer) => Ok(answer),
        Expected::Refused => Err(No::Refused),
        // Unlike panic!, this tells no hook: it is on purpose.
        Expected::Panicked => std::panic::resume_unwind(Box::new("on purpose")),
    }
}

impl World {
    fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut dice = Dice::new(seed, "world");
        Self {
            disk: SimulatedDisk::new(seed, defect),
            faults: draw_faults(&mut dice),
            auditor: Auditor::default(),
            life: None,
            orders: Vec::new(),
            wall_at: 1_000_000 + dice.below(1_000_000),
            boot_ms: Arc::new(AtomicU64::new(0)),
            slept_ms: 0,
            yesterday: None,
            later: false,
            summary: Summary::default(),
            dice,
        }
    }

    fn tick(&mut self) -> Checked {
        let pause_ms = 1 + self.dice.below(40);
        self.pass_time(pause_ms);
        if self.life.is_none() {
            return self.start();
        }
        match self.dice.below(1000) {
            0..300 => self.clients_ask(),
            300..550 => self.step_sequencer(),
            550..800 => self.step_writer(),
            800..880 => self.clients_hear(),
            880..950 => self.clients_read(),
            950..960 => self.clock_jumps(),
            960..980 => self.disk_fails(),
            980..988 => self.remember_today(),
            988..993 => return self.shut_down(),
            _ => return self.crash("out of the blue"),
        }?;
        self.keep_floor()?;
        self.end_if_doomed()
    }

    /// The clocks go on, by themselves and by what syncs took.
    fn pass_time(&mut self, ms: u64) {
        let slept_ms = self.disk.slept_ms();
        let passed = ms + slept_ms - self.slept_ms;
        self.slept_ms = slept_ms;
        self.wall_at += passed;
        self.boot_ms.fetch_add(passed, Ordering::Relaxed);
    }

    fn clock_jumps(&mut self) -> Checked {
        let far = 1 + self.dice.below(100_000_000);
        self.wall_at = if self.dice.hits(500) {
            self.wall_at + far
        } else {
            self.wall_at.saturating_sub(far)
        };
        Ok(())
    }

    fn disk_fails(&mut self) -> Checked {
        if self.dice.hits(750) {
            self.disk.stop_after(1 + self.dice.below(25));
        } else {
            self.disk.set_full(self.dice.hits(300));
        }
        Ok(())
    }

    // Clients.

    fn clients_ask(&mut self) -> Checked {
        for _ in 0..=self.dice.below(4) {
            let number = self.orders.len() as u64 + 1;
            let mut order = Order::draw(&mut self.dice, number);
            if self.dice.hits(100) && !self.orders.is_empty() {
                // The same call once more, by someone who does not know how it went.
                let again = self.orders[self.dice.place(self.orders.len())].clone();
                order = Order { number, ..again };
            }
            self.ask(order);
        }
        Ok(())
    }

    fn ask(&mut self, order: Order) {
        let Some(life) = &mut self.life else { return };
        if life.waiting.len() >= WAITING_MAX {
            return;
        }
        let expected = self.auditor.asked(&order);
        let stamp = Stamp {
            op: "order.place",
            caller: order.number.to_string(),
            request_id: [1; 16],
            now_at: self.wall_at,
            entropy: self.dice.bytes32(),
            idempotency_key: None,
        };
        let run = order.clone();
        let items = life.items;
        let commit = life.node.store().write(stamp, move |tx| run_order(&run, items, tx));
        life.waiting.push(Waiting {
            number: order.number,
            expected,
            commit,
        });
        self.orders.push(order);
    }

    fn clients_hear(&mut self) -> Checked {
        let Some(life) = &mut self.life else { return Ok(()) };
        let failed = life.node.store().has_failed();
        let mut waiting = std::mem::take(&mut life.waiting);
        for mut client in waiting.drain(..) {
            match look(&mut client.commit) {
                Some(answer) => {
                    self.disk.note(&format!("{} {answer:?}", client.number));
                    self.auditor.answered(client.number, client.expected, answer, failed)?;
                }
                None => life.waiting.push(client),
            }
        }
        Ok(())
    }

    fn clients_read(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        let store = life.node.store();
        self.auditor.read_snapshot(store, any_owner(&mut self.dice))?;
        for _ in 0..4 {
            let id = self.dice.below(ITEMS_MAX);
            let found = look(&mut store.get(&ITEMS, &id)).ok_or("a row in memory was not answered at once")?;
            let found = found.map_err(|error| format!("reading item {id}: {error}"))?;
            self.auditor.read_row(id, found.as_deref(), store)?;
        }
        self.auditor.mirror(&life.mirror.lock().expect("nobody panics with it"))
    }

    // The store's threads.

    fn step_sequencer(&mut self) -> Checked {
        for _ in 0..=self.dice.below(8) {
            if !self.life.as_mut().is_some_and(|life| life.node.step_sequencer()) {
                break;
            }
        }
        Ok(())
    }

    fn step_writer(&mut self) -> Checked {
        for _ in 0..=self.dice.below(4) {
            if !self.life.as_mut().is_some_and(|life| life.node.step_writer()) {
                break;
            }
            self.writer_stepped()?;
        }
        Ok(())
    }

    fn writer_stepped(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        let heard = std::mem::take(&mut *life.heard.lock().expect("nobody panics with it"));
        self.auditor.observed(&heard)?;
        self.auditor.head_moved(life.node.store().head())
    }

    fn keep_floor(&mut self) -> Checked {
        let Some(life) = &mut self.life else { return Ok(()) };
        if self.wall_at.abs_diff(life.floor_due_at) < 1000 {
            return Ok(());
        }
        life.floor_due_at = self.wall_at;
        life.node.keep_floor();
        self.auditor.floor(life.node.store())
    }

    // Life and death.

    pub fn options(&mut self, life: &LifePorts) -> OpenOptions {
        let boot_ms = Arc::clone(&self.boot_ms);
        let boot = Arc::new(move || boot_ms.load(Ordering::Relaxed));
        let keys = KeyRing::from_entropy(&[7; 32]);
        let mut options = OpenOptions::new(
            if self.later { LATER_TABLES } else { TABLES },
            keys,
            boot,
            self.dice.bytes32(),
        );
        options.journal = JournalLimits {
            max_bytes: 2_000 + self.dice.below(40_000),
            max_age_ms: 5_000 + self.dice.below(1_000_000),
        };
        options.memory.row_cache_bytes = 1 << 16;
        let (heard, mirror, fatal) = (Arc::clone(&life.0), Arc::clone(&life.1), Arc::clone(&life.2));
        options.on_fatal = Arc::new(move |reason| {
            fatal
                .lock()
                .expect("nobody panics with it")
                .get_or_insert_with(|| reason.to_owned());
        });
        options
            .observe(&MARKS, move |number, mark: Option<&Mark>| {
                let mark = *mark.expect("marks are never deleted");
                heard.lock().expect("nobody panics with it").push((*number, mark));
            })
            .observe(&ITEMS, move |id, item: Option<&Item>| {
                let mut mirror = mirror.lock().expect("nobody panics with it");
                match item {
                    Some(item) => mirror.insert(*id, item.clone()),
                    None => mirror.remove(id),
                };
            })
    }

    /// Starts the process; it may fail or die doing so, and is started again then.
    fn start(&mut self) -> Checked {
        let deaths = self.dice.below(3);
        for attempt in 0.. {
            let healthy = attempt >= deaths;
            self.disk
                .set_faults(if healthy { DiskFaults::default() } else { self.faults });
            if healthy {
                self.disk.set_full(false);
            } else if self.dice.hits(500) {
                self.disk.stop_after(1 + self.dice.below(30));
            }
            let ports = LifePorts::default();
            let options = self.options(&ports);
            let opened = SimulatedStore::open(&self.disk, Path::new(DATA), options);
            match opened {
                Ok(node) if self.disk.is_running() => return self.begin(node, ports),
                Err(error) if self.disk.is_running() && (healthy || error.failure != OpenFailure::Io) => {
                    return Err(format!("it does not open: {error}"));
                }
                opened => {
                    self.disk.note("a start failed");
                    let power = self.dice.hits(500);
                    self.die(power);
                    drop(opened);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, node: SimulatedStore, LifePorts(heard, mirror, fatal): LifePorts) -> Checked {
        self.disk.set_faults(self.faults);
        self.summary.lives += 1;
        self.auditor.opened(node.store())?;
        *mirror.lock().expect("nobody panics with it") = self.auditor.items();
        self.life = Some(Life {
            node,
            items: if self.later { &LATER_ITEMS } else { &ITEMS },
            waiting: Vec::new(),
            heard,
            mirror,
            fatal,
            lingers: self.dice.below(6),
            floor_due_at: self.wall_at,
        });
        Ok(())
    }

    /// A process whose commit failed ends itself, now or a few steps later; one whose disk stopped is gone.
    fn end_if_doomed(&mut self) -> Checked {
        let Some(life) = &mut self.life else { return Ok(()) };
        if !self.disk.is_running() {
            return self.crash("in the middle of an operation");
        }
        let doomed = life.fatal.lock().expect("nobody panics with it").is_some();
        must(doomed == life.node.store().has_failed(), || {
            "a failure without a word".into()
        })?;
        if !doomed {
            return Ok(());
        }
        if life.lingers > 0 {
            life.lingers -= 1;
            return Ok(());
        }
        self.crash("after a failed commit")
    }

    fn crash(&mut self, how: &str) -> Checked {
        self.disk.note(how);
        let power = self.dice.hits(600);
        self.die(power);
        self.life = None;
        self.down(power)
    }

    pub fn die(&mut self, power: bool) {
        self.disk = if power { self.disk.cut_power() } else { self.disk.kill() };
    }

    /// Ends in order: who was let in is answered, unless the disk fails meanwhile.
    fn shut_down(&mut self) -> Checked {
        let Some(life) = self.life.take() else { return Ok(()) };
        let Life {
            node,
            waiting,
            heard,
            mirror,
            fatal,
            ..
        } = life;
        let store = node.store().clone();
        node.shut_down();
        self.disk.note("shut down");
        let heard = std::mem::take(&mut *heard.lock().expect("nobody panics with it"));
        let failed = fatal.lock().expect("nobody panics with it").is_some();
        if self.disk.is_running() {
            self.auditor.observed(&heard)?;
            for mut client in waiting {
                let answer = look(&mut client.commit).ok_or("a shutdown left a client without an answer")?;
                self.auditor.answered(client.number, client.expected, answer, failed)?;
            }
            if !failed {
                self.auditor.mirror(&mirror.lock().expect("nobody panics with it"))?;
                self.auditor.everything(&store)?;
                self.auditor.floor(&store)?;
            }
        }
        drop(store);
        let power = self.dice.hits(500);
        self.die(power);
        self.down(power)
    }

    /// The process is gone, the disk is at rest: the time for damage from outside.
    fn down(&mut self, power: bool) -> Checked {
        if power && self.summary.lives > 0 && self.dice.hits(250) {
            self.suffer()?;
        }
        Ok(())
    }

    /// The end of a seed: one last start on a healthy disk, and everything must be right.
    fn finish(mut self) -> Checked<Summary> {
        if self.life.is_some() {
            self.crash("at the end")?;
        }
        self.faults = DiskFaults::default();
        self.start()?;
        if let Some(life) = &self.life {
            self.auditor.everything(life.node.store())?;
            self.summary.trimmed = life.node.store().stats().journal_first_lsn.saturating_sub(1);
        }
        self.summary.history = self.disk.history();
        self.summary.acknowledged = self.auditor.acknowledged;
        self.summary.unknown = self.auditor.unknown;
        Ok(self.summary)
    }
}

/// What a life is connected to: what observers hear, what they build, and the last words.
#[derive(Default)]
pub struct LifePorts(
    Arc<Mutex<Vec<(u64, Mark)>>>,
    Arc<Mutex<BTreeMap<u64, Item>>>,
    Arc<Mutex<Option<String>>>,
);
