//! What a figure depends on: the machine, its disk, its programs, and whether it was quiet.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

/// CPU the server or its peer runs on.
pub const SERVER_CPU: usize = 0;
/// CPU the loader runs on.
pub const LOADER_CPU: usize = 1;
/// A machine that is busier than this before anything was started is not quiet.
const BUSY_MAX: f64 = 0.10;
const BUSY_SPAN: Duration = Duration::from_millis(500);
const SYNCS: usize = 200;
const SYNC_BLOCK_BYTES: usize = 4096;

/// The machine in one line.
#[must_use]
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or(0);
    format!(
        "{cores} cores, {model}, {} GiB, Linux {}",
        memory_kib >> 20,
        kernel.trim()
    )
}

/// Versions of the programs we are compared with; the ones that are missing say so.
#[must_use]
pub fn peers() -> String {
    let version = |program: &str, argument: &str| {
        let Ok(output) = Command::new(program).arg(argument).output() else {
            return format!("{program} missing");
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        text.lines().next().unwrap_or(program).trim().to_owned()
    };
    [
        version("nginx", "-v"),
        version("redis-server", "--version"),
        version("wrk", "-v"),
    ]
    .join("; ")
}

/// The commit the binary was built from, as `make` says it, else as git says it here.
#[must_use]
pub fn commit() -> String {
    if let Ok(commit) = std::env::var("SEAWALL_COMMIT") {
        return commit;
    }
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Keeps the calling thread, and what it starts, on one CPU.
///
/// # Errors
/// When there is no such CPU.
pub fn pin(cpu: usize) -> Result<(), Failure> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).map_err(|e| format!("CPU {cpu} cannot be used: {e}"))?;
    Ok(())
}

/// Raises the number of files this process and its children may open to what the system allows; answers that number.
#[must_use]
pub fn raise_file_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: now.maximum,
        maximum: now.maximum,
    };
    let _ = setrlimit(Resource::Nofile, wanted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How busy all CPUs are right now, 0 to 1.
#[must_use]
pub fn busy_share() -> f64 {
    let read = || {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().to_owned();
        let fields: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let idle: f64 = fields.iter().skip(3).take(2).sum();
        (fields.iter().sum::<f64>(), idle)
    };
    let (all_before, idle_before) = read();
    let begun = Instant::now();
    while begun.elapsed() < BUSY_SPAN {
        std::thread::park_timeout(BUSY_SPAN);
    }
    let (all, idle) = read();
    1.0 - (idle - idle_before) / (all - all_before).max(1.0)
}

/// Connections the kernel refused so far because a listener's backlog was full, of the whole machine.
#[must_use]
pub fn listen_overflows() -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").unwrap_or_default();
    netstat(&text, "TcpExt:", "ListenOverflows").unwrap_or(0)
}

/// A counter of `/proc/net/netstat`, which has a line of names and a line of values for each kind.
fn netstat(text: &str, kind: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(kind));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split(' ').position(|column| column == name)?;
    values.split(' ').nth(place)?.parse().ok()
}

/// What to add to the machine's name when others use it too.
#[must_use]
pub fn disturbance(busy: f64) -> Option<String> {
    (busy > BUSY_MAX).then(|| format!("NOT QUIET: {:.0} % busy before the run", busy * 100.0))
}

/// Durations of `fdatasync` after appending a block, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyncTimes {
    /// Median.
    pub p50_us: f64,
    /// 99th of a hundred.
    pub p99_us: f64,
}

/// Measures the disk under `folder`.
///
/// # Errors
/// The file system's.
pub fn sync_times(folder: &Path) -> Result<SyncTimes, Failure> {
    let path = folder.join("sync-times");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[7; SYNC_BLOCK_BYTES])?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_nanos() as f64 / 1e3);
    }
    fs::remove_file(&path)?;
    times.sort_by(f64::total_cmp);
    Ok(SyncTimes {
        p50_us: times[SYNCS / 2],
        p99_us: times[SYNCS * 99 / 100],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_read_by_its_column() {
        let text = "TcpExt: A ListenOverflows B\nTcpExt: 1 23 4\nIpExt: A B\nIpExt: 5 6\n";
        assert_eq!(netstat(text, "TcpExt:", "ListenOverflows"), Some(23));
        assert_eq!(netstat(text, "IpExt:", "B"), Some(6));
        assert_eq!(netstat(text, "IpExt:", "C"), None);
    }
}
