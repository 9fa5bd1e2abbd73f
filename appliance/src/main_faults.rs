//! Starts the command line of a build with faults on demand, under a name of its own: it never lies where the real
//! program does.

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    seawall_appliance::cli::run()
}
