//! Who gets how much of a capacity: between classes by guarantees and order, between tenants of a class max-min fair.
//! Pure arithmetic on work units of one window.

use super::class::{Class, PerClass};

/// What may be handed out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Units of all classes; infinite when nothing has to be shed.
    pub(crate) units: f64,
    /// Units of the classes of players' threads and of the store: all but Verify; infinite likewise.
    pub(crate) store_units: f64,
    /// Units of logins, which wait for password hashes; infinite likewise.
    pub(crate) hash_units: f64,
}

/// The units each class gets, never more than it asks for.
///
/// Verify first takes what it asks for. Of what it leaves, every class gets its guaranteed share; what the others do
/// not use is borrowed in the order of the classes. Since this is computed anew in each window from what is offered,
/// a lender has its share back in the next.
pub(crate) fn classes(room: Room, offered: &PerClass<f64>, shares: &PerClass<f64>) -> PerClass<f64> {
    let mut asked = *offered;
    asked.set(Class::Login, asked.at(Class::Login).min(room.hash_units));
    let verify = asked.at(Class::Verify).min(room.units);
    let rest = (room.units - verify).min(room.store_units);
    if rest.is_infinite() {
        return asked;
    }
    let lower = &Class::SHED[1..];
    let all_shares: f64 = lower.iter().map(|class| shares.at(*class)).sum::<f64>().max(1.0);
    let guaranteed = |class: Class| rest * shares.at(class) / all_shares;
    let mut given = PerClass::default();
    given.set(Class::Verify, verify);
    for class in lower {
        given.set(*class, asked.at(*class).min(guaranteed(*class)));
    }
    let mut spare = (verify + rest - given.sum()).max(0.0);
    for class in lower {
        let more = (asked.at(*class) - given.at(*class)).min(spare).max(0.0);
        given.set(*class, given.at(*class) + more);
        spare -= more;
    }
    given
}

/// The level up to which every tenant gets what it asks for, so that all together get `units` (max-min fairness);
/// infinite when they ask for no more.
pub(crate) fn fair_level(units: f64, asked: &mut [f64]) -> f64 {
    if asked.iter().sum::<f64>() <= units {
        return f64::INFINITY;
    }
    asked.sort_unstable_by(f64::total_cmp);
    let (mut left, mut waiting) = (units, asked.len());
    for wish in asked.iter() {
        let level = left / waiting as f64;
        if *wish >= level {
            return level;
        }
        left -= wish;
        waiting -= 1;
    }
    f64::INFINITY
}

/// Fractions of first and of repeated attempts to let in, so that together `units` of them pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fractions {
    pub(crate) first: f64,
    pub(crate) again: f64,
}

/// First attempts before repeated ones.
pub(crate) fn fractions(units: f64, first: f64, again: f64) -> Fractions {
    let part = |units: f64, of: f64| {
        if units >= of { 1.0 } else { (units / of).max(0.0) }
    };
    Fractions {
        first: part(units, first),
        again: part(units - first, again),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares() -> PerClass<f64> {
        PerClass([0.5, 0.2, 0.2, 0.05, 0.05])
    }

    fn given(units: f64, offered: [f64; 5]) -> [f64; 5] {
        let room = Room {
            units,
            store_units: f64::INFINITY,
            hash_units: f64::INFINITY,
        };
        classes(room, &PerClass(offered), &shares()).0
    }

    #[test]
    fn without_a_limit_everybody_gets_what_they_ask_for() {
        let offered = [1e6, 5.0, 7.0, 7.0, 10.0];
        assert_eq!(given(f64::INFINITY, offered), offered);
    }

    #[test]
    fn verify_is_whole_while_anything_lower_runs_and_the_rest_keep_their_guarantees() {
        assert_eq!(
            given(100.0, [60.0, 1e3, 1e3, 1e3, 1e3])[0],
            60.0,
            "verify takes what it needs"
        );
        let [verify, refresh, login, register, bulk] = given(100.0, [60.0, 1e3, 1e3, 1e3, 1e3]);
        assert!(
            login >= 8.0 && register >= 2.0 && bulk >= 2.0,
            "guarantees of the 40 left"
        );
        assert!(
            (refresh - 28.0).abs() < 1e-9,
            "the first in order takes what is over: {refresh}"
        );
        assert!((verify + refresh + login + register + bulk - 100.0).abs() < 1e-9);
        assert_eq!(given(100.0, [150.0, 9.0, 9.0, 9.0, 9.0]), [100.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn what_is_lent_goes_back_at_once() {
        assert_eq!(given(100.0, [0.0, 0.0, 1e3, 0.0, 0.0])[2], 100.0, "login borrows all");
        let pressed = given(100.0, [0.0, 1e3, 1e3, 0.0, 0.0]);
        assert_eq!((pressed[1], pressed[2]), (80.0, 20.0), "and is left with its guarantee");
    }

    #[test]
    fn a_slow_hash_pool_holds_down_logins_alone() {
        let room = Room {
            units: f64::INFINITY,
            store_units: f64::INFINITY,
            hash_units: 50.0,
        };
        let given = classes(room, &PerClass([500.0; 5]), &shares()).0;
        assert_eq!(given, [500.0, 500.0, 50.0, 500.0, 500.0]);
    }

    #[test]
    fn a_slow_store_holds_down_all_but_verify() {
        let room = Room {
            units: f64::INFINITY,
            store_units: 100.0,
            hash_units: f64::INFINITY,
        };
        let given = classes(room, &PerClass([500.0, 500.0, 10.0, 0.0, 0.0]), &shares()).0;
        assert_eq!(given, [500.0, 90.0, 10.0, 0.0, 0.0]);
    }

    #[test]
    fn a_tenant_at_ten_times_does_not_touch_the_others() {
        let mut asked = [1_000.0, 20.0, 30.0, 40.0];
        let level = fair_level(190.0, &mut asked);
        assert!((level - 100.0).abs() < 1e-9, "{level}");
        assert_eq!(fair_level(2_000.0, &mut asked), f64::INFINITY);
        assert_eq!(fair_level(0.0, &mut [1.0, 2.0]), 0.0);
    }

    #[test]
    fn repeated_attempts_go_first() {
        let all = |units| fractions(units, 100.0, 50.0);
        assert_eq!((all(150.0).first, all(150.0).again), (1.0, 1.0));
        assert_eq!((all(125.0).first, all(125.0).again), (1.0, 0.5));
        assert_eq!((all(100.0).first, all(100.0).again), (1.0, 0.0));
        assert_eq!((all(25.0).first, all(25.0).again), (0.25, 0.0));
        assert_eq!(fractions(0.0, 0.0, 0.0).first, 1.0, "nobody asks: nobody is refused");
    }

    proptest! {
        #[test]
        fn never_more_than_asked_and_never_less_than_there_is(units in 0.0..1e6f64, hash in 0.0..1e6f64, offered in [0.0..1e6f64, 0.0..1e6f64, 0.0..1e6f64, 0.0..1e6f64, 0.0..1e6f64]) {
            let room = Room { units, store_units: f64::INFINITY, hash_units: hash };
            let given = classes(room, &PerClass(offered), &shares());
            for (given, offered) in given.0.iter().zip(offered) {
                prop_assert!(*given >= 0.0 && *given <= offered + 1e-6);
            }
            prop_assert!(given.sum() <= units + 1e-6);
            prop_assert!(given.at(Class::Login) <= hash + 1e-6);
            prop_assert!((given.at(Class::Verify) - offered[0].min(units)).abs() < 1e-6);
            if offered[2] <= hash {
                prop_assert!((given.sum() - units.min(offered.iter().sum())).abs() < 1e-3);
            }
        }

        #[test]
        fn the_fair_level_hands_out_everything(units in 0.0..1e6f64, asked in prop::collection::vec(0.0..1e5f64, 1..50)) {
            let level = fair_level(units, &mut asked.clone());
            let given: f64 = asked.iter().map(|wish| wish.min(level)).sum();
            prop_assert!((given - units.min(asked.iter().sum())).abs() < 1e-3, "{given}");
        }
    }
}
