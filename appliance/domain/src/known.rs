//! Is there such a game or key? Asked of memory, for every request and before anything of it is proven.

use crate::ids::{GameId, KeyId};
use crate::platform::Platform;

impl Platform {
    /// Is it a game of this platform, whatever its status?
    #[must_use]
    pub fn game_is_known(&self, game_id: GameId) -> bool {
        self.catalogue().games.contains_key(&game_id)
    }

    /// Is it a server key of this platform, revoked or not?
    #[must_use]
    pub fn key_is_known(&self, key_id: KeyId) -> bool {
        self.catalogue().keys.contains_key(&key_id)
    }
}
