//! Why a backup, a restore or a look at a repository does not succeed.

use serde_json::json;

use crate::cli::failure::Failure;

/// What went wrong. The text says what to do where somebody can do something.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// No target is set, or it makes no sense.
    #[error("{0}")]
    Target(String),
    /// The target does not answer, or refuses.
    #[error("{0}: {1}")]
    Storage(String, String),
    /// The key file cannot be used, or it is not the key of this repository.
    #[error("{0}")]
    Key(String),
    /// Something in the repository is not what was put there.
    #[error("{0}")]
    Damaged(String),
    /// Something in the repository is not there.
    #[error("{0} is missing from the repository")]
    Missing(String),
    /// The point asked for cannot be reached with what is in the repository.
    #[error("{0}")]
    Point(String),
    /// The directory to restore into holds something.
    #[error("{0} is not empty; restore into a directory that does not exist yet, so that nothing can be overwritten")]
    NotEmpty(String),
    /// Something on this host.
    #[error("{0}")]
    Host(String),
    /// Another backup is at work on this repository.
    #[error("{0}")]
    Busy(String),
    /// The process ends.
    #[error("stopped, because the process ends; nothing in the repository has changed but objects nobody names")]
    Stopped,
}

impl BackupError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Target(_) => "backup.target_invalid",
            Self::Storage(..) => "backup.target_failed",
            Self::Key(_) => "backup.key_wrong",
            Self::Damaged(_) => "backup.damaged",
            Self::Missing(_) => "backup.object_missing",
            Self::Point(_) => "backup.point_unreachable",
            Self::NotEmpty(_) => "backup.not_empty",
            Self::Host(_) => "backup.failed",
            Self::Busy(_) => "backup.running",
            Self::Stopped => "backup.stopped",
        }
    }

    /// A failure of a file operation on this host.
    #[must_use]
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Host(format!("{}: {error}", path.display()))
    }
}

impl From<BackupError> for Failure {
    fn from(error: BackupError) -> Self {
        Failure::Refused(json!({ "code": error.code(), "detail": error.to_string() }))
    }
}
