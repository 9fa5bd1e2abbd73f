//! Caps on open connections: in all, and of one client address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// A client address as counted: an IPv4 address, or the /64 an IPv6 customer owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AddressKey(u128);

impl AddressKey {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => AddressKey(u128::from(u32::from(v4))),
            IpAddr::V6(v6) => AddressKey(u128::from(v6) >> 64 << 64 | 1 << 63),
        }
    }
}

/// Counts connections. The table of addresses is bounded by the number of connections.
#[derive(Debug)]
pub struct ConnectionCaps {
    total_max: usize,
    per_address_max: usize,
    total: AtomicUsize,
    per_address: Mutex<HashMap<AddressKey, usize>>,
}

/// One connection's place; gives it back when dropped.
#[derive(Debug)]
pub struct Place {
    caps: Arc<ConnectionCaps>,
    address: Option<AddressKey>,
    /// The place among all connections, when the caps are those of one listener.
    among_all: Option<Box<Place>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.total.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut counts = self.caps.per_address.lock();
        let left = counts.get_mut(&address).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            counts.remove(&address);
        }
    }
}

impl ConnectionCaps {
    /// With these maxima.
    #[must_use]
    pub fn new(total_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(ConnectionCaps {
            total_max,
            per_address_max,
            total: AtomicUsize::new(0),
            per_address: Mutex::default(),
        })
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// A place for one more, or the reason why not, as a metric label.
    pub fn enter(self: &Arc<Self>) -> Result<Place, &'static str> {
        let before = self.total.fetch_add(1, Ordering::Relaxed);
        let place = Place {
            caps: Arc::clone(self),
            address: None,
            among_all: None,
        };
        if before >= self.total_max {
            Err("total_limit")
        } else {
            Ok(place)
        }
    }

    /// A place for one that already has a place among all connections.
    pub fn enter_within(self: &Arc<Self>, among_all: Place) -> Result<Place, &'static str> {
        let mut place = self.enter().map_err(|_| "listener_limit")?;
        place.among_all = Some(Box::new(among_all));
        Ok(place)
    }
}

impl Place {
    /// Also counts against the client's address, once.
    pub fn of_address(&mut self, ip: IpAddr) -> Result<(), &'static str> {
        let address = AddressKey::of(ip);
        let mut counts = self.caps.per_address.lock();
        let count = counts.entry(address).or_insert(0);
        if *count >= self.caps.per_address_max || self.address.is_some() {
            return Err("address_limit");
        }
        *count += 1;
        self.address = Some(address);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn places_are_counted_in_all_and_by_address_and_come_back() {
        let caps = ConnectionCaps::new(3, 1);
        let mut first = caps.enter().unwrap();
        first.of_address(ip("2001:db8::1")).unwrap();
        let mut second = caps.enter().unwrap();
        assert_eq!(second.of_address(ip("2001:db8::ffff")), Err("address_limit"));
        second.of_address(ip("2001:db8:0:1::1")).unwrap();
        let mut third = caps.enter().unwrap();
        third.of_address(ip("::ffff:192.0.2.1")).unwrap();
        assert_eq!(caps.enter().map(drop), Err("total_limit"));
        drop((first, third));
        assert_eq!(caps.open(), 1);
        assert_eq!(caps.per_address.lock().len(), 1);
        caps.enter().unwrap().of_address(ip("192.0.2.1")).unwrap();
    }

    #[test]
    fn a_listener_with_caps_of_its_own_counts_against_the_total_too() {
        let (all, own) = (ConnectionCaps::new(2, 9), ConnectionCaps::new(1, 9));
        let first = own.enter_within(all.enter().unwrap()).unwrap();
        assert_eq!((all.open(), own.open()), (1, 1));
        assert_eq!(own.enter_within(all.enter().unwrap()).map(drop), Err("listener_limit"));
        assert_eq!(all.open(), 1, "a refused connection gives its place among all back");
        drop(first);
        assert_eq!((all.open(), own.open()), (0, 0));
    }

    #[test]
    fn an_ipv4_address_is_no_ipv6_network() {
        assert_ne!(AddressKey::of(ip("0.0.0.0")), AddressKey::of(ip("::")));
    }
}
