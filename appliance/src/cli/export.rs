//! `seawall account export`: pages of accounts, oldest change first, into a file of the import's own format.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use seawall_web::wire::{self, Id};
use serde_json::json;

use super::account_grammar::ExportFlags;
use super::ask::{AdminClient, Ask};
use super::failure::{DONE, Failure};
use super::output::{Output, View};

/// Accounts of a page.
const PAGE: u32 = 1000;

/// Runs the verb; answers the exit code. The printed `next_cursor` is what the next `--since` takes.
///
/// # Errors
/// When the file cannot be written or the platform refuses.
pub async fn export(flags: &ExportFlags, client: &dyn AdminClient, out: &Output) -> Result<u8, Failure> {
    let written = |error: std::io::Error| Failure::file(&flags.out, "written", &error);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&flags.out)
        .map_err(written)?;
    let mut file = BufWriter::new(file);
    let (mut cursor, mut accounts) = (flags.since.clone(), 0);
    loop {
        let query = wire::ExportQuery {
            realm_id: Id(flags.realm),
            cursor: cursor.clone(),
            limit: PAGE,
        };
        let answer = client
            .call(Ask::get("/admin/v1/accounts/export").query(&query))
            .await?
            .success()?;
        let page: wire::AccountExport = serde_json::from_value(answer).map_err(|_| {
            Failure::Failed("the server's answer is not what this program knows (other version?)".into())
        })?;
        for line in &page.lines {
            writeln!(file, "{line}").map_err(written)?;
        }
        accounts += page.lines.len();
        let at_end = page.lines.is_empty() || cursor.as_deref() == Some(page.next_cursor.as_str());
        cursor = Some(page.next_cursor);
        if at_end {
            break;
        }
    }
    file.into_inner()
        .map_err(|error| written(error.into_error()))?
        .sync_all()
        .map_err(written)?;
    out.answer(
        &json!({ "accounts": accounts, "next_cursor": cursor, "file": flags.out }),
        View::Record,
    );
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::super::ask::{Answer, Answering};
    use super::*;

    /// Three pages of one account; the cursor counts.
    struct Pages;

    impl AdminClient for Pages {
        fn call(&self, ask: Ask) -> Answering<'_> {
            let at: u32 = ask
                .path
                .split("cursor=")
                .nth(1)
                .and_then(|rest| rest.split('&').next())
                .map_or(0, |n| n.parse().unwrap());
            let body = if at < 3 {
                json!({ "lines": [format!("line {at}")], "next_cursor": (at + 1).to_string() })
            } else {
                json!({ "lines": [], "next_cursor": at.to_string() })
            };
            Box::pin(async move { Ok(Answer { status: 200, body }) })
        }

        fn is_running(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn pages_are_put_together_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut flags = ExportFlags {
            realm: seawall_domain::RealmId(1),
            since: None,
            out: dir.path().join("out"),
        };
        assert_eq!(export(&flags, &Pages, &Output::new(true)).await.unwrap(), 0);
        assert_eq!(std::fs::read_to_string(&flags.out).unwrap(), "line 0\nline 1\nline 2\n");
        flags.since = Some("2".into());
        export(&flags, &Pages, &Output::new(true)).await.unwrap();
        assert_eq!(std::fs::read_to_string(&flags.out).unwrap(), "line 2\n");
    }
}
