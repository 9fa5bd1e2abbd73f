//! The server a storm goes to, as its clients know it: the one on the scratch copy, or one that was named.

use std::cell::Cell;
use std::io;
use std::net::ToSocketAddrs as _;

use seawall_domain::ports::Clock as _;
use seawall_load::service::{Service, signed_headers};
use seawall_load::{Target, TlsClient};
use url::Url;
use zeroize::Zeroizing;

use super::plan::TARGET_CALLS_PER_S_MAX;
use crate::cli::failure::Failure;
use crate::clock::SystemClock;
use crate::entropy::OsEntropy;

/// What every device and name of a rehearsal begins with.
pub const MARK: &str = "rehearsal";
/// Loopback addresses the loader calls from, so that ports do not end first.
const SOURCES: u8 = 32;
const ALPN: &[u8] = b"http/1.1";

/// A game on a server.
pub struct Known {
    /// Where.
    pub target: Target,
    /// `Host` header.
    pub host: String,
    /// Path in front of every path.
    pub prefix: String,
    /// Game.
    pub game_id: String,
    /// Package.
    pub package_id: String,
    /// Server key.
    pub key_id: String,
    /// Its secret.
    pub secret: Zeroizing<String>,
    /// Calls a second at most while players are made.
    pace_per_s: Option<f64>,
    mark: String,
    password: Zeroizing<String>,
    devices: Cell<u64>,
}

/// The ids and the secret of a game.
pub struct Game {
    /// Game.
    pub game_id: String,
    /// Package.
    pub package_id: String,
    /// Server key.
    pub key_id: String,
    /// Its secret.
    pub secret: Zeroizing<String>,
}

impl Known {
    /// A game on the scratch copy's server.
    #[must_use]
    pub fn scratch(address: std::net::SocketAddr, has_tls: bool, game: Game) -> Self {
        let target = Target {
            tls: has_tls.then(|| TlsClient::new(ALPN, false)),
            ..Target::plain(address).with_sources(SOURCES)
        };
        Self::of(target, "localhost".into(), String::new(), MARK.to_owned(), game)
    }

    /// A game on a server that was named by its URL; its marks tell this rehearsal from others.
    ///
    /// # Errors
    /// When the URL is no address of a server, or its host is not found.
    pub fn named(url: &str, game: Game) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::Usage(format!(
                "--target: `{url}` {why}; expected http://host or https://host:port/path"
            ))
        };
        let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let has_tls = match parsed.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("is neither http nor https")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() {
            return Err(wrong("has more than a host, a port and a path"));
        }
        let name = parsed.host_str().ok_or_else(|| wrong("has no host"))?.to_owned();
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = parsed.port_or_known_default().ok_or_else(|| wrong("has no port"))?;
        let found = (bare.as_str(), port).to_socket_addrs();
        let found = found.map_err(|error| Failure::Failed(format!("--target: {name} is not found: {error}")))?;
        let address = found
            .into_iter()
            .next()
            .ok_or_else(|| Failure::Failed(format!("--target: {name} has no address")))?;
        let tls = if has_tls {
            let client = TlsClient::named(&bare, ALPN, false);
            Some(client.map_err(|_| wrong("has no host name that TLS can ask for"))?)
        } else {
            None
        };
        let host = parsed
            .port()
            .map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
        let target = Target {
            tls,
            ..Target::plain(address)
        };
        let prefix = parsed.path().trim_end_matches('/').to_owned();
        let mark = format!("{MARK}-{}", crate::backup::hex(&OsEntropy.bytes::<4>()));
        Ok(Self {
            pace_per_s: Some(TARGET_CALLS_PER_S_MAX / 2.0),
            ..Self::of(target, host, prefix, mark, game)
        })
    }

    fn of(target: Target, host: String, prefix: String, mark: String, game: Game) -> Self {
        Self {
            target,
            host,
            prefix,
            game_id: game.game_id,
            package_id: game.package_id,
            key_id: game.key_id,
            secret: game.secret,
            pace_per_s: None,
            mark,
            password: Zeroizing::new(crate::backup::hex(&OsEntropy.bytes::<16>())),
            devices: Cell::new(0),
        }
    }
}

impl Service for Known {
    fn target(&self) -> Target {
        self.target.clone()
    }

    fn game_id(&self) -> String {
        self.game_id.clone()
    }

    fn package_id(&self) -> String {
        self.package_id.clone()
    }

    fn signature(&self, path: &str, body: &str) -> io::Result<[(&'static str, String); 4]> {
        let timestamp_s = SystemClock.now_at() / 1_000;
        Ok(signed_headers(&self.key_id, &self.secret, timestamp_s, path, body))
    }

    fn take_devices(&self, count: u64) -> u64 {
        self.devices.replace(self.devices.get() + count)
    }

    fn pace_per_s(&self) -> Option<f64> {
        self.pace_per_s
    }

    fn mark(&self) -> String {
        self.mark.clone()
    }

    fn host(&self) -> String {
        self.host.clone()
    }

    fn prefix(&self) -> String {
        self.prefix.clone()
    }

    fn password(&self) -> String {
        String::clone(&self.password)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn game() -> Game {
        Game {
            game_id: "1".into(),
            package_id: "2".into(),
            key_id: "3".into(),
            secret: Zeroizing::new("s".into()),
        }
    }

    #[test]
    fn a_target_is_taken_apart() {
        let known = Known::named("http://127.0.0.1:81/behind/", game()).unwrap();
        assert_eq!(
            (known.host.as_str(), known.prefix.as_str()),
            ("127.0.0.1:81", "/behind")
        );
        assert!(known.target.tls.is_none() && known.mark().starts_with("rehearsal-"));
        let request = String::from_utf8(known.post("/sdk/v1/accounts", &[], "{}")).unwrap();
        assert!(
            request.starts_with("POST /behind/sdk/v1/accounts HTTP/1.1\r\nhost: 127.0.0.1:81\r\n"),
            "{request}"
        );
        let secure = Known::named("https://[::1]", game()).unwrap();
        assert_eq!((secure.target.address.port(), secure.target.tls.is_some()), (443, true));
        let other = Known::named("http://127.0.0.1", game()).unwrap();
        assert_ne!((known.mark(), known.password()), (other.mark(), other.password()));
    }

    #[test]
    fn what_is_no_target_is_said() {
        for wrong in ["", "ftp://h", "http://", "http://user@h", "http://h/?q", "127.0.0.1:80"] {
            assert!(matches!(Known::named(wrong, game()), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
