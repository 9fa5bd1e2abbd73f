//! The queue in simulated time, beside the plain queue that was before it.

use std::collections::BTreeMap;

use super::*;

const COST: Duration = Duration::from_millis(25);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rules(threads: usize, deadline_ms: u64) -> QueueRules {
    QueueRules {
        threads,
        deadline: ms(deadline_ms),
        permitted_wait: None,
    }
}

/// What the simulated pool needs of a queue.
trait Line {
    fn offer(&mut self, now: Duration, caller: Caller);
    fn take(&mut self, now: Duration) -> Option<Caller>;
    fn ended(&mut self);
}

/// Who came, and until when it waits for its answer.
#[derive(Clone, Copy)]
struct Caller {
    tenant: u32,
    came: Duration,
}

struct New {
    queue: HashQueue<Caller>,
    refused: Vec<Refused<Caller>>,
}

impl New {
    fn of(rules: QueueRules) -> Self {
        Self {
            queue: HashQueue::new(rules),
            refused: Vec::new(),
        }
    }
}

impl Line for New {
    fn offer(&mut self, now: Duration, caller: Caller) {
        self.queue.offer(now, caller.tenant, None, caller, &mut self.refused);
    }
    fn take(&mut self, now: Duration) -> Option<Caller> {
        self.queue.take(now, &mut self.refused)
    }
    fn ended(&mut self) {
        self.queue.end(Some(COST));
    }
}

/// The queue as it was: first come, first served, bounded by the time it would take.
#[derive(Default)]
struct Plain {
    line: std::collections::VecDeque<Caller>,
    deadline: Duration,
}

impl Line for Plain {
    fn offer(&mut self, _: Duration, caller: Caller) {
        if COST * u32::try_from(self.line.len() + 1).unwrap() <= self.deadline {
            self.line.push_back(caller);
        }
    }
    fn take(&mut self, now: Duration) -> Option<Caller> {
        loop {
            let next = self.line.pop_front()?;
            if now - next.came <= self.deadline {
                return Some(next);
            }
        }
    }
    fn ended(&mut self) {}
}

/// Hashes of [`COST`] on one thread, for callers that come as `arrivals` say (in order); answers by game how many were
/// answered within `patience`.
fn in_time(line: &mut dyn Line, arrivals: &[Caller], patience: Duration) -> BTreeMap<u32, usize> {
    let (mut done, mut free_at) = (BTreeMap::new(), Duration::ZERO);
    let mut coming = arrivals.iter().copied().peekable();
    let end = arrivals.last().map_or(Duration::ZERO, |last| last.came) + ms(10_000);
    let mut now = Duration::ZERO;
    let mut is_running = false;
    while now <= end {
        while let Some(caller) = coming.next_if(|caller| caller.came <= now) {
            line.offer(now, caller);
        }
        if now >= free_at {
            if is_running {
                line.ended();
            }
            let next = line.take(now);
            is_running = next.is_some();
            if let Some(caller) = next {
                free_at = now + COST;
                if free_at - caller.came <= patience {
                    *done.entry(caller.tenant).or_insert(0) += 1;
                }
            }
        }
        now += ms(1);
    }
    done
}

/// Callers of a game at an even rate.
fn evenly(tenant: u32, per_second: u64, from_ms: u64, until_ms: u64) -> Vec<Caller> {
    let count = (until_ms - from_ms) * per_second / 1000;
    let came = |n: u64| ms(from_ms) + Duration::from_micros(n * 1_000_000 / per_second);
    (0..count).map(|n| Caller { tenant, came: came(n) }).collect()
}

fn together(mut lists: Vec<Caller>) -> Vec<Caller> {
    lists.sort_by_key(|caller| caller.came);
    lists
}

#[test]
fn overload_leaves_what_is_done_in_time_at_capacity_where_a_plain_queue_does_almost_nothing_in_time() {
    // 40 a second can be done; callers leave after a second, which the host's deadline of 1.5 s does not know.
    let (patience, capacity) = (ms(1_000), 60 * 40);
    for times in [2, 10] {
        let arrivals = evenly(1, 40 * times, 0, 60_000);
        let mut new = New::of(rules(1, 1_500));
        let done = in_time(&mut new, &arrivals, patience)[&1];
        assert!(done >= capacity * 95 / 100, "{times}x: {done} of {capacity}");
        let mut plain = Plain {
            deadline: ms(1_500),
            ..Plain::default()
        };
        let old = in_time(&mut plain, &arrivals, patience)[&1];
        assert!(old <= capacity * 5 / 100, "{times}x: {old} of {capacity}");
    }
}

#[test]
fn a_load_below_capacity_loses_nobody_and_neither_does_a_burst() {
    let arrivals = evenly(1, 36, 0, 60_000);
    let mut new = New::of(rules(1, 1_500));
    assert_eq!(in_time(&mut new, &arrivals, ms(1_500))[&1], arrivals.len());
    // 50 at once take 1.25 s.
    let burst = vec![Caller { tenant: 1, came: ms(5) }; 50];
    let mut new = New::of(rules(1, 1_500));
    assert_eq!(in_time(&mut new, &burst, ms(1_500))[&1], 50);
    assert!(new.refused.is_empty());
}

#[test]
fn a_load_below_capacity_that_comes_at_random_loses_almost_nobody() {
    // Exponential gaps, 36 a second of the 40 that can be done.
    let (mut state, mut now, mut arrivals) = (1_u64, 0.0, Vec::new());
    while now < 600.0 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let chance = ((state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        now -= chance.ln() / 36.0;
        arrivals.push(Caller {
            tenant: 1,
            came: Duration::from_secs_f64(now),
        });
    }
    let mut new = New::of(rules(1, 1_500));
    let done = in_time(&mut new, &arrivals, ms(1_000))[&1];
    assert!(done * 100 >= arrivals.len() * 99, "{done} of {}", arrivals.len());
}

#[test]
fn the_rush_of_one_game_leaves_the_others_their_share() {
    let (rush, calm) = (evenly(1, 400, 0, 30_000), evenly(2, 15, 500, 30_000));
    let mut new = New::of(rules(1, 1_500));
    let done = in_time(&mut new, &together([rush.clone(), calm.clone()].concat()), ms(500));
    assert_eq!(done[&2], calm.len(), "all of the calm game's");
    assert!(done[&1] >= 30 * 40 * 95 / 100 - calm.len(), "{}", done[&1]);
    // Without turns the calm game would be served like any other part of the rush.
    let one_lane = |caller: Caller| Caller { tenant: 1, ..caller };
    let mut plain = Plain {
        deadline: ms(1_500),
        ..Plain::default()
    };
    let all: Vec<_> = together([rush, calm].concat()).into_iter().map(one_lane).collect();
    assert!(in_time(&mut plain, &all, ms(500)).get(&1).copied().unwrap_or(0) < 60);
}

#[test]
fn a_short_queue_serves_the_oldest_and_a_crowded_one_the_newest_until_it_drains() {
    let (mut queue, mut refused) = (HashQueue::new(rules(1, 1_500)), Vec::new());
    for n in 0..3 {
        queue.offer(ms(n), 1, None, n, &mut refused);
    }
    assert_eq!(queue.take(ms(3), &mut refused), Some(0));
    queue.offer(ms(501), 1, None, 3, &mut refused);
    for n in [3, 2, 1] {
        queue.end(Some(COST));
        assert_eq!(queue.take(ms(502), &mut refused), Some(n));
        assert!(queue.is_crowded());
    }
    assert!(queue.take(ms(502), &mut refused).is_none() && !queue.is_crowded());
    queue.offer(ms(600), 1, None, 4, &mut refused);
    queue.offer(ms(601), 1, None, 5, &mut refused);
    queue.end(Some(COST));
    assert_eq!(queue.take(ms(602), &mut refused), Some(4), "a queue again");
    assert!(refused.is_empty());
}

#[test]
fn while_crowded_a_newcomer_takes_the_place_of_one_that_waited_too_long() {
    let chosen = QueueRules {
        permitted_wait: Some(ms(200)),
        ..rules(1, 1_500)
    };
    for (rules, permitted) in [(rules(1, 1_500), 500), (rules(1, 120), 50), (chosen, 200)] {
        let (mut queue, mut refused) = (HashQueue::new(rules), Vec::new());
        queue.offer(ms(0), 1, None, 'a', &mut refused);
        queue.offer(ms(1), 1, None, 'b', &mut refused);
        queue.offer(ms(permitted), 1, None, 'c', &mut refused);
        assert!(refused.is_empty());
        assert!(!queue.is_crowded());
        queue.offer(ms(permitted + 1), 1, None, 'd', &mut refused);
        queue.offer(ms(permitted + 1), 1, None, 'e', &mut refused);
        assert!(queue.is_crowded());
        assert_eq!(refused.iter().map(|refused| refused.job).collect::<String>(), "a");
        assert_eq!((queue.counters().pushed_out, queue.waiting()), (1, 4));
    }
}

#[test]
fn the_queue_is_bounded_by_the_time_it_would_take_and_each_game_has_its_share_of_it() {
    let (mut queue, mut refused) = (HashQueue::new(rules(1, 100)), Vec::new());
    queue.offer(ms(0), 1, None, 0, &mut refused);
    assert_eq!(queue.take(ms(0), &mut refused), Some(0));
    for n in 1..=4 {
        queue.offer(ms(1), 1, None, n, &mut refused);
    }
    assert!(refused.is_empty());
    queue.offer(ms(1), 1, None, 5, &mut refused);
    assert_eq!((refused.pop().unwrap().job, queue.counters().refused_full), (5, 1));
    queue.offer(ms(1), 2, None, 6, &mut refused);
    assert!(refused.is_empty(), "another game would wait for two");
    queue.end(Some(COST));
    assert_eq!(queue.take(ms(25), &mut refused), Some(1));
    queue.end(Some(COST));
    assert_eq!(queue.take(ms(50), &mut refused), Some(6));
}

#[test]
fn memory_is_bounded_whatever_the_jobs_cost() {
    let (mut queue, mut refused) = (HashQueue::new(rules(1, 10_000)), Vec::new());
    queue.cost = Duration::from_nanos(1);
    for n in 0..WAITING_MAX + 10 {
        queue.offer(ms(0), 1, None, n, &mut refused);
    }
    assert_eq!((queue.waiting(), refused.len()), (WAITING_MAX, 10));
    assert_eq!(refused[0].job, 0, "the oldest makes room");
}

#[test]
fn what_cannot_be_done_before_its_caller_leaves_is_not_begun() {
    let (mut queue, mut refused) = (HashQueue::new(rules(1, 1_500)), Vec::new());
    queue.offer(ms(0), 1, Some(ms(24)), 'a', &mut refused);
    queue.offer(ms(0), 1, Some(ms(25)), 'b', &mut refused);
    assert_eq!(queue.take(ms(0), &mut refused), Some('b'), "a hash of 25 ms fits");
    queue.offer(ms(0), 1, Some(ms(49)), 'c', &mut refused);
    assert_eq!(queue.counters().refused_full, 2, "one runs, and itself: 50 ms");
    queue.offer(ms(0), 1, Some(ms(60)), 'd', &mut refused);
    queue.offer(ms(0), 1, None, 'e', &mut refused);
    queue.end(Some(COST));
    assert_eq!(
        queue.take(ms(36), &mut refused),
        Some('e'),
        "35 ms was the last moment for d"
    );
    let told: String = refused.iter().map(|refused| refused.job).collect();
    assert_eq!((told.as_str(), queue.counters().refused_late), ("acd", 1));
}

#[test]
fn refused_callers_are_told_to_come_back_one_after_the_other() {
    let (mut queue, mut refused) = (HashQueue::new(rules(2, 100)), Vec::new());
    for n in 0..1_000 {
        queue.offer(ms(0), 1, None, n, &mut refused);
    }
    let told: Vec<_> = refused.iter().map(|refused| refused.retry_after).collect();
    assert!(told.is_sorted() && told.len() > 900);
    assert_eq!((told[0], told[50]), (RETRY_MIN, Duration::from_micros(750_000)));
    assert_eq!(
        told[500],
        told[400] + COST * 50,
        "two threads do 100 in 50 times the cost"
    );
    for n in 0..10_000 {
        queue.offer(ms(0), 1, None, n, &mut refused);
    }
    assert_eq!(refused.last().unwrap().retry_after, RETRY_MAX);
    // A minute later nobody is owed anything.
    while queue.take(ms(70_000), &mut refused).is_some() {}
    refused.clear();
    for n in 0..20 {
        queue.offer(ms(70_000), 1, None, n, &mut refused);
    }
    assert_eq!(refused[0].retry_after, RETRY_MIN);
}

#[test]
fn the_recent_wait_is_that_of_those_who_left_or_of_who_waits_longest() {
    let (mut queue, mut refused) = (HashQueue::new(rules(1, 1_500)), Vec::new());
    assert_eq!(queue.recent_wait(ms(1_000)), Duration::ZERO);
    queue.offer(ms(1_000), 1, None, 1, &mut refused);
    queue.offer(ms(1_020), 1, None, 2, &mut refused);
    assert_eq!(queue.recent_wait(ms(1_080)), ms(80));
    queue.take(ms(1_080), &mut refused);
    queue.take(ms(1_080), &mut refused);
    assert_eq!(queue.recent_wait(ms(1_090)), ms(70));
    assert_eq!(queue.recent_wait(ms(1_400)), Duration::ZERO);
}
