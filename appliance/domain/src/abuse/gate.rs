//! The limits in front of the verbs that cost a hash or make something: before any of that, from memory.

use std::sync::atomic::Ordering;

use super::{Attempt, Callers, LimitAction, Verdict};
use crate::call::Call;
use crate::challenge::ChallengeResponse;
use crate::codes::CREDENTIAL_INVALID;
use crate::error::Error;
use crate::game::ChallengePolicy;
use crate::identity::{IdentityKind, identity_key};
use crate::ids::GameId;
use crate::platform::Platform;
use crate::session::create::name_kind;
use crate::session::entry::Entry;
use crate::session::{Credential, LoginOutcome};
use crate::tables::account::{DEVICES, IDENTITIES, IdentityKey};
use crate::token::Claims;

/// What an attempt that is not refused must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Nothing.
    Open,
    /// Bring a proof of work.
    AsksForProof,
}

/// A login or registration as the limits see it.
pub(crate) struct Entrant {
    pub(crate) attempt: Attempt,
    /// Key of the name it is about.
    name: Option<IdentityKey>,
}

impl Platform {
    /// Asks logins and registrations of devices that the account does not know for a proof of work, or stops asking: the
    /// switch of whoever watches the load. Games whose [`ChallengePolicy`] says so are asked always or never. Limits ask on
    /// their own.
    pub fn ask_for_challenges(&self, is_on: bool) {
        self.inner.asks_for_challenges.store(is_on, Ordering::Relaxed);
    }

    /// Whether pressure asks for a proof of work now.
    #[must_use]
    pub fn asks_for_challenges(&self) -> bool {
        self.inner.asks_for_challenges.load(Ordering::Relaxed)
    }

    /// A login or registration as the limits see it.
    pub(crate) fn entrant(&self, call: &Call, entry: &Entry, credential: &Credential) -> Entrant {
        let key =
            |kind: IdentityKind, subject: &str| identity_key(&self.inner.lookup, entry.realm_id, kind, "", subject);
        let name = match credential {
            Credential::Username { username, .. } => {
                let kind = name_kind(username);
                kind.subject(username).map(|subject| key(kind, &subject))
            }
            Credential::Guest { guest_secret } => {
                guest_secret.as_deref().map(|secret| key(IdentityKind::Guest, secret))
            }
        };
        Entrant {
            attempt: Attempt {
                device: Some(entry.device),
                account: name.map(|name| name_id(&name)),
                game: Some((entry.game_id, entry.package_id)),
                ..Attempt::from(&call.address)
            },
            name,
        }
    }

    /// Counts and judges a login or registration. Touches the store only to find out whether the device is known to the
    /// account: when that is beyond its limit, and when pressure or the game asks strangers for a proof.
    ///
    /// # Errors
    /// `limit.*`, or our own trouble.
    pub(crate) async fn screen(&self, entrant: &Entrant, entry: &Entry) -> Result<Gate, Error> {
        let (limits, now_at) = (&self.inner.abuse, self.now_at());
        let mut callers = limits.callers(&entrant.attempt, now_at);
        let is_refused = callers.device.is_some_and(|over| over.action == LimitAction::Refuse);
        if callers.account.is_some() && !is_refused && self.is_known_device(entrant, entry).await? {
            callers.account = None;
        }
        match limits.decide(&entrant.attempt, callers, now_at) {
            Verdict::Refuse(over) => Err(over.error()),
            Verdict::Challenge(_) => Ok(Gate::AsksForProof),
            Verdict::Pass if self.asks_strangers(entry) && !self.is_known_device(entrant, entry).await? => {
                Ok(Gate::AsksForProof)
            }
            Verdict::Pass => Ok(Gate::Open),
        }
    }

    /// Must a device that the account does not know bring a proof?
    fn asks_strangers(&self, entry: &Entry) -> bool {
        match entry.settings.challenges {
            ChallengePolicy::Off => false,
            ChallengePolicy::Auto => self.asks_for_challenges(),
            ChallengePolicy::Always => true,
        }
    }

    /// Has this device logged in to the account of this name before?
    async fn is_known_device(&self, entrant: &Entrant, entry: &Entry) -> Result<bool, Error> {
        let Some(name) = entrant.name else {
            return Ok(false);
        };
        let Some(identity) = self.inner.store.get(&IDENTITIES, &name).await? else {
            return Ok(false);
        };
        let key = (identity.account_id, entry.game_id, entry.device);
        Ok(self.inner.store.get(&DEVICES, &key).await?.is_some())
    }

    /// The challenge to answer with, when the gate asks for a proof and `response` is none: a wrong, used or expired
    /// one gets a fresh challenge, never a refusal.
    ///
    /// # Errors
    /// `overload.busy` when too many used proofs are remembered.
    pub(crate) fn challenge(
        &self,
        gate: Gate,
        game: GameId,
        response: Option<&ChallengeResponse>,
    ) -> Result<Option<LoginOutcome>, Error> {
        let (challenges, now_at) = (&self.inner.challenges, self.now_at());
        let is_paid = match (gate, response) {
            (Gate::Open, _) => true,
            (Gate::AsksForProof, None) => false,
            (Gate::AsksForProof, Some(response)) => challenges.redeem(response, game, now_at)?,
        };
        if is_paid {
            return Ok(None);
        }
        challenges.issue(game, now_at, &self.entropy()).map(Some)
    }

    /// Counts an attempt of a token's holder. The token is a proof of its own, so that nothing is asked for; what is
    /// beyond the account's limits is refused.
    ///
    /// # Errors
    /// `limit.*`.
    pub(crate) fn screen_bearer(&self, call: &Call, claims: &Claims) -> Result<Attempt, Error> {
        let attempt = Attempt {
            account: Some(u128::from(claims.account_id.0)),
            game: Some((claims.game_id, claims.package_id)),
            ..Attempt::from(&call.address)
        };
        let now_at = self.now_at();
        let callers: Callers = self.inner.abuse.callers(&attempt, now_at);
        match self.inner.abuse.decide(&attempt, callers, now_at) {
            Verdict::Refuse(over) => Err(over.error()),
            Verdict::Pass | Verdict::Challenge(_) => Ok(attempt),
        }
    }

    /// Counts a wrong password.
    pub(crate) fn count_failure(&self, attempt: &Attempt, error: Option<&Error>) {
        if error.is_some_and(|error| error.code == CREDENTIAL_INVALID) {
            self.inner.abuse.failure(attempt, self.now_at());
        }
    }
}

/// 128 bits of a name's key. They cannot meet an account's id, whose upper half is zero.
fn name_id((realm, kind, hash): &IdentityKey) -> u128 {
    let head = hash.first_chunk::<16>().copied().unwrap_or_default();
    u128::from_be_bytes(head) ^ (u128::from(realm.0) << 8 | u128::from(*kind))
}
