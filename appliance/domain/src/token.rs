//! Access and refresh tokens: fixed binary layouts under a MAC, printed as base64url.
//!
//! A token is a pure function of its [`Claims`] and the MAC key: it is recomputed whenever it must be shown again and
//! never stored. Layout, all numbers big-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | layout version, 1 |
//! | 1 | 1 | kind: 1 access, 2 refresh |
//! | 2 | 2 | MAC key id |
//! | 4 | 4 | game |
//! | 8 | 4 | package |
//! | 12 | 8 | account |
//! | 20 | 8 | player |
//! | 28 | 8 | session |
//! | 36 | 8 | issued at, Unix ms |
//! | 44 | 8 | expires at, Unix ms |
//! | 52 | 4 | refresh only: generation |
//! | 52 or 56 | 16 | MAC: keyed BLAKE3 of all bytes before it, first 128 bits |

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ids::{AccountId, GameId, PackageId, PlayerId, SessionId, UnixMs};

/// Prefix of access tokens.
pub const ACCESS_PREFIX: &str = "sw1.";
/// Prefix of refresh tokens.
pub const REFRESH_PREFIX: &str = "sr1.";
/// Bytes of the MAC: 128 bits.
pub const MAC_BYTES: usize = 16;

const VERSION: u8 = 1;
const KIND_ACCESS: u8 = 1;
const KIND_REFRESH: u8 = 2;
const COMMON_BYTES: usize = 52;
const ACCESS_BYTES: usize = COMMON_BYTES + MAC_BYTES;
const REFRESH_BYTES: usize = COMMON_BYTES + 4 + MAC_BYTES;

/// What a token says; true once its MAC was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// MAC key that signed it.
    pub mac_key_id: u16,
    /// Game.
    pub game_id: GameId,
    /// Package of the login.
    pub package_id: PackageId,
    /// Account.
    pub account_id: AccountId,
    /// Player.
    pub player_id: PlayerId,
    /// Session.
    pub session_id: SessionId,
    /// Login or last refresh.
    pub issued_at: UnixMs,
    /// First instant at which the token is no longer good.
    pub expires_at: UnixMs,
}

/// Why a text is not a token of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeFailure {
    /// Prefix, length, alphabet, layout version or kind is wrong.
    Malformed,
    /// Right shape, but no key of ours made this MAC.
    Forged,
}

/// The MAC keys, newest last. Keys stay for as long as a token may live that they signed; a ring is immutable and
/// replaced as a whole. Debug output shows ids only.
#[derive(Clone, Default)]
pub struct MacRing {
    keys: BTreeMap<u16, Arc<Zeroizing<[u8; 32]>>>,
}

impl std::fmt::Debug for MacRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.keys()).finish()
    }
}

impl MacRing {
    /// The ring with one more key.
    #[must_use]
    pub fn with(&self, id: u16, key: [u8; 32]) -> Self {
        let mut keys = self.keys.clone();
        keys.insert(id, Arc::new(Zeroizing::new(key)));
        Self { keys }
    }

    /// Id of the key that signs new tokens; `None` before the first start finished.
    #[must_use]
    pub fn newest(&self) -> Option<u16> {
        self.keys.keys().next_back().copied()
    }

    fn mac(&self, id: u16, bytes: &[u8]) -> Option<[u8; MAC_BYTES]> {
        let key = self.keys.get(&id)?;
        let full = blake3::keyed_hash(key, bytes);
        full.as_bytes().first_chunk::<MAC_BYTES>().copied()
    }

    /// Prints an access token. `None` when the ring lacks the key named in the claims.
    #[must_use]
    pub fn access_token(&self, claims: &Claims) -> Option<String> {
        self.print(ACCESS_PREFIX, KIND_ACCESS, claims, None)
    }

    /// Prints a refresh token of `generation`. `None` when the ring lacks the key named in the claims.
    #[must_use]
    pub fn refresh_token(&self, claims: &Claims, generation: u32) -> Option<String> {
        self.print(REFRESH_PREFIX, KIND_REFRESH, claims, Some(generation))
    }

    fn print(&self, prefix: &str, kind: u8, claims: &Claims, generation: Option<u32>) -> Option<String> {
        let mut bytes = Vec::with_capacity(REFRESH_BYTES);
        bytes.extend_from_slice(&[VERSION, kind]);
        bytes.extend_from_slice(&claims.mac_key_id.to_be_bytes());
        bytes.extend_from_slice(&claims.game_id.0.to_be_bytes());
        bytes.extend_from_slice(&claims.package_id.0.to_be_bytes());
        for number in [
            claims.account_id.0,
            claims.player_id.0,
            claims.session_id.0,
            claims.issued_at,
            claims.expires_at,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        if let Some(generation) = generation {
            bytes.extend_from_slice(&generation.to_be_bytes());
        }
        let mac = self.mac(claims.mac_key_id, &bytes)?;
        bytes.extend_from_slice(&mac);
        let mut text = String::with_capacity(prefix.len() + REFRESH_BYTES * 4 / 3);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
        Some(text)
    }

    /// Reads an access token and checks its MAC in constant time. The decoding is strict: one token, one text.
    pub fn read_access(&self, text: &str) -> Result<Claims, DecodeFailure> {
        let bytes: [u8; ACCESS_BYTES] = decode(text, ACCESS_PREFIX)?;
        self.check(&bytes, KIND_ACCESS)
    }

    /// Reads a refresh token and its generation likewise.
    pub fn read_refresh(&self, text: &str) -> Result<(Claims, u32), DecodeFailure> {
        let bytes: [u8; REFRESH_BYTES] = decode(text, REFRESH_PREFIX)?;
        let claims = self.check(&bytes, KIND_REFRESH)?;
        let mut rest = Reader(bytes.get(COMMON_BYTES..).unwrap_or_default());
        Ok((claims, rest.u32()))
    }

    fn check(&self, bytes: &[u8], kind: u8) -> Result<Claims, DecodeFailure> {
        let (signed, mac) = bytes
            .split_at_checked(bytes.len().saturating_sub(MAC_BYTES))
            .ok_or(DecodeFailure::Malformed)?;
        let mut fields = Reader(signed);
        if fields.u8() != VERSION || fields.u8() != kind {
            return Err(DecodeFailure::Malformed);
        }
        let claims = Claims {
            mac_key_id: fields.u16(),
            game_id: GameId(fields.u32()),
            package_id: PackageId(fields.u32()),
            account_id: AccountId(fields.u64()),
            player_id: PlayerId(fields.u64()),
            session_id: SessionId(fields.u64()),
            issued_at: fields.u64(),
            expires_at: fields.u64(),
        };
        let ours = self.mac(claims.mac_key_id, signed).ok_or(DecodeFailure::Forged)?;
        if bool::from(ours.ct_eq(mac)) {
            Ok(claims)
        } else {
            Err(DecodeFailure::Forged)
        }
    }
}

/// Game and account a token names, unproven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claimed {
    /// Game.
    pub game_id: GameId,
    /// Account.
    pub account_id: AccountId,
}

/// What an access or refresh token says of itself, without a look at its MAC: a hint for ordering callers, never a
/// proof of who calls.
#[must_use]
pub fn claimed(text: &str) -> Option<Claimed> {
    /// The head of the layout up to the account, in whole groups of the alphabet.
    const HEAD_BYTES: usize = 21;
    let body = text
        .strip_prefix(ACCESS_PREFIX)
        .or_else(|| text.strip_prefix(REFRESH_PREFIX))?;
    let mut bytes = [0; HEAD_BYTES];
    let length = URL_SAFE_NO_PAD
        .decode_slice(body.get(..HEAD_BYTES / 3 * 4)?, &mut bytes)
        .ok()?;
    let mut fields = Reader(&bytes);
    let (version, _kind, _key) = (fields.u8(), fields.u8(), fields.u16());
    let (game_id, _package, account_id) = (GameId(fields.u32()), fields.u32(), AccountId(fields.u64()));
    (length == HEAD_BYTES && version == VERSION).then_some(Claimed { game_id, account_id })
}

fn decode<const N: usize>(text: &str, prefix: &str) -> Result<[u8; N], DecodeFailure> {
    let body = text.strip_prefix(prefix).ok_or(DecodeFailure::Malformed)?;
    let mut bytes = [0; N];
    if body.len() != N.div_ceil(3) * 4 - (3 - N % 3) % 3 {
        return Err(DecodeFailure::Malformed);
    }
    match URL_SAFE_NO_PAD.decode_slice(body, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(DecodeFailure::Malformed),
    }
}

/// Takes big-endian numbers off the front; reads zeros past the end, which the fixed lengths above rule out.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.0 = tail;
                *head
            }
            None => [0; N],
        }
    }
    fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.take())
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }
    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}

#[cfg(test)]
mod tests;
