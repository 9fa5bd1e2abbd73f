//! Checking and renewing passwords. The hashing runs on the hash pool, before the transaction; the transaction only
//! looks whether the password it was checked against is still the account's.

use std::sync::Arc;

use seawall_storage::Tx;
use zeroize::Zeroizing;

use crate::call::{Call, Caller};
use crate::credential_cache::PasswordMark;
use crate::error::Error;
use crate::ids::{AccountId, GameId};
use crate::password::{self, HashCost};
use crate::platform::{Platform, defect};
use crate::ports::{HashAsk, HashJob, HashMemory, HashOutcome};
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

/// Who wants a password hashed or checked: decides whose turn it takes in the pool.
#[derive(Clone, Copy)]
pub(crate) struct Asker {
    game_id: GameId,
    is_operator: bool,
    begin_by_boot_ms: Option<u64>,
}

impl Asker {
    /// Whoever makes `call`, for the sake of a game.
    pub(crate) fn of(call: &Call, game_id: GameId) -> Self {
        Self {
            game_id,
            is_operator: matches!(call.caller, Caller::Operator { .. }),
            begin_by_boot_ms: call.begin_by_boot_ms(),
        }
    }

    fn asks(self, job: HashJob, boot_ms: u64) -> HashAsk {
        HashAsk {
            tenant: self.game_id.0,
            deadline_ms: self
                .begin_by_boot_ms
                .map(|begin_by_boot_ms| begin_by_boot_ms.saturating_sub(boot_ms)),
            job,
        }
    }
}

impl Platform {
    /// Whether `password` is the account's; `None` when it is not, or when the account has none. With `may_recall` a
    /// password that matched a short while ago needs no hash ([`crate::credential_cache`]), and one that matches now
    /// will need none for a while; an operator's call never does so.
    pub(crate) async fn check_password(
        &self,
        asker: Asker,
        account: AccountId,
        password: &str,
        may_recall: bool,
    ) -> Result<Option<Checked>, Error> {
        let Some(row) = self.inner.store.get(&CREDENTIALS, &account).await? else {
            self.hash_for_nobody(asker, password).await;
            return Ok(None);
        };
        let recalled = (may_recall && !asker.is_operator).then(|| PasswordMark::of(account, &row));
        let cache = &self.inner.credential_cache;
        let is_recalled = recalled.is_some_and(|mark| cache.recalls(mark, password, self.now_at()));
        if !is_recalled && !self.matches(asker, &row, password, recalled).await? {
            return Ok(None);
        }
        let (mut renewed, mut keep_old) = (None, false);
        if is_old(&row.stored, self.inner.hash_cost) && self.inner.hash_pool.is_idle() {
            (_, keep_old) = self.import_of(&row).await?;
            renewed = self.hash_password(asker, password).await.ok();
        }
        Ok(Some(Checked {
            version: row.version,
            renewed,
            keep_old,
        }))
    }

    /// The check itself, on the pool; what matches is remembered under `recalled`. When its turn comes, the same password
    /// may have matched meanwhile: who asks again because an answer is slow costs no second hash.
    async fn matches(
        &self,
        asker: Asker,
        row: &Arc<CredentialRow>,
        password: &str,
        recalled: Option<PasswordMark>,
    ) -> Result<bool, Error> {
        let (pepper, _) = self.import_of(row).await?;
        let (row, typed) = (Arc::clone(row), Zeroizing::new(password.to_owned()));
        let (inner, chance) = (Arc::clone(&self.inner), u16::from_be_bytes(self.entropy()));
        let job: HashJob = Box::new(move |memory| {
            let (cache, now_at) = (&inner.credential_cache, inner.clock.now_at());
            if recalled.is_some_and(|mark| cache.recalls_by_now(mark, &typed, now_at)) {
                return HashOutcome::Recalled;
            }
            let outcome = check(&row.stored, &typed, pepper.as_deref().unwrap_or_default(), memory);
            if let (HashOutcome::Matches(true), Some(mark)) = (&outcome, recalled) {
                cache.remember(mark, &typed, inner.clock.now_at(), chance);
            }
            outcome
        });
        match self.hashed(asker, job).await? {
            HashOutcome::Matches(matches) => Ok(matches),
            HashOutcome::Recalled => Ok(true),
            HashOutcome::Unusable(why) => Err(defect(&format!("The stored password cannot be checked: {why}"))),
            HashOutcome::Hashed(_) => Err(defect("A password check answered a hash")),
        }
    }

    async fn hashed(&self, asker: Asker, job: HashJob) -> Result<HashOutcome, Error> {
        let ask = asker.asks(job, self.inner.clock.boot_ms());
        self.inner.hash_pool.run(ask).await
    }

    /// Forgets which passwords were verified: until each is checked again, every login needs a hash.
    pub fn forget_verified_passwords(&self) {
        self.inner.credential_cache.forget_all();
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
    pub(crate) async fn hash_password(&self, asker: Asker, password: &str) -> Result<String, Error> {
        let (typed, salt, cost) = (
            Zeroizing::new(password.to_owned()),
            self.entropy(),
            self.inner.hash_cost,
        );
        let job: HashJob = Box::new(move |memory| match password::hash(&typed, &salt, cost, memory) {
            Ok(phc) => HashOutcome::Hashed(phc),
            Err(why) => HashOutcome::Unusable(why.to_owned()),
        });
        match self.hashed(asker, job).await? {
            HashOutcome::Hashed(phc) => Ok(phc),
            _ => Err(defect("The password could not be hashed")),
        }
    }

    /// The work of a check for a name nobody has, so that time does not tell which names exist; left out while the
    /// pool is busy. That is a trade: under load somebody who measures can tell unknown names by their quick answer,
    /// but made-up names cannot take the pool from players. Limits per address bound how many names are tried.
    pub(crate) async fn hash_for_nobody(&self, asker: Asker, password: &str) {
        if self.inner.hash_pool.is_idle() {
            // The result is of no interest, and neither is a refusal.
            drop(self.hash_password(asker, password).await);
        }
    }
}

/// The check itself; slow.
fn check(stored: &StoredPassword, password: &str, pepper: &str, memory: &mut HashMemory) -> HashOutcome {
    let matches = match stored {
        StoredPassword::Argon2 { phc } => password::check_phc(password, phc, memory),
        StoredPassword::Imported { recipe, hash, salt, .. } => match Recipe::parse(recipe) {
            Ok(recipe) => recipe.check(password, hash, salt, pepper, memory),
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
