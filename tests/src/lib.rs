//! What several suites and tools share: the generator of an old platform's accounts, the real binary as a process, and the rules of
//! its clients.

pub mod accounts;
pub mod admin;
pub mod server;

pub use seawall_load::client_rules;
