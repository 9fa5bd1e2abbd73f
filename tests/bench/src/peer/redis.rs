//! Redis, in memory only or with a synced append-only file, asked by its own redis-benchmark.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;
use tempfile::TempDir;

use super::{await_listener, free_address};
use crate::bench::Bench;
use crate::machine::LOADER_CPU;
use crate::process::{Process, output};

/// What a SET waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Memory.
    None,
    /// A sync of the append-only file.
    AofAlways,
}

/// A running Redis.
pub struct Redis {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Redis {
    /// Starts it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(bench: &Bench, durability: Durability) -> Result<Self, Failure> {
        let (folder, address) = (bench.scratch()?, free_address()?);
        let (port, dir) = (address.port().to_string(), folder.path().display().to_string());
        let log = folder.path().join("redis.log").display().to_string();
        let mut arguments: Vec<&str> = vec![
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            &dir,
            "--logfile",
            &log,
        ];
        if durability == Durability::AofAlways {
            arguments.extend(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let mut process = Process::start("redis-server", &arguments)?;
        await_listener(&mut process, address)?;
        Ok(Self {
            _process: process,
            _folder: folder,
            address,
        })
    }

    /// Commands a second of a test of redis-benchmark (`get`, `set`) without pipelining, with values of `bytes`, for about `span`.
    ///
    /// # Errors
    /// When redis-benchmark fails or prints no rate.
    pub fn benchmark(&self, test: &str, connections: usize, bytes: usize, span: Duration) -> Result<f64, Failure> {
        // It counts requests, not seconds: a short run says how many.
        let begun = Instant::now();
        let first = self.requests(test, connections, bytes, 10_000)?;
        let took = begun.elapsed().as_secs_f64().max(0.01);
        let rate = first.min(10_000.0 / took).max(1000.0);
        self.requests(test, connections, bytes, (rate * span.as_secs_f64()) as u64)
    }

    fn requests(&self, test: &str, connections: usize, bytes: usize, requests: u64) -> Result<f64, Failure> {
        let (port, connections, requests, bytes) = (
            self.address.port().to_string(),
            connections.to_string(),
            requests.to_string(),
            bytes.to_string(),
        );
        let arguments = [
            "-p",
            &port,
            "-t",
            test,
            "-c",
            &connections,
            "-n",
            &requests,
            "-d",
            &bytes,
            "-r",
            "1000000",
            "--csv",
        ];
        let text = output(
            &LOADER_CPU.to_string(),
            "redis-benchmark",
            &arguments.map(str::to_owned),
        )?;
        rate(&text).ok_or_else(|| format!("redis-benchmark printed no rate: {text}").into())
    }
}

/// The rate in the CSV that redis-benchmark prints: a header line from version 7 on, then `"GET","123456.78",…`.
fn rate(csv: &str) -> Option<f64> {
    let last = csv.trim().lines().last()?;
    last.split(',').nth(1)?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_and_without_a_header() {
        assert_eq!(
            rate("\"test\",\"rps\",\"avg\"\n\"GET\",\"98039.22\",\"0.3\"\n"),
            Some(98039.22)
        );
        assert_eq!(rate("\"SET\",\"12.5\"\n"), Some(12.5));
        assert_eq!(rate("Could not connect"), None);
    }
}
