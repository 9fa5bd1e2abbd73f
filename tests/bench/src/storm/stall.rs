//! Makes the store of a running server stand still for a while.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use seawall_tests::server::Failure;

/// The thread whose syncs everything durable waits for.
const WRITER: &str = "store-write";
/// Time that strace gets to attach and to let go.
const MARGIN: Duration = Duration::from_millis(100);

/// What stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stall {
    /// The next sync of the store's writer: `strace` holds it back. The network threads go on.
    Sync,
    /// The whole server, by SIGSTOP, where there is no `strace`.
    Server,
}

impl Stall {
    /// The finer of those this machine can do.
    #[must_use]
    pub fn possible() -> Self {
        let strace = Command::new("strace")
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if strace.is_ok_and(|status| status.success()) {
            Self::Sync
        } else {
            Self::Server
        }
    }

    /// Its name in a note.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "the next sync of the store's writer was held back by strace",
            Self::Server => "the whole server was stopped by SIGSTOP, as there is no strace here",
        }
    }

    /// Stalls it for `span`; from when until when that was.
    ///
    /// # Errors
    /// The system's, and when the server has no such thread.
    pub fn hold(self, pid: u32, span: Duration) -> Result<(Instant, Instant), Failure> {
        let begun = Instant::now();
        match self {
            Self::Sync => {
                let delay = format!("inject=fdatasync,fsync:delay_enter={}:when=1", span.as_micros());
                let mut strace = Command::new("strace")
                    .args(["-q", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", &delay])
                    .args(["-p", &thread(pid, WRITER)?.to_string()])
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()?;
                std::thread::park_timeout(span + MARGIN);
                Command::new("kill").arg(strace.id().to_string()).status()?;
                strace.wait()?;
            }
            Self::Server => {
                let signal = |name: &str| Command::new("kill").args([name, &pid.to_string()]).status();
                signal("-STOP")?;
                std::thread::park_timeout(span);
                signal("-CONT")?;
            }
        }
        Ok((begun, Instant::now()))
    }
}

/// The thread of this name.
fn thread(pid: u32, name: &str) -> Result<u32, Failure> {
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let called = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if called.trim() == name {
            return Ok(task.file_name().to_string_lossy().parse()?);
        }
    }
    Err(format!("process {pid} has no thread {name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_found_by_name() {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        let (say, hear) = std::sync::mpsc::channel();
        let held = std::thread::Builder::new().name("store-test".into()).spawn(move || {
            say.send(()).unwrap();
            let _ = receive.recv();
        });
        hear.recv().unwrap();
        assert!(thread(std::process::id(), "store-test").is_ok());
        assert!(thread(std::process::id(), "nobody").is_err());
        drop(send);
        held.unwrap().join().unwrap();
    }
}
