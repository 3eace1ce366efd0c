//! Whether the clock of this machine can be trusted: `received_at` comes from it.

use std::path::Path;

use super::{Finding, Level};

const PART: &str = "clock";
/// What systemd-timesyncd leaves behind once the clock is right.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";
/// What shows that another synchroniser runs; whether it has reached its servers cannot be seen there.
const RUNNING: [&str; 5] = [
    "/run/chrony/chronyd.pid",
    "/run/chronyd.pid",
    "/run/ntpd.pid",
    "/run/openntpd.pid",
    "/run/ntpsec/ntpd.pid",
];

pub(super) fn examine(ahead_of_store_s: Option<i64>) -> Vec<Finding> {
    let synchroniser = if Path::new(SYNCHRONISED).exists() {
        Finding::ok(PART, "tianlu.doctor.clock.synchronised", &[])
    } else if RUNNING.iter().any(|path| Path::new(path).exists()) {
        Finding::ok(PART, "tianlu.doctor.clock.running", &[])
    } else {
        Finding::bad(Level::Warn, PART, "tianlu.doctor.clock.unknown", &[])
    };
    std::iter::once(synchroniser).chain(ahead_of_store_s.map(against_store)).collect()
}

/// The store tells whole seconds, and the answer was some time on its way.
fn against_store(ahead_s: i64) -> Finding {
    let args: [(&str, &dyn std::fmt::Display); 1] = [("seconds", &ahead_s)];
    match ahead_s.unsigned_abs() {
        0..=2 => Finding::ok(PART, "tianlu.doctor.clock.agrees", &[]),
        3..=60 => Finding::bad(Level::Warn, PART, "tianlu.doctor.clock.differs", &args),
        _ => Finding::bad(Level::Fail, PART, "tianlu.doctor.clock.differs", &args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_differs_from_the_store_is_judged_by_how_much() {
        for (ahead, level) in [
            (0, Level::Ok),
            (-2, Level::Ok),
            (30, Level::Warn),
            (-61, Level::Fail),
            (i64::MIN, Level::Fail),
        ] {
            assert_eq!(against_store(ahead).level, level, "{ahead}");
        }
    }
}
