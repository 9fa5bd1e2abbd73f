//! What the last window has shown, for the live view.

use super::class::{Class, PerClass};
use super::tenants::Tenant;
use crate::host::Pressure;

/// The last window. Rates are work units a second.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    /// Mean lateness of the threads that token checks run on, in milliseconds.
    pub(crate) lag_ms: f64,
    /// Mean lateness of the players' threads, in milliseconds.
    pub(crate) players_lag_ms: f64,
    /// What the process said.
    pub(crate) pressure: Pressure,
    /// Do the signs of overload last?
    pub(crate) is_overloaded: bool,
    /// Infinite without a limit.
    pub(crate) limit_units_per_second: f64,
    /// As before, of all below the token checks.
    pub(crate) store_limit_units_per_second: f64,
    /// As before, of logins.
    pub(crate) hash_limit_units_per_second: f64,
    /// By class.
    pub(crate) offered: PerClass<f64>,
    /// By class.
    pub(crate) admitted: PerClass<f64>,
    /// By class, 0 to 1.
    pub(crate) fractions: PerClass<f64>,
    /// Those that ask for most, first.
    pub(crate) tenants: Vec<TenantSigns>,
}

impl Default for Signs {
    fn default() -> Self {
        Signs {
            lag_ms: 0.0,
            players_lag_ms: 0.0,
            pressure: Pressure::default(),
            is_overloaded: false,
            limit_units_per_second: f64::INFINITY,
            store_limit_units_per_second: f64::INFINITY,
            hash_limit_units_per_second: f64::INFINITY,
            offered: PerClass::default(),
            admitted: PerClass::default(),
            fractions: PerClass::of(|_| 1.0),
            tenants: Vec::new(),
        }
    }
}

/// One tenant in one class.
#[derive(Debug, Clone)]
pub(crate) struct TenantSigns {
    pub(crate) tenant: Tenant,
    pub(crate) class: Class,
    pub(crate) offered: f64,
    pub(crate) admitted: f64,
    pub(crate) fraction: f64,
}
