//! One simulated client: a player's device, and the game server that checks its token.

use std::io;
use std::time::Instant;

use crate::client_rules::{Call, Naive, Sdk, Seen, Step, headers, ticket_header};
use serde_json::{Value, json};

use super::waits;
use crate::proof::Proof;
use crate::service::{ACCOUNT, ACCOUNTS, Player, REFRESH, SESSIONS, Service, VERIFY, credential_body};

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
    /// The proof of work that goes with its login or registration.
    pub proof: Option<Proof>,
    /// Since when nobody knows whether a refresh took place.
    pub refresh_in_doubt_at: Option<Instant>,
    /// What it comes for: the first call of each of its visits.
    pub entry: Call,
    /// Checks of this visit.
    pub checks_wanted: u32,
    /// The second check of this visit comes over a new connection.
    pub reconnects: bool,
    /// The intended time of this visit.
    pub came_at: Instant,
    /// A visit is under way.
    pub is_out: bool,
    /// Visits so far.
    visits: u64,
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
            proof: None,
            refresh_in_doubt_at: None,
            entry: call,
            checks_wanted: 0,
            reconnects: false,
            came_at: Instant::now(),
            is_out: false,
            visits: 0,
            install_id: install_id.to_owned(),
            credential,
            tokens: None,
            check: Vec::new(),
            attempt_place: 0,
        }
    }

    /// Its next visit begins: it wants so many checks.
    pub fn come(&mut self, checks: u32) {
        self.call = self.entry;
        self.checks = 0;
        self.checks_wanted = checks;
        self.is_in = false;
        self.is_induced = false;
        self.proof = None;
        self.is_out = true;
        self.visits += 1;
        if self.entry == Call::Register {
            // Somebody else, who has never been here.
            self.tokens = None;
            self.is_valid = false;
            self.credential = json!({"kind": "guest"});
        }
    }

    /// Whoever had it under way was cut off at `now`: what that means for what is known of its tokens.
    pub fn cut_off(&mut self, now: Instant) {
        if !std::mem::take(&mut self.is_out) {
            return;
        }
        match self.call {
            Call::Refresh => self.refresh_in_doubt_at = self.refresh_in_doubt_at.or(Some(now)),
            Call::Login => self.is_valid = false,
            Call::Register | Call::WithToken | Call::Verify => {}
        }
    }

    /// Has it made a visit?
    #[must_use]
    pub fn has_come(&self) -> bool {
        self.visits > 0
    }

    /// The device it calls from; a newcomer has another one each time.
    fn device(&self) -> String {
        if self.entry == Call::Register && self.visits > 0 {
            return format!("{}-{}", self.install_id, self.visits);
        }
        self.install_id.clone()
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
    pub fn take_tokens(&mut self, seawall: &dyn Service, tokens: Player) -> io::Result<()> {
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
    pub fn prepare_check(&mut self, seawall: &dyn Service) -> io::Result<()> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let body = json!({"token": tokens.access_token}).to_string();
        let signature = seawall.signature(&format!("{}{VERIFY}", seawall.prefix()), &body)?;
        let told = [
            ("X-Attempt", "1".to_owned()),
            ("X-Deadline-Ms", waits(Call::Verify).as_millis().to_string()),
        ];
        let told = told.iter().filter(|_| self.attempt().is_some());
        let all: Vec<_> = signature
            .iter()
            .chain(told)
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.check = seawall.post(VERIFY, &all, &body);
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
    pub fn write(&self, seawall: &dyn Service, closes: bool, out: &mut Vec<u8>) {
        match self.call {
            Call::Refresh => {
                let token = self.tokens.as_ref().map_or("", |tokens| tokens.refresh_token.as_str());
                self.write_sdk(seawall, REFRESH, &json!({"refresh_token": token}).to_string(), out);
            }
            Call::Login => self.write_sdk(seawall, SESSIONS, &self.credentials(seawall), out),
            Call::Register => self.write_sdk(seawall, ACCOUNTS, &self.credentials(seawall), out),
            Call::WithToken => {
                let token = self.tokens.as_ref().map_or("", |tokens| tokens.access_token.as_str());
                out.extend_from_slice(&seawall.get(ACCOUNT, token));
            }
            Call::Verify => self.write_check(closes, out),
        }
    }

    fn credentials(&self, seawall: &dyn Service) -> String {
        let body = credential_body(seawall, &self.credential, &self.device());
        self.proof
            .as_ref()
            .map_or_else(|| body.clone(), |proof| proof.with_body(&body))
    }

    fn write_sdk(&self, seawall: &dyn Service, path: &str, body: &str, out: &mut Vec<u8>) {
        let device = self.device();
        let deadline_ms = u64::try_from(waits(self.call).as_millis()).unwrap_or(u64::MAX);
        let told = self
            .attempt()
            .map(|attempt| headers(attempt, deadline_ms, &seawall.game_id(), &device));
        let ticket = ticket_header(self.call, self.ticket.as_deref());
        let mut told: Vec<_> = told
            .iter()
            .flatten()
            .chain(&ticket)
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        if self.call == Call::Register && self.attempt().is_some() {
            told.push(("Idempotency-Key", &device));
        }
        out.extend_from_slice(&seawall.post(path, &told, body));
    }

    fn write_check(&self, closes: bool, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.check);
        if let Some(attempt) = self.attempt().filter(|_| self.attempt_place > 0)
            && let Some(digit) = out.get_mut(begin + self.attempt_place)
        {
            *digit = b'0' + u8::try_from(attempt.min(9)).unwrap_or(9);
        }
        let written = out.get(begin..).unwrap_or_default();
        if closes && let Some(place) = memchr::memmem::find(written, b"\r\n") {
            let after_line = begin + place + 2;
            out.splice(after_line..after_line, *b"connection: close\r\n");
        }
    }
}
