//! The authentication log on a segment log of its own, so that logins never wait for it and it never disturbs accounts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_domain::ports::{AuthLog, Clock as _, LogFuture};
use seawall_domain::{Error, UnixMs, codes};
use seawall_storage::{AppendError, SearchKey, SegmentLog, SegmentOptions, SegmentStats};

use crate::clock::SystemClock;

/// When to try again after the log's queue was full, in milliseconds.
const BUSY_RETRY_MS: u64 = 1_000;

/// The authentication log.
pub struct SegmentAuthLog {
    log: Arc<SegmentLog>,
}

impl SegmentAuthLog {
    /// Opens it, or creates it; records are kept for `keep_ms` milliseconds.
    ///
    /// # Errors
    /// The directory and why it cannot be used.
    pub fn open(dir: &Path, keep_ms: u64) -> Result<Self, String> {
        let mut options = SegmentOptions::new("auth-log");
        options.keep_ms = Some(keep_ms);
        options.report = Arc::new(|text| tracing::info!(text, "auth log"));
        options.on_fatal = Arc::new(|reason| {
            // Keeping this log is a legal duty: a platform that cannot keep it must not let anybody in.
            tracing::error!(reason, "the auth log cannot be written; the process ends");
            std::process::abort();
        });
        let log = SegmentLog::open(dir, options)
            .map_err(|error| format!("{}: the auth log cannot be opened: {error}", dir.display()))?;
        Ok(Self { log: Arc::new(log) })
    }

    /// Removes records that are older than they must be kept.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn retain(&self, now_at: UnixMs) -> Result<(), String> {
        let gone = self.log.expire(now_at).map_err(|error| error.to_string())?;
        if gone > 0 {
            tracing::info!(segments = gone, "old records of the auth log removed");
        }
        Ok(())
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> SegmentStats {
        self.log.stats()
    }

    /// Files of the log with their durable length in bytes, for a copy.
    #[must_use]
    pub fn durable_files(&self) -> Vec<(PathBuf, u64)> {
        self.log.durable_files()
    }

    /// Writes what is queued and ends the log's threads.
    pub fn close(&self) {
        self.log.close();
    }
}

impl AuthLog for SegmentAuthLog {
    fn enqueue(&self, record: Vec<u8>, keys: &[SearchKey]) -> bool {
        self.log.enqueue(SystemClock.now_at(), &record, keys).is_ok()
    }

    fn append(&self, record: Vec<u8>, keys: &[SearchKey]) -> LogFuture<()> {
        let append = self.log.append(SystemClock.now_at(), &record, keys);
        Box::pin(async move { append.await.map(drop).map_err(refused) })
    }

    fn search(&self, kind: u8, hash: u64, limit: usize) -> LogFuture<Vec<Vec<u8>>> {
        let log = Arc::clone(&self.log);
        Box::pin(async move {
            // Reads files: off the network threads.
            let found =
                tokio::task::spawn_blocking(move || log.search((kind, hash), 0, UnixMs::MAX, None, limit)).await;
            let hits = found
                .map_err(|_| codes::DEFECT.error())?
                .map_err(|error| codes::DEFECT.because(format!("the auth log cannot be read: {error}")))?;
            Ok(hits.into_iter().map(|hit| hit.record.body).collect())
        })
    }
}

fn refused(error: AppendError) -> Error {
    match error {
        AppendError::Busy | AppendError::Closed => codes::STORE_BUSY
            .because(format!("the auth log: {error}"))
            .retry_after_ms(BUSY_RETRY_MS),
        AppendError::Unknown => codes::OUTCOME_UNKNOWN.error().retry_after_ms(BUSY_RETRY_MS),
        other @ AppendError::TooLarge => codes::DEFECT.because(format!("the auth log: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_are_found_newest_first_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let log = SegmentAuthLog::open(dir.path(), 1000).unwrap();
        log.append(b"one".to_vec(), &[(1, 7)]).await.unwrap();
        log.append(b"two".to_vec(), &[(1, 7), (2, 9)]).await.unwrap();
        assert_eq!(log.search(1, 7, 10).await.unwrap(), [b"two".to_vec(), b"one".to_vec()]);
        assert_eq!(log.search(1, 7, 1).await.unwrap(), [b"two".to_vec()]);
        assert!(log.enqueue(b"three".to_vec(), &[(2, 9)]));
        log.close();
        assert!(!log.enqueue(b"four".to_vec(), &[]));
        drop(log);
        let log = SegmentAuthLog::open(dir.path(), 1000).unwrap();
        assert_eq!(
            log.search(2, 9, 10).await.unwrap(),
            [b"three".to_vec(), b"two".to_vec()]
        );
    }
}
