//! `platform.sweep`: deletes rows that have ended, a bounded page of each table at a time, through ordinary writes.
//! Called periodically; called again at once while it says that more is there.

use seawall_storage::{Index, Key, Record, Span, Table, Tx};

use crate::call::Call;
use crate::error::Error;
use crate::platform::Platform;
use crate::tables::session::{
    ACCOUNT_DELETIONS, ACCOUNT_DELETIONS_BY_END, ACCOUNT_REVOCATIONS, ACCOUNT_REVOCATIONS_BY_END, IDEMPOTENCY,
    IDEMPOTENCY_BY_END, PLAYER_REVOCATIONS, PLAYER_REVOCATIONS_BY_END, SESSION_REVOCATIONS, SESSION_REVOCATIONS_BY_END,
    SESSIONS, SESSIONS_BY_END,
};

/// What the journal calls a sweep.
pub(crate) const SWEEP_OP: &str = "platform.sweep";
/// Most rows of one table that one call deletes, in a transaction of their own.
pub const SWEEP_PAGE_ROWS: usize = 500;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows deleted.
    pub deleted: u64,
    /// Whether a table had more than a page.
    pub more: bool,
}

impl Platform {
    /// `platform.sweep`: deletes a page of ended rows of every table that has such, and drops ended restrictions from
    /// memory. Rows are indexed by the full hour after their end, so they go up to an hour late.
    ///
    /// # Errors
    /// Our own trouble; what was deleted until then stays deleted.
    pub async fn sweep(&self, call: &Call) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        self.sweep_table(call, &SESSIONS, &SESSIONS_BY_END, &mut swept).await?;
        self.sweep_table(call, &SESSION_REVOCATIONS, &SESSION_REVOCATIONS_BY_END, &mut swept)
            .await?;
        self.sweep_table(call, &ACCOUNT_REVOCATIONS, &ACCOUNT_REVOCATIONS_BY_END, &mut swept)
            .await?;
        self.sweep_table(call, &PLAYER_REVOCATIONS, &PLAYER_REVOCATIONS_BY_END, &mut swept)
            .await?;
        self.sweep_table(call, &ACCOUNT_DELETIONS, &ACCOUNT_DELETIONS_BY_END, &mut swept)
            .await?;
        self.sweep_table(call, &IDEMPOTENCY, &IDEMPOTENCY_BY_END, &mut swept)
            .await?;
        self.inner.mirrors.restrictions().prune(self.now_at());
        self.inner
            .tally
            .swept
            .fetch_add(swept.deleted, std::sync::atomic::Ordering::Relaxed);
        Ok(swept)
    }

    async fn sweep_table<K: Key + Send + 'static, V: Record>(
        &self,
        call: &Call,
        table: &'static Table<K, V>,
        ends: &'static Index<u32, K>,
        swept: &mut Swept,
    ) -> Result<(), Error> {
        // A look without a write first: most sweeps find nothing.
        let until = ended_by(self.now_at());
        let found = self.query(move |view| view.index(ends, &until, 1)).await?;
        if found.rows.is_empty() {
            return Ok(());
        }
        let deleted = self.commit(call, SWEEP_OP, move |tx| sweep_in(tx, table, ends)).await?;
        swept.deleted += deleted as u64;
        swept.more |= deleted == SWEEP_PAGE_ROWS;
        Ok(())
    }
}

fn sweep_in<K: Key, V: Record>(
    tx: &mut Tx<'_>,
    table: &'static Table<K, V>,
    ends: &'static Index<u32, K>,
) -> Result<usize, Error> {
    let until = ended_by(tx.now_at());
    let keys = tx.index(ends, &until, SWEEP_PAGE_ROWS)?;
    for key in &keys {
        tx.delete(table, key)?;
    }
    Ok(keys.len())
}

/// Index entries of the hours that are over. An entry's hour is the first full one after the row's end.
fn ended_by(now_at: u64) -> Span {
    Span::all().before(&u32::try_from(now_at / 3_600_000 + 1).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
