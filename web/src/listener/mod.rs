//! Listeners: sockets, the accept loop, connections with their deadlines, PROXY protocol, TLS, drain.
//!
//! A connection goes: accept, caps, PROXY header, TLS handshake, first byte, HTTP/1 or HTTP/2 by ALPN or by the first
//! bytes, requests, close. Each step has a named deadline in [`crate::limits::Limits`].

mod accept;
mod address;
pub mod caps;
pub mod config;
mod connection;
pub mod drain;
pub(crate) mod lane;
pub mod network;
mod parking;
pub mod proxy;
pub(crate) mod pulse;
mod refusal;
pub mod server;
mod starting;
mod stay;
pub mod tickets;
pub mod tls;
mod transport;
mod turns;
pub(crate) mod turnstile;
mod watched;

pub use address::Listener;
pub use config::{Address, ListenerConfig, ProxyProtocol};
pub use drain::{DrainConfig, DrainReport, DrainState};
pub use network::Network;
pub use server::{BoundAddress, Server};
pub use starting::{Starting, StartingOptions};
pub use tls::{CertificatePair, HostCertificates, Tls, TlsError, TlsOptions, self_signed};

#[cfg(test)]
mod tests;
