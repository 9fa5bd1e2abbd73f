//! The one system call that says which policy the kernel schedules a thread by.

use std::io;

use rustix::thread::Pid;

/// Gives a thread of this process a real-time priority (`SCHED_RR`, 1 to 99). Threads it starts have none: `SCHED_RESET_ON_FORK`.
///
/// # Errors
/// When the system does not permit it (`RLIMIT_RTPRIO`, `CAP_SYS_NICE`).
pub fn go_first(thread: Pid, priority: i32) -> io::Result<()> {
    set(thread, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, priority)
}

/// Lets a thread share the processors by `nice` again.
///
/// # Errors
/// When there is no such thread.
pub fn share(thread: Pid) -> io::Result<()> {
    // The flag may be given up only with a privilege; it harms nobody.
    set(thread, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0)
}

#[expect(
    unsafe_code,
    reason = "no safe binding knows SCHED_RESET_ON_FORK; decisions/0820-checks-go-first.md"
)]
fn set(thread: Pid, policy: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the kernel reads `parameters`, which live until the call is over, and writes nothing.
    let answer = unsafe { libc::sched_setscheduler(thread.as_raw_nonzero().get(), policy, &raw const parameters) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
