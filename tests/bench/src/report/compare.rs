//! The new report beside the committed one.

use super::row::Row;

/// A rise of the processor time of a call beyond this is named.
const RISE_MAX: f64 = 0.10;
/// How the unit of a processor time begins.
const CPU_UNIT: &str = "CPU-us";

/// What got slower than the committed report says, one line each.
#[must_use]
pub fn falls(committed: &[Row], fresh: &[Row]) -> Vec<String> {
    let mut lines = Vec::new();
    for row in fresh.iter().filter(|row| row.unit.starts_with(CPU_UNIT)) {
        let before = committed.iter().find(|old| key(old) == key(row));
        let Some(before) = before.filter(|old| old.value > 0.0) else {
            continue;
        };
        let rise = row.value / before.value - 1.0;
        if rise > RISE_MAX {
            lines.push(format!(
                "{}: {} rose by {:.0} %, from {:.2} to {:.2} {} (committed at {}{})",
                row.scenario,
                row.metric,
                rise * 100.0,
                before.value,
                row.value,
                row.unit,
                before.commit,
                if before.machine == row.machine {
                    ""
                } else {
                    ", on another machine"
                },
            ));
        }
    }
    lines.dedup();
    lines
}

fn key(row: &Row) -> (&str, &str, &str, Option<&str>) {
    (&row.scenario, &row.metric, &row.unit, row.peer.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scenario: &str, unit: &str, value: f64, peer: &str) -> Row {
        Row::of(scenario, "server", unit, &[value]).beside(peer, &[1.0])
    }

    #[test]
    fn a_fall_of_more_than_a_tenth_is_named_and_less_is_not() {
        let old = [
            row("verify-hot", "CPU-us/request", 10.0, "nginx"),
            row("refresh", "CPU-us/request", 10.0, "redis"),
            row("refresh", "requests/s", 10.0, "redis"),
        ];
        let new = [
            row("verify-hot", "CPU-us/request", 11.1, "nginx"),
            row("refresh", "CPU-us/request", 10.9, "redis"),
            row("refresh", "requests/s", 1.0, "redis"),
            row("guest-registration", "CPU-us/request", 99.0, "redis"),
        ];
        let lines = falls(&old, &new);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("verify-hot") && lines[0].contains("11 %"),
            "{lines:?}"
        );
        assert!(falls(&new, &old).is_empty(), "faster is no fall");
    }

    #[test]
    fn another_peer_is_another_figure_and_another_machine_is_said() {
        let old = [row("verify-hot", "CPU-us/request", 5.0, "hyper")];
        assert!(falls(&old, &[row("verify-hot", "CPU-us/request", 11.0, "nginx")]).is_empty());
        let mut elsewhere = row("verify-hot", "CPU-us/request", 11.0, "hyper");
        elsewhere.machine = "a bigger one".into();
        assert!(falls(&old, &[elsewhere])[0].contains("another machine"));
    }
}
