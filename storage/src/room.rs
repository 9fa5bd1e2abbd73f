//! Room on the disk. The store cannot measure it and is told; it refuses writes while little is left, the least
//! important first, so that RocksDB never meets the end of the disk in the middle of a payment.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::table::Class;

/// How much room the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum DiskRoom {
    /// Enough.
    #[default]
    Ample,
    /// Little: somebody should look. Nothing is refused.
    Low,
    /// Transactions of the class `local` (logins, refresh) are refused, unless they only delete.
    Scarce,
    /// Every write is refused; reads and token checks go on.
    Exhausted,
}

impl DiskRoom {
    /// In metrics, status and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ample => "ample",
            Self::Low => "low",
            Self::Scarce => "scarce",
            Self::Exhausted => "exhausted",
        }
    }

    /// Whether a transaction that writes may be kept.
    pub(crate) fn admits(self, class: Class, only_deletes: bool) -> bool {
        match self {
            Self::Ample | Self::Low => true,
            Self::Scarce => class > Class::Local || only_deletes,
            Self::Exhausted => false,
        }
    }
}

/// The level that is shared between who measures and who writes.
#[derive(Debug, Default)]
pub(crate) struct RoomGauge(AtomicU8);

impl RoomGauge {
    pub(crate) fn set(&self, room: DiskRoom) {
        self.0.store(room as u8, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> DiskRoom {
        match self.0.load(Ordering::Relaxed) {
            0 => DiskRoom::Ample,
            1 => DiskRoom::Low,
            2 => DiskRoom::Scarce,
            _ => DiskRoom::Exhausted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::WriteError;
    use crate::store::Store;
    use crate::store::tests::{SECRETS, SHIPS, options, put, ship, stamp};

    const LEVELS: [DiskRoom; 4] = [DiskRoom::Ample, DiskRoom::Low, DiskRoom::Scarce, DiskRoom::Exhausted];

    #[test]
    fn levels_come_back_as_they_were_set() {
        let gauge = RoomGauge::default();
        assert_eq!(gauge.read(), DiskRoom::Ample);
        for room in LEVELS {
            gauge.set(room);
            assert_eq!(gauge.read(), room);
        }
    }

    /// What each level refuses: a local write, a deletion of the same class, a write of a higher class, a look.
    #[test]
    fn the_least_important_is_refused_first_and_all_comes_back() {
        let store = Store::open_memory(options()).unwrap();
        put(&store, 1, ship(1, "gull")).wait().unwrap();
        for (room, wanted) in [
            (DiskRoom::Ample, [true, true, true]),
            (DiskRoom::Low, [true, true, true]),
            (DiskRoom::Scarce, [false, true, true]),
            (DiskRoom::Exhausted, [false, false, false]),
            (DiskRoom::Ample, [true, true, true]),
        ] {
            store.set_disk_room(room);
            assert_eq!(store.disk_room(), room);
            let before = store.head().lsn;
            let local = put(&store, 2, ship(1, "tern")).wait();
            let deletion = store.write(stamp(3), |tx| tx.delete(&SHIPS, &2)).wait();
            let secret = store.write(stamp(4), |tx| tx.put(&SECRETS, &1, &ship(1, "owl"))).wait();
            let outcomes = [local, deletion, secret];
            for (outcome, wanted) in outcomes.iter().zip(wanted) {
                let full = matches!(outcome, Err(WriteError::DiskFull));
                assert_eq!((outcome.is_ok(), full), (wanted, !wanted), "{room:?}: {outcome:?}");
            }
            let looked = store.write(stamp(5), |tx| tx.get(&SHIPS, &1)).wait().unwrap();
            assert_eq!(looked, Some(ship(1, "gull")), "a look writes nothing");
            let kept = wanted.into_iter().filter(|kept| *kept).count() as u64;
            assert_eq!(store.head().lsn, before + kept, "{room:?}");
        }
    }
}
