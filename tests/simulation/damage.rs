//! Damage from outside while the process is down: yesterday's copy, cut, flipped and lost files, an earlier release. What
//! cannot be trusted must be refused for the right reason; nothing that was durable may be missing when it opens.

use std::path::Path;

use seawall_storage::simulation::{DiskFaults, SimulatedStore};
use seawall_storage::{OpenFailure, TableDef};

use crate::auditor::{Checked, must};
use crate::tables::{LATER_TABLES, TABLES};
use crate::world::{DATA, LifePorts, World};

const ENGINE: &str = "/data/db";
const CONTROL: &str = "/data/control";

impl World {
    /// Keeps the engine's directory as it is now, to come back as yesterday's copy.
    pub fn remember_today(&mut self) -> Checked {
        let Some(life) = &self.life else { return Ok(()) };
        let store = life.node.store();
        if !store.has_failed() {
            let head = store.read(|view| view.head()).map_err(|error| error.to_string())?;
            let lsn = head.map_or(0, |head| head.lsn);
            self.yesterday = Some((lsn, self.disk.image(Path::new(ENGINE))));
        }
        Ok(())
    }

    /// Damages the data, tries to start on it, and puts everything back.
    pub fn suffer(&mut self) -> Checked {
        let whole = self.disk.image(Path::new(DATA));
        let allowed = self.damage();
        self.disk.set_faults(DiskFaults::default());
        self.disk.set_full(false);
        let ports = LifePorts::default();
        let mut options = self.options(&ports);
        options.tables = allowed.tables;
        let opened = SimulatedStore::open(&self.disk, Path::new(DATA), options);
        let floor_lsn = self.auditor.floor_lsn();
        let verdict = match &opened {
            Ok(node) => must(allowed.may_open && node.store().head().lsn >= floor_lsn, || {
                let head = node.store().head().lsn;
                format!("{}: it opened at lsn {head}, lsn {floor_lsn} was durable", allowed.what)
            }),
            Err(error) => must(allowed.refusals.contains(&error.failure), || {
                format!("{}: refused as {error}", allowed.what)
            }),
        };
        self.summary.refusals += u64::from(opened.is_err());
        self.die(true);
        drop(opened);
        self.disk.put_back(&whole);
        verdict
    }

    fn damage(&mut self) -> Damage {
        if self.later && self.dice.hits(100) {
            let damage = Damage::new("an earlier release", false, &[OpenFailure::NewerRelease]);
            return Damage {
                tables: TABLES,
                ..damage
            };
        }
        let damage = self.damage_files();
        Damage {
            tables: if self.later { LATER_TABLES } else { TABLES },
            ..damage
        }
    }

    fn damage_files(&mut self) -> Damage {
        use OpenFailure::{ControlDamaged, ControlMissing, EngineDamaged, EngineMissing, JournalDamaged, LostData};
        let files = self.disk.files(Path::new(ENGINE));
        let place = self.dice.place(files.len());
        let broken = &[EngineDamaged, LostData, JournalDamaged];
        match (self.dice.below(8), &self.yesterday, files.get(place)) {
            (0..3, Some((lsn, image)), _) => {
                self.disk.put_back(image);
                Damage::new("yesterday's engine", *lsn >= self.auditor.floor_lsn(), &[LostData])
            }
            (3, _, Some((file, length))) => {
                let left = self.dice.place(*length);
                self.disk.damage(file, |bytes| bytes.truncate(left));
                Damage::new("a file of the engine cut short", true, broken)
            }
            (4, _, Some((file, length))) => {
                let (at, bit) = (self.dice.place(*length), self.dice.below(8));
                self.disk.damage(file, |bytes| {
                    bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit)
                });
                Damage::new("a bit of the engine flipped", true, broken)
            }
            (5, _, Some((file, _))) => {
                self.disk.lose(file);
                Damage::new("a file of the engine lost", true, broken)
            }
            (6, ..) => {
                self.disk.lose(Path::new(ENGINE));
                Damage::new("the engine lost", false, &[EngineMissing])
            }
            _ if self.dice.hits(300) => {
                self.disk.lose(Path::new(CONTROL));
                Damage::new("the control file lost", false, &[ControlMissing])
            }
            _ => {
                let slots = self.dice.below(3);
                self.disk.damage(Path::new(CONTROL), |bytes| {
                    for (slot, half) in (0..).zip(bytes.chunks_mut(8192)) {
                        if slots == slot || slots == 2 {
                            half[25] ^= 1;
                        }
                    }
                });
                let refusals: &[_] = if slots == 2 { &[ControlDamaged] } else { &[] };
                Damage::new("slots of the control file damaged", slots < 2, refusals)
            }
        }
    }
}

/// What was done to the data, and how a start may take it.
struct Damage {
    what: &'static str,
    may_open: bool,
    refusals: &'static [OpenFailure],
    tables: &'static [&'static TableDef],
}

impl Damage {
    fn new(what: &'static str, may_open: bool, refusals: &'static [OpenFailure]) -> Self {
        Self {
            what,
            may_open,
            refusals,
            tables: TABLES,
        }
    }
}
