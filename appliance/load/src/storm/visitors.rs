//! Who visits: players of yesterday, players who are in, players with a password, newcomers; some keep the rules, some do not.

use std::io;

use super::client::{Client, Conduct};
use super::members::with_passwords;
use crate::calls::fresh_guests;
use crate::client_rules::Call;
use crate::dice::Dice;
use crate::service::Service;

/// How many players come for what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// They were in yesterday: their game refreshes.
    pub refresh: usize,
    /// They are in: their game server checks them.
    pub verify: usize,
    /// They log in with name and password; each costs a hash before the storm.
    pub login: usize,
    /// They come for the first time, each time.
    pub register: usize,
}

impl Roles {
    /// All of them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.refresh + self.verify + self.login + self.register
    }
}

/// Makes the accounts of these players, and the clients who visit for them, in an order of chance; `naive_share` of them, 0 to 1, keep
/// no rules.
///
/// # Errors
/// When an account was not registered.
pub fn visitors(service: &dyn Service, roles: Roles, naive_share: f64, seed: u64) -> io::Result<Vec<Client>> {
    let mark = service.mark();
    let guests = fresh_guests(service, roles.refresh + roles.verify)?;
    let credentials = with_passwords(service, roles.login)?;
    let mut clients: Vec<Client> = Vec::with_capacity(roles.count());
    for (number, player) in guests.into_iter().enumerate() {
        let mut client = Client::returning(&format!("{mark}-back-{number}"), player, Conduct::good());
        if number >= roles.refresh {
            client.entry = Call::Verify;
        }
        clients.push(client);
    }
    let named = credentials.into_iter().enumerate();
    // On the device they registered with: it is known.
    clients.extend(named.map(|(number, credential)| {
        Client::with_password(&format!("{mark}-named-{number}"), credential, Conduct::good())
    }));
    let newcomers = 0..roles.register;
    clients.extend(newcomers.map(|number| Client::newcomer(&format!("{mark}-new-{number}"), Conduct::good())));
    shuffle(&mut clients, seed);
    for (number, client) in clients.iter_mut().enumerate() {
        if is_naive(number, naive_share) {
            client.conduct = Conduct::naive();
        }
    }
    Ok(clients)
}

/// Whether the client of this number is one of the naive share, which is spread evenly.
fn is_naive(number: usize, naive_share: f64) -> bool {
    let so_far = |count: usize| (count as f64 * naive_share).floor();
    so_far(number + 1) > so_far(number)
}

/// Puts items in an order of chance: Fisher and Yates.
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut dice = Dice::new(seed);
    for last in (1..items.len()).rev() {
        let place = dice.number() % (last as u64 + 1);
        items.swap(last, usize::try_from(place).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_naive_share_is_spread_evenly() {
        let naive = |share: f64, count: usize| (0..count).filter(|number| is_naive(*number, share)).count();
        assert_eq!((naive(0.0, 100), naive(0.2, 100), naive(1.0, 100)), (0, 20, 100));
        assert_eq!(naive(0.2, 10), 2);
    }

    #[test]
    fn everybody_is_still_there_after_the_shuffle() {
        let mut items: Vec<u32> = (0..1_000).collect();
        shuffle(&mut items, 7);
        assert_ne!(items[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        items.sort_unstable();
        assert_eq!(items, (0..1_000).collect::<Vec<_>>());
    }
}
