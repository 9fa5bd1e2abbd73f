//! Pairs of tokens, recomputed from facts; and the bearer of an access token.

use crate::call::Call;
use crate::codes::{ACCOUNT_DELETED, REFRESH_INVALID, SESSION_INVALID};
use crate::error::Error;
use crate::ids::UnixMs;
use crate::platform::{Platform, defect};
use crate::proof::Proof;
use crate::session::SessionTokens;
use crate::tables::session::PairFacts;
use crate::token::{Claims, DecodeFailure, MacRing};

/// The pair that facts stand for.
pub(crate) fn tokens(ring: &MacRing, facts: &PairFacts) -> Result<SessionTokens, Error> {
    let access = claims(facts, facts.access_expires_at);
    let refresh = claims(facts, facts.refresh_expires_at);
    let (Some(access_token), Some(refresh_token)) = (
        ring.access_token(&access),
        ring.refresh_token(&refresh, facts.generation),
    ) else {
        return Err(defect("A MAC key is missing"));
    };
    Ok(SessionTokens {
        session_id: facts.session_id,
        access_token,
        access_expires_at: facts.access_expires_at,
        refresh_token,
        refresh_expires_at: facts.refresh_expires_at,
    })
}

fn claims(facts: &PairFacts, expires_at: UnixMs) -> Claims {
    Claims {
        mac_key_id: facts.mac_key_id,
        game_id: facts.game_id,
        package_id: facts.package_id,
        account_id: facts.account_id,
        player_id: facts.player_id,
        session_id: facts.session_id,
        issued_at: facts.issued_at,
        expires_at,
    }
}

impl Platform {
    /// The pair that facts stand for.
    pub(crate) fn tokens(&self, facts: &PairFacts) -> Result<SessionTokens, Error> {
        tokens(&self.catalogue().mac_ring, facts)
    }

    /// What an access token of ours says, whether or not it is still good.
    pub(crate) fn authentic(&self, token: &str) -> Option<Claims> {
        self.catalogue().mac_ring.read_access(token).ok()
    }

    /// Whose access token this is. From memory.
    pub(crate) fn bearer(&self, _call: &Call, token: &str) -> Result<Claims, Error> {
        self.require_ready()?;
        let claims = self
            .judge_access(token, self.now_at())
            .map_err(|proof| proven(SESSION_INVALID.error(), proof))?;
        if self.inner.mirrors.deletions().contains(claims.account_id) {
            return Err(ACCOUNT_DELETED.error());
        }
        Ok(claims)
    }

    /// Reads an access token and looks for a proof against it: MAC, end, revocation.
    pub(crate) fn judge_access(&self, token: &str, now_at: UnixMs) -> Result<Claims, Proof> {
        let claims = self
            .catalogue()
            .mac_ring
            .read_access(token)
            .map_err(Proof::of_decoding)?;
        match Proof::of_expiry(&claims, now_at).or_else(|| self.proof_of_revocation(&claims)) {
            Some(proof) => Err(proof),
            None => Ok(claims),
        }
    }

    /// A revocation record that covers the token, as a proof.
    pub(crate) fn proof_of_revocation(&self, claims: &Claims) -> Option<Proof> {
        let revocations = self.inner.mirrors.revocations();
        revocations
            .find(claims.session_id, claims.account_id, claims.game_id, claims.player_id)
            .map(Proof::of_revocation)
    }

    /// Reads a refresh token; its end and revocation are judged inside the transaction.
    pub(crate) fn read_refresh(&self, token: &str) -> Result<(Claims, u32), Error> {
        self.require_ready()?;
        let read = self.catalogue().mac_ring.read_refresh(token);
        read.map_err(|failure: DecodeFailure| proven(REFRESH_INVALID.error(), Proof::of_decoding(failure)))
    }
}

/// The error with the reason that is proven.
pub(crate) fn proven(error: Error, proof: Proof) -> Error {
    error.with("reason", proof.reason().name())
}
