//! Appends to a segment log through the library, synced by group.

use seawall_tests::server::Failure;

use super::Scenario;
use crate::bench::Bench;
use crate::process::{figure, part_figures};
use crate::report::Row;

const NAME: &str = "segment-log";
const GROUP_BYTES: usize = 64 << 10;

pub const SCENARIO: Scenario = Scenario {
    name: NAME,
    about: "Records of 600 bytes with four search keys from one thread, every group synced, on all CPUs: as fast as it goes, and in groups of 64 \
            KiB beside the disk alone (blocks of 64 KiB appended to an allocated file, each synced).",
    ideas: &[
        (
            "appends",
            "One thread renders and one writes; next: batches of appends that take the queue's lock once.",
        ),
        (
            "bandwidth",
            "A group is a write and a sync with the indexer beside it; next: prepare the next group while the sync runs.",
        ),
    ],
    run,
};

fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let ((free, grouped, disk), sync) = bench.between_syncs(|| {
        let (mut free, mut grouped, mut disk) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.runs {
            free.push(figure(&part(bench, "segment", &[])?, "rate")?);
            let group = format!("--group-bytes={GROUP_BYTES}");
            grouped.push(figure(&part(bench, "segment", &[group])?, "bytes_per_s")? / 1e6);
            disk.push(figure(&part(bench, "disk", &[GROUP_BYTES.to_string()])?, "bytes_per_s")? / 1e6);
        }
        Ok((free, grouped, disk))
    })?;
    Ok(vec![
        Row::of(NAME, "appends", "records/s", &free)
            .synced(sync.p50_us)
            .at_least(200_000.0),
        Row::of(NAME, "bandwidth, groups of 64 KiB", "MB/s", &grouped)
            .synced(sync.p50_us)
            .beside("the disk alone, 64 KiB", &disk)
            .at_least_times_peer(0.6),
    ])
}

fn part(bench: &Bench, name: &str, more: &[String]) -> Result<serde_json::Value, Failure> {
    let folder = bench.scratch()?;
    let dir = folder.path().join("log").display().to_string();
    let arguments = [&[name.to_owned(), dir, bench.span.as_secs_f64().to_string()], more].concat();
    part_figures(&bench.all_cpus(), &arguments)
}
