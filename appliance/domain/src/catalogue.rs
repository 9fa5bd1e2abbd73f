//! Realms, games, packages, server keys and MAC keys as one immutable snapshot in memory. The store's observers
//! replace it whenever one of their rows changes, before the reply of the change is released.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codes::{GAME_UNKNOWN, PACKAGE_UNKNOWN, REALM_UNKNOWN};
use crate::error::Error;
use crate::ids::{GameId, KeyId, PackageId, RealmId};
use crate::tables::catalogue::{GameRow, KeyRow, MacKeyRow, PackageRow, RealmRow};
use crate::token::MacRing;

/// The snapshot. Cloning copies pointers only.
#[derive(Clone, Default)]
pub(crate) struct Catalogue {
    pub(crate) realms: BTreeMap<RealmId, Arc<RealmRow>>,
    pub(crate) games: BTreeMap<GameId, Arc<GameRow>>,
    pub(crate) packages: BTreeMap<PackageId, Arc<PackageRow>>,
    pub(crate) keys: BTreeMap<KeyId, Arc<ServerKey>>,
    pub(crate) mac_ring: MacRing,
    origins: BTreeSet<String>,
}

/// A server key with its games as callers share them.
pub(crate) struct ServerKey {
    pub(crate) row: KeyRow,
    pub(crate) games: Arc<[GameId]>,
}

impl Catalogue {
    pub(crate) fn realm(&self, id: RealmId) -> Result<&Arc<RealmRow>, Error> {
        self.realms.get(&id).ok_or_else(|| REALM_UNKNOWN.error())
    }

    pub(crate) fn game(&self, id: GameId) -> Result<&Arc<GameRow>, Error> {
        self.games.get(&id).ok_or_else(|| GAME_UNKNOWN.error())
    }

    /// A package of this game; another game's is as unknown as none.
    pub(crate) fn package(&self, game: GameId, id: PackageId) -> Result<&Arc<PackageRow>, Error> {
        self.packages
            .get(&id)
            .filter(|package| package.game_id == game)
            .ok_or_else(|| PACKAGE_UNKNOWN.error())
    }

    pub(crate) fn origin_allowed(&self, origin: &str) -> bool {
        self.origins.contains("*") || self.origins.contains(origin)
    }

    pub(crate) fn set_realm(&mut self, id: RealmId, row: Option<&RealmRow>) {
        set(&mut self.realms, id, row.cloned());
    }

    pub(crate) fn set_game(&mut self, id: GameId, row: Option<&GameRow>) {
        set(&mut self.games, id, row.cloned());
        self.origins = self
            .games
            .values()
            .flat_map(|game| game.settings.cors_origins.iter().cloned())
            .collect();
    }

    pub(crate) fn set_package(&mut self, id: PackageId, row: Option<&PackageRow>) {
        set(&mut self.packages, id, row.cloned());
    }

    pub(crate) fn set_key(&mut self, id: KeyId, row: Option<&KeyRow>) {
        set(
            &mut self.keys,
            id,
            row.map(|row| ServerKey {
                games: row.games.clone().into(),
                row: row.clone(),
            }),
        );
    }

    pub(crate) fn set_mac_key(&mut self, id: u16, row: Option<&MacKeyRow>) {
        if let Some(row) = row {
            self.mac_ring = self.mac_ring.with(id, row.key);
        }
    }
}

fn set<K: Ord, V>(map: &mut BTreeMap<K, Arc<V>>, key: K, value: Option<V>) {
    match value {
        Some(value) => map.insert(key, Arc::new(value)),
        None => map.remove(&key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::game::GameSettings;

    fn game(origins: &[&str]) -> GameRow {
        let settings = GameSettings {
            cors_origins: origins.iter().map(|o| (*o).to_owned()).collect(),
            ..GameSettings::default()
        };
        GameRow {
            realm_id: RealmId(1),
            name: "g".into(),
            settings,
            created_at: 1,
        }
    }

    #[test]
    fn origins_are_those_of_any_game_and_go_with_it() {
        let mut catalogue = Catalogue::default();
        assert!(!catalogue.origin_allowed("https://a.example"));
        catalogue.set_game(GameId(1), Some(&game(&["https://a.example"])));
        catalogue.set_game(GameId(2), Some(&game(&["https://b.example"])));
        assert!(catalogue.origin_allowed("https://a.example") && catalogue.origin_allowed("https://b.example"));
        assert!(!catalogue.origin_allowed("https://a.example.evil"));
        catalogue.set_game(GameId(1), Some(&game(&[])));
        assert!(!catalogue.origin_allowed("https://a.example"));
        catalogue.set_game(GameId(2), Some(&game(&["*"])));
        assert!(catalogue.origin_allowed("https://anything.example"));
        catalogue.set_game(GameId(2), None);
        assert!(!catalogue.origin_allowed("https://anything.example"));
    }

    #[test]
    fn a_package_of_another_game_is_unknown() {
        let mut catalogue = Catalogue::default();
        let row = crate::tables::samples::package();
        catalogue.set_package(PackageId(5), Some(&row));
        assert!(catalogue.package(row.game_id, PackageId(5)).is_ok());
        assert_eq!(
            catalogue.package(GameId(999), PackageId(5)).err().map(|e| e.code),
            Some(PACKAGE_UNKNOWN)
        );
        assert_eq!(catalogue.game(GameId(1)).err().map(|e| e.code), Some(GAME_UNKNOWN));
        assert_eq!(catalogue.realm(RealmId(1)).err().map(|e| e.code), Some(REALM_UNKNOWN));
    }

    #[test]
    fn a_mac_key_is_added_and_never_taken_away() {
        let mut catalogue = Catalogue::default();
        catalogue.set_mac_key(
            1,
            Some(&MacKeyRow {
                key: [1; 32],
                created_at: 1,
            }),
        );
        catalogue.set_mac_key(1, None);
        assert_eq!(catalogue.mac_ring.newest(), Some(1));
    }
}
