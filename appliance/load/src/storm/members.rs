//! Makes the members of a crowd: players of yesterday, players with a password, newcomers.

use std::io;

use serde_json::{Value, json};

use super::client::{Client, Conduct};
use crate::calls::{Prepared, fresh_guests, is_201, making};
use crate::proof::Proving;
use crate::service::{ACCOUNTS, Player, Service, credential_body};
use crate::{NoMeter, run};

/// Password accounts that register at once: within the deadline of the hash pool.
const HASHES_AT_ONCE: usize = 8;

/// Accounts a crowd is made of; made before the storm, so that several crowds can be.
pub struct Members {
    /// Guests of yesterday.
    pub players: Vec<Player>,
    /// Credentials of accounts with a password.
    pub credentials: Vec<Value>,
}

impl Members {
    /// Registers so many guests, and so many accounts with a password.
    ///
    /// # Errors
    /// When one of them was not registered.
    pub fn register(seawall: &dyn Service, guests: usize, passwords: usize) -> Result<Self, io::Error> {
        Ok(Self {
            players: fresh_guests(seawall, guests)?,
            credentials: with_passwords(seawall, passwords)?,
        })
    }

    /// A crowd of these members and of so many newcomers on the devices of `series`; all behave alike.
    ///
    /// # Errors
    /// When a check cannot be signed.
    pub fn clients(
        &self,
        seawall: &dyn Service,
        newcomers: usize,
        series: &str,
        conduct: Conduct,
    ) -> Result<Vec<Client>, io::Error> {
        let device = |kind: &str, number: usize| format!("{}-{kind}-{series}-{number}", seawall.mark());
        let returning = self.players.iter().enumerate().map(|(number, player)| {
            let mut client = Client::returning(&device("back", number), player.clone(), conduct);
            client.prepare_check(seawall).map(|()| client)
        });
        let mut clients = returning.collect::<Result<Vec<_>, _>>()?;
        let named = self.credentials.iter().enumerate();
        clients.extend(
            named.map(|(number, credential)| {
                Client::with_password(&device("named", number), credential.clone(), conduct)
            }),
        );
        clients.extend((0..newcomers).map(|number| Client::newcomer(&device("new", number), conduct)));
        Ok(clients)
    }
}

/// Registers so many accounts with a password; their credentials.
///
/// # Errors
/// When one of them was not registered.
pub fn with_passwords(seawall: &dyn Service, count: usize) -> Result<Vec<Value>, io::Error> {
    let (mark, password) = (seawall.mark(), seawall.password());
    let credential =
        |number| json!({"kind": "username", "username": format!("{mark}{number:05}"), "password": password});
    let credentials: Vec<Value> = (0..count).map(credential).collect();
    let requests: Vec<Vec<u8>> = credentials
        .iter()
        .enumerate()
        .map(|(number, credential)| {
            let body = login_body(seawall, credential, &format!("{mark}-named-{number}"));
            seawall.post(ACCOUNTS, &[], &body)
        })
        .collect();
    if requests.is_empty() {
        return Ok(credentials);
    }
    let plan = making(seawall, HASHES_AT_ONCE, count);
    let mut registrations = Prepared::new(&requests, is_201);
    let outcome = run(&plan, &mut Proving::new(&mut registrations), &mut NoMeter)?;
    if outcome.ok != count as u64 {
        let why = format!("accounts were not registered: {:?}", outcome.examples);
        return Err(io::Error::other(why));
    }
    Ok(credentials)
}

/// Body of a login or registration on a device.
#[must_use]
pub fn login_body(seawall: &dyn Service, credential: &Value, install_id: &str) -> String {
    credential_body(seawall, credential, install_id)
}
