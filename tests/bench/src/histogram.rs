//! A histogram of the service's metrics, as Prometheus text has it.

/// Upper bounds in seconds and how many samples lie at or below each.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Histogram {
    buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Reads the histogram `name` of a page of metrics; empty where it is not there.
    pub(crate) fn read(metrics: &str, name: &str) -> Self {
        let head = format!("{name}_bucket{{");
        let lines = metrics.lines().filter_map(|line| line.strip_prefix(&head));
        let bucket = |line: &str| {
            let bound = line.split("le=\"").nth(1)?.split('"').next()?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, line.rsplit(' ').next()?.parse().ok()?))
        };
        Self { buckets: lines.filter_map(bucket).collect() }
    }

    /// Returns what came after an earlier look.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |bound: f64| {
            earlier
                .buckets
                .iter()
                .find(|(known, _)| known.total_cmp(&bound).is_eq())
                .map_or(0, |(_, count)| *count)
        };
        let buckets = self
            .buckets
            .iter()
            .map(|(bound, count)| (*bound, count.saturating_sub(before(*bound))));
        Self { buckets: buckets.collect() }
    }

    /// Returns the number of samples.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// Returns the value below which a share of the samples lies, in seconds, linear within its bucket. Beyond the last
    /// finite bound it is that bound.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = self.count() as f64 * share;
        let (mut low, mut below) = (0.0, 0);
        for (bound, count) in &self.buckets {
            if *count as f64 >= rank && *count > below {
                let part = (rank - below as f64) / (count - below) as f64;
                return if bound.is_finite() { low + (bound - low) * part } else { low };
            }
            (low, below) = (*bound, *count);
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let text = "# TYPE x histogram\nx_bucket{le=\"0.001\"} 50\nx_bucket{le=\"0.01\"} 100\nx_bucket{le=\"+Inf\"} 100\nx_sum 1\n";
        let histogram = Histogram::read(text, "x");
        assert_eq!(histogram.count(), 100);
        assert!((histogram.quantile(0.5) - 0.001).abs() < 1e-9);
        assert!((histogram.quantile(0.75) - 0.0055).abs() < 1e-9);
        assert_eq!(histogram.since(&histogram).count(), 0);
        assert_eq!(Histogram::read(text, "y").count(), 0);
    }
}
