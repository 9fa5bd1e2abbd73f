//! Checking and renewing passwords. The hashing runs on the hash pool, before the transaction; the transaction only
//! looks whether the password it was checked against is still the account's.

use std::sync::Arc;

use seawall_storage::Tx;

use crate::error::Error;
use crate::ids::AccountId;
use crate::password::{self, HashCost};
use crate::platform::{Platform, defect};
use crate::ports::HashOutcome;
use crate::recipe::Recipe;
use crate::tables::account::{CREDENTIALS, CredentialRow, StoredPassword};
use crate::tables::takeover::IMPORTS;

/// A password that matched.
#[derive(Clone)]
pub(crate) struct Checked {
    /// Version of the credential it was checked against.
    pub(crate) version: u32,
    /// A hash at today's cost, when the stored one is older and the pool had time.
    pub(crate) renewed: Option<String>,
    /// Keep the old platform's hash beside the renewed one.
    pub(crate) keep_old: bool,
}

impl Platform {
    /// Whether `password` is the account's; `None` when it is not, or when the account has none.
    pub(crate) async fn check_password(&self, account: AccountId, password: &str) -> Result<Option<Checked>, Error> {
        let Some(row) = self.inner.store.get(&CREDENTIALS, &account).await? else {
            self.hash_for_nobody(password).await;
            return Ok(None);
        };
        let (pepper, keep_old) = self.import_of(&row).await?;
        let (row_in_job, typed) = (Arc::clone(&row), password.to_owned());
        let outcome = self
            .inner
            .hash_pool
            .run(Box::new(move || {
                check(&row_in_job.stored, &typed, pepper.as_deref().unwrap_or_default())
            }))
            .await?;
        match outcome {
            HashOutcome::Matches(true) => {}
            HashOutcome::Matches(false) => return Ok(None),
            HashOutcome::Unusable(why) => return Err(defect(&format!("The stored password cannot be checked: {why}"))),
            HashOutcome::Hashed(_) => return Err(defect("A password check answered a hash")),
        }
        let renewed = if is_old(&row.stored, self.inner.hash_cost) && self.inner.hash_pool.is_idle() {
            self.hash_password(password).await.ok()
        } else {
            None
        };
        Ok(Some(Checked {
            version: row.version,
            renewed,
            keep_old,
        }))
    }

    /// Pepper of the import a stored password comes from, and whether its old hash is kept.
    async fn import_of(&self, row: &CredentialRow) -> Result<(Option<String>, bool), Error> {
        let StoredPassword::Imported { import_id, .. } = &row.stored else {
            return Ok((None, false));
        };
        let import = self.inner.store.get(&IMPORTS, import_id).await?;
        Ok(import.map_or((None, false), |import| {
            (
                import.pepper.clone(),
                import.keep_old_hashes && import.finalized_at.is_none(),
            )
        }))
    }

    /// Hashes a new password on the pool.
    pub(crate) async fn hash_password(&self, password: &str) -> Result<String, Error> {
        let (typed, salt, cost) = (password.to_owned(), self.entropy(), self.inner.hash_cost);
        let job = move || match password::hash(&typed, &salt, cost) {
            Ok(phc) => HashOutcome::Hashed(phc),
            Err(why) => HashOutcome::Unusable(why.to_owned()),
        };
        match self.inner.hash_pool.run(Box::new(job)).await? {
            HashOutcome::Hashed(phc) => Ok(phc),
            _ => Err(defect("The password could not be hashed")),
        }
    }

    /// The work of a check for a name nobody has, so that time does not tell which names exist; left out while the
    /// pool is busy, when it would only help an attacker to keep it so.
    pub(crate) async fn hash_for_nobody(&self, password: &str) {
        if self.inner.hash_pool.is_idle() {
            // The result is of no interest, and neither is a refusal.
            drop(self.hash_password(password).await);
        }
    }
}

/// The check itself; slow.
fn check(stored: &StoredPassword, password: &str, pepper: &str) -> HashOutcome {
    let matches = match stored {
        StoredPassword::Argon2 { phc } => password::check_phc(password, phc),
        StoredPassword::Imported { recipe, hash, salt, .. } => match Recipe::parse(recipe) {
            Ok(recipe) => recipe.check(password, hash, salt, pepper),
            Err(_) => Err("its recipe is unknown"),
        },
    };
    match matches {
        Ok(matches) => HashOutcome::Matches(matches),
        Err(why) => HashOutcome::Unusable(why.to_owned()),
    }
}

fn is_old(stored: &StoredPassword, cost: HashCost) -> bool {
    match stored {
        StoredPassword::Argon2 { phc } => password::is_outdated(phc, cost),
        StoredPassword::Imported { .. } => true,
    }
}

/// Replaces the stored hash by the renewed one. The password is the same, so the version stays.
pub(crate) fn put_rehashed(
    tx: &mut Tx<'_>,
    account: AccountId,
    row: CredentialRow,
    checked: &Checked,
) -> Result<(), Error> {
    let Some(phc) = checked.renewed.clone() else {
        return Ok(());
    };
    let CredentialRow {
        version,
        stored,
        old,
        changed_at,
    } = row;
    let old = match stored {
        imported @ StoredPassword::Imported { .. } if checked.keep_old => Some(imported),
        _ => old,
    };
    Ok(tx.put(
        &CREDENTIALS,
        &account,
        &CredentialRow {
            version,
            stored: StoredPassword::Argon2 { phc },
            old,
            changed_at,
        },
    )?)
}

/// The name of how a password is stored, for operators.
pub(crate) fn recipe_name(row: Option<&CredentialRow>) -> String {
    match row.map(|row| &row.stored) {
        None => "none".to_owned(),
        Some(StoredPassword::Argon2 { .. }) => "argon2id".to_owned(),
        Some(StoredPassword::Imported { recipe, .. }) => recipe.clone(),
    }
}
