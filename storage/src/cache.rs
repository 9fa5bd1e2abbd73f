//! The row cache: hot decoded rows of all cached tables in one budget. A loader first takes the key's place; a commit
//! that removes the key meanwhile takes that place away, so a value read before the commit can never be inserted after it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

type FullKey = Vec<u8>;
type AnyRecord = Arc<dyn Any + Send + Sync>;

/// A decoded row and what it is charged for.
#[derive(Clone)]
struct Entry {
    record: AnyRecord,
    weight_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl Weighter<FullKey, Entry> for ByBytes {
    fn weight(&self, _key: &FullKey, entry: &Entry) -> u64 {
        entry.weight_bytes
    }
}

type Lifecycle = DefaultLifecycle<FullKey, Entry>;

/// What an entry costs besides key and encoded value, in bytes: allocations, map slot, decoded overhead.
const ENTRY_OVERHEAD_BYTES: u64 = 120;
/// Assumed size of an entry, to size the map.
const ENTRY_ESTIMATE_BYTES: u64 = 300;

/// The cache.
pub(crate) struct RowCache {
    rows: Cache<FullKey, Entry, ByBytes, DefaultHashBuilder, Lifecycle>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// A look-up's result.
pub(crate) enum Slot<'c> {
    /// The row.
    Hit(AnyRecord),
    /// Nobody has it; load it and hand it over.
    Load(Loader<'c>),
    /// Another reader is loading it; read without the cache.
    Bypass,
}

/// The right to fill one key, lost when a commit changes it.
pub(crate) struct Loader<'c> {
    guard: PlaceholderGuard<'c, FullKey, Entry, ByBytes, DefaultHashBuilder, Lifecycle>,
    key_bytes: usize,
}

impl Loader<'_> {
    /// Offers the loaded row; dropped silently when the key changed meanwhile.
    pub(crate) fn fill(self, record: AnyRecord, value_bytes: usize) {
        let weight_bytes = (self.key_bytes + 2 * value_bytes) as u64 + ENTRY_OVERHEAD_BYTES;
        let _ = self.guard.insert(Entry { record, weight_bytes });
    }
}

impl RowCache {
    pub(crate) fn new(capacity_bytes: u64) -> Self {
        let items = usize::try_from(capacity_bytes / ENTRY_ESTIMATE_BYTES).unwrap_or(usize::MAX);
        Self {
            rows: Cache::with_weighter(items, capacity_bytes, ByBytes),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    pub(crate) fn look_up(&self, full_key: &[u8]) -> Slot<'_> {
        if let Some(entry) = self.rows.get(full_key) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Slot::Hit(entry.record);
        }
        self.misses.fetch_add(1, Ordering::Relaxed);
        match self.rows.get_value_or_guard(full_key, Some(Duration::ZERO)) {
            GuardResult::Value(entry) => Slot::Hit(entry.record),
            GuardResult::Guard(guard) => Slot::Load(Loader {
                guard,
                key_bytes: full_key.len(),
            }),
            GuardResult::Timeout => Slot::Bypass,
        }
    }

    /// Forgets a row, and whatever is being loaded for it.
    pub(crate) fn invalidate(&self, full_key: &[u8]) {
        self.rows.remove(full_key);
    }

    /// Hits, misses, entries, bytes.
    pub(crate) fn figures(&self) -> (u64, u64, u64, u64) {
        let (hits, misses) = (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed));
        (hits, misses, self.rows.len() as u64, self.rows.weight())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader<'c>(cache: &'c RowCache, key: &[u8]) -> Loader<'c> {
        match cache.look_up(key) {
            Slot::Load(loader) => loader,
            Slot::Hit(_) => panic!("hit"),
            Slot::Bypass => panic!("bypass"),
        }
    }

    fn hit(cache: &RowCache, key: &[u8]) -> Option<u32> {
        match cache.look_up(key) {
            Slot::Hit(record) => record.downcast::<u32>().ok().map(|value| *value),
            _ => None,
        }
    }

    #[test]
    fn a_filled_row_is_found_until_it_changes() {
        let cache = RowCache::new(1 << 20);
        loader(&cache, b"row").fill(Arc::new(7u32), 4);
        assert_eq!(hit(&cache, b"row"), Some(7));
        cache.invalidate(b"row");
        assert_eq!(hit(&cache, b"row"), None);
    }

    #[test]
    fn a_value_read_before_a_commit_is_never_inserted_after_it() {
        let cache = RowCache::new(1 << 20);
        let stale = loader(&cache, b"row");
        cache.invalidate(b"row");
        stale.fill(Arc::new(1u32), 4);
        assert_eq!(hit(&cache, b"row"), None);
        let stale = loader(&cache, b"row");
        cache.invalidate(b"row");
        loader(&cache, b"row").fill(Arc::new(2u32), 4);
        stale.fill(Arc::new(1u32), 4);
        assert_eq!(hit(&cache, b"row"), Some(2));
    }

    #[test]
    fn a_second_loader_never_waits() {
        let cache = RowCache::new(1 << 20);
        let first = loader(&cache, b"row");
        assert!(matches!(cache.look_up(b"row"), Slot::Bypass));
        drop(first);
        loader(&cache, b"row").fill(Arc::new(3u32), 4);
        assert_eq!(hit(&cache, b"row"), Some(3));
    }

    #[test]
    fn stays_within_its_budget() {
        let cache = RowCache::new(100_000);
        for number in 0..10_000u32 {
            loader(&cache, &number.to_be_bytes()).fill(Arc::new(number), 100);
        }
        let (_, misses, entries, bytes) = cache.figures();
        assert!(bytes <= 100_000 && entries > 50, "{entries} entries, {bytes} bytes");
        assert_eq!(misses, 10_000);
    }
}
