//! The mixed load: clients that register, log in, refresh, log out, change passwords, are restricted and let in again,
//! repeat calls with the same key, send calls that must be refused, and check tokens all the while.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use seawall_tests::server::{Answer, Failure, fresh_nonce};
use serde_json::json;

use crate::book::{Book, Caller, Ended, Op, Player, ended};
use crate::dice::Dice;

/// Players that a client goes on with at a time; older ones rest, and are only checked.
const PLAYERS_IN_PLAY: usize = 30;
/// A player with so many sessions rests.
const SESSIONS_MAX: usize = 8;
/// One registration in so many has a name and a password, whose hash is slow on purpose.
const NAMED_EVERY: u64 = 12;

/// One client.
pub struct Worker<'a> {
    pub name: String,
    pub caller: Caller,
    pub book: &'a Mutex<Book>,
    pub dice: Dice,
}

enum Step {
    Act(usize, Op),
    Check(usize),
    Refused(usize),
}

impl Worker<'_> {
    /// Works until told to stop, or until the server is gone.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut number = self.book.lock().map_or(0, |book| book.players.len());
        while !stop.load(Ordering::Relaxed) {
            let goes_on = match self.plan(&mut number) {
                Some(Step::Act(place, op)) => self.act(place, &op),
                Some(Step::Check(place)) => self.check(place),
                Some(Step::Refused(place)) => self.refused(place),
                None => true,
            };
            if !goes_on {
                break;
            }
        }
    }

    fn key(&mut self) -> String {
        format!("{}-{:x}", self.name, self.dice.next())
    }

    /// Chooses the next step; an operation is on the book before it is sent.
    fn plan(&mut self, number: &mut usize) -> Option<Step> {
        let key = self.key();
        let mut book = self.book.lock().ok()?;
        let in_play: Vec<usize> = (0..book.players.len()).rev().take(PLAYERS_IN_PLAY).collect();
        let in_play: Vec<usize> = in_play
            .into_iter()
            .filter(|place| book.players.get(*place).is_some_and(|p| !p.retired))
            .collect();
        if in_play.is_empty() || self.dice.below(100) < 20 {
            *number += 1;
            let device = format!("{}-d{number}", self.name);
            let mut player = if self.dice.below(NAMED_EVERY) == 0 {
                Player::named(device, format!("{}x{number}", self.name))
            } else {
                Player::guest(device)
            };
            let op = Op::Register { key };
            player.pending = Some(op.clone());
            book.players.push(player);
            return Some(Step::Act(book.players.len() - 1, op));
        }
        let place = *self.dice.pick(&in_play)?;
        let player = book.players.get_mut(place)?;
        let step = choose(&mut self.dice, place, player, key);
        if let Step::Act(_, op) = &step {
            player.pending = Some(op.clone());
        }
        Some(step)
    }

    fn player(&self, place: usize) -> Option<Player> {
        self.book.lock().ok()?.players.get(place).cloned()
    }

    fn wrong(&self, text: String) {
        if let Ok(mut book) = self.book.lock() {
            book.wrong.push(text);
        }
    }

    /// Sends an operation; false when the server is gone. Every fourth is sent again at once.
    fn act(&mut self, place: usize, op: &Op) -> bool {
        let Some(player) = self.player(place) else { return true };
        let result = op.send(&player, &self.caller);
        let (how, alive) = (ended(&result), result.is_ok());
        if let Ok(mut book) = self.book.lock() {
            book.note(place, op, &result);
        }
        if let (Ended::Acknowledged, Ok(first)) = (how, result)
            && op.is_idempotent()
            && self.dice.below(4) == 0
        {
            return self.repeat(&player, op, &first);
        }
        if how == Ended::Later {
            crate::world::pause(5);
        }
        alive
    }

    /// The same key and body again: the same effect.
    fn repeat(&self, player: &Player, op: &Op, first: &Answer) -> bool {
        let Ok(again) = op.send(player, &self.caller) else {
            return false;
        };
        if again.status < 500 && again.status != 429 {
            for text in ["/account_id", "/player_id", "/session/session_id", "/guest_secret"] {
                if again.status >= 300 || again.text(text) != first.text(text) {
                    let (first, again) = (&first.body, &again.body);
                    self.wrong(format!("{op:?} answered {first}, its repeat {again}"));
                    break;
                }
            }
        }
        true
    }

    /// Is a token worth what the book says?
    fn check(&mut self, place: usize) -> bool {
        let Some(player) = self.player(place) else { return true };
        let session = self.dice.pick(&(0..player.sessions.len()).collect::<Vec<_>>()).copied();
        let Some(session) = session.and_then(|place| player.sessions.get(place)) else {
            return true;
        };
        let Some(token) = self.dice.pick(&session.access) else {
            return true;
        };
        match self.caller.client.verify(token) {
            Ok(answer) if answer.status == 200 => {
                if let Some(wrong) = contradiction(&player, session.live, &answer) {
                    self.wrong(wrong);
                }
                true
            }
            other => other.is_ok(),
        }
    }

    /// Calls that must be refused and leave nothing.
    fn refused(&mut self, place: usize) -> bool {
        let Some(player) = self.player(place) else { return true };
        let client = &self.caller.client;
        let fresh = format!("{}no{:x}", self.name, self.dice.next() >> 16);
        let taken = player.name.clone().filter(|_| self.dice.below(2) == 0);
        let (credential, name, wanted) = match taken {
            // Somebody has the name.
            Some(taken) => (
                json!({"kind": "username", "username": taken, "password": "another-secret"}),
                None,
                409,
            ),
            // The password is too short.
            None => (
                json!({"kind": "username", "username": fresh, "password": "short"}),
                Some(fresh),
                400,
            ),
        };
        match client.login("/sdk/v1/accounts", &player.device, &credential) {
            Ok(answer) if answer.status < 500 && answer.status != 429 => {
                if answer.status < 300 || (wanted == 409 && answer.status != 409) {
                    self.wrong(format!("{credential} answered {} {}", answer.status, answer.body));
                }
                if let (Some(name), Ok(mut book)) = (name, self.book.lock()) {
                    book.refused_names.push(name);
                }
                true
            }
            other => other.is_ok(),
        }
    }
}

fn choose(dice: &mut Dice, place: usize, player: &mut Player, key: String) -> Step {
    if player.restriction.is_some() {
        return if dice.below(3) == 0 {
            Step::Act(place, Op::Lift)
        } else {
            Step::Check(place)
        };
    }
    let live: Vec<usize> = player.live().collect();
    if player.sessions.len() >= SESSIONS_MAX {
        player.retired = true;
        return Step::Check(place);
    }
    let Some(session) = dice.pick(&live).copied() else {
        return Step::Act(place, Op::Login { key });
    };
    let op = match dice.below(100) {
        0..25 => return Step::Check(place),
        25..30 => return Step::Refused(place),
        30..52 => Op::Refresh { key, session },
        52..68 => Op::Login { key },
        68..82 => Op::Logout {
            key,
            session,
            everywhere: false,
        },
        82..87 => Op::Logout {
            key,
            session,
            everywhere: true,
        },
        87..91 => Op::PlayerLogout { key },
        91..95 if player.name.is_some() => Op::Password {
            next: format!("{}-{}", player.name.as_deref().unwrap_or_default(), dice.next()),
            key,
            session,
        },
        _ => Op::Restrict { ticket: key },
    };
    Step::Act(place, op)
}

/// What is wrong with the answer to a token check, if anything.
pub fn contradiction(player: &Player, live: bool, answer: &Answer) -> Option<String> {
    let wanted = match (live, &player.restriction) {
        (false, _) => "invalid",
        (true, None) => "valid",
        (true, Some(_)) => "denied",
    };
    let status = answer.text("/status");
    let is_right = status == wanted
        && (status != "invalid" || matches!(answer.text("/reason"), "revoked" | "replaced"))
        && (status != "valid" || answer.text("/player_id") == player.player_id);
    let unsure = status == "unknown";
    (!is_right && !unsure).then(|| {
        let account = &player.account_id;
        format!(
            "a token of account {account} must be {wanted}, verify says {}",
            answer.body
        )
    })
}

/// Checks many tokens with few calls; calls back with the answers in order.
pub fn verify_all(caller: &Caller, tokens: &[String], mut each: impl FnMut(usize, &Answer)) -> Result<(), Failure> {
    const BATCH: usize = 400;
    for (batch, chunk) in tokens.chunks(BATCH).enumerate() {
        let answer = caller.client.server(
            "/server/v1/sessions/verify-batch",
            &json!({"tokens": chunk}),
            &fresh_nonce(),
        )?;
        let results = answer.body.pointer("/results").and_then(|results| results.as_array());
        let results = results.ok_or_else(|| format!("verify-batch answered {} {}", answer.status, answer.body))?;
        for (place, body) in results.iter().enumerate() {
            let status = answer.status;
            each(
                batch * BATCH + place,
                &Answer {
                    status,
                    body: body.clone(),
                },
            );
        }
    }
    Ok(())
}
