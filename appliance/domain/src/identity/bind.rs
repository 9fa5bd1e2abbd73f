//! `identity.bind`: a guest takes a username and a password. The session stays.

use seawall_storage::Tx;

use super::{IdentityKind, identity_key};
use crate::account::OwnAccount;
use crate::account::create::{put_identity, put_password};
use crate::account::own::{IDENTITIES_MAX, account_changed};
use crate::auth_log::AuthNote;
use crate::call::Call;
use crate::codes::{ACCOUNT_UNKNOWN, CREDENTIAL_UNSUPPORTED, IDEMPOTENCY_MISMATCH, IDENTITY_EXISTS};
use crate::credential::Asker;
use crate::error::Error;
use crate::idempotency::{Remembered, recall_in, remember_in};
use crate::ids::AccountId;
use crate::normalise::{self, Username};
use crate::platform::Platform;
use crate::session::Credential;
use crate::tables::account::{ACCOUNTS, CREDENTIALS, IDENTITIES, IdentityKey};
use crate::tables::session::Effect;

impl Platform {
    /// `identity.bind`: a guest takes a username and a password. The session stays.
    ///
    /// # Errors
    /// `session.invalid`, `credential.unsupported`, `request.field_invalid`, `identity.exists`, `account.restricted`,
    /// `limit.*`, `idempotency.mismatch`, or our own trouble.
    pub async fn identity_bind(&self, call: &Call, bearer: &str, credential: Credential) -> Result<OwnAccount, Error> {
        let mut note = AuthNote::new("identity.bind");
        let result = self.bind(call, bearer, &credential, &mut note).await;
        self.auth_note(call, &note, result.as_ref().err());
        result
    }

    async fn bind(
        &self,
        call: &Call,
        bearer: &str,
        credential: &Credential,
        note: &mut AuthNote,
    ) -> Result<OwnAccount, Error> {
        let claims = self.bearer(call, bearer)?;
        note.of_claims(&claims);
        self.refuse_denied(&claims)?;
        let Credential::Username { username, password } = credential else {
            return Err(CREDENTIAL_UNSUPPORTED
                .because("Only a username with a password can be bound.")
                .with("kind", "guest"));
        };
        let name = normalise::username(username)?;
        normalise::new_password(password, "credential.password")?;
        self.screen_bearer(call, &claims)?;
        let remembered = self.remembered(call, "identity.bind", claims.game_id, &claims.session_id.to_string())?;
        if self.recall(remembered).await?.is_some() {
            return self.own_account(&claims).await;
        }
        let account_id = claims.account_id;
        let account = self
            .inner
            .store
            .get(&ACCOUNTS, &account_id)
            .await?
            .ok_or_else(|| ACCOUNT_UNKNOWN.error())?;
        let key = identity_key(
            &self.inner.lookup,
            account.realm_id,
            IdentityKind::Username,
            "",
            &name.key,
        );
        // Without these looks a taken name would cost a hash.
        if account.username.is_some() || self.inner.store.get(&IDENTITIES, &key).await?.is_some() {
            return Err(IDENTITY_EXISTS.error());
        }
        let phc = self.hash_password(Asker::of(call, claims.game_id), password).await?;
        self.commit_while_awaited(call, "identity.bind", move |tx| {
            bind_in(tx, account_id, &key, &name, &phc, remembered)
        })
        .await?;
        self.own_account(&claims).await
    }
}

fn bind_in(
    tx: &mut Tx<'_>,
    account_id: AccountId,
    key: &IdentityKey,
    name: &Username,
    phc: &str,
    remembered: Option<Remembered>,
) -> Result<(), Error> {
    if let Some(row) = recall_in(tx, remembered)? {
        return if matches!(row.effect, Effect::Done { .. }) {
            Ok(())
        } else {
            Err(IDEMPOTENCY_MISMATCH.error())
        };
    }
    let account = tx.get(&ACCOUNTS, &account_id)?.ok_or_else(|| ACCOUNT_UNKNOWN.error())?;
    let has_name = account
        .names
        .iter()
        .any(|(kind, _)| *kind == IdentityKind::Username as u8);
    if has_name
        || account.names.len() >= IDENTITIES_MAX
        || tx.exists(&IDENTITIES, key)?
        || tx.exists(&CREDENTIALS, &account_id)?
    {
        return Err(IDENTITY_EXISTS.error());
    }
    put_identity(tx, key, account_id, &name.key)?;
    put_password(tx, account_id, phc)?;
    account_changed(tx, account_id, |account| {
        account.username = Some(name.display.clone());
        account.names.push((key.1, key.2));
    })?;
    remember_in(tx, remembered, Effect::Done { count: 0 })
}
