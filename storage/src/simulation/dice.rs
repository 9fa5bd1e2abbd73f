//! Chance that can be repeated: a SplitMix64 sequence from one seed. Each part of a world throws its own dice, so that
//! one more throw in one part does not change all others.

/// A repeatable sequence of numbers.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of one part of the world with this seed.
    pub fn new(seed: u64, part: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes());
        hasher.update(part.as_bytes());
        let state = hasher.finalize();
        let state = state
            .as_bytes()
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        Self { state }
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..limit`; 0 when there is none.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.any().checked_rem(limit).unwrap_or(0)
    }

    /// A position in something of this length; 0 when it is empty.
    pub fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// True in `per_mille` of 1,000 throws.
    pub fn hits(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// 32 bytes.
    pub fn bytes32(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        for part in out.chunks_exact_mut(8) {
            part.copy_from_slice(&self.any().to_be_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_parts_differ() {
        let throws = |seed, part| {
            let mut dice = Dice::new(seed, part);
            (0..100).map(|_| dice.any()).collect::<Vec<_>>()
        };
        assert_eq!(throws(7, "disk"), throws(7, "disk"));
        assert_ne!(throws(7, "disk"), throws(8, "disk"));
        assert_ne!(throws(7, "disk"), throws(7, "clock"));
    }

    #[test]
    fn limits_hold_and_every_side_comes_up() {
        let mut dice = Dice::new(1, "limits");
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[dice.place(6)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!((dice.below(0), dice.place(0)), (0, 0));
        assert!((0..1000).all(|_| !dice.hits(0) && dice.hits(1000)));
        assert_ne!(dice.bytes32(), dice.bytes32());
    }
}
