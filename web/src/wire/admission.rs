//! How admission stands: who asks, who is let in, who is refused and why.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The live view. Rates are work units a second in the last window of 100 ms; a token check is one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdmissionView {
    /// `enforce`, `dry_run` or `off`.
    pub mode: String,
    /// `running`, `parked` (nobody asks), `late` (the caps in flight stand alone), `stopped` or `not_started`.
    pub controller: String,
    /// Do the signs of overload last?
    pub is_overloaded: bool,
    /// Is anybody refused for the level?
    pub is_shedding: bool,
    /// Mean lateness of the threads that token checks run on, in microseconds.
    pub lag_us: u64,
    /// Mean lateness of the players' threads, in microseconds.
    pub players_lag_us: u64,
    /// Wait for a commit, in microseconds.
    pub commit_wait_us: u64,
    /// Wait for a password hash, in microseconds.
    pub hash_wait_us: u64,
    /// Is memory above its mark?
    pub memory_is_tight: bool,
    /// Work that is let in; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_units_per_second: Option<u64>,
    /// Work below the token checks that is let in; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_capacity_units_per_second: Option<u64>,
    /// Work of logins that is let in; absent without a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash_capacity_units_per_second: Option<u64>,
    /// Requests in work.
    pub in_flight: u64,
    /// Most requests in work; a class below its share is let in above it.
    pub in_flight_max: u64,
    /// Requests and handshakes of players that have come and wait for their turn.
    pub queued: u64,
    /// Refusals held back from connections that keep asking.
    pub held_refusals: u64,
    /// By class, most important first.
    pub classes: Vec<AdmissionClass>,
    /// Those that ask for most, at most 10.
    pub tenants: Vec<AdmissionTenant>,
    /// The waiting rooms for logins.
    #[serde(default)]
    pub waiting_room: WaitingRooms,
    /// Proofs of work asked for because of pressure.
    #[serde(default)]
    pub challenges: AdmissionChallenges,
    /// Our clock, Unix milliseconds.
    pub server_time_at: u64,
}

/// The waiting rooms for logins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingRooms {
    /// `off`, `auto` or `always`.
    pub mode: String,
    /// May logins meet them now? Not in mode `auto` while refusals are only counted.
    pub is_open: bool,
    /// One for each of the first 64 games whose logins had to wait, and one for all other logins.
    pub rooms: Vec<WaitingRoom>,
}

/// One waiting room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingRoom {
    /// `game:1`, or `others`.
    pub game: String,
    /// Places in front of who comes now, those of who left included.
    pub waiting: u64,
    /// Logins a second that it lets in, as of the last login that met it.
    pub logins_per_second: u64,
    /// About how long who comes now will wait, in milliseconds; 0 when nobody waits.
    pub estimate_ms: u64,
}

/// Whether pressure asks devices that an account does not know for a proof of work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdmissionChallenges {
    /// Are logins or registrations shed now, or do hashes wait for too long?
    pub is_pressed: bool,
    /// Are proofs asked for, of games whose `challenges` is `auto`? Only where refusals are enforced.
    pub is_asking: bool,
}

/// One class. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdmissionClass {
    /// `vital`, `verify`, `refresh`, `login`, `register` or `bulk`.
    pub class: String,
    /// Guaranteed share; absent for a class that is never refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_percent: Option<u8>,
    /// Work of one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_units: Option<u32>,
    /// Time a caller is taken to wait who does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// How much of the offered work is let in, in thousandths.
    pub fraction_permille: u16,
    /// Asked for.
    pub offered_units_per_second: u64,
    /// Let in.
    pub admitted_units_per_second: u64,
    /// Requests in work.
    pub in_flight: u64,
    /// Shortest `Retry-After` of a refusal now.
    pub retry_after_base_ms: u64,
    /// Requests that came.
    pub offered: u64,
    /// Requests let in.
    pub admitted: u64,
    /// Requests answered before the caller's deadline without trouble of ours.
    pub in_time: u64,
    /// Mean time from the head of a request to the beginning of its work, in microseconds.
    pub wait_us_mean: u64,
    /// Requests refused.
    pub refused: AdmissionRefused,
    /// Requests that would have been refused, in dry runs.
    pub would_be_refused: AdmissionRefused,
}

/// Refusals by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdmissionRefused {
    /// More was asked for than could be done.
    pub level: u64,
    /// More passwords were waiting than could be hashed.
    pub hash: u64,
    /// Too many requests were in work.
    pub in_flight: u64,
    /// The server key's quota was used up.
    pub server_key: u64,
    /// The caller had stopped waiting before work began.
    pub deadline: u64,
    /// It was not their turn in a waiting room that stands open always.
    #[serde(default)]
    pub waiting_room: u64,
}

/// One tenant's use of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdmissionTenant {
    /// `key:3` for game servers, `claimed-key:3` for who names a key on a connection that has not signed with it yet,
    /// `game:1` for players, `others` for those nobody knows.
    pub tenant: String,
    /// Class.
    pub class: String,
    /// Asked for.
    pub offered_units_per_second: u64,
    /// Let in.
    pub admitted_units_per_second: u64,
    /// How much of its first attempts is let in, in thousandths.
    pub fraction_permille: u16,
}
