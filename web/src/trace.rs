//! Request ids: the W3C trace id of the caller when there is one, else made from a seed of the connection. The same id
//! is in the answer's `traceparent` and `X-Request-Id` headers, in every error body, in the log and in the journal.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use seawall_domain::KeyId;

use crate::admission::pace::Pace;

/// Our header with the request id alone.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// 128 bits, printed as 32 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// The text form, without an allocation.
    #[must_use]
    pub fn hex(&self) -> Hex<32> {
        hex(&self.0)
    }

    /// A number that spreads ids evenly; for jitter.
    #[must_use]
    pub fn spread(&self) -> u64 {
        mix(u64::from_be_bytes(half(&self.0, 8)) ^ u64::from_be_bytes(half(&self.0, 0)))
    }

    /// The answer's `traceparent`: our id as the trace, a span id derived from it, marked as sampled.
    #[must_use]
    pub fn traceparent(&self) -> HeaderValue {
        let (id, span) = (self.hex(), hex::<8, 16>(&self.spread().max(1).to_be_bytes()));
        let mut text = [b'0'; 55];
        let parts: [(usize, &[u8]); 6] = [
            (0, b"00-"),
            (3, id.as_bytes()),
            (35, b"-"),
            (36, span.as_bytes()),
            (52, b"-"),
            (53, b"01"),
        ];
        for (at, part) in parts {
            if let Some(slot) = text.get_mut(at..at + part.len()) {
                slot.copy_from_slice(part);
            }
        }
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Makes the request ids of one connection: 64 random bits of its own, and a mixed counter. What a connection is
/// known by has its memory of refusals and of its server key with it.
#[derive(Debug)]
pub struct RequestIds {
    connection: u64,
    next: AtomicU64,
    pub(crate) pace: Pace,
    /// Server key the connection has signed with last; 0 when none.
    proven_key: AtomicU32,
}

impl RequestIds {
    /// From 16 unpredictable bytes.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Self {
        let counter = AtomicU64::new(u64::from_be_bytes(half(&seed, 8)));
        RequestIds {
            connection: u64::from_be_bytes(half(&seed, 0)),
            next: counter,
            pace: Pace::default(),
            proven_key: AtomicU32::new(0),
        }
    }

    /// The caller's trace id when `traceparent` is valid, else the next of ours.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        headers
            .get(TRACEPARENT)
            .and_then(|value| parse_traceparent(value.as_bytes()))
            .unwrap_or_else(|| self.next())
    }

    /// A number that stands for the connection.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// A request of the connection was signed with this key.
    pub(crate) fn prove(&self, key_id: KeyId) {
        if !self.has_proven(key_id) {
            self.proven_key.store(key_id.0, Ordering::Relaxed);
        }
    }

    /// Was the connection's last signed request signed with this key?
    pub(crate) fn has_proven(&self, key_id: KeyId) -> bool {
        self.proven_key.load(Ordering::Relaxed) == key_id.0
    }

    /// The next id of ours; never all zero.
    pub fn next(&self) -> RequestId {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        let (left, right) = id.split_at_mut(8);
        left.copy_from_slice(&self.connection.to_be_bytes());
        right.copy_from_slice(&mix(count).max(1).to_be_bytes());
        RequestId(id)
    }
}

/// The trace id of a version 00 (or later, read as 00) `traceparent`; nothing unless it is well formed and not zero.
fn parse_traceparent(value: &[u8]) -> Option<RequestId> {
    let dashes = [2, 35, 52];
    let well_formed = value.len() >= 55
        && dashes.iter().all(|at| value.get(*at) == Some(&b'-'))
        && (value.len() == 55 || value.get(55) == Some(&b'-'));
    let version = unhex::<1>(value.get(0..2)?)?;
    let span = unhex::<8>(value.get(36..52)?)?;
    unhex::<1>(value.get(53..55)?)?;
    let id = unhex::<16>(value.get(3..35)?)?;
    let version_known = version != [0xff] && (version != [0] || value.len() == 55);
    (well_formed && version_known && id != [0; 16] && span != [0; 8]).then_some(RequestId(id))
}

/// Lower-case hex of a fixed length.
#[derive(Clone, Copy)]
pub struct Hex<const N: usize>([u8; N]);

impl<const N: usize> Hex<N> {
    /// ASCII.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Hex of `IN` bytes in `OUT` = 2 × `IN` characters.
#[must_use]
pub fn hex<const IN: usize, const OUT: usize>(bytes: &[u8; IN]) -> Hex<OUT> {
    let mut text = [b'0'; OUT];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    Hex(text)
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Strict lower-case hex.
fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0u8, |acc, c| match c {
            b'0'..=b'9' => Some(acc << 4 | (c - b'0')),
            b'a'..=b'f' => Some(acc << 4 | (c - b'a' + 10)),
            _ => None,
        })?;
    }
    Some(bytes)
}

fn half(bytes: &[u8; 16], from: usize) -> [u8; 8] {
    let mut out = [0; 8];
    if let Some(part) = bytes.get(from..from + 8) {
        out.copy_from_slice(part);
    }
    out
}

/// The finaliser of splitmix64: a bijection that spreads neighbours far apart.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_valid_traceparent_names_the_request() {
        let ids = RequestIds::new([7; 16]);
        let mut headers = HeaderMap::new();
        headers.insert(
            TRACEPARENT,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                .parse()
                .unwrap(),
        );
        assert_eq!(ids.of(&headers).hex().as_str(), "0af7651916cd43dd8448eb211c80319c");
    }

    #[test]
    fn anything_else_gets_an_id_of_ours() {
        for bad in [
            "",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(parse_traceparent(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ids_of_a_connection_never_repeat_and_print_as_a_traceparent() {
        let ids = RequestIds::new(*b"0123456789abcdef");
        let seen: HashSet<_> = (0..1000).map(|_| ids.next().0).collect();
        assert_eq!(seen.len(), 1000);
        let id = ids.next();
        assert_eq!(parse_traceparent(id.traceparent().as_bytes()), Some(id));
    }
}
