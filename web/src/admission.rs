//! Admission: which class a route is of, and whether there is room for one more request. Today one cap on requests in
//! flight; the classes are what shares, levels and quotas will be built on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall_domain::{Error, codes};

/// How important a route is; the lower, the later it is shed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Health and operators: never shed.
    Vital,
    /// Token checks and payments.
    Verify,
    /// Token refresh, and what a player with a token asks.
    Refresh,
    /// Login.
    Login,
    /// Registration.
    Register,
}

impl Class {
    /// The metric label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Vital => "vital",
            Class::Verify => "verify",
            Class::Refresh => "refresh",
            Class::Login => "login",
            Class::Register => "register",
        }
    }
}

/// Counts requests in flight. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission {
    in_flight: Arc<AtomicUsize>,
    in_flight_max: usize,
}

/// Room for one request; gives it back when dropped.
#[derive(Debug)]
pub struct Permit {
    in_flight: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    /// Room for `in_flight_max` requests.
    #[must_use]
    pub fn new(in_flight_max: usize) -> Self {
        Admission {
            in_flight: Arc::default(),
            in_flight_max,
        }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes room, or refuses with [`codes::OVERLOADED`]; [`Class::Vital`] is never refused.
    pub fn admit(&self, class: Class) -> Result<Permit, Error> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let permit = Permit {
            in_flight: Arc::clone(&self.in_flight),
        };
        if before >= self.in_flight_max && class != Class::Vital {
            Err(codes::OVERLOADED.error())
        } else {
            Ok(permit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds_room_comes_back_and_the_vital_pass() {
        let admission = Admission::new(2);
        let held = [
            admission.admit(Class::Login).unwrap(),
            admission.admit(Class::Verify).unwrap(),
        ];
        assert_eq!(admission.admit(Class::Verify).unwrap_err().code, codes::OVERLOADED);
        assert!(admission.admit(Class::Vital).is_ok());
        drop(held);
        assert_eq!(admission.in_flight(), 0);
        assert!(admission.admit(Class::Register).is_ok());
    }
}
