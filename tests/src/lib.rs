//! What several suites and tools share: the generator of an old platform's accounts, and the real binary as a process.

pub mod accounts;
pub mod admin;
pub mod server;
