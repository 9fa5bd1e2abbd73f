//! The binary `seawall`: command line, settings, composition root, lifecycle, background tasks, telemetry, and the only
//! clock and entropy of the product. It knows no business rule.

pub mod clock;
pub mod entropy;
pub mod hash_pool;
pub mod settings;
