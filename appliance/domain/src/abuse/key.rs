//! Keys of the abuse limits: whatever a caller brings is mixed into 64 bits under seeds that nobody outside knows, so
//! that an attacker cannot choose keys that fall together.

use std::net::IpAddr;

use super::sketch::Slots;
use crate::call::ClientAddress;

/// Bytes of chance the seeds are made of.
pub const SEED_BYTES: usize = 40;

/// The seeds of one process.
pub(super) struct Seeds {
    mix: [u64; 3],
    sketch: u64,
    set: u64,
}

/// A mixed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    /// What a cell knows the key by; never 0, which marks a free cell.
    pub(super) fingerprint: u64,
    /// A number that chooses the set of cells: that of the id alone, so that two limits on one device find their cells
    /// on the same cache lines.
    pub(super) place: u64,
}

impl Seeds {
    pub(super) fn new(entropy: &[u8; SEED_BYTES]) -> Self {
        let (words, _) = entropy.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        // Odd, so that no seed is zero and a product keeps its low bits.
        let mut next = || words.next().unwrap_or_default() | 1;
        Self {
            mix: [next(), next(), next()],
            sketch: next(),
            set: next(),
        }
    }

    /// The key of `id` for the limit numbered `tag`.
    pub(super) fn key(&self, tag: u8, id: u128) -> Key {
        let [high, low, last] = self.mix;
        let mixed = fold((id >> 64) as u64 ^ high, id as u64 ^ low);
        Key {
            fingerprint: fold(mixed ^ u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15), last) | 1,
            place: fold(mixed ^ self.set, self.set.rotate_left(32)),
        }
    }

    /// Where the key counts in a sketch.
    pub(super) fn slots(&self, key: Key) -> Slots {
        Slots::chosen_by(fold(key.fingerprint ^ self.sketch, self.sketch.rotate_left(32)))
    }
}

/// Both halves of the product, folded: every bit of the inputs reaches every bit of the result.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// An address that limits may be told by. A trusted peer that named no client has none; and behind a loopback peer is
/// a proxy of this host that hides everybody's address, so that a limit on it would be one on all players.
pub(super) fn limited_ip(address: &ClientAddress) -> Option<IpAddr> {
    address
        .ip
        .map(|ip| ip.to_canonical())
        .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// The /32 of an IPv4 address, or the /64 of an IPv6 address; never the same.
pub(super) fn address_id(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => 1 << 64 | ip.to_bits() >> 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::LearntFrom;

    fn address(text: &str) -> ClientAddress {
        ClientAddress {
            ip: Some(text.parse().unwrap()),
            port: None,
            learnt_from: LearntFrom::Peer,
        }
    }

    fn seeds(n: u8) -> Seeds {
        Seeds::new(&std::array::from_fn(|byte| (byte as u8).wrapping_mul(37) ^ n))
    }

    #[test]
    fn keys_differ_by_limit_by_id_and_by_seed() {
        let (seeds, other) = (seeds(7), seeds(8));
        let key = seeds.key(1, 42);
        assert_eq!(key, seeds.key(1, 42));
        for strange in [
            seeds.key(2, 42),
            seeds.key(1, 43),
            seeds.key(1, 42 << 64),
            other.key(1, 42),
        ] {
            assert_ne!(key, strange);
        }
    }

    #[test]
    fn neighbours_are_spread_over_lines_places_and_sets() {
        let seeds = seeds(0x5a);
        let mut slots = std::collections::HashSet::new();
        let mut sets = std::collections::HashSet::new();
        for id in 0..10_000 {
            let key = seeds.key(1, id);
            let at = seeds.slots(key);
            slots.insert((at.line, at.places[2]));
            sets.insert(key.place >> 48);
        }
        // 10,000 balls in 65,536 urns hit about 9,275 different ones.
        for hit in [slots.len(), sets.len()] {
            assert!((9_000..9_600).contains(&hit), "{hit}");
        }
    }

    #[test]
    fn mapped_addresses_are_the_same_and_loopback_names_nobody() {
        assert_eq!(
            limited_ip(&address("::ffff:192.0.2.1")).map(address_id),
            limited_ip(&address("192.0.2.1")).map(address_id)
        );
        assert_eq!(
            limited_ip(&address("2001:db8::1")).map(address_id),
            limited_ip(&address("2001:db8::ffff:1")).map(address_id)
        );
        assert_ne!(
            limited_ip(&address("2001:db8:0:1::1")).map(address_id),
            limited_ip(&address("2001:db8::1")).map(address_id)
        );
        assert_eq!(limited_ip(&address("127.0.0.1")), None);
        assert_eq!(limited_ip(&address("::1")), None);
    }
}
