//! Who calls, from where, and under which request id: what every verb takes beside its command.

use std::net::IpAddr;

/// How a client address was learnt; kept in the auth log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearntFrom {
    /// The peer of the connection.
    Peer,
    /// A PROXY protocol header of a trusted peer.
    ProxyProtocol,
    /// A forwarding header of a trusted peer.
    Header,
    /// A trusted peer that named no client; limits per address do not apply.
    Unnamed,
    /// The root-only admin socket.
    Socket,
}

/// The client's address, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress {
    /// Address, absent when a trusted peer named none.
    pub ip: Option<IpAddr>,
    /// Port, absent when unknown.
    pub port: Option<u16>,
    /// Where ip and port came from.
    pub learnt_from: LearntFrom,
}

/// Who calls, already authenticated by the surface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A player's game client.
    Client,
    /// A game server by its key.
    Server {
        /// The key that signed.
        key_id: crate::ids::KeyId,
        /// The games it may act for.
        games: std::sync::Arc<[crate::ids::GameId]>,
    },
    /// An operator on the root-only socket.
    Operator {
        /// The peer's Unix user id.
        uid: u32,
    },
    /// The platform itself (timers, start-up).
    Platform,
}

/// An idempotency key with the digest of the request it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// 1-255 visible ASCII characters, as sent.
    pub key: String,
    /// BLAKE3 of method, path and body.
    pub request_digest: [u8; 32],
}

/// What every verb takes beside its command.
#[derive(Debug, Clone)]
pub struct Call {
    /// 128 bits, printed as 32 hex digits; equal to the W3C trace id.
    pub request_id: [u8; 16],
    /// Who calls.
    pub caller: Caller,
    /// From where.
    pub address: ClientAddress,
    /// User agent, at most 256 bytes, as sent.
    pub user_agent: Option<String>,
    /// Present when the caller sent an Idempotency-Key.
    pub idempotency: Option<Idempotency>,
    /// Until when the caller said it waits, on the clock of [`crate::ports::Clock::boot_ms`], in milliseconds; `None` when it
    /// said nothing. What is then still in a queue is not begun; asked for by players' clients only.
    pub deadline_boot_ms: Option<u64>,
}

impl std::fmt::Display for Caller {
    /// As the journal and the auth log name it: `client`, `server:3`, `operator:0`, `platform`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Server { key_id, .. } => write!(f, "server:{key_id}"),
            Self::Operator { uid } => write!(f, "operator:{uid}"),
            Self::Platform => f.write_str("platform"),
        }
    }
}

impl Call {
    /// A call of the platform itself.
    #[must_use]
    pub fn platform(request_id: [u8; 16]) -> Self {
        let address = ClientAddress {
            ip: None,
            port: None,
            learnt_from: LearntFrom::Unnamed,
        };
        Self {
            request_id,
            caller: Caller::Platform,
            address,
            user_agent: None,
            idempotency: None,
            deadline_boot_ms: None,
        }
    }

    /// Until when work for this call may be begun, in milliseconds of [`crate::ports::Clock::boot_ms`]; `None` for callers
    /// whose work is done however long it takes: game servers, operators and the platform repeat what was cut by hand, or
    /// not at all.
    #[must_use]
    pub fn begin_by_boot_ms(&self) -> Option<u64> {
        self.deadline_boot_ms.filter(|_| matches!(self.caller, Caller::Client))
    }
}

#[cfg(test)]
mod tests;
