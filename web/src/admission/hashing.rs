//! How many of the logins need a password hash: guests have no password, and known devices have one that is remembered. Where most need
//! none, a slow hash pool is no reason to refuse logins: its own queue refuses those that it cannot serve. Pure.

/// What is left of what was seen by the next window; half of it after seven windows.
const FADING: f64 = 0.9;
/// The share of logins that need a hash from which on logins are held down as the pool is.
const MOST: f64 = 0.5;

/// What was seen in the last windows.
#[derive(Debug)]
pub(crate) struct Hashing {
    /// Passwords to be hashed so far, as the process said at the last look.
    so_far: Option<u64>,
    /// Those of the last windows, fading.
    jobs: f64,
    /// Logins let in, fading likewise.
    logins: f64,
}

impl Hashing {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Hashing {
            so_far: None,
            jobs: 0.0,
            logins: 0.0,
        }
    }

    /// One window further: passwords to be hashed since the process began, if it says so, and the logins that were let in.
    pub(crate) fn see(&mut self, so_far: Option<u64>, logins: f64) {
        let before = std::mem::replace(&mut self.so_far, so_far);
        let (Some(before), Some(now)) = (before, so_far) else {
            return;
        };
        self.jobs = self.jobs * FADING + now.saturating_sub(before) as f64;
        self.logins = self.logins * FADING + logins;
    }

    /// Do most logins need a hash? As long as nobody knows, they do.
    pub(crate) fn is_most(&self) -> bool {
        self.so_far.is_none() || self.jobs >= self.logins * MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After windows with so many logins, of which so many needed a hash.
    fn after(hashing: &mut Hashing, windows: u64, logins: u64, jobs: u64) -> bool {
        for _ in 0..windows {
            hashing.see(Some(hashing.so_far.unwrap_or(7) + jobs), logins as f64);
        }
        hashing.is_most()
    }

    #[test]
    fn where_nobody_says_all_logins_hash() {
        let mut hashing = Hashing::new();
        assert!(hashing.is_most());
        hashing.see(None, 1_000.0);
        assert!(hashing.is_most());
    }

    #[test]
    fn a_few_passwords_among_many_guests_are_not_most() {
        let mut hashing = Hashing::new();
        assert!(!after(&mut hashing, 5, 1_000, 10));
        assert!(after(&mut hashing, 20, 1_000, 900), "a flood of passwords is");
        assert!(!after(&mut hashing, 20, 1_000, 10));
    }

    #[test]
    fn windows_without_logins_change_nothing() {
        let mut hashing = Hashing::new();
        assert!(!after(&mut hashing, 5, 1_000, 10));
        assert!(!after(&mut hashing, 50, 0, 0));
        let mut flood = Hashing::new();
        assert!(after(&mut flood, 5, 1_000, 1_000));
        assert!(after(&mut flood, 50, 0, 0));
    }
}
