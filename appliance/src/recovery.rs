//! What a start found in the data, as lines of the log: who looks at a start after a crash reads here what the crash
//! left, what was replayed, what was cut, and that nothing acknowledged is among it.

use seawall_storage::{NodeStart, Recovery, Store};

/// Says it.
pub fn say(store: &Store) {
    let found = store.recovery();
    if found.created {
        tracing::info!(incarnation = found.incarnation, "the data directory is new");
        return;
    }
    let last_run = store.node().starts(1).ok().and_then(|starts| starts.into_iter().next());
    let Recovery { replayed, .. } = found;
    tracing::info!(
        last_run = ended(last_run.map(|(_, start)| start).as_ref()),
        lsn = found.lsn,
        epoch = found.epoch,
        incarnation = found.incarnation,
        floor_lsn = found.floor_lsn,
        replayed_batches = replayed.batches,
        replayed_bytes = replayed.bytes,
        write_ahead_logs = replayed.logs,
        engine_ms = millis(found.engine_took),
        check_ms = millis(found.check_took),
        "the data is whole"
    );
    if let Some(torn) = &replayed.torn {
        tracing::warn!(
            file = %torn.file.display(),
            from_byte = torn.from_byte,
            bytes = torn.bytes,
            after_lsn = found.lsn,
            "a half-written group was cut; nobody was told that it was written"
        );
    }
}

fn ended(last_run: Option<&NodeStart>) -> &'static str {
    match last_run {
        None => "is not known",
        Some(NodeStart { stopped_at: None, .. }) => "did not end in order",
        Some(_) => "ended in order",
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_is_told_by_its_stop() {
        let start = |stopped_at| NodeStart {
            started_at: 1,
            version: "1".into(),
            stopped_at,
        };
        assert_eq!(ended(None), "is not known");
        assert_eq!(ended(Some(&start(None))), "did not end in order");
        assert_eq!(ended(Some(&start(Some(2)))), "ended in order");
    }
}
