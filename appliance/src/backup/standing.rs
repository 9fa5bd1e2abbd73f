//! How backups stand: what operators, metrics and the schedule read. What must outlive the process is in the node store.

use seawall_storage::NodeStore;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::drill::Proof;
use super::manifest::Manifest;

const MADE: &str = "backup.made";
const PROVEN: &str = "backup.proven";
const DRILLED: &str = "backup.drilled";
/// Note of how far the archive has come.
pub const CURSOR: &str = "backup.cursor";

/// A backup that was made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// When it was done, Unix milliseconds.
    pub at: u64,
    /// Its id.
    pub id: String,
    /// Its lsn.
    pub lsn: u64,
    /// Files it names.
    pub files: u64,
    /// Content of its files.
    pub plain_bytes: u64,
    /// Sent for it.
    pub sent_bytes: u64,
    /// Files sent for it.
    pub sent_files: u64,
    /// How long it took.
    pub took_ms: u64,
}

impl Made {
    /// The facts of a backup that was just made.
    #[must_use]
    pub fn of(manifest: &Manifest, at: u64, took_ms: u64) -> Self {
        Self {
            at,
            id: manifest.id.clone(),
            lsn: manifest.lsn,
            files: manifest.files.len() as u64,
            plain_bytes: manifest.plain_bytes,
            sent_bytes: manifest.sent_bytes,
            sent_files: manifest.sent_files,
            took_ms,
        }
    }
}

/// How backups stand.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The newest backup this node made.
    pub made: Option<Made>,
    /// The newest drill.
    pub drilled: Option<Proof>,
    /// When a drill last succeeded, Unix milliseconds.
    pub proven_at: Option<u64>,
    /// Backups and drills that failed since the start.
    pub failures: u64,
    /// Rounds of the archive that failed since the start.
    pub archive_failures: u64,
    /// Gaps in the archive since the start.
    pub gaps: u64,
    /// Newest lsn in the archive; 0 when not known yet.
    pub archived_lsn: u64,
    /// Frames archived since the start.
    pub archived_frames: u64,
    /// Their bytes.
    pub archived_bytes: u64,
    /// The newest failure, as `code: text`.
    pub failure: Option<String>,
}

impl Standing {
    /// What an earlier process noted.
    #[must_use]
    pub fn load(node: &NodeStore) -> Self {
        Self {
            made: read(node, MADE),
            drilled: read(node, DRILLED),
            proven_at: read(node, PROVEN),
            ..Self::default()
        }
    }

    /// Notes a backup.
    pub fn note_made(&mut self, node: &NodeStore, made: Made) {
        write(node, MADE, &made);
        self.failure = None;
        self.made = Some(made);
    }

    /// Notes a drill.
    pub fn note_drill(&mut self, node: &NodeStore, proof: Proof) {
        write(node, DRILLED, &proof);
        match &proof.problem {
            None => {
                write(node, PROVEN, &proof.at);
                self.proven_at = Some(proof.at);
                self.failure = None;
            }
            Some(problem) => {
                self.failures += 1;
                self.failure = Some(format!("backup.drill_failed: {problem}"));
            }
        }
        self.drilled = Some(proof);
    }

    /// For answers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "made": self.made, "drilled": self.drilled, "proven_at": self.proven_at, "failures": self.failures,
            "failure": self.failure,
            "archive": { "lsn": self.archived_lsn, "frames": self.archived_frames, "bytes": self.archived_bytes,
                "failures": self.archive_failures, "gaps": self.gaps },
        })
    }
}

/// Reads a note; one of another release counts as none.
pub fn read<T: DeserializeOwned>(node: &NodeStore, name: &str) -> Option<T> {
    let bytes = node.note(name).unwrap_or_else(|error| {
        tracing::warn!(%error, name, "a note of the backups cannot be read");
        None
    })?;
    serde_json::from_slice(&bytes).ok()
}

/// Writes a note. Without it a restart makes a backup or looks for the archive's end anew, nothing worse.
pub fn write(node: &NodeStore, name: &str, value: &impl Serialize) {
    let written = serde_json::to_vec(value)
        .map_err(|error| error.to_string())
        .and_then(|bytes| node.set_note(name, &bytes).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::warn!(error, name, "a note of the backups cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_knows_what_was_made_and_proven_and_a_red_drill_proves_nothing() {
        let node = NodeStore::in_memory().unwrap();
        let mut standing = Standing::load(&node);
        assert_eq!((standing.made.clone(), standing.proven_at), (None, None));
        let made = Made {
            at: 5,
            id: "a".into(),
            ..Made::default()
        };
        standing.note_made(&node, made.clone());
        let green = Proof {
            at: 7,
            ..Proof::default()
        };
        standing.note_drill(&node, green);
        let red = Proof {
            at: 9,
            problem: Some("flipped".into()),
            ..Proof::default()
        };
        standing.note_drill(&node, red.clone());
        assert_eq!((standing.failures, standing.proven_at), (1, Some(7)));
        let again = Standing::load(&node);
        assert_eq!(
            (again.made, again.drilled, again.proven_at),
            (Some(made), Some(red), Some(7))
        );
    }
}
