//! Intended times of an open loop, as offsets from its beginning.

use std::time::Duration;

use crate::Arrival;
use crate::dice::Dice;

/// Endless intended times, never going backwards.
pub struct Schedule {
    arrival: Arrival,
    count: u64,
    at_s: f64,
    dice: Dice,
}

impl Schedule {
    /// Of an arrival; `None` for a closed loop, which has no times.
    pub fn new(arrival: Arrival) -> Option<Self> {
        let seed = match arrival {
            Arrival::Closed => return None,
            Arrival::Constant(_) => 0,
            Arrival::Poisson { seed, .. } => seed,
        };
        Some(Self {
            arrival,
            count: 0,
            at_s: 0.0,
            dice: Dice::new(seed),
        })
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        match self.arrival {
            Arrival::Closed => return None,
            // From the count, so that no rounding adds up.
            Arrival::Constant(rate) => self.at_s = self.count as f64 / rate,
            Arrival::Poisson { rate, .. } => {
                // Above 0, for the logarithm.
                let chance = (self.dice.chance() + f64::EPSILON).min(1.0);
                self.at_s -= chance.ln() / rate;
            }
        }
        self.count += 1;
        Some(Duration::from_secs_f64(self.at_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_times_do_not_drift() {
        let mut times = Schedule::new(Arrival::Constant(70_000.0)).unwrap();
        assert_eq!(times.next(), Some(Duration::ZERO));
        let after_a_minute = times.nth(70_000 * 60 - 1).unwrap();
        assert_eq!(after_a_minute, Duration::from_secs(60));
        assert!(Schedule::new(Arrival::Closed).is_none());
        assert_eq!(Arrival::Constant(100.0).count_within(Duration::from_secs(2)), 200);
        assert_eq!(Arrival::Closed.count_within(Duration::from_secs(2)), 0);
    }

    #[test]
    fn poisson_times_have_the_rate_and_the_spread_of_chance() {
        let arrival = Arrival::Poisson { rate: 1000.0, seed: 3 };
        let times: Vec<f64> = Schedule::new(arrival)
            .unwrap()
            .take(100_000)
            .map(|at| at.as_secs_f64())
            .collect();
        assert!((times[99_999] - 100.0).abs() < 1.5, "{}", times[99_999]);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= 0.0));
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let spread = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // Of an exponential distribution both are the same.
        assert!((spread / mean - 1.0).abs() < 0.05, "mean {mean}, spread {spread}");
        let again: Vec<f64> = Schedule::new(arrival)
            .unwrap()
            .take(10)
            .map(|at| at.as_secs_f64())
            .collect();
        assert_eq!(again, times[..10]);
    }
}
