//! `account.export`: the way back. Accounts in the order of their last change, as lines of the import's own format.

use seawall_storage::{ReadError, Span, View};
use serde_json::{Map, Value, json};

use super::row::IMPORTED_REASON;
use crate::account::Action;
use crate::call::Call;
use crate::codes::CURSOR_INVALID;
use crate::error::Error;
use crate::identity::IdentityKind;
use crate::ids::{AccountId, RealmId, UnixMs};
use crate::normalise::field_error;
use crate::platform::Platform;
use crate::tables::account::{
    ACCOUNTS, ACCOUNTS_BY_CHANGE, AccountRow, CREDENTIALS, IDENTITIES, IdentityKey, StoredPassword,
};
use crate::tables::restriction::{RESTRICTIONS, RESTRICTIONS_BY_SUBJECT, SubjectRow};

/// Most lines of an answer.
pub const EXPORT_MAX: u32 = 5_000;
/// Restrictions of an account that are looked at.
const RESTRICTIONS_MAX: usize = 100;

impl Platform {
    /// `account.export`: accounts changed since `cursor` as NDJSON lines of the import's own format, oldest change
    /// first, at most `limit` (≤ 5000), and the next cursor (equal to the given one at the end). A password is the
    /// old platform's hash while that is kept, else our own.
    ///
    /// # Errors
    /// `realm.unknown`, `cursor.invalid`, `request.field_invalid`, or our own trouble.
    pub async fn account_export(
        &self,
        _call: &Call,
        realm_id: RealmId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<(Vec<String>, String), Error> {
        self.catalogue().realm(realm_id)?;
        if !(1..=EXPORT_MAX).contains(&limit) {
            return Err(field_error("limit", "is 1 to 5000"));
        }
        let after = cursor.map_or(Ok(0), |cursor| parse_cursor(cursor, realm_id))?;
        let now_at = self.now_at();
        let (lines, last) = self
            .query(move |view| export(view, realm_id, after, limit as usize, now_at))
            .await?;
        Ok((lines, format!("{CURSOR_PREFIX}{realm_id}.{last}")))
    }
}

const CURSOR_PREFIX: &str = "ac1.";

fn parse_cursor(text: &str, realm: RealmId) -> Result<u64, Error> {
    let (own_realm, seq) = text
        .strip_prefix(CURSOR_PREFIX)
        .and_then(|body| body.split_once('.'))
        .ok_or_else(|| CURSOR_INVALID.error())?;
    if own_realm != realm.to_string() || seq.len() > 16 || !seq.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CURSOR_INVALID.error());
    }
    seq.parse().map_err(|_| CURSOR_INVALID.error())
}

fn export(
    view: &View<'_>,
    realm: RealmId,
    after: u64,
    limit: usize,
    now_at: UnixMs,
) -> Result<(Vec<String>, u64), ReadError> {
    let ids = view
        .index(&ACCOUNTS_BY_CHANGE, &Span::prefix(&realm).after(&(realm, after)), limit)?
        .rows;
    let (mut lines, mut last) = (Vec::with_capacity(ids.len()), after);
    for id in ids {
        let Some(account) = view.get(&ACCOUNTS, &id)? else {
            continue;
        };
        last = account.change_seq;
        lines.push(Value::Object(line(view, id, account, now_at)?).to_string());
    }
    Ok((lines, last))
}

fn line(view: &View<'_>, id: AccountId, account: AccountRow, now_at: UnixMs) -> Result<Map<String, Value>, ReadError> {
    let mut line = Map::new();
    let names: Vec<IdentityKey> = account.identity_keys().collect();
    let uid = account.imported.as_ref().map_or(id.0, |imported| imported.uid);
    line.insert("uid".into(), json!(uid.to_string()));
    for (name, value) in account.origin {
        let name = if name == "ip" { "register_ip".to_owned() } else { name };
        line.insert(name, json!(value));
    }
    if let Some(username) = account.username {
        line.insert("username".into(), json!(username));
    }
    put_names(view, &names, &mut line)?;
    put_password(view, id, &mut line)?;
    put_ban(view, id, &mut line, now_at)?;
    line.insert(
        "status".into(),
        json!(if account.is_deleted { "deleted" } else { "active" }),
    );
    line.insert("register_at".into(), json!(account.created_at));
    line.insert("changed_at".into(), json!(account.changed_at));
    Ok(line)
}

/// The first name of each kind in its own column, further ones in `identities`. A guest's secret cannot be taken along.
fn put_names(view: &View<'_>, names: &[IdentityKey], line: &mut Map<String, Value>) -> Result<(), ReadError> {
    let mut more = Vec::new();
    for key in names {
        let (Some(kind), Some(row)) = (IdentityKind::from_number(key.1), view.get(&IDENTITIES, key)?) else {
            continue;
        };
        let (column, issuer_column) = match kind {
            // The display form of these is in `username` already.
            IdentityKind::Username | IdentityKind::Alias | IdentityKind::Guest => continue,
            IdentityKind::Channel => ("channel_uid", Some("channel")),
            IdentityKind::WechatOpenid => ("wechat_openid", Some("wechat_appid")),
            other => (other.name(), None),
        };
        if line.contains_key(column) {
            more.push(json!({"kind": kind.name(), "issuer": row.issuer, "subject": row.subject}));
            continue;
        }
        line.insert(column.into(), json!(row.subject));
        if let Some(issuer_column) = issuer_column.filter(|_| !row.issuer.is_empty()) {
            line.insert(issuer_column.into(), json!(row.issuer));
        }
    }
    if !more.is_empty() {
        line.insert("identities".into(), Value::Array(more));
    }
    Ok(())
}

fn put_password(view: &View<'_>, id: AccountId, line: &mut Map<String, Value>) -> Result<(), ReadError> {
    let Some(row) = view.get(&CREDENTIALS, &id)? else {
        return Ok(());
    };
    match row.old.unwrap_or(row.stored) {
        StoredPassword::Argon2 { phc } => {
            line.insert("password".into(), json!(phc));
            line.insert("password_recipe".into(), json!("argon2"));
        }
        StoredPassword::Imported { recipe, hash, salt, .. } => {
            line.insert("password".into(), json!(hash));
            line.insert("password_recipe".into(), json!(recipe));
            line.insert("salt".into(), json!(salt));
        }
    }
    Ok(())
}

fn put_ban(view: &View<'_>, id: AccountId, line: &mut Map<String, Value>, now_at: UnixMs) -> Result<(), ReadError> {
    let subject = SubjectRow::Account(id).digest();
    for restriction in view
        .index(
            &RESTRICTIONS_BY_SUBJECT,
            &Span::prefix(&subject).backward(),
            RESTRICTIONS_MAX,
        )?
        .rows
    {
        let Some(row) = view.get(&RESTRICTIONS, &restriction)? else {
            continue;
        };
        let in_force = row.from_at <= now_at && row.until_at.is_none_or(|until| now_at < until);
        if row.action != Action::Login || row.game_id.is_some() || !in_force {
            continue;
        }
        line.insert("banned".into(), json!(true));
        // An imported reason that is no code of ours went into the message as it was.
        let reason = row
            .message
            .filter(|_| row.reason == IMPORTED_REASON)
            .unwrap_or(row.reason);
        line.insert("ban_reason".into(), json!(reason));
        if let Some(until_at) = row.until_at {
            line.insert("banned_until".into(), json!(until_at));
        }
        break;
    }
    Ok(())
}
