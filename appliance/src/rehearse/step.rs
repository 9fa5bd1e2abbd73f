//! One step of offered load, and what came of it.

use std::collections::BTreeMap;
use std::time::Duration;

use seawall_load::Outcome;
use seawall_load::client_rules::Call;
use seawall_load::storm::counts::{Counts, Proofs};
use seawall_load::storm::tally::{CALLS, Tally};
use serde::Serialize;

use super::knee::IN_TIME_MIN;
use super::watch::Seen;

/// A loader later than this in one call of a hundred has offered something else than it says, in milliseconds.
const LATE_MAX_MS: f64 = 20.0;

/// One kind of call in a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CallFigures {
    /// Requests sent, repeated ones included.
    pub sent: u64,
    /// Right answers.
    pub ok: u64,
    /// Right answers to first attempts within the call's deadline of their intended times.
    pub in_time: u64,
    /// Median time from the intended time to the right answer, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th of a hundred.
    pub p99_ms: Option<f64>,
    /// What came instead of a right answer, by code.
    pub refusals: BTreeMap<String, u64>,
}

/// A step.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Step {
    /// Of the load that step 1 offers.
    pub factor: f64,
    /// Visits offered a second.
    pub offered_visits_per_s: f64,
    /// Work units offered a second.
    pub offered_units_per_s: f64,
    /// Work units answered in time, a second.
    pub goodput_units_per_s: f64,
    /// Share of the offered work that was answered in time.
    pub in_time_share: f64,
    /// Players who were in, a second; heartbeats of players who were in before are not counted.
    pub players_per_s: f64,
    /// Median time from a visit's intended time until its player was in, in milliseconds.
    pub way_in_p50_ms: Option<f64>,
    /// 99th of a hundred.
    pub way_in_p99_ms: Option<f64>,
    /// By kind of call.
    pub calls: BTreeMap<&'static str, CallFigures>,
    /// Requests for each one that no failure led to.
    pub amplification: f64,
    /// Logins of players who had no good token.
    pub needed_logins: u64,
    /// Logins of players whose token was good: a failure led to them.
    pub extra_logins: u64,
    /// Good tokens and right passwords that were called bad. Must be 0.
    pub false_invalids: u64,
    /// Connections refused or lost, and answers waited for in vain.
    pub lost: u64,
    /// Proofs of work that were asked for, and what came of them.
    pub proofs: Proofs,
    /// Lateness of the loader itself in one call of a hundred, in milliseconds.
    pub loader_late_ms: f64,
    /// Too little was in time, and the loader was so late that it may be to blame: the step says nothing. Times count from the intended
    /// ones, so a late loader only makes a step look worse, and one that was in time all the same is proven.
    pub is_void: bool,
    /// Share of the server's processors that it used.
    pub server_cpu_share: Option<f64>,
    /// What admission showed; only of a server on this host.
    pub admission: Option<Seen>,
    /// Some wrong answers, as text.
    pub examples: Vec<String>,
}

/// What a step offered.
#[derive(Debug, Clone, Copy)]
pub struct Offer {
    /// Factor.
    pub factor: f64,
    /// Visits a second.
    pub rate: f64,
    /// Visits that were intended.
    pub visits: u64,
    /// What one is worth on average.
    pub visit_units: f64,
    /// How long.
    pub span: Duration,
}

impl Step {
    /// The figures of a run.
    #[must_use]
    pub fn of(offer: &Offer, outcome: &Outcome, counts: &Counts, tally: &Tally) -> Self {
        let span_s = offer.span.as_secs_f64();
        let not_begun = offer.visits.saturating_sub(tally.begun) as f64;
        let offered_units = tally.begun_units + not_begun * offer.visit_units;
        let in_time = tally.units_in_time();
        let in_time_share = in_time / offered_units.max(1.0);
        let late_ms = outcome.late_us(0.99) / 1e3;
        let way_in = |quantile: f64| {
            tally
                .way_in
                .as_ref()
                .map(|way| way.value_at_quantile(quantile) as f64 / 1e6)
        };
        Self {
            factor: offer.factor,
            offered_visits_per_s: offer.rate,
            offered_units_per_s: offered_units / span_s,
            goodput_units_per_s: in_time / span_s,
            in_time_share,
            players_per_s: tally.came_in as f64 / span_s,
            way_in_p50_ms: way_in(0.5),
            way_in_p99_ms: way_in(0.99),
            calls: CALLS
                .into_iter()
                .map(|call| (name(call), figures(tally, call)))
                .filter(|(_, figures)| figures.sent > 0)
                .collect(),
            amplification: counts.amplification(Duration::ZERO, Duration::MAX),
            needed_logins: counts.needed_logins,
            extra_logins: counts.extra_logins,
            false_invalids: counts.false_invalids,
            lost: counts.lost,
            proofs: counts.proofs,
            loader_late_ms: late_ms,
            is_void: late_ms > LATE_MAX_MS && in_time_share < IN_TIME_MIN,
            server_cpu_share: None,
            admission: None,
            examples: outcome.examples.clone(),
        }
    }

    /// A kind of call; nothing when none was sent.
    #[must_use]
    pub fn call(&self, call: Call) -> Option<&CallFigures> {
        self.calls.get(name(call))
    }

    /// The 99th of a hundred of the token checks, in milliseconds; of the way in where there are none.
    #[must_use]
    pub fn p99_ms(&self) -> Option<f64> {
        self.call(Call::Verify)
            .map_or(self.way_in_p99_ms, |verify| verify.p99_ms)
    }

    /// Right answers of all kinds a second.
    #[must_use]
    pub fn answers_per_s(&self, span_s: f64) -> f64 {
        self.calls.values().map(|call| call.ok).sum::<u64>() as f64 / span_s
    }
}

/// The name of a call in answers and reports.
#[must_use]
pub fn name(call: Call) -> &'static str {
    match call {
        Call::Verify => "verify",
        Call::Refresh => "refresh",
        Call::Login => "login",
        Call::Register => "register",
        Call::WithToken => "with_token",
    }
}

fn figures(tally: &Tally, call: Call) -> CallFigures {
    let own = tally.of(call);
    CallFigures {
        sent: own.sent,
        ok: own.ok,
        in_time: own.in_time,
        p50_ms: own.latency_ms(0.5),
        p99_ms: own.latency_ms(0.99),
        refusals: own.refusals.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_that_never_began_are_offered_work_all_the_same() {
        let mut tally = Tally::default();
        tally.began(5.0);
        tally.sent(Call::Refresh);
        tally.ok(Call::Refresh, Duration::from_millis(3), false);
        let offer = Offer {
            factor: 2.0,
            rate: 1.0,
            visits: 4,
            visit_units: 5.0,
            span: Duration::from_secs(2),
        };
        let step = Step::of(&offer, &Outcome::new(), &Counts::default(), &tally);
        assert_eq!((step.offered_units_per_s, step.goodput_units_per_s), (10.0, 2.5));
        assert_eq!(step.in_time_share, 0.25);
        assert_eq!(step.calls.keys().copied().collect::<Vec<_>>(), ["refresh"]);
        assert!(step.call(Call::Verify).is_none() && step.call(Call::Refresh).unwrap().p99_ms.is_some());
    }
}
