//! Memory as a budget with a name per consumer. The sum is printed at start; the shares follow the host's setting, so
//! that 1 GiB does for a small publisher and 64 GiB is used when given.

use seawall_domain::{CREDENTIAL_CACHE_ENTRY_BYTES, CredentialCacheOptions};
use seawall_storage::MemoryBudget;

/// Memory of one password hash in work, in bytes (argon2id, 19 MiB).
const HASH_BYTES: u64 = 19 << 20;

/// Rough need of a connection with its buffers and TLS state, in bytes; for the printed plan only.
const CONNECTION_BYTES: u64 = 40 << 10;

/// Connections the plan counts with; more are allowed and take their memory from the reserve.
const PLANNED_CONNECTIONS: u64 = 2_000;

/// What a connection in service takes by measurement, in bytes (decisions/0701).
const SERVED_BYTES: u64 = 21 << 10;

/// Connections in service above which idle ones give their buffers back sooner: those of an eighth of the budget.
#[must_use]
pub fn crowd_connections(budget_bytes: u64) -> usize {
    usize::try_from(budget_bytes / 8 / SERVED_BYTES).unwrap_or(usize::MAX)
}

/// Program, stacks and allocator slack, in bytes.
const BASE_BYTES: u64 = 96 << 20;

/// Most for rows not yet in table files, in bytes: the store writes them out when its logs hold 64 MiB.
const MEMTABLES_MAX_BYTES: u64 = 128 << 20;

/// Who gets how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The store's consumers.
    pub store: MemoryBudget,
    /// Verified passwords, as many as the budget allows.
    pub credential_cache: CredentialCacheOptions,
    /// (name, bytes) of every consumer, the store's included.
    pub consumers: Vec<(&'static str, u64)>,
}

impl MemoryPlan {
    /// Shares out `budget_bytes`.
    #[must_use]
    pub fn new(budget_bytes: u64, hash_threads: usize, credential_cache: CredentialCacheOptions) -> Self {
        let hash_bytes = HASH_BYTES * hash_threads as u64;
        let connection_bytes = (CONNECTION_BYTES * PLANNED_CONNECTIONS).min(budget_bytes / 8);
        let credential_cache = fitted(credential_cache, budget_bytes / 8);
        let credential_bytes = match credential_cache.lifetime_ms {
            0 => 0,
            _ => CREDENTIAL_CACHE_ENTRY_BYTES * credential_cache.entries_max as u64,
        };
        let free = budget_bytes
            .saturating_sub(BASE_BYTES + hash_bytes + credential_bytes + connection_bytes)
            .max(48 << 20);
        // A quarter stays free for mirrors (revocations, restrictions, catalogue) and for bursts. Memtables first: small ones
        // are written out and merged all the time, which costs a small host more than caches bring it (decisions/0704).
        let memtable_bytes = (free * 3 / 10).clamp(8 << 20, MEMTABLES_MAX_BYTES);
        let cached = (free * 3 / 4).saturating_sub(memtable_bytes);
        let store = MemoryBudget {
            block_cache_bytes: cached * 2 / 3,
            row_cache_bytes: cached / 3,
            memtable_bytes,
        };
        let consumers = vec![
            ("program", BASE_BYTES),
            ("block cache", store.block_cache_bytes),
            ("row cache", store.row_cache_bytes),
            ("memtables", store.memtable_bytes),
            ("password hashes", hash_bytes),
            ("verified passwords", credential_bytes),
            ("connections", connection_bytes),
        ];
        Self {
            store,
            credential_cache,
            consumers,
        }
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

/// As many entries as fit.
fn fitted(options: CredentialCacheOptions, bytes: u64) -> CredentialCacheOptions {
    let fit = usize::try_from(bytes / CREDENTIAL_CACHE_ENTRY_BYTES).unwrap_or(usize::MAX);
    CredentialCacheOptions {
        entries_max: options.entries_max.min(fit),
        ..options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(budget_bytes: u64, hash_threads: usize) -> MemoryPlan {
        MemoryPlan::new(budget_bytes, hash_threads, CredentialCacheOptions::default())
    }

    #[test]
    fn verified_passwords_have_a_line_and_at_most_an_eighth() {
        let bytes = |plan: &MemoryPlan| {
            let found = plan.consumers.iter().find(|(name, _)| *name == "verified passwords");
            found.unwrap().1
        };
        let usual = plan(1 << 30, 1);
        assert_eq!(bytes(&usual), 200_000 * CREDENTIAL_CACHE_ENTRY_BYTES);
        let many = CredentialCacheOptions {
            entries_max: 100_000_000,
            ..CredentialCacheOptions::default()
        };
        let plan = MemoryPlan::new(1 << 30, 1, many);
        assert!(bytes(&plan) <= 128 << 20 && plan.credential_cache.entries_max > 900_000);
        assert!(plan.total_bytes() <= 1 << 30, "{}", plan.line());
        let off = CredentialCacheOptions { lifetime_ms: 0, ..many };
        assert_eq!(bytes(&MemoryPlan::new(1 << 30, 1, off)), 0);
    }

    #[test]
    fn memtables_come_first_up_to_what_the_logs_hold() {
        let small = plan(256 << 20, 1).store;
        assert!(
            small.memtable_bytes > small.row_cache_bytes && small.memtable_bytes > 20 << 20,
            "{small:?}"
        );
        assert_eq!(plan(64 << 30, 32).store.memtable_bytes, MEMTABLES_MAX_BYTES);
    }

    #[test]
    fn a_crowd_is_what_an_eighth_of_the_budget_serves() {
        assert_eq!(
            [256u64, 1024, 16 << 10].map(|mib| crowd_connections(mib << 20)),
            [1_560, 6_241, 99_864]
        );
    }

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
            let plan = plan(mib << 20, threads);
            assert!(plan.total_bytes() <= mib << 20, "{mib} MiB: {}", plan.line());
            assert!(plan.store.memtable_bytes >= 8 << 20);
        }
    }

    #[test]
    fn more_memory_goes_to_the_caches() {
        let (small, large) = (plan(1 << 30, 1), plan(64 << 30, 1));
        assert!(large.store.block_cache_bytes > 40 * small.store.block_cache_bytes);
        assert!(small.line().ends_with(&format!("= {} MiB", small.total_bytes() >> 20)));
    }
}
