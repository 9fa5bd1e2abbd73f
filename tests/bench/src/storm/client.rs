//! One simulated client: a player's device, and the game server that checks its token.

use std::time::Instant;

use seawall_tests::client_rules::{Call, Naive, Sdk, Seen, Step, headers, ticket_header};
use seawall_tests::server::Failure;
use serde_json::{Value, json};

use super::deadline;
use crate::seawall::{ACCOUNT, ACCOUNTS, Player, REFRESH, SESSIONS, Seawall, VERIFY, get, post};

/// Header that tells the attempt, as it stands in a prepared check.
const FIRST_ATTEMPT: &str = "X-Attempt: 1";

/// Whether a client keeps the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It does.
    Good(Sdk),
    /// Any error means "log in again", at once.
    Naive(Naive),
}

impl Conduct {
    /// One that keeps the rules.
    #[must_use]
    pub fn good() -> Self {
        Self::Good(Sdk::default())
    }

    /// One that keeps none.
    #[must_use]
    pub fn naive() -> Self {
        Self::Naive(Naive::default())
    }

    /// What it does after an attempt.
    pub fn after(&mut self, call: Call, seen: &Seen<'_>, chance: f64) -> Step {
        match self {
            Self::Good(sdk) => sdk.after(call, seen, chance),
            Self::Naive(naive) => naive.after(call, seen),
        }
    }
}

/// A client.
pub struct Client {
    /// Whether it keeps the rules.
    pub conduct: Conduct,
    /// The call that is under way, or the next one.
    pub call: Call,
    /// What led to it was a failure.
    pub is_induced: bool,
    /// Its access token is known to be good.
    pub is_valid: bool,
    /// Checks that were answered while it was coming in.
    pub checks: u32,
    /// It is in the game.
    pub is_in: bool,
    /// From when its call counts.
    pub since: Instant,
    /// It still owes a refresh, not before this.
    pub owes_refresh_at: Option<Instant>,
    /// Its place in the waiting room for logins.
    pub ticket: Option<String>,
    /// Since when nobody knows whether a refresh took place.
    pub refresh_in_doubt_at: Option<Instant>,
    install_id: String,
    credential: Value,
    tokens: Option<Player>,
    /// A signed check of its token, good for 300 seconds.
    check: Vec<u8>,
    /// Where in it the digit of the attempt stands.
    attempt_place: usize,
}

impl Client {
    /// One with the tokens of yesterday.
    #[must_use]
    pub fn returning(install_id: &str, tokens: Player, conduct: Conduct) -> Self {
        let credential = json!({"kind": "guest", "guest_secret": tokens.guest_secret});
        let mut client = Self::new(Call::Refresh, install_id, credential, conduct);
        client.is_valid = true;
        client.tokens = Some(tokens);
        client
    }

    /// One with a name and a password.
    #[must_use]
    pub fn with_password(install_id: &str, credential: Value, conduct: Conduct) -> Self {
        Self::new(Call::Login, install_id, credential, conduct)
    }

    /// One that nobody knows.
    #[must_use]
    pub fn newcomer(install_id: &str, conduct: Conduct) -> Self {
        Self::new(Call::Register, install_id, json!({"kind": "guest"}), conduct)
    }

    fn new(call: Call, install_id: &str, credential: Value, conduct: Conduct) -> Self {
        Self {
            conduct,
            call,
            is_induced: false,
            is_valid: false,
            checks: 0,
            is_in: false,
            since: Instant::now(),
            owes_refresh_at: None,
            ticket: None,
            refresh_in_doubt_at: None,
            install_id: install_id.to_owned(),
            credential,
            tokens: None,
            check: Vec::new(),
            attempt_place: 0,
        }
    }

    /// Whether it has an access token to play with.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.tokens.is_some()
    }

    /// Takes the tokens of an answer.
    ///
    /// # Errors
    /// When the check of the new token cannot be signed.
    pub fn take_tokens(&mut self, seawall: &Seawall, tokens: Player) -> Result<(), Failure> {
        if !tokens.guest_secret.is_empty() {
            self.credential = json!({"kind": "guest", "guest_secret": tokens.guest_secret});
        }
        self.tokens = Some(tokens);
        self.is_valid = true;
        self.refresh_in_doubt_at = None;
        self.ticket = None;
        self.owes_refresh_at = None;
        self.prepare_check(seawall)
    }

    /// Signs the check of the token it has.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn prepare_check(&mut self, seawall: &Seawall) -> Result<(), Failure> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let body = json!({"token": tokens.access_token}).to_string();
        let signature = seawall.signature(VERIFY, &body)?;
        let told = [
            ("X-Attempt", "1".to_owned()),
            ("X-Deadline-Ms", deadline(Call::Verify).as_millis().to_string()),
        ];
        let told = told.iter().filter(|_| self.attempt().is_some());
        let all: Vec<_> = signature
            .iter()
            .chain(told)
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.check = post(VERIFY, &all, &body);
        let found = memchr::memmem::find(&self.check, FIRST_ATTEMPT.as_bytes());
        self.attempt_place = found.map_or(0, |place| place + FIRST_ATTEMPT.len() - 1);
        Ok(())
    }

    /// Its attempt as it tells it; a naive client tells nothing.
    fn attempt(&self) -> Option<u32> {
        match &self.conduct {
            Conduct::Good(sdk) => Some(sdk.attempt()),
            Conduct::Naive(_) => None,
        }
    }

    /// Appends the request of its call. With `closes` the server is asked to end the connection after a check.
    pub fn write(&self, seawall: &Seawall, closes: bool, out: &mut Vec<u8>) {
        match self.call {
            Call::Refresh => {
                let token = self.tokens.as_ref().map_or("", |tokens| tokens.refresh_token.as_str());
                self.write_sdk(seawall, REFRESH, &json!({"refresh_token": token}), out);
            }
            Call::Login => self.write_sdk(seawall, SESSIONS, &self.credentials(seawall), out),
            Call::Register => self.write_sdk(seawall, ACCOUNTS, &self.credentials(seawall), out),
            Call::WithToken => {
                let token = self.tokens.as_ref().map_or("", |tokens| tokens.access_token.as_str());
                out.extend_from_slice(&get(ACCOUNT, token));
            }
            Call::Verify => self.write_check(closes, out),
        }
    }

    fn credentials(&self, seawall: &Seawall) -> Value {
        json!({"game_id": seawall.fact("game_id"), "credential": self.credential, "client": seawall.device(&self.install_id)})
    }

    fn write_sdk(&self, seawall: &Seawall, path: &str, body: &Value, out: &mut Vec<u8>) {
        let deadline_ms = u64::try_from(deadline(self.call).as_millis()).unwrap_or(u64::MAX);
        let told = self
            .attempt()
            .map(|attempt| headers(attempt, deadline_ms, &seawall.fact("game_id"), &self.install_id));
        let ticket = ticket_header(self.call, self.ticket.as_deref());
        let mut told: Vec<_> = told
            .iter()
            .flatten()
            .chain(&ticket)
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if self.call == Call::Register && self.attempt().is_some() {
            told.push(("Idempotency-Key", &self.install_id));
        }
        out.extend_from_slice(&post(path, &told, &body.to_string()));
    }

    fn write_check(&self, closes: bool, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.check);
        if let Some(attempt) = self.attempt().filter(|_| self.attempt_place > 0)
            && let Some(digit) = out.get_mut(begin + self.attempt_place)
        {
            *digit = b'0' + u8::try_from(attempt.min(9)).unwrap_or(9);
        }
        if closes && let Some(place) = memchr::memmem::find(&out[begin..], b"\r\n") {
            let after_line = begin + place + 2;
            out.splice(after_line..after_line, *b"connection: close\r\n");
        }
    }
}
