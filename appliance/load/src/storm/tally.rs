//! What is counted about visits, by call: how many came, how many were answered in time, how long that took, and who was refused why.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::{deadline, work_units};
use crate::client_rules::Call;

/// Codes of refusals that are told apart; what comes beyond them is counted as [`OTHER`].
const CODES_MAX: usize = 64;
/// Longest code that is kept, in bytes.
const CODE_MAX_BYTES: usize = 64;
/// Refusals of codes beyond those that are told apart.
const OTHER: &str = "other";
/// A connection that was refused or lost, or an answer that was waited for in vain.
pub const NO_ANSWER: &str = "no answer";

/// All kinds of call.
pub const CALLS: [Call; 5] = [
    Call::Verify,
    Call::Refresh,
    Call::Login,
    Call::Register,
    Call::WithToken,
];

/// One kind of call.
#[derive(Debug, Clone, PartialEq)]
pub struct CallTally {
    /// Requests sent.
    pub sent: u64,
    /// Right answers.
    pub ok: u64,
    /// Right answers within the call's deadline of their intended times, of calls that no failure led to.
    pub in_time: u64,
    /// Nanoseconds from the intended time to the right answer.
    pub latency: Histogram<u64>,
    /// What came instead of a right answer, by code, and how often.
    pub refusals: BTreeMap<String, u64>,
}

impl Default for CallTally {
    fn default() -> Self {
        Self {
            sent: 0,
            ok: 0,
            in_time: 0,
            latency: crate::histogram(),
            refusals: BTreeMap::new(),
        }
    }
}

impl CallTally {
    /// A quantile of the latency in milliseconds; `None` when nothing was answered.
    #[must_use]
    pub fn latency_ms(&self, quantile: f64) -> Option<f64> {
        let nanos = self.latency.value_at_quantile(quantile) as f64;
        (self.ok > 0).then_some(nanos / 1e6)
    }

    fn refused(&mut self, code: &str) {
        let code: String = code.chars().filter(|c| !c.is_control()).collect();
        let is_known = self.refusals.contains_key(&code);
        let fits = code.len() <= CODE_MAX_BYTES && self.refusals.len() < CODES_MAX;
        let name = if is_known || fits { code } else { OTHER.to_owned() };
        *self.refusals.entry(name).or_default() += 1;
    }
}

/// What is counted about visits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Visits that began.
    pub begun: u64,
    /// What their calls were worth, in work units.
    pub begun_units: f64,
    /// Visits that brought their player in; a check of one who was in already is none.
    pub came_in: u64,
    /// Nanoseconds from a visit's intended time until its player was in.
    pub way_in: Option<Histogram<u64>>,
    refresh: CallTally,
    login: CallTally,
    register: CallTally,
    with_token: CallTally,
    verify: CallTally,
}

impl Tally {
    /// What was answered in time, in work units.
    #[must_use]
    pub fn units_in_time(&self) -> f64 {
        let of = |call| self.of(call).in_time as f64 * work_units(call);
        CALLS.into_iter().map(of).sum()
    }

    /// Of a kind of call.
    #[must_use]
    pub fn of(&self, call: Call) -> &CallTally {
        match call {
            Call::Refresh => &self.refresh,
            Call::Login => &self.login,
            Call::Register => &self.register,
            Call::WithToken => &self.with_token,
            Call::Verify => &self.verify,
        }
    }

    fn of_mut(&mut self, call: Call) -> &mut CallTally {
        match call {
            Call::Refresh => &mut self.refresh,
            Call::Login => &mut self.login,
            Call::Register => &mut self.register,
            Call::WithToken => &mut self.with_token,
            Call::Verify => &mut self.verify,
        }
    }

    /// A request was sent.
    pub fn sent(&mut self, call: Call) {
        self.of_mut(call).sent += 1;
    }

    /// A visit began, whose calls are worth so much.
    pub fn began(&mut self, units: f64) {
        self.begun += 1;
        self.begun_units += units;
    }

    /// A right answer came so long after its intended time; a call that a failure led to came too late already.
    pub fn ok(&mut self, call: Call, after: Duration, is_induced: bool) {
        let own = self.of_mut(call);
        own.ok += 1;
        own.in_time += u64::from(!is_induced && after <= deadline(call));
        own.latency.saturating_record(nanos(after));
    }

    /// Something else came, or nothing.
    pub fn refused(&mut self, call: Call, code: &str) {
        self.of_mut(call).refused(code);
    }

    /// A player has come in, so long after the visit's intended time.
    pub fn in_after(&mut self, after: Duration) {
        self.came_in += 1;
        let way_in = self.way_in.get_or_insert_with(crate::histogram);
        way_in.saturating_record(nanos(after));
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_answer_counts_in_time_until_its_deadline() {
        let mut tally = Tally::default();
        tally.sent(Call::Verify);
        tally.ok(Call::Verify, deadline(Call::Verify), false);
        tally.ok(Call::Verify, deadline(Call::Verify) + Duration::from_millis(1), false);
        tally.ok(Call::Verify, Duration::ZERO, true);
        let verify = tally.of(Call::Verify);
        assert_eq!((verify.sent, verify.ok, verify.in_time), (1, 3, 1));
        assert_eq!(tally.units_in_time(), 1.0, "a repeated call was late before it began");
        assert!(verify.latency_ms(1.0).unwrap() > 100.0);
        assert_eq!(tally.of(Call::Login).latency_ms(0.5), None);
    }

    #[test]
    fn no_server_makes_the_list_of_codes_grow() {
        let mut tally = Tally::default();
        for number in 0..1_000 {
            tally.refused(Call::Login, &format!("code.{number}"));
        }
        tally.refused(Call::Login, "code.0");
        tally.refused(Call::Login, &"x".repeat(10_000));
        let refusals = &tally.of(Call::Login).refusals;
        assert_eq!(refusals.len(), CODES_MAX + 1);
        assert_eq!(refusals["code.0"], 2);
        assert_eq!(refusals[OTHER], 1_000 - CODES_MAX as u64 + 1);
    }
}
