//! The binary `seawall`: command line, settings, composition root, lifecycle, background tasks, telemetry, and the only
//! clock and entropy of the product. It knows no business rule.

pub mod auth_log;
pub mod backup;
pub mod build_info;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod data_dir;
pub mod demo;
pub mod disk_watch;
pub mod entropy;
pub mod hash_pool;
pub mod heartbeat;
pub mod host;
pub mod listeners;
pub mod memory;
pub mod metrics;
pub mod precedence;
pub mod pressure;
pub mod recent;
pub mod recovery;
pub mod rehearse;
pub mod runtimes;
pub mod serve;
pub mod service_manager;
pub mod settings;
pub mod signals;
pub mod startup;
pub mod tasks;
pub mod telemetry;
pub mod verify;
