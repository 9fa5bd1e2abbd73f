//! What tests stand on, here and in the suites (feature `testing`): ports that repeat, a host whose answers a test
//! chooses, and the application over a world of the domain. For this crate's own tests there is also a raw HTTP client
//! that sees exactly what is on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use seawall_domain::ports::{Clock, Entropy};
use seawall_domain::testing::World as DomainWorld;
use serde_json::{Value, json};

use crate::host::{Check, Host, HostAnswer, Pressure, Startup, Version};
use crate::metrics::HttpMetrics;
use crate::{App, AppOptions, Limits};

#[cfg(test)]
mod wire;
#[cfg(test)]
pub(crate) use wire::*;

/// Bytes that follow from a seed.
pub struct SeededEntropy(Mutex<blake3::OutputReader>);

impl SeededEntropy {
    /// From this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        SeededEntropy(Mutex::new(
            blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof(),
        ))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.0.lock().fill(out);
    }
}

/// A host that is well until it is troubled; then `store.stats` takes 300 ms, `store.verify` never ends, and
/// `config.show` panics.
#[derive(Debug, Clone, Default)]
pub struct TestHost {
    is_troubled: Arc<AtomicBool>,
    pressure: Arc<Mutex<Pressure>>,
}

impl TestHost {
    /// From now on it is troubled.
    pub fn trouble(&self) {
        self.is_troubled.store(true, Ordering::SeqCst);
    }

    /// From now on it is pressed like this.
    pub fn press(&self, pressure: Pressure) {
        *self.pressure.lock() = pressure;
    }

    fn answer(&self, value: Value, trouble: impl Future<Output = ()> + Send + 'static) -> HostAnswer {
        let is_troubled = self.is_troubled.load(Ordering::SeqCst);
        Box::pin(async move {
            if is_troubled {
                trouble.await;
            }
            Ok(value)
        })
    }
}

impl Host for TestHost {
    fn status(&self) -> HostAnswer {
        Box::pin(async { Ok(json!({ "role": "primary" })) })
    }
    fn store_stats(&self) -> HostAnswer {
        self.answer(json!({ "tables": [] }), async {
            // Work that takes a while.
            let _ = tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await;
        })
    }
    fn store_verify(&self) -> HostAnswer {
        self.answer(json!({ "problems": [] }), std::future::pending())
    }
    fn store_copy(&self) -> HostAnswer {
        Box::pin(async { Ok(json!({ "path": "/data/copy" })) })
    }
    fn backup_create(&self) -> HostAnswer {
        Box::pin(async { Ok(json!({ "running": null })) })
    }
    fn backup_drill(&self) -> HostAnswer {
        Box::pin(async { Ok(json!({ "running": null })) })
    }
    fn backup_show(&self) -> HostAnswer {
        Box::pin(async { Ok(json!({ "running": null })) })
    }
    fn config_show(&self) -> HostAnswer {
        let is_troubled = self.is_troubled.load(Ordering::SeqCst);
        self.answer(json!({ "log.level": "info" }), async move {
            assert!(!is_troubled, "on purpose");
        })
    }
    fn platform_stop(&self) -> HostAnswer {
        Box::pin(async { Ok(json!({})) })
    }
    fn is_alive(&self) -> bool {
        true
    }
    fn readiness(&self) -> Vec<Check> {
        vec![Check {
            name: "store".into(),
            ok: true,
            detail: String::new(),
        }]
    }
    fn startup(&self) -> Startup {
        Startup {
            is_done: true,
            progress_percent: 100,
            phase: "serving".into(),
            ..Startup::default()
        }
    }
    fn pressure(&self) -> Pressure {
        *self.pressure.lock()
    }
    fn version(&self) -> Version {
        Version {
            version: "0".into(),
            commit: "c".into(),
            target: "t".into(),
        }
    }
}

/// The application over a world, its process being `host`.
#[must_use]
pub fn app_with(world: &DomainWorld, host: TestHost, limits: Limits) -> App {
    let mut registry = Registry::default();
    let metrics = HttpMetrics::register(&mut registry);
    App::new(AppOptions {
        platform: world.platform.clone(),
        host: Arc::new(host),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        entropy: Arc::new(SeededEntropy::new(1)),
        metrics,
        registry: Arc::new(registry),
        limits,
    })
}
