//! Work below the token checks begins a handful at a time. Between two handfuls the network threads see to everything
//! else that is ready, so that however much is let in, a check waits for one handful and not for all of it. Nothing is
//! refused here, and no thread rests while somebody waits: who has no turn yet waits in a line, by class and tenant.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::AdmissionOptions;
use super::class::{Class, PerClass};

/// Starts in a row, for each network thread: a millisecond of work, about.
const HANDFUL: usize = 16;
/// Who comes after nobody began for so long finds a whole handful, in microseconds.
const FRESH_US: u64 = 1_000;
/// Of those in line whose callers wait no more so many are let go with a handful, in handfuls: they only are refused.
const LATE_HANDFULS: usize = 4;
/// Weight of a class without a share: it begins when nobody else wants to.
const WEIGHT_MIN: f64 = 0.001;

/// The line.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    line: Mutex<Line>,
    usher: Notify,
}

#[derive(Debug, Default)]
struct Line {
    /// Is there somebody who gives turns? If not, everybody begins at once.
    is_served: bool,
    handful: usize,
    /// Starts left of this handful.
    left: usize,
    /// When it was given, on the scale of the callers.
    given_us: u64,
    waiting: usize,
    classes: PerClass<OfClass>,
    /// The work, by its weight, of the class that had the last turn: nobody who comes later begins below it.
    floor: f64,
    waits: Waits,
}

/// How long those waited who had their turn since the last look.
#[derive(Debug, Default)]
struct Waits {
    sum_us: u64,
    count: u64,
}

/// Those of a class who wait, tenant by tenant in turn.
#[derive(Debug, Default)]
struct OfClass {
    /// Work it began, by its weight; the class with the least is next.
    served: f64,
    tenants: VecDeque<OfTenant>,
}

#[derive(Debug)]
struct OfTenant {
    place: usize,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    came_us: u64,
    /// When its caller waits no more.
    late_us: u64,
    go: oneshot::Sender<()>,
}

/// Who asks for a turn; times in microseconds on one scale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks {
    pub(crate) class: Class,
    /// Index of the tenant's place.
    pub(crate) place: usize,
    pub(crate) now_us: u64,
    /// From when on nobody waits for the answer.
    pub(crate) late_us: u64,
}

impl Turns {
    /// Waits until it is this one's turn. It may be late by then: that is for the caller to see.
    pub(crate) async fn turn(&self, asks: Asks) {
        let waits = self.line.lock().join(asks);
        if let Some(go) = waits {
            self.usher.notify_one();
            // An end without a word is a turn too: the line was opened.
            let _ = go.await;
        }
    }

    /// Turns are given from now on, by somebody who calls [`Turns::give`] when [`Turns::called`] for.
    pub(crate) fn begin(&self, threads: usize) {
        let mut line = self.line.lock();
        line.is_served = true;
        line.handful = HANDFUL * threads.max(1);
    }

    /// No turns any more: all who wait begin, and so does everybody who comes.
    pub(crate) fn open(&self) {
        let mut line = self.line.lock();
        line.is_served = false;
        line.waiting = 0;
        line.classes = PerClass::default();
    }

    /// Waits until somebody waits for a turn.
    pub(crate) async fn called(&self) {
        self.usher.notified().await;
    }

    /// Lets the next handful begin. Are there more?
    pub(crate) fn give(&self, options: &AdmissionOptions, now_us: u64) -> bool {
        let (next, are_more) = self.line.lock().next(options, now_us);
        for go in next {
            // Its caller may be gone.
            let _ = go.send(());
        }
        are_more
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.line.lock().waiting
    }

    /// Mean wait of those who began since the last call, in milliseconds; of a line in which nobody began, that of the
    /// first in it.
    pub(crate) fn take_wait_ms(&self, now_us: u64) -> f64 {
        let mut line = self.line.lock();
        let waits = std::mem::take(&mut line.waits);
        let wait_us = match waits.sum_us.checked_div(waits.count) {
            Some(mean_us) => mean_us,
            None => line.first_came_us().map_or(0, |came_us| now_us.saturating_sub(came_us)),
        };
        wait_us as f64 / 1000.0
    }
}

impl Line {
    /// None: it is its turn already.
    fn join(&mut self, asks: Asks) -> Option<oneshot::Receiver<()>> {
        let place = asks.class.place()?;
        if !self.is_served {
            return None;
        }
        if self.waiting == 0 {
            if asks.now_us.saturating_sub(self.given_us) >= FRESH_US {
                (self.left, self.given_us) = (self.handful, asks.now_us);
            }
            if self.left > 0 {
                self.left -= 1;
                self.waits.count += 1;
                return None;
            }
        }
        let own = self.classes.0.get_mut(place)?;
        if own.tenants.is_empty() {
            // What it did not use while it had nothing to do is gone.
            own.served = own.served.max(self.floor);
        }
        let (go, told) = oneshot::channel();
        let waiter = Waiter {
            came_us: asks.now_us,
            late_us: asks.late_us,
            go,
        };
        match own.tenants.iter_mut().find(|tenant| tenant.place == asks.place) {
            Some(tenant) => tenant.waiters.push_back(waiter),
            None => own.tenants.push_back(OfTenant {
                place: asks.place,
                waiters: VecDeque::from([waiter]),
            }),
        }
        self.waiting += 1;
        Some(told)
    }

    /// The next handful, and whether somebody is left.
    fn next(&mut self, options: &AdmissionOptions, now_us: u64) -> (Vec<oneshot::Sender<()>>, bool) {
        let mut next = Vec::with_capacity(self.handful);
        let mut begun = 0;
        while begun < self.handful && next.len() < self.handful * LATE_HANDFULS {
            let Some((class, waiter)) = self.first() else { break };
            if waiter.go.is_closed() {
                continue;
            }
            if waiter.late_us > now_us {
                begun += 1;
                self.waits.sum_us += now_us.saturating_sub(waiter.came_us);
                self.waits.count += 1;
                self.charge(class, options);
            }
            next.push(waiter.go);
        }
        (self.left, self.given_us) = (self.handful - begun, now_us);
        (next, self.waiting > 0)
    }

    /// Takes out the first of the tenant whose turn it is, of the class that had least.
    fn first(&mut self) -> Option<(Class, Waiter)> {
        let waiting = Class::SHED.into_iter().zip(&mut self.classes.0);
        let (class, own) = waiting
            .filter(|(_, own)| !own.tenants.is_empty())
            .min_by(|(_, a), (_, b)| a.served.total_cmp(&b.served))?;
        self.floor = own.served;
        let mut tenant = own.tenants.pop_front()?;
        let waiter = tenant.waiters.pop_front()?;
        if !tenant.waiters.is_empty() {
            own.tenants.push_back(tenant);
        }
        self.waiting = self.waiting.saturating_sub(1);
        Some((class, waiter))
    }

    fn charge(&mut self, class: Class, options: &AdmissionOptions) {
        let (Some(of_class), Some(place)) = (options.class(class), class.place()) else {
            return;
        };
        if let Some(own) = self.classes.0.get_mut(place) {
            own.served += f64::from(of_class.cost_units) / f64::from(of_class.share_percent).max(WEIGHT_MIN);
        }
    }

    fn first_came_us(&self) -> Option<u64> {
        let tenants = self.classes.0.iter().flat_map(|own| &own.tenants);
        tenants
            .filter_map(|tenant| tenant.waiters.front())
            .map(|waiter| waiter.came_us)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt;

    use super::*;

    const NEVER: u64 = u64::MAX;

    fn asks(class: Class, place: usize, now_us: u64) -> Asks {
        Asks {
            class,
            place,
            now_us,
            late_us: NEVER,
        }
    }

    fn served() -> Turns {
        let turns = Turns::default();
        turns.begin(1);
        turns
    }

    /// Joins the line behind a whole handful that began at `now_us`.
    fn full(turns: &Turns, now_us: u64) {
        for _ in 0..HANDFUL {
            let mut line = turns.line.lock();
            assert!(
                line.join(asks(Class::Refresh, 0, now_us)).is_none(),
                "a handful begins at once"
            );
        }
    }

    fn joined(turns: &Turns, asks: Asks) -> oneshot::Receiver<()> {
        turns.line.lock().join(asks).expect("it waits")
    }

    fn has_turn(told: &mut oneshot::Receiver<()>) -> bool {
        told.try_recv().is_ok()
    }

    #[test]
    fn a_handful_begins_at_once_and_the_next_waits_to_be_given() {
        let (turns, options) = (served(), AdmissionOptions::default());
        full(&turns, 5_000);
        let mut more: Vec<_> = (0..HANDFUL + 1)
            .map(|_| joined(&turns, asks(Class::Refresh, 0, 5_001)))
            .collect();
        assert!(turns.give(&options, 5_100), "one is left");
        assert_eq!(more.iter_mut().map(has_turn).filter(|has| *has).count(), HANDFUL);
        assert!(!turns.give(&options, 5_200));
        assert!(has_turn(more.last_mut().unwrap()));
        // One began of the last handful; later all of it is there again.
        assert!(turns.line.lock().join(asks(Class::Login, 0, 5_201)).is_none());
        full(&turns, 5_200 + FRESH_US);
    }

    #[test]
    fn without_an_usher_everybody_begins_and_who_waits_begins_when_it_goes() {
        let turns = Turns::default();
        for _ in 0..10 * HANDFUL {
            assert!(turns.line.lock().join(asks(Class::Bulk, 0, 0)).is_none());
        }
        let turns = served();
        full(&turns, 2_000);
        let mut waits = Box::pin(turns.turn(asks(Class::Bulk, 0, 2_000)));
        assert_eq!(waits.as_mut().now_or_never(), None);
        turns.open();
        assert_eq!(waits.now_or_never(), Some(()));
        assert_eq!(turns.waiting(), 0);
    }

    #[test]
    fn classes_begin_by_their_shares_and_tenants_in_turn() {
        let turns = served();
        let mut options = AdmissionOptions::default();
        (options.refresh.cost_units, options.bulk.cost_units) = (5, 5);
        full(&turns, 2_000);
        let mut refreshes: Vec<_> = (0..100)
            .map(|_| joined(&turns, asks(Class::Refresh, 0, 2_000)))
            .collect();
        let mut lists: Vec<_> = (0..100).map(|_| joined(&turns, asks(Class::Bulk, 0, 2_000))).collect();
        for _ in 0..5 {
            turns.give(&options, 2_000);
        }
        let of =
            |told: &mut Vec<oneshot::Receiver<()>>| told.iter_mut().filter_map(|told| told.try_recv().ok()).count();
        let (refreshes, lists) = (of(&mut refreshes), of(&mut lists));
        assert_eq!(refreshes + lists, 5 * HANDFUL);
        assert!((15..=17).contains(&lists), "a fifth by 5 to 20: {lists}");

        let turns = served();
        full(&turns, 2_000);
        let mut greedy: Vec<_> = (0..100).map(|_| joined(&turns, asks(Class::Login, 1, 2_000))).collect();
        let mut modest = joined(&turns, asks(Class::Login, 2, 2_001));
        turns.give(&options, 2_100);
        assert!(has_turn(&mut modest), "it does not wait behind a hundred of another");
        assert_eq!(of(&mut greedy), HANDFUL - 1);
    }

    #[test]
    fn who_comes_late_to_the_line_has_no_credit_of_before() {
        let (turns, options) = (served(), AdmissionOptions::default());
        full(&turns, 2_000);
        let _refreshes: Vec<_> = (0..1_000)
            .map(|_| joined(&turns, asks(Class::Refresh, 0, 2_000)))
            .collect();
        for _ in 0..40 {
            turns.give(&options, 2_000);
        }
        let mut logins: Vec<_> = (0..100).map(|_| joined(&turns, asks(Class::Login, 0, 2_000))).collect();
        turns.give(&options, 2_000);
        let began = logins.iter_mut().filter_map(|told| told.try_recv().ok()).count();
        assert!((1..HANDFUL).contains(&began), "shared, not all: {began}");
    }

    #[test]
    fn the_late_take_no_place_and_the_gone_none_at_all() {
        let (turns, options) = (served(), AdmissionOptions::default());
        full(&turns, 2_000);
        let late = Asks {
            late_us: 3_000,
            ..asks(Class::Login, 0, 2_000)
        };
        let mut late: Vec<_> = (0..HANDFUL).map(|_| joined(&turns, late)).collect();
        drop(
            (0..1_000)
                .map(|_| joined(&turns, asks(Class::Login, 0, 2_000)))
                .collect::<Vec<_>>(),
        );
        let mut good = joined(&turns, asks(Class::Login, 0, 2_000));
        assert!(!turns.give(&options, 3_000));
        assert!(has_turn(&mut good));
        assert!(late.iter_mut().all(has_turn), "they are told, to be refused");
        assert!((turns.take_wait_ms(3_000) - 1.0 / (HANDFUL as f64 + 1.0)).abs() < 0.001);
    }

    #[test]
    fn the_wait_of_a_line_that_stands_shows() {
        let turns = served();
        full(&turns, 2_000);
        let _waits = joined(&turns, asks(Class::Login, 0, 2_000));
        turns.take_wait_ms(2_000);
        assert_eq!(turns.take_wait_ms(52_000), 50.0);
    }

    #[tokio::test]
    async fn an_usher_gives_turns_until_the_line_is_empty() {
        let turns = Arc::new(served());
        let usher = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move {
                turns.called().await;
                while turns.give(&AdmissionOptions::default(), 2_000) {
                    tokio::task::yield_now().await;
                }
            }
        });
        full(&turns, 2_000);
        let waits = (0..10 * HANDFUL).map(|_| turns.turn(asks(Class::Login, 0, 2_000)));
        futures_util::future::join_all(waits).await;
        usher.await.unwrap();
        assert_eq!(turns.waiting(), 0);
    }
}
