//! Turns the listeners of the settings into those of the HTTP layer, and binds them before anything serves.

use std::path::Path;
use std::sync::Arc;

use http::HeaderName;
use seawall_web::{Address, BoundAddress, Listener, ListenerConfig, Network, ProxyProtocol, Surface, Tls};

use crate::service_manager::{Inherited, InheritedSockets};
use crate::settings::config;

/// Largest path of a Unix socket, in bytes.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// The admin socket.
///
/// # Errors
/// When its path is too long for the kernel.
pub fn admin(path: &Path) -> Result<ListenerConfig, String> {
    if path.as_os_str().len() > SOCKET_PATH_MAX_BYTES {
        return Err(format!(
            "{}: a socket's path has at most {SOCKET_PATH_MAX_BYTES} bytes; set admin.socket to a shorter one",
            path.display()
        ));
    }
    Ok(ListenerConfig::new(
        "admin",
        Address::Unix(path.to_owned()),
        &[Surface::Admin, Surface::Ops],
    ))
}

/// A listener of the settings.
///
/// # Errors
/// Which value cannot be read, or what does not fit together.
pub fn listener(from: &config::Listener, tls: &Arc<Tls>) -> Result<ListenerConfig, String> {
    let wrong = |what: &str, reason: &dyn std::fmt::Display| format!("listener {}: {what}: {reason}", from.name);
    let networks = from.trusted_peers.iter().map(|text| text.parse::<Network>());
    let header = from
        .client_ip_header
        .as_deref()
        .map(str::parse::<HeaderName>)
        .transpose();
    let listener = ListenerConfig {
        name: from.name.clone(),
        address: match &from.address {
            config::Address::Tcp(address) => Address::Tcp(*address),
            config::Address::Unix(path) => Address::Unix(path.clone()),
        },
        tls: from.tls.then(|| Arc::clone(tls)),
        proxy_protocol: match from.proxy_protocol.as_str() {
            "v1" => ProxyProtocol::V1,
            "v2" => ProxyProtocol::V2,
            _ => ProxyProtocol::None,
        },
        trusted_peers: networks
            .collect::<Result<_, _>>()
            .map_err(|error| wrong("trusted_peers", &error))?,
        client_ip_header: header.map_err(|error| wrong("client_ip_header", &error))?,
        trusted_hops: from.trusted_hops,
        surfaces: from.surfaces.iter().filter_map(|name| surface(name)).collect(),
        hosts: from.hosts.clone(),
        public_path_prefix: from.public_path_prefix.clone(),
        limits: from.limits.clone(),
    };
    listener.check()?;
    Ok(listener)
}

fn surface(name: &str) -> Option<Surface> {
    Surface::ALL.into_iter().find(|surface| surface.name() == name)
}

/// Binds all, or takes the inherited socket of that address, or says which address is taken.
///
/// # Errors
/// The first that cannot be bound.
pub fn bind(listeners: Vec<ListenerConfig>, inherited: &mut InheritedSockets) -> Result<Vec<Listener>, String> {
    let mut bind = |config: ListenerConfig| {
        let (name, address) = (config.name.clone(), config.address.to_string());
        let taken = match inherited.at(&config.address) {
            Some(Inherited::Tcp(socket)) => Listener::from_std(config, socket),
            Some(Inherited::Unix(socket)) => Listener::from_std_unix(config, socket),
            None => Listener::bind(config),
        };
        taken.map_err(|error| format!("listener {name}: {address} cannot be listened on: {error}"))
    };
    listeners.into_iter().map(&mut bind).collect()
}

/// A bound address as people write it.
#[must_use]
pub fn shown(address: &BoundAddress) -> String {
    match address {
        BoundAddress::Tcp(address) => address.to_string(),
        BoundAddress::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use seawall_domain::ports::Clock as _;

    use super::*;
    use crate::certificates::Certificates;
    use crate::clock::SystemClock;
    use crate::data_dir::DataDir;
    use crate::settings::load::{Layers, load};

    #[test]
    fn what_cannot_be_read_is_named_with_its_listener() {
        let root = tempfile::tempdir().unwrap();
        let main = root.path().join("seawall.toml");
        std::fs::write(&main, "").unwrap();
        let settings = load(&Layers {
            file: Some(main),
            ..Layers::default()
        })
        .unwrap();
        let dir = DataDir::create(&root.path().join("data")).unwrap();
        let host = config::HostConfig::from_settings(&settings).unwrap();
        let tls = Certificates::prepare(&host, &dir, SystemClock.now_at()).unwrap().tls;
        let base = config::Listener {
            name: "lb".into(),
            surfaces: vec!["sdk".into()],
            ..config::plain(config::Address::Tcp("127.0.0.1:0".parse().unwrap()))
        };
        assert_eq!(listener(&base, &tls).unwrap().surfaces, [Surface::Sdk]);
        let bad = config::Listener {
            trusted_peers: vec!["10.0.0.0/99".into()],
            ..base.clone()
        };
        assert!(
            listener(&bad, &tls)
                .unwrap_err()
                .starts_with("listener lb: trusted_peers:")
        );
        let lonely = config::Listener {
            proxy_protocol: "v2".into(),
            ..base
        };
        assert!(listener(&lonely, &tls).is_err());
    }

    #[test]
    fn a_taken_address_and_a_long_socket_path_are_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(taken.local_addr().unwrap());
        let error = bind(
            vec![ListenerConfig::new("x", address, &[Surface::Sdk])],
            &mut InheritedSockets::default(),
        )
        .err()
        .unwrap();
        assert!(error.starts_with("listener x: 127.0.0.1:"), "{error}");
        assert!(admin(Path::new(&"x".repeat(200))).unwrap_err().contains("admin.socket"));
    }
}
