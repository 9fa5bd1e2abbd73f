//! The classes of requests, most important first.

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
    /// Lists, scans, reports, pushes to partners.
    Bulk,
}

/// Classes that can be shed.
pub(crate) const SHEDDABLE: usize = 5;

impl Class {
    /// All, in order.
    pub const ALL: [Class; 1 + SHEDDABLE] = [
        Class::Vital,
        Class::Verify,
        Class::Refresh,
        Class::Login,
        Class::Register,
        Class::Bulk,
    ];

    /// Those that can be shed, in order; each at its [`Class::place`].
    pub(crate) const SHED: [Class; SHEDDABLE] = [
        Class::Verify,
        Class::Refresh,
        Class::Login,
        Class::Register,
        Class::Bulk,
    ];

    /// The metric label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::Vital => "vital",
            Class::Verify => "verify",
            Class::Refresh => "refresh",
            Class::Login => "login",
            Class::Register => "register",
            Class::Bulk => "bulk",
        }
    }

    /// Where the class stands in [`Class::SHED`]; none for [`Class::Vital`].
    pub(crate) fn place(self) -> Option<usize> {
        Class::SHED.iter().position(|class| *class == self)
    }

    /// Are first attempts let in before repeated ones? Not where a refusal makes more work than the request.
    pub(crate) fn prefers_first_attempts(self) -> bool {
        !matches!(self, Class::Verify | Class::Refresh)
    }

    /// Does it wait for password hashes? Most who register are guests without a password; the few who are not meet the
    /// bound of the hash queue itself.
    pub(crate) fn hashes(self) -> bool {
        self == Class::Login
    }
}

/// One value for each class that can be shed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct PerClass<T>(pub(crate) [T; SHEDDABLE]);

impl<T> PerClass<T> {
    /// A value for each, made from the class.
    pub(crate) fn of(make: impl FnMut(Class) -> T) -> Self {
        PerClass(Class::SHED.map(make))
    }

    /// That of a class; none for [`Class::Vital`].
    pub(crate) fn get(&self, class: Class) -> Option<&T> {
        self.0.get(class.place()?)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, class: Class) -> Option<&mut T> {
        self.0.get_mut(class.place()?)
    }
}

impl PerClass<f64> {
    /// That of a class; 0 for [`Class::Vital`].
    pub(crate) fn at(&self, class: Class) -> f64 {
        self.get(class).copied().unwrap_or(0.0)
    }

    /// Replaces that of a class.
    pub(crate) fn set(&mut self, class: Class, value: f64) {
        if let Some(slot) = self.get_mut(class) {
            *slot = value;
        }
    }

    /// All together.
    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }
}
