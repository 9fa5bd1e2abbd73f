//! Where a request comes from: what its connection and its listener know. One [`Origin`] serves all requests of a
//! connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use seawall_domain::{ClientAddress, LearntFrom};

use crate::listener::lane::Lane;
use crate::listener::pulse::Pulse;
use crate::trace::RequestIds;

/// A door of the house: who calls there decides how the caller proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Surface {
    /// `/sdk/v1`: players' game clients.
    Sdk,
    /// `/server/v1`: game servers, by signed calls.
    Server,
    /// `/admin/v1`: operators; offered on the root-only Unix socket alone.
    Admin,
    /// Health, metrics, version.
    Ops,
}

impl Surface {
    /// All surfaces.
    pub const ALL: [Surface; 4] = [Surface::Sdk, Surface::Server, Surface::Admin, Surface::Ops];

    /// The name in settings: `sdk`, `server`, `admin`, `ops`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Surface::Sdk => "sdk",
            Surface::Server => "server",
            Surface::Admin => "admin",
            Surface::Ops => "ops",
        }
    }

    /// The surface of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Surface::ALL.into_iter().find(|surface| surface.name() == name)
    }

    /// The surface a path belongs to; `/openapi.json` belongs to every listener and has none.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (first, rest) = path.strip_prefix('/')?.split_once('/').unwrap_or((path.get(1..)?, ""));
        match first {
            "sdk" => Some(Surface::Sdk),
            "server" => Some(Surface::Server),
            "admin" => Some(Surface::Admin),
            "livez" | "readyz" | "startupz" | "metrics" | "version" if rest.is_empty() => Some(Surface::Ops),
            _ => None,
        }
    }
}

/// What all connections of a listener share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerFacts {
    /// Name, for logs and metrics.
    pub name: String,
    /// Surfaces offered.
    pub surfaces: Vec<Surface>,
    /// Hosts served, lower case without a port; all when empty.
    pub hosts: Vec<String>,
    /// What a proxy in front cuts off the path; part of what game servers sign. Empty or `/…` without a trailing `/`.
    pub public_path_prefix: String,
    /// Header in which trusted peers name the client (`x-forwarded-for`, `x-real-ip`).
    pub client_ip_header: Option<HeaderName>,
    /// How many proxies append to that header, 1 or more; the client is that many entries from the right.
    pub trusted_hops: usize,
}

/// A connection's origin.
#[derive(Debug)]
pub struct Origin {
    /// Its listener.
    pub listener: Arc<ListenerFacts>,
    /// The client as the connection shows it.
    pub client: ClientAddress,
    /// True when the peer is in the listener's list; only then are forwarding headers read.
    pub is_peer_trusted: bool,
    /// The peer's Unix user id, on the admin socket.
    pub operator_uid: Option<u32>,
    /// Makes request ids.
    pub request_ids: RequestIds,
    /// Which threads it is on.
    pub lane: Lane,
    /// What the connection is doing; none for calls inside the process.
    pub(crate) pulse: Option<Arc<Pulse>>,
}

impl Origin {
    /// The origin of calls made inside the process by an operator: all surfaces in `surfaces`, no address.
    #[must_use]
    pub fn in_process(surfaces: &[Surface], operator_uid: u32, seed: [u8; 16]) -> Self {
        let listener = ListenerFacts {
            name: "in-process".into(),
            surfaces: surfaces.to_vec(),
            trusted_hops: 1,
            ..Default::default()
        };
        Origin {
            listener: Arc::new(listener),
            client: ClientAddress {
                ip: None,
                port: None,
                learnt_from: LearntFrom::Socket,
            },
            is_peer_trusted: false,
            operator_uid: Some(operator_uid),
            request_ids: RequestIds::new(seed),
            lane: Lane::new(true, false),
            pulse: None,
        }
    }

    /// The client's address for one request: what a trusted peer's header names, else what the connection shows. The
    /// address of a trusted peer itself is never a client's: limits per address would hit everybody behind it.
    #[must_use]
    pub fn client_address(&self, headers: &HeaderMap) -> ClientAddress {
        if !self.is_peer_trusted {
            return self.client;
        }
        let unnamed = ClientAddress {
            ip: None,
            port: None,
            learnt_from: LearntFrom::Unnamed,
        };
        match self
            .listener
            .client_ip_header
            .as_ref()
            .filter(|name| headers.contains_key(*name))
        {
            Some(name) => {
                forwarded_for(headers, name, self.listener.trusted_hops).map_or(unnamed, |(ip, port)| ClientAddress {
                    ip: Some(ip),
                    port,
                    learnt_from: LearntFrom::Header,
                })
            }
            None if self.client.learnt_from == LearntFrom::Peer => unnamed,
            None => self.client,
        }
    }
}

/// The entry `hops` from the right of a forwarding header, over all its lines.
fn forwarded_for(headers: &HeaderMap, name: &HeaderName, hops: usize) -> Option<(IpAddr, Option<u16>)> {
    let entries: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .collect();
    let entry = entries
        .len()
        .checked_sub(hops.max(1))
        .and_then(|at| entries.get(at))?
        .trim();
    if let Ok(ip) = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some((ip.to_canonical(), None));
    }
    let with_port: SocketAddr = entry.parse().ok()?;
    Some((with_port.ip().to_canonical(), Some(with_port.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(is_peer_trusted: bool, trusted_hops: usize) -> Origin {
        let listener = ListenerFacts {
            client_ip_header: Some(HeaderName::from_static("x-forwarded-for")),
            trusted_hops,
            ..Default::default()
        };
        let mut origin = Origin::in_process(&[], 0, [1; 16]);
        origin.listener = Arc::new(listener);
        origin.is_peer_trusted = is_peer_trusted;
        origin.client = ClientAddress {
            ip: Some([10, 0, 0, 1].into()),
            port: Some(9),
            learnt_from: LearntFrom::Peer,
        };
        origin
    }

    fn seen(origin: &Origin, lines: &[&str]) -> (Option<String>, Option<u16>, LearntFrom) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let client = origin.client_address(&headers);
        (client.ip.map(|ip| ip.to_string()), client.port, client.learnt_from)
    }

    #[test]
    fn forwarding_headers_count_from_the_right_and_only_from_trusted_peers() {
        let peer = (Some("10.0.0.1".to_owned()), Some(9), LearntFrom::Peer);
        let named = |ip: &str, port| (Some(ip.to_owned()), port, LearntFrom::Header);
        let unnamed = (None, None, LearntFrom::Unnamed);
        assert_eq!(seen(&origin(false, 1), &["6.6.6.6"]), peer);
        assert_eq!(seen(&origin(true, 1), &[]), unnamed);
        let mut proxied = origin(true, 1);
        proxied.client.learnt_from = LearntFrom::ProxyProtocol;
        assert_eq!(seen(&proxied, &[]).0, peer.0);
        assert_eq!(seen(&proxied, &["192.0.2.7"]), named("192.0.2.7", None));
        assert_eq!(
            seen(&origin(true, 1), &["6.6.6.6, 192.0.2.7"]),
            named("192.0.2.7", None)
        );
        assert_eq!(
            seen(&origin(true, 1), &["6.6.6.6", "192.0.2.7:443"]),
            named("192.0.2.7", Some(443))
        );
        assert_eq!(
            seen(&origin(true, 2), &["6.6.6.6, 192.0.2.7, 10.9.9.9"]),
            named("192.0.2.7", None)
        );
        assert_eq!(
            seen(&origin(true, 1), &["[2001:db8::1]:80"]),
            named("2001:db8::1", Some(80))
        );
        assert_eq!(seen(&origin(true, 1), &["::ffff:192.0.2.7"]), named("192.0.2.7", None));
        assert_eq!(seen(&origin(true, 2), &["192.0.2.7"]), unnamed);
        assert_eq!(seen(&origin(true, 1), &["unknown"]), unnamed);
    }

    #[test]
    fn paths_belong_to_their_surface() {
        assert_eq!(Surface::of_path("/sdk/v1/sessions"), Some(Surface::Sdk));
        assert_eq!(Surface::of_path("/admin/v1/nothing"), Some(Surface::Admin));
        assert_eq!(Surface::of_path("/livez"), Some(Surface::Ops));
        for foreign in ["/livez/x", "/", "", "*", "/sdkx/v1", "/openapi.json"] {
            assert_eq!(Surface::of_path(foreign), None, "{foreign}");
        }
    }
}
