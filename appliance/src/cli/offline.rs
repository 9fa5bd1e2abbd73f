//! Answers requests of the admin surface in this process when no server runs: opens the data directory, which its lock
//! keeps to one process, and calls the same application the server would.

use http_body_util::BodyExt as _;
use seawall_web::App;
use std::sync::Arc;

use super::ask::{AdminClient, Answering, Ask};
use super::failure::Failure;
use super::socket::{read_answer, request};
use crate::compose::Parts;
use crate::data_dir::DataDir;
use crate::heartbeat::Heartbeat;
use crate::host::ProcessHost;
use crate::precedence::Precedence;
use crate::settings::config::HostConfig;
use crate::startup::Progress;

/// The platform, opened in this process.
pub struct OfflineClient {
    parts: Parts,
    app: App,
    /// Whoever may open the directory acts as their own user.
    uid: u32,
}

impl OfflineClient {
    /// Opens the data directory.
    ///
    /// # Errors
    /// When there is no data, another process uses it, or it does not open.
    pub fn open(config: &HostConfig) -> Result<Self, Failure> {
        let dir = DataDir::existing(&config.data_dir)
            .map_err(|error| Failure::NotRunning(format!("no server is running, and {error}")))?;
        let progress = Arc::new(Progress::default());
        let parts = Parts::open(config, dir, &progress)?;
        let heartbeat = Heartbeat::still();
        let host = Arc::new(ProcessHost::new(
            &parts,
            heartbeat.clone(),
            progress,
            serde_json::Value::Null,
        ));
        let app = parts.app(config, host, &heartbeat, &Precedence::new(0));
        Ok(Self {
            parts,
            app,
            uid: rustix::process::getuid().as_raw(),
        })
    }

    /// Makes everything durable and lets go of the directory.
    pub fn close(&self) {
        self.parts.close();
    }
}

impl AdminClient for OfflineClient {
    fn call(&self, ask: Ask) -> Answering<'_> {
        Box::pin(async move {
            let (parts, body) = request(ask)?.into_parts();
            let Ok(body) = body.collect().await;
            let answer = self
                .app
                .call(self.uid, http::Request::from_parts(parts, body.to_bytes()))
                .await;
            read_answer(answer.status().as_u16(), answer.body())
        })
    }

    fn is_running(&self) -> bool {
        false
    }
}
