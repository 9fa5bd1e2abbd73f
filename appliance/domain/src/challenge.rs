//! Proofs of work in the ALTCHA v1 format, for logins and registrations that must pay before they cost us anything.
//!
//! A challenge is stateless: `challenge = sha256(salt + number)` for a number nobody is told, signed with HMAC-SHA256
//! under a key of the cluster. The client searches the number and sends it back. Only used challenges are remembered,
//! until they expire. The salt ends in `&`, so that no digit can be moved between it and the number.
//!
//! After a restart the memory of used challenges is empty: a proof of the last minutes may then serve once more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use seawall_storage::Secret32;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::codes::OVERLOADED;
use crate::error::Error;
use crate::ids::{GameId, UnixMs};
use crate::platform::defect;
use crate::seen::{Remembering, SeenMemory};
use crate::session::LoginOutcome;

/// The kind of challenges that are proofs of work.
pub const ALTCHA: &str = "altcha";
/// The algorithm named in challenges.
const ALGORITHM: &str = "SHA-256";
/// Longest response looked at, in bytes; a real one has about 400.
pub const RESPONSE_MAX_BYTES: usize = 2_048;
/// Bytes of chance of one challenge.
pub(crate) const CHALLENGE_ENTROPY_BYTES: usize = 24;
/// What a caller is told to wait when too many used challenges are remembered.
const FULL_RETRY_MS: u64 = 5_000;

/// How hard proofs of work are and how long they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChallengeOptions {
    /// The number lies between 0 and this, 1 to 1,000,000,000: half of it is the mean number of hashes. Default 50,000,
    /// some tens of milliseconds of a phone in native code, below a second in a browser.
    pub difficulty_max: u32,
    /// How long a challenge may be answered, 10,000 to 3,600,000 ms. Default 300,000.
    pub lifetime_ms: u64,
    /// Used challenges remembered, 32 bytes each; beyond it challenged calls are told to come again. Default 1,048,576.
    pub used_max: usize,
}

impl Default for ChallengeOptions {
    fn default() -> Self {
        Self {
            difficulty_max: 50_000,
            lifetime_ms: 300_000,
            used_max: 1 << 20,
        }
    }
}

/// A client's answer to a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeResponse {
    /// Of the challenge that is answered.
    pub challenge_id: String,
    /// For `altcha`: base64 of the JSON `{algorithm, challenge, number, salt, signature}`.
    pub response: String,
}

/// What the base64 of a response holds.
#[derive(serde::Deserialize)]
struct Payload {
    algorithm: String,
    challenge: String,
    number: u64,
    salt: String,
    signature: String,
}

/// Issues and checks challenges.
pub(crate) struct Challenges {
    key: Secret32,
    options: ChallengeOptions,
    used: SeenMemory,
}

impl Challenges {
    /// `key` is the cluster's key for challenges; options outside their range are pulled in.
    pub(crate) fn new(key: Secret32, options: ChallengeOptions) -> Self {
        let options = ChallengeOptions {
            difficulty_max: options.difficulty_max.clamp(1, 1_000_000_000),
            lifetime_ms: options.lifetime_ms.clamp(10_000, 3_600_000),
            used_max: options.used_max,
        };
        Self {
            key,
            // A challenge lives up to a second longer than it should, for its end is in whole seconds.
            used: SeenMemory::new(options.lifetime_ms + 1_000, options.used_max),
            options,
        }
    }

    /// A fresh challenge for a login or registration in a game.
    pub(crate) fn issue(
        &self,
        game: GameId,
        now_at: UnixMs,
        entropy: &[u8; CHALLENGE_ENTROPY_BYTES],
    ) -> Result<LoginOutcome, Error> {
        let (salt, number) = entropy.split_at(16);
        let number = number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            % (u64::from(self.options.difficulty_max) + 1);
        let expires_s = now_at.saturating_add(self.options.lifetime_ms).div_ceil(1_000);
        let salt = format!("{}?expires={expires_s}&game={game}&", hex(salt));
        let challenge = challenge_of(&salt, number);
        let signature = self.sign(&challenge)?;
        Ok(LoginOutcome::Challenge {
            kind: ALTCHA.to_owned(),
            data: serde_json::json!({
                "algorithm": ALGORITHM,
                "challenge": challenge,
                "maxnumber": self.options.difficulty_max,
                "salt": salt,
                "signature": signature,
            }),
            challenge_id: challenge,
        })
    }

    /// Whether a response proves the work; a proof is used up by it.
    ///
    /// # Errors
    /// `overload.busy` when no more used challenges can be remembered.
    pub(crate) fn redeem(&self, response: &ChallengeResponse, game: GameId, now_at: UnixMs) -> Result<bool, Error> {
        let Some(payload) = payload(response) else {
            return Ok(false);
        };
        // Cheapest first; a challenge that ends later than a fresh one would is from before a clock was set back.
        let latest_s = now_at.saturating_add(self.options.lifetime_ms).div_ceil(1_000);
        let is_live = salt_parts(&payload.salt)
            .is_some_and(|(expires_s, of)| of == game && expires_s <= latest_s && now_at < expires_s * 1_000);
        let is_solved = || same(&challenge_of(&payload.salt, payload.number), &payload.challenge);
        if !is_live || !is_solved() || !same(&self.sign(&payload.challenge)?, &payload.signature) {
            return Ok(false);
        }
        let mut digest = [0; 16];
        blake3::Hasher::new()
            .update(payload.challenge.as_bytes())
            .finalize_xof()
            .fill(&mut digest);
        match self.used.remember(digest, now_at) {
            Remembering::Fresh => Ok(true),
            Remembering::Seen => Ok(false),
            Remembering::Full => Err(OVERLOADED
                .because("Too many proofs of work are remembered; try again after Retry-After.")
                .retry_after_ms(FULL_RETRY_MS)),
        }
    }

    fn sign(&self, challenge: &str) -> Result<String, Error> {
        let mac = Hmac::<Sha256>::new_from_slice(self.key.expose())
            .map_err(|_| defect("The key of challenges has an impossible length"))?;
        Ok(hex(&mac.chain_update(challenge).finalize().into_bytes()))
    }
}

/// Takes a response apart; `None` when it is none of ours.
fn payload(response: &ChallengeResponse) -> Option<Payload> {
    if response.response.len() > RESPONSE_MAX_BYTES {
        return None;
    }
    let json = STANDARD.decode(&response.response).ok()?;
    let payload: Payload = serde_json::from_slice(&json).ok()?;
    (payload.algorithm == ALGORITHM && payload.challenge == response.challenge_id).then_some(payload)
}

/// End in Unix seconds and game of a salt, exactly as it is issued.
fn salt_parts(salt: &str) -> Option<(u64, GameId)> {
    let (chance, rest) = salt.split_once("?expires=")?;
    let (expires_s, game) = rest.strip_suffix('&')?.split_once("&game=")?;
    let is_number = |text: &str| !text.is_empty() && text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    if chance.len() != 32 || !is_number(expires_s) {
        return None;
    }
    Some((expires_s.parse().ok()?, game.parse().ok()?))
}

fn challenge_of(salt: &str, number: u64) -> String {
    hex(&Sha256::digest(format!("{salt}{number}")))
}

fn same(ours: &str, theirs: &str) -> bool {
    ours.as_bytes().ct_eq(theirs.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from_digit(u32::from(digit), 16).unwrap_or_default())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
