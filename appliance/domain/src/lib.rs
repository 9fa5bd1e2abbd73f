//! The rules of the business. [`Platform`] holds the store and the ports (clock, entropy, password hasher) and
//! offers one async verb per operation; the verb is called as the operation is named: `session.create` is
//! [`Platform::session_create`]. This crate knows no runtime, no engine, no file and no network.

pub mod account;
pub mod auth_log;
pub mod call;
pub mod codes;
pub mod error;
pub mod game;
pub mod identity;
pub mod ids;
pub mod import;
pub mod key;
mod normalise;
pub mod password;
pub mod ports;
pub mod proof;
pub mod recipe;
pub mod revocation;
pub mod session;
pub mod token;
pub mod verify;

pub use call::{Call, Caller, ClientAddress, Idempotency, LearntFrom};
pub use error::{Code, Error, Kind, Param};
pub use ids::{AccountId, GameId, KeyId, PackageId, PlayerId, RealmId, SessionId, UnixMs};

/// The platform: every operation of the product is a method of this type. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    // filled by the author of this crate
}
