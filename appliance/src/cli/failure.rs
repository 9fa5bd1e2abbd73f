//! How a verb fails, and with which exit code.

use seawall_storage::OpenFailure;
use serde_json::{Value, json};

/// Exit code: done.
pub const DONE: u8 = 0;
/// Exit code: refused or failed.
pub const FAILED: u8 = 1;
/// Exit code: the command line is wrong.
pub const USAGE: u8 = 2;
/// Exit code: done, but something needs a look (refused lines of an import).
pub const WARNINGS: u8 = 3;
/// Exit code: no server is running.
pub const NOT_RUNNING: u8 = 4;

/// From this exit code on the data needs a person; below it, trying again may help.
const NEEDS_A_PERSON: u8 = 20;

/// All exit codes, for the help and the man pages.
#[must_use]
pub fn exit_codes() -> String {
    let list = |wanted: fn(u8) -> bool| {
        let failures = OpenFailure::ALL.iter().filter(|failure| wanted(failure.exit_code()));
        let codes: Vec<_> = failures
            .map(|failure| format!("{} {}", failure.exit_code(), failure.code()))
            .collect();
        codes.join(", ")
    };
    format!(
        "Exit codes: {DONE} done, {FAILED} refused or failed, {USAGE} usage, {WARNINGS} done with warnings, {NOT_RUNNING} no \
         server is running. When the data does not open: {} (trying again may help); {} (a person is needed; \
         `seawall db repair --plan` says what is lacking).",
        list(|code| code < NEEDS_A_PERSON),
        list(|code| code >= NEEDS_A_PERSON)
    )
}

/// Why a verb did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The platform refused; the answer's problem document.
    #[error("{}: {}", text(.0, "code"), text(.0, "detail"))]
    Refused(Value),
    /// Something on this host.
    #[error("{0}")]
    Failed(String),
    /// The store refuses to open; the exit code tells the reason (see `seawall_storage::OpenFailure`).
    #[error("{0}")]
    Store(#[from] seawall_storage::OpenError),
    /// Options that do not fit together.
    #[error("{0}")]
    Usage(String),
    /// No server is running, and none can be stood in for.
    #[error("{0}")]
    NotRunning(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused(_) | Failure::Failed(_) => FAILED,
            Failure::Store(error) => error.failure.exit_code(),
            Failure::Usage(_) => USAGE,
            Failure::NotRunning(_) => NOT_RUNNING,
        }
    }

    /// For `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let code = match self {
            Failure::Refused(problem) => return json!({ "error": problem }),
            Failure::Failed(_) => "cli.failed",
            Failure::Store(error) => error.failure.code(),
            Failure::Usage(_) => "cli.usage",
            Failure::NotRunning(_) => "cli.not_running",
        };
        json!({ "error": { "code": code, "detail": self.to_string() } })
    }

    /// A failure of a file operation.
    #[must_use]
    pub fn file(path: &std::path::Path, doing: &str, error: &std::io::Error) -> Self {
        Failure::Failed(format!("{}: cannot be {doing}: {error}", path.display()))
    }
}

fn text<'a>(problem: &'a Value, field: &str) -> &'a str {
    problem.get(field).and_then(Value::as_str).unwrap_or("no detail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_as_documented() {
        let refused = Failure::Refused(json!({ "code": "game.unknown", "detail": "No such game." }));
        assert_eq!(
            (refused.exit_code(), refused.to_string()),
            (1, "game.unknown: No such game.".into())
        );
        assert_eq!(Failure::Failed("x".into()).exit_code(), 1);
        assert_eq!(Failure::Usage("x".into()).exit_code(), 2);
        assert_eq!(Failure::NotRunning("x".into()).exit_code(), 4);
        assert_eq!(Failure::Usage("x".into()).to_json()["error"]["code"], "cli.usage");
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        let text = exit_codes();
        for failure in OpenFailure::ALL {
            assert!(
                text.contains(&format!("{} {}", failure.exit_code(), failure.code())),
                "{text}"
            );
        }
        assert!(
            text.starts_with("Exit codes: 0 done, 1 refused or failed, 2 usage"),
            "{text}"
        );
        let (passing, lasting) = text.split_once("(trying again may help)").unwrap();
        assert!(
            passing.contains("11 store.io") && lasting.contains("24 store.lost_data"),
            "{text}"
        );
    }
}
