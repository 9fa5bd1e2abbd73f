//! What goes on inside a simulated disk: its state, and the fate of each operation.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::names::{Entry, Names};
use super::{Defect, Dice};

/// How often the disk fails, each in so many of 1,000 operations of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskFaults {
    /// Syncs of files and directories that answer EIO; what they were to save may be there or not.
    pub sync_fails: u64,
    /// Writes that answer EIO after some of their bytes.
    pub write_fails: u64,
    /// Creations, allocations and writes that answer ENOSPC after some of their bytes.
    pub space_ends: u64,
    /// Syncs that take up to ten seconds instead of a millisecond.
    pub sync_is_slow: u64,
}

/// The state of a disk.
#[derive(Debug)]
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) defect: Option<Defect>,
    pub(super) faults: DiskFaults,
    pub(super) full: bool,
    pub(super) names: Names,
    pub(super) files: BTreeMap<u64, Content>,
    pub(super) next_file: u64,
    pub(super) locked: BTreeSet<PathBuf>,
    pub(super) life: u64,
    pub(super) running: bool,
    /// Operations until the power goes or the process dies.
    pub(super) stops_after: Option<u64>,
    pub(super) operations: u64,
    pub(super) slept_ms: u64,
    pub(super) history: blake3::Hasher,
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Works,
    /// It fails with this after some of its effect.
    Fails(io::ErrorKind),
    /// The process is gone before it returns; any part of its effect may have happened.
    Stops,
}

pub(super) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the process is gone")
}

pub(super) fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl World {
    pub(super) fn new(seed: u64, defect: Option<Defect>) -> Self {
        Self {
            dice: Dice::new(seed, "disk"),
            defect,
            faults: DiskFaults::default(),
            full: false,
            names: Names::default(),
            files: BTreeMap::new(),
            next_file: 1,
            locked: BTreeSet::new(),
            life: 0,
            running: true,
            stops_after: None,
            operations: 0,
            slept_ms: 0,
            history: blake3::Hasher::new(),
        }
    }

    pub(super) fn alive(&self, life: u64) -> io::Result<()> {
        if self.running && self.life == life {
            Ok(())
        } else {
            Err(gone())
        }
    }

    pub(super) fn note(&mut self, what: &str, path: &Path, number: u64) {
        self.history.update(what.as_bytes());
        self.history.update(path.as_os_str().as_encoded_bytes());
        self.history.update(&number.to_be_bytes());
    }

    /// Decides about an operation that changes something. `failing` of 1,000 end with `with`.
    pub(super) fn fate(&mut self, life: u64, failing: u64, with: io::ErrorKind) -> io::Result<Fate> {
        self.alive(life)?;
        self.operations += 1;
        if let Some(left) = &mut self.stops_after {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.running = false;
                self.history.update(b"stop");
                return Ok(Fate::Stops);
            }
        }
        let fails = self.dice.hits(failing);
        self.history.update(&[u8::from(fails)]);
        Ok(if fails { Fate::Fails(with) } else { Fate::Works })
    }

    /// The same for a change of names or of a length.
    pub(super) fn changing(&mut self, life: u64) -> io::Result<Fate> {
        self.fate(life, self.faults.write_fails, io::ErrorKind::Other)
    }

    /// The same for what takes space.
    pub(super) fn taking_space(&mut self, life: u64) -> io::Result<Fate> {
        let (ends, fails) = (self.faults.space_ends, self.faults.write_fails);
        if self.full {
            self.alive(life)?;
            return Ok(Fate::Fails(io::ErrorKind::StorageFull));
        }
        match self.fate(life, ends, io::ErrorKind::StorageFull)? {
            Fate::Works if self.dice.hits(fails) => Ok(Fate::Fails(io::ErrorKind::Other)),
            other => Ok(other),
        }
    }

    /// A change of names, or of a length: it happens or it does not.
    pub(super) fn change_names(&mut self, fate: Fate, change: Vec<(PathBuf, Option<Entry>)>) -> io::Result<()> {
        match fate {
            Fate::Works => {
                self.names.change(change);
                Ok(())
            }
            Fate::Fails(kind) => Err(kind.into()),
            Fate::Stops => {
                if self.dice.hits(500) {
                    self.names.change(change);
                }
                Err(gone())
            }
        }
    }

    pub(super) fn file(&mut self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Entry::File(number)) => Ok(number),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(not_found(path)),
        }
    }

    pub(super) fn content(&mut self, number: u64) -> &mut Content {
        self.files.entry(number).or_default()
    }

    pub(super) fn create(&mut self, life: u64, path: &Path) -> io::Result<u64> {
        let fate = self.taking_space(life)?;
        if let Ok(number) = self.file(path) {
            match fate {
                Fate::Fails(kind) => return Err(kind.into()),
                Fate::Works | Fate::Stops => self.content(number).set_len(0),
            }
            return if matches!(fate, Fate::Stops) {
                Err(gone())
            } else {
                Ok(number)
            };
        }
        let above = crate::files::parent(path);
        if self.names.get(above) != Some(Entry::Dir) {
            return Err(not_found(above));
        }
        let number = self.next_file;
        self.next_file += 1;
        self.files.insert(number, Content::default());
        self.change_names(fate, vec![(path.to_owned(), Some(Entry::File(number)))])?;
        Ok(number)
    }

    pub(super) fn write(&mut self, life: u64, number: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fate = self.taking_space(life)?;
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.history.update(bytes);
        let (upto, result) = match fate {
            Fate::Works => (bytes.len(), Ok(())),
            Fate::Fails(kind) => (self.dice.place(bytes.len() + 1), Err(kind.into())),
            Fate::Stops => (self.dice.place(bytes.len() + 1), Err(gone())),
        };
        self.content(number).write(at, bytes.get(..upto).unwrap_or_default());
        result
    }

    pub(super) fn set_len(&mut self, life: u64, number: u64, bytes: u64) -> io::Result<()> {
        let fate = self.changing(life)?;
        let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let result = match fate {
            Fate::Works => Ok(()),
            Fate::Fails(kind) => return Err(kind.into()),
            Fate::Stops => Err(gone()),
        };
        self.content(number).set_len(length);
        result
    }

    pub(super) fn sync(&mut self, life: u64, number: u64) -> io::Result<()> {
        let fate = self.fate(life, self.faults.sync_fails, io::ErrorKind::Other)?;
        self.slept_ms += if self.dice.hits(self.faults.sync_is_slow) {
            self.dice.below(10_000)
        } else {
            1
        };
        let skipped = self.defect == Some(Defect::SkipFsync);
        let mut dice = self.dice.clone();
        let content = self.content(number);
        let result = match fate {
            Fate::Works if skipped => Ok(()),
            Fate::Works => {
                content.sync();
                Ok(())
            }
            Fate::Fails(kind) => {
                content.sync_failed(&mut dice);
                Err(kind.into())
            }
            // What was pending still is: the cut of the power decides.
            Fate::Stops => Err(gone()),
        };
        self.dice = dice;
        result
    }

    pub(super) fn sync_dir(&mut self, life: u64, dir: &Path) -> io::Result<()> {
        let fate = self.fate(life, self.faults.sync_fails, io::ErrorKind::Other)?;
        self.slept_ms += 1;
        match fate {
            Fate::Works if self.defect == Some(Defect::NoDirsync) => Ok(()),
            Fate::Works => {
                self.names.sync(dir);
                Ok(())
            }
            Fate::Fails(kind) => {
                let mut dice = self.dice.clone();
                self.names.sync_failed(dir, &mut dice);
                self.dice = dice;
                Err(kind.into())
            }
            Fate::Stops => Err(gone()),
        }
    }

    /// A new life begins; files that can have no name any more go.
    pub(super) fn next_life(&mut self) {
        self.life += 1;
        self.running = true;
        self.stops_after = None;
        self.locked.clear();
        let named = self.names.files();
        self.files.retain(|number, _| named.contains(number));
    }
}
