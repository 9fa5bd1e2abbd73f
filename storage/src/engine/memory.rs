//! The engine of tests and demos: ordered maps behind one lock. A view holds the read lock, so views must be short; they
//! lock recursively so that a view inside a view never waits for itself.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use parking_lot::{RwLock, RwLockReadGuard};

use super::{BatchOp, Capabilities, Engine, EngineView, Fetched, Space, Tier, Visit};
use crate::error::EngineError;
use crate::span::EngineRange;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// One map per space.
#[derive(Debug, Default)]
struct Spaces([Rows; Space::ALL.len()]);

impl Spaces {
    fn of(&self, space: Space) -> Option<&Rows> {
        self.0.get(space.position())
    }

    fn apply(&mut self, op: &BatchOp<'_>) {
        match *op {
            BatchOp::Put(space, key, value) => {
                if let Some(rows) = self.0.get_mut(space.position()) {
                    rows.insert(key.to_vec(), value.to_vec());
                }
            }
            BatchOp::Delete(space, key) => {
                if let Some(rows) = self.0.get_mut(space.position()) {
                    rows.remove(key);
                }
            }
            BatchOp::DeleteRange(space, from, until) => {
                if let Some(rows) = self.0.get_mut(space.position())
                    && from < until
                {
                    let mut tail = rows.split_off(from);
                    rows.append(&mut tail.split_off(until));
                }
            }
        }
    }
}

/// The memory engine.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    spaces: RwLock<Spaces>,
}

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Engine for MemoryEngine {
    fn get(&self, space: Space, key: &[u8], _tier: Tier) -> Result<Fetched, EngineError> {
        let spaces = self.spaces.read_recursive();
        Ok(spaces
            .of(space)
            .and_then(|rows| rows.get(key))
            .map_or(Fetched::Absent, |value| Fetched::Found(value.clone())))
    }

    fn view(&self) -> Box<dyn EngineView + '_> {
        Box::new(MemoryView {
            spaces: self.spaces.read_recursive(),
        })
    }

    fn commit(&self, batch: &[BatchOp<'_>]) -> Result<(), EngineError> {
        let mut spaces = self.spaces.write();
        batch.iter().for_each(|op| spaces.apply(op));
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: false,
            memory_tier: false,
            commit_may_be_unknown: false,
        }
    }

    fn properties(&self) -> Vec<(&'static str, u64)> {
        let spaces = self.spaces.read_recursive();
        let rows: usize = spaces.0.iter().map(BTreeMap::len).sum();
        vec![("memory_rows", rows as u64)]
    }

    fn estimate(&self, space: Space, range: &EngineRange) -> (u64, u64) {
        let (mut rows, mut bytes) = (0, 0);
        let counted = self.view().scan(space, range, &mut |key, value| {
            rows += 1;
            bytes += (key.len() + value.len()) as u64;
            ControlFlow::Continue(())
        });
        debug_assert!(counted.is_ok(), "memory scans cannot fail");
        (rows, bytes)
    }
}

struct MemoryView<'e> {
    spaces: RwLockReadGuard<'e, Spaces>,
}

impl EngineView for MemoryView<'_> {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.spaces.of(space).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, space: Space, range: &EngineRange, visit: &mut Visit<'_>) -> Result<(), EngineError> {
        let Some(rows) = self.spaces.of(space).filter(|_| !range.is_empty()) else {
            return Ok(());
        };
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rows = rows.range::<[u8], _>((Bound::Included(range.start.as_slice()), end));
        let mut next = || if range.backward { rows.next_back() } else { rows.next() };
        while let Some((key, value)) = next() {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance;

    #[test]
    fn conforms() {
        conformance::run(&|| Box::new(MemoryEngine::new()));
    }
}
