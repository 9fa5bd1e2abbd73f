//! A segment log in a world made of a seed: appenders, readers, expiry, a failing disk, crashes at every operation.
//! What was acknowledged lies where it was said to lie; what a reader saw once does not vanish; nothing is there that
//! nobody appended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use seawall_storage::simulation::{Defect, Dice, DiskFaults, SimulatedDisk, SimulatedLog};
use seawall_storage::{Append, AppendError, SegmentHit, SegmentLog, SegmentOptions, SegmentPosition};

use crate::auditor::{Checked, must};
use crate::summary::Summary;
use crate::world::look;

const DIR: &str = "/log/events";
const TICKS: u64 = 400;
const KEEP_MS: u64 = 20_000;
const GROUPS: u64 = 5;

/// A record somebody appended.
#[derive(Debug, Clone)]
struct Record {
    at: u64,
    body: Vec<u8>,
    /// Copies there may be: one more for each group that failed while it waited.
    copies: u64,
    acknowledged: Option<SegmentPosition>,
}

struct Life {
    log: SimulatedLog,
    waiting: Vec<(u64, Append)>,
    fatal: Arc<AtomicBool>,
    failed_groups: u64,
}

struct World {
    dice: Dice,
    disk: SimulatedDisk,
    faults: DiskFaults,
    life: Option<Life>,
    /// Everything ever appended, by number.
    records: BTreeMap<u64, Record>,
    /// What readers saw, and where.
    seen: BTreeMap<SegmentPosition, u64>,
    newest: SegmentPosition,
    now_at: u64,
    /// Records before this may have expired.
    expired_at: u64,
    summary: Summary,
}

/// Runs one seed to its end; what is wrong, if anything is.
pub fn run(seed: u64, defect: Option<Defect>) -> Checked<Summary> {
    let mut dice = Dice::new(seed, "log world");
    let rate = |dice: &mut Dice| if dice.hits(400) { dice.below(40) } else { 0 };
    let mut world = World {
        disk: SimulatedDisk::new(seed, defect),
        faults: DiskFaults {
            sync_fails: rate(&mut dice),
            write_fails: rate(&mut dice),
            space_ends: rate(&mut dice),
            sync_is_slow: 0,
        },
        life: None,
        records: BTreeMap::new(),
        seen: BTreeMap::new(),
        newest: SegmentPosition::START,
        now_at: 1_000_000,
        expired_at: 0,
        summary: Summary::default(),
        dice,
    };
    for _ in 0..TICKS {
        world.tick()?;
    }
    world.finish()
}

fn keys(number: u64) -> [(u8, u64); 2] {
    [(1, number % GROUPS), (2, number)]
}

/// The number a record says it has.
fn number_of(hit: &SegmentHit) -> Checked<u64> {
    let number = hit.record.body.first_chunk::<8>();
    number
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| "a record nobody appended".into())
}

type Hits = Vec<SegmentHit>;

/// All records in order, and those with one key, newest first.
fn read_all(log: &SegmentLog, kind: u64) -> std::io::Result<(Hits, Hits)> {
    let (mut found, mut next) = (Vec::new(), SegmentPosition::START);
    loop {
        let page = log.read_from(next, 40, 4000)?;
        if page.records.is_empty() {
            return Ok((found, log.search((1, kind), 0, u64::MAX, None, 10_000)?));
        }
        found.extend(page.records);
        next = page.next;
    }
}

impl World {
    fn tick(&mut self) -> Checked {
        self.now_at += self.dice.below(200);
        if self.life.is_none() {
            return self.start();
        }
        match self.dice.below(1000) {
            0..400 => self.append(),
            400..680 => self.step_writer(),
            680..760 => {
                self.life.as_mut().map(|life| life.log.step_indexer());
                Ok(())
            }
            760..850 => self.hear(),
            850..920 => self.read(),
            920..945 => self.expire(),
            945..965 => {
                self.disk.stop_after(1 + self.dice.below(20));
                Ok(())
            }
            965..972 => {
                self.disk.set_full(self.dice.hits(300));
                Ok(())
            }
            972..980 => return self.close(),
            _ => return self.crash(),
        }?;
        self.end_if_doomed()
    }

    fn append(&mut self) -> Checked {
        let Some(life) = &mut self.life else { return Ok(()) };
        for _ in 0..=self.dice.below(5) {
            let number = self.records.len() as u64;
            let mut body = number.to_be_bytes().to_vec();
            let most = if self.dice.hits(60) { 2500 } else { 150 };
            body.resize(8 + self.dice.place(most), 7);
            let at = self.now_at - self.dice.below(500);
            let append = life.log.log().append(at, &body, &keys(number));
            let record = Record {
                at,
                body,
                copies: 1,
                acknowledged: None,
            };
            self.records.insert(number, record);
            // Some do not wait for the answer.
            if self.dice.hits(800) {
                life.waiting.push((number, append));
            }
        }
        Ok(())
    }

    fn step_writer(&mut self) -> Checked {
        let Some(life) = &mut self.life else { return Ok(()) };
        life.log.step_writer();
        let failed = life.log.log().stats().failed_groups;
        if failed > life.failed_groups {
            let more = failed - life.failed_groups;
            let open = self.records.values_mut().filter(|record| record.acknowledged.is_none());
            open.for_each(|record| record.copies += more);
            life.failed_groups = failed;
        }
        Ok(())
    }

    fn hear(&mut self) -> Checked {
        let Some(life) = &mut self.life else { return Ok(()) };
        let waiting = std::mem::take(&mut life.waiting);
        let mut newest = self.newest;
        for (number, mut append) in waiting {
            let answer = look(&mut append);
            let (disk, fatal) = (&self.disk, life.fatal.load(Ordering::SeqCst));
            match answer {
                None => {
                    life.waiting.push((number, append));
                    continue;
                }
                Some(Ok(position)) => {
                    must(position > newest, || {
                        format!("record {number} lies at {position:?}, behind {newest:?}")
                    })?;
                    newest = position;
                    self.summary.acknowledged += 1;
                    if let Some(record) = self.records.get_mut(&number) {
                        record.acknowledged = Some(position);
                    }
                }
                Some(Err(AppendError::Unknown | AppendError::Closed)) if fatal || !disk.is_running() => {
                    self.summary.unknown += 1;
                }
                Some(Err(error)) => return Err(format!("record {number} was answered {error}")),
            }
            self.disk.note(&format!("{number} {answer:?}"));
        }
        self.newest = newest;
        Ok(())
    }

    /// Reads everything in order and by key. Even a reader may find the process gone: searching mends indexes.
    fn read(&mut self) -> Checked {
        self.hear()?;
        let kind = self.dice.below(GROUPS);
        let Some(life) = &self.life else { return Ok(()) };
        match read_all(life.log.log(), kind) {
            Ok((found, hits)) => {
                let wanted: Vec<_> = found
                    .iter()
                    .rev()
                    .filter(|hit| hit.record.keys.contains(&(1, kind)))
                    .collect();
                let same = hits.iter().collect::<Vec<_>>() == wanted;
                must(same, || format!("key {kind} finds other records than a walk"))?;
                self.check(&found)
            }
            Err(_) if !self.disk.is_running() => Ok(()),
            Err(error) => Err(format!("reading failed: {error}")),
        }
    }

    fn check(&mut self, found: &[SegmentHit]) -> Checked {
        must(found.is_sorted_by(|a, b| a.position < b.position), || {
            "records out of order".into()
        })?;
        let mut copies: BTreeMap<u64, u64> = BTreeMap::new();
        let mut here = BTreeMap::new();
        for hit in found {
            let number = number_of(hit)?;
            let record = self.records.get(&number).ok_or("a record nobody appended")?;
            let same = hit.record.body == record.body && hit.record.at == record.at && hit.record.keys == keys(number);
            must(same, || format!("record {number} changed"))?;
            *copies.entry(number).or_default() += 1;
            must(copies[&number] <= record.copies, || {
                format!("record {number} is there more than {} times", record.copies)
            })?;
            here.insert(hit.position, number);
        }
        for (number, record) in &self.records {
            let Some(position) = record.acknowledged else { continue };
            must(
                here.get(&position) == Some(number) || record.at < self.expired_at,
                || format!("record {number} was acknowledged at {position:?} and is gone"),
            )?;
        }
        for (position, number) in &self.seen {
            let old = self
                .records
                .get(number)
                .is_some_and(|record| record.at < self.expired_at);
            must(here.get(position) == Some(number) || old, || {
                format!("record {number} was read at {position:?} and is gone")
            })?;
        }
        self.seen.extend(here);
        Ok(())
    }

    fn expire(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        self.expired_at = self.expired_at.max(self.now_at - KEEP_MS);
        // A disk that fails is asked again another time.
        let _ = life.log.log().expire(self.now_at);
        Ok(())
    }

    fn start(&mut self) -> Checked {
        let deaths = self.dice.below(3);
        for attempt in 0.. {
            let healthy = attempt >= deaths;
            self.disk
                .set_faults(if healthy { DiskFaults::default() } else { self.faults });
            if healthy {
                self.disk.set_full(false);
            } else if self.dice.hits(500) {
                self.disk.stop_after(1 + self.dice.below(15));
            }
            let fatal = Arc::new(AtomicBool::new(false));
            let doomed = Arc::clone(&fatal);
            let options = SegmentOptions {
                max_bytes: 4096 + 1024 * u32::try_from(self.dice.below(8)).unwrap_or(0),
                keep_ms: Some(KEEP_MS),
                on_fatal: Arc::new(move |_| doomed.store(true, Ordering::SeqCst)),
                ..SegmentOptions::new("events")
            };
            match SimulatedLog::open(&self.disk, Path::new(DIR), options) {
                Ok(log) if self.disk.is_running() => {
                    self.disk.set_faults(self.faults);
                    self.summary.lives += 1;
                    self.life = Some(Life {
                        log,
                        waiting: Vec::new(),
                        fatal,
                        failed_groups: 0,
                    });
                    return self.read();
                }
                Err(error) if self.disk.is_running() && healthy => return Err(format!("it does not open: {error}")),
                opened => {
                    self.die();
                    drop(opened);
                }
            }
        }
        Ok(())
    }

    fn die(&mut self) {
        self.disk = if self.dice.hits(600) {
            self.disk.cut_power()
        } else {
            self.disk.kill()
        };
    }

    fn crash(&mut self) -> Checked {
        self.disk.note("crash");
        self.die();
        self.life = None;
        Ok(())
    }

    fn end_if_doomed(&mut self) -> Checked {
        let fatal = self.life.as_ref().is_some_and(|life| life.fatal.load(Ordering::SeqCst));
        if fatal && self.disk.is_running() {
            self.hear()?;
        }
        if fatal || !self.disk.is_running() {
            return self.crash();
        }
        Ok(())
    }

    /// Ends in order: everything queued is answered, unless the disk fails meanwhile.
    fn close(&mut self) -> Checked {
        let Some(life) = self.life.take() else { return Ok(()) };
        let Life {
            log, waiting, fatal, ..
        } = life;
        let before = self.records.len();
        log.close();
        self.disk.note("close");
        for (number, mut append) in waiting {
            match look(&mut append) {
                Some(Ok(position)) if self.disk.is_running() => {
                    must(position > self.newest, || {
                        format!("record {number} lies behind {:?}", self.newest)
                    })?;
                    self.newest = position;
                    self.records.get_mut(&number).ok_or("unknown record")?.acknowledged = Some(position);
                }
                None => return Err(format!("a close left record {number} of {before} without an answer")),
                Some(_) => must(fatal.load(Ordering::SeqCst) || !self.disk.is_running(), || {
                    format!("a close gave record {number} up")
                })?,
            }
        }
        // Groups that failed meanwhile may have left copies.
        for record in self.records.values_mut() {
            record.copies = record
                .copies
                .max(if self.faults == DiskFaults::default() { 1 } else { 9 });
        }
        self.die();
        Ok(())
    }

    fn finish(mut self) -> Checked<Summary> {
        if self.life.is_some() {
            self.crash()?;
        }
        self.faults = DiskFaults::default();
        self.start()?;
        let numbers: BTreeSet<_> = self.seen.values().collect();
        self.disk.note(&format!("{} records", numbers.len()));
        self.summary.history = self.disk.history();
        Ok(self.summary)
    }
}
