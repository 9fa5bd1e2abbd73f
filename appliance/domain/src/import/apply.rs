//! Writing a batch of rows and the import's progress in one transaction. Newest `changed_at` wins; a name that is
//! somebody else's refuses its line and nothing else.

use seawall_storage::Tx;

use super::row::{Ban, Name, Row};
use super::{BadLine, ImportProgress};
use crate::account::Action;
use crate::account::own::IDENTITIES_MAX;
use crate::account::restrict::{put_restriction, restrictions_in};
use crate::codes::{IMPORT_CONFLICT, IMPORT_UNKNOWN};
use crate::deletion::set_deleted;
use crate::error::Error;
use crate::ids::{AccountId, RealmId, UnixMs};
use crate::tables::account::{
    ACCOUNTS, AccountRow, CREDENTIALS, CredentialRow, IDENTITIES, IdentityRow, ImportedFrom, NameHash, StoredPassword,
};
use crate::tables::restriction::{RESTRICTIONS, RestrictionRow, SubjectRow};
use crate::tables::takeover::{IMPORTED_UIDS, IMPORTS, ImportRow};

/// Some lines that lie one after the other in the file, at most one transaction's worth.
#[derive(Clone, Default)]
pub(super) struct Batch {
    pub(super) start_bytes: u64,
    pub(super) end_bytes: u64,
    pub(super) lines: u64,
    pub(super) refused: u64,
    pub(super) rows: Vec<Row>,
}

/// How a row ended.
enum Ended {
    Created(AccountId),
    Updated,
    Unchanged,
    Refused(String),
}

/// Applies a batch that begins where the import stands.
pub(super) fn apply_batch(
    tx: &mut Tx<'_>,
    import_id: [u8; 16],
    batch: &Batch,
) -> Result<(ImportProgress, Vec<BadLine>), Error> {
    let mut import = tx.get(&IMPORTS, &import_id)?.ok_or_else(|| IMPORT_UNKNOWN.error())?;
    if import.offset_bytes != batch.start_bytes || import.finalized_at.is_some() {
        return Err(IMPORT_CONFLICT.error().with_number("offset_bytes", import.offset_bytes));
    }
    let mut bad = Vec::new();
    // The number drawn to learn where the counter stands is lost, one a batch.
    let mut free_from = if import.dry_run { u64::MAX } else { tx.next_id("id")? };
    for row in &batch.rows {
        match apply_row(tx, &import, import_id, row, free_from)? {
            Ended::Created(id) => {
                import.created += 1;
                free_from = free_from.max(id.0 + 1);
            }
            Ended::Updated => import.updated += 1,
            Ended::Unchanged => import.unchanged += 1,
            Ended::Refused(reason) => {
                import.refused += 1;
                bad.push(BadLine { line: row.line, reason });
            }
        }
    }
    if !import.dry_run {
        tx.raise_counter("id", free_from - 1)?;
    }
    import.offset_bytes = batch.end_bytes;
    import.lines += batch.lines;
    import.refused += batch.refused;
    tx.put(&IMPORTS, &import_id, &import)?;
    Ok((progress(import_id, &import), bad))
}

/// Where an import stands.
pub(super) fn progress(import_id: [u8; 16], row: &ImportRow) -> ImportProgress {
    ImportProgress {
        import_id: format!("{:032x}", u128::from_be_bytes(import_id)),
        offset_bytes: row.offset_bytes,
        lines: row.lines,
        created: row.created,
        updated: row.updated,
        unchanged: row.unchanged,
        refused: row.refused,
        finalized_at: row.finalized_at,
    }
}

/// No account has an id of `free_from` or above, so such uids need no look: most lines of a file in the order of its
/// uids.
fn apply_row(
    tx: &mut Tx<'_>,
    import: &ImportRow,
    import_id: [u8; 16],
    row: &Row,
    free_from: u64,
) -> Result<Ended, Error> {
    let known = if row.uid >= free_from {
        Known::Free
    } else {
        find(tx, import.realm_id, row.uid)?
    };
    let own_id = match &known {
        Known::Account(_, account) if !is_newer(account, row) => return Ok(Ended::Unchanged),
        Known::Account(id, _) => Some(*id),
        Known::Free | Known::Taken => None,
    };
    for name in &row.names {
        if let Some(identity) = tx.get(&IDENTITIES, &name.key)?
            && Some(identity.account_id) != own_id
        {
            return Ok(Ended::Refused(format!(
                "{} is taken by account {}",
                name.kind.name(),
                identity.account_id
            )));
        }
    }
    if row.names.len() > IDENTITIES_MAX
        || matches!(&known, Known::Account(_, account) if account.names.len() + row.names.len() > IDENTITIES_MAX)
    {
        return Ok(Ended::Refused("the account would have more than 64 names".to_owned()));
    }
    if import.dry_run {
        return Ok(own_id.map_or(Ended::Created(AccountId(row.uid)), |_| Ended::Updated));
    }
    match known {
        Known::Account(id, account) => update(tx, import_id, row, id, *account).map(|()| Ended::Updated),
        Known::Free => create(tx, import, import_id, row, AccountId(row.uid)).map(Ended::Created),
        Known::Taken => {
            // Above every uid of this batch too: the counter itself is raised at its end.
            tx.raise_counter("id", free_from - 1)?;
            let id = AccountId(tx.next_id("id")?);
            tx.put(&IMPORTED_UIDS, &(import.realm_id, row.uid), &id)?;
            create(tx, import, import_id, row, id).map(Ended::Created)
        }
    }
}

/// What is known of a uid.
enum Known {
    /// Nothing: it can become an account's id.
    Free,
    /// It is the id of an account that was not taken over under it.
    Taken,
    /// The account that was taken over under it: the one of that id, or the one noted when the id was taken.
    Account(AccountId, Box<AccountRow>),
}

fn find(tx: &mut Tx<'_>, realm: RealmId, uid: u64) -> Result<Known, Error> {
    let Some(account) = tx.get(&ACCOUNTS, &AccountId(uid))? else {
        return Ok(Known::Free);
    };
    if account.realm_id == realm && account.imported.as_ref().is_some_and(|imported| imported.uid == uid) {
        return Ok(Known::Account(AccountId(uid), Box::new(account)));
    }
    let Some(id) = tx.get(&IMPORTED_UIDS, &(realm, uid))? else {
        return Ok(Known::Taken);
    };
    let noted = tx.get(&ACCOUNTS, &id)?;
    Ok(noted.map_or(Known::Taken, |account| Known::Account(id, Box::new(account))))
}

/// Whether the line says something newer than what is stored, be it of an earlier import or of a change made here.
fn is_newer(account: &AccountRow, row: &Row) -> bool {
    let Some(imported) = &account.imported else {
        return false;
    };
    match row.changed_at {
        Some(changed_at) => changed_at > account.changed_at,
        None => account.changed_at == imported.source_changed_at && imported.line_digest != row.digest,
    }
}

fn create(
    tx: &mut Tx<'_>,
    import: &ImportRow,
    import_id: [u8; 16],
    row: &Row,
    id: AccountId,
) -> Result<AccountId, Error> {
    let now_at = tx.now_at();
    let changed_at = row.changed_at.unwrap_or(now_at);
    let account = AccountRow {
        realm_id: import.realm_id,
        change_seq: tx.next_id("account_change")?,
        names: row.names.iter().map(|name| (name.key.1, name.key.2)).collect(),
        is_deleted: row.is_deleted,
        username: row.username.clone(),
        created_at: row.register_at.unwrap_or(now_at),
        changed_at,
        imported: Some(ImportedFrom {
            uid: row.uid,
            uid_is_player_id: import.uid_is_player_id,
            source_changed_at: changed_at,
            line_digest: row.digest,
        }),
        origin: row.origin.clone(),
        merged_into: None,
        person_id: None,
    };
    tx.put(&ACCOUNTS, &id, &account)?;
    for name in &row.names {
        put_name(tx, id, name, account.created_at)?;
    }
    if let Some(stored) = &row.password {
        tx.put(
            &CREDENTIALS,
            &id,
            &CredentialRow {
                version: 1,
                stored: stored.clone(),
                old: None,
                changed_at,
            },
        )?;
    }
    if let Some(ban) = &row.ban {
        put_ban(tx, import_id, id, ban)?;
    }
    Ok(id)
}

fn put_name(tx: &mut Tx<'_>, account_id: AccountId, name: &Name, created_at: UnixMs) -> Result<(), Error> {
    let row = IdentityRow {
        account_id,
        issuer: name.issuer.clone(),
        subject: name.subject.clone(),
        created_at,
    };
    Ok(tx.put(&IDENTITIES, &name.key, &row)?)
}

fn put_ban(tx: &mut Tx<'_>, import_id: [u8; 16], account: AccountId, ban: &Ban) -> Result<u64, Error> {
    let now_at = tx.now_at();
    let row = RestrictionRow {
        subject: SubjectRow::Account(account),
        action: Action::Login,
        game_id: None,
        from_at: now_at,
        until_at: ban.until_at,
        reason: ban.reason.clone(),
        message: ban.message.clone(),
        ticket: None,
        created_at: now_at,
        created_by: format!("import:{:032x}", u128::from_be_bytes(import_id)),
    };
    put_restriction(tx, &row)
}

fn update(tx: &mut Tx<'_>, import_id: [u8; 16], row: &Row, id: AccountId, account: AccountRow) -> Result<(), Error> {
    let now_at = tx.now_at();
    let names = replace_names(tx, id, &account, &row.names, now_at)?;
    if let Some(stored) = &row.password {
        replace_password(tx, id, stored, row.changed_at.unwrap_or(now_at))?;
    }
    replace_ban(tx, import_id, id, row.ban.as_ref())?;
    if row.is_deleted != account.is_deleted {
        set_deleted(tx, id, row.is_deleted)?;
    }
    let changed_at = row.changed_at.unwrap_or(now_at);
    let imported = account.imported.map(|imported| ImportedFrom {
        source_changed_at: changed_at,
        line_digest: row.digest,
        ..imported
    });
    let account = AccountRow {
        change_seq: tx.next_id("account_change")?,
        names,
        is_deleted: row.is_deleted,
        username: row.username.clone().or(account.username),
        created_at: row.register_at.unwrap_or(account.created_at),
        changed_at,
        imported,
        origin: if row.origin.is_empty() {
            account.origin
        } else {
            row.origin.clone()
        },
        ..account
    };
    Ok(tx.put(&ACCOUNTS, &id, &account)?)
}

/// A name of the same kind and issuer with another subject gives way; kinds the line does not name stay. Answers the
/// account's names from now on.
fn replace_names(
    tx: &mut Tx<'_>,
    id: AccountId,
    account: &AccountRow,
    names: &[Name],
    now_at: UnixMs,
) -> Result<Vec<(u8, NameHash)>, Error> {
    let mut kept = Vec::with_capacity(account.names.len() + names.len());
    for key in account.identity_keys() {
        let Some(old) = tx.get(&IDENTITIES, &key)? else {
            continue;
        };
        let gives_way = |name: &Name| name.kind as u8 == key.1 && name.issuer == old.issuer;
        if names.iter().any(gives_way) && !names.iter().any(|name| name.key == key) {
            tx.delete(&IDENTITIES, &key)?;
        } else {
            kept.push((key.1, key.2));
        }
    }
    for name in names {
        if !kept.contains(&(name.key.1, name.key.2)) {
            put_name(tx, id, name, now_at)?;
            kept.push((name.key.1, name.key.2));
        }
    }
    Ok(kept)
}

fn replace_password(tx: &mut Tx<'_>, id: AccountId, stored: &StoredPassword, changed_at: UnixMs) -> Result<(), Error> {
    let known = tx.get(&CREDENTIALS, &id)?;
    // The same old hash again: what was made of it here stays.
    if known
        .as_ref()
        .is_some_and(|known| known.stored == *stored || known.old.as_ref() == Some(stored))
    {
        return Ok(());
    }
    let version = known.map_or(0, |known| known.version).saturating_add(1);
    Ok(tx.put(
        &CREDENTIALS,
        &id,
        &CredentialRow {
            version,
            stored: stored.clone(),
            old: None,
            changed_at,
        },
    )?)
}

/// Makes the restriction of imports what the line says; restrictions made here are not touched.
fn replace_ban(tx: &mut Tx<'_>, import_id: [u8; 16], id: AccountId, ban: Option<&Ban>) -> Result<(), Error> {
    let now_at = tx.now_at();
    let mut stands = false;
    for (restriction, row) in restrictions_in(tx, &SubjectRow::Account(id))? {
        if !row.created_by.starts_with("import:") || row.until_at.is_some_and(|until| until <= now_at) {
            continue;
        }
        if ban.is_some_and(|ban| ban.until_at == row.until_at && ban.reason == row.reason && ban.message == row.message)
        {
            stands = true;
        } else {
            tx.put(
                &RESTRICTIONS,
                &restriction,
                &RestrictionRow {
                    until_at: Some(now_at),
                    ..row
                },
            )?;
        }
    }
    match ban {
        Some(ban) if !stands => put_ban(tx, import_id, id, ban).map(drop),
        _ => Ok(()),
    }
}
