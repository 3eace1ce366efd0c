//! Whether the store takes points, and keeps them.

use super::{Finding, Level};
use crate::config::InfluxDb;
use crate::probe::{Bucket, StoreAnswer};

const PART: &str = "store";
const DAY_S: u64 = 86_400;
/// Uplinks may be a week old (`past` of a profile); a bucket that keeps less refuses them.
const SHORT_RETENTION_S: u64 = 7 * DAY_S;

pub(super) fn examine(influx: &InfluxDb, answer: StoreAnswer) -> Vec<Finding> {
    if !answer.troubles.is_empty() {
        return answer.troubles.into_iter().map(|trouble| Finding::from((PART, trouble))).collect();
    }
    let version = answer.version.unwrap_or_else(|| "?".to_owned());
    let health = Finding::ok(
        PART,
        "tianlu.doctor.store.answers",
        &[("store", &influx.url), ("version", &version)],
    );
    let bucket = answer.bucket.map(|bucket| match bucket {
        Bucket::Missing => Finding::bad(
            Level::Warn,
            PART,
            "tianlu.doctor.store.bucket",
            &[("bucket", &influx.bucket), ("org", &influx.org)],
        ),
        Bucket::Keeps(0) => {
            Finding::ok(PART, "tianlu.doctor.store.forever", &[("bucket", &influx.bucket)])
        }
        Bucket::Keeps(seconds) => {
            let (days, hours) = (seconds / DAY_S, seconds % DAY_S / 3600);
            let keeps = if hours == 0 { format!("{days}d") } else { format!("{days}d{hours}h") };
            let args: [(&str, &dyn std::fmt::Display); 2] =
                [("bucket", &influx.bucket), ("keeps", &keeps)];
            if seconds < SHORT_RETENTION_S {
                Finding::bad(Level::Warn, PART, "tianlu.doctor.store.retention", &args)
            } else {
                Finding::ok(PART, "tianlu.doctor.store.keeps", &args)
            }
        }
    });
    std::iter::once(health).chain(bucket).collect()
}
