//! Is this a storm, in which checks and players' threads share the processors? Going first, checks take a processor from
//! players' threads many thousand times a second, and their working set from its caches. While there is time to spare that
//! costs nobody anything; in a storm it costs a sixth of what is done. decisions/0820-checks-go-first.md has the figures.
//! No clock and no threads here.

/// A storm: players' threads wait for a processor for more than this share of the time...
const WAITS_MUCH: f64 = 0.5;
/// ... for so many windows of 100 ms; a burst is over by then.
const LASTING_WINDOWS: u32 = 10;
/// A window in which players' work had to wait for its turn counts as so many: where a round of their threads is not enough, it is
/// hardly a burst.
const KEPT_BACK: u32 = 5;
/// It is over when they wait for less than this share...
const WAITS_LITTLE: f64 = 0.25;
/// ... for so many windows.
const CALM_WINDOWS: u32 = 10;
/// Checks do not wait so that more bulk gets done: no storm where it is more than this part of what is done for players.
const BULK_MOST: f64 = 0.8;

/// What a window was like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// How many of players' threads waited for a processor, on average.
    pub waiting: f64,
    /// How many of them there are.
    pub threads: usize,
    /// Units done in class `bulk`.
    pub bulk_units: u64,
    /// Units done in all classes of players, `bulk` too.
    pub players_units: u64,
    /// Did players' work wait for its turn when the window ended?
    pub keeps_back: bool,
}

/// Whether there is one.
#[derive(Debug, Default)]
pub struct Storm {
    is_on: bool,
    /// Windows in a row that speak against what is, as they count.
    against: u32,
}

impl Storm {
    /// Takes a window into account.
    pub fn see(&mut self, seen: Seen) {
        let waits = seen.waiting / seen.threads.max(1) as f64;
        let is_bulk = seen.bulk_units as f64 > seen.players_units as f64 * BULK_MOST;
        let (speaks_against, counts, enough) = if self.is_on {
            (waits < WAITS_LITTLE || is_bulk, 1, CALM_WINDOWS)
        } else {
            let counts = if seen.keeps_back { KEPT_BACK } else { 1 };
            (waits > WAITS_MUCH && !is_bulk, counts, LASTING_WINDOWS)
        };
        self.against = if speaks_against { self.against + counts } else { 0 };
        if self.against >= enough {
            (self.is_on, self.against) = (!self.is_on, 0);
        }
    }

    /// Is there one?
    pub fn is_on(&self) -> bool {
        self.is_on
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUGH: Seen = Seen {
        waiting: 0.7,
        threads: 1,
        bulk_units: 20,
        players_units: 100,
        keeps_back: false,
    };
    const CALM: Seen = Seen { waiting: 0.1, ..ROUGH };

    fn after(storm: &mut Storm, windows: u32, seen: Seen) -> bool {
        (0..windows).for_each(|_| storm.see(seen));
        storm.is_on()
    }

    #[test]
    fn waits_that_last_are_a_storm_and_a_burst_is_none() {
        let mut storm = Storm::default();
        assert!(!after(&mut storm, LASTING_WINDOWS - 1, ROUGH));
        assert!(!after(&mut storm, 1, CALM));
        assert!(!after(&mut storm, LASTING_WINDOWS - 1, ROUGH));
        assert!(after(&mut storm, 1, ROUGH));
    }

    #[test]
    fn work_that_waits_for_its_turn_shows_a_storm_sooner() {
        let flood = Seen {
            keeps_back: true,
            ..ROUGH
        };
        let mut storm = Storm::default();
        assert!(!after(&mut storm, LASTING_WINDOWS / KEPT_BACK - 1, flood));
        assert!(after(&mut storm, 1, flood));
        let calm_but_kept_back = Seen { waiting: 0.1, ..flood };
        assert!(!after(&mut Storm::default(), 100, calm_but_kept_back));
        assert!(
            !after(&mut storm, CALM_WINDOWS, calm_but_kept_back),
            "and ends as any other"
        );
    }

    #[test]
    fn it_ends_with_calm_that_lasts() {
        let mut storm = Storm::default();
        after(&mut storm, LASTING_WINDOWS, ROUGH);
        assert!(after(&mut storm, CALM_WINDOWS - 1, CALM));
        let between = Seen { waiting: 0.3, ..ROUGH };
        assert!(after(&mut storm, 1, between), "neither much nor little");
        assert!(after(&mut storm, CALM_WINDOWS - 1, CALM));
        assert!(!after(&mut storm, 1, CALM));
        assert!(!after(&mut storm, 100, between));
    }

    #[test]
    fn waits_are_those_of_a_thread() {
        let of_two = Seen { threads: 2, ..ROUGH };
        assert!(!after(&mut Storm::default(), 100, of_two));
        assert!(!after(
            &mut Storm::default(),
            100,
            Seen {
                threads: 0,
                waiting: 0.0,
                ..ROUGH
            }
        ));
    }

    #[test]
    fn bulk_alone_is_no_storm() {
        let bulk = |bulk_units| after(&mut Storm::default(), 100, Seen { bulk_units, ..ROUGH });
        assert_eq!([80, 81, 100].map(bulk), [true, false, false]);
        let mut storm = Storm::default();
        after(&mut storm, LASTING_WINDOWS, ROUGH);
        assert!(!after(
            &mut storm,
            CALM_WINDOWS,
            Seen {
                bulk_units: 100,
                ..ROUGH
            }
        ));
    }
}
