//! What the client knows for certain, and what it does not: for every player the names, sessions and restrictions that
//! were acknowledged, and the one operation whose answer never came.

use seawall_tests::admin::{Admin, Body};
use seawall_tests::server::{Answer, Client, Failure, fresh_nonce};
use serde_json::{Value, json};

/// A session and every access token it ever had.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: String,
    pub access: Vec<String>,
    pub refresh: String,
    pub live: bool,
}

/// A player as the client knows them.
#[derive(Debug, Clone, Default)]
pub struct Player {
    pub device: String,
    /// `None` for a guest.
    pub name: Option<String>,
    pub password: String,
    pub guest_secret: String,
    pub account_id: String,
    pub player_id: String,
    pub sessions: Vec<Session>,
    /// The restriction in force: its id.
    pub restriction: Option<String>,
    /// The restriction was acknowledged, so the auth log has it.
    pub has_log_of_restriction: bool,
    /// Sent, not answered.
    pub pending: Option<Op>,
    /// Nothing more is done with this player; what is known of them is still checked.
    pub retired: bool,
}

/// An operation on one player, with what is needed to repeat it exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Register {
        key: String,
    },
    Login {
        key: String,
    },
    Refresh {
        key: String,
        session: usize,
    },
    Logout {
        key: String,
        session: usize,
        everywhere: bool,
    },
    Password {
        key: String,
        session: usize,
        next: String,
    },
    PlayerLogout {
        key: String,
    },
    Restrict {
        ticket: String,
    },
    Lift,
}

/// Who asks: the game client, the game server and the operator in one.
#[derive(Clone)]
pub struct Caller {
    pub client: Client,
    pub admin: Admin,
}

/// How an operation ended, as far as the client can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Acknowledged,
    Refused,
    /// Refused for now: nothing happened, and nothing is wrong.
    Later,
    Unknown,
}

impl Op {
    /// Has the same effect once, however often it is sent.
    pub fn is_idempotent(&self) -> bool {
        !matches!(self, Op::Restrict { .. } | Op::Lift)
    }

    /// Sends it. The same player and operation give the same request.
    pub fn send(&self, player: &Player, caller: &Caller) -> Result<Answer, Failure> {
        let client = &caller.client;
        let bearer = |session: &usize| {
            player
                .sessions
                .get(*session)
                .and_then(|s| s.access.last())
                .map(String::as_str)
        };
        match self {
            Op::Register { key } => {
                let body = player.entry(client, &player.new_credential());
                client.sdk_keyed("/sdk/v1/accounts", None, &body, Some(key))
            }
            Op::Login { key } => {
                let body = player.entry(client, &player.credential(&player.password));
                client.sdk_keyed("/sdk/v1/sessions", None, &body, Some(key))
            }
            Op::Refresh { key, session } => {
                let token = player.sessions.get(*session).map(|s| s.refresh.as_str());
                client.sdk_keyed(
                    "/sdk/v1/sessions/refresh",
                    None,
                    &json!({"refresh_token": token}),
                    Some(key),
                )
            }
            Op::Logout {
                key,
                session,
                everywhere,
            } => {
                let body = json!({"everywhere": everywhere});
                client.sdk_keyed("/sdk/v1/sessions/logout", bearer(session), &body, Some(key))
            }
            Op::Password { key, session, next } => {
                let body = json!({"old_password": player.password, "new_password": next});
                client.sdk_keyed("/sdk/v1/account/password", bearer(session), &body, Some(key))
            }
            Op::PlayerLogout { key } => {
                let body = json!({"game_id": client.game_id, "player_id": player.player_id});
                client.server_keyed("/server/v1/players/logout", &body.to_string(), &fresh_nonce(), key)
            }
            Op::Restrict { ticket } => {
                let body = json!({
                    "subject": {"kind": "account", "account_id": player.account_id},
                    "action": "login", "reason": "cheating", "ticket": ticket,
                });
                caller.admin.post("/admin/v1/restrictions", Body::Json(&body))
            }
            Op::Lift => {
                let id = player.restriction.as_deref().unwrap_or("0");
                caller
                    .admin
                    .post(&format!("/admin/v1/restrictions/{id}/lift"), Body::None)
            }
        }
    }
}

/// What an answer says about an operation's effect.
pub fn ended(answer: &Result<Answer, Failure>) -> Ended {
    match answer {
        Ok(answer) if answer.status < 300 => Ended::Acknowledged,
        Ok(answer) if answer.status == 429 || matches!(answer.text("/code"), "store.full" | "store.busy") => {
            Ended::Later
        }
        Ok(answer) if answer.status < 500 => Ended::Refused,
        _ => Ended::Unknown,
    }
}

impl Player {
    pub fn guest(device: String) -> Self {
        Self {
            device,
            ..Self::default()
        }
    }

    pub fn named(device: String, name: String) -> Self {
        Self {
            device,
            password: format!("{name}-0"),
            name: Some(name),
            ..Self::default()
        }
    }

    fn new_credential(&self) -> Value {
        match &self.name {
            Some(name) => json!({"kind": "username", "username": name, "password": format!("{name}-0")}),
            None => json!({"kind": "guest"}),
        }
    }

    /// What this player logs in with.
    pub fn credential(&self, password: &str) -> Value {
        match &self.name {
            Some(name) => json!({"kind": "username", "username": name, "password": password}),
            None => json!({"kind": "guest", "guest_secret": self.guest_secret}),
        }
    }

    fn entry(&self, client: &Client, credential: &Value) -> Value {
        json!({"game_id": client.game_id, "credential": credential, "client": client.device(&self.device)})
    }

    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        self.sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| session.live)
            .map(|(place, _)| place)
    }

    pub fn access(&self, session: usize) -> &str {
        self.sessions
            .get(session)
            .and_then(|s| s.access.last())
            .map_or("", String::as_str)
    }

    /// The sessions that an operation ends.
    pub fn ends(&self, op: &Op) -> Vec<usize> {
        match op {
            Op::Logout {
                session,
                everywhere: false,
                ..
            } => vec![*session],
            Op::Logout { .. } | Op::PlayerLogout { .. } => self.live().collect(),
            Op::Password { session, .. } => self.live().filter(|live| live != session).collect(),
            _ => Vec::new(),
        }
    }

    /// Takes over what an acknowledgement says; the error is what is wrong with it.
    pub fn acknowledge(&mut self, op: &Op, answer: &Answer) -> Result<(), String> {
        for ended in self.ends(op) {
            if let Some(session) = self.sessions.get_mut(ended) {
                session.live = false;
            }
        }
        match op {
            Op::Register { .. } | Op::Login { .. } => self.enter(op, answer)?,
            Op::Refresh { session, .. } => {
                let Some(session) = self.sessions.get_mut(*session) else {
                    return Ok(());
                };
                if answer.text("/session/session_id") != session.id {
                    return Err(format!("refresh of session {} answered {}", session.id, answer.body));
                }
                let access = answer.text("/session/access_token").to_owned();
                session.refresh = answer.text("/session/refresh_token").to_owned();
                if !session.access.contains(&access) {
                    session.access.push(access);
                }
            }
            Op::Password { next, .. } => self.password.clone_from(next),
            Op::Restrict { .. } => {
                self.restriction = Some(answer.text("/restriction_id").to_owned());
                self.has_log_of_restriction = true;
            }
            Op::Lift => self.restriction = None,
            Op::Logout { .. } | Op::PlayerLogout { .. } => {}
        }
        Ok(())
    }

    fn enter(&mut self, op: &Op, answer: &Answer) -> Result<(), String> {
        let account_id = answer.text("/account_id").to_owned();
        if matches!(op, Op::Register { .. }) && self.account_id.is_empty() {
            self.account_id = account_id;
            answer.text("/player_id").clone_into(&mut self.player_id);
            answer.text("/guest_secret").clone_into(&mut self.guest_secret);
        } else if account_id != self.account_id || answer.text("/player_id") != self.player_id {
            let (account, player) = (&self.account_id, &self.player_id);
            return Err(format!("account {account}, player {player} became {}", answer.body));
        }
        let id = answer.text("/session/session_id").to_owned();
        let access = answer.text("/session/access_token").to_owned();
        match self.sessions.iter_mut().find(|session| session.id == id) {
            Some(known) if known.access.contains(&access) => {}
            Some(_) => return Err(format!("session {id} was given out twice")),
            None => self.sessions.push(Session {
                id,
                access: vec![access],
                refresh: answer.text("/session/refresh_token").to_owned(),
                live: true,
            }),
        }
        Ok(())
    }
}

/// One client's players, and the names that must not exist.
#[derive(Debug, Clone, Default)]
pub struct Book {
    pub players: Vec<Player>,
    pub refused_names: Vec<String>,
    /// Answers that contradict what is known.
    pub wrong: Vec<String>,
    pub acknowledged: u64,
}

impl Book {
    /// Notes how an operation ended.
    pub fn note(&mut self, place: usize, op: &Op, result: &Result<Answer, Failure>) {
        let Some(player) = self.players.get_mut(place) else {
            return;
        };
        match (ended(result), result) {
            (Ended::Acknowledged, Ok(answer)) => {
                self.acknowledged += 1;
                player.pending = None;
                if let Err(wrong) = player.acknowledge(op, answer) {
                    self.wrong.push(wrong);
                }
            }
            (Ended::Later, _) => {
                player.pending = None;
                if player.account_id.is_empty() {
                    player.retired = true;
                    self.refused_names.extend(player.name.clone());
                }
            }
            (Ended::Refused, Ok(answer)) => {
                player.pending = None;
                player.retired = true;
                self.wrong
                    .push(format!("{op:?} of {} was refused: {}", player.account_id, answer.body));
            }
            _ => {
                player.retired = true;
            }
        }
    }
}
