//! `session.create`: log in, and register when asked to.

use seawall_storage::Tx;

use super::entry::Entry;
use super::open::{Opened, open_session};
use crate::account::create::New;
use crate::auth_log::{AuthNote, OpenNote};
use crate::call::Call;
use crate::codes::{ACCOUNT_DELETED, CREDENTIAL_INVALID, STORE_BUSY};
use crate::credential::{Asker, Checked, put_rehashed};
use crate::error::Error;
use crate::idempotency::{Remembered, recall_in, remember_in};
use crate::identity::{IdentityKind, guest_secret, identity_key, is_guest_secret};
use crate::ids::AccountId;
use crate::normalise::{self, field_error};
use crate::platform::Platform;
use crate::session::{Credential, LoggedIn, LoginOutcome, SessionCreate};
use crate::tables::account::{ACCOUNTS, CREDENTIALS, IDENTITIES, IdentityKey};
use crate::tables::session::{Effect, IdempotencyRow};

/// How often a login starts again because the account changed under it.
const ATTEMPTS_MAX: u32 = 3;

/// What a login transaction came to.
pub(crate) enum Done {
    /// The effect, this call's or that of the call it repeats.
    Effect(Box<IdempotencyRow>),
    /// The account changed since the credential was checked: look again.
    Stale,
}

impl Platform {
    /// `session.create`: log in, and register when asked to.
    ///
    /// # Errors
    /// `request.field_invalid`, `game.*`, `package.unknown`, `credential.*`, `guest.disabled`, `account.restricted`,
    /// `account.deleted`, `device.limit`, `session.limit`, `limit.*`, `idempotency.mismatch`, or our own trouble.
    pub async fn session_create(&self, call: &Call, command: SessionCreate) -> Result<LoginOutcome, Error> {
        let note = AuthNote::of_client("session.create", command.game_id, &command.client);
        let mut open = OpenNote::new(self, call, note);
        let result = self.log_in(call, &command, &mut open.note).await;
        self.auth_note_outcome(call, &open.settle(), &result);
        result
    }

    async fn log_in(&self, call: &Call, command: &SessionCreate, note: &mut AuthNote) -> Result<LoginOutcome, Error> {
        let entry = self.entry(call, command.game_id, &command.client)?;
        note.device = Some(entry.device);
        let entrant = self.entrant(call, &entry, &command.credential);
        let gate = self.screen(&entrant, &entry).await?;
        let remembered = self.remembered(
            call,
            "session.create",
            command.game_id,
            &command.client.device.install_id,
        )?;
        // A repeat is answered before a proof is asked for: it costs a look, and the proof it was sent with is used up.
        if let Some(row) = self.recall(remembered).await? {
            return self.logged_in(&row, note).map(LoginOutcome::from);
        }
        if let Some(challenge) = self.challenge(gate, entry.game_id, command.challenge_response.as_ref())? {
            return Ok(challenge);
        }
        let result = self.try_credential(call, command, &entry, remembered, note).await;
        self.count_failure(&entrant.attempt, result.as_ref().err());
        result.map(LoginOutcome::from)
    }

    async fn try_credential(
        &self,
        call: &Call,
        command: &SessionCreate,
        entry: &Entry,
        remembered: Option<Remembered>,
        note: &mut AuthNote,
    ) -> Result<LoggedIn, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let done = match &command.credential {
                Credential::Username { username, password } => {
                    self.by_username(call, command, entry, (username, password), remembered, note)
                        .await?
                }
                Credential::Guest {
                    guest_secret: Some(secret),
                } => self.by_guest_secret(call, entry, secret, remembered, note).await?,
                Credential::Guest { guest_secret: None } if command.create_if_missing => {
                    self.register(call, "session.create", entry, New::Guest, remembered)
                        .await?
                }
                Credential::Guest { guest_secret: None } => {
                    return Err(field_error(
                        "credential.guest_secret",
                        "is needed unless create_if_missing is true",
                    ));
                }
            };
            if let Done::Effect(row) = done {
                return self.logged_in(&row, note);
            }
        }
        Err(STORE_BUSY
            .because("The account is being changed by other calls; nothing was done.")
            .retry_after_ms(1_000))
    }

    async fn by_username(
        &self,
        call: &Call,
        command: &SessionCreate,
        entry: &Entry,
        (username, password): (&str, &str),
        remembered: Option<Remembered>,
        note: &mut AuthNote,
    ) -> Result<Done, Error> {
        normalise::old_password(password, "credential.password")?;
        let Some((key, account_id)) = self.find_name(entry, username).await? else {
            if command.create_if_missing {
                return self
                    .register_username(call, "session.create", entry, (username, password), remembered)
                    .await;
            }
            normalise::username(username)?;
            self.hash_for_nobody(Asker::of(call, entry.game_id), password).await;
            return Err(CREDENTIAL_INVALID.error());
        };
        note.account = Some(account_id);
        let checked = self
            .check_password(
                Asker::of(call, entry.game_id),
                account_id,
                password,
                entry.settings.remember_passwords,
            )
            .await?;
        let Some(checked) = checked else {
            return Err(CREDENTIAL_INVALID.error());
        };
        self.open_for(call, entry, key, account_id, Some(checked), remembered)
            .await
    }

    /// The account of a name: a username, or an imported name that breaks today's rule.
    async fn find_name(&self, entry: &Entry, username: &str) -> Result<Option<(IdentityKey, AccountId)>, Error> {
        let kind = name_kind(username);
        let Some(subject) = kind.subject(username) else {
            normalise::username(username)?;
            return Ok(None);
        };
        let key = identity_key(&self.inner.lookup, entry.realm_id, kind, "", &subject);
        Ok(self
            .inner
            .store
            .get(&IDENTITIES, &key)
            .await?
            .map(|identity| (key, identity.account_id)))
    }

    async fn by_guest_secret(
        &self,
        call: &Call,
        entry: &Entry,
        secret: &str,
        remembered: Option<Remembered>,
        note: &mut AuthNote,
    ) -> Result<Done, Error> {
        if !is_guest_secret(secret) {
            return Err(CREDENTIAL_INVALID.error());
        }
        let key = identity_key(&self.inner.lookup, entry.realm_id, IdentityKind::Guest, "", secret);
        let Some(identity) = self.inner.store.get(&IDENTITIES, &key).await? else {
            return Err(CREDENTIAL_INVALID.error());
        };
        note.account = Some(identity.account_id);
        self.open_for(call, entry, key, identity.account_id, None, remembered)
            .await
    }

    /// The transaction of a login whose credential was checked: everything it was checked against must still be so.
    async fn open_for(
        &self,
        call: &Call,
        entry: &Entry,
        key: IdentityKey,
        account_id: AccountId,
        checked: Option<Checked>,
        remembered: Option<Remembered>,
    ) -> Result<Done, Error> {
        let entry = entry.clone();
        let rehashed = checked.as_ref().is_some_and(|checked| checked.renewed.is_some());
        let done = self
            .commit_while_awaited(call, "session.create", move |tx| {
                if let Some(row) = recall_in(tx, remembered)? {
                    return Ok(Done::Effect(Box::new(row)));
                }
                log_in_in(tx, &entry, key, account_id, checked.as_ref(), remembered)
            })
            .await?;
        if rehashed && matches!(done, Done::Effect(_)) {
            self.inner
                .tally
                .rehashed
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(done)
    }

    /// Notes what a login or registration came to; a challenge says nothing about anybody yet.
    pub(crate) fn auth_note_outcome(&self, call: &Call, note: &AuthNote, result: &Result<LoginOutcome, Error>) {
        match result {
            Ok(LoginOutcome::Challenge { .. }) => {
                let issued = &self.inner.tally.challenges_issued;
                issued.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
            result => self.auth_note(call, note, result.as_ref().err()),
        }
    }

    /// The answer that a login's effect stands for; the tokens are recomputed.
    pub(crate) fn logged_in(&self, row: &IdempotencyRow, note: &mut AuthNote) -> Result<LoggedIn, Error> {
        let Effect::Login {
            pair,
            is_new_account,
            is_new_player,
            is_new_guest,
            username,
        } = &row.effect
        else {
            return Err(crate::codes::IDEMPOTENCY_MISMATCH.error());
        };
        note.account = Some(pair.account_id);
        note.player = Some(pair.player_id);
        Ok(LoggedIn {
            account_id: pair.account_id,
            player_id: pair.player_id,
            username: username.clone(),
            is_new_account: *is_new_account,
            is_new_player: *is_new_player,
            session: self.tokens(pair)?,
            guest_secret: is_new_guest.then(|| guest_secret(&self.inner.lookup, pair.account_id)),
            reconnect_spread_ms: self.reconnect_spread_ms(pair.game_id).unwrap_or(0),
            server_time_at: row.done_at,
        })
    }
}

impl From<LoggedIn> for LoginOutcome {
    fn from(login: LoggedIn) -> Self {
        Self::Session(Box::new(login))
    }
}

/// Names that keep today's rule are usernames; imported ones that break it are aliases.
pub(crate) fn name_kind(username: &str) -> IdentityKind {
    if normalise::username(username).is_ok() {
        IdentityKind::Username
    } else {
        IdentityKind::Alias
    }
}

fn log_in_in(
    tx: &mut Tx<'_>,
    entry: &Entry,
    key: IdentityKey,
    account_id: AccountId,
    checked: Option<&Checked>,
    remembered: Option<Remembered>,
) -> Result<Done, Error> {
    if tx
        .get(&IDENTITIES, &key)?
        .is_none_or(|identity| identity.account_id != account_id)
    {
        return Ok(Done::Stale);
    }
    let Some(account) = tx.get(&ACCOUNTS, &account_id)? else {
        return Ok(Done::Stale);
    };
    if account.is_deleted {
        return Err(ACCOUNT_DELETED.error());
    }
    if let Some(checked) = checked {
        match tx.get(&CREDENTIALS, &account_id)? {
            Some(row) if row.version == checked.version => put_rehashed(tx, account_id, row, checked)?,
            _ => return Ok(Done::Stale),
        }
    }
    let opened = open_session(tx, entry, account_id, &account)?;
    finish(tx, &opened, remembered, account.username, false, false)
}

/// Remembers and answers an opened session.
pub(crate) fn finish(
    tx: &mut Tx<'_>,
    opened: &Opened,
    remembered: Option<Remembered>,
    username: Option<String>,
    is_new_account: bool,
    is_new_guest: bool,
) -> Result<Done, Error> {
    let effect = Effect::Login {
        pair: opened.pair,
        is_new_account,
        is_new_player: opened.is_new_player,
        is_new_guest,
        username,
    };
    remember_in(tx, remembered, effect.clone())?;
    let done_at = tx.now_at();
    Ok(Done::Effect(Box::new(IdempotencyRow {
        expires_at: done_at,
        request_digest: [0; 32],
        done_at,
        effect,
    })))
}
