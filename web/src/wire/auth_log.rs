//! The authentication log as operators search it.

use std::net::IpAddr;

use schemars::JsonSchema;
use seawall_domain::auth_log::{AuthFilter, AuthRecord};
use seawall_domain::{AccountId, Error, GameId, PackageId, PlayerId, call, codes};
use serde::{Deserialize, Serialize};

use super::{Id, mirror};

mirror! {
    /// How a client address was learnt.
    LearntFrom = call::LearntFrom {
        /// The peer of the connection.
        Peer,
        /// A PROXY protocol header of a trusted peer.
        ProxyProtocol,
        /// A forwarding header of a trusted peer.
        Header,
        /// A trusted peer that named no client.
        Unnamed,
        /// The root-only admin socket.
        Socket,
    }
}

/// What to search by: exactly one of `account_id`, `player_id` (with `game_id`), `ip`, `device_id`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuthLogQuery {
    /// Account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Id<AccountId>>,
    /// Player.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player_id: Option<Id<PlayerId>>,
    /// Game of the player.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub game_id: Option<Id<GameId>>,
    /// Client address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ip: Option<IpAddr>,
    /// Opaque device id, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// From this instant on; the beginning when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_at: Option<u64>,
    /// Before this instant; now when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
    /// Most records, 1-1000, default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl AuthLogQuery {
    /// The domain's filter; [`codes::FIELD_INVALID`] unless exactly one is given.
    pub fn filter(&self) -> Result<AuthFilter, Error> {
        match (self.account_id, self.player_id, self.game_id, self.ip, &self.device_id) {
            (Some(id), None, None, None, None) => Ok(AuthFilter::Account(id.0)),
            (None, Some(player), Some(game), None, None) => Ok(AuthFilter::Player(game.0, player.0)),
            (None, None, None, Some(ip), None) => Ok(AuthFilter::Ip(ip)),
            (None, None, None, None, Some(device)) => Ok(AuthFilter::Device(device.clone())),
            _ => Err(codes::FIELD_INVALID
                .because("Search by exactly one of account_id, player_id with game_id, ip, device_id.")
                .with("field", "account_id")
                .with("rule", "exactly one")),
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthLogRecord {
    /// When.
    pub at: u64,
    /// Operation.
    pub op: String,
    /// `ok` or the error code.
    pub result: String,
    /// Account, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<Id<AccountId>>,
    /// Game, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub game_id: Option<Id<GameId>>,
    /// Player, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player_id: Option<Id<PlayerId>>,
    /// Opaque device id, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// Package, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_id: Option<Id<PackageId>>,
    /// Client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub ip: Option<IpAddr>,
    /// Client port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the address was learnt.
    pub learnt_from: LearntFrom,
    /// Who acted: `client`, `server:3`, `operator:0`.
    pub caller: String,
    /// Request id.
    pub request_id: String,
}

impl From<AuthRecord> for AuthLogRecord {
    fn from(record: AuthRecord) -> Self {
        AuthLogRecord {
            at: record.at,
            op: record.op,
            result: record.result,
            account_id: record.account_id.map(Id),
            game_id: record.game_id.map(Id),
            player_id: record.player_id.map(Id),
            device_id: record.device_id,
            package_id: record.package_id.map(|id| Id(PackageId(id))),
            ip: record.ip,
            port: record.port,
            learnt_from: record.learnt_from.into(),
            caller: record.caller,
            request_id: record.request_id,
        }
    }
}

/// Records, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthLogRecords {
    /// The records.
    pub records: Vec<AuthLogRecord>,
}
