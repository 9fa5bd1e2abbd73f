//! What several suites and tools share: the generator of an old platform's accounts.

pub mod accounts;
