//! Where the curve bends: up to which offered load the work is still answered in time.

use super::step::{CallFigures, Step};

/// A step that answers less of the offered work in time than this is beyond the knee.
pub const IN_TIME_MIN: f64 = 0.95;
/// What clients' counts call a challenge.
const CHALLENGE: &str = "challenge";
/// Fewer calls of a kind than this say nothing about it.
const CALLS_MIN: u64 = 20;
/// The rule, for people.
pub const RULE: &str =
    "the knee is the highest step up to which every step answered at least 95 % of the offered work in time";

/// What the steps say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knee {
    /// Place of the knee among the steps; `None` when even the first is beyond it.
    pub place: Option<usize>,
    /// No step was beyond it: the host carries more than was offered.
    pub is_open: bool,
    /// Highest goodput of any step, in work units a second.
    pub peak_units_per_s: f64,
    /// Goodput of the highest step, as a share of the peak.
    pub kept_share: f64,
}

/// Finds the knee. Steps in which the loader may be to blame say nothing.
#[must_use]
pub fn knee(steps: &[Step]) -> Knee {
    let told = || steps.iter().enumerate().filter(|(_, step)| !step.is_void);
    let first_beyond = told()
        .find(|(_, step)| step.in_time_share < IN_TIME_MIN)
        .map(|(place, _)| place);
    let below = told().filter(|(place, _)| first_beyond.is_none_or(|beyond| *place < beyond));
    let peak = told().map(|(_, step)| step.goodput_units_per_s).fold(0.0, f64::max);
    let last = told().next_back().map_or(0.0, |(_, step)| step.goodput_units_per_s);
    Knee {
        place: below.max_by_key(|(place, _)| *place).map(|(place, _)| place),
        is_open: first_beyond.is_none(),
        peak_units_per_s: peak,
        kept_share: if peak > 0.0 { last / peak } else { 0.0 },
    }
}

/// What a host carries, in one sentence.
#[must_use]
pub fn sentence(steps: &[Step], knee: &Knee, players: usize) -> String {
    let Some(step) = knee.place.and_then(|place| steps.get(place)) else {
        if !steps.is_empty() && steps.iter().all(|step| step.is_void) {
            return "The loader was late in every step: this machine had other things to do. Nothing can be said."
                .into();
        }
        return "Even the first step was not answered in time; offer less (--steps, --rate), or see the refusals."
            .into();
    };
    let bound = if knee.is_open { "at least " } else { "about " };
    let mut text = match back_within_s(step, players) {
        Some(seconds) => format!(
            "{bound}{} players a second come in: {} players are back within {} s.",
            whole(step.players_per_s),
            whole(players as f64),
            whole(seconds.ceil().max(1.0))
        ),
        None => format!(
            "{bound}{} work units a second are answered in time.",
            whole(step.goodput_units_per_s)
        ),
    };
    if knee.is_open && steps.iter().any(|step| step.is_void) {
        text.push_str(" Beyond that the loader was too late to tell; its one processor ends before this host does.");
    } else if knee.is_open {
        text.push_str(" No step was too much; offer more to find the knee.");
    } else {
        text.push_str(&format!(
            " At the highest step {} % of the best goodput is left.",
            whole(knee.kept_share * 100.0)
        ));
    }
    let (first, rest) = text.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

/// Which kind of call is the first to be late, and in which step; none while all are in time.
#[must_use]
pub fn first_late(steps: &[Step]) -> Option<String> {
    let late = |call: &CallFigures| {
        let wanted = wanted(call);
        wanted >= CALLS_MIN && (call.in_time as f64) < wanted as f64 * IN_TIME_MIN
    };
    let told = steps.iter().filter(|step| !step.is_void);
    told.flat_map(|step| step.calls.iter().map(move |(name, call)| (step, name, call)))
        .find(|(_, _, call)| late(call))
        .map(|(step, name, call)| {
            let wanted = wanted(call) as f64;
            let share = call.in_time as f64 / wanted * 100.0;
            format!(
                "{name} is the first to be late: at {}x {} of {} requests were answered in time ({share:.0} %)",
                step.factor,
                whole(call.in_time as f64),
                whole(wanted)
            )
        })
}

/// Requests that were to be served: who was asked for a proof of work was answered in time, and came again.
fn wanted(call: &CallFigures) -> u64 {
    call.sent
        .saturating_sub(call.refusals.get(CHALLENGE).copied().unwrap_or(0))
}

/// How long so many players take to come in at a step's rate, in seconds.
#[must_use]
pub fn back_within_s(step: &Step, players: usize) -> Option<f64> {
    (step.players_per_s >= 1.0).then(|| players as f64 / step.players_per_s)
}

/// A number with separators, rounded.
#[must_use]
pub fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A step of this offered load and goodput.
    pub fn step(factor: f64, offered: f64, goodput: f64) -> Step {
        Step {
            factor,
            offered_units_per_s: offered,
            goodput_units_per_s: goodput,
            in_time_share: goodput / offered,
            players_per_s: goodput / 8.0,
            way_in_p99_ms: Some(factor * 10.0),
            ..Step::default()
        }
    }

    #[test]
    fn the_knee_is_the_last_step_in_time() {
        let steps = [
            step(0.5, 500.0, 499.0),
            step(1.0, 1_000.0, 960.0),
            step(2.0, 2_000.0, 1_100.0),
            step(5.0, 5_000.0, 550.0),
        ];
        let found = knee(&steps);
        assert_eq!(
            (found.place, found.is_open, found.peak_units_per_s),
            (Some(1), false, 1_100.0)
        );
        assert!((found.kept_share - 0.5).abs() < 1e-9);
        let text = sentence(&steps, &found, 1_200);
        assert_eq!(
            text,
            "About 120 players a second come in: 1,200 players are back within 10 s. At the highest step 50 % of the best goodput is left."
        );
    }

    #[test]
    fn a_lucky_step_beyond_the_knee_is_none() {
        let steps = [
            step(1.0, 1_000.0, 990.0),
            step(2.0, 2_000.0, 1_000.0),
            step(3.0, 3_000.0, 2_990.0),
        ];
        assert_eq!(knee(&steps).place, Some(0));
    }

    #[test]
    fn no_knee_at_either_end() {
        let all_well = [step(1.0, 10.0, 10.0), step(2.0, 20.0, 20.0)];
        let found = knee(&all_well);
        assert_eq!((found.place, found.is_open), (Some(1), true));
        assert!(sentence(&all_well, &found, 10).contains("offer more"));
        let none = [step(1.0, 1_000.0, 10.0)];
        assert_eq!(knee(&none).place, None);
        assert!(sentence(&none, &knee(&none), 10).starts_with("Even the first step"));
        assert_eq!(knee(&[]).place, None);
    }

    #[test]
    fn the_kind_that_is_late_first_is_named() {
        let with = |factor: f64, sent: u64, in_time: u64| {
            let call = CallFigures {
                sent,
                in_time,
                ..CallFigures::default()
            };
            Step {
                calls: std::collections::BTreeMap::from([("login", call)]),
                ..step(factor, 1_000.0, 1_000.0)
            }
        };
        let steps = [with(0.5, 5, 0), with(1.0, 100, 96), with(2.0, 200, 120)];
        assert_eq!(
            first_late(&steps).unwrap(),
            "login is the first to be late: at 2x 120 of 200 requests were answered in time (60 %)"
        );
        assert_eq!(first_late(&steps[..2]), None);
    }

    #[test]
    fn who_was_asked_for_a_proof_was_not_late() {
        let asked = |challenges: u64| {
            let call = CallFigures {
                sent: 132,
                in_time: 22,
                refusals: std::collections::BTreeMap::from([(CHALLENGE.to_owned(), challenges)]),
                ..CallFigures::default()
            };
            let calls = std::collections::BTreeMap::from([("register", call)]);
            first_late(&[Step {
                calls,
                ..step(0.25, 1_000.0, 1_000.0)
            }])
        };
        assert_eq!(asked(110), None);
        assert!(asked(50).unwrap().contains("22 of 82"));
    }

    #[test]
    fn a_late_loader_proves_nothing() {
        let late = Step {
            is_void: true,
            ..step(2.0, 2_000.0, 10.0)
        };
        let steps = [step(1.0, 1_000.0, 990.0), late, step(3.0, 3_000.0, 2_900.0)];
        let found = knee(&steps);
        assert_eq!((found.place, found.is_open), (Some(2), true));
        let bound = [
            step(1.0, 1_000.0, 990.0),
            Step {
                is_void: true,
                ..step(2.0, 2_000.0, 10.0)
            },
        ];
        assert!(sentence(&bound, &knee(&bound), 10).contains("the loader was too late to tell"));
        let void = [Step {
            is_void: true,
            ..step(1.0, 10.0, 10.0)
        }];
        assert!(sentence(&void, &knee(&void), 10).starts_with("The loader was late"));
    }

    #[test]
    fn numbers_have_separators() {
        assert_eq!(whole(0.0), "0");
        assert_eq!(whole(999.6), "1,000");
        assert_eq!(whole(1_234_567.0), "1,234,567");
        assert_eq!(whole(-3.0), "0");
    }
}
