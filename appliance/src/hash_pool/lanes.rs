//! Waiting jobs by game, in lanes that take turns: however many jobs one game brings, another's next job waits for one of
//! each of the others, not for all of them.

use std::collections::VecDeque;

/// Games with a lane of their own; those beyond share one, so that made-up games take no memory.
pub(super) const TENANT_LANES_MAX: usize = 256;

/// A lane of a game, or with no name the one that is shared. Never empty, its oldest job in front.
struct Lane<T> {
    tenant: Option<u32>,
    jobs: VecDeque<T>,
}

/// The lanes that hold something. The one in front has the next turn.
pub(super) struct Lanes<T> {
    lanes: VecDeque<Lane<T>>,
    waiting: usize,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            lanes: VecDeque::new(),
            waiting: 0,
        }
    }
}

impl<T> Lanes<T> {
    /// Jobs in all lanes.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts a job at the end of its game's lane; a new lane has the last turn.
    pub(super) fn push(&mut self, tenant: u32, job: T) {
        self.waiting += 1;
        let name = self.lane_of(tenant);
        match self.lanes.iter_mut().find(|lane| lane.tenant == name) {
            Some(lane) => lane.jobs.push_back(job),
            None => self.lanes.push_back(Lane {
                tenant: name,
                jobs: VecDeque::from([job]),
            }),
        }
    }

    /// The oldest or the newest job of the lane whose turn it is.
    pub(super) fn pop(&mut self, is_newest: bool) -> Option<T> {
        let mut lane = self.lanes.pop_front()?;
        let job = if is_newest {
            lane.jobs.pop_back()
        } else {
            lane.jobs.pop_front()
        }?;
        self.waiting -= 1;
        if !lane.jobs.is_empty() {
            self.lanes.push_back(lane);
        }
        Some(job)
    }

    /// Jobs that run before one that this game brings now: all of its own lane when the oldest go first, none when the
    /// newest do, and as many turns of the others.
    pub(super) fn ahead_of(&self, tenant: u32, is_newest_first: bool) -> usize {
        let name = self.lane_of(tenant);
        let own = self.lanes.iter().find(|lane| lane.tenant == name);
        let own = own.map_or(0, |lane| if is_newest_first { 0 } else { lane.jobs.len() });
        let others = self.lanes.iter().filter(|lane| lane.tenant != name);
        own + others.map(|lane| lane.jobs.len().min(own + 1)).sum::<usize>()
    }

    /// Takes the oldest job of the longest lane, if it is as `wanted`.
    pub(super) fn take_from_longest(&mut self, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let longest = self.lanes.iter_mut().max_by_key(|lane| lane.jobs.len())?;
        if !longest.jobs.front().is_some_and(wanted) {
            return None;
        }
        let job = longest.jobs.pop_front()?;
        self.waiting -= 1;
        self.lanes.retain(|lane| !lane.jobs.is_empty());
        Some(job)
    }

    /// Takes the oldest jobs of every lane for as long as they are as `wanted`.
    pub(super) fn take_while(&mut self, wanted: impl Fn(&T) -> bool, mut taken: impl FnMut(T)) {
        let before = self.waiting;
        for lane in &mut self.lanes {
            while lane.jobs.front().is_some_and(&wanted) {
                if let Some(job) = lane.jobs.pop_front() {
                    self.waiting -= 1;
                    taken(job);
                }
            }
        }
        if self.waiting < before {
            self.lanes.retain(|lane| !lane.jobs.is_empty());
        }
    }

    /// The oldest job of every lane.
    pub(super) fn oldest(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().filter_map(|lane| lane.jobs.front())
    }

    /// Drops all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn lane_of(&self, tenant: u32) -> Option<u32> {
        let has_one = self.lanes.iter().any(|lane| lane.tenant == Some(tenant));
        (has_one || self.lanes.len() < TENANT_LANES_MAX).then_some(tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lanes: &mut Lanes<(u32, u32)>, is_newest: bool) -> Vec<(u32, u32)> {
        std::iter::from_fn(|| lanes.pop(is_newest)).collect()
    }

    fn filled(jobs: &[(u32, u32)]) -> Lanes<(u32, u32)> {
        let mut lanes = Lanes::default();
        jobs.iter().for_each(|job| lanes.push(job.0, *job));
        lanes
    }

    #[test]
    fn games_take_turns_and_within_one_the_order_is_chosen() {
        let jobs = [(1, 0), (1, 1), (1, 2), (2, 0), (3, 0), (3, 1)];
        assert_eq!(
            all(&mut filled(&jobs), false),
            [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2)]
        );
        assert_eq!(
            all(&mut filled(&jobs), true),
            [(1, 2), (2, 0), (3, 1), (1, 1), (3, 0), (1, 0)]
        );
    }

    #[test]
    fn what_is_ahead_of_a_newcomer_is_counted_in_turns() {
        let lanes = filled(&[(1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]);
        for (tenant, is_newest_first, ahead) in
            [(1, false, 6), (2, false, 5), (3, false, 2), (1, true, 1), (3, true, 2)]
        {
            assert_eq!(lanes.ahead_of(tenant, is_newest_first), ahead, "{tenant}");
        }
    }

    #[test]
    fn the_longest_lane_gives_way_and_empty_lanes_are_gone() {
        let mut lanes = filled(&[(2, 0), (1, 0), (1, 1)]);
        assert_eq!(lanes.take_from_longest(|_| false), None);
        assert_eq!(lanes.take_from_longest(|_| true), Some((1, 0)));
        lanes.take_while(|job| job.0 == 2, |job| assert_eq!(job, (2, 0)));
        assert_eq!((lanes.waiting(), lanes.lanes.len()), (1, 1));
        assert_eq!(all(&mut lanes, false), [(1, 1)]);
        assert_eq!((lanes.waiting(), lanes.lanes.len()), (0, 0));
    }

    #[test]
    fn games_beyond_the_limit_share_a_lane() {
        let mut lanes = Lanes::default();
        for tenant in 0..10_000 {
            lanes.push(tenant, (tenant, 0));
        }
        assert_eq!(lanes.lanes.len(), TENANT_LANES_MAX + 1);
        lanes.push(3, (3, 1));
        assert_eq!(lanes.ahead_of(9_999, false), 10_001);
        assert_eq!(lanes.ahead_of(3, false), 2 + 255 + 3);
        assert_eq!(all(&mut lanes, false).len(), 10_001);
    }
}
