//! Changes that are not in the engine yet, as ordered layers on top of it: a transaction's own, its group's, and the
//! group being committed. Reads and scans see the newest layer that knows a row.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use crate::engine::{Engine, Fetched, Space, Tier, Visit};
use crate::error::EngineError;
use crate::limits::ROW_ENVELOPE_BYTES;
use crate::span::EngineRange;

/// Rows by full key; `None` is a deletion.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Overlay {
    /// Sets a row; a later call wins.
    pub(crate) fn set(&mut self, row_key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += row_key.len() + value.as_ref().map_or(0, Vec::len) + ROW_ENVELOPE_BYTES;
        self.rows.insert(row_key, value);
    }

    /// Bytes ever set, overwritten ones and envelopes included; at least what the rows take in a frame.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn rows(&self) -> &BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        &self.rows
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lays another overlay on top of this one.
    pub(crate) fn merge(&mut self, newer: Overlay) {
        self.bytes += newer.bytes;
        if self.rows.is_empty() {
            self.rows = newer.rows;
        } else {
            self.rows.extend(newer.rows);
        }
    }
}

/// What lies under a transaction: overlays, newest first, and the engine.
#[derive(Clone, Copy)]
pub(crate) struct Layers<'a> {
    pub(crate) overlays: [Option<&'a Overlay>; 3],
    pub(crate) engine: &'a dyn Engine,
}

impl<'a> Layers<'a> {
    /// The layers with `own` in front.
    pub(crate) fn under<'b>(self, own: &'b Overlay) -> Layers<'b>
    where
        'a: 'b,
    {
        let [_, group, in_flight] = self.overlays;
        Layers {
            overlays: [Some(own), group, in_flight],
            engine: self.engine,
        }
    }

    /// The newest value of a row.
    pub(crate) fn get(&self, space: Space, row_key: &[u8]) -> Result<Option<Cow<'a, [u8]>>, EngineError> {
        for overlay in self.overlays.into_iter().flatten() {
            if let Some(row) = overlay.rows.get(row_key) {
                return Ok(row.as_deref().map(Cow::Borrowed));
            }
        }
        match self.engine.get(space, row_key, Tier::Disk)? {
            Fetched::Found(value) => Ok(Some(Cow::Owned(value))),
            Fetched::Absent => Ok(None),
            Fetched::NeedsDisk => Err(EngineError::Io("a disk read answered that it needs the disk".into())),
        }
    }

    /// Visits the rows of a range as all layers together show them.
    pub(crate) fn scan(&self, space: Space, range: &EngineRange, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        if range.is_empty() {
            return Ok(());
        }
        let mut merged = Merged::new(self.overlays, range);
        let mut open = ControlFlow::Continue(());
        self.engine.view().scan(space, range, &mut |key, value| {
            open = merged.before(key, visit);
            if open.is_continue() {
                open = match merged.take(key) {
                    Some(Some(newer)) => visit(key, newer),
                    Some(None) => ControlFlow::Continue(()),
                    None => visit(key, value),
                };
            }
            open
        })?;
        if open.is_continue() {
            let _ = merged.rest(visit);
        }
        Ok(())
    }
}

type LayerRows<'a> = Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a>;

/// The overlays' rows of one range in one order, the newest layer winning.
struct Merged<'a> {
    layers: Vec<Peekable<LayerRows<'a>>>,
    backward: bool,
}

impl<'a> Merged<'a> {
    fn new(overlays: [Option<&'a Overlay>; 3], range: &EngineRange) -> Self {
        let layers = overlays
            .into_iter()
            .flatten()
            .filter(|overlay| !overlay.is_empty())
            .map(|overlay| {
                let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let rows: btree_map::Range<'a, _, _> = overlay
                    .rows
                    .range::<[u8], _>((Bound::Included(range.start.as_slice()), end));
                let rows: LayerRows<'a> = if range.backward {
                    Box::new(rows.rev())
                } else {
                    Box::new(rows)
                };
                rows.peekable()
            })
            .collect();
        Self {
            layers,
            backward: range.backward,
        }
    }

    /// The next key of any layer, in scan order.
    fn next_key(&mut self) -> Option<&'a [u8]> {
        let keys = self
            .layers
            .iter_mut()
            .filter_map(|layer| layer.peek().map(|(key, _)| key.as_slice()));
        if self.backward { keys.max() } else { keys.min() }
    }

    /// Takes `key` off every layer that has it next; the newest layer's row, if any.
    fn take(&mut self, key: &[u8]) -> Option<Option<&'a [u8]>> {
        let mut found = None;
        for layer in &mut self.layers {
            if let Some((_, row)) = layer.next_if(|(next, _)| next.as_slice() == key) {
                found = found.or(Some(row.as_deref()));
            }
        }
        found
    }

    /// Visits every row that comes before `key`.
    fn before(&mut self, key: &[u8], visit: &mut Visit<'_>) -> ControlFlow<()> {
        while let Some(next) = self.next_key() {
            let earlier = if self.backward { next > key } else { next < key };
            if !earlier {
                break;
            }
            self.visit_next(next, visit)?;
        }
        ControlFlow::Continue(())
    }

    /// Visits everything left.
    fn rest(&mut self, visit: &mut Visit<'_>) -> ControlFlow<()> {
        while let Some(next) = self.next_key() {
            self.visit_next(next, visit)?;
        }
        ControlFlow::Continue(())
    }

    fn visit_next(&mut self, key: &'a [u8], visit: &mut Visit<'_>) -> ControlFlow<()> {
        match self.take(key) {
            Some(Some(value)) => visit(key, value),
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BatchOp;
    use crate::engine::memory::MemoryEngine;
    use proptest::prelude::*;

    type Layer = Vec<(u8, Option<u8>)>;

    fn overlay(layer: &Layer) -> Overlay {
        let mut overlay = Overlay::default();
        for (key, value) in layer {
            overlay.set(vec![*key], value.map(|value| vec![value]));
        }
        overlay
    }

    fn model(base: &[(u8, u8)], layers: [&Layer; 3]) -> BTreeMap<u8, u8> {
        let mut rows: BTreeMap<u8, u8> = base.iter().copied().collect();
        for (key, value) in layers.into_iter().rev().flatten() {
            match value {
                Some(value) => drop(rows.insert(*key, *value)),
                None => drop(rows.remove(key)),
            }
        }
        rows
    }

    proptest! {
        #[test]
        fn layers_show_what_a_single_map_would(
            base: Vec<(u8, u8)>, own: Layer, group: Layer, in_flight: Layer,
            start: u8, end: Option<u8>, backward: bool, limit in 1usize..20,
        ) {
            let engine = MemoryEngine::new();
            for (key, value) in &base {
                engine.commit(&[BatchOp::Put(Space::Point, &[*key], &[*value])]).unwrap();
            }
            let parts = [overlay(&own), overlay(&group), overlay(&in_flight)];
            let layers = Layers { overlays: [Some(&parts[0]), Some(&parts[1]), Some(&parts[2])], engine: &engine };
            let rows = model(&base, [&own, &group, &in_flight]);
            for key in 0..=u8::MAX {
                let got = layers.get(Space::Point, &[key]).unwrap().map(|value| value[0]);
                prop_assert_eq!(got, rows.get(&key).copied());
            }
            let range = EngineRange { start: vec![start], end: end.map(|end| vec![end]), backward };
            let mut wanted: Vec<_> =
                rows.into_iter().filter(|(key, _)| *key >= start && end.is_none_or(|end| *key < end)).collect();
            if backward {
                wanted.reverse();
            }
            wanted.truncate(limit);
            let mut got = Vec::new();
            layers.scan(Space::Point, &range, &mut |key, value| {
                got.push((key[0], value[0]));
                if got.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }).unwrap();
            prop_assert_eq!(got, wanted);
        }
    }
}
