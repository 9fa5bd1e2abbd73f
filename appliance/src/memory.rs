//! Memory as a budget with a name per consumer. The sum is printed at start; the shares follow the host's setting, so
//! that 1 GiB does for a small publisher and 64 GiB is used when given.

use seawall_storage::MemoryBudget;

/// Memory of one password hash in work, in bytes (argon2id, 19 MiB).
const HASH_BYTES: u64 = 19 << 20;

/// Rough need of a connection with its buffers and TLS state, in bytes; for the printed plan only.
const CONNECTION_BYTES: u64 = 40 << 10;

/// Connections the plan counts with; more are allowed and take their memory from the reserve.
const PLANNED_CONNECTIONS: u64 = 2_000;

/// Program, stacks and allocator slack, in bytes.
const BASE_BYTES: u64 = 96 << 20;

/// Who gets how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The store's consumers.
    pub store: MemoryBudget,
    /// (name, bytes) of every consumer, the store's included.
    pub consumers: Vec<(&'static str, u64)>,
}

impl MemoryPlan {
    /// Shares out `budget_bytes`.
    #[must_use]
    pub fn new(budget_bytes: u64, hash_threads: usize) -> Self {
        let hash_bytes = HASH_BYTES * hash_threads as u64;
        let connection_bytes = (CONNECTION_BYTES * PLANNED_CONNECTIONS).min(budget_bytes / 8);
        let free = budget_bytes
            .saturating_sub(BASE_BYTES + hash_bytes + connection_bytes)
            .max(48 << 20);
        // A quarter stays free for mirrors (revocations, restrictions, catalogue) and for bursts.
        let store = MemoryBudget {
            block_cache_bytes: free * 35 / 100,
            row_cache_bytes: free * 25 / 100,
            memtable_bytes: (free * 15 / 100).clamp(8 << 20, 512 << 20),
        };
        let consumers = vec![
            ("program", BASE_BYTES),
            ("block cache", store.block_cache_bytes),
            ("row cache", store.row_cache_bytes),
            ("memtables", store.memtable_bytes),
            ("password hashes", hash_bytes),
            ("connections", connection_bytes),
        ];
        Self { store, consumers }
    }

    /// Sum of all consumers, in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.consumers.iter().map(|(_, bytes)| bytes).sum()
    }

    /// One line for the log: every consumer and the sum, in MiB.
    #[must_use]
    pub fn line(&self) -> String {
        let parts: Vec<String> = self
            .consumers
            .iter()
            .map(|(name, bytes)| format!("{name} {}", bytes >> 20))
            .collect();
        format!("{} = {} MiB", parts.join(" + "), self.total_bytes() >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_stays_within_the_budget() {
        for (mib, threads) in [
            (256u64, 1),
            (512, 1),
            (1024, 1),
            (1024, 4),
            (8 << 10, 8),
            (64 << 10, 32),
        ] {
            let plan = MemoryPlan::new(mib << 20, threads);
            assert!(plan.total_bytes() <= mib << 20, "{mib} MiB: {}", plan.line());
            assert!(plan.store.memtable_bytes >= 8 << 20);
        }
    }

    #[test]
    fn more_memory_goes_to_the_caches() {
        let (small, large) = (MemoryPlan::new(1 << 30, 1), MemoryPlan::new(64 << 30, 1));
        assert!(large.store.block_cache_bytes > 40 * small.store.block_cache_bytes);
        assert!(small.line().ends_with(&format!("= {} MiB", small.total_bytes() >> 20)));
    }
}
