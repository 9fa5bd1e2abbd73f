//! The rules of the business. [`Platform`] holds the store and the ports (clock, entropy, password hasher) and
//! offers one async verb per operation; the verb is called as the operation is named: `session.create` is
//! [`Platform::session_create`]. This crate knows no runtime, no engine, no file and no network.

pub mod abuse;
pub mod account;
pub mod auth_log;
pub mod call;
mod catalogue;
pub mod challenge;
pub mod codes;
mod credential;
pub mod credential_cache;
mod deletion;
mod device;
pub mod error;
pub mod game;
pub mod idempotency;
pub mod identity;
pub mod ids;
pub mod import;
pub mod key;
mod known;
mod mirrors;
mod nonce;
mod normalise;
pub mod password;
mod platform;
pub mod ports;
pub mod proof;
pub mod recipe;
mod restriction;
pub mod revocation;
mod seen;
pub mod session;
mod start;
pub mod sweep;
pub mod tables;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod token;
pub mod verify;
pub mod waiting_room;

pub use abuse::AbuseOptions;
pub use call::{Call, Caller, ClientAddress, Idempotency, LearntFrom};
pub use credential_cache::{CREDENTIAL_CACHE_ENTRY_BYTES, CredentialCacheOptions};
pub use deletion::DeletionList;
pub use error::{Code, Error, Kind, Param};
pub use ids::{AccountId, GameId, KeyId, PackageId, PlayerId, RealmId, SessionId, UnixMs};
pub use mirrors::Mirrors;
pub use password::HashCost;
pub use platform::{Counters, Platform, PlatformOptions};
