//! The counts of a replay, as JSON and for a reader.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use pipeline::Account;
use pipeline::account::{ByReason, Reason};
use rules::Severity;
use serde::Serialize;
use telemetry::text::{Lang, say};
use telemetry::time::IngestTime;

use super::results::Flags;
use crate::out;

/// The counts. In each group the first is the sum of the others; nothing in it tells when the replay was made.
///
/// Counts are signed: a journal may redrive a letter that was set aside before the replay begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    /// Rows or uplinks of the source.
    rows: u64,
    uplinks: Uplinks,
    readings: Readings,
    /// Letters tried again.
    redriven: i64,
    /// How often something was set aside, by reason.
    dead_by_reason: BTreeMap<&'static str, i64>,
    /// Flags of the values in the points.
    flags: BTreeMap<String, u64>,
    /// Flags of the times of the points.
    time_flags: BTreeMap<String, u64>,
    /// Observations that were not judged because they came late.
    late: i64,
    alerts: Alerts,
    /// Time of the earliest row.
    from: Option<String>,
    /// Time of the latest row.
    to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Uplinks {
    received: i64,
    decoded: i64,
    dead: i64,
    lost: i64,
    held: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Readings {
    decoded: i64,
    stored: i64,
    dead: i64,
    duplicate: i64,
    held: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
struct Alerts {
    raised: u64,
    resolved: u64,
    firing: u64,
    by_severity: BTreeMap<&'static str, Count>,
    by_rule: BTreeMap<String, RuleCount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
struct Count {
    raised: u64,
    resolved: u64,
    firing: u64,
}

/// Alerts of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct RuleCount {
    /// Severity of the rule.
    pub(super) severity: String,
    /// Alerts that began.
    pub(super) raised: u64,
    /// Alerts that ended.
    pub(super) resolved: u64,
    /// Alerts that stand at the end.
    pub(super) firing: u64,
}

impl Summary {
    /// Makes the counts of the account before and after.
    pub(super) fn of(
        rows: u64,
        (before, after): (&Account, &Account),
        (flags, rules): (Flags, BTreeMap<String, RuleCount>),
        span: Option<(IngestTime, IngestTime)>,
    ) -> Self {
        let grown = |of: fn(&Account) -> u64| {
            let whole = |account| i64::try_from(of(account)).unwrap_or(i64::MAX);
            whole(after) - whole(before)
        };
        let redriven = grown(|account| account.readings_redriven);
        let uplinks_redriven = grown(|account| account.uplinks_redriven);
        let refused = grown(|account| account.store_dead.total());
        Self {
            rows,
            uplinks: Uplinks {
                received: grown(|account| account.uplink_ordinal),
                decoded: grown(|account| account.uplinks_decoded),
                dead: grown(|account| account.uplinks_dead.total()) - uplinks_redriven,
                lost: grown(|account| account.uplinks_lost),
                held: 0,
            },
            readings: Readings {
                decoded: grown(|account| account.readings_decoded),
                stored: grown(|account| account.points) - refused,
                dead: grown(|account| account.readings_dead.total()) + refused - redriven,
                duplicate: grown(|account| account.readings_duplicate),
                held: 0,
            },
            redriven: redriven + uplinks_redriven,
            dead_by_reason: dead_by_reason(before, after),
            flags: flags.values,
            time_flags: flags.times,
            late: grown(|account| account.late),
            alerts: Alerts::of(rules),
            from: span.map(|(from, _)| from.to_string()),
            to: span.map(|(_, to)| to.to_string()),
        }
    }

    /// Returns the counts as JSON of several lines, always the same for the same input.
    pub(super) fn to_json(&self) -> String {
        let written = serde_json::to_string_pretty(self);
        debug_assert!(written.is_ok(), "counts are always JSON");
        written.unwrap_or_default()
    }

    /// Prints the counts for a reader, with how long it took.
    pub(super) fn show(&self, took: Duration, lang: Lang) {
        let line = |key: &str, args: &[(&str, &dyn Display)]| out::line(&say(key, args).show(lang));
        let none = "-".to_owned();
        let (from, to) = (self.from.as_ref().unwrap_or(&none), self.to.as_ref().unwrap_or(&none));
        line("tianlu.replay.sum.rows", &[("rows", &self.rows), ("from", from), ("to", to)]);
        let of = &self.readings;
        let counts: [(&str, &dyn Display); 4] = [
            ("decoded", &of.decoded),
            ("stored", &of.stored),
            ("dead", &of.dead),
            ("duplicate", &of.duplicate),
        ];
        line("tianlu.replay.sum.readings", &counts);
        if self.uplinks.lost > 0 {
            line("tianlu.replay.sum.lost", &[("lost", &self.uplinks.lost)]);
        }
        let list = |key: &str, counts: Vec<String>| {
            if !counts.is_empty() {
                line(key, &[("counts", &counts.join(", "))]);
            }
        };
        list("tianlu.replay.sum.dead", shown(&self.dead_by_reason));
        list("tianlu.replay.sum.flags", shown(&self.flags));
        list("tianlu.replay.sum.time_flags", shown(&self.time_flags));
        self.alerts.show(lang);
        let rate = self.rate(took);
        let took = format!("{:.1}", took.as_secs_f64());
        line("tianlu.replay.sum.took", &[("seconds", &took), ("rate", &rate)]);
    }

    /// Returns the readings a second.
    fn rate(&self, took: Duration) -> u128 {
        let readings = u128::try_from(self.readings.decoded).unwrap_or(0);
        readings * 1000 / took.as_millis().max(1)
    }
}

impl Alerts {
    fn of(by_rule: BTreeMap<String, RuleCount>) -> Self {
        let mut all = Self::default();
        for count in by_rule.values() {
            all.raised += count.raised;
            all.resolved += count.resolved;
            all.firing += count.firing;
            let known = [Severity::Blue, Severity::Yellow, Severity::Orange, Severity::Red];
            let known = known.into_iter().find(|known| known.as_str() == count.severity);
            let Some(severity) = known else { continue };
            let sum = all.by_severity.entry(severity.as_str()).or_default();
            sum.raised += count.raised;
            sum.resolved += count.resolved;
            sum.firing += count.firing;
        }
        all.by_rule = by_rule;
        all
    }

    fn show(&self, lang: Lang) {
        if self.by_rule.is_empty() {
            out::line(&say("tianlu.replay.sum.no_alerts", &[]).show(lang));
            return;
        }
        let header = [
            "tianlu.replay.column.rule",
            "tianlu.replay.column.severity",
            "tianlu.replay.column.raised",
            "tianlu.replay.column.resolved",
            "tianlu.replay.column.firing",
        ];
        let header = header.map(|key| say(key, &[]).show(lang));
        let row = |(rule, count): (&String, &RuleCount)| {
            let numbers = [count.raised, count.resolved, count.firing].map(|n| n.to_string());
            [rule.clone(), count.severity.clone()].into_iter().chain(numbers).collect()
        };
        let rows: Vec<Vec<String>> = self.by_rule.iter().map(row).collect();
        out::table(&header, &rows);
        let counts: [(&str, &dyn Display); 3] =
            [("raised", &self.raised), ("resolved", &self.resolved), ("firing", &self.firing)];
        out::line(&say("tianlu.replay.sum.alerts", &counts).show(lang));
    }
}

fn dead_by_reason(before: &Account, after: &Account) -> BTreeMap<&'static str, i64> {
    let mut counts = BTreeMap::new();
    let groups: [fn(&Account) -> &ByReason; 3] = [
        |account| &account.uplinks_dead,
        |account| &account.readings_dead,
        |account| &account.store_dead,
    ];
    for of in groups {
        for reason in Reason::ALL {
            let grown = of(after).of(reason) - of(before).of(reason);
            if grown > 0 {
                *counts.entry(reason.code()).or_default() +=
                    i64::try_from(grown).unwrap_or(i64::MAX);
            }
        }
    }
    counts
}

fn shown<K: Display, N: Display>(counts: &BTreeMap<K, N>) -> Vec<String> {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect()
}
