//! The authentication log: every login, refresh, failure and staff act on an account, kept at least 180 days.

use crate::LearntFrom;
use crate::ids::{AccountId, GameId, PlayerId, UnixMs};

mod record;
mod search;
#[cfg(test)]
mod tests;

pub(crate) use record::{AuthNote, OpenNote};

/// One record, as shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AuthRecord {
    /// When.
    pub at: UnixMs,
    /// Operation, `session.create`, ….
    pub op: String,
    /// `ok` or the error code.
    pub result: String,
    /// Account, when known.
    pub account_id: Option<AccountId>,
    /// Game, when known.
    pub game_id: Option<GameId>,
    /// Player, when known.
    pub player_id: Option<PlayerId>,
    /// Opaque device id, when known.
    pub device_id: Option<String>,
    /// Package, when known.
    pub package_id: Option<u32>,
    /// Client address.
    pub ip: Option<std::net::IpAddr>,
    /// Client port.
    pub port: Option<u16>,
    /// How the address was learnt.
    pub learnt_from: LearntFrom,
    /// Who acted: `client`, `server:3`, `operator:0`.
    pub caller: String,
    /// Request id, 32 hex digits.
    pub request_id: String,
}

/// What to search by; exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthFilter {
    /// Account.
    Account(AccountId),
    /// Player.
    Player(GameId, PlayerId),
    /// Address.
    Ip(std::net::IpAddr),
    /// Opaque device id.
    Device(String),
}
