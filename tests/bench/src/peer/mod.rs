//! Whom we are compared with, each pinned to the server's CPU as we are.

pub mod hyper;
pub mod nginx;
pub mod redis;
pub mod wrk;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

use crate::process::Process;

const READY_MAX: Duration = Duration::from_secs(20);

/// An address nobody listens on now.
///
/// # Errors
/// When the system has none.
pub fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until a process accepts connections.
///
/// # Errors
/// When it ended, or takes too long.
pub fn await_listener(process: &mut Process, address: SocketAddr) -> Result<(), Failure> {
    let end = Instant::now() + READY_MAX;
    while TcpStream::connect(address).is_err() {
        if process.has_ended() || Instant::now() > end {
            return Err(format!("nobody listens on {address}").into());
        }
        std::thread::sleep(Duration::from_millis(10)); // poll
    }
    Ok(())
}
