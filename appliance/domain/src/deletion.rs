//! Accounts that were deleted while tokens of theirs may be alive. Such a token is answered `denied account.deleted`:
//! it must not send the player to log in again.

use std::collections::HashSet;

use parking_lot::RwLock;
use seawall_storage::Tx;

use crate::error::Error;
use crate::game::ACCESS_TOKEN_MS;
use crate::ids::AccountId;
use crate::tables::session::{ACCOUNT_DELETIONS, AccountDeletionRow};

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
