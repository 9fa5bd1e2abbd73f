//! Makes the members of a crowd: players of yesterday, players with a password, newcomers.

use seawall_tests::server::Failure;
use serde_json::{Value, json};

use super::client::{Client, Conduct};
use crate::calls::{Prepared, is_201};
use crate::load::{NoMeter, Plan, run};
use crate::seawall::{ACCOUNTS, Player, Seawall, post};

/// Password accounts that register at once: within the deadline of the hash pool.
const HASHES_AT_ONCE: usize = 8;
const PASSWORD: &str = "difference";

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
    pub fn register(seawall: &Seawall, guests: usize, passwords: usize) -> Result<Self, Failure> {
        Ok(Self {
            players: seawall.players(guests)?,
            credentials: with_passwords(seawall, passwords)?,
        })
    }

    /// A crowd of these members and of so many newcomers on the devices of `series`; all behave alike.
    ///
    /// # Errors
    /// When a check cannot be signed.
    pub fn clients(
        &self,
        seawall: &Seawall,
        newcomers: usize,
        series: &str,
        conduct: Conduct,
    ) -> Result<Vec<Client>, Failure> {
        let device = |kind: &str, number: usize| format!("storm-{kind}-{series}-{number}");
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
pub fn with_passwords(seawall: &Seawall, count: usize) -> Result<Vec<Value>, Failure> {
    let credential =
        |number| json!({"kind": "username", "username": format!("storm{number:05}"), "password": PASSWORD});
    let credentials: Vec<Value> = (0..count).map(credential).collect();
    let requests: Vec<Vec<u8>> = credentials
        .iter()
        .enumerate()
        .map(|(number, credential)| {
            post(
                ACCOUNTS,
                &[],
                &login_body(seawall, credential, &format!("storm-named-{number}")),
            )
        })
        .collect();
    if requests.is_empty() {
        return Ok(credentials);
    }
    let plan = Plan::exactly(seawall.target(), HASHES_AT_ONCE, count as u64);
    let outcome = run(&plan, &mut Prepared::new(&requests, is_201), &mut NoMeter)?;
    if outcome.ok != count as u64 {
        return Err(format!("accounts were not registered: {:?}", outcome.examples).into());
    }
    Ok(credentials)
}

/// Body of a login or registration on a device.
#[must_use]
pub fn login_body(seawall: &Seawall, credential: &Value, install_id: &str) -> String {
    json!({"game_id": seawall.fact("game_id"), "credential": credential, "client": seawall.device(install_id)})
        .to_string()
}
