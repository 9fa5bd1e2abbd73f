//! Taking over accounts while the server is cut off: one file in many small chunks. A chunk is in as a whole or not at
//! all, and the platform knows which.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use seawall_tests::accounts::{Plan, username, write};
use seawall_tests::admin::Body;
use seawall_tests::server::{Failure, hex};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::book::Caller;

const LINES: u64 = 30_000;
const FIRST_UID: u64 = 2_000;
const CHUNK_LINES: usize = 40;

/// How far the import is.
#[derive(Debug, Clone)]
pub struct Import {
    lines: Arc<Vec<String>>,
    digest: String,
    id: String,
    /// Lines acknowledged.
    done: usize,
    /// A chunk was sent and not answered.
    pending: bool,
    pub wrong: Vec<String>,
}

impl Import {
    /// One that has not begun; they all take the same file.
    pub fn new() -> Self {
        static LINES_OF_FILE: LazyLock<Arc<Vec<String>>> = LazyLock::new(|| Arc::new(lines()));
        let lines = Arc::clone(&LINES_OF_FILE);
        Self {
            digest: hex(&Sha256::digest(lines.concat().as_bytes())),
            lines,
            id: String::new(),
            done: 0,
            pending: false,
            wrong: Vec::new(),
        }
    }

    fn bytes(&self, lines: usize) -> u64 {
        self.lines.iter().take(lines).map(|line| line.len() as u64).sum()
    }

    fn begin(&mut self, caller: &Caller) -> Result<Value, Failure> {
        let body = json!({
            "file_digest": self.digest, "realm_id": "1", "format": "ndjson", "pepper": seawall_tests::accounts::PEPPER,
        });
        let answer = caller.admin.post("/admin/v1/imports", Body::Json(&body))?;
        if answer.status != 200 {
            return Err(format!("import.begin answered {} {}", answer.status, answer.body).into());
        }
        answer.text("/import_id").clone_into(&mut self.id);
        Ok(answer.body)
    }

    /// Where the platform says the import stands must be where it was acknowledged to stand, or one chunk further when
    /// that chunk was never answered; and exactly the accounts before that place exist.
    pub fn audit(&mut self, caller: &Caller) -> Result<(), Failure> {
        let progress = self.begin(caller)?;
        let stands = number(&progress, "/lines");
        let further = (self.done + CHUNK_LINES).min(self.lines.len());
        let place = usize::try_from(stands)?;
        if place != self.done && !(self.pending && place == further) {
            self.wrong.push(format!(
                "import: {} lines were acknowledged, the platform says {progress}",
                self.done
            ));
        }
        if number(&progress, "/offset_bytes") != self.bytes(place) || number(&progress, "/created") != stands {
            self.wrong.push(format!("import: {progress} does not fit together"));
        }
        (self.done, self.pending) = (place, false);
        for (uid, wanted) in [(stands.checked_sub(1), 200), (Some(stands), 404)] {
            let Some(uid) = uid.map(|line| FIRST_UID + line) else {
                continue;
            };
            let path = format!("/admin/v1/accounts/show?realm_id=1&username={}", username(uid));
            let answer = caller.admin.get(&path)?;
            if answer.status != wanted && place < self.lines.len() {
                self.wrong.push(format!(
                    "import: line of uid {uid} answered {} after {stands} lines",
                    answer.status
                ));
            }
        }
        Ok(())
    }

    fn chunk(&self) -> (u64, String) {
        (
            self.bytes(self.done),
            self.lines.iter().skip(self.done).take(CHUNK_LINES).cloned().collect(),
        )
    }
}

fn lines() -> Vec<String> {
    let plan = Plan {
        count: LINES,
        first_uid: FIRST_UID,
        seed: 3,
        csv: false,
    };
    let mut text = Vec::new();
    // Writing to memory does not fail; an empty file would be noticed at once.
    let _ = write(plan, &mut text);
    String::from_utf8_lossy(&text)
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect()
}

fn number(body: &Value, pointer: &str) -> u64 {
    body.pointer(pointer).and_then(Value::as_u64).unwrap_or(u64::MAX)
}

/// Imports until told to stop, or until the server is gone, or until all is in.
pub fn run(import: &Mutex<Import>, caller: &Caller, stop: &AtomicBool) {
    let begun = import.lock().map(|mut import| import.begin(caller).is_ok());
    let mut goes_on = begun.unwrap_or(false);
    while goes_on && !stop.load(Ordering::Relaxed) {
        let Ok(mut standing) = import.lock() else { return };
        let (offset, lines) = standing.chunk();
        if lines.is_empty() {
            return;
        }
        let path = format!("/admin/v1/imports/{}/chunks?offset_bytes={offset}", standing.id);
        standing.pending = true;
        drop(standing);
        let answer = caller.admin.post(&path, Body::Lines(&lines));
        let Ok(mut standing) = import.lock() else { return };
        match answer {
            Ok(answer) if answer.status == 200 => {
                standing.done = usize::try_from(number(&answer.body, "/progress/lines")).unwrap_or(usize::MAX);
                standing.pending = false;
            }
            Ok(answer) if answer.status < 500 => {
                standing.wrong.push(format!(
                    "import.chunk at {offset} answered {} {}",
                    answer.status, answer.body
                ));
                goes_on = false;
            }
            _ => goes_on = false,
        }
    }
}
