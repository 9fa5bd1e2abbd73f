//! Figures of the process, the store, the hash pool and the domain for `/metrics`. They are read when asked for, so
//! that nothing counts twice; names, units and label values come from this file, so that their number is bounded.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use seawall_domain::{Counters, Platform};
use seawall_storage::{HistogramReading, Stats, Store};

use crate::auth_log::SegmentAuthLog;
use crate::backup::service::Backups;
use crate::disk_watch::DiskWatch;
use crate::hash_pool::HashThreads;
use crate::heartbeat::Heartbeat;
use crate::precedence::Precedence;
use crate::telemetry;

mod door;
mod precedence;

/// Buckets of a histogram of the store that are shown, one per power of two; the same ones always, so that series stay
/// comparable. What lies beyond (8 MiB, 8 s) counts as infinite.
const BUCKETS_SHOWN: usize = 24;

/// Where the figures are read.
#[derive(Clone)]
pub struct Sources {
    /// The store.
    pub store: Store,
    /// The domain.
    pub platform: Platform,
    /// The hash pool.
    pub hash: Arc<HashThreads>,
    /// The authentication log.
    pub auth_log: Arc<SegmentAuthLog>,
    /// Room on the disk.
    pub disk: Arc<DiskWatch>,
    /// Backups.
    pub backups: Arc<Backups>,
    /// Who goes first on the processors.
    pub precedence: Arc<Precedence>,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// Registers everything.
pub fn register(registry: &mut Registry, sources: Sources, heartbeat: &Heartbeat) {
    registry.register(
        "seawall_runtime_lag_seconds",
        "How late the network runtime wakes its tasks",
        heartbeat.lag(),
    );
    registry.register_collector(Box::new(sources));
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = Figures { encoder: &mut encoder };
        self.store_figures(&mut out)?;
        self.domain_figures(&mut out)?;
        self.hash_figures(&mut out)?;
        self.auth_log_figures(&mut out)?;
        self.disk_figures(&mut out)?;
        self.backups.figures(&mut out)?;
        precedence::figures(&self.precedence, &mut out)?;
        process_figures(&mut out)
    }
}

impl Sources {
    fn store_figures(&self, out: &mut Figures<'_, '_>) -> fmt::Result {
        let stats = self.store.stats();
        out.counter(
            "seawall_store_transactions",
            "Transactions that committed something",
            stats.transactions,
        )?;
        out.counter(
            "seawall_store_refused",
            "Transactions that were refused or panicked",
            stats.refused,
        )?;
        out.counter(
            "seawall_store_late",
            "Writes not begun because the caller's deadline had passed",
            stats.late,
        )?;
        out.counter(
            "seawall_store_abandoned",
            "Writes not begun because nobody waited for them any more",
            stats.abandoned,
        )?;
        out.gauge(
            "seawall_store_queue_length",
            "Writes waiting for the sequencer",
            stats.queue_length as u64,
        )?;
        out.gauge(
            "seawall_store_read_queue_length",
            "Reads waiting for a reader",
            stats.read_queue_length as u64,
        )?;
        out.histogram(
            "seawall_store_group_transactions",
            "Transactions of a commit group",
            &stats.group_transactions,
            1.0,
        )?;
        out.histogram(
            "seawall_store_group_bytes",
            "Payload bytes of a commit group",
            &stats.group_bytes,
            1.0,
        )?;
        out.histogram(
            "seawall_store_sync_seconds",
            "The engine's synced commit",
            &stats.sync_us,
            1e6,
        )?;
        out.histogram(
            "seawall_store_queue_wait_seconds",
            "From queueing a write to running it",
            &stats.queue_wait_us,
            1e6,
        )?;
        memory_and_journal_figures(stats, out)
    }

    fn domain_figures(&self, out: &mut Figures<'_, '_>) -> fmt::Result {
        let counters = self.platform.counters();
        out.counter(
            "seawall_verify_contradicted",
            "Token checks that a later reading contradicted; stays 0",
            counters.verify_contradicted,
        )?;
        out.counter(
            "seawall_auth_log_dropped",
            "Auth-log records dropped because the queue was full",
            counters.auth_log_dropped,
        )?;
        out.counter(
            "seawall_passwords_rehashed",
            "Passwords re-hashed at login",
            counters.rehashed,
        )?;
        out.counter(
            "seawall_credential_cache_hits",
            "Password checks answered from the verified passwords in memory",
            counters.credential_cache_hits,
        )?;
        out.counter(
            "seawall_credential_cache_misses",
            "Password checks that looked there and needed a hash",
            counters.credential_cache_misses,
        )?;
        out.gauge(
            "seawall_credential_cache_entries",
            "Verified passwords in memory",
            counters.credential_cache_entries,
        )?;
        out.counter("seawall_swept_rows", "Expired rows removed", counters.swept)?;
        out.gauge(
            "seawall_revocations",
            "Revocation records in memory",
            counters.revocations,
        )?;
        out.gauge(
            "seawall_revocation_bytes",
            "Bytes of their tables",
            counters.revocation_bytes,
        )?;
        out.gauge("seawall_restrictions", "Restrictions in memory", counters.restrictions)?;
        abuse_figures(&counters, out)?;
        door::figures(&self.platform, &counters, out)
    }

    fn hash_figures(&self, out: &mut Figures<'_, '_>) -> fmt::Result {
        let standing = self.hash.standing();
        out.gauge(
            "seawall_hash_threads",
            "Threads for password hashes",
            standing.threads as u64,
        )?;
        out.gauge(
            "seawall_hash_waiting",
            "Password hashes waiting",
            standing.waiting as u64,
        )?;
        out.gauge(
            "seawall_hash_running",
            "Password hashes running",
            standing.running as u64,
        )?;
        out.gauge(
            "seawall_hash_cost_microseconds",
            "Moving average of a password hash",
            standing.cost_us,
        )?;
        out.gauge(
            "seawall_hash_crowded",
            "1 while more password hashes are wanted than can be done, and the newest go first",
            u64::from(standing.is_crowded),
        )?;
        out.gauge(
            "seawall_hash_recent_wait_milliseconds",
            "Mean wait of password hashes in the last 100 to 200 ms",
            self.hash.recent_wait_ms(),
        )?;
        out.counter("seawall_hash_done", "Password hashes done", standing.counters.done)?;
        out.counter(
            "seawall_hash_refused_full",
            "Password hashes refused because the queue was too long",
            standing.counters.refused_full,
        )?;
        out.counter(
            "seawall_hash_refused_late",
            "Password hashes refused because their deadline passed",
            standing.counters.refused_late,
        )?;
        out.counter(
            "seawall_hash_pushed_out",
            "Password hashes refused because newer ones took their place",
            standing.counters.pushed_out,
        )?;
        out.counter(
            "seawall_hash_abandoned",
            "Password hashes not begun because nobody waited for them any more",
            standing.counters.abandoned,
        )?;
        out.counter(
            "seawall_hash_waited_microseconds",
            "Time password hashes waited",
            standing.counters.waited_us,
        )
    }
}

fn abuse_figures(counters: &Counters, out: &mut Figures<'_, '_>) -> fmt::Result {
    let abuse = &counters.abuse;
    let counted = [
        (
            "decisions",
            "Logins, registrations and the like judged by the limits",
            abuse.decisions,
        ),
        (
            "challenged",
            "Of those, asked for a proof of work by a limit",
            abuse.challenged,
        ),
        (
            "refused_address",
            "Refused by address with device or account",
            abuse.refused_address,
        ),
        ("refused_device", "Refused by device", abuse.refused_device),
        ("refused_account", "Refused by account", abuse.refused_account),
        ("refused_game", "Refused by game", abuse.refused_game),
        ("failures", "Wrong passwords counted", abuse.failures),
        (
            "cells_evicted",
            "Keys held back that had to make room",
            abuse.cells_evicted,
        ),
    ];
    for (name, help, value) in counted {
        out.counter(&format!("seawall_abuse_{name}"), help, value)?;
    }
    out.gauge(
        "seawall_abuse_cells",
        "Keys with a state of their own",
        abuse.cells_used,
    )?;
    out.gauge("seawall_abuse_bytes", "Bytes of all limits", abuse.bytes)
}

impl Sources {
    fn disk_figures(&self, out: &mut Figures<'_, '_>) -> fmt::Result {
        let reading = self.disk.reading();
        out.gauge(
            "seawall_disk_free_bytes",
            "Bytes that may still be written where the data lies",
            reading.free_bytes,
        )?;
        out.gauge(
            "seawall_disk_size_bytes",
            "Size of that file system",
            reading.total_bytes,
        )?;
        out.gauge(
            "seawall_disk_room",
            "0 ample, 1 low, 2 scarce (logins refused), 3 exhausted (all writes refused)",
            self.store.disk_room() as u64,
        )
    }

    fn auth_log_figures(&self, out: &mut Figures<'_, '_>) -> fmt::Result {
        let stats = self.auth_log.stats();
        out.gauge("seawall_auth_log_bytes", "Bytes of the auth log", stats.bytes)?;
        out.gauge("seawall_auth_log_records", "Records of the auth log", stats.records)?;
        out.gauge(
            "seawall_auth_log_queued_bytes",
            "Bytes waiting to be written",
            stats.queued_bytes as u64,
        )?;
        out.counter(
            "seawall_auth_log_failed_groups",
            "Groups whose write or sync failed",
            stats.failed_groups,
        )?;
        out.histogram(
            "seawall_auth_log_group_records",
            "Records of a synced group",
            &stats.group_records,
            1.0,
        )?;
        out.histogram(
            "seawall_auth_log_sync_seconds",
            "Write and sync of a group",
            &stats.sync_us,
            1e6,
        )
    }
}

/// The store's caches, journal, clock and engine.
fn memory_and_journal_figures(stats: Stats, out: &mut Figures<'_, '_>) -> fmt::Result {
    out.counter(
        "seawall_store_cache_hits",
        "Rows found in the row cache",
        stats.cache_hits,
    )?;
    out.counter(
        "seawall_store_cache_misses",
        "Rows not found in the row cache",
        stats.cache_misses,
    )?;
    out.gauge(
        "seawall_store_cache_entries",
        "Rows in the row cache",
        stats.cache_entries,
    )?;
    out.gauge("seawall_store_cache_bytes", "Bytes of the row cache", stats.cache_bytes)?;
    out.gauge(
        "seawall_journal_first_lsn",
        "Oldest journal frame kept",
        stats.journal_first_lsn,
    )?;
    out.gauge(
        "seawall_journal_last_lsn",
        "Newest journal frame",
        stats.journal_last_lsn,
    )?;
    out.gauge("seawall_journal_bytes", "Bytes of the journal", stats.journal_bytes)?;
    out.counter(
        "seawall_clock_held_back",
        "Jumps of the clock held back",
        stats.clock_held_back + crate::clock::jumps_held_back(),
    )?;
    for (name, value) in stats.engine {
        out.gauge(
            &format!("seawall_engine_{name}"),
            "A figure of the engine, as the engine counts it",
            value,
        )?;
    }
    Ok(())
}

fn process_figures(out: &mut Figures<'_, '_>) -> fmt::Result {
    out.counter(
        "seawall_panics",
        "Panics of any thread; each is a defect",
        telemetry::panics(),
    )?;
    let process = ProcessFigures::read();
    out.gauge(
        "process_resident_memory_bytes",
        "Resident memory",
        process.resident_bytes,
    )?;
    out.gauge("process_open_fds", "Open file descriptors", process.open_fds)?;
    out.gauge("process_threads", "Threads", process.threads)?;
    out.counter("process_cpu_milliseconds", "CPU time, user and system", process.cpu_ms)
}

/// What the kernel says about this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
    /// CPU time, user and system, in milliseconds.
    pub cpu_ms: u64,
}

impl ProcessFigures {
    /// Resident memory alone, in bytes; 0 when it cannot be read. A hundredth of what all of them cost, which grows with the
    /// open connections.
    #[must_use]
    pub fn resident_bytes_now() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm
            .split_whitespace()
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok());
        let page_bytes = rustix::param::page_size() as u64;
        pages.unwrap_or(0).saturating_mul(page_bytes)
    }

    /// Reads `/proc/self`; what cannot be read is 0.
    #[must_use]
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next())
                .and_then(|number| number.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let cpu_ms =
            u64::try_from(cpu.tv_sec).unwrap_or(0) * 1000 + u64::try_from(cpu.tv_nsec).unwrap_or(0) / 1_000_000;
        Self {
            resident_bytes: field("VmRSS:") << 10,
            open_fds,
            threads: field("Threads:"),
            cpu_ms,
        }
    }
}

/// Encodes one figure after the other.
pub(crate) struct Figures<'a, 'e> {
    encoder: &'a mut DescriptorEncoder<'e>,
}

impl Figures<'_, '_> {
    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }

    /// A histogram of the store; its values are divided by `per_unit`.
    #[expect(clippy::cast_precision_loss, reason = "figures for people; 52 bits are plenty")]
    fn histogram(&mut self, name: &str, help: &str, reading: &HistogramReading, per_unit: f64) -> fmt::Result {
        let bound = |bucket: usize| ((1u64 << bucket) - 1) as f64 / per_unit;
        let (shown, beyond) = reading.buckets.split_at(BUCKETS_SHOWN.min(reading.buckets.len()));
        let mut buckets: Vec<(f64, u64)> = shown
            .iter()
            .enumerate()
            .map(|(index, count)| (bound(index), *count))
            .collect();
        buckets.push((f64::INFINITY, beyond.iter().sum()));
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<prometheus_client::encoding::NoLabelSet>(
            reading.sum as f64 / per_unit,
            reading.count(),
            &buckets,
            None,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_about_this_process() {
        let figures = ProcessFigures::read();
        assert!(
            figures.resident_bytes > 1 << 20 && figures.open_fds >= 3 && figures.threads >= 1,
            "{figures:?}"
        );
    }

    #[test]
    fn store_histograms_become_cumulative_buckets_in_the_stated_unit() {
        #[derive(Debug)]
        struct One(HistogramReading);
        impl Collector for One {
            fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
                Figures { encoder: &mut encoder }.histogram("x_seconds", "h", &self.0, 1e6)
            }
        }
        let histogram = seawall_storage::Histogram::default();
        [1, 1, 3, 1000].iter().for_each(|us| histogram.record(*us));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(One(histogram.read())));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("x_seconds_count 4"), "{text}");
        assert!(
            text.contains("x_seconds_bucket{le=\"0.000001\"} 2")
                && text.contains("x_seconds_bucket{le=\"0.000003\"} 3"),
            "{text}"
        );
        assert!(text.contains("le=\"+Inf\"} 4"), "{text}");
    }
}
