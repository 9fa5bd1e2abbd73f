//! The machine a rehearsal runs on: which CPUs are whose, what it is, and what a process used of it.

use std::fs;

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// Ticks of a second in `/proc`; fixed on Linux.
const TICKS: f64 = 100.0;
/// Priority of a loader that goes first, as `nice` counts.
const LOADER_PRIORITY: i32 = -10;
/// CPUs that are looked at.
const CPUS_MAX: usize = 1024;

/// Which CPUs the server has, and which one the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    /// Of the server.
    pub server: Vec<usize>,
    /// Of the loader: one of its own where there are two.
    pub loader: usize,
}

impl Cpus {
    /// Shares out the CPUs this process may use.
    #[must_use]
    pub fn share() -> Self {
        let allowed = sched_getaffinity(None).unwrap_or_default();
        Self::of((0..CPUS_MAX).filter(|cpu| allowed.is_set(*cpu)).collect())
    }

    fn of(mut allowed: Vec<usize>) -> Self {
        let loader = allowed.last().copied().unwrap_or(0);
        match allowed.len() {
            0 => allowed.push(loader),
            1 => {}
            _ => {
                allowed.pop();
            }
        }
        Self {
            server: allowed,
            loader,
        }
    }

    /// Whether both have the same.
    #[must_use]
    pub fn are_shared(&self) -> bool {
        self.server.contains(&self.loader)
    }

    /// Keeps the calling thread, and what it starts, on the server's. Where the system does not allow it everything runs everywhere.
    pub fn be_server(&self) {
        keep_on(&self.server);
    }

    /// Keeps the calling thread on the loader's. Where nobody else is served it may go before others there, for a loader that is late
    /// proves nothing; that takes root, and is left out without.
    pub fn be_loader(&self, goes_first: bool) {
        keep_on(&[self.loader]);
        if goes_first {
            let _ = setpriority_process(None, LOADER_PRIORITY);
        }
    }
}

fn keep_on(cpus: &[usize]) {
    let mut set = CpuSet::new();
    cpus.iter().filter(|cpu| **cpu < CPUS_MAX).for_each(|cpu| set.set(*cpu));
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!(%error, ?cpus, "this thread cannot be kept on its processors");
    }
}

/// Processor seconds a process has used.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; the fields begin after its last parenthesis.
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let used = fields.split(' ').skip(11).take(2);
    used.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// What the machine is.
#[must_use]
pub fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let memory_kib = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .trim()
            .strip_suffix(" kB")?
            .parse::<u64>()
            .ok()
    });
    json!({
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "model": model.map_or("unknown", |(_, name)| name.trim()),
        "memory_mib": memory_kib.unwrap_or(0) >> 10,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// Raises the number of files this process may open to what the system allows; answers that number.
#[must_use]
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_has_a_cpu_of_its_own_where_there_are_two() {
        let shared = Cpus::of(vec![3]);
        assert!(shared.are_shared() && shared.server == [3]);
        let apart = Cpus::of(vec![0, 2, 5]);
        assert_eq!(
            (apart.server.as_slice(), apart.loader, apart.are_shared()),
            (&[0, 2][..], 5, false)
        );
        assert!(Cpus::of(Vec::new()).are_shared());
    }

    #[test]
    fn the_machine_is_described() {
        let told = describe();
        assert!(
            told["cpus"].as_u64().unwrap() > 0 && told["memory_mib"].as_u64().unwrap() > 0,
            "{told}"
        );
        assert!(cpu_seconds(std::process::id()) >= 0.0);
    }
}
