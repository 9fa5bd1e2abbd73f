//! `account.get` and `account.change_password`: what the bearer of a token does with the own account.

use seawall_storage::Tx;

use super::{Action, OwnAccount};
use crate::auth_log::AuthNote;
use crate::call::Call;
use crate::codes::{ACCOUNT_UNKNOWN, CREDENTIAL_INVALID, IDEMPOTENCY_MISMATCH, STORE_BUSY};
use crate::credential::Asker;
use crate::error::Error;
use crate::idempotency::{Remembered, recall_in, remember_in};
use crate::identity::IdentityKind;
use crate::ids::{AccountId, UnixMs};
use crate::normalise;
use crate::platform::Platform;
use crate::restriction::Who;
use crate::session::revoke::revoke_account;
use crate::tables::account::{
    ACCOUNTS, AccountRow, CREDENTIAL_CHANGES, CREDENTIALS, CredentialChangeRow, CredentialRow, StoredPassword,
};
use crate::tables::session::Effect;
use crate::token::Claims;

/// Most names of one account.
pub const IDENTITIES_MAX: usize = 64;

impl Platform {
    /// `account.get`: the bearer's own account.
    ///
    /// # Errors
    /// `session.invalid` with its `reason`, `account.unknown`, or our own trouble.
    pub async fn account_get(&self, call: &Call, bearer: &str) -> Result<OwnAccount, Error> {
        let claims = self.bearer(call, bearer)?;
        self.own_account(&claims).await
    }

    /// What the holder of a token sees of the account.
    pub(crate) async fn own_account(&self, claims: &Claims) -> Result<OwnAccount, Error> {
        let (account_id, game_id, player_id) = (claims.account_id, claims.game_id, claims.player_id);
        let account = self
            .inner
            .store
            .get(&ACCOUNTS, &account_id)
            .await?
            .ok_or_else(|| ACCOUNT_UNKNOWN.error())?;
        let now_at = self.now_at();
        let who = Who {
            account: Some(account_id),
            player: Some((game_id, player_id)),
            ..Who::default()
        };
        Ok(OwnAccount {
            account_id,
            player_id,
            session_id: claims.session_id,
            game_id,
            username: account.username.clone(),
            identities: kinds(&account),
            created_at: account.created_at,
            restrictions: self.inner.mirrors.restrictions().in_force(who, game_id, now_at),
            server_time_at: now_at,
        })
    }

    /// Refuses while the account or player may not log in.
    pub(crate) fn refuse_denied(&self, claims: &Claims) -> Result<(), Error> {
        let who = Who {
            account: Some(claims.account_id),
            player: Some((claims.game_id, claims.player_id)),
            ..Who::default()
        };
        match self
            .inner
            .mirrors
            .restrictions()
            .forbids(who, Action::Login, claims.game_id, self.now_at())
        {
            Some(held) => Err(held.refusal()),
            None => Ok(()),
        }
    }

    /// `account.change_password`: all other sessions are revoked; answers the server time.
    ///
    /// # Errors
    /// `session.invalid`, `credential.invalid`, `request.field_invalid`, `account.restricted`, `limit.*`,
    /// `idempotency.mismatch`, or our own trouble.
    pub async fn account_change_password(
        &self,
        call: &Call,
        bearer: &str,
        old: &str,
        new: &str,
    ) -> Result<UnixMs, Error> {
        let mut note = AuthNote::new("account.change_password");
        let result = self.change_password(call, bearer, old, new, &mut note).await;
        self.auth_note(call, &note, result.as_ref().err());
        result
    }

    async fn change_password(
        &self,
        call: &Call,
        bearer: &str,
        old: &str,
        new: &str,
        note: &mut AuthNote,
    ) -> Result<UnixMs, Error> {
        let claims = self.bearer(call, bearer)?;
        note.of_claims(&claims);
        self.refuse_denied(&claims)?;
        normalise::old_password(old, "old_password")?;
        normalise::new_password(new, "new_password")?;
        let attempt = self.screen_bearer(call, &claims)?;
        let remembered = self.remembered(
            call,
            "account.change_password",
            claims.game_id,
            &claims.session_id.to_string(),
        )?;
        if let Some(row) = self.recall(remembered).await? {
            return Ok(row.done_at);
        }
        // Rare, and worth a real check.
        let asker = Asker::of(call, claims.game_id);
        let Some(checked) = self.check_password(asker, claims.account_id, old, false).await? else {
            let error = CREDENTIAL_INVALID.error();
            self.count_failure(&attempt, Some(&error));
            return Err(error);
        };
        let phc = self.hash_password(asker, new).await?;
        self.commit_while_awaited(call, "account.change_password", move |tx| {
            change_password_in(tx, &claims, checked.version, &phc, remembered)
        })
        .await
    }
}

fn change_password_in(
    tx: &mut Tx<'_>,
    claims: &Claims,
    checked_version: u32,
    phc: &str,
    remembered: Option<Remembered>,
) -> Result<UnixMs, Error> {
    if let Some(row) = recall_in(tx, remembered)? {
        return if matches!(row.effect, Effect::Done { .. }) {
            Ok(row.done_at)
        } else {
            Err(IDEMPOTENCY_MISMATCH.error())
        };
    }
    let (account_id, now_at) = (claims.account_id, tx.now_at());
    let row = tx
        .get(&CREDENTIALS, &account_id)?
        .ok_or_else(|| CREDENTIAL_INVALID.error())?;
    if row.version != checked_version {
        return Err(STORE_BUSY
            .because("The password is being changed by another call; nothing was done.")
            .retry_after_ms(1_000));
    }
    let version = row.version.saturating_add(1);
    tx.put(
        &CREDENTIALS,
        &account_id,
        &CredentialRow {
            version,
            stored: StoredPassword::Argon2 { phc: phc.to_owned() },
            old: None,
            changed_at: now_at,
        },
    )?;
    tx.put(
        &CREDENTIAL_CHANGES,
        &account_id,
        &CredentialChangeRow {
            version,
            changed_at: now_at,
        },
    )?;
    account_changed(tx, account_id, |_| {})?;
    revoke_account(tx, account_id, Some(claims.session_id))?;
    remember_in(tx, remembered, Effect::Done { count: 0 })?;
    Ok(now_at)
}

/// Changes an account's row and moves it to the end of the order of changes.
pub(crate) fn account_changed(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    change: impl FnOnce(&mut AccountRow),
) -> Result<(), Error> {
    let mut account = tx.get(&ACCOUNTS, &account_id)?.ok_or_else(|| ACCOUNT_UNKNOWN.error())?;
    change(&mut account);
    account.change_seq = tx.next_id("account_change")?;
    account.changed_at = tx.now_at();
    Ok(tx.put(&ACCOUNTS, &account_id, &account)?)
}

/// Kinds of an account's names, each once, in order.
fn kinds(account: &AccountRow) -> Vec<IdentityKind> {
    let numbers = account.names.iter().map(|(kind, _)| *kind);
    let mut kinds: Vec<IdentityKind> = numbers.filter_map(IdentityKind::from_number).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}
