//! A histogram as a server's metrics print it: counts below rising bounds.

/// Cumulative counts by upper bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    bounds: Vec<(f64, f64)>,
}

impl Buckets {
    /// Reads the histogram of this name from Prometheus text.
    #[must_use]
    pub fn parse(text: &str, name: &str) -> Option<Self> {
        let lines = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?.strip_prefix("_bucket{le=\"")?;
            let (bound, count) = rest.split_once("\"} ")?;
            Some((
                bound.replace('+', "").to_lowercase().parse().ok()?,
                count.trim().parse().ok()?,
            ))
        });
        let bounds: Vec<(f64, f64)> = lines.collect();
        (!bounds.is_empty()).then_some(Self { bounds })
    }

    /// What came since an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.bounds.iter().zip(&earlier.bounds);
        Self {
            bounds: pairs.map(|((bound, now), (_, then))| (*bound, now - then)).collect(),
        }
    }

    /// The value at a quantile, as if values were spread evenly within a bucket; 0 of nothing.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> f64 {
        let all = self.bounds.last().map_or(0.0, |(_, count)| *count);
        let rank = all * quantile;
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in &self.bounds {
            if *count >= rank && *count > below {
                let share = (rank - below) / (count - below);
                return if bound.is_finite() {
                    low + (bound - low) * share
                } else {
                    low
                };
            }
            (low, below) = (*bound, *count);
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x_seconds h\nx_seconds_sum 1\nx_seconds_bucket{le=\"0.1\"} 10\nx_seconds_bucket{le=\"0.2\"} 20\n\
                        x_seconds_bucket{le=\"+Inf\"} 20\nxx_seconds_bucket{le=\"9\"} 9\n";

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let read = Buckets::parse(TEXT, "x_seconds").unwrap();
        assert_eq!(read.bounds.len(), 3);
        assert!((read.quantile(0.5) - 0.1).abs() < 1e-9);
        assert!((read.quantile(0.75) - 0.15).abs() < 1e-9);
        assert!((read.quantile(1.0) - 0.2).abs() < 1e-9);
        assert_eq!(read.since(&read).quantile(0.99), 0.0);
        assert_eq!(Buckets::parse(TEXT, "y_seconds"), None);
    }
}
