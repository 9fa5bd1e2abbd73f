//! Writing the log: what a verb notes, the stored form, and its search keys.
//!
//! Records of players are queued and synced with the log's next group: a login does not wait for them, and a full
//! queue costs a record, counted, never a login. Acts of staff are awaited.

use serde::{Deserialize, Serialize};

use crate::account::ClientInfo;
use crate::call::{Call, LearntFrom};
use crate::codes::OUTCOME_UNKNOWN;
use crate::error::{Error, Kind};
use crate::ids::{AccountId, GameId, PackageId, PlayerId, UnixMs};
use crate::platform::Platform;
use crate::tables::account::DeviceHash;
use crate::token::Claims;

/// Version byte in front of every record.
pub(super) const RECORD_VERSION: u8 = 1;

/// What a verb notes of a call while it learns it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthNote {
    pub(crate) op: &'static str,
    pub(crate) account: Option<AccountId>,
    pub(crate) game: Option<GameId>,
    pub(crate) player: Option<PlayerId>,
    pub(crate) device: Option<DeviceHash>,
    pub(crate) package: Option<PackageId>,
}

impl AuthNote {
    pub(crate) fn new(op: &'static str) -> Self {
        Self { op, ..Self::default() }
    }

    pub(crate) fn of_client(op: &'static str, game: GameId, client: &ClientInfo) -> Self {
        Self {
            game: Some(game),
            package: Some(client.package_id),
            ..Self::new(op)
        }
    }

    /// Takes over what an authentic token tells.
    pub(crate) fn of_claims(&mut self, claims: &Claims) {
        self.account = Some(claims.account_id);
        self.game = Some(claims.game_id);
        self.player = Some(claims.player_id);
        self.package = Some(claims.package_id);
    }
}

/// A record as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) at: UnixMs,
    pub(super) op: String,
    pub(super) result: String,
    pub(super) account: Option<AccountId>,
    pub(super) game: Option<GameId>,
    pub(super) player: Option<PlayerId>,
    pub(super) device: Option<DeviceHash>,
    pub(super) package: Option<PackageId>,
    pub(super) ip: Option<std::net::IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) learnt_from: LearntFrom,
    pub(super) caller: String,
    pub(super) request_id: [u8; 16],
}

/// What records are found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchKey<'a> {
    Account(AccountId),
    Player(GameId, PlayerId),
    Ip(std::net::IpAddr),
    Device(&'a DeviceHash),
}

impl SearchKey<'_> {
    /// Kind and hash as the log indexes them.
    pub(super) fn kind_and_hash(self) -> (u8, u64) {
        let mut hasher = blake3::Hasher::new();
        let kind = match self {
            Self::Account(account) => {
                hasher.update(&account.0.to_be_bytes());
                1
            }
            Self::Player(game, player) => {
                hasher.update(&game.0.to_be_bytes()).update(&player.0.to_be_bytes());
                2
            }
            Self::Ip(ip) => {
                hasher.update(ip.to_canonical().to_string().as_bytes());
                3
            }
            Self::Device(device) => {
                hasher.update(device);
                4
            }
        };
        let mut hash = [0; 8];
        hasher.finalize_xof().fill(&mut hash);
        (kind, u64::from_be_bytes(hash))
    }
}

impl Stored {
    fn keys(&self) -> Vec<(u8, u64)> {
        let player = self
            .game
            .zip(self.player)
            .map(|(game, player)| SearchKey::Player(game, player));
        let keys = [
            self.account.map(SearchKey::Account),
            player,
            self.ip.map(SearchKey::Ip),
            self.device.as_ref().map(SearchKey::Device),
        ];
        keys.into_iter().flatten().map(SearchKey::kind_and_hash).collect()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![RECORD_VERSION];
        bytes.extend_from_slice(&postcard::to_allocvec(self).ok()?);
        Some(bytes)
    }
}

/// The note of a login while its outcome is not known. Dropped before, because the caller left, it says that much: the
/// login may have begun and have ended another session, and the log must tell by whom.
pub(crate) struct OpenNote<'a> {
    platform: &'a Platform,
    call: &'a Call,
    pub(crate) note: AuthNote,
    is_settled: bool,
}

impl<'a> OpenNote<'a> {
    pub(crate) fn new(platform: &'a Platform, call: &'a Call, note: AuthNote) -> Self {
        Self {
            platform,
            call,
            note,
            is_settled: false,
        }
    }

    /// The outcome is known and noted by who knows it.
    pub(crate) fn settle(mut self) -> AuthNote {
        self.is_settled = true;
        std::mem::take(&mut self.note)
    }
}

impl Drop for OpenNote<'_> {
    fn drop(&mut self) {
        if !self.is_settled && self.note.account.is_some() {
            self.platform
                .auth_note_queued(self.call, &self.note, Some(&OUTCOME_UNKNOWN.error()));
        }
    }
}

impl Platform {
    /// Notes what a player's call came to, without waiting. Calls that failed for our own trouble leave no record:
    /// they said nothing about anybody, and come by the thousand when they come.
    pub(crate) fn auth_note(&self, call: &Call, note: &AuthNote, error: Option<&Error>) {
        if error.is_some_and(|error| matches!(error.code.kind, Kind::Unavailable | Kind::Limited)) {
            return;
        }
        self.auth_note_queued(call, note, error);
    }

    fn auth_note_queued(&self, call: &Call, note: &AuthNote, error: Option<&Error>) {
        let stored = self.stored(call, note, error);
        let queued = stored
            .encode()
            .is_some_and(|record| self.inner.auth_log.enqueue(record, &stored.keys()));
        if !queued {
            self.inner
                .tally
                .auth_log_dropped
                .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// Notes what an act of staff came to; the answer waits until the note is durable.
    pub(crate) async fn auth_note_durable(
        &self,
        call: &Call,
        note: &AuthNote,
        error: Option<&Error>,
    ) -> Result<(), Error> {
        let stored = self.stored(call, note, error);
        match stored.encode() {
            Some(record) => self.inner.auth_log.append(record, &stored.keys()).await,
            None => Ok(()),
        }
    }

    fn stored(&self, call: &Call, note: &AuthNote, error: Option<&Error>) -> Stored {
        Stored {
            at: self.now_at(),
            op: note.op.to_owned(),
            result: error.map_or("ok", |error| error.code.name).to_owned(),
            account: note.account,
            game: note.game,
            player: note.player,
            device: note.device,
            package: note.package,
            ip: call.address.ip,
            port: call.address.port,
            learnt_from: call.address.learnt_from,
            caller: call.caller.to_string(),
            request_id: call.request_id,
        }
    }
}
