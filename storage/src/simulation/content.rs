//! The bytes of one simulated file: what programs read (the volatile image), what would survive a cut of the power
//! without any luck (the durable image), and the changes in between, which may or may not.

use super::Dice;

/// What a disk writes at once: a sector is old or new, never half.
pub(super) const SECTOR_BYTES: usize = 512;

/// One change that no sync has made durable.
#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => write(image, *at, bytes),
            Self::Length(length) => image.resize(*length, 0),
        }
    }

    /// The parts of it that reach the disk or do not: sectors for a write.
    fn parts(&self) -> Vec<Self> {
        let Self::Write(at, bytes) = self else {
            return vec![self.clone()];
        };
        let (mut parts, mut at, mut rest) = (Vec::new(), *at, bytes.as_slice());
        while !rest.is_empty() {
            let to_border = SECTOR_BYTES - at % SECTOR_BYTES;
            let (sector, tail) = rest.split_at_checked(to_border).unwrap_or((rest, &[]));
            parts.push(Self::Write(at, sector.to_vec()));
            at += sector.len();
            rest = tail;
        }
        parts
    }
}

fn write(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if image.len() < at + bytes.len() {
        image.resize(at + bytes.len(), 0);
    }
    if let Some(place) = image.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    volatile: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Content {
    /// A file that is on the disk as it is in memory.
    pub(super) fn settled(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            volatile: bytes,
            pending: Vec::new(),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.volatile
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        self.change(Change::Write(at, bytes.to_vec()));
    }

    pub(super) fn set_len(&mut self, length: usize) {
        self.change(Change::Length(length));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.volatile);
        self.pending.push(change);
    }

    /// A sync that worked. Bytes an earlier, failed sync gave up are not among what is still pending.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that failed: some of it is on the disk, and the system believes that nothing is left to write.
    pub(super) fn sync_failed(&mut self, dice: &mut Dice) {
        self.keep_some(dice);
    }

    /// The power goes: some of what was pending is there afterwards.
    pub(super) fn power_cut(&mut self, dice: &mut Dice) {
        self.keep_some(dice);
        self.volatile.clone_from(&self.durable);
    }

    /// The system drops clean pages, and reads what is really there.
    pub(super) fn evict(&mut self) {
        self.volatile.clone_from(&self.durable);
        for change in &self.pending {
            change.apply(&mut self.volatile);
        }
    }

    /// Nothing, all, a beginning with a torn end, or any sectors of what is pending become durable.
    fn keep_some(&mut self, dice: &mut Dice) {
        let parts: Vec<Change> = self.pending.drain(..).flat_map(|change| change.parts()).collect();
        let (upto, chance) = match dice.below(4) {
            0 => (0, 0),
            1 => (parts.len(), 1000),
            2 => (dice.place(parts.len() + 1), 1000),
            _ => (parts.len(), dice.below(1001)),
        };
        for part in parts.iter().take(upto) {
            if dice.hits(chance) {
                part.apply(&mut self.durable);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Content {
        let mut content = Content::settled(vec![1; 2000]);
        content.write(600, &[2; 3000]);
        content
    }

    #[test]
    fn only_a_sync_makes_bytes_safe() {
        let mut content = written();
        content.sync();
        for seed in 0..50 {
            let mut cut = content.clone();
            cut.power_cut(&mut Dice::new(seed, "cut"));
            assert_eq!(cut.bytes(), content.bytes());
        }
    }

    #[test]
    fn a_cut_leaves_whole_sectors_old_or_new_and_every_mix_of_them() {
        let (mut all, mut none, mut torn) = (0, 0, 0);
        for seed in 0..400 {
            let mut content = written();
            content.power_cut(&mut Dice::new(seed, "cut"));
            let bytes = content.bytes();
            assert!(bytes[..600].iter().all(|byte| *byte == 1));
            // A sector is old (ones, or zeros behind the old end) or new (twos).
            let new = |from: usize, until: usize| {
                let until = until.min(bytes.len());
                let twos = bytes
                    .get(from..until)
                    .unwrap_or_default()
                    .iter()
                    .filter(|byte| **byte == 2)
                    .count();
                assert!(
                    twos == 0 || twos == until - from,
                    "seed {seed}: a torn sector at {from}"
                );
                twos > 0
            };
            let kept = [
                new(600, 1024),
                new(1024, 1536),
                new(1536, 2048),
                new(2048, 2560),
                new(3072, 3584),
            ];
            match kept.iter().filter(|kept| **kept).count() {
                0 => none += 1,
                5 => all += 1,
                _ => torn += 1,
            }
        }
        assert!(all > 50 && none > 50 && torn > 50, "{all} {none} {torn}");
    }

    #[test]
    fn what_a_failed_sync_gave_up_is_read_until_it_is_evicted_and_no_later_sync_saves_it() {
        let mut lost = 0;
        for seed in 0..100 {
            let mut content = written();
            content.sync_failed(&mut Dice::new(seed, "sync"));
            assert_eq!(content.bytes()[600..3600], [2; 3000]);
            content.sync();
            content.evict();
            lost += usize::from(content.bytes() != written().bytes());
        }
        assert!(lost > 30, "{lost}");
    }

    #[test]
    fn lengths_are_changes_too() {
        let (mut long, mut short) = (0, 0);
        for seed in 0..100 {
            let mut content = Content::settled(vec![1; 100]);
            content.set_len(10);
            content.power_cut(&mut Dice::new(seed, "cut"));
            match content.bytes().len() {
                100 => long += 1,
                10 => short += 1,
                other => panic!("{other}"),
            }
        }
        assert!(long > 10 && short > 10);
    }
}
