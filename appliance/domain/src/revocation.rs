//! Revocation records in memory, the only evidence that a session was revoked.
//!
//! The mirror is filled from the store before the platform is ready and then kept by the store's observers, that is
//! before the reply of the revoking call is released. Verify asks it and nothing else. It is laid out for ten million
//! records: entries of 8 or 24 bytes in sharded open-addressing tables, so that a look-up costs the same at any
//! size and no shard blocks another. Records end by the sweep that deletes their rows; one that is still here past its
//! end does no harm, for the tokens it covers have expired.

use hashbrown::{HashMap, HashTable};
use parking_lot::RwLock;

use crate::ids::{AccountId, GameId, PlayerId, SessionId};

/// Why a session no longer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// A newer login of the same account took its place.
    Replaced,
    /// Logged out, or revoked by an operator, a password change or a reused refresh token.
    Revoked,
}

const SHARDS: usize = 64;

/// Set in an entry when the session was replaced rather than revoked; ids stay below 2^53.
const REPLACED_BIT: u64 = 1 << 63;

#[derive(Default)]
struct Shard {
    /// Session id and reason in 8 bytes.
    sessions: HashTable<u64>,
    /// (account, last session covered, the one session that is exempt or 0).
    accounts: HashTable<(u64, u64, u64)>,
    players: HashMap<(GameId, PlayerId), SessionId>,
}

/// The mirror. Shared by reference between the observers and verify.
pub struct RevocationMirror {
    shards: Vec<RwLock<Shard>>,
}

impl Default for RevocationMirror {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }
}

impl RevocationMirror {
    /// Whether a record covers this session of this account and player.
    #[must_use]
    pub fn find(&self, session: SessionId, account: AccountId, game: GameId, player: PlayerId) -> Option<Revocation> {
        self.of_session(session)
            .or_else(|| self.account_covers(account, session).then_some(Revocation::Revoked))
            .or_else(|| {
                self.through_player(game, player)
                    .filter(|through| session <= *through)
                    .map(|_| Revocation::Revoked)
            })
    }

    /// Records that `session` is revoked.
    pub fn put_session(&self, session: SessionId, reason: Revocation) {
        let entry = if reason == Revocation::Replaced {
            session.0 | REPLACED_BIT
        } else {
            session.0
        };
        let hash = mix(session.0);
        let Some(shard) = self.shard(hash) else { return };
        let mut shard = shard.write();
        match shard.sessions.find_mut(hash, |old| id_of(*old) == session.0) {
            Some(old) => *old = entry,
            None => drop(shard.sessions.insert_unique(hash, entry, |old| mix(id_of(*old)))),
        }
    }

    /// Forgets the record of a session (its row was swept).
    pub fn drop_session(&self, session: SessionId) {
        let hash = mix(session.0);
        let Some(shard) = self.shard(hash) else { return };
        let mut shard = shard.write();
        if let Ok(found) = shard.sessions.find_entry(hash, |old| id_of(*old) == session.0) {
            found.remove();
        }
        shrink(&mut shard.sessions);
    }

    /// Records that all sessions of `account` up to `through` are revoked, but for `except`.
    pub fn put_account(&self, account: AccountId, through: SessionId, except: Option<SessionId>) {
        let entry = (account.0, through.0, except.map_or(0, |session| session.0));
        let hash = mix(account.0);
        let Some(shard) = self.shard(hash) else { return };
        let mut shard = shard.write();
        match shard.accounts.find_mut(hash, |old| old.0 == account.0) {
            Some(old) => *old = entry,
            None => drop(shard.accounts.insert_unique(hash, entry, |old| mix(old.0))),
        }
    }

    /// Forgets the record of an account.
    pub fn drop_account(&self, account: AccountId) {
        let hash = mix(account.0);
        if let Some(shard) = self.shard(hash)
            && let Ok(found) = shard.write().accounts.find_entry(hash, |old| old.0 == account.0)
        {
            found.remove();
        }
    }

    /// Records that all sessions of a player up to `through` are revoked.
    pub fn put_player(&self, game: GameId, player: PlayerId, through: SessionId) {
        if let Some(shard) = self.shard(mix(player.0)) {
            shard.write().players.insert((game, player), through);
        }
    }

    /// Forgets the record of a player.
    pub fn drop_player(&self, game: GameId, player: PlayerId) {
        if let Some(shard) = self.shard(mix(player.0)) {
            shard.write().players.remove(&(game, player));
        }
    }

    /// How many records are held: sessions, accounts and players together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(RwLock::read)
            .map(|shard| shard.sessions.len() + shard.accounts.len() + shard.players.len())
            .sum()
    }

    /// Whether no record is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held by the tables of records, for the memory budget.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.shards
            .iter()
            .map(RwLock::read)
            .map(|shard| {
                shard.sessions.allocation_size() + shard.accounts.allocation_size() + shard.players.allocation_size()
            })
            .sum()
    }

    fn of_session(&self, session: SessionId) -> Option<Revocation> {
        let hash = mix(session.0);
        let shard = self.shard(hash)?.read();
        let entry = shard.sessions.find(hash, |entry| id_of(*entry) == session.0)?;
        Some(if entry & REPLACED_BIT == 0 {
            Revocation::Revoked
        } else {
            Revocation::Replaced
        })
    }

    fn account_covers(&self, account: AccountId, session: SessionId) -> bool {
        let hash = mix(account.0);
        let Some(shard) = self.shard(hash) else { return false };
        let shard = shard.read();
        shard
            .accounts
            .find(hash, |entry| entry.0 == account.0)
            .is_some_and(|entry| session.0 <= entry.1 && session.0 != entry.2)
    }

    fn through_player(&self, game: GameId, player: PlayerId) -> Option<SessionId> {
        self.shard(mix(player.0))?.read().players.get(&(game, player)).copied()
    }

    fn shard(&self, hash: u64) -> Option<&RwLock<Shard>> {
        // The table inside a shard uses the low bits and the top seven; the shard takes bits from the middle.
        self.shards.get((hash >> 40) as usize % SHARDS)
    }
}

fn id_of(entry: u64) -> u64 {
    entry & !REPLACED_BIT
}

fn shrink(table: &mut HashTable<u64>) {
    // Give memory back after a sweep, with enough slack that no burst makes the table swing.
    if table.capacity() > 4096 && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, |entry| mix(id_of(*entry)));
    }
}

/// A bijective mixer (the finaliser of a 64-bit multiply-xorshift hash). Ids are ours, so nobody can aim collisions.
fn mix(id: u64) -> u64 {
    let mut x = id;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests;
