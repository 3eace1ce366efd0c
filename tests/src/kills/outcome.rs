//! What a run of kills came to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::Moment;
use crate::audit::Audit;
use crate::balance::Balance;

/// What a run of kills came to.
#[derive(Debug)]
pub struct Outcome {
    /// What the moments were drawn from.
    pub seed: u64,
    /// Kills by their moment.
    pub killed: BTreeMap<Moment, u32>,
    /// Kills before which new uplinks were sent since the kill before.
    pub under_load: u32,
    /// Kills that left half a snapshot behind.
    pub in_snapshot: u32,
    /// Halves of snapshots that still lie there at the end.
    pub left_behind: usize,
    /// Lives that ended in order before their kill; killed again.
    pub ended: u32,
    /// From the start of the process until `/readyz` answered 200, of each life that came so far.
    pub restarts: Vec<Duration>,
    /// Uplinks that publishers got a PUBACK for.
    pub acknowledged: u64,
    /// What is stored.
    pub audit: Audit,
    /// The last balance, or why there is none with nothing held.
    pub settled: Result<Balance, String>,
    /// Balances read meanwhile that added up, or the first that did not.
    pub samples: Result<u64, String>,
    /// Panics in the log of the service.
    pub panics: usize,
    /// Whether the last life ended in order.
    pub has_ended: bool,
}

impl Outcome {
    /// Returns all that is not as promised; empty: the run is good.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self.audit.wrong().into_iter().collect();
        wrong.extend(self.samples.as_ref().err().cloned());
        match &self.settled {
            Ok(balance) if self.is_exact(balance) => {}
            Ok(balance) => wrong.push(format!("not exact: {}", balance.sums())),
            Err(vain) => wrong.push(vain.clone()),
        }
        if self.panics > 0 {
            wrong.push(format!("{} panics in the log of the service", self.panics));
        }
        if !self.has_ended {
            wrong.push("the service did not end in order".to_owned());
        }
        wrong
    }

    /// Returns whether all that was acknowledged is stored once and the rest are told repeats.
    fn is_exact(&self, balance: &Balance) -> bool {
        let (uplinks, readings) = (balance.uplinks, balance.readings);
        balance.wrong().is_none()
            && balance.is_settled()
            && (uplinks.dead, uplinks.lost, readings.dead) == (0, 0, 0)
            && readings.stored == self.acknowledged
            && readings.stored + readings.duplicate == uplinks.received
    }

    /// Returns the report in Markdown.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = String::from("| | |\n|---|---|\n");
        let mut row = |name: &str, value: String| writeln!(text, "| {name} | {value} |").unwrap();
        let kills: u32 = self.killed.values().sum();
        row("kills", kills.to_string());
        for (moment, count) in &self.killed {
            row(&format!("– {}", moment.words()), count.to_string());
        }
        row("kills with new uplinks since the one before", self.under_load.to_string());
        row("kills that left half a snapshot", self.in_snapshot.to_string());
        row("halves of snapshots still there at the end", self.left_behind.to_string());
        row("ended in order before the kill, and killed again", self.ended.to_string());
        row("uplinks acknowledged", self.acknowledged.to_string());
        let audit = &self.audit;
        row("stored exactly once, own time and values", audit.exactly_once.to_string());
        row("missing", audit.missing.len().to_string());
        let wrong = format!(
            "{} with another value, {} twice, {} never sent",
            audit.other.len(),
            audit.twice.len(),
            audit.strange.len()
        );
        row("wrong", wrong);
        if let Ok(balance) = &self.settled {
            row("duplicates counted", balance.readings.duplicate.to_string());
            row("balance", balance.sums());
        }
        let samples = self.samples.as_ref().map_or_else(Clone::clone, u64::to_string);
        row("balances read meanwhile, all of which add up", samples);
        row("restart until ready, p50 / p99 / max", self.restart_times());
        text
    }

    fn restart_times(&self) -> String {
        let mut sorted = self.restarts.clone();
        sorted.sort_unstable();
        let at = |hundredths: usize| {
            let rank = (sorted.len() * hundredths).div_ceil(100).max(1) - 1;
            sorted.get(rank).map_or(0.0, Duration::as_secs_f64)
        };
        format!("{:.2} s / {:.2} s / {:.2} s of {}", at(50), at(99), at(100), sorted.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_uplink_too_few_is_told_by_its_name() {
        let sums = |stored: u64| {
            let text = json!({
                "uplinks": {"received": 12, "decoded": 12, "dead": 0, "lost": 0, "held": 0},
                "readings": {"decoded": 12, "stored": stored, "dead": 0, "duplicate": 12 - stored, "held": 0},
                "redriven": 0,
            });
            serde_json::from_value::<Balance>(text).unwrap()
        };
        let mut outcome = Outcome {
            seed: 1,
            killed: BTreeMap::from([(Moment::Flowing, 3)]),
            under_load: 3,
            in_snapshot: 0,
            left_behind: 0,
            ended: 0,
            restarts: (1..=200).map(Duration::from_secs).collect(),
            acknowledged: 10,
            audit: Audit { exactly_once: 10, ..Audit::default() },
            settled: Ok(sums(10)),
            samples: Ok(30),
            panics: 0,
            has_ended: true,
        };
        assert_eq!(outcome.wrong(), [""; 0]);
        assert!(outcome.report().contains("100.00 s / 198.00 s / 200.00 s of 200"));
        outcome.audit.missing.insert(("k0-0007".to_owned(), 5));
        outcome.settled = Ok(sums(9));
        let wrong = outcome.wrong();
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert_eq!(wrong[0], "1 missing: [(\"k0-0007\", 5)]");
        assert!(wrong[1].contains("stored 9 + dead 0 + duplicate 3"), "{wrong:?}");
    }
}
