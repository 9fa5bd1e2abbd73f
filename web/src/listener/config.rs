//! What a listener is, as settings describe it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderName;

use super::network::Network;
use super::tls::Tls;
use crate::limits::OwnLimits;
use crate::origin::{ListenerFacts, Surface};

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A TCP address; port 0 lets the kernel choose. `[::]` serves IPv4 too.
    Tcp(SocketAddr),
    /// A Unix socket, mode 0600.
    Unix(PathBuf),
}

/// The text is neither `ip:port` nor `unix:/path`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: write ip:port, [ipv6]:port or unix:/absolute/path")]
pub struct AddressError(String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text
            .strip_prefix("unix:")
            .or_else(|| text.starts_with('/').then_some(text))
        {
            Some(path) if path.starts_with('/') => Ok(Address::Unix(PathBuf::from(path))),
            Some(_) => Err(AddressError(text.to_owned())),
            None => text
                .parse()
                .map(Address::Tcp)
                .map_err(|_| AddressError(text.to_owned())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether connections begin with a PROXY protocol header. It is required when set, and taken from trusted peers only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No header.
    #[default]
    None,
    /// The text form.
    V1,
    /// The binary form.
    V2,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Unique name, for logs and metrics.
    pub name: String,
    /// Where.
    pub address: Address,
    /// TLS, or plain. Plain on an address other than loopback answers trusted peers only.
    pub tls: Option<Arc<Tls>>,
    /// PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// Load balancers and proxies: exempt from caps per address, and believed about client addresses.
    pub trusted_peers: Vec<Network>,
    /// Header in which trusted peers name the client.
    pub client_ip_header: Option<HeaderName>,
    /// How many proxies append to that header, at least 1.
    pub trusted_hops: usize,
    /// Surfaces offered. `admin` on a Unix socket only.
    pub surfaces: Vec<Surface>,
    /// Hosts served; all when empty.
    pub hosts: Vec<String>,
    /// What a proxy in front cuts off the path: empty, or `/…` without a trailing `/`.
    pub public_path_prefix: String,
    /// Limits of this listener's own.
    pub limits: OwnLimits,
}

impl ListenerConfig {
    /// A plain listener that trusts nobody and offers `surfaces`.
    #[must_use]
    pub fn new(name: impl Into<String>, address: Address, surfaces: &[Surface]) -> Self {
        ListenerConfig {
            name: name.into(),
            address,
            tls: None,
            proxy_protocol: ProxyProtocol::None,
            trusted_peers: Vec::new(),
            client_ip_header: None,
            trusted_hops: 1,
            surfaces: surfaces.to_vec(),
            hosts: Vec::new(),
            public_path_prefix: String::new(),
            limits: OwnLimits::default(),
        }
    }

    /// Do both players and game servers come here?
    pub(super) fn is_mixed(&self) -> bool {
        let both = [Surface::Sdk, Surface::Server];
        both.iter().all(|surface| self.surfaces.contains(surface))
    }

    /// Do its connections begin on the threads of token checks, where all are accepted? Not where players come; but where nobody knows who
    /// comes until the first bytes say it, that look costs those threads little. A handshake would cost them much.
    pub(super) fn begins_for_checks(&self) -> bool {
        let is_plain_tcp = self.tls.is_none() && matches!(self.address, Address::Tcp(_));
        !self.surfaces.contains(&Surface::Sdk) || self.is_mixed() && is_plain_tcp
    }

    /// What is wrong with the combination of fields, for the one who wrote them.
    pub fn check(&self) -> Result<(), String> {
        let is_unix = matches!(self.address, Address::Unix(_));
        if self.surfaces.is_empty() {
            return Err(format!("listener {} offers no surface", self.name));
        }
        if self.surfaces.contains(&Surface::Admin) && !is_unix {
            return Err(format!(
                "listener {}: the admin surface is offered on a unix socket only",
                self.name
            ));
        }
        if is_unix && (self.tls.is_some() || self.proxy_protocol != ProxyProtocol::None) {
            return Err(format!(
                "listener {}: a unix socket speaks plain HTTP without PROXY protocol",
                self.name
            ));
        }
        if self.proxy_protocol != ProxyProtocol::None && self.trusted_peers.is_empty() {
            return Err(format!(
                "listener {}: PROXY protocol needs trusted_peers, or nobody can connect",
                self.name
            ));
        }
        if self.client_ip_header.is_some() && self.trusted_peers.is_empty() {
            return Err(format!(
                "listener {}: client_ip_header needs trusted_peers, or it is never read",
                self.name
            ));
        }
        let prefix = &self.public_path_prefix;
        if !prefix.is_empty() && (!prefix.starts_with('/') || prefix.ends_with('/')) {
            return Err(format!(
                "listener {}: public_path_prefix is empty or /… without a trailing /",
                self.name
            ));
        }
        Ok(())
    }

    pub(super) fn facts(&self) -> ListenerFacts {
        ListenerFacts {
            name: self.name.clone(),
            surfaces: self.surfaces.clone(),
            hosts: self.hosts.clone(),
            public_path_prefix: self.public_path_prefix.clone(),
            client_ip_header: self.client_ip_header.clone(),
            trusted_hops: self.trusted_hops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed() {
        for text in ["127.0.0.1:80", "[::]:8443", "unix:/run/seawall/admin.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(
            "/run/x.sock".parse::<Address>().unwrap(),
            Address::Unix("/run/x.sock".into())
        );
        for bad in ["", "localhost:80", "127.0.0.1", "unix:relative", ":80"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        let tcp: Address = "127.0.0.1:0".parse().unwrap();
        let fine = ListenerConfig::new("x", tcp.clone(), &[Surface::Sdk]);
        assert_eq!(fine.check(), Ok(()));
        assert!(ListenerConfig::new("x", tcp.clone(), &[]).check().is_err());
        assert!(
            ListenerConfig::new("x", tcp, &[Surface::Admin])
                .check()
                .unwrap_err()
                .contains("unix socket")
        );
        let bad_prefix = ListenerConfig {
            public_path_prefix: "/api/".into(),
            ..fine.clone()
        };
        assert!(bad_prefix.check().is_err());
        let no_peers = ListenerConfig {
            proxy_protocol: ProxyProtocol::V2,
            ..fine
        };
        assert!(no_peers.check().unwrap_err().contains("trusted_peers"));
    }
}
