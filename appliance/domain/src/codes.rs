//! Every error code the domain can answer with. A plain list: the OpenAPI document, the reference page and the test
//! that each code has a case all walk [`CODES`].

use crate::error::{Code, Kind};

macro_rules! codes {
    ($($ident:ident = $kind:ident $name:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $ident: Code = Code { name: $name, kind: Kind::$kind, doc: $doc };)*
        /// All codes of the domain, in the order of this file.
        pub const CODES: &[Code] = &[$($ident),*];
    };
}

codes! {
    FIELD_INVALID = Invalid "request.field_invalid", "A field breaks its rule; `field` names it, `rule` says which.";
    IDEMPOTENCY_REQUIRED = Invalid "idempotency.required", "This call needs an Idempotency-Key header (1-255 visible ASCII characters).";
    IDEMPOTENCY_MISMATCH = Conflict "idempotency.mismatch", "This Idempotency-Key was used for another request; use a new key.";
    SIGNATURE_MISSING = Unauthenticated "signature.missing", "A Seawall-Key-Id, -Timestamp, -Nonce or -Signature header is missing or malformed.";
    SIGNATURE_KEY_UNKNOWN = Unauthenticated "signature.key_unknown", "No such server key, or it was revoked.";
    SIGNATURE_SKEWED = Unauthenticated "signature.skewed", "The timestamp is more than 300 seconds off; `server_time_at` is ours.";
    SIGNATURE_INVALID = Unauthenticated "signature.invalid", "The signature does not match; compare the string that was signed.";
    SIGNATURE_REPLAYED = Unauthenticated "signature.replayed", "This nonce was already used by this key; sign again with a new one.";
    GAME_FORBIDDEN = Forbidden "game.forbidden", "This server key may not act for that game.";
    GAME_UNKNOWN = NotFound "game.unknown", "No such game.";
    GAME_MAINTENANCE = Forbidden "game.maintenance", "The game is closed for maintenance; keep the session and try later.";
    REALM_UNKNOWN = NotFound "realm.unknown", "No such realm.";
    REALM_EXISTS = Conflict "realm.exists", "A realm of this name exists.";
    GAME_EXISTS = Conflict "game.exists", "A game of this name exists in the realm.";
    PACKAGE_UNKNOWN = NotFound "package.unknown", "No such package in this game.";
    KEY_UNKNOWN = NotFound "key.unknown", "No such server key.";
    CREDENTIAL_INVALID = Unauthenticated "credential.invalid", "The name or the password (or the guest secret) is wrong.";
    CREDENTIAL_UNSUPPORTED = Invalid "credential.unsupported", "This kind of credential is not accepted here; `kind` names it.";
    GUEST_DISABLED = Forbidden "guest.disabled", "Guests are switched off in this realm.";
    ACCOUNT_EXISTS = Conflict "account.exists", "An account of this name exists; log in instead.";
    ACCOUNT_UNKNOWN = NotFound "account.unknown", "No such account.";
    ACCOUNT_RESTRICTED = Forbidden "account.restricted", "A restriction forbids this; `reason`, `until_at` and `ticket` say more.";
    ACCOUNT_DELETED = Forbidden "account.deleted", "The account was deleted.";
    IDENTITY_EXISTS = Conflict "identity.exists", "This name already belongs to an account, or this account already has one of its kind.";
    RESTRICTION_UNKNOWN = NotFound "restriction.unknown", "No such restriction.";
    DEVICE_LIMIT = Forbidden "device.limit", "The game's limit of devices for an account is reached; `limit` tells it.";
    SESSION_LIMIT = Conflict "session.limit", "Another session is active and the game's policy refuses a second one.";
    TOKEN_MISSING = Unauthenticated "token.missing", "The Authorization header with a Bearer access token is missing.";
    SESSION_INVALID = Unauthenticated "session.invalid", "The access token is proven invalid; `reason` says why. Refresh, then log in.";
    REFRESH_INVALID = Unauthenticated "refresh.invalid", "The refresh token is proven invalid; `reason` says why. Log in.";
    REFRESH_REUSED = Unauthenticated "refresh.reused", "The refresh token was already used; the session is revoked for safety. Log in.";
    IMPORT_UNKNOWN = NotFound "import.unknown", "No such import.";
    IMPORT_CONFLICT = Conflict "import.conflict", "The chunk does not continue where the import stands; `offset_bytes` tells where.";
    CURSOR_INVALID = Invalid "cursor.invalid", "The cursor is not one of ours.";
    LIMIT_ADDRESS = Limited "limit.address", "Too much came from this address, and from this device or account; `limit` names the limit. Try again after Retry-After.";
    LIMIT_DEVICE = Limited "limit.device", "Too many attempts of this device; `limit` names the limit. Try again after Retry-After.";
    LIMIT_ACCOUNT = Limited "limit.account", "Too many attempts on this account; `limit` names the limit. Try again after Retry-After, or from a device that logged in before.";
    LIMIT_GAME = Limited "limit.game", "Too much came for this game and package; `limit` names the limit. Try again after Retry-After.";
    OVERLOADED = Unavailable "overload.busy", "Too much work is waiting; nothing was done. Try again after Retry-After.";
    OVERLOAD_DEADLINE = Unavailable "overload.deadline", "The time the caller would wait had passed before work began; nothing was done. Try again after Retry-After.";
    STORE_BUSY = Unavailable "store.busy", "The store did not answer in time; nothing was done. Try again after Retry-After.";
    STORE_FULL = Unavailable "store.full", "The disk is nearly full and this would write; nothing was done. Try again after Retry-After.";
    OUTCOME_UNKNOWN = Unavailable "store.outcome_unknown", "The outcome is unknown; repeat the call with the same Idempotency-Key.";
    NOT_READY = Unavailable "platform.not_ready", "Revocations are still being loaded; keep the token and try again.";
    DEFECT = Internal "platform.defect", "A defect; report the request id.";
}

#[cfg(test)]
mod tests;
