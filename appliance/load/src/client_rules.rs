//! What a client does with each answer: the rules of `appliance/CLIENT_RULES.md` as code, without I/O; times and dice are arguments.
//!
//! [`Sdk`] is a client that keeps them, a player's or a game server's. [`Naive`] is what many games do instead: any error means
//! "log in again", at once. The load generator simulates both.

use sha2::{Digest, Sha256};

/// First span of the back-off, in milliseconds.
pub const BACK_OFF_BASE_MS: u64 = 1_000;
/// Longest span of the back-off, in milliseconds.
pub const BACK_OFF_MAX_MS: u64 = 60_000;
/// Attempts that one action of the player may take before the player is told.
pub const ATTEMPTS_MAX: u32 = 3;
/// Proofs of work that one attempt is worth. A challenge beyond them, met by as many proofs that did not count, is a failure of it.
pub const PROOFS_MAX: u32 = 3;
/// Instant retries of a naive client.
pub const NAIVE_RETRIES: u32 = 3;
/// How long a naive client waits for any answer, in milliseconds; shorter than a slow disk takes.
pub const NAIVE_TIMEOUT_MS: u64 = 1_000;
/// How long a naive client waits after a login that failed, retries included: about the time of a tap on "again".
pub const NAIVE_PAUSE_MS: u64 = 1_000;
/// Tenths of a token in a full retry budget.
const BUDGET_FULL_TENTHS: u32 = 100;
/// What a failure costs.
const BUDGET_FAILURE_TENTHS: u32 = 10;
/// What a success gives back.
const BUDGET_SUCCESS_TENTHS: u32 = 1;

/// A call as far as the rules tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// A refresh token for the next pair.
    Refresh,
    /// A credential for a session.
    Login,
    /// A new account.
    Register,
    /// Anything a player asks with the access token.
    WithToken,
    /// A game server's check of a player's token.
    Verify,
}

/// What an answer says, as far as the rules read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// HTTP status.
    pub status: u16,
    /// `code` of the body.
    pub code: Option<&'a str>,
    /// `status` of the body of a token check.
    pub verdict: Option<&'a str>,
    /// Whether it has an `X-Request-Id`; what stands between client and server and answers in its place sends none.
    pub is_ours: bool,
    /// `retry_after_ms` of the body, else `Retry-After`, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Whether the body gives a place in the waiting room.
    pub has_place: bool,
    /// Whether the `outcome` of the body is `challenge`.
    pub has_challenge: bool,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen<'a> {
    /// An answer.
    Answer(Reply<'a>),
    /// None: a timeout, a refused or lost connection, an error of TLS or of the name service.
    Nothing,
}

/// What a client may conclude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// It worked.
    Good,
    /// Nobody knows. It says nothing about the player.
    Unknown {
        /// Not before this, in milliseconds; 0 when nothing was said.
        retry_after_ms: u64,
    },
    /// The access token is proven bad.
    AccessBad,
    /// The refresh token is proven bad.
    RefreshBad,
    /// A proof of work comes first.
    Challenged,
    /// A rule refuses this (a ban, a wrong password, maintenance): tell the player; the same again gives the same.
    Refused,
}

impl Seen<'_> {
    /// What it means as the outcome of `call`.
    #[must_use]
    pub fn meaning(&self, call: Call) -> Meaning {
        let Self::Answer(reply) = self else {
            return Meaning::Unknown { retry_after_ms: 0 };
        };
        let unknown = Meaning::Unknown {
            retry_after_ms: reply.retry_after_ms.unwrap_or(0),
        };
        if !reply.is_ours {
            return unknown;
        }
        match (reply.status, call, reply.verdict, reply.code) {
            (200..=299, Call::Verify, Some("valid"), _) => Meaning::Good,
            (200..=299, Call::Verify, Some("denied"), _) => Meaning::Refused,
            (200..=299, Call::Verify, Some("invalid"), _) => Meaning::AccessBad,
            (200..=299, Call::Verify, ..) => unknown,
            (200..=299, Call::Login | Call::Register, ..) if reply.has_challenge => Meaning::Challenged,
            (200..=299, ..) => Meaning::Good,
            // A game server's own key, clock or signature; nothing about the player.
            (401, Call::Verify, ..) => unknown,
            (401, Call::WithToken, _, Some("session.invalid")) => Meaning::AccessBad,
            (401, Call::Refresh, _, Some("refresh.invalid" | "refresh.reused")) => Meaning::RefreshBad,
            (401, Call::Login | Call::Register, _, Some(_)) => Meaning::Refused,
            (401, ..) => unknown,
            (408 | 429, ..) => unknown,
            (400..=499, ..) => Meaning::Refused,
            _ => unknown,
        }
    }
}

/// What a client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It has what it asked for.
    Done,
    /// This call after so many milliseconds, still for the same action.
    Next {
        /// Which.
        call: Call,
        /// In milliseconds; 0 for at once.
        wait_ms: u64,
    },
    /// The action ends without success. Keep the tokens and go on playing; this call again in the background.
    Later {
        /// Which.
        call: Call,
        /// In milliseconds.
        wait_ms: u64,
    },
    /// The work for the challenge that came, then this call again with its proof; it is still the same attempt.
    Prove {
        /// Which.
        call: Call,
    },
    /// The player is told why not; nothing is repeated.
    Tell,
}

/// The wait before attempt `attempt` + 1, where `attempt` counts from 1 and `chance` lies in 0 to 1: random(0, min(60 s, 1 s x
/// 2^(attempt - 1))), and never earlier than the server said.
#[must_use]
pub fn back_off_ms(attempt: u32, chance: f64, retry_after_ms: u64) -> u64 {
    let doublings = attempt.saturating_sub(1).min(6);
    let span_ms = (BACK_OFF_BASE_MS << doublings).min(BACK_OFF_MAX_MS);
    ((span_ms as f64 * chance.clamp(0.0, 1.0)) as u64).max(retry_after_ms)
}

/// When the first call after an update is made: hash(device) x `reconnect_spread_ms`, the same at every start of a device. The hash is
/// the first 8 bytes of SHA-256, big-endian, as a fraction of 2^64.
#[must_use]
pub fn first_call_delay_ms(install_id: &str, reconnect_spread_ms: u64) -> u64 {
    let digest = Sha256::digest(install_id.as_bytes());
    let hash = digest
        .iter()
        .take(8)
        .fold(0_u128, |hash, byte| hash << 8 | u128::from(*byte));
    u64::try_from((hash * u128::from(reconnect_spread_ms)) >> 64).unwrap_or(reconnect_spread_ms)
}

/// The headers a client sends with a call.
#[must_use]
pub fn headers(attempt: u32, deadline_ms: u64, game_id: &str, install_id: &str) -> [(&'static str, String); 4] {
    [
        ("X-Attempt", attempt.to_string()),
        ("X-Deadline-Ms", deadline_ms.to_string()),
        ("Seawall-Game", game_id.to_owned()),
        ("Seawall-Device", install_id.to_owned()),
    ]
}

/// The header a client adds to a login after it was told to wait: the ticket of the last refusal, if there was one.
#[must_use]
pub fn ticket_header(call: Call, ticket: Option<&str>) -> Option<(&'static str, String)> {
    let ticket = ticket.filter(|_| call == Call::Login)?;
    Some(("Seawall-Ticket", ticket.to_owned()))
}

/// Retries a client may make: 10 tokens, one less for each failure, a tenth more for each success, none at half or below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    tenths: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            tenths: BUDGET_FULL_TENTHS,
        }
    }
}

impl Budget {
    /// An attempt failed.
    pub fn failed(&mut self) {
        self.tenths = self.tenths.saturating_sub(BUDGET_FAILURE_TENTHS);
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self) {
        self.tenths = (self.tenths + BUDGET_SUCCESS_TENTHS).min(BUDGET_FULL_TENTHS);
    }

    /// Whether a retry is allowed now.
    #[must_use]
    pub fn allows_retry(&self) -> bool {
        self.tenths > BUDGET_FULL_TENTHS / 2
    }
}

/// A client that keeps the rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sdk {
    budget: Budget,
    /// Attempts of the call that is under way, which failed.
    failed: u32,
    /// Challenges of this attempt.
    challenges: u32,
    access_is_bad: bool,
    refresh_is_bad: bool,
}

impl Sdk {
    /// The number of the attempt that is made next or is under way, from 1; the value of `X-Attempt`.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.failed + 1
    }

    /// What to do after an attempt of `call`; `chance` lies in 0 to 1.
    pub fn after(&mut self, call: Call, seen: &Seen<'_>, chance: f64) -> Step {
        let at_once = |call| Step::Next { call, wait_ms: 0 };
        let is_in_line = matches!(seen, Seen::Answer(reply) if reply.is_ours && reply.has_place);
        let meaning = seen.meaning(call);
        let challenges = std::mem::take(&mut self.challenges);
        match meaning {
            // Neither a failure nor a success, until proofs are met by challenges again and again.
            Meaning::Challenged if challenges < PROOFS_MAX => {
                self.challenges = challenges + 1;
                return Step::Prove { call };
            }
            Meaning::Challenged => return self.again(call, chance, 0),
            // Waiting in line is no failure: it goes on until the turn comes.
            Meaning::Unknown { retry_after_ms } if is_in_line && call == Call::Login => {
                self.failed += 1;
                return Step::Next {
                    call,
                    wait_ms: retry_after_ms,
                };
            }
            Meaning::Unknown { retry_after_ms } => return self.again(call, chance, retry_after_ms),
            Meaning::Good => {
                self.budget.succeeded();
                self.failed = 0;
                match call {
                    Call::Refresh | Call::Login | Call::Register => {
                        (self.access_is_bad, self.refresh_is_bad) = (false, false);
                    }
                    Call::WithToken | Call::Verify => self.access_is_bad = false,
                }
                return Step::Done;
            }
            Meaning::Refused => {
                self.failed = 0;
                return Step::Tell;
            }
            Meaning::AccessBad => self.access_is_bad = true,
            Meaning::RefreshBad => self.refresh_is_bad = true,
        }
        self.failed = 0;
        match (self.access_is_bad, self.refresh_is_bad) {
            (true, true) => at_once(Call::Login),
            (true, false) => at_once(Call::Refresh),
            // The access token may still be good: it is asked for before anybody has to type a password.
            (false, _) => at_once(Call::WithToken),
        }
    }

    fn again(&mut self, call: Call, chance: f64, retry_after_ms: u64) -> Step {
        self.budget.failed();
        self.failed += 1;
        if !self.budget.allows_retry() {
            let wait_ms = BACK_OFF_MAX_MS / 2 + back_off_ms(u32::MAX, chance / 2.0, 0);
            let wait_ms = wait_ms.max(retry_after_ms);
            return Step::Later { call, wait_ms };
        }
        let wait_ms = back_off_ms(self.failed, chance, retry_after_ms);
        if self.failed.is_multiple_of(ATTEMPTS_MAX) {
            Step::Later { call, wait_ms }
        } else {
            Step::Next { call, wait_ms }
        }
    }
}

/// A client without rules: every error is tried again at once, three times; then the player has to log in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Naive {
    retries: u32,
}

impl Naive {
    /// What it does after an attempt of `call`.
    pub fn after(&mut self, call: Call, seen: &Seen<'_>) -> Step {
        let worked = matches!(seen, Seen::Answer(reply) if (200..=299).contains(&reply.status)
            && !reply.has_challenge && (call != Call::Verify || reply.verdict == Some("valid")));
        if worked {
            self.retries = 0;
            return Step::Done;
        }
        if self.retries < NAIVE_RETRIES {
            self.retries += 1;
            return Step::Next { call, wait_ms: 0 };
        }
        self.retries = 0;
        let (call, wait_ms) = match call {
            // Who has no account yet has nothing to log in with.
            Call::Register => (Call::Register, NAIVE_PAUSE_MS),
            Call::Login => (Call::Login, NAIVE_PAUSE_MS),
            Call::Refresh | Call::WithToken | Call::Verify => (Call::Login, 0),
        };
        Step::Next { call, wait_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(status: u16, code: &'static str) -> Seen<'static> {
        Seen::Answer(Reply {
            status,
            code: Some(code),
            is_ours: true,
            ..Reply::default()
        })
    }

    fn checked(verdict: &'static str) -> Seen<'static> {
        Seen::Answer(Reply {
            status: 200,
            verdict: Some(verdict),
            is_ours: true,
            ..Reply::default()
        })
    }

    const GOOD: Seen<'_> = Seen::Answer(Reply {
        status: 200,
        code: None,
        verdict: None,
        is_ours: true,
        retry_after_ms: None,
        has_place: false,
        has_challenge: false,
    });
    const CHALLENGED: Seen<'_> = Seen::Answer(Reply {
        status: 200,
        code: None,
        verdict: None,
        is_ours: true,
        retry_after_ms: None,
        has_place: false,
        has_challenge: true,
    });
    const ALL: [Call; 5] = [
        Call::Refresh,
        Call::Login,
        Call::Register,
        Call::WithToken,
        Call::Verify,
    ];

    #[test]
    fn trouble_says_nothing_about_the_player() {
        let unknown = Meaning::Unknown { retry_after_ms: 0 };
        for call in ALL {
            for status in [408, 429, 500, 502, 503, 504, 521, 599, 302, 101] {
                assert_eq!(ours(status, "x").meaning(call), unknown, "{status} {call:?}");
            }
            assert_eq!(Seen::Nothing.meaning(call), unknown);
            for status in [200, 401, 403, 404] {
                let foreign = Seen::Answer(Reply {
                    status,
                    code: Some("session.invalid"),
                    verdict: Some("invalid"),
                    ..Reply::default()
                });
                assert_eq!(
                    foreign.meaning(call),
                    unknown,
                    "a page of somebody else's, {status} {call:?}"
                );
            }
        }
    }

    #[test]
    fn only_the_named_codes_prove_a_token_bad() {
        assert_eq!(
            ours(401, "session.invalid").meaning(Call::WithToken),
            Meaning::AccessBad
        );
        assert_eq!(ours(401, "refresh.invalid").meaning(Call::Refresh), Meaning::RefreshBad);
        assert_eq!(ours(401, "refresh.reused").meaning(Call::Refresh), Meaning::RefreshBad);
        for (call, code) in [
            (Call::WithToken, "token.missing"),
            (Call::WithToken, "refresh.invalid"),
            (Call::Refresh, "session.invalid"),
            (Call::Verify, "signature.skewed"),
            (Call::Verify, "session.invalid"),
        ] {
            let meaning = ours(401, code).meaning(call);
            assert!(
                matches!(meaning, Meaning::Unknown { .. }),
                "{call:?} {code}: {meaning:?}"
            );
        }
        assert_eq!(ours(401, "credential.invalid").meaning(Call::Login), Meaning::Refused);
        assert_eq!(ours(403, "account.restricted").meaning(Call::Refresh), Meaning::Refused);
    }

    #[test]
    fn a_game_server_reads_the_verdict() {
        assert_eq!(checked("valid").meaning(Call::Verify), Meaning::Good);
        assert_eq!(checked("denied").meaning(Call::Verify), Meaning::Refused);
        assert_eq!(checked("invalid").meaning(Call::Verify), Meaning::AccessBad);
        assert!(matches!(
            checked("unknown").meaning(Call::Verify),
            Meaning::Unknown { .. }
        ));
        assert!(
            matches!(GOOD.meaning(Call::Verify), Meaning::Unknown { .. }),
            "without a verdict nothing is known"
        );
    }

    #[test]
    fn a_login_needs_both_proofs() {
        let next = |call| Step::Next { call, wait_ms: 0 };
        let mut sdk = Sdk::default();
        assert_eq!(
            sdk.after(Call::WithToken, &ours(401, "session.invalid"), 0.5),
            next(Call::Refresh)
        );
        assert_eq!(
            sdk.after(Call::Refresh, &ours(401, "refresh.reused"), 0.5),
            next(Call::Login)
        );
        assert_eq!(sdk.after(Call::Login, &GOOD, 0.5), Step::Done);
        // The refresh token alone is no proof: the access token is asked first.
        assert_eq!(
            sdk.after(Call::Refresh, &ours(401, "refresh.invalid"), 0.5),
            next(Call::WithToken)
        );
        assert_eq!(
            sdk.after(Call::WithToken, &ours(401, "session.invalid"), 0.5),
            next(Call::Login)
        );
        // The proofs are forgotten with the tokens they were about.
        assert_eq!(sdk.after(Call::Login, &GOOD, 0.5), Step::Done);
        assert_eq!(sdk.after(Call::Verify, &checked("invalid"), 0.5), next(Call::Refresh));
    }

    #[test]
    fn trouble_never_leads_to_a_login() {
        let trouble = [
            ours(503, "overload.busy"),
            ours(429, "x"),
            ours(500, "platform.defect"),
            Seen::Nothing,
        ];
        for call in [Call::Refresh, Call::WithToken, Call::Verify] {
            let mut sdk = Sdk::default();
            for round in 0..50 {
                let step = sdk.after(call, &trouble[round % trouble.len()], 0.9);
                let (Step::Next { call: next, .. } | Step::Later { call: next, .. }) = step else {
                    panic!("{step:?}")
                };
                assert_eq!(next, call);
            }
        }
    }

    #[test]
    fn back_off_doubles_to_a_minute_and_obeys_the_server() {
        let longest: Vec<u64> = (1..=9).map(|attempt| back_off_ms(attempt, 1.0, 0)).collect();
        assert_eq!(
            longest,
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]
        );
        assert_eq!(back_off_ms(4, 0.0, 0), 0);
        assert_eq!(back_off_ms(4, 0.5, 0), 4_000);
        assert_eq!(back_off_ms(1, 0.5, 7_000), 7_000, "never earlier than the server says");
        assert_eq!(back_off_ms(u32::MAX, 1.0, 0), BACK_OFF_MAX_MS);
    }

    #[test]
    fn three_attempts_and_then_the_background() {
        let mut sdk = Sdk::default();
        let busy = ours(503, "overload.busy");
        assert_eq!(sdk.attempt(), 1);
        assert!(matches!(
            sdk.after(Call::Refresh, &busy, 0.5),
            Step::Next { wait_ms: 500, .. }
        ));
        assert!(matches!(
            sdk.after(Call::Refresh, &busy, 0.5),
            Step::Next { wait_ms: 1_000, .. }
        ));
        assert_eq!(sdk.attempt(), 3);
        assert!(matches!(
            sdk.after(Call::Refresh, &busy, 0.5),
            Step::Later { wait_ms: 2_000, .. }
        ));
        assert_eq!(sdk.attempt(), 4, "the background does not pose as a first attempt");
        assert_eq!(sdk.after(Call::Refresh, &GOOD, 0.5), Step::Done);
        assert_eq!(sdk.attempt(), 1);
    }

    #[test]
    fn the_budget_stops_retries_at_half_and_comes_back_by_tenths() {
        let mut budget = Budget::default();
        for _ in 0..4 {
            budget.failed();
            assert!(budget.allows_retry());
        }
        budget.failed();
        assert!(!budget.allows_retry(), "five failures leave half");
        budget.succeeded();
        assert!(budget.allows_retry());
        (0..200).for_each(|_| budget.failed());
        (0..50).for_each(|_| budget.succeeded());
        assert!(!budget.allows_retry(), "fifty successes make up for five failures");
        (0..500).for_each(|_| budget.succeeded());
        assert_eq!(budget, Budget::default());
    }

    #[test]
    fn without_a_budget_the_client_waits_long() {
        let mut sdk = Sdk::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            if let Step::Later { wait_ms, .. } = sdk.after(Call::Verify, &Seen::Nothing, 0.0) {
                waits.push(wait_ms);
            }
        }
        assert_eq!(
            waits[1..],
            [30_000; 4],
            "the first is the end of an action, the others are without budget"
        );
    }

    #[test]
    fn devices_spread_evenly_and_each_keeps_its_place() {
        let spread_ms = 60_000;
        let delays: Vec<u64> = (0..10_000)
            .map(|n| first_call_delay_ms(&format!("device-{n}"), spread_ms))
            .collect();
        assert_eq!(delays[7], first_call_delay_ms("device-7", spread_ms));
        for tenth in 0..10 {
            let range = tenth * 6_000..(tenth + 1) * 6_000;
            let count = delays.iter().filter(|delay| range.contains(*delay)).count();
            assert!((850..1150).contains(&count), "{count} of 10,000 in tenth {tenth}");
        }
        assert_eq!(first_call_delay_ms("device", 0), 0);
    }

    #[test]
    fn headers_tell_the_attempt_and_who_asks() {
        let mut sdk = Sdk::default();
        sdk.after(Call::Login, &Seen::Nothing, 0.0);
        let sent = headers(sdk.attempt(), 2_000, "7", "phone");
        let text: Vec<String> = sent.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            text,
            [
                "X-Attempt: 2",
                "X-Deadline-Ms: 2000",
                "Seawall-Game: 7",
                "Seawall-Device: phone"
            ]
        );
    }

    #[test]
    fn a_login_that_was_told_to_wait_shows_its_ticket_and_nothing_else_does() {
        let header = ticket_header(Call::Login, Some("AQ"));
        assert_eq!(header, Some(("Seawall-Ticket", "AQ".to_owned())));
        assert_eq!(ticket_header(Call::Login, None), None);
        assert_eq!(ticket_header(Call::Refresh, Some("AQ")), None);
        let mut sdk = Sdk::default();
        let told = Seen::Answer(Reply {
            status: 503,
            code: Some("overload.busy"),
            is_ours: true,
            retry_after_ms: Some(15_000),
            has_place: true,
            ..Reply::default()
        });
        for _ in 0..50 {
            let step = sdk.after(Call::Login, &told, 0.9);
            let (call, wait_ms) = (Call::Login, 15_000);
            assert_eq!(
                step,
                Step::Next { call, wait_ms },
                "no failure, and no end of the action"
            );
        }
        assert!(sdk.budget.allows_retry());
        assert_eq!(sdk.attempt(), 51);
    }

    #[test]
    fn a_challenge_is_no_failure_until_proofs_are_in_vain() {
        for call in [Call::Login, Call::Register] {
            let mut sdk = Sdk::default();
            for _ in 0..PROOFS_MAX {
                assert_eq!(sdk.after(call, &CHALLENGED, 0.5), Step::Prove { call });
                assert_eq!(sdk.attempt(), 1, "the call with its proof is the same attempt");
            }
            let step = sdk.after(call, &CHALLENGED, 0.5);
            assert_eq!(step, Step::Next { call, wait_ms: 500 }, "a failure, with its back-off");
            assert_eq!(sdk.attempt(), 2);
            assert_eq!(
                sdk.after(call, &CHALLENGED, 0.5),
                Step::Prove { call },
                "another attempt"
            );
            assert_eq!(
                sdk.after(call, &Seen::Nothing, 0.5),
                Step::Next { call, wait_ms: 1_000 }
            );
            assert_eq!(sdk.challenges, 0);
            assert_eq!(sdk.after(call, &GOOD, 0.5), Step::Done);
        }
        let foreign = Seen::Answer(Reply {
            status: 200,
            has_challenge: true,
            ..Reply::default()
        });
        assert!(matches!(foreign.meaning(Call::Login), Meaning::Unknown { .. }));
    }

    #[test]
    fn the_naive_client_takes_a_challenge_for_an_error() {
        let mut naive = Naive::default();
        let call = Call::Register;
        for _ in 0..NAIVE_RETRIES {
            assert_eq!(naive.after(call, &CHALLENGED), Step::Next { call, wait_ms: 0 });
        }
        let wait_ms = NAIVE_PAUSE_MS;
        assert_eq!(naive.after(call, &CHALLENGED), Step::Next { call, wait_ms });
    }

    #[test]
    fn the_naive_client_logs_in_after_any_error() {
        for seen in [
            ours(503, "overload.busy"),
            ours(429, "x"),
            Seen::Nothing,
            checked("unknown"),
        ] {
            let mut naive = Naive::default();
            for _ in 0..NAIVE_RETRIES {
                let step = naive.after(Call::Verify, &seen);
                assert_eq!(
                    step,
                    Step::Next {
                        call: Call::Verify,
                        wait_ms: 0
                    }
                );
            }
            assert_eq!(
                naive.after(Call::Verify, &seen),
                Step::Next {
                    call: Call::Login,
                    wait_ms: 0
                }
            );
        }
        let mut naive = Naive::default();
        assert_eq!(naive.after(Call::Verify, &checked("valid")), Step::Done);
        for _ in 0..NAIVE_RETRIES {
            naive.after(Call::Login, &Seen::Nothing);
        }
        let wait_ms = NAIVE_PAUSE_MS;
        assert_eq!(
            naive.after(Call::Login, &Seen::Nothing),
            Step::Next {
                call: Call::Login,
                wait_ms
            }
        );
    }
}
