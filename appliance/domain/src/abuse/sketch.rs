//! Stage 1: a count-min sketch of how often each key came lately. It may count too much where keys fall together, never
//! too little, and it costs the same memory whatever keys there are.
//!
//! A counter holds two generations, this window and the one before, in one word together with the number of its window:
//! so the windows pass without anybody sweeping the counters, and without a lock. The counters of a key lie on one
//! cache line, a quarter of it for each row: a count costs one look into memory instead of four.

use std::hint::black_box;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Rows; each counts every key once, at a place of its own.
pub(super) const ROWS: usize = 4;
/// Counters of a row.
const COLUMNS: usize = 65_536;
/// Counters of a row on one cache line.
const ROW_ON_LINE: usize = 4;
/// Cache lines.
pub(super) const LINES: usize = COLUMNS / ROW_ON_LINE;

const COUNT_BITS: u32 = 14;
/// Where a counter stops, and so the most that a key can be told by.
pub(super) const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;
/// Windows are numbered modulo this. A counter that nobody touched for so many windows is taken for a fresh one, which
/// is too much and not too little.
const WINDOWS: u32 = 1 << (32 - 2 * COUNT_BITS);

/// Where a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slots {
    /// Cache line, below [`LINES`].
    pub(super) line: usize,
    /// Place on it for each row.
    pub(super) places: [usize; ROWS],
}

impl Slots {
    /// The slots chosen by the bits of a hash.
    pub(super) fn chosen_by(hash: u64) -> Self {
        Self {
            line: (hash >> 32) as usize % LINES,
            places: std::array::from_fn(|row| row * ROW_ON_LINE + (hash >> (2 * row)) as usize % ROW_ON_LINE),
        }
    }
}

#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU32; ROWS * ROW_ON_LINE]);

/// The sketch; its memory is taken at the first count.
#[derive(Default)]
pub(super) struct Sketch {
    lines: OnceLock<Box<[Line]>>,
}

impl Sketch {
    /// Counts a key in the window numbered `window`; whether it came more than `soft` times in this window and the one
    /// before, this time included.
    ///
    /// Only the smallest of the key's counters rise (the others count somebody else too), and none beyond what answers
    /// the question: under a flood, when all keys seem to come often, nothing is written at all. Calls at the same instant
    /// may be one short; the next ones are not.
    pub(super) fn is_often(&self, slots: Slots, window: u64, soft: u32) -> bool {
        let enough = soft.saturating_add(1).min(COUNT_MAX);
        let Some(Line(counters)) = self.line(slots) else {
            return false;
        };
        let words = slots.places.map(|place| {
            counters
                .get(place)
                .map(|counter| (counter, settled(counter.load(Ordering::Relaxed), window)))
        });
        let least = words.iter().flatten().map(|(_, word)| total(*word)).min().unwrap_or(0);
        for (counter, word) in words.into_iter().flatten() {
            if total(word) == least && word & COUNT_MAX < enough {
                // The closure never refuses.
                let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                    let word = settled(word, window);
                    Some(if word & COUNT_MAX < enough { word + 1 } else { word })
                });
            }
        }
        least >= soft
    }

    /// Begins to bring a key's counters near; nobody waits for them.
    pub(super) fn touch(&self, slots: Slots) {
        if let Some(Line([first, ..])) = self.line(slots) {
            black_box(first.load(Ordering::Relaxed));
        }
    }

    fn line(&self, slots: Slots) -> Option<&Line> {
        let lines = self.lines.get_or_init(|| (0..LINES).map(|_| Line::default()).collect());
        lines.get(slots.line)
    }

    /// Bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.lines.get().map_or(0, |lines| lines.len() * size_of::<Line>())
    }
}

/// The counter as it stands in `window`. One window ahead is a call that was stamped just before the window changed;
/// anything else that does not follow is an old count, or a clock that was set back.
fn settled(word: u32, window: u64) -> u32 {
    let tag = window as u32 % WINDOWS;
    let fresh = tag << (2 * COUNT_BITS);
    let behind = tag.wrapping_sub(word >> (2 * COUNT_BITS)) % WINDOWS;
    match behind {
        0 => word,
        1 => fresh | (word & COUNT_MAX) << COUNT_BITS,
        _ if behind == WINDOWS - 1 => word,
        _ => fresh,
    }
}

fn total(word: u32) -> u32 {
    (word & COUNT_MAX) + (word >> COUNT_BITS & COUNT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: Slots = Slots {
        line: LINES - 1,
        places: [0, 5, 10, 15],
    };

    impl Sketch {
        /// How often the key came before.
        fn came(&self, slots: Slots, window: u64) -> u32 {
            let Line(counters) = self.line(slots).unwrap();
            let totals = slots
                .places
                .map(|place| total(settled(counters[place].load(Ordering::Relaxed), window)));
            totals.into_iter().min().unwrap()
        }

        /// Counts as far as counters go; how often the key came.
        fn count(&self, slots: Slots, window: u64) -> u32 {
            self.is_often(slots, window, COUNT_MAX - 1);
            self.came(slots, window)
        }
    }

    #[test]
    fn two_windows_count_and_older_ones_do_not() {
        let sketch = Sketch::default();
        assert_eq!(sketch.bytes(), 0);
        assert_eq!((1..=3).map(|_| sketch.count(HERE, 7)).last(), Some(3));
        assert_eq!(sketch.count(HERE, 8), 4);
        assert_eq!(sketch.count(HERE, 9), 2);
        assert_eq!(sketch.count(HERE, 11), 1);
        assert_eq!(sketch.bytes(), 1 << 20);
    }

    #[test]
    fn often_is_more_than_so_many_times_and_no_more_is_counted() {
        let sketch = Sketch::default();
        let answers: Vec<bool> = (0..6).map(|_| sketch.is_often(HERE, 7, 3)).collect();
        assert_eq!(answers, [false, false, false, true, true, true]);
        assert_eq!(sketch.came(HERE, 7), 4);
        assert!(sketch.is_often(HERE, 8, 3));
        assert!(sketch.is_often(HERE, 8, 3));
        let answers: Vec<bool> = (0..3).map(|_| sketch.is_often(HERE, 9, 3)).collect();
        assert_eq!(answers, [false, true, true]);
    }

    #[test]
    fn a_call_stamped_before_the_change_counts_and_a_clock_set_back_starts_anew() {
        let sketch = Sketch::default();
        sketch.count(HERE, 8);
        assert_eq!(sketch.count(HERE, 7), 2);
        assert_eq!(sketch.count(HERE, 8), 3);
        assert_eq!(sketch.count(HERE, 2), 1);
        let later = 2 + u64::from(WINDOWS);
        assert_eq!(sketch.count(HERE, later), 2, "windows are told apart modulo 16");
    }

    #[test]
    fn keys_that_share_some_places_are_told_apart() {
        let sketch = Sketch::default();
        let neighbour = Slots {
            places: [0, 5, 10, 14],
            ..HERE
        };
        for _ in 0..100 {
            sketch.count(neighbour, 1);
        }
        assert_eq!(sketch.count(HERE, 1), 1);
        assert_eq!(sketch.count(neighbour, 1), 101);
    }

    #[test]
    fn a_full_counter_stays_full() {
        assert_eq!(total(settled(COUNT_MAX, 0)), COUNT_MAX);
        let sketch = Sketch::default();
        sketch.count(HERE, 0);
        for place in HERE.places {
            sketch.lines.get().unwrap()[HERE.line].0[place].store(COUNT_MAX, Ordering::Relaxed);
        }
        assert_eq!(sketch.count(HERE, 0), COUNT_MAX);
        assert!(sketch.is_often(HERE, 0, COUNT_MAX), "however high it is set");
        assert_eq!(sketch.count(HERE, 1), COUNT_MAX + 1);
        assert_eq!(sketch.count(HERE, 2), 2);
    }

    #[test]
    fn every_hash_has_a_place_in_each_row() {
        for hash in [0, u64::MAX, 0x0123_4567_89ab_cdef] {
            let slots = Slots::chosen_by(hash);
            assert!(slots.line < LINES);
            for (row, place) in slots.places.into_iter().enumerate() {
                assert!((4 * row..4 * row + 4).contains(&place));
            }
        }
    }

    proptest! {
        #[test]
        fn it_never_counts_too_little(hashes in proptest::collection::vec(0u64..64, 1..300)) {
            let (sketch, asked) = (Sketch::default(), Sketch::default());
            let mut exact = std::collections::HashMap::new();
            for hash in hashes {
                let count: &mut u32 = exact.entry(hash).or_default();
                *count += 1;
                prop_assert!(asked.is_often(Slots::chosen_by(hash), 5, 3) || *count <= 3);
                prop_assert!(sketch.count(Slots::chosen_by(hash), 5) >= *count);
            }
        }
    }
}
