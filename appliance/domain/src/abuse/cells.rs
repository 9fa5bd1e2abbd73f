//! Stage 2: exact state (GCRA, the generic cell rate algorithm) of the keys that came often, in a table of fixed size.
//!
//! A cell is the key's fingerprint and its theoretical arrival time: the instant at which all it was given is used up.
//! A time that has passed is the same as no cell. A full set gives up the cell whose time lies furthest in the past, so
//! that keys seen once make room before those that are held back.
//!
//! Fingerprint and time share one word, so that they change together without a lock, and a set is one cache line. Times
//! are kept modulo 2^44 microseconds (203 days) and told by how far they lie ahead.

use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::key::Key;

/// Cells of a set: a cache line.
const WAYS: usize = 8;
/// Bits of a cell that hold the time; the rest is the fingerprint. A key without a cell finds one of somebody else's that
/// looks like its own in 8 of 2^20 sets.
const TIME_BITS: u32 = 44;
const TIME_MASK: u64 = (1 << TIME_BITS) - 1;
/// Furthest that a time can lie ahead, in microseconds: 101 days.
pub(super) const AHEAD_MAX_US: u64 = TIME_MASK >> 1;

/// One set of cells. A word of 0 is a free cell.
#[derive(Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

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

    fn set(&self, place: u64) -> Option<&[AtomicU64; WAYS]> {
        let sets = self
            .sets
            .get_or_init(|| (0..self.set_count).map(|_| Set::default()).collect());
        // The high half of a product chooses evenly without a division.
        let place = (u128::from(place) * self.set_count as u128) >> 64;
        sets.get(place as usize).map(|set| &set.0)
    }

    /// Begins to bring a key's set near; nobody waits for it.
    pub(super) fn touch(&self, key: Key) {
        if let Some([first, ..]) = self.set(key.place) {
            black_box(first.load(Ordering::Relaxed));
        }
    }

    /// Lets `change` alter how far the arrival time of a key lies ahead of now, in microseconds, 0 when it has passed;
    /// `None` when the key has no cell and `is_made` is false. A cell that is made begins at 0. `change` may be called
    /// again when another thread was faster, and what it answers last holds.
    ///
    /// Two threads may make a cell for one key at the same instant; the one that is not found is given up as its time
    /// passes.
    pub(super) fn change<R>(
        &self,
        key: Key,
        now_us: u64,
        is_made: bool,
        change: impl Fn(u64) -> (u64, R),
    ) -> Option<R> {
        let set = self.set(key.place)?;
        let fingerprint = fingerprint(key);
        loop {
            let cells = set.each_ref().map(|cell| (cell, cell.load(Ordering::Relaxed)));
            let found = cells.iter().find(|(_, word)| word & !TIME_MASK == fingerprint);
            let (cell, before, ahead_us) = match found {
                Some((cell, word)) => (*cell, *word, ahead_us(*word, now_us).max(0) as u64),
                None if is_made => {
                    let oldest = cells.iter().min_by_key(|(_, word)| ahead_us(*word, now_us))?;
                    (oldest.0, oldest.1, 0)
                }
                None => return None,
            };
            let (to_us, result) = change(ahead_us);
            if found.is_some() && to_us == ahead_us {
                return Some(result);
            }
            let after = fingerprint | now_us.wrapping_add(to_us) & TIME_MASK;
            let changed = cell.compare_exchange(before, after, Ordering::Relaxed, Ordering::Relaxed);
            if changed.is_ok() {
                if found.is_none() {
                    self.note_made(before, now_us);
                }
                return Some(result);
            }
        }
    }

    /// Counts what a new cell took the place of.
    fn note_made(&self, before: u64, now_us: u64) {
        if before == 0 {
            self.used.fetch_add(1, Ordering::Relaxed);
        } else if ahead_us(before, now_us) > 0 {
            // A flood comes here with every key, and this is a figure for people: two at the same instant may count as one.
            let evicted = self.evicted.load(Ordering::Relaxed);
            self.evicted.store(evicted.wrapping_add(1), Ordering::Relaxed);
        }
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

/// The part of a key that its cell is known by, in its place in the word; never 0.
fn fingerprint(key: Key) -> u64 {
    (key.fingerprint & !TIME_MASK).max(1 << TIME_BITS)
}

/// How far a cell's time lies ahead; of a free cell as far behind as can be.
fn ahead_us(word: u64, now_us: u64) -> i64 {
    if word == 0 {
        return i64::MIN;
    }
    // Shifted up and down again, the highest bit of the time becomes the sign.
    (word.wrapping_sub(now_us) << (u64::BITS - TIME_BITS)) as i64 >> (u64::BITS - TIME_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_US: u64 = 1_700_000_000_000_000;

    fn key(fingerprint: u64) -> Key {
        Key {
            fingerprint: fingerprint << TIME_BITS,
            place: 0,
        }
    }

    impl Cells {
        fn find(&self, fingerprint: u64) -> Option<u64> {
            self.change(key(fingerprint), NOW_US, false, |ahead_us| (ahead_us, ahead_us))
        }
    }

    fn put(cells: &Cells, fingerprint: u64, now_us: u64, ahead_us: u64) {
        cells
            .change(key(fingerprint), now_us, true, |_| (ahead_us, ()))
            .unwrap();
    }

    #[test]
    fn a_set_is_a_cache_line() {
        assert_eq!(size_of::<Set>(), 64);
        let cells = Cells::new(1_000_000);
        assert_eq!(cells.bytes(), 0);
        put(&cells, 1, NOW_US, 1);
        assert_eq!(cells.bytes(), 8_000_000);
    }

    #[test]
    fn a_key_without_a_cell_gets_one_only_when_asked() {
        let cells = Cells::new(8);
        assert_eq!(cells.find(5), None);
        put(&cells, 5, NOW_US, 77);
        assert_eq!(cells.find(5), Some(77));
        assert_eq!((cells.find(4), cells.used(), cells.evicted()), (None, 1, 0));
        put(&cells, 5, NOW_US, 78);
        assert_eq!((cells.find(5), cells.used()), (Some(78), 1));
    }

    #[test]
    fn the_furthest_past_goes_first_and_only_live_cells_count_as_evicted() {
        let cells = Cells::new(8);
        for n in 1..=8 {
            put(&cells, n, NOW_US - 1_000, 900 + 100 * n);
        }
        put(&cells, 9, NOW_US + 50, 800);
        assert_eq!((cells.find(1), cells.evicted()), (None, 0), "its time had passed");
        put(&cells, 10, NOW_US + 50, 900);
        assert_eq!((cells.find(2), cells.evicted()), (None, 1), "its time had not");
        assert_eq!((cells.find(8), cells.used()), (Some(700), 8));
    }

    #[test]
    fn times_are_told_from_each_other_where_their_count_begins_anew() {
        let turn_us = NOW_US & !TIME_MASK;
        let cells = Cells::new(8);
        put(&cells, 1, turn_us - 5, 10);
        let find = |now_us| cells.change(key(1), now_us, false, |ahead_us| (ahead_us, ahead_us));
        assert_eq!([turn_us - 5, turn_us, turn_us + 5].map(find), [10, 5, 0].map(Some));
        assert_eq!(find(turn_us + AHEAD_MAX_US), Some(0));
        put(&cells, 2, turn_us, AHEAD_MAX_US);
        let far = cells.change(key(2), turn_us, false, |ahead_us| (ahead_us, ahead_us));
        assert_eq!(far, Some(AHEAD_MAX_US));
    }

    #[test]
    fn no_event_is_lost_between_threads() {
        const EACH: u64 = 20_000;
        let cells = Cells::new(8);
        put(&cells, 1, NOW_US, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..EACH).for_each(|_| put_one_more(&cells)));
            }
        });
        assert_eq!(cells.find(1), Some(4 * EACH));
    }

    fn put_one_more(cells: &Cells) {
        cells
            .change(key(1), NOW_US, true, |ahead_us| (ahead_us + 1, ()))
            .unwrap();
    }

    #[test]
    fn every_key_falls_on_a_set_and_none_on_a_free_cell() {
        let cells = Cells::new(100);
        for place in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(cells.set(place).is_some());
        }
        assert_ne!(fingerprint(key(0)), 0);
        assert_eq!(cells.find(0), None);
    }
}
