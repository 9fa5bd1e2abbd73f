//! Stage 1: a count-min sketch of how often each key came lately. It may count too much where keys fall together, never
//! too little, and it costs the same memory whatever keys there are.
//!
//! A counter holds two generations, this window and the one before, in one word together with the number of its window:
//! so the windows pass without anybody sweeping the counters, and without a lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows; each counts every key once, at a place of its own.
pub(super) const ROWS: usize = 4;
/// Counters of a row.
pub(super) const COLUMNS: usize = 65_536;
/// Bytes of a sketch once it is used.
pub(super) const SKETCH_BYTES: usize = ROWS * COLUMNS * size_of::<AtomicU64>();

const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// A key's column in each row.
pub(super) type Slots = [usize; ROWS];

/// The sketch; its memory is taken at the first count.
#[derive(Default)]
pub(super) struct Sketch {
    counters: OnceLock<Box<[AtomicU64]>>,
}

impl Sketch {
    /// Counts a key in the window numbered `window`; answers how often it came in this window and the one before, this
    /// time included.
    ///
    /// Only the smallest of the key's counters rise (the others count somebody else too). Calls at the same instant
    /// may therefore be one short; the next ones are not.
    pub(super) fn count(&self, slots: Slots, window: u64) -> u64 {
        let counters = self
            .counters
            .get_or_init(|| (0..ROWS * COLUMNS).map(|_| AtomicU64::new(0)).collect());
        let mut row = 0;
        let places = slots.map(|column| {
            let place = counters.get(row * COLUMNS + column);
            row += 1;
            place.map(|counter| (counter, total(settled(counter.load(Ordering::Relaxed), window))))
        });
        let least = places.iter().flatten().map(|(_, total)| *total).min().unwrap_or(0);
        for (counter, _) in places.into_iter().flatten().filter(|(_, total)| *total == least) {
            // The closure never refuses.
            let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let word = settled(word, window);
                Some(if word & COUNT_MAX == COUNT_MAX { word } else { word + 1 })
            });
        }
        least + 1
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.counters.get().map_or(0, |_| SKETCH_BYTES)
    }
}

/// The counter as it stands in `window`. One window ahead is a call that was stamped just before the window changed;
/// anything else that does not follow is an old count, or a clock that was set back.
fn settled(word: u64, window: u64) -> u64 {
    let tag = (window & 0xffff) as u16;
    let fresh = u64::from(tag) << (2 * COUNT_BITS);
    match tag.wrapping_sub((word >> (2 * COUNT_BITS)) as u16) {
        0 | u16::MAX => word,
        1 => fresh | (word & COUNT_MAX) << COUNT_BITS,
        _ => fresh,
    }
}

fn total(word: u64) -> u64 {
    (word & COUNT_MAX) + (word >> COUNT_BITS & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Slots = [1, 2, 3, 65_535];

    #[test]
    fn two_windows_count_and_older_ones_do_not() {
        let sketch = Sketch::default();
        assert_eq!(sketch.bytes(), 0);
        assert_eq!((1..=3).map(|_| sketch.count(HERE, 7)).last(), Some(3));
        assert_eq!(sketch.count(HERE, 8), 4);
        assert_eq!(sketch.count(HERE, 9), 2);
        assert_eq!(sketch.count(HERE, 11), 1);
        assert_eq!(sketch.bytes(), 2 << 20);
    }

    #[test]
    fn a_call_stamped_before_the_change_counts_and_a_clock_set_back_starts_anew() {
        let sketch = Sketch::default();
        sketch.count(HERE, 8);
        assert_eq!(sketch.count(HERE, 7), 2);
        assert_eq!(sketch.count(HERE, 8), 3);
        assert_eq!(sketch.count(HERE, 2), 1);
        assert_eq!(
            sketch.count(HERE, 65_536 + 2),
            2,
            "windows are told apart modulo 65,536"
        );
    }

    #[test]
    fn keys_that_share_some_places_are_told_apart() {
        let sketch = Sketch::default();
        for _ in 0..100 {
            sketch.count([1, 2, 9, 9], 1);
        }
        assert_eq!(sketch.count(HERE, 1), 1);
        assert_eq!(sketch.count([1, 2, 9, 9], 1), 101);
    }

    #[test]
    fn a_full_counter_stays_full() {
        assert_eq!(total(settled(COUNT_MAX, 0)), COUNT_MAX);
        let sketch = Sketch::default();
        sketch.count(HERE, 0);
        for row in 0..ROWS {
            sketch.counters.get().unwrap()[row * COLUMNS + HERE[row]].store(COUNT_MAX, Ordering::Relaxed);
        }
        assert_eq!(sketch.count(HERE, 0), COUNT_MAX + 1);
        assert_eq!(sketch.count(HERE, 1), COUNT_MAX + 1);
        assert_eq!(sketch.count(HERE, 2), 2);
    }

    proptest! {
        #[test]
        fn it_never_counts_too_little(keys in proptest::collection::vec((0usize..6, 0usize..6, 0usize..6), 1..200)) {
            let sketch = Sketch::default();
            let mut exact = std::collections::HashMap::new();
            for (a, b, c) in keys {
                let count: &mut u64 = exact.entry((a, b, c)).or_default();
                *count += 1;
                prop_assert!(sketch.count([a, b, c, a + b], 5) >= *count);
            }
        }
    }
}
