//! `import.begin` and `import.finalize`.

use std::time::{Duration, Instant};

use seawall_storage::{Span, Tx};

use super::apply::progress;
use super::chunk::parse_id;
use super::line::read_header;
use super::{ImportBegin, ImportFormat, ImportProgress};
use crate::call::Call;
use crate::codes::{IMPORT_CONFLICT, IMPORT_UNKNOWN};
use crate::error::Error;
use crate::ids::{AccountId, UnixMs};
use crate::normalise::field_error;
use crate::platform::Platform;
use crate::recipe::Recipe;
use crate::tables::account::{CREDENTIALS, CredentialRow, StoredPassword};
use crate::tables::takeover::{IMPORTS, ImportRow};

/// Most renamed columns.
pub const COLUMNS_MAX: usize = 128;
/// Longest pepper, in bytes.
pub const PEPPER_MAX_BYTES: usize = 256;
/// How long one call of finalize works before it answers how far it came.
const FINALIZE_CALL: Duration = Duration::from_secs(20);
/// Credentials looked at in one step of finalize, and changed in one transaction.
const FINALIZE_PAGE_ROWS: usize = 2_000;
const FINALIZE_BATCH_ROWS: usize = 500;

impl Platform {
    /// `import.begin`: start, or say where the import of the same file stands.
    ///
    /// # Errors
    /// `request.field_invalid`, `realm.unknown`, `import.conflict` when the file was begun with other settings.
    pub async fn import_begin(&self, call: &Call, command: ImportBegin) -> Result<ImportProgress, Error> {
        self.catalogue().realm(command.realm_id)?;
        check(&command)?;
        let id = import_id(&command)?;
        self.commit(call, "import.begin", move |tx| {
            let fresh = fresh_row(&command, tx.now_at());
            match tx.get(&IMPORTS, &id)? {
                Some(known) if known.finalized_at.is_none() && !known.dry_run => {
                    if !same_settings(&known, &fresh) {
                        return Err(IMPORT_CONFLICT.because("This file was begun with other settings; finalize that import, or repeat its settings.").with_number("offset_bytes", known.offset_bytes));
                    }
                    Ok(progress(id, &known))
                }
                _ => {
                    tx.put(&IMPORTS, &id, &fresh)?;
                    Ok(progress(id, &fresh))
                }
            }
        })
        .await
    }

    /// `import.finalize`: forget old hashes, the pepper and the import's progress. A large realm takes several calls:
    /// repeat until `finalized_at` is set. A pepper that a password still needs is kept, for else its player could
    /// never log in again.
    ///
    /// # Errors
    /// `import.unknown`, or our own trouble; repeat it then.
    pub async fn import_finalize(&self, call: &Call, import_id: &str) -> Result<ImportProgress, Error> {
        let id = parse_id(import_id)?;
        let import = self
            .inner
            .store
            .get(&IMPORTS, &id)
            .await?
            .ok_or_else(|| IMPORT_UNKNOWN.error())?;
        if import.finalized_at.is_some() {
            return Ok(progress(id, &import));
        }
        let started = Instant::now();
        let (mut cursor, mut needs_pepper) = (Some(AccountId(import.finalize_cursor)), false);
        while let Some(after) = cursor {
            if started.elapsed() > FINALIZE_CALL {
                return self
                    .commit(call, "import.finalize", move |tx| pause(tx, id, after, needs_pepper))
                    .await;
            }
            let page = self
                .query(move |view| view.scan(&CREDENTIALS, &Span::all().after(&after), FINALIZE_PAGE_ROWS))
                .await?;
            needs_pepper |= page.rows.iter().any(|(_, row)| stored_needs_pepper(row, id));
            let old: Vec<AccountId> = page
                .rows
                .iter()
                .filter(|(_, row)| is_old_of(row, id))
                .map(|(account, _)| *account)
                .collect();
            for batch in old.chunks(FINALIZE_BATCH_ROWS) {
                let batch = batch.to_vec();
                self.commit(call, "import.finalize", move |tx| forget_old(tx, &batch, id))
                    .await?;
            }
            cursor = page
                .next
                .is_some()
                .then(|| page.rows.last().map(|(account, _)| *account))
                .flatten();
        }
        self.commit(call, "import.finalize", move |tx| finish(tx, id, needs_pepper))
            .await
    }
}

fn finish(tx: &mut Tx<'_>, id: [u8; 16], needs_pepper: bool) -> Result<ImportProgress, Error> {
    let mut import = tx.get(&IMPORTS, &id)?.ok_or_else(|| IMPORT_UNKNOWN.error())?;
    import.finalized_at = Some(tx.now_at());
    if !needs_pepper && !import.pepper_needed {
        import.pepper = None;
    }
    tx.put(&IMPORTS, &id, &import)?;
    Ok(progress(id, &import))
}

fn pause(tx: &mut Tx<'_>, id: [u8; 16], after: AccountId, needs_pepper: bool) -> Result<ImportProgress, Error> {
    let mut import = tx.get(&IMPORTS, &id)?.ok_or_else(|| IMPORT_UNKNOWN.error())?;
    import.finalize_cursor = after.0;
    import.pepper_needed |= needs_pepper;
    tx.put(&IMPORTS, &id, &import)?;
    Ok(progress(id, &import))
}

fn forget_old(tx: &mut Tx<'_>, accounts: &[AccountId], id: [u8; 16]) -> Result<(), Error> {
    for account in accounts {
        if let Some(row) = tx.get(&CREDENTIALS, account)?.filter(|row| is_old_of(row, id)) {
            tx.put(&CREDENTIALS, account, &CredentialRow { old: None, ..row })?;
        }
    }
    Ok(())
}

fn is_old_of(row: &CredentialRow, id: [u8; 16]) -> bool {
    matches!(&row.old, Some(StoredPassword::Imported { import_id, .. }) if *import_id == id)
}

fn stored_needs_pepper(row: &CredentialRow, id: [u8; 16]) -> bool {
    match &row.stored {
        StoredPassword::Imported { import_id, recipe, .. } if *import_id == id => {
            Recipe::parse(recipe).is_ok_and(|recipe| recipe.needs_pepper())
        }
        _ => false,
    }
}

/// The file names the import; a dry run of it is another one.
fn import_id(command: &ImportBegin) -> Result<[u8; 16], Error> {
    let digest = &command.file_digest;
    if digest.len() != 64 {
        return Err(field_error("file_digest", "has 64 hex digits"));
    }
    let id = digest
        .get(..32)
        .map(parse_id)
        .and_then(Result::ok)
        .ok_or_else(|| field_error("file_digest", "has 64 hex digits"))?;
    if !command.dry_run {
        return Ok(id);
    }
    let mut dry = [0; 16];
    blake3::Hasher::new()
        .update(b"dry run")
        .update(&id)
        .finalize_xof()
        .fill(&mut dry);
    Ok(dry)
}

fn check(command: &ImportBegin) -> Result<(), Error> {
    match (command.format, &command.csv_header) {
        (ImportFormat::Csv, None) => return Err(field_error("csv_header", "is needed for CSV")),
        (ImportFormat::Csv, Some(header)) => {
            read_header(header).map_err(|why| field_error("csv_header", &format!("is no header: {why}")))?;
        }
        (ImportFormat::Ndjson, _) => {}
    }
    if let Some(recipe) = &command.password_recipe {
        Recipe::parse(recipe).map_err(|why| field_error("password_recipe", &format!("is no recipe: {why}")))?;
    }
    if command
        .pepper
        .as_ref()
        .is_some_and(|pepper| pepper.len() > PEPPER_MAX_BYTES)
    {
        return Err(field_error("pepper", "has at most 256 bytes"));
    }
    if command.columns.len() > COLUMNS_MAX
        || command
            .columns
            .iter()
            .any(|(from, to)| from.len() > 128 || to.len() > 128)
    {
        return Err(field_error("columns", "has at most 128 pairs of names of 128 bytes"));
    }
    Ok(())
}

fn fresh_row(command: &ImportBegin, started_at: UnixMs) -> ImportRow {
    ImportRow {
        realm_id: command.realm_id,
        format: command.format,
        csv_header: command.csv_header.clone(),
        password_recipe: command.password_recipe.clone(),
        pepper: command.pepper.clone(),
        columns: command.columns.clone(),
        keep_old_hashes: command.keep_old_hashes,
        uid_is_player_id: command.uid_is_player_id,
        dry_run: command.dry_run,
        offset_bytes: 0,
        lines: 0,
        created: 0,
        updated: 0,
        unchanged: 0,
        refused: 0,
        started_at,
        finalized_at: None,
        finalize_cursor: 0,
        pepper_needed: false,
    }
}

fn same_settings(known: &ImportRow, fresh: &ImportRow) -> bool {
    let settings = |row: &ImportRow| ImportRow {
        offset_bytes: 0,
        lines: 0,
        created: 0,
        updated: 0,
        unchanged: 0,
        refused: 0,
        started_at: 0,
        finalize_cursor: 0,
        pepper_needed: false,
        ..row.clone()
    };
    settings(known) == settings(fresh)
}
