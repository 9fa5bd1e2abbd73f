//! Restrictions: who may not do what, where, until when, and why.

use std::net::IpAddr;

use schemars::JsonSchema;
use seawall_domain::{AccountId, GameId, PlayerId, account};
use serde::{Deserialize, Serialize};

use super::{Id, mirror};

/// Whom a restriction is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Subject {
    /// An account, in all games of its realm unless scoped.
    Account {
        /// Which.
        account_id: Id<AccountId>,
    },
    /// One player.
    Player {
        /// Game.
        game_id: Id<GameId>,
        /// Player.
        player_id: Id<PlayerId>,
    },
    /// A device.
    Device {
        /// Opaque id, 32 hex digits.
        device_id: String,
    },
    /// An address range.
    IpRange {
        /// CIDR notation, `192.0.2.0/24`.
        range: String,
    },
}

impl From<Subject> for account::Subject {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Account { account_id } => account::Subject::Account {
                account_id: account_id.0,
            },
            Subject::Player { game_id, player_id } => account::Subject::Player {
                game_id: game_id.0,
                player_id: player_id.0,
            },
            Subject::Device { device_id } => account::Subject::Device { device_id },
            Subject::IpRange { range } => account::Subject::IpRange { range },
        }
    }
}

impl From<account::Subject> for Subject {
    fn from(subject: account::Subject) -> Self {
        match subject {
            account::Subject::Account { account_id } => Subject::Account {
                account_id: Id(account_id),
            },
            account::Subject::Player { game_id, player_id } => Subject::Player {
                game_id: Id(game_id),
                player_id: Id(player_id),
            },
            account::Subject::Device { device_id } => Subject::Device { device_id },
            account::Subject::IpRange { range } => Subject::IpRange { range },
        }
    }
}

impl Subject {
    /// A subject of one address.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        let bits = if ip.is_ipv4() { 32 } else { 128 };
        Subject::IpRange {
            range: format!("{ip}/{bits}"),
        }
    }
}

mirror! {
    /// What a restriction forbids.
    Action = account::Action {
        /// Log in, refresh, and be verified.
        Login,
        /// Register.
        Register,
        /// Pay.
        Pay,
        /// Chat; enforced by game servers, who see it in verify.
        Chat,
    }
}

/// Restrict.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Restrict {
    /// Whom.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// Only in this game; everywhere when absent.
    #[serde(default)]
    pub game_id: Option<Id<GameId>>,
    /// From; now when absent.
    #[serde(default)]
    pub from_at: Option<u64>,
    /// Until; for ever when absent.
    #[serde(default)]
    pub until_at: Option<u64>,
    /// Stable reason code, 1-64 of `a-z0-9_.`.
    pub reason: String,
    /// For the player; at most 512 bytes.
    #[serde(default)]
    pub message: Option<String>,
    /// Ticket of the case; at most 128 bytes.
    #[serde(default)]
    pub ticket: Option<String>,
}

impl From<Restrict> for account::Restrict {
    fn from(ask: Restrict) -> Self {
        account::Restrict {
            subject: ask.subject.into(),
            action: ask.action.into(),
            game_id: ask.game_id.map(|id| id.0),
            from_at: ask.from_at,
            until_at: ask.until_at,
            reason: ask.reason,
            message: ask.message,
            ticket: ask.ticket,
        }
    }
}

/// A restriction as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restriction {
    /// Its id.
    pub restriction_id: Id<u64>,
    /// Whom.
    pub subject: Subject,
    /// What.
    pub action: Action,
    /// Only in this game.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub game_id: Option<Id<GameId>>,
    /// From.
    pub from_at: u64,
    /// Until.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
    /// Reason code.
    pub reason: String,
    /// For the player.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

impl From<account::RestrictionView> for Restriction {
    fn from(view: account::RestrictionView) -> Self {
        Restriction {
            restriction_id: Id(view.restriction_id),
            subject: view.subject.into(),
            action: view.action.into(),
            game_id: view.game_id.map(Id),
            from_at: view.from_at,
            until_at: view.until_at,
            reason: view.reason,
            message: view.message,
            ticket: view.ticket,
        }
    }
}
