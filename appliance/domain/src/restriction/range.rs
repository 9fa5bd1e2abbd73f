//! Address ranges: parsing, printing, and a map from prefixes to restrictions. Addresses are kept as IPv6, IPv4 ones
//! mapped, so that one map serves both and a mapped address cannot slip past a range.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::RwLock;

use super::Held;

const V4_BITS: u8 = 96;

/// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address; bits outside the prefix are cleared.
pub(crate) fn parse_range(text: &str) -> Option<([u8; 16], u8)> {
    let (address, bits) = match text.trim().split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text.trim(), None),
    };
    let address: IpAddr = address.parse().ok()?;
    let (most, added) = if address.is_ipv4() { (32, V4_BITS) } else { (128, 0) };
    let bits = bits.unwrap_or(most);
    if bits > most {
        return None;
    }
    let bits = bits + added;
    Some(((number(address) & mask(bits)).to_be_bytes(), bits))
}

/// Prints a range as it would be typed.
pub(crate) fn print_range(first: [u8; 16], bits: u8) -> String {
    let address = Ipv6Addr::from(first);
    match address.to_ipv4_mapped() {
        Some(v4) if bits >= V4_BITS => format!("{v4}/{}", bits - V4_BITS),
        _ => format!("{address}/{bits}"),
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

/// Restrictions by prefix. A look-up tries each length that occurs, longest first: few in practice, 129 at worst.
#[derive(Default)]
pub(super) struct Ranges {
    by_prefix: super::BySubject<(u8, u128)>,
    lengths: RwLock<Vec<u8>>,
}

impl Ranges {
    pub(super) fn put(&self, first: [u8; 16], bits: u8, held: Arc<Held>) {
        let mut map = self.by_prefix.write();
        let list = map.entry((bits, u128::from_be_bytes(first))).or_default();
        list.retain(|old| old.id != held.id);
        list.push(held);
        self.relength(&map);
    }

    pub(super) fn visit(&self, ip: IpAddr, visit: &mut dyn FnMut(&Arc<Held>)) {
        let lengths = self.lengths.read();
        if lengths.is_empty() {
            return;
        }
        let (map, ip) = (self.by_prefix.read(), number(ip));
        for bits in lengths.iter() {
            map.get(&(*bits, ip & mask(*bits)))
                .into_iter()
                .flatten()
                .for_each(&mut *visit);
        }
    }

    pub(super) fn retain(&self, keep: &dyn Fn(&Held) -> bool) {
        let mut map = self.by_prefix.write();
        map.retain(|_, list| {
            list.retain(|held| keep(held));
            !list.is_empty()
        });
        self.relength(&map);
    }

    pub(super) fn len(&self) -> usize {
        self.by_prefix.read().values().map(Vec::len).sum()
    }

    fn relength(&self, map: &HashMap<(u8, u128), Vec<Arc<Held>>>) {
        let mut lengths: Vec<u8> = map.keys().map(|(bits, _)| *bits).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        *self.lengths.write() = lengths;
    }
}
