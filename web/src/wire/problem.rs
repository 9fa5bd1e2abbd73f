//! The one shape of refusals: RFC 9457 problem details.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A refusal or a failure (`application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank` until a reference page per code is served; the code says more.
    #[serde(rename = "type")]
    pub kind: String,
    /// The standard phrase of the status.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable code, `noun.what`; act on this.
    pub code: String,
    /// What is wrong and what to do, in English.
    pub detail: String,
    /// Typed values of the message, by name.
    #[serde(default)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// 32 hex digits; equal to the W3C trace id. Quote it when you report trouble.
    pub request_id: String,
    /// On 429 and 503: try again after so many milliseconds, not earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// On a 503 of a login that named its device: a place in the waiting room. Log in again after `poll_after_ms`, which
    /// `retry_after_ms` and `Retry-After` repeat, with the ticket in the header `Seawall-Ticket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// On a 503 of a login, registration or refresh that named a game with a spread: over which time its clients spread
    /// their first call after an update, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect_spread_ms: Option<u64>,
    /// Our clock, Unix milliseconds.
    pub server_time_at: u64,
}

/// A place in the waiting room for logins. It counts for the device it was given to and for half an hour, and outlives a
/// restart of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Opaque; at most 128 visible ASCII characters. Each refusal may bring another one: send the newest.
    pub ticket: String,
    /// About how many are in front.
    pub place: u64,
    /// About how long it will take, in milliseconds.
    pub estimate_ms: u64,
    /// When to log in again, in milliseconds.
    pub poll_after_ms: u64,
}
