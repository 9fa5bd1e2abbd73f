//! Every table of the business, in one list. Numbers are persisted and never reused: the next free ones are 36 for
//! tables and 111 for indexes. The declarations stand beside their records, by noun.

use seawall_storage::TableDef;

pub mod account;
pub mod catalogue;
pub mod restriction;
pub mod samples;
pub mod session;
pub mod takeover;

/// All tables, to be handed to the store when it is opened.
pub static TABLES: &[&TableDef] = &[
    &catalogue::REALMS.def,
    &catalogue::GAMES.def,
    &catalogue::PACKAGES.def,
    &catalogue::KEYS.def,
    &catalogue::MAC_KEYS.def,
    &account::ACCOUNTS.def,
    &account::IDENTITIES.def,
    &account::CREDENTIALS.def,
    &account::CREDENTIAL_CHANGES.def,
    &account::PLAYERS.def,
    &account::DEVICES.def,
    &session::SESSIONS.def,
    &session::SESSION_REVOCATIONS.def,
    &session::ACCOUNT_REVOCATIONS.def,
    &session::PLAYER_REVOCATIONS.def,
    &session::IDEMPOTENCY.def,
    &session::ACCOUNT_DELETIONS.def,
    &restriction::RESTRICTIONS.def,
    &takeover::IMPORTS.def,
    &takeover::IMPORTED_UIDS.def,
];

/// Hours since 1970, rounded up, in which `at` has certainly passed. Rows that end are indexed by it: coarse enough
/// that a refresh seldom moves the entry, fine enough for a sweep.
pub(crate) fn end_hour(at: u64) -> u32 {
    u32::try_from(at / 3_600_000 + 1).unwrap_or(u32::MAX)
}

/// The leading fields of a stored record of version 1, without decoding the rest: indexes are derived for every write,
/// and most need two numbers of a row.
pub(crate) fn leading<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, seawall_storage::CodecError> {
    match value.split_first() {
        Some((1, body)) => postcard::take_from_bytes(body)
            .map(|(head, _)| head)
            .map_err(|_| seawall_storage::CodecError::Invalid("leading fields of a record")),
        Some((version, _)) => Err(seawall_storage::CodecError::Version { version: *version }),
        None => Err(seawall_storage::CodecError::Short { needed: 1, got: 0 }),
    }
}

#[cfg(test)]
mod tests;
