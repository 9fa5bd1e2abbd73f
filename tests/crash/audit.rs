//! The auditor: after a restart it compares everything the clients know with what the platform says.
//!
//! Acknowledged writes exist; refused ones do not; an unanswered one is there as a whole or not at all, and repeating it
//! with its key leaves one effect; no token that was revoked is valid, and no valid token is invalid; the chain of the
//! journal recomputes, and indexes equal records.

use seawall_tests::server::{Answer, Failure};
use serde_json::Value;

use crate::book::{Book, Caller, Op, Player};
use crate::dice::Dice;
use crate::importer::Import;
use crate::load::{contradiction, verify_all};

/// Accounts looked at besides the ones with an unanswered operation.
const ACCOUNTS_SHOWN: usize = 120;
/// Refused names looked up.
const NAMES_SHOWN: usize = 40;
/// Restricted accounts looked up in the auth log.
const LOGS_SEARCHED: usize = 15;
/// Sessions refreshed, to see that they can still be used.
const REFRESHED: usize = 10;
/// Findings reported; more only repeat the same.
const FINDINGS_MAX: usize = 12;

/// Everything the clients know.
#[derive(Debug, Clone)]
pub struct Known {
    pub books: Vec<Book>,
    pub import: Import,
    /// The auth log was not damaged on purpose: staff acts that were acknowledged are in it.
    pub has_auth_log: bool,
}

/// What an audit came to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Audited {
    pub tokens: usize,
    pub accounts: usize,
    pub resolved: usize,
}

impl Known {
    pub fn acknowledged(&self) -> u64 {
        self.books.iter().map(|book| book.acknowledged).sum()
    }
}

/// Audits the platform behind `caller`; the error lists what is wrong. What was unknown is known afterwards.
pub fn audit(known: &mut Known, caller: &Caller, dice: &mut Dice) -> Result<Audited, String> {
    let mut audit = Audit {
        caller,
        findings: Vec::new(),
        seen: Audited::default(),
    };
    let walked = audit.walk(known, dice);
    let mut findings = audit.findings;
    findings.extend(walked.err().map(|error| format!("the audit could not go on: {error}")));
    for book in &mut known.books {
        findings.append(&mut book.wrong);
    }
    findings.append(&mut known.import.wrong);
    if findings.is_empty() {
        return Ok(audit.seen);
    }
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    findings.truncate(FINDINGS_MAX);
    Err(format!(
        "{}{}",
        findings.join("\n  "),
        if more > 0 {
            format!("\n  and {more} more")
        } else {
            String::new()
        }
    ))
}

struct Audit<'a> {
    caller: &'a Caller,
    findings: Vec<String>,
    seen: Audited,
}

impl Audit<'_> {
    fn walk(&mut self, known: &mut Known, dice: &mut Dice) -> Result<(), Failure> {
        for player in known.books.iter_mut().flat_map(|book| &mut book.players) {
            if let Some(op) = player.pending.take() {
                self.seen.resolved += 1;
                if let Err(finding) = self.resolve(player, &op)? {
                    self.findings.push(finding);
                }
            }
        }
        self.tokens(known)?;
        self.accounts(known, dice)?;
        self.auth_log(known)?;
        self.refused(known, dice)?;
        known.import.audit(self.caller)?;
        self.refresh_some(known, dice)
    }

    /// Settles an operation whose answer never came. The inner error is a finding.
    fn resolve(&mut self, player: &mut Player, op: &Op) -> Result<Result<(), String>, Failure> {
        let before = player.clone();
        match op {
            Op::Restrict { ticket } => {
                player.restriction = self.restriction_in_force(&before, Some(ticket))?;
                player.has_log_of_restriction = false; // a crash may fall between the act and its record
                return Ok(Ok(()));
            }
            Op::Lift => {
                player.restriction = self.restriction_in_force(&before, None)?;
                return Ok(Ok(()));
            }
            _ => {}
        }
        if let Err(finding) = self.whole_or_absent(&before, op)? {
            return Ok(Err(finding));
        }
        let existed = self.shown_by_name(&before)?;
        let first = op.send(&before, self.caller)?;
        let again = op.send(&before, self.caller)?;
        let told = |what: &str| {
            Ok(Err(format!(
                "{what}: {op:?} answered {}, then {}",
                first.body, again.body
            )))
        };
        if first.status >= 300 || again.status >= 300 {
            return told("an unanswered call must have its effect when it is repeated");
        }
        for text in ["/account_id", "/session/session_id", "/guest_secret"] {
            if first.text(text) != again.text(text) {
                return told("one key, two effects");
            }
        }
        if let (Op::Register { .. }, Some(account)) = (op, existed)
            && first.text("/account_id") != account
        {
            return told(&format!("the name was account {account} after the crash"));
        }
        if let Err(finding) = player.acknowledge(op, &first) {
            return Ok(Err(finding));
        }
        self.passwords(&before, player, op)
    }

    /// After a password change the new one lets in and the old one does not.
    fn passwords(&self, before: &Player, now: &Player, op: &Op) -> Result<Result<(), String>, Failure> {
        if !matches!(op, Op::Password { .. }) {
            return Ok(Ok(()));
        }
        let client = &self.caller.client;
        for (password, wanted) in [(&now.password, 200), (&before.password, 401)] {
            // A device of its own; the session it makes is nobody's.
            let answer = client.login("/sdk/v1/sessions", "auditor", &now.credential(password))?;
            if answer.status != wanted {
                return Ok(Err(format!(
                    "after {op:?} a password answered {} {}",
                    answer.status, answer.body
                )));
            }
        }
        Ok(Ok(()))
    }

    /// What an operation ends, ends together.
    fn whole_or_absent(&self, player: &Player, op: &Op) -> Result<Result<(), String>, Failure> {
        let ends = player.ends(op);
        let tokens: Vec<String> = ends.iter().map(|session| player.access(*session).to_owned()).collect();
        let mut valid = 0;
        verify_all(self.caller, &tokens, |_, answer| {
            valid += usize::from(answer.text("/status") == "valid")
        })?;
        let is_whole = valid == 0 || valid == tokens.len();
        Ok(if is_whole {
            Ok(())
        } else {
            Err(format!(
                "half of {op:?} happened: {valid} of {} are valid",
                tokens.len()
            ))
        })
    }

    fn restriction_in_force(&self, player: &Player, ticket: Option<&str>) -> Result<Option<String>, Failure> {
        let answer = self.show(&format!("account_id={}", player.account_id))?;
        let found = answer
            .body
            .pointer("/restrictions")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let in_force = found.iter().find(|restriction| {
            let text = |name: &str| restriction.get(name).and_then(Value::as_str);
            let wanted = match ticket {
                Some(ticket) => text("ticket") == Some(ticket),
                None => text("restriction_id") == player.restriction.as_deref(),
            };
            wanted && restriction.get("until_at").is_none_or(Value::is_null)
        });
        Ok(in_force
            .and_then(|found| found.get("restriction_id")?.as_str())
            .map(str::to_owned))
    }

    fn show(&self, query: &str) -> Result<Answer, Failure> {
        self.caller.admin.get(&format!("/admin/v1/accounts/show?{query}"))
    }

    fn shown_by_name(&self, player: &Player) -> Result<Option<String>, Failure> {
        let Some(name) = &player.name else { return Ok(None) };
        let answer = self.show(&format!("realm_id=1&username={name}"))?;
        Ok((answer.status == 200).then(|| answer.text("/account_id").to_owned()))
    }

    /// Every token anybody ever had is worth what it must be.
    fn tokens(&mut self, known: &Known) -> Result<(), Failure> {
        let (mut tokens, mut owners) = (Vec::new(), Vec::new());
        for player in known.books.iter().flat_map(|book| &book.players) {
            for session in &player.sessions {
                for token in &session.access {
                    tokens.push(token.clone());
                    owners.push((player, session.live));
                }
            }
        }
        self.seen.tokens = tokens.len();
        let findings = &mut self.findings;
        verify_all(self.caller, &tokens, |place, answer| {
            if let Some((player, live)) = owners.get(place) {
                findings.extend(contradiction(player, *live, answer));
                if answer.text("/status") == "unknown" {
                    findings.push(format!("a quiet server does not know a token: {}", answer.body));
                }
            }
        })
    }

    /// Acknowledged accounts are there, whole.
    fn accounts(&mut self, known: &Known, dice: &mut Dice) -> Result<(), Failure> {
        let all: Vec<&Player> = known
            .books
            .iter()
            .flat_map(|book| &book.players)
            .filter(|player| !player.account_id.is_empty())
            .collect();
        let newest = all.iter().rev().take(ACCOUNTS_SHOWN / 2).copied();
        let some: Vec<&Player> = (0..ACCOUNTS_SHOWN / 2)
            .filter_map(|_| dice.pick(&all).copied())
            .collect();
        for player in newest.chain(some) {
            self.seen.accounts += 1;
            let answer = self.show(&format!("account_id={}", player.account_id))?;
            let text = |pointer: &str| answer.body.pointer(pointer).and_then(Value::as_str);
            let is_whole = answer.status == 200
                && text("/username") == player.name.as_deref()
                && text("/players/0/player_id") == Some(&player.player_id)
                && text("/players/1/player_id").is_none()
                && text("/identities/0/kind") == Some(if player.name.is_some() { "username" } else { "guest" });
            if !is_whole {
                let account = &player.account_id;
                self.findings.push(format!(
                    "acknowledged account {account} shows {} {}",
                    answer.status, answer.body
                ));
            }
        }
        Ok(())
    }

    /// A restriction is acknowledged only when the auth log has it, durably: a duty of the law.
    fn auth_log(&mut self, known: &Known) -> Result<(), Failure> {
        let players = known.books.iter().flat_map(|book| book.players.iter().rev());
        let restricted = players
            .filter(|player| player.restriction.is_some() && player.has_log_of_restriction && known.has_auth_log);
        for player in restricted.take(LOGS_SEARCHED) {
            let account = &player.account_id;
            let answer = self
                .caller
                .admin
                .get(&format!("/admin/v1/auth-log?account_id={account}&limit=100"))?;
            let records = answer
                .body
                .pointer("/records")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let has_it = records
                .iter()
                .any(|record| record.get("op").and_then(Value::as_str) == Some("account.restrict"));
            if !has_it {
                self.findings.push(format!(
                    "acknowledged account {account} is restricted, and the auth log does not know"
                ));
            }
        }
        Ok(())
    }

    /// Refused registrations left nothing.
    fn refused(&mut self, known: &Known, dice: &mut Dice) -> Result<(), Failure> {
        let names: Vec<&String> = known.books.iter().flat_map(|book| &book.refused_names).collect();
        for name in (0..NAMES_SHOWN.min(names.len())).filter_map(|_| dice.pick(&names)) {
            let answer = self.show(&format!("realm_id=1&username={name}"))?;
            if answer.status != 404 {
                self.findings
                    .push(format!("refused name {name} answers {} {}", answer.status, answer.body));
            }
        }
        Ok(())
    }

    /// Sessions are not only recognised, they work.
    fn refresh_some(&mut self, known: &mut Known, dice: &mut Dice) -> Result<(), Failure> {
        let mut able: Vec<&mut Player> = known
            .books
            .iter_mut()
            .flat_map(|book| &mut book.players)
            .filter(|player| player.restriction.is_none() && player.live().next().is_some())
            .collect();
        for _ in 0..REFRESHED.min(able.len()) {
            let place = usize::try_from(dice.below(able.len() as u64))?;
            let player = able.swap_remove(place);
            let Some(session) = player.live().next() else { continue };
            let op = Op::Refresh {
                key: format!("audit-{:x}", dice.next()),
                session,
            };
            let answer = op.send(player, self.caller)?;
            let taken = if answer.status == 200 {
                player.acknowledge(&op, &answer)
            } else {
                Err(answer.body.to_string())
            };
            if let Err(finding) = taken {
                self.findings.push(format!(
                    "a live session of account {} does not refresh: {finding}",
                    player.account_id
                ));
            }
        }
        Ok(())
    }
}
