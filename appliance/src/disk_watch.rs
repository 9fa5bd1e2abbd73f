//! Watches the room on the disk of the data directory and tells the store, which then refuses the least important
//! writes first. Everything comes back by itself once there is room again.
//!
//! A reserve file lies in the data directory: an operator who removes it (`seawall db release-reserve`) gets room at once
//! to put things in order. It is made again when there is plenty.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use seawall_storage::{DiskRoom, Store};
use serde_json::{Value, json};

/// Share of its own size by which room must exceed a mark before a refusal is taken back, so that it does not flap.
const RETURN_MARGIN: u64 = 20;
/// The reserve is made only where this many times its size is free.
const RESERVE_ROOM: u64 = 8;

/// When which writes are refused. Percentages are of the whole file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskMarks {
    /// Below this share free: a warning.
    pub low_percent: u64,
    /// Below this share free: writes of the class `local` are refused.
    pub scarce_percent: u64,
    /// The same in bytes, whichever is more; on a small disk at most 8 % of it.
    pub scarce_bytes: u64,
    /// Below this share free: every write is refused.
    pub exhausted_percent: u64,
    /// Size of the reserve file; 0 for none.
    pub reserve_bytes: u64,
}

/// A look at the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskReading {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Size of the file system.
    pub total_bytes: u64,
}

impl DiskMarks {
    /// Free bytes below which each level begins, from the least room to the most.
    fn levels(&self, total_bytes: u64) -> [(DiskRoom, u64); 3] {
        let share = |percent: u64| total_bytes / 100 * percent;
        let scarce = share(self.scarce_percent).max(self.scarce_bytes.min(share(8)));
        [
            (DiskRoom::Exhausted, share(self.exhausted_percent)),
            (DiskRoom::Scarce, scarce),
            (DiskRoom::Low, share(self.low_percent).max(scarce)),
        ]
    }

    /// The level at a reading, coming from `before`.
    #[must_use]
    pub fn room(&self, reading: DiskReading, before: DiskRoom) -> DiskRoom {
        let begins = |(room, mark): &(DiskRoom, u64)| {
            let margin = if before >= *room { mark / RETURN_MARGIN } else { 0 };
            reading.free_bytes < mark + margin
        };
        let levels = self.levels(reading.total_bytes);
        levels
            .iter()
            .find(|level| begins(level))
            .map_or(DiskRoom::Ample, |level| level.0)
    }
}

/// The watch over one data directory.
pub struct DiskWatch {
    dir: PathBuf,
    marks: DiskMarks,
    store: Store,
    last: Mutex<DiskReading>,
}

impl DiskWatch {
    /// A watch that has looked once.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn start(dir: &Path, marks: DiskMarks, store: Store) -> io::Result<Self> {
        let watch = Self {
            dir: dir.to_owned(),
            marks,
            store,
            last: Mutex::default(),
        };
        watch.look()?;
        Ok(watch)
    }

    /// Measures, tells the store, and says what changed.
    ///
    /// # Errors
    /// When the file system does not answer; the level stays.
    pub fn look(&self) -> io::Result<()> {
        let reading = read(&self.dir)?;
        *self.last.lock() = reading;
        let before = self.store.disk_room();
        let room = self.marks.room(reading, before);
        self.store.set_disk_room(room);
        if room != before {
            say(room, reading, &self.dir);
        }
        if room == DiskRoom::Ample {
            self.keep_reserve(reading)?;
        }
        Ok(())
    }

    fn keep_reserve(&self, reading: DiskReading) -> io::Result<()> {
        let bytes = self.marks.reserve_bytes;
        let path = reserve_file(&self.dir);
        if bytes == 0 || reading.free_bytes / RESERVE_ROOM < bytes || path.exists() {
            return Ok(());
        }
        let file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes).map_err(|error| {
            let _ = std::fs::remove_file(&path);
            error.into()
        })
    }

    /// For status.
    #[must_use]
    pub fn status(&self) -> Value {
        let reading = *self.last.lock();
        json!({
            "room": self.store.disk_room().name(), "free_bytes": reading.free_bytes, "total_bytes": reading.total_bytes,
            "reserve": reserve_file(&self.dir).exists(),
        })
    }

    /// The last reading.
    #[must_use]
    pub fn reading(&self) -> DiskReading {
        *self.last.lock()
    }
}

/// Where the reserve lies.
#[must_use]
pub fn reserve_file(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

fn read(dir: &Path) -> io::Result<DiskReading> {
    let found = statvfs(dir)?;
    Ok(DiskReading {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
    })
}

fn say(room: DiskRoom, reading: DiskReading, dir: &Path) {
    let (free_mib, total_mib) = (reading.free_bytes >> 20, reading.total_bytes >> 20);
    let dir = dir.display();
    match room {
        DiskRoom::Ample => tracing::info!(free_mib, total_mib, "the disk has room again; everything is accepted"),
        DiskRoom::Low => tracing::warn!(free_mib, total_mib, %dir, "the disk is filling up; make room or enlarge it"),
        DiskRoom::Scarce => tracing::error!(
            free_mib, total_mib, %dir,
            "the disk is nearly full: logins and refreshes are refused (503 store.full); make room, or run `seawall db release-reserve`"
        ),
        DiskRoom::Exhausted => tracing::error!(
            free_mib, total_mib, %dir,
            "the disk is full: every write is refused (503 store.full), token checks and reads go on; make room, or run `seawall db release-reserve`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const MARKS: DiskMarks = DiskMarks {
        low_percent: 10,
        scarce_percent: 5,
        scarce_bytes: GIB,
        exhausted_percent: 2,
        reserve_bytes: 0,
    };

    fn room(free: u64, total: u64, before: DiskRoom) -> DiskRoom {
        MARKS.room(
            DiskReading {
                free_bytes: free,
                total_bytes: total,
            },
            before,
        )
    }

    #[test]
    fn levels_begin_at_their_marks_and_end_a_little_above() {
        let total = 100 * GIB;
        let from_ample = |free| room(free, total, DiskRoom::Ample);
        assert_eq!(from_ample(11 * GIB), DiskRoom::Ample);
        assert_eq!(from_ample(9 * GIB), DiskRoom::Low);
        assert_eq!(from_ample(4 * GIB), DiskRoom::Scarce);
        assert_eq!(from_ample(GIB), DiskRoom::Exhausted);
        assert_eq!(room(51 * GIB / 10, total, DiskRoom::Scarce), DiskRoom::Scarce);
        assert_eq!(room(54 * GIB / 10, total, DiskRoom::Scarce), DiskRoom::Low);
        assert_eq!(room(total, total, DiskRoom::Exhausted), DiskRoom::Ample);
    }

    #[test]
    fn a_small_disk_is_not_refused_from_the_start() {
        assert_eq!(room(5 * GIB, 10 * GIB, DiskRoom::Ample), DiskRoom::Ample);
        assert_eq!(room(GIB / 2, 10 * GIB, DiskRoom::Ample), DiskRoom::Scarce);
        assert_eq!(room(60 << 20, 64 << 20, DiskRoom::Ample), DiskRoom::Ample);
    }

    #[test]
    fn less_room_is_never_a_better_level() {
        let levels = [DiskRoom::Ample, DiskRoom::Low, DiskRoom::Scarce, DiskRoom::Exhausted];
        for total in [GIB, 7 * GIB, 20 * GIB, 200 * GIB] {
            for before in levels {
                let rooms: Vec<_> = (0..=1000)
                    .map(|part| room(total / 1000 * part, total, before))
                    .collect();
                assert!(rooms.is_sorted_by(|less, more| less >= more), "{total} {before:?}");
            }
        }
    }

    #[test]
    fn the_reserve_is_made_once_and_again_after_its_release() {
        let dir = tempfile::tempdir().unwrap();
        let options = seawall_storage::OpenOptions::new(
            &[],
            seawall_storage::KeyRing::from_entropy(&[1; 32]),
            std::sync::Arc::new(|| 0),
            [1; 32],
        );
        let store = Store::open_memory(options).unwrap();
        let marks = DiskMarks {
            reserve_bytes: 1 << 20,
            ..MARKS
        };
        let watch = DiskWatch::start(dir.path(), marks, store).unwrap();
        let status = watch.status();
        let made = |status: &Value| status["reserve"] == true;
        // Where the file system of the test is nearly full itself, nothing may be made.
        assert_eq!(made(&status), status["room"] == "ample", "{status}");
        if made(&status) {
            assert_eq!(std::fs::metadata(reserve_file(dir.path())).unwrap().len(), 1 << 20);
            std::fs::remove_file(reserve_file(dir.path())).unwrap();
            watch.look().unwrap();
            assert!(made(&watch.status()));
        }
    }
}
