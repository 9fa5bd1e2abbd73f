//! Whom the clients call, and the bytes they say: paths, requests, and the signature of a game server.

use std::io;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Target;

/// Path of a token check.
pub const VERIFY: &str = "/server/v1/sessions/verify";
/// Path of many token checks at once.
pub const VERIFY_BATCH: &str = "/server/v1/sessions/verify-batch";
/// Path of a player's own account.
pub const ACCOUNT: &str = "/sdk/v1/account";
/// Path of a registration.
pub const ACCOUNTS: &str = "/sdk/v1/accounts";
/// Path of a login.
pub const SESSIONS: &str = "/sdk/v1/sessions";
/// Path of a refresh.
pub const REFRESH: &str = "/sdk/v1/sessions/refresh";
/// Nonce of every check: a check changes nothing, so its nonce may come again.
const NONCE: &str = "bench-0123456789abcdef";
/// Password of the accounts that have one, where nobody says another.
const PASSWORD: &str = "difference";

/// The tokens of a player.
#[derive(Clone)]
pub struct Player {
    /// Shown to game servers.
    pub access_token: String,
    /// Exchanged for the next pair.
    pub refresh_token: String,
    /// With it a guest comes back; empty when it is not known.
    pub guest_secret: String,
}

impl std::fmt::Debug for Player {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Player(***)")
    }
}

/// A server with a game of ours on it, as its clients know it.
pub trait Service {
    /// Where it answers.
    fn target(&self) -> Target;

    /// The game the players play.
    fn game_id(&self) -> String;

    /// The package they have.
    fn package_id(&self) -> String;

    /// The headers that sign a game server's call; good for 300 seconds.
    ///
    /// # Errors
    /// When there is no time to sign with.
    fn signature(&self, path: &str, body: &str) -> io::Result<[(&'static str, String); 4]>;

    /// Numbers of devices that nobody has used yet, `count` of them: the first.
    fn take_devices(&self, count: u64) -> u64;

    /// Calls a second at most while players are made; `None` for as fast as they are answered.
    fn pace_per_s(&self) -> Option<f64> {
        None
    }

    /// What every device and every name that is made up begins with.
    fn mark(&self) -> String {
        "storm".to_owned()
    }

    /// Value of the `Host` header.
    fn host(&self) -> String {
        "localhost".to_owned()
    }

    /// Path in front of every path; part of what is signed.
    fn prefix(&self) -> String {
        String::new()
    }

    /// Password of the accounts that have one.
    fn password(&self) -> String {
        PASSWORD.to_owned()
    }

    /// The `client` object of a device.
    fn device(&self, install_id: &str) -> Value {
        json!({"package_id": self.package_id(), "os": "android", "device": {"install_id": install_id}})
    }

    /// Body of a guest's registration on a device.
    fn guest_body(&self, install_id: &str) -> String {
        credential_body(self, &json!({"kind": "guest"}), install_id)
    }

    /// A POST as bytes.
    fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
        post_to(&self.host(), &format!("{}{path}", self.prefix()), headers, body)
    }

    /// A player's GET as bytes.
    fn get(&self, path: &str, access_token: &str) -> Vec<u8> {
        get_from(&self.host(), &format!("{}{path}", self.prefix()), access_token)
    }
}

/// Body of a login or registration on a device.
#[must_use]
pub fn credential_body<S: Service + ?Sized>(service: &S, credential: &Value, install_id: &str) -> String {
    json!({"game_id": service.game_id(), "credential": credential, "client": service.device(install_id)}).to_string()
}

/// The headers that sign a call with a key at a time, in Unix seconds.
#[must_use]
pub fn signed_headers(
    key_id: &str,
    secret: &str,
    timestamp_s: u64,
    path: &str,
    body: &str,
) -> [(&'static str, String); 4] {
    let timestamp = timestamp_s.to_string();
    let signature = sign(secret, "POST", path, &timestamp, NONCE, body.as_bytes());
    [
        ("seawall-key-id", key_id.to_owned()),
        ("seawall-timestamp", timestamp),
        ("seawall-nonce", NONCE.to_owned()),
        ("seawall-signature", signature),
    ]
}

/// The signature of a game server's call: HMAC-SHA256 over five lines joined by single line feeds, in lower-case hex.
#[must_use]
pub fn sign(secret: &str, method: &str, path: &str, timestamp: &str, nonce: &str, body: &[u8]) -> String {
    let digest = hex(&Sha256::digest(body));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap_or_else(|e| unreachable!("a key of any length will do: {e}"));
    mac.update([method, path, timestamp, nonce, &digest].join("\n").as_bytes());
    hex(&mac.finalize().into_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A player's GET to this host as bytes.
#[must_use]
pub fn get(path: &str, access_token: &str) -> Vec<u8> {
    get_from("localhost", path, access_token)
}

/// A POST with a JSON body to this host as bytes.
#[must_use]
pub fn post(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    post_to("localhost", path, headers, body)
}

fn get_from(host: &str, path: &str, access_token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {access_token}\r\n\r\n").into_bytes()
}

fn post_to(host: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_readme_says() {
        // printf 'POST\n/p\n1\nn\n%s' "$(printf '{}' | sha256sum | cut -d ' ' -f 1)" | openssl dgst -sha256 -hmac s
        let expected = "54046035f30c5dd07b37a0ed3bc34fd47619ebed6b3ff6b7410ba2a80176a8d0";
        assert_eq!(sign("s", "POST", "/p", "1", "n", b"{}"), expected);
    }

    #[test]
    fn tokens_are_not_shown() {
        let player = Player {
            access_token: "sw1.a".into(),
            refresh_token: "sr1.b".into(),
            guest_secret: "c".into(),
        };
        assert_eq!(format!("{player:?}"), "Player(***)");
    }
}
