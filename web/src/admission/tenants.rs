//! Who uses how much, by class and tenant, in a table of fixed size: finding a tenant takes no lock, and however many
//! tenants somebody invents, the table does not grow.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::class::Class;
use super::quota::Quota;
use super::rank::RANKS;

/// Tenants told apart; the rest share one place.
pub const TENANTS_MAX: usize = 1_024;
/// Places looked at for a tenant.
const PROBES: usize = 32;

/// Whose share of a class a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// Nobody knows, or the table is full.
    Others,
    /// Players of a game.
    Game(u32),
    /// The game servers of a key, on a connection that has signed with it.
    Key(u32),
    /// Who names a key on a connection that has not yet signed with it: its game servers at first, or anybody.
    ClaimedKey(u32),
}

impl Tenant {
    /// As a number that is not 0; 0 is a free place.
    pub(crate) fn code(self) -> u64 {
        match self {
            Tenant::Others => 0,
            Tenant::Game(id) => 1 << 32 | u64::from(id),
            Tenant::Key(id) => 2 << 32 | u64::from(id),
            Tenant::ClaimedKey(id) => 3 << 32 | u64::from(id),
        }
    }

    fn from_code(code: u64) -> Self {
        // The low half is the id.
        let id = (code & u64::from(u32::MAX)) as u32;
        match code >> 32 {
            1 => Tenant::Game(id),
            2 => Tenant::Key(id),
            3 => Tenant::ClaimedKey(id),
            _ => Tenant::Others,
        }
    }

    /// The key that is named, proven or not.
    pub(crate) fn key(self) -> Option<u32> {
        match self {
            Tenant::Key(id) | Tenant::ClaimedKey(id) => Some(id),
            Tenant::Others | Tenant::Game(_) => None,
        }
    }

    /// `key:3`, `claimed-key:3`, `game:1`, `others`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Tenant::Others => "others".to_owned(),
            Tenant::Game(id) => format!("game:{id}"),
            Tenant::Key(id) => format!("key:{id}"),
            Tenant::ClaimedKey(id) => format!("claimed-key:{id}"),
        }
    }
}

/// One tenant's use of one class: what it asked for so far, and how much of it may pass now.
#[derive(Debug)]
pub(crate) struct Flow {
    /// Units asked for in first attempts; these and the next two only rise.
    pub(crate) first_units: AtomicU64,
    /// Units asked for in repeated attempts.
    pub(crate) again_units: AtomicU64,
    /// Units let in.
    pub(crate) admitted_units: AtomicU64,
    /// First attempts of ranks below it pass.
    pub(crate) first_below: AtomicU32,
    /// Repeated attempts of ranks below it pass.
    pub(crate) again_below: AtomicU32,
    /// Thousandths of units a window that it is given while it is cut.
    pub(crate) given_milliunits: AtomicU64,
}

impl Default for Flow {
    fn default() -> Self {
        Flow {
            first_units: AtomicU64::new(0),
            again_units: AtomicU64::new(0),
            admitted_units: AtomicU64::new(0),
            first_below: AtomicU32::new(RANKS),
            again_below: AtomicU32::new(RANKS),
            given_milliunits: AtomicU64::new(u64::MAX),
        }
    }
}

/// A tenant's place.
#[derive(Debug, Default)]
pub(crate) struct Place {
    code: AtomicU64,
    flows: [Flow; super::class::SHEDDABLE],
    /// Of token checks.
    pub(crate) quota: Quota,
}

impl Place {
    /// Who has it; [`Tenant::Others`] for the shared one and for free ones.
    pub(crate) fn tenant(&self) -> Tenant {
        Tenant::from_code(self.code.load(Ordering::Relaxed))
    }

    /// The use of a class; none for [`Class::Vital`].
    pub(crate) fn flow(&self, class: Class) -> Option<&Flow> {
        self.flows.get(class.place()?)
    }

    /// By class.
    pub(crate) fn flows(&self) -> &[Flow] {
        &self.flows
    }

    fn let_all_pass(&self) {
        for flow in &self.flows {
            flow.first_below.store(RANKS, Ordering::Relaxed);
            flow.again_below.store(RANKS, Ordering::Relaxed);
        }
    }
}

/// The table; the last place is the shared one.
#[derive(Debug)]
pub(crate) struct Tenants {
    places: Box<[Place]>,
    shared: Place,
}

impl Default for Tenants {
    fn default() -> Self {
        Tenants {
            places: (0..TENANTS_MAX).map(|_| Place::default()).collect(),
            shared: Place::default(),
        }
    }
}

impl Tenants {
    /// The index of a tenant's place; a new tenant takes a free one, or the shared one when none is near.
    pub(crate) fn find(&self, tenant: Tenant) -> usize {
        let code = tenant.code();
        if code == 0 {
            return TENANTS_MAX;
        }
        let begin = start(code);
        let near = || (begin..begin + PROBES).map(|at| at % TENANTS_MAX);
        let is_his = |at: &usize| self.code_at(*at) == Some(code);
        if let Some(at) = near().find(is_his) {
            return at;
        }
        for at in near() {
            let Some(place) = self.places.get(at) else { continue };
            match place
                .code
                .compare_exchange(0, code, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return at,
                Err(taken) if taken == code => return at,
                Err(_) => {}
            }
        }
        TENANTS_MAX
    }

    fn code_at(&self, at: usize) -> Option<u64> {
        self.places.get(at).map(|place| place.code.load(Ordering::Relaxed))
    }

    /// The place of an index from [`Tenants::find`].
    pub(crate) fn at(&self, at: usize) -> &Place {
        self.places.get(at).unwrap_or(&self.shared)
    }

    /// Places in use with their index, the shared one last.
    pub(crate) fn used(&self) -> impl Iterator<Item = (usize, &Place)> {
        let own = self.places.iter().enumerate();
        own.filter(|(_, place)| place.code.load(Ordering::Relaxed) != 0)
            .chain(std::iter::once((TENANTS_MAX, &self.shared)))
    }

    /// Frees a place; counts of requests that still hold its index go to its next tenant, which is harmless.
    pub(crate) fn free(&self, at: usize) {
        if let Some(place) = self.places.get(at) {
            place.let_all_pass();
            place.code.store(0, Ordering::Release);
        }
    }

    /// Lets everybody pass.
    pub(crate) fn open(&self) {
        for (_, place) in self.used() {
            place.let_all_pass();
        }
    }
}

/// Spreads codes over the places.
fn start(code: u64) -> usize {
    let spread = code.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(spread).unwrap_or(0) % TENANTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_tenant_is_found_again_and_kinds_are_told_apart() {
        let tenants = Tenants::default();
        let places: HashSet<usize> = (1..=300)
            .flat_map(|id| [tenants.find(Tenant::Key(id)), tenants.find(Tenant::Game(id))])
            .collect();
        assert_eq!(places.len(), 600);
        for id in 1..=300 {
            let at = tenants.find(Tenant::Key(id));
            assert!(places.contains(&at));
            assert_eq!(tenants.at(at).tenant(), Tenant::Key(id));
        }
        assert_eq!(tenants.find(Tenant::Others), TENANTS_MAX);
    }

    #[test]
    fn however_many_are_invented_the_table_does_not_grow_and_freed_places_are_used_again() {
        let tenants = Tenants::default();
        let mut shared = 0;
        for id in 1..=100_000 {
            shared += usize::from(tenants.find(Tenant::Game(id)) == TENANTS_MAX);
        }
        assert!(shared >= 100_000 - TENANTS_MAX);
        assert!(tenants.used().count() <= TENANTS_MAX + 1);
        let stranger = Tenant::Key(7);
        assert_eq!(tenants.find(stranger), TENANTS_MAX);
        tenants.free(start(stranger.code()));
        assert_ne!(tenants.find(stranger), TENANTS_MAX);
    }

    #[test]
    fn names_say_the_kind() {
        assert_eq!(Tenant::Key(3).name(), "key:3");
        assert_eq!(Tenant::from_code(Tenant::ClaimedKey(3).code()).name(), "claimed-key:3");
        assert_eq!(Tenant::from_code(Tenant::Game(9).code()).name(), "game:9");
        assert_eq!(Tenant::Others.name(), "others");
    }
}
