//! What a line means: an account with its names, password, restriction and origin, ready for a transaction.

use std::collections::HashMap;
use std::sync::Arc;

use super::line::Fields;
use super::time;
use crate::identity::{IdentityKind, identity_key};
use crate::ids::{RealmId, UnixMs};
use crate::normalise;
use crate::platform::LookupKeys;
use crate::recipe::Recipe;
use crate::tables::account::{IdentityKey, StoredPassword};
use crate::tables::takeover::ImportRow;

/// Uids from here on are refused: ids above them must remain for new accounts.
pub const UID_LIMIT: u64 = 1 << 52;
/// Most unknown columns kept with an account.
pub const KEPT_COLUMNS_MAX: usize = 32;
/// Longest value of a kept column, in bytes.
pub const KEPT_VALUE_MAX_BYTES: usize = 1024;

/// Reason code of imported bans whose own reason is no code.
pub(super) const IMPORTED_REASON: &str = "imported";

/// A name of the account.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) key: IdentityKey,
    pub(super) kind: IdentityKind,
    pub(super) issuer: String,
    pub(super) subject: String,
}

/// A ban of the old platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ban {
    pub(super) until_at: Option<UnixMs>,
    pub(super) reason: String,
    pub(super) message: Option<String>,
}

/// A line, understood.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) uid: u64,
    pub(super) username: Option<String>,
    pub(super) names: Vec<Name>,
    pub(super) password: Option<StoredPassword>,
    pub(super) register_at: Option<UnixMs>,
    pub(super) changed_at: Option<UnixMs>,
    pub(super) is_deleted: bool,
    pub(super) ban: Option<Ban>,
    pub(super) origin: Vec<(String, String)>,
    pub(super) digest: [u8; 16],
}

/// What lines of one import have in common.
pub(super) struct Plan {
    pub(super) realm_id: RealmId,
    pub(super) import_id: [u8; 16],
    renamed: HashMap<String, String>,
    default_recipe: Option<Arc<Recipe>>,
    has_pepper: bool,
}

impl Plan {
    pub(super) fn new(import_id: [u8; 16], import: &ImportRow) -> Self {
        Self {
            realm_id: import.realm_id,
            import_id,
            renamed: import.columns.iter().cloned().collect(),
            default_recipe: import
                .password_recipe
                .as_deref()
                .and_then(|text| Recipe::parse(text).ok())
                .map(Arc::new),
            has_pepper: import.pepper.is_some(),
        }
    }
}

/// Reads rows; remembers the recipes it met, of which a file has a handful.
pub(super) struct RowReader<'a> {
    plan: &'a Plan,
    lookup: &'a LookupKeys,
    recipes: HashMap<String, Arc<Recipe>>,
}

/// Named fields while they are collected.
#[derive(Default)]
struct Raw<'f> {
    uid: Option<&'f str>,
    username: Option<&'f str>,
    password: Option<&'f str>,
    salt: Option<&'f str>,
    recipe: Option<&'f str>,
    issued: Vec<(IdentityKind, &'f str)>,
    wechat_appid: Option<&'f str>,
    channel: Option<&'f str>,
    identities: Option<&'f str>,
    register_at: Option<&'f str>,
    changed_at: Option<&'f str>,
    banned: Option<&'f str>,
    banned_until: Option<&'f str>,
    ban_reason: Option<&'f str>,
    status: Option<&'f str>,
    origin: Vec<(&'f str, &'f str)>,
    unknown: usize,
}

/// A name as export writes what fits no column.
#[derive(serde::Deserialize)]
struct IdentityEntry {
    kind: IdentityKind,
    #[serde(default)]
    issuer: String,
    subject: String,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(plan: &'a Plan, lookup: &'a LookupKeys) -> Self {
        Self {
            plan,
            lookup,
            recipes: HashMap::new(),
        }
    }

    /// What a line means. `raw` is the line itself, for its digest.
    pub(super) fn read(&mut self, line: u64, raw: &[u8], fields: &Fields<'_>) -> Result<Row, String> {
        let named = self.sort(fields)?;
        let uid = uid(named.uid)?;
        let (username, names) = self.names(&named)?;
        let at = |field: &str, text: Option<&str>| {
            text.map_or(Ok(None), |text| {
                time::parse(text).map_err(|why| format!("{field} {why}"))
            })
        };
        let (is_deleted, ban) = standing(&named, at("banned_until", named.banned_until)?);
        let mut digest = [0; 16];
        blake3::Hasher::new().update(raw).finalize_xof().fill(&mut digest);
        Ok(Row {
            line,
            uid,
            username,
            names,
            password: self.password(&named)?,
            register_at: at("register_at", named.register_at)?,
            changed_at: at("changed_at", named.changed_at)?,
            is_deleted,
            ban,
            origin: named
                .origin
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            digest,
        })
    }

    fn sort<'f>(&self, fields: &'f Fields<'f>) -> Result<Raw<'f>, String>
    where
        'a: 'f,
    {
        let plan = self.plan;
        let mut raw = Raw::default();
        for (name, value) in fields {
            let name = plan.renamed.get(name.as_ref()).map_or(name.as_ref(), String::as_str);
            raw.take(name, value)?;
        }
        Ok(raw)
    }

    /// The display name and all names with their keys.
    fn names(&self, raw: &Raw<'_>) -> Result<(Option<String>, Vec<Name>), String> {
        let mut names = Vec::with_capacity(4);
        let mut display = None;
        if let Some(text) = raw.username {
            match normalise::username(text) {
                Ok(name) => {
                    names.push(self.name(IdentityKind::Username, "", name.key));
                    display = Some(name.display);
                }
                Err(_) => {
                    let subject = normalise::alias(text).ok_or("username is longer than 255 bytes")?;
                    names.push(self.name(IdentityKind::Alias, "", subject));
                    display = Some(text.to_owned());
                }
            }
        }
        for (kind, text) in &raw.issued {
            let issuer = match kind {
                IdentityKind::Channel => raw.channel.ok_or("channel_uid without channel")?,
                IdentityKind::WechatOpenid => raw.wechat_appid.unwrap_or_default(),
                _ => "",
            };
            if issuer.len() > 128 {
                return Err("channel or wechat_appid is longer than 128 bytes".to_owned());
            }
            let subject = kind
                .subject(text)
                .ok_or_else(|| format!("{} breaks its rule", kind.name()))?;
            names.push(self.name(*kind, issuer, subject));
        }
        if let Some(json) = raw.identities {
            let entries: Vec<IdentityEntry> =
                serde_json::from_str(json).map_err(|_| "identities is no list of {kind, issuer, subject}")?;
            for entry in entries {
                let subject = entry
                    .kind
                    .subject(&entry.subject)
                    .filter(|_| entry.kind != IdentityKind::Guest && entry.issuer.len() <= 128)
                    .ok_or("an entry of identities breaks its rule")?;
                names.push(self.name(entry.kind, &entry.issuer, subject));
            }
        }
        names.sort_by_key(|name: &Name| name.key);
        names.dedup_by(|a, b| a.key == b.key);
        Ok((display, names))
    }

    fn name(&self, kind: IdentityKind, issuer: &str, subject: String) -> Name {
        Name {
            key: identity_key(self.lookup, self.plan.realm_id, kind, issuer, &subject),
            kind,
            issuer: issuer.to_owned(),
            subject,
        }
    }

    fn password(&mut self, raw: &Raw<'_>) -> Result<Option<StoredPassword>, String> {
        let Some(hash) = raw.password else { return Ok(None) };
        let recipe = self.recipe(raw.recipe)?;
        recipe.check_shape(hash).map_err(|why| format!("password: {why}"))?;
        if recipe.needs_pepper() && !self.plan.has_pepper {
            return Err("password_recipe needs a pepper and the import was given none".to_owned());
        }
        let salt = raw.salt.unwrap_or_default();
        if salt.len() > 255 {
            return Err("salt is longer than 255 bytes".to_owned());
        }
        if hash.starts_with("$argon2id$") {
            return Ok(Some(StoredPassword::Argon2 { phc: hash.to_owned() }));
        }
        Ok(Some(StoredPassword::Imported {
            recipe: recipe.as_str().to_owned(),
            hash: hash.to_owned(),
            salt: salt.to_owned(),
            import_id: self.plan.import_id,
        }))
    }

    fn recipe(&mut self, text: Option<&str>) -> Result<Arc<Recipe>, String> {
        let Some(text) = text else {
            return self
                .plan
                .default_recipe
                .clone()
                .ok_or_else(|| "password without password_recipe, and the import was given no default".to_owned());
        };
        if let Some(known) = self.recipes.get(text) {
            return Ok(Arc::clone(known));
        }
        let recipe = Arc::new(Recipe::parse(text).map_err(|why| why.to_string())?);
        // A file that names a new recipe on every line must not fill the memory.
        if self.recipes.len() < 256 {
            self.recipes.insert(text.to_owned(), Arc::clone(&recipe));
        }
        Ok(recipe)
    }
}

impl<'f> Raw<'f> {
    fn take(&mut self, name: &'f str, value: &'f str) -> Result<(), String> {
        match name {
            "uid" => self.uid = Some(value),
            "username" => self.username = Some(value),
            "password" => self.password = Some(value),
            "salt" => self.salt = Some(value),
            "password_recipe" => self.recipe = Some(value),
            "phone" => self.issued_or_kept(IdentityKind::Phone, name, value),
            "email" => self.issued_or_kept(IdentityKind::Email, name, value),
            "wechat_openid" => self.issued.push((IdentityKind::WechatOpenid, value)),
            "wechat_unionid" => self.issued.push((IdentityKind::WechatUnionid, value)),
            "wechat_appid" => self.wechat_appid = Some(value),
            "apple" => self.issued.push((IdentityKind::Apple, value)),
            "google" => self.issued.push((IdentityKind::Google, value)),
            "channel" => self.channel = Some(value),
            "channel_uid" => self.issued.push((IdentityKind::Channel, value)),
            "identities" => self.identities = Some(value),
            "register_at" => self.register_at = Some(value),
            "changed_at" => self.changed_at = Some(value),
            "banned" => self.banned = Some(value),
            "banned_until" => self.banned_until = Some(value),
            "ban_reason" => self.ban_reason = Some(value),
            "status" => self.status = Some(value),
            "register_ip" => self.keep("ip", value)?,
            "device" | "agent_id" | "site_id" | "package_id" => self.keep(name, value)?,
            other => {
                self.unknown += 1;
                if self.unknown > KEPT_COLUMNS_MAX || other.len() > 128 {
                    return Err("line has more than 32 unknown columns, or one with a name over 128 bytes".to_owned());
                }
                self.keep(other, value)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, name: &'f str, value: &'f str) -> Result<(), String> {
        if value.len() > KEPT_VALUE_MAX_BYTES {
            return Err("a kept column is longer than 1 KiB".to_owned());
        }
        self.origin.push((name, value));
        Ok(())
    }

    /// Old tables are full of half phones; what cannot be one is kept as it was and names nobody.
    fn issued_or_kept(&mut self, kind: IdentityKind, name: &'f str, value: &'f str) {
        if kind.subject(value).is_some() {
            self.issued.push((kind, value));
        } else if value.len() <= KEPT_VALUE_MAX_BYTES {
            self.origin.push((name, value));
        }
    }
}

fn uid(text: Option<&str>) -> Result<u64, String> {
    let text = text.ok_or("uid is missing")?;
    match text.parse::<u64>() {
        Ok(uid) if (1..UID_LIMIT).contains(&uid) && text.bytes().all(|b| b.is_ascii_digit()) => Ok(uid),
        _ => Err("uid is no number from 1 below 2^52".to_owned()),
    }
}

/// Deleted or banned, from the columns `status`, `banned`, `banned_until` and `ban_reason`.
fn standing(raw: &Raw<'_>, until_at: Option<UnixMs>) -> (bool, Option<Ban>) {
    let status = raw.status.unwrap_or_default();
    let flag = raw
        .banned
        .map(|text| matches!(text, "1" | "true" | "yes" | "Y" | "y" | "banned"));
    let is_banned = flag.unwrap_or(matches!(status, "banned" | "blocked" | "disabled") || until_at.is_some());
    let message = raw.ban_reason.map(str::to_owned).filter(|text| text.len() <= 512);
    let reason = raw.ban_reason.filter(|text| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.'))
    });
    let ban = Ban {
        until_at,
        reason: reason.unwrap_or(IMPORTED_REASON).to_owned(),
        message,
    };
    (status == "deleted", is_banned.then_some(ban))
}
