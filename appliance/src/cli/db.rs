//! `seawall db verify|stats`.

use std::path::Path;

use serde_json::{Value, json};

use super::ask::{AdminClient, Ask};
use super::failure::{DONE, FAILED, Failure};
use super::grammar::DbVerb;
use super::output::{Output, View};
use crate::disk_watch::reserve_file;

const TABLES: View = View::Table {
    rows: "tables",
    columns: &["number", "name", "rows", "bytes", "exact"],
};

/// Runs the verb; answers the exit code.
///
/// # Errors
/// When the platform refuses; `db verify` while a server runs, because a check of everything would disturb players.
pub async fn db(verb: &DbVerb, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    match verb {
        DbVerb::ReleaseReserve | DbVerb::Repair { .. } => Err(Failure::Usage("this verb asks nothing of a server".into())),
        DbVerb::Stats => {
            let answer = client.call(Ask::get("/admin/v1/store/stats")).await?.success()?;
            out.answer(&answer, TABLES);
            Ok(DONE)
        }
        DbVerb::Verify if client.is_running() => {
            Err(Failure::Failed("a server is running on this data directory; checking all of it would disturb players. Stop it first, or verify a copy.".into()))
        }
        DbVerb::Verify => {
            let mut answer = client.call(Ask::post("/admin/v1/store/verify")).await?.success()?;
            let sound = answer.get("problems").and_then(Value::as_array).is_some_and(Vec::is_empty);
            if !out.is_json() {
                // Sizes are for programs; people read them from `db stats`.
                answer.as_object_mut().map(|fields| fields.remove("tables"));
            }
            out.answer(&answer, View::Record);
            Ok(if sound { DONE } else { FAILED })
        }
    }
}

/// `db release-reserve`: works with and without a server, however full the disk is.
///
/// # Errors
/// When there is no reserve, or it cannot be removed.
pub fn release_reserve(data_dir: &Path, out: &Output) -> Result<u8, Failure> {
    let path = reserve_file(data_dir);
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    std::fs::remove_file(&path).map_err(|error| Failure::file(&path, "removed", &error))?;
    out.answer(&json!({ "removed": path, "freed_bytes": bytes }), View::Record);
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::super::ask::{Answer, Answering};
    use super::*;

    struct Fixed {
        running: bool,
        problems: Value,
    }

    impl AdminClient for Fixed {
        fn call(&self, _: Ask) -> Answering<'_> {
            let body = json!({ "checked": {}, "problems": self.problems });
            Box::pin(async move { Ok(Answer { status: 200, body }) })
        }

        fn is_running(&self) -> bool {
            self.running
        }
    }

    #[tokio::test]
    async fn verify_leaves_with_1_when_something_is_wrong_and_never_disturbs_a_running_server() {
        let out = Output::new(true);
        let verify =
            |running, problems: Value| async move { db(&DbVerb::Verify, &Fixed { running, problems }, &out).await };
        assert_eq!(verify(false, json!([])).await.unwrap(), 0);
        assert_eq!(verify(false, json!(["frame 5: chain differs"])).await.unwrap(), 1);
        assert!(matches!(verify(true, json!([])).await, Err(Failure::Failed(_))));
    }
}
