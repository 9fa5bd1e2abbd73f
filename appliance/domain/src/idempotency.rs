//! Idempotency: a call that carries a key has its effect once, and its repeats are answered with the same result.
//!
//! The record is written in the effect's own transaction, so that there is no instant at which one exists without the
//! other. It is looked for twice: before slow work (hashing) as a short cut, and inside the transaction, which decides.

use seawall_storage::Tx;

use crate::call::Call;
use crate::codes::{IDEMPOTENCY_MISMATCH, IDEMPOTENCY_REQUIRED};
use crate::error::Error;
use crate::ids::{GameId, UnixMs};
use crate::normalise::field_error;
use crate::platform::Platform;
use crate::tables::session::{Effect, IDEMPOTENCY, IdempotencyRow};

/// How long a key is remembered.
pub const IDEMPOTENCY_KEPT_MS: u64 = 24 * 3_600_000;

/// A call's key in its scope, with the digest of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remembered {
    scope: [u8; 32],
    request_digest: [u8; 32],
}

impl Platform {
    /// The call's key, scoped to game, principal (device, session or caller) and operation; `None` when it sent none.
    pub(crate) fn remembered(
        &self,
        call: &Call,
        op: &str,
        game: GameId,
        principal: &str,
    ) -> Result<Option<Remembered>, Error> {
        let Some(idempotency) = &call.idempotency else {
            return Ok(None);
        };
        let key = idempotency.key.as_bytes();
        if !(1..=255).contains(&key.len()) || !key.iter().all(u8::is_ascii_graphic) {
            return Err(field_error("Idempotency-Key", "has 1 to 255 visible ASCII characters"));
        }
        let mut hasher = blake3::Hasher::new_keyed(self.inner.lookup.idempotency.expose());
        hasher.update(&game.0.to_be_bytes());
        for part in [op.as_bytes(), principal.as_bytes(), key] {
            hasher.update(&(part.len() as u64).to_be_bytes()).update(part);
        }
        Ok(Some(Remembered {
            scope: *hasher.finalize().as_bytes(),
            request_digest: idempotency.request_digest,
        }))
    }

    /// The same for calls that must carry a key.
    pub(crate) fn remembered_required(
        &self,
        call: &Call,
        op: &str,
        game: GameId,
        principal: &str,
    ) -> Result<Option<Remembered>, Error> {
        if call.idempotency.is_none() {
            return Err(IDEMPOTENCY_REQUIRED.error());
        }
        self.remembered(call, op, game, principal)
    }

    /// What the call did before, if it did: the short cut before slow work.
    pub(crate) async fn recall(&self, remembered: Option<Remembered>) -> Result<Option<IdempotencyRow>, Error> {
        let Some(remembered) = remembered else { return Ok(None) };
        let row = self.inner.store.get(&IDEMPOTENCY, &remembered.scope).await?;
        judge(row.map(|row| (*row).clone()), remembered, self.now_at())
    }
}

/// What the call did before, inside the transaction.
pub(crate) fn recall_in(tx: &mut Tx<'_>, remembered: Option<Remembered>) -> Result<Option<IdempotencyRow>, Error> {
    let Some(remembered) = remembered else { return Ok(None) };
    let row = tx.get(&IDEMPOTENCY, &remembered.scope)?;
    judge(row, remembered, tx.now_at())
}

/// Remembers what the call does, in its own transaction.
pub(crate) fn remember_in(tx: &mut Tx<'_>, remembered: Option<Remembered>, effect: Effect) -> Result<(), Error> {
    let Some(remembered) = remembered else { return Ok(()) };
    let done_at = tx.now_at();
    let row = IdempotencyRow {
        expires_at: done_at + IDEMPOTENCY_KEPT_MS,
        request_digest: remembered.request_digest,
        done_at,
        effect,
    };
    Ok(tx.put(&IDEMPOTENCY, &remembered.scope, &row)?)
}

fn judge(row: Option<IdempotencyRow>, remembered: Remembered, now_at: UnixMs) -> Result<Option<IdempotencyRow>, Error> {
    match row {
        Some(row) if now_at >= row.expires_at => Ok(None),
        Some(row) if row.request_digest != remembered.request_digest => Err(IDEMPOTENCY_MISMATCH.error()),
        row => Ok(row),
    }
}

#[cfg(test)]
mod tests;
