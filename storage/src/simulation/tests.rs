//! What the simulated worlds found in the store and the segment log, each as one small case.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::disk::Disk;
use crate::files;
use crate::segment::{SegmentLog, SegmentOptions, SegmentPosition};

const DIR: &str = "/log";

fn options(keep_ms: Option<u64>) -> SegmentOptions {
    SegmentOptions {
        max_bytes: 4096,
        keep_ms,
        on_fatal: Arc::new(|_| {}),
        ..SegmentOptions::new("found")
    }
}

fn open(disk: &SimulatedDisk) -> SimulatedLog {
    SimulatedLog::open(disk, Path::new(DIR), options(Some(10))).unwrap()
}

/// Appends records with the instants of a range, one group each, and key (1, 1).
fn fill(log: &mut SimulatedLog, range: std::ops::Range<u64>) {
    for at in range {
        log.log().enqueue(at, &[7; 500], &[(1, 1)]).unwrap();
        assert!(log.step_writer());
    }
    while log.step_indexer() {}
}

fn walked(log: &SegmentLog) -> BTreeSet<u64> {
    let page = log.read_from(SegmentPosition::START, 1000, usize::MAX).unwrap();
    page.records.iter().map(|hit| hit.record.at).collect()
}

fn searched(log: &SegmentLog) -> BTreeSet<u64> {
    let hits = log.search((1, 1), 0, u64::MAX, None, 1000).unwrap();
    hits.iter().map(|hit| hit.record.at).collect()
}

/// The data directory was made by a process that died before the name was durable; the next one found it there,
/// filled it, and the power took all of it.
#[test]
fn a_directory_that_was_found_is_made_durable() {
    for seed in 0..40 {
        let disk = SimulatedDisk::new(seed, None);
        disk.create_dir(Path::new("/data")).unwrap();
        let disk = disk.kill();
        files::create_dir(&disk, Path::new("/data/below")).unwrap();
        assert!(disk.cut_power().is_dir(Path::new("/data/below")), "seed {seed}");
    }
}

/// A segment that could not be removed was left without its index, and every search failed from then on.
#[test]
fn a_segment_that_could_not_expire_is_still_searched_and_expires_later() {
    let (mut stuck, mut mended) = (0, 0);
    for seed in 0..60 {
        let disk = SimulatedDisk::new(seed, None);
        let mut log = open(&disk);
        fill(&mut log, 0..20);
        let whole = walked(log.log());
        disk.set_faults(DiskFaults {
            write_fails: 500,
            ..DiskFaults::default()
        });
        if log.log().expire(u64::MAX).is_err() {
            stuck += 1;
            // The index cannot be written either: what is found is right all the same.
            assert_eq!(searched(log.log()), walked(log.log()), "seed {seed}");
        }
        disk.set_faults(DiskFaults::default());
        assert_eq!(searched(log.log()), walked(log.log()), "seed {seed}");
        log.log().expire(u64::MAX).unwrap();
        let left = walked(log.log());
        assert!(left.len() < 8 && left.is_subset(&whole), "{left:?}");
        mended += 1;
    }
    assert!(stuck > 10 && mended == 60, "{stuck} {mended}");
}

/// Records that only memory held, because the process died before its sync or went on after a failed one, were shown to
/// readers after a restart and were gone after the next cut of the power.
#[test]
fn what_a_restart_shows_is_durable() {
    for seed in 0..80 {
        let disk = SimulatedDisk::new(seed, None);
        let mut log = open(&disk);
        fill(&mut log, 0..3);
        if seed % 2 == 0 {
            disk.stop_after(2);
        } else {
            disk.set_faults(DiskFaults {
                sync_fails: 1000,
                ..DiskFaults::default()
            });
        }
        log.log().enqueue(3, &[7; 500], &[(1, 1)]).unwrap();
        log.step_writer();
        let disk = disk.kill();
        disk.set_faults(DiskFaults::default());
        drop(log);
        let log = open(&disk);
        let shown = walked(log.log());
        assert!(shown.is_superset(&BTreeSet::from([0, 1, 2])), "seed {seed}: {shown:?}");
        let disk = disk.cut_power();
        drop(log);
        assert_eq!(walked(open(&disk).log()), shown, "seed {seed}");
    }
}
