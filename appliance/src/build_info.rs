//! What this program was built from.

/// Version of the product.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit it was built from, as the build says in `SEAWALL_COMMIT`; `unknown` for a plain `cargo build`.
pub const COMMIT: &str = match option_env!("SEAWALL_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The build can be told to fail on purpose (cargo feature `faults`): never for players.
pub const WITH_FAULTS: bool = cfg!(feature = "faults");

/// Target it was built for. The only one that is built and tested.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";
