//! Identifiers. Each kind is its own type; on the wire all are decimal strings below 2^53, so that a client in any
//! language can hold them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One more than the largest identifier: what a JavaScript number holds exactly.
pub const ID_LIMIT: u64 = 1 << 53;

/// Unix time in milliseconds.
pub type UnixMs = u64;

/// The text was no decimal number from 1 below 2^53 (or below 2^32 for the small kinds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal id from 1 below {limit}")]
pub struct IdError {
    limit: u64,
}

fn parse(text: &str, limit: u64) -> Result<u64, IdError> {
    let plain =
        !text.is_empty() && text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    match text.parse::<u64>() {
        Ok(number) if plain && number < limit => Ok(number),
        _ => Err(IdError { limit }),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $limit:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let number = parse(text, $limit)?;
                <$inner>::try_from(number).map(Self).map_err(|_| IdError { limit: $limit })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(&self.0) } else { self.0.serialize(to) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    std::borrow::Cow::<'de, str>::deserialize(from)?.parse().map_err(serde::de::Error::custom)
                } else {
                    <$inner>::deserialize(from).map(Self)
                }
            }
        }
    };
}

id!(
    /// A pool of accounts; names are unique within it.
    RealmId, u32, u64::from(u32::MAX)
);
id!(
    /// A game: one product with its own players, server keys and settings.
    GameId, u32, u64::from(u32::MAX)
);
id!(
    /// One distributed build of a game (channel, agent, site, platform).
    PackageId, u32, u64::from(u32::MAX)
);
id!(
    /// A game server's signing key; names the games it may act for.
    KeyId, u32, u64::from(u32::MAX)
);
id!(
    /// A person's account in a realm.
    AccountId, u64, ID_LIMIT
);
id!(
    /// What game servers store for ever: an account's character slot in a game. Unique within a game.
    PlayerId, u64, ID_LIMIT
);
id!(
    /// One login; rises with every session created, so that "all sessions up to N" is an order, not a time.
    SessionId, u64, ID_LIMIT
);

seawall_storage::key_newtype!(
    RealmId(u32),
    GameId(u32),
    PackageId(u32),
    KeyId(u32),
    AccountId(u64),
    PlayerId(u64),
    SessionId(u64)
);

#[cfg(test)]
mod tests;
