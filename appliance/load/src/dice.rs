//! Chance that can be repeated: splitmix64.

/// Numbers of chance; equal seeds give equal numbers.
#[derive(Debug, Clone, Copy)]
pub struct Dice(u64);

impl Dice {
    /// Dice of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, evenly spread over all 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next number from 0 to below 1.
    pub fn chance(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64_and_chance_is_even() {
        let mut dice = Dice::new(0);
        // The first numbers of the published generator with seed 0.
        assert_eq!(dice.number(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(dice.number(), 0x6e78_9e6a_a1b9_65f4);
        let mut dice = Dice::new(7);
        let chances: Vec<f64> = (0..10_000).map(|_| dice.chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..1.0).contains(chance)));
        let mean = chances.iter().sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
    }
}
