//! `account.create`, and registration inside a login.

use seawall_storage::Tx;

use super::{AccountCreate, Action};
use crate::auth_log::AuthNote;
use crate::call::Call;
use crate::codes::{ACCOUNT_EXISTS, GUEST_DISABLED};
use crate::credential::Asker;
use crate::error::Error;
use crate::idempotency::{Remembered, recall_in};
use crate::identity::{IdentityKind, guest_secret, identity_key};
use crate::ids::AccountId;
use crate::normalise::{self, field_error};
use crate::platform::{LookupKeys, Platform};
use crate::session::create::{Done, finish};
use crate::session::entry::Entry;
use crate::session::open::open_session;
use crate::session::{Credential, LoginOutcome};
use crate::tables::account::{
    ACCOUNTS, AccountRow, CREDENTIALS, CredentialRow, IDENTITIES, IdentityKey, IdentityRow, StoredPassword,
};

/// Who registers.
#[derive(Clone)]
pub(crate) enum New {
    /// A player without a name.
    Guest,
    /// A name with its password, already hashed.
    Username {
        /// Key of the name's row.
        key: IdentityKey,
        /// The name in the form it is looked up by.
        subject: String,
        /// The name as shown.
        display: String,
        /// PHC string.
        phc: String,
    },
}

impl Platform {
    /// `account.create`: register; the answer is a login.
    ///
    /// # Errors
    /// `account.exists`, and those of `session.create`.
    pub async fn account_create(&self, call: &Call, command: AccountCreate) -> Result<LoginOutcome, Error> {
        let mut note = AuthNote::of_client("account.create", command.game_id, &command.client);
        let result = self.create_account(call, &command, &mut note).await;
        self.auth_note_outcome(call, &note, &result);
        result
    }

    async fn create_account(
        &self,
        call: &Call,
        command: &AccountCreate,
        note: &mut AuthNote,
    ) -> Result<LoginOutcome, Error> {
        let entry = self.entry(call, command.game_id, &command.client)?;
        note.device = Some(entry.device);
        let entrant = self.entrant(call, &entry, &command.credential);
        let gate = self.screen(&entrant, &entry).await?;
        let remembered = self.remembered(
            call,
            "account.create",
            command.game_id,
            &command.client.device.install_id,
        )?;
        if let Some(row) = self.recall(remembered).await? {
            return self.logged_in(&row, note).map(LoginOutcome::from);
        }
        if let Some(challenge) = self.challenge(gate, entry.game_id, command.challenge_response.as_ref())? {
            return Ok(challenge);
        }
        let done = match &command.credential {
            Credential::Guest { guest_secret: Some(_) } => {
                return Err(field_error(
                    "credential.guest_secret",
                    "is made by the platform; leave it out to register a guest",
                ));
            }
            Credential::Guest { guest_secret: None } => {
                self.register(call, "account.create", &entry, New::Guest, remembered)
                    .await?
            }
            Credential::Username { username, password } => {
                self.register_username(call, "account.create", &entry, (username, password), remembered)
                    .await?
            }
        };
        match done {
            Done::Effect(row) => self.logged_in(&row, note).map(LoginOutcome::from),
            Done::Stale => Err(ACCOUNT_EXISTS.error()),
        }
    }

    /// Registers a name. `Stale` when somebody has it.
    pub(crate) async fn register_username(
        &self,
        call: &Call,
        op: &'static str,
        entry: &Entry,
        (username, password): (&str, &str),
        remembered: Option<Remembered>,
    ) -> Result<Done, Error> {
        let name = normalise::username(username)?;
        normalise::new_password(password, "credential.password")?;
        let key = identity_key(
            &self.inner.lookup,
            entry.realm_id,
            IdentityKind::Username,
            "",
            &name.key,
        );
        // Without this look a taken name would cost a hash.
        if self.inner.store.get(&IDENTITIES, &key).await?.is_some() {
            return Ok(Done::Stale);
        }
        self.refuse_restricted(call, entry, Action::Register)?;
        let phc = self.hash_password(Asker::of(call, entry.game_id), password).await?;
        self.register(
            call,
            op,
            entry,
            New::Username {
                key,
                subject: name.key,
                display: name.display,
                phc,
            },
            remembered,
        )
        .await
    }

    /// The registering transaction: account, name, password, player and session at once. `Stale` when somebody took
    /// the name meanwhile.
    pub(crate) async fn register(
        &self,
        call: &Call,
        op: &'static str,
        entry: &Entry,
        new: New,
        remembered: Option<Remembered>,
    ) -> Result<Done, Error> {
        self.refuse_restricted(call, entry, Action::Register)?;
        if matches!(new, New::Guest) && !entry.guests_allowed {
            return Err(GUEST_DISABLED.error());
        }
        let (entry, platform) = (entry.clone(), self.clone());
        self.commit_while_awaited(call, op, move |tx| {
            if let Some(row) = recall_in(tx, remembered)? {
                return Ok(Done::Effect(Box::new(row)));
            }
            register_in(tx, &platform.inner.lookup, &entry, &new, remembered)
        })
        .await
    }
}

fn register_in(
    tx: &mut Tx<'_>,
    lookup: &LookupKeys,
    entry: &Entry,
    new: &New,
    remembered: Option<Remembered>,
) -> Result<Done, Error> {
    if let New::Username { key, .. } = new
        && tx.exists(&IDENTITIES, key)?
    {
        return Ok(Done::Stale);
    }
    let now_at = tx.now_at();
    let account_id = AccountId(tx.next_id("id")?);
    let (key, subject, username) = match new {
        New::Username {
            key, subject, display, ..
        } => (*key, subject.as_str(), Some(display.clone())),
        New::Guest => {
            let secret = guest_secret(lookup, account_id);
            (
                identity_key(lookup, entry.realm_id, IdentityKind::Guest, "", &secret),
                "",
                None,
            )
        }
    };
    let account = AccountRow {
        realm_id: entry.realm_id,
        change_seq: tx.next_id("account_change")?,
        names: vec![(key.1, key.2)],
        is_deleted: false,
        username,
        created_at: now_at,
        changed_at: now_at,
        imported: None,
        origin: entry.origin.clone(),
        merged_into: None,
        person_id: None,
    };
    tx.put(&ACCOUNTS, &account_id, &account)?;
    put_identity(tx, &key, account_id, subject)?;
    if let New::Username { phc, .. } = new {
        put_password(tx, account_id, phc)?;
    }
    let opened = open_session(tx, entry, account_id, &account)?;
    finish(
        tx,
        &opened,
        remembered,
        account.username,
        true,
        matches!(new, New::Guest),
    )
}

/// Gives an account a name without issuer.
pub(crate) fn put_identity(
    tx: &mut Tx<'_>,
    key: &IdentityKey,
    account_id: AccountId,
    subject: &str,
) -> Result<(), Error> {
    let created_at = tx.now_at();
    Ok(tx.put(
        &IDENTITIES,
        key,
        &IdentityRow {
            account_id,
            issuer: String::new(),
            subject: subject.to_owned(),
            created_at,
        },
    )?)
}

/// Gives an account its first password.
pub(crate) fn put_password(tx: &mut Tx<'_>, account_id: AccountId, phc: &str) -> Result<(), Error> {
    let row = CredentialRow {
        version: 1,
        stored: StoredPassword::Argon2 { phc: phc.to_owned() },
        old: None,
        changed_at: tx.now_at(),
    };
    Ok(tx.put(&CREDENTIALS, &account_id, &row)?)
}
