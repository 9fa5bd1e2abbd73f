//! `account.show`: what an operator sees of an account, and how accounts are named.

use seawall_storage::{ReadError, Span, View};

use super::{AccountRef, AccountView, IdentityView, PlayerView, RestrictionView};
use crate::call::Call;
use crate::codes::ACCOUNT_UNKNOWN;
use crate::credential::recipe_name;
use crate::error::Error;
use crate::identity::{IdentityKind, identity_key};
use crate::ids::{AccountId, UnixMs};
use crate::normalise::masked;
use crate::platform::Platform;
use crate::restriction;
use crate::session::create::name_kind;
use crate::tables::account::{ACCOUNTS, AccountRow, CREDENTIALS, IDENTITIES, PLAYERS, PLAYERS_BY_ACCOUNT};
use crate::tables::restriction::{RESTRICTIONS, RESTRICTIONS_BY_SUBJECT, SubjectRow};
use crate::tables::session::{SESSIONS, SESSIONS_BY_ACCOUNT};

/// Most players shown.
const PLAYERS_MAX: usize = 1_000;
/// Most restrictions shown.
const RESTRICTIONS_MAX: usize = 100;
/// Most sessions counted.
const SESSIONS_MAX: usize = 1_000;

impl Platform {
    /// `account.show`, for operators.
    ///
    /// # Errors
    /// `account.unknown`, or our own trouble.
    pub async fn account_show(&self, _call: &Call, account: AccountRef) -> Result<AccountView, Error> {
        let account_id = self.account_of(&account).await?;
        let now_at = self.now_at();
        self.query(move |view| show(view, account_id, now_at))
            .await?
            .ok_or_else(|| ACCOUNT_UNKNOWN.error())
    }

    /// The account an operator names.
    pub(crate) async fn account_of(&self, account: &AccountRef) -> Result<AccountId, Error> {
        let store = &self.inner.store;
        let found = match account {
            AccountRef::Account(id) => store.get(&ACCOUNTS, id).await?.map(|_| *id),
            AccountRef::Player(game, player) => store.get(&PLAYERS, &(*game, *player)).await?.map(|row| row.account_id),
            AccountRef::Identity(realm, kind, issuer, subject) => {
                let kind = if *kind == IdentityKind::Username {
                    name_kind(subject)
                } else {
                    *kind
                };
                match kind.subject(subject) {
                    Some(subject) => store
                        .get(
                            &IDENTITIES,
                            &identity_key(&self.inner.lookup, *realm, kind, issuer, &subject),
                        )
                        .await?
                        .map(|row| row.account_id),
                    None => None,
                }
            }
        };
        found.ok_or_else(|| ACCOUNT_UNKNOWN.error())
    }
}

fn show(view: &View<'_>, account_id: AccountId, now_at: UnixMs) -> Result<Option<AccountView>, ReadError> {
    let Some(account) = view.get(&ACCOUNTS, &account_id)? else {
        return Ok(None);
    };
    let credential = view.get(&CREDENTIALS, &account_id)?;
    let identities = identities(view, &account)?;
    let imported = account
        .imported
        .as_ref()
        .map(|imported| ("imported_uid".to_owned(), imported.uid.to_string()));
    Ok(Some(AccountView {
        account_id,
        realm_id: account.realm_id,
        status: if account.is_deleted { "deleted" } else { "active" },
        username: account.username,
        identities,
        players: players(view, account_id)?,
        restrictions: restrictions(view, account_id)?,
        session_count: count_sessions(view, account_id, now_at)?,
        created_at: account.created_at,
        changed_at: account.changed_at,
        origin: account.origin.into_iter().chain(imported).collect(),
        password_recipe: recipe_name(credential.as_ref()),
    }))
}

fn identities(view: &View<'_>, account: &AccountRow) -> Result<Vec<IdentityView>, ReadError> {
    let mut identities = Vec::new();
    for key in account.identity_keys() {
        let (Some(kind), Some(row)) = (IdentityKind::from_number(key.1), view.get(&IDENTITIES, &key)?) else {
            continue;
        };
        let subject = match kind {
            IdentityKind::Phone | IdentityKind::Email => masked(&row.subject),
            _ => row.subject,
        };
        identities.push(IdentityView {
            kind,
            issuer: row.issuer,
            subject,
        });
    }
    Ok(identities)
}

fn players(view: &View<'_>, account_id: AccountId) -> Result<Vec<PlayerView>, ReadError> {
    let mut players = Vec::new();
    for key in view
        .index(&PLAYERS_BY_ACCOUNT, &Span::prefix(&account_id), PLAYERS_MAX)?
        .rows
    {
        if let Some(row) = view.get(&PLAYERS, &key)? {
            players.push(PlayerView {
                game_id: key.0,
                player_id: key.1,
                created_at: row.created_at,
            });
        }
    }
    Ok(players)
}

/// Restrictions of the account and of its players, newest first.
fn restrictions(view: &View<'_>, account_id: AccountId) -> Result<Vec<RestrictionView>, ReadError> {
    let mut subjects = vec![SubjectRow::Account(account_id)];
    let players = view
        .index(&PLAYERS_BY_ACCOUNT, &Span::prefix(&account_id), PLAYERS_MAX)?
        .rows;
    subjects.extend(
        players
            .into_iter()
            .map(|(game, player)| SubjectRow::Player(game, player)),
    );
    let mut ids = Vec::new();
    for subject in subjects {
        ids.extend(
            view.index(
                &RESTRICTIONS_BY_SUBJECT,
                &Span::prefix(&subject.digest()).backward(),
                RESTRICTIONS_MAX,
            )?
            .rows,
        );
    }
    ids.sort_by(|a: &u64, b| b.cmp(a));
    ids.truncate(RESTRICTIONS_MAX);
    let mut views = Vec::new();
    for id in ids {
        views.extend(view.get(&RESTRICTIONS, &id)?.map(|row| restriction::view(id, &row)));
    }
    Ok(views)
}

fn count_sessions(view: &View<'_>, account_id: AccountId, now_at: UnixMs) -> Result<u32, ReadError> {
    let mut live = 0;
    for id in view
        .index(&SESSIONS_BY_ACCOUNT, &Span::prefix(&account_id), SESSIONS_MAX)?
        .rows
    {
        live += u32::from(
            view.get(&SESSIONS, &id)?
                .is_some_and(|row| now_at < row.refresh_expires_at),
        );
    }
    Ok(live)
}
