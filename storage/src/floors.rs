//! Where the live entries of a much changed index begin. A deleted entry stays in the engine's memtable as a mark until it is
//! flushed, and a scan walks over every mark in front of what it looks for: an account that logs in a thousand times
//! leaves a thousand of them. The sequencer, which sees every change in its order, remembers up to where there are only
//! marks, and scans begin there.
//!
//! A floor hides nothing: it is learnt from a scan over what was kept, and is lowered by every later entry below it.
//! Forgetting one is always right; it costs a long scan.

use std::ops::Bound;

use hashbrown::HashMap;

use crate::catalog::number_of;
use crate::overlay::Overlay;
use crate::span::{EngineRange, prefix_end};

/// Floors that are remembered; when there are more, all are forgotten. About 100 bytes each.
const FLOORS_MAX: usize = 16_384;
/// Longest prefix that has a floor, in bytes.
const PREFIX_MAX_BYTES: usize = 64;
/// Lengths of prefixes, by which an index is scanned, that have floors.
const LENGTHS_MAX: usize = 4;

/// The floors of the indexes, by the prefix that is scanned.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// By index number: lengths of the prefixes it was scanned by.
    lengths: HashMap<u16, Vec<usize>>,
    /// No live entry that begins with the prefix lies below its floor. `None`: something was deleted, and nobody has
    /// looked since.
    by_prefix: HashMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Floors {
    /// Where a scan may begin that was asked to begin at the start of `range`, over `own` changes on top of what was kept.
    pub(crate) fn narrow(&self, range: &EngineRange, own: &Overlay) -> EngineRange {
        let mut narrowed = range.clone();
        if is_of_prefix(range)
            && let Some(Some(floor)) = self.by_prefix.get(&range.start)
            && !touches(own, &range.start, floor)
        {
            narrowed.start.clone_from(floor);
        }
        narrowed
    }

    /// Learns from a scan of `range`: the first entry that was there, if any.
    pub(crate) fn learn(&mut self, range: &EngineRange, own: &Overlay, first: Option<&[u8]>) {
        let Some(end) = range.end.as_deref().filter(|_| is_of_prefix(range)) else {
            return;
        };
        let lengths = self.lengths.entry(number_of(&range.start)).or_default();
        let length = range.start.len();
        if !lengths.contains(&length) && lengths.len() < LENGTHS_MAX && length <= PREFIX_MAX_BYTES {
            lengths.push(length);
        }
        // What this transaction changed may be dropped with it.
        if let Some(floor) = self.by_prefix.get_mut(&range.start)
            && !touches(own, &range.start, end)
        {
            *floor = Some(first.unwrap_or(end).to_vec());
        }
    }

    /// Takes note of the changes of a transaction that was kept.
    pub(crate) fn kept(&mut self, own: &Overlay) {
        for (key, value) in own.rows() {
            let Some(lengths) = self.lengths.get(&number_of(key)) else {
                continue;
            };
            for prefix in lengths.iter().filter_map(|length| key.get(..*length)) {
                match (self.by_prefix.get_mut(prefix), value) {
                    (Some(Some(floor)), Some(_)) if key < floor => floor.clone_from(key),
                    (None, None) => {
                        if self.by_prefix.len() >= FLOORS_MAX {
                            self.by_prefix.clear();
                        }
                        self.by_prefix.insert(prefix.to_vec(), None);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Forgets all of them.
    pub(crate) fn forget(&mut self) {
        self.by_prefix.clear();
    }
}

/// Whether a range, from its start on, has only keys that begin with its start. Only those are known to be found again by
/// their prefix when one of them changes.
fn is_of_prefix(range: &EngineRange) -> bool {
    let Some(end) = &range.end else { return false };
    !range.backward && range.start <= *end && prefix_end(&range.start).is_some_and(|beyond| *end <= beyond)
}

/// Whether there is a change from one key to before another. The first is never behind the second.
fn touches(own: &Overlay, from: &[u8], until: &[u8]) -> bool {
    let mut rows = own
        .rows()
        .range::<[u8], _>((Bound::Included(from), Bound::Excluded(until)));
    rows.next().is_some()
}

#[cfg(test)]
mod tests;
