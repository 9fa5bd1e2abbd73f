//! What was used once and must not be used again, remembered in memory for a window of time.
//!
//! Two generations of fixed-size digests: when the older one is past the window it is dropped as a whole. A digest
//! lives for one to two windows. When the memory is full nothing new is taken; nothing is ever forgotten within the
//! window.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::ids::UnixMs;

/// What remembering came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembering {
    /// It was not there and is now.
    Fresh,
    /// It was there.
    Seen,
    /// It was not there and there is no room for it.
    Full,
}

struct Generations {
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
    young_since_at: UnixMs,
}

/// The memory; 32 bytes a digest.
pub(crate) struct SeenMemory {
    generations: Mutex<Generations>,
    window_ms: u64,
    capacity: usize,
}

impl SeenMemory {
    /// A memory of at most `capacity` digests, each kept for at least `window_ms`.
    pub(crate) fn new(window_ms: u64, capacity: usize) -> Self {
        Self {
            generations: Mutex::new(Generations {
                young: HashSet::new(),
                old: HashSet::new(),
                young_since_at: 0,
            }),
            window_ms,
            capacity,
        }
    }

    /// Remembers a digest, or says that it was there already or that there is no room.
    pub(crate) fn remember(&self, digest: [u8; 16], now_at: UnixMs) -> Remembering {
        let mut memory = self.generations.lock();
        let age_ms = now_at.saturating_sub(memory.young_since_at);
        if age_ms > self.window_ms {
            memory.old = std::mem::take(&mut memory.young);
            if age_ms > self.window_ms.saturating_mul(2) {
                memory.old.clear();
            }
            memory.young_since_at = now_at;
        }
        if memory.young.contains(&digest) || memory.old.contains(&digest) {
            return Remembering::Seen;
        }
        if memory.young.len() + memory.old.len() >= self.capacity {
            return Remembering::Full;
        }
        memory.young.insert(digest);
        Remembering::Fresh
    }
}
