//! Server keys: what game servers sign with, and the check of a signed call.

use crate::ids::{GameId, KeyId, UnixMs};

mod authenticate;
mod life;
#[cfg(test)]
mod tests;

/// Allowed difference between a call's timestamp and our clock, in seconds.
pub const SIGNATURE_SKEW_S: u64 = 300;

/// A signed call as received.
#[derive(Debug, Clone)]
pub struct SignedRequest<'a> {
    /// `Seawall-Key-Id`.
    pub key_id: &'a str,
    /// `Seawall-Timestamp`, Unix seconds.
    pub timestamp: &'a str,
    /// `Seawall-Nonce`, 8-64 visible ASCII characters.
    pub nonce: &'a str,
    /// `Seawall-Signature`, 64 lower-case hex digits.
    pub signature: &'a str,
    /// `POST`.
    pub method: &'a str,
    /// Path with query as the client sent it, with the listener's public prefix.
    pub path_and_query: &'a str,
    /// SHA-256 of the body's bytes.
    pub body_sha256: [u8; 32],
    /// Nonces are remembered only for calls that change something.
    pub changes_something: bool,
}

/// A server key as shown; never holds a secret.
#[derive(Debug, Clone, serde::Serialize)]
pub struct KeyView {
    /// Its id.
    pub key_id: KeyId,
    /// What it is for.
    pub name: String,
    /// Games it may act for.
    pub games: Vec<GameId>,
    /// Creation.
    pub created_at: UnixMs,
    /// Creation of the newest secret.
    pub rotated_at: UnixMs,
    /// When the previous secret stops working; absent when there is only one.
    pub previous_until_at: Option<UnixMs>,
    /// Set when the key is revoked.
    pub revoked_at: Option<UnixMs>,
}

/// A fresh secret, shown once.
#[derive(Clone)]
pub struct KeySecret {
    /// The key.
    pub key: KeyView,
    /// `sws_` and 43 characters; its UTF-8 bytes are the HMAC key.
    pub secret: String,
}

impl std::fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySecret")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
