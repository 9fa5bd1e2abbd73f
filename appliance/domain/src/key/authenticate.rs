//! The check of a signed call, from memory.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{SIGNATURE_SKEW_S, SignedRequest};
use crate::Caller;
use crate::catalogue::ServerKey;
use crate::codes::{SIGNATURE_INVALID, SIGNATURE_KEY_UNKNOWN, SIGNATURE_MISSING, SIGNATURE_SKEWED};
use crate::error::Error;
use crate::ids::{KeyId, UnixMs};
use crate::platform::{Platform, defect};

impl Platform {
    /// Checks a signed call (HMAC-SHA256 over five lines) and answers who called. From memory, but for the nonce of
    /// a call that changes something (remembered in memory too, bounded, for twice the skew).
    ///
    /// # Errors
    /// `signature.*`, or `overload.busy` when too many nonces are remembered.
    pub fn key_authenticate(&self, request: &SignedRequest<'_>) -> Result<Caller, Error> {
        let now_at = self.now_at();
        let missing = |header: &str| {
            SIGNATURE_MISSING
                .because(format!("{header} is missing or malformed."))
                .with("header", header)
        };
        let timestamp_s = timestamp(request.timestamp).ok_or_else(|| missing("Seawall-Timestamp"))?;
        let claimed = parse_hex(request.signature).ok_or_else(|| missing("Seawall-Signature"))?;
        if !(8..=64).contains(&request.nonce.len()) || !request.nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(missing("Seawall-Nonce"));
        }
        let key_id: KeyId = request.key_id.parse().map_err(|_| missing("Seawall-Key-Id"))?;
        let catalogue = self.catalogue();
        let key = catalogue
            .keys
            .get(&key_id)
            .filter(|key| key.row.revoked_at.is_none())
            .ok_or_else(|| SIGNATURE_KEY_UNKNOWN.error())?;
        if timestamp_s.abs_diff(now_at / 1000) > SIGNATURE_SKEW_S {
            return Err(SIGNATURE_SKEWED.error().with_number("server_time_at", now_at));
        }
        if !signed_by(key, &string_to_sign(request), &claimed, now_at)? {
            return Err(SIGNATURE_INVALID.error());
        }
        if request.changes_something {
            self.inner.nonces.remember(key_id, request.nonce, now_at)?;
        }
        Ok(Caller::Server {
            key_id,
            games: key.games.clone(),
        })
    }
}

fn timestamp(text: &str) -> Option<u64> {
    (text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Lower-case hex of 32 bytes, exactly.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Method, path with query, timestamp, nonce, hash of the body: joined by single line feeds, none at the end.
pub(super) fn string_to_sign(request: &SignedRequest<'_>) -> String {
    let SignedRequest {
        timestamp,
        nonce,
        method,
        path_and_query,
        body_sha256,
        ..
    } = request;
    let mut text = format!("{method}\n{path_and_query}\n{timestamp}\n{nonce}\n");
    for byte in body_sha256 {
        text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or_default());
        text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or_default());
    }
    text
}

/// Whether one of the key's live secrets signed the text; compared in constant time.
fn signed_by(key: &ServerKey, text: &str, claimed: &[u8; 32], now_at: UnixMs) -> Result<bool, Error> {
    let previous = key
        .row
        .previous_secret
        .as_deref()
        .filter(|_| now_at < key.row.previous_until_at);
    for secret in [Some(key.row.secret.as_str()), previous].into_iter().flatten() {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|_| defect("A secret has an impossible length"))?;
        if mac.chain_update(text).verify_slice(claimed).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
