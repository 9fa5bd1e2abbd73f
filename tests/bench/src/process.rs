//! Processes under measurement: pinned, watched, and ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

use crate::load::Meter;
use crate::machine::SERVER_CPU;

/// Ticks of a second in `/proc`; fixed on Linux.
const TICKS: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;
const STOP_MAX: Duration = Duration::from_secs(20);

/// A child on the server's CPU; killed when dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program on the server's CPU.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &str, arguments: &[String]) -> Result<Self, Failure> {
        Self::spawn(&mut pinned(&SERVER_CPU.to_string(), program, arguments), Stdio::null())
    }

    /// Starts a part of this very program (`bench part …`) on the server's CPU and reads the line it prints when it is ready.
    ///
    /// # Errors
    /// When it ends before it says anything.
    pub fn part(arguments: &[String]) -> Result<(Self, String), Failure> {
        let own = own_path()?;
        let arguments = [&["part".to_owned()], arguments].concat();
        let mut process = Self::spawn(&mut pinned(&SERVER_CPU.to_string(), &own, &arguments), Stdio::piped())?;
        let stdout = process.child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim().is_empty() {
            return Err(format!("bench {arguments:?} ended early").into());
        }
        Ok((process, line.trim().to_owned()))
    }

    fn spawn(command: &mut Command, stdout: Stdio) -> Result<Self, Failure> {
        let name = format!("{command:?}");
        let child = command.stdin(Stdio::null()).stdout(stdout).spawn();
        Ok(Self {
            child: child.map_err(|e| format!("{name}: {e}"))?,
        })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An end that came before it was asked for.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let end = Instant::now() + STOP_MAX;
        while Instant::now() < end {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5)); // poll
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of this program.
///
/// # Errors
/// When the system does not say.
pub fn own_path() -> Result<String, Failure> {
    Ok(std::env::current_exe()?.display().to_string())
}

/// A command on some CPUs, a list as `taskset` takes it.
#[must_use]
pub fn pinned(cpus: &str, program: &str, arguments: &[String]) -> Command {
    let mut command = Command::new("taskset");
    command.arg("-c").arg(cpus).arg(program).args(arguments);
    command
}

/// Runs a command on some CPUs to its end; what it printed.
///
/// # Errors
/// When it fails, with what it said.
pub fn output(cpus: &str, program: &str, arguments: &[String]) -> Result<String, Failure> {
    let output = pinned(cpus, program, arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{program} {arguments:?} failed: {said}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a part of this program on some CPUs to its end; the figures it printed as one line of JSON.
///
/// # Errors
/// When it fails, or prints no JSON.
pub fn part_figures(cpus: &str, arguments: &[String]) -> Result<serde_json::Value, Failure> {
    let arguments = [&["part".to_owned()], arguments].concat();
    let text = output(cpus, &own_path()?, &arguments)?;
    Ok(serde_json::from_str(text.trim()).map_err(|e| format!("{arguments:?} printed `{text}`: {e}"))?)
}

/// A number of the figures of a part.
///
/// # Errors
/// When it is not there.
pub fn figure(figures: &serde_json::Value, name: &str) -> Result<f64, Failure> {
    let number = figures.get(name).and_then(serde_json::Value::as_f64);
    number.ok_or_else(|| format!("no figure `{name}` in {figures}").into())
}

/// A process and all below it.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        // Each thread lists the children it started.
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// Processor seconds of a process, of all below it, and of its children that ended.
#[must_use]
pub fn cpu_seconds(pid: u32) -> f64 {
    let ticks = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything; the fields begin after its last parenthesis.
        let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields = fields.split(' ').skip(11).take(4);
        fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>()
    };
    tree(pid).into_iter().map(ticks).sum::<f64>() / TICKS
}

/// Resident bytes of a process and all below it.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let pages = |pid: u32| {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        statm
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
            .unwrap_or(0)
    };
    tree(pid).into_iter().map(pages).sum::<u64>() * PAGE_BYTES
}

/// Most resident bytes a process ever had.
#[must_use]
pub fn peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Reads the processor time of a process while a run is measured.
pub struct CpuMeter {
    pid: u32,
    begun_s: f64,
    /// Seconds used between begin and end.
    pub used_s: f64,
}

impl CpuMeter {
    /// Of this process and all below it.
    #[must_use]
    pub fn new(pid: u32) -> Self {
        Self {
            pid,
            begun_s: 0.0,
            used_s: 0.0,
        }
    }
}

impl Meter for CpuMeter {
    fn begin(&mut self) {
        self.begun_s = cpu_seconds(self.pid);
    }

    fn end(&mut self) {
        self.used_s = cpu_seconds(self.pid) - self.begun_s;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_counts_its_children() {
        let child = Command::new("sh")
            .args(["-c", "read x"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = Process { child };
        let own = std::process::id();
        assert!(tree(own).contains(&child.pid()));
        assert!(resident_bytes(child.pid()) > PAGE_BYTES);
        assert!(!child.has_ended());
    }

    #[test]
    fn work_shows_in_the_processor_time() {
        let before = cpu_seconds(std::process::id());
        let begun = Instant::now();
        let mut number = 1_u64;
        while begun.elapsed() < Duration::from_millis(300) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        assert!(cpu_seconds(std::process::id()) > before);
    }
}
