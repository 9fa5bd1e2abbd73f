//! What players come for, as shares of their visits.

use std::str::FromStr;

use seawall_load::client_rules::Call;
use seawall_load::storm::visitors::Roles;
use seawall_load::storm::work_units;

/// Accounts with a password at most: each costs a hash before the storm.
pub const PASSWORDS_MAX: usize = 512;

/// Profiles by name. Routes that a game asks at its start beside these (its settings, its roles) come into a profile once they exist.
const PROFILES: &[Mix] = &[
    Mix {
        name: "update-day",
        about: "after an update the app restarts: players refresh, 8 % log in, 5 % are new; then login server and game server check each \
                once or twice, three in ten over a new connection; a third of the visits are heartbeats of players who are in",
        shares: Shares {
            refresh: 58.0,
            verify: 33.0,
            login: 5.5,
            register: 3.5,
        },
        checks: (2, 4),
        reconnect_share: 0.3,
        opens_connections: true,
        forgets_passwords: true,
    },
    Mix {
        name: "steady",
        about: "an ordinary hour: nearly all visits are checks by game servers",
        shares: Shares {
            refresh: 9.0,
            verify: 88.0,
            login: 1.0,
            register: 2.0,
        },
        checks: (0, 1),
        reconnect_share: 0.0,
        opens_connections: false,
        forgets_passwords: false,
    },
    Mix {
        name: "mini-game",
        about: "a mini game is advertised: four in five are new, over new connections",
        shares: Shares {
            refresh: 15.0,
            verify: 0.0,
            login: 5.0,
            register: 80.0,
        },
        checks: (1, 2),
        reconnect_share: 0.2,
        opens_connections: true,
        forgets_passwords: true,
    },
];

/// Shares of the calls that visits begin with; they need not add up to 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Players of yesterday.
    pub refresh: f64,
    /// Players who are in.
    pub verify: f64,
    /// Players with a password.
    pub login: f64,
    /// Players who are new.
    pub register: f64,
}

impl Shares {
    fn sum(&self) -> f64 {
        self.refresh + self.verify + self.login + self.register
    }
}

/// What players come for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// Its name; `custom` for shares that were given.
    pub name: &'static str,
    /// In words.
    pub about: &'static str,
    /// Of the visits.
    pub shares: Shares,
    /// Checks after a call that brings tokens: at least, at most.
    pub checks: (u32, u32),
    /// Share of those visits whose second check comes over a new connection.
    pub reconnect_share: f64,
    /// Each visit opens a connection of its own.
    pub opens_connections: bool,
    /// Nothing is remembered of a password, as after a restart of the server.
    pub forgets_passwords: bool,
}

impl Mix {
    /// How many of so many players come for what.
    #[must_use]
    pub fn roles(&self, players: usize) -> Roles {
        let of = |share: f64| (players as f64 * share / self.shares.sum()).round() as usize;
        // Whoever has a share is there, however few come.
        let some = |share: f64| if share > 0.0 { of(share).max(1) } else { 0 };
        let (login, register) = (some(self.shares.login).min(PASSWORDS_MAX), some(self.shares.register));
        let rest = players.saturating_sub(login + register);
        let tokens = self.shares.refresh + self.shares.verify;
        if tokens == 0.0 {
            return Roles {
                login,
                register: if register > 0 { players - login } else { 0 },
                ..Roles::default()
            };
        }
        let refresh = ((rest as f64 * self.shares.refresh / tokens).round() as usize).min(rest);
        Roles {
            refresh,
            verify: rest - refresh,
            login,
            register,
        }
    }

    /// Checks after a call that brings tokens, on average.
    #[must_use]
    pub fn checks_mean(&self) -> f64 {
        f64::from(self.checks.0 + self.checks.1) / 2.0
    }

    /// Calls and work units of a visit on average.
    #[must_use]
    pub fn visit(&self, roles: &Roles) -> (f64, f64) {
        let all = roles.count().max(1) as f64;
        let share = |count: usize| count as f64 / all;
        let comes = share(roles.refresh + roles.login + roles.register);
        let checks = comes * self.checks_mean() + share(roles.verify);
        let units = share(roles.refresh) * work_units(Call::Refresh)
            + share(roles.login) * work_units(Call::Login)
            + share(roles.register) * work_units(Call::Register)
            + checks * work_units(Call::Verify);
        (comes + checks, units)
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(profile) = PROFILES.iter().find(|profile| profile.name == text) {
            return Ok(*profile);
        }
        let mut shares = Shares {
            refresh: 0.0,
            verify: 0.0,
            login: 0.0,
            register: 0.0,
        };
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let value: f64 = value.trim().parse().map_err(|_| wrong())?;
            if !(0.0..=1e6).contains(&value) {
                return Err(wrong());
            }
            let place = match name.trim() {
                "refresh" => &mut shares.refresh,
                "verify" => &mut shares.verify,
                "login" => &mut shares.login,
                "register" => &mut shares.register,
                _ => return Err(wrong()),
            };
            *place = value;
        }
        if shares.sum() <= 0.0 {
            return Err(wrong());
        }
        Ok(Self {
            name: "custom",
            about: "shares of the calls as given, each visit one call",
            shares,
            checks: (0, 0),
            reconnect_share: 0.0,
            opens_connections: false,
            forgets_passwords: false,
        })
    }
}

fn wrong() -> String {
    let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
    format!(
        "expected {}, or shares as in verify=60,refresh=25,login=8,register=7",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_a_profile_or_shares() {
        assert_eq!("steady".parse::<Mix>().unwrap().name, "steady");
        let own: Mix = "verify=60,refresh=25,login=8,register=7".parse().unwrap();
        assert_eq!((own.name, own.shares.login, own.checks), ("custom", 8.0, (0, 0)));
        for wrong in [
            "",
            "stedy",
            "verify",
            "verify=x",
            "verify=-1",
            "verify=0",
            "roles=5",
            "verify=inf",
        ] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn everybody_has_a_role_and_few_have_passwords() {
        for (text, players) in [
            ("update-day", 200),
            ("update-day", 20_000),
            ("steady", 50),
            ("mini-game", 1_000),
            ("verify=1", 100),
        ] {
            let roles = text.parse::<Mix>().unwrap().roles(players);
            assert_eq!(roles.count(), players, "{text}: {roles:?}");
            assert!(roles.login <= PASSWORDS_MAX);
        }
        let day = "update-day".parse::<Mix>().unwrap().roles(200);
        assert_eq!((day.login, day.register), (11, 7), "{day:?}");
        let only_passwords = "login=1".parse::<Mix>().unwrap().roles(10_000);
        assert_eq!(
            only_passwords.count(),
            PASSWORDS_MAX,
            "the others have no account to come with"
        );
    }

    #[test]
    fn a_visit_is_worth_its_calls() {
        let mix: Mix = "verify=1,refresh=1".parse().unwrap();
        assert_eq!(mix.visit(&mix.roles(100)), (1.0, 3.0));
        let day: Mix = "update-day".parse().unwrap();
        let (calls, units) = day.visit(&day.roles(20_000));
        assert!(
            (2.5..3.5).contains(&calls) && (4.0..8.0).contains(&units),
            "{calls} {units}"
        );
    }
}
