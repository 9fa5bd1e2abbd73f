//! Restrictions in memory: which of them forbid an action to somebody right now. Verify and logins ask here; the
//! store's observers keep it, before the reply of the restricting call is released.

mod range;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::account::{Action, RestrictionView, Subject};
use crate::codes::ACCOUNT_RESTRICTED;
use crate::error::Error;
use crate::ids::{AccountId, GameId, PlayerId, UnixMs};
use crate::tables::restriction::{RestrictionRow, SubjectRow};

pub(crate) use range::{parse_range, print_range};

/// A restriction with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: u64,
    pub(crate) row: RestrictionRow,
}

impl Held {
    /// Whether it holds in a game at an instant.
    pub(crate) fn in_force(&self, game: GameId, now_at: UnixMs) -> bool {
        self.row.from_at <= now_at
            && self.row.until_at.is_none_or(|until| now_at < until)
            && self.row.game_id.is_none_or(|scope| scope == game)
    }

    /// What is shown of it.
    pub(crate) fn view(&self) -> RestrictionView {
        view(self.id, &self.row)
    }

    /// The refusal it stands for.
    pub(crate) fn refusal(&self) -> Error {
        let row = &self.row;
        let mut error = ACCOUNT_RESTRICTED
            .because(row.message.clone().unwrap_or_else(|| ACCOUNT_RESTRICTED.doc.to_owned()))
            .with("reason", row.reason.clone());
        if let Some(until_at) = row.until_at {
            error = error.with_number("until_at", until_at);
        }
        if let Some(ticket) = &row.ticket {
            error = error.with("ticket", ticket.clone());
        }
        error
    }
}

/// What is shown of a restriction.
pub(crate) fn view(id: u64, row: &RestrictionRow) -> RestrictionView {
    let subject = match &row.subject {
        SubjectRow::Account(account_id) => Subject::Account {
            account_id: *account_id,
        },
        SubjectRow::Player(game_id, player_id) => Subject::Player {
            game_id: *game_id,
            player_id: *player_id,
        },
        SubjectRow::Device(device_id) => Subject::Device {
            device_id: device_id.clone(),
        },
        SubjectRow::IpRange(first, bits) => Subject::IpRange {
            range: print_range(*first, *bits),
        },
    };
    RestrictionView {
        restriction_id: id,
        subject,
        action: row.action,
        game_id: row.game_id,
        from_at: row.from_at,
        until_at: row.until_at,
        reason: row.reason.clone(),
        message: row.message.clone(),
        ticket: row.ticket.clone(),
    }
}

const SHARDS: usize = 32;

/// Restrictions by what they are on.
type BySubject<K> = RwLock<HashMap<K, Vec<Arc<Held>>>>;

/// Restrictions of one kind of subject, by subject, in shards.
struct Shelf<K> {
    shards: Vec<BySubject<K>>,
}

impl<K: Hash + Eq + Clone> Default for Shelf<K> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }
}

impl<K: Hash + Eq + Clone> Shelf<K> {
    fn shard(&self, key: &K) -> Option<&BySubject<K>> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        self.shards.get(hash as usize % SHARDS)
    }

    fn put(&self, key: &K, held: Arc<Held>) {
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.write();
        let list = shard.entry(key.clone()).or_default();
        list.retain(|old| old.id != held.id);
        list.push(held);
    }

    fn visit(&self, key: &K, visit: &mut dyn FnMut(&Arc<Held>)) {
        if let Some(shard) = self.shard(key) {
            shard.read().get(key).into_iter().flatten().for_each(visit);
        }
    }

    fn retain(&self, keep: &dyn Fn(&Held) -> bool) {
        for shard in &self.shards {
            shard.write().retain(|_, list| {
                list.retain(|held| keep(held));
                !list.is_empty()
            });
        }
    }

    fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().values().map(Vec::len).sum::<usize>())
            .sum()
    }
}

/// Whom an action is checked for; what is unknown is not checked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Who<'a> {
    pub(crate) account: Option<AccountId>,
    pub(crate) player: Option<(GameId, PlayerId)>,
    pub(crate) device: Option<&'a str>,
    pub(crate) ip: Option<IpAddr>,
}

/// The mirror of all restrictions that have not ended.
#[derive(Default)]
pub(crate) struct RestrictionMirror {
    accounts: Shelf<AccountId>,
    players: Shelf<(GameId, PlayerId)>,
    devices: Shelf<String>,
    ranges: range::Ranges,
}

impl RestrictionMirror {
    /// Takes a restriction in or changes it. The subject of an id never changes.
    pub(crate) fn put(&self, id: u64, row: &RestrictionRow) {
        let held = Arc::new(Held { id, row: row.clone() });
        match &row.subject {
            SubjectRow::Account(account) => self.accounts.put(account, held),
            SubjectRow::Player(game, player) => self.players.put(&(*game, *player), held),
            SubjectRow::Device(device) => self.devices.put(device, held),
            SubjectRow::IpRange(first, bits) => self.ranges.put(*first, *bits, held),
        }
    }

    /// Forgets a restriction whose row is gone (an erasure); rare, so it looks everywhere.
    pub(crate) fn forget(&self, id: u64) {
        self.accounts.retain(&|held| held.id != id);
        self.players.retain(&|held| held.id != id);
        self.devices.retain(&|held| held.id != id);
        self.ranges.retain(&|held| held.id != id);
    }

    /// The restriction in force that forbids `action` in `game` for the longest time.
    pub(crate) fn forbids(&self, who: Who<'_>, action: Action, game: GameId, now_at: UnixMs) -> Option<Arc<Held>> {
        let mut longest: Option<Arc<Held>> = None;
        self.visit(who, &mut |held| {
            let end = |held: &Held| held.row.until_at.unwrap_or(UnixMs::MAX);
            if held.row.action == action
                && held.in_force(game, now_at)
                && longest.as_ref().is_none_or(|old| end(old) < end(held))
            {
                longest = Some(Arc::clone(held));
            }
        });
        longest
    }

    /// Restrictions in force that do not forbid login or registration: for the game server to enforce.
    pub(crate) fn to_enforce(&self, who: Who<'_>, game: GameId, now_at: UnixMs) -> Vec<RestrictionView> {
        let mut views = Vec::new();
        self.visit(who, &mut |held| {
            if !matches!(held.row.action, Action::Login | Action::Register) && held.in_force(game, now_at) {
                views.push(held.view());
            }
        });
        views
    }

    /// Everything in force for somebody in a game.
    pub(crate) fn in_force(&self, who: Who<'_>, game: GameId, now_at: UnixMs) -> Vec<RestrictionView> {
        let mut views = Vec::new();
        self.visit(who, &mut |held| {
            if held.in_force(game, now_at) {
                views.push(held.view());
            }
        });
        views
    }

    /// Drops what has ended.
    pub(crate) fn prune(&self, now_at: UnixMs) {
        let lasts = |held: &Held| held.row.until_at.is_none_or(|until| now_at < until);
        self.accounts.retain(&lasts);
        self.players.retain(&lasts);
        self.devices.retain(&lasts);
        self.ranges.retain(&lasts);
    }

    /// How many are held.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len() + self.players.len() + self.devices.len() + self.ranges.len()
    }

    fn visit(&self, who: Who<'_>, visit: &mut dyn FnMut(&Arc<Held>)) {
        if let Some(account) = who.account {
            self.accounts.visit(&account, visit);
        }
        if let Some(player) = who.player {
            self.players.visit(&player, visit);
        }
        if let Some(device) = who.device {
            self.devices.visit(&device.to_owned(), visit);
        }
        if let Some(ip) = who.ip {
            self.ranges.visit(ip, visit);
        }
    }
}

#[cfg(test)]
mod tests;
