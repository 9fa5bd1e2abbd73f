//! Stage 2: exact state (GCRA, the generic cell rate algorithm) of the keys that came often, in a table of fixed size.
//!
//! A cell is the key's fingerprint and its theoretical arrival time: the instant at which all it was given is used up.
//! A time that has passed is the same as no cell. A full set gives up the cell whose time lies furthest in the past, so
//! that keys seen once make room before those that are held back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// Cells of a set: with the lock, two cache lines.
const WAYS: usize = 7;

#[derive(Clone, Copy, Default)]
struct Cell {
    fingerprint: u64,
    arrival_us: u64,
}

/// One set of cells on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Set(Mutex<[Cell; WAYS]>);

/// The table; its memory is taken at the first use.
pub(super) struct Cells {
    sets: OnceLock<Box<[Set]>>,
    set_count: usize,
    used: AtomicU64,
    evicted: AtomicU64,
}

impl Cells {
    /// A table of about `cells` cells.
    pub(super) fn new(cells: usize) -> Self {
        Self {
            sets: OnceLock::new(),
            set_count: cells.div_ceil(WAYS).max(1),
            used: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }

    fn set(&self, choice: u64) -> Option<&Mutex<[Cell; WAYS]>> {
        let sets = self
            .sets
            .get_or_init(|| (0..self.set_count).map(|_| Set::default()).collect());
        // The high half of a product chooses evenly without a division.
        let place = (u128::from(choice) * self.set_count as u128) >> 64;
        sets.get(place as usize).map(|set| &set.0)
    }

    /// Lets `change` alter the arrival time of a key that has a cell; `None` when it has none and `is_made` is false.
    /// A cell that is made begins at 0, long past.
    pub(super) fn change<R>(
        &self,
        fingerprint: u64,
        choice: u64,
        now_us: u64,
        is_made: bool,
        change: impl FnOnce(&mut u64) -> R,
    ) -> Option<R> {
        let mut set = self.set(choice)?.lock();
        if let Some(cell) = set.iter_mut().find(|cell| cell.fingerprint == fingerprint) {
            return Some(change(&mut cell.arrival_us));
        }
        if !is_made {
            return None;
        }
        let cell = set.iter_mut().min_by_key(|cell| cell.arrival_us)?;
        if cell.fingerprint == 0 {
            self.used.fetch_add(1, Ordering::Relaxed);
        } else if cell.arrival_us > now_us {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        *cell = Cell {
            fingerprint,
            arrival_us: 0,
        };
        Some(change(&mut cell.arrival_us))
    }

    /// Cells that hold a key, of late or long ago.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Cells given up although their time had not passed.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.sets.get().map_or(0, |sets| sets.len() * size_of::<Set>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Cells {
        fn find(&self, fingerprint: u64, choice: u64) -> Option<u64> {
            self.change(fingerprint, choice, 0, false, |at| *at)
        }
    }

    fn put(cells: &Cells, fingerprint: u64, now_us: u64, arrival_us: u64) {
        cells
            .change(fingerprint, 0, now_us, true, |at| *at = arrival_us)
            .unwrap();
    }

    #[test]
    fn a_set_is_two_cache_lines() {
        assert_eq!(size_of::<Set>(), 128);
        let cells = Cells::new(1_000_000);
        assert_eq!(cells.bytes(), 0);
        put(&cells, 1, 0, 1);
        assert!(cells.bytes() < 18 << 20 && cells.bytes() > 1_000_000 * 16);
    }

    #[test]
    fn a_key_without_a_cell_gets_one_only_when_asked() {
        let cells = Cells::new(7);
        assert_eq!(cells.change(5, 0, 9, false, |at| *at), None);
        assert_eq!(cells.find(5, 0), None);
        put(&cells, 5, 9, 77);
        assert_eq!(cells.find(5, 0), Some(77));
        assert_eq!(cells.change(5, 0, 9, false, |at| *at), Some(77));
        assert_eq!((cells.used(), cells.evicted()), (1, 0));
    }

    #[test]
    fn the_furthest_past_goes_first_and_only_live_cells_count_as_evicted() {
        let cells = Cells::new(7);
        for n in 1..=7 {
            put(&cells, n, 0, 100 * n);
        }
        put(&cells, 8, 150, 800);
        assert_eq!((cells.find(1, 0), cells.evicted()), (None, 0), "its time had passed");
        put(&cells, 9, 150, 900);
        assert_eq!((cells.find(2, 0), cells.evicted()), (None, 1), "its time had not");
        assert_eq!((cells.find(7, 0), cells.used()), (Some(700), 7));
    }

    #[test]
    fn every_choice_falls_on_a_set() {
        let cells = Cells::new(100);
        for choice in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(cells.set(choice).is_some());
        }
    }
}
