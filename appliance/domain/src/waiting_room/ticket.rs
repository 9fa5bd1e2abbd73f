//! What a waiting ticket says, and its text: the claims under a MAC, so that they come back as they were given out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use seawall_storage::Secret32;
use subtle::ConstantTimeEq;

use crate::ids::{GameId, UnixMs};

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;
const SIGNED_BYTES: usize = 1 + 4 + 16 + 8 + 4 + 8;
const TICKET_BYTES: usize = SIGNED_BYTES + MAC_BYTES;

/// What a ticket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) game: GameId,
    pub(super) subject: [u8; 16],
    pub(super) arrived_at: UnixMs,
    /// How many of the same second came before.
    pub(super) rank: u32,
    /// Start of the rooms that counted the arrival.
    pub(super) counted_by_at: UnixMs,
}

/// The ticket of some claims, base64url.
pub(super) fn print(key: &Secret32, claims: &Claims) -> String {
    let mut bytes = Vec::with_capacity(TICKET_BYTES);
    bytes.push(VERSION);
    bytes.extend_from_slice(&claims.game.0.to_be_bytes());
    bytes.extend_from_slice(&claims.subject);
    bytes.extend_from_slice(&claims.arrived_at.to_be_bytes());
    bytes.extend_from_slice(&claims.rank.to_be_bytes());
    bytes.extend_from_slice(&claims.counted_by_at.to_be_bytes());
    let mac = mac(key, &bytes);
    bytes.extend_from_slice(&mac);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The claims of a ticket of ours; `None` for any other text.
pub(super) fn read(key: &Secret32, text: &str) -> Option<Claims> {
    let mut bytes = [0; TICKET_BYTES];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    let (signed, told) = bytes.split_first_chunk::<SIGNED_BYTES>()?;
    if length != TICKET_BYTES || !bool::from(mac(key, signed).ct_eq(told)) {
        return None;
    }
    let (version, rest) = signed.split_first()?;
    let (game, rest) = rest.split_first_chunk::<4>()?;
    let (subject, rest) = rest.split_first_chunk::<16>()?;
    let (arrived_at, rest) = rest.split_first_chunk::<8>()?;
    let (rank, rest) = rest.split_first_chunk::<4>()?;
    let (counted_by_at, _) = rest.split_first_chunk::<8>()?;
    (*version == VERSION).then_some(Claims {
        game: GameId(u32::from_be_bytes(*game)),
        subject: *subject,
        arrived_at: u64::from_be_bytes(*arrived_at),
        rank: u32::from_be_bytes(*rank),
        counted_by_at: u64::from_be_bytes(*counted_by_at),
    })
}

fn mac(key: &Secret32, bytes: &[u8]) -> [u8; MAC_BYTES] {
    let full = blake3::keyed_hash(key.expose(), bytes);
    full.as_bytes().first_chunk().copied().unwrap_or_default()
}
