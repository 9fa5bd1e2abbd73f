//! Accounts that were deleted while tokens of theirs may be alive. Such a token is answered `denied account.deleted`:
//! it must not send the player to log in again.

use std::collections::{BTreeSet, HashSet};

use parking_lot::RwLock;
use seawall_storage::frame::Frame;
use seawall_storage::{CodecError, Key as _, Tx};

use crate::call::Call;
use crate::error::Error;
use crate::game::ACCESS_TOKEN_MS;
use crate::ids::AccountId;
use crate::platform::Platform;
use crate::sweep::SWEEP_OP;
use crate::tables::account::{ACCOUNTS, AccountRow};
use crate::tables::session::{ACCOUNT_DELETIONS, AccountDeletionRow};

/// Most accounts that one transaction deletes again.
const REAPPLY_ACCOUNTS: usize = 500;

/// The deletions in memory: a handful a day, for erasure is rare and the rows end with the last access token.
#[derive(Default)]
pub(crate) struct DeletionMirror {
    accounts: RwLock<HashSet<AccountId>>,
}

impl DeletionMirror {
    pub(crate) fn set(&self, account: AccountId, is_deleted: bool) {
        let mut accounts = self.accounts.write();
        if is_deleted {
            accounts.insert(account);
        } else {
            accounts.remove(&account);
        }
    }

    pub(crate) fn contains(&self, account: AccountId) -> bool {
        self.accounts.read().contains(&account)
    }
}

/// Notes that an account with a past was deleted (or is active again) in the transaction that says so in its row.
pub(crate) fn set_deleted(tx: &mut Tx<'_>, account: AccountId, is_deleted: bool) -> Result<(), Error> {
    if !is_deleted {
        return Ok(tx.delete(&ACCOUNT_DELETIONS, &account)?);
    }
    let deleted_at = tx.now_at();
    let row = AccountDeletionRow {
        expires_at: deleted_at + ACCESS_TOKEN_MS.end(),
        deleted_at,
    };
    Ok(tx.put(&ACCOUNT_DELETIONS, &account, &row)?)
}

/// Which accounts were deleted, as frames of the journal tell it in their order. Restoring an earlier state must not bring
/// back what somebody asked to be deleted: what later frames tell is done again ([`Platform::deletion_reapply`]).
#[derive(Debug, Default)]
pub struct DeletionList(BTreeSet<AccountId>);

impl DeletionList {
    /// Takes in the next frame.
    ///
    /// # Errors
    /// A key that is no account.
    pub fn read(&mut self, frame: &Frame<'_>) -> Result<(), CodecError> {
        for tx in &frame.transactions {
            for row in tx.rows.iter().filter(|row| row.table == ACCOUNT_DELETIONS.def.number) {
                let account = AccountId::decode(row.key)?;
                if row.value.is_some() {
                    self.0.insert(account);
                } else if tx.op != SWEEP_OP {
                    // Active again. The sweep only forgets what no access token can need any more.
                    self.0.remove(&account);
                }
            }
        }
        Ok(())
    }

    /// The accounts that are deleted after the last frame.
    #[must_use]
    pub fn into_accounts(self) -> Vec<AccountId> {
        self.0.into_iter().collect()
    }
}

impl Platform {
    /// `deletion.reapply`: deletes accounts again that a restore brought back; answers how many. Done in this thread,
    /// because it belongs into a start, before anybody is served. Doing it twice changes nothing.
    ///
    /// # Errors
    /// Our own trouble; what was deleted until then stays deleted.
    pub fn deletion_reapply(&self, call: &Call, accounts: &[AccountId]) -> Result<u64, Error> {
        let mut deleted = 0;
        for page in accounts.chunks(REAPPLY_ACCOUNTS) {
            let (page, stamp) = (page.to_vec(), self.stamp(call, "deletion.reapply"));
            let written = self.inner.store.write(stamp, move |tx| delete_again(tx, &page));
            deleted += written.wait().map_err(Error::from)?;
        }
        Ok(deleted)
    }
}

fn delete_again(tx: &mut Tx<'_>, accounts: &[AccountId]) -> Result<u64, Error> {
    let mut deleted = 0;
    for id in accounts {
        let Some(account) = tx.get(&ACCOUNTS, id)?.filter(|account| !account.is_deleted) else {
            continue;
        };
        let row = AccountRow {
            change_seq: tx.next_id("account_change")?,
            is_deleted: true,
            changed_at: tx.now_at(),
            ..account
        };
        tx.put(&ACCOUNTS, id, &row)?;
        set_deleted(tx, *id, true)?;
        deleted += 1;
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests;
