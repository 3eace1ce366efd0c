//! What was sent beside what is stored: each reading once, with its own time and values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::influx::{At, Influx};
use crate::sample::Sample;
use crate::tianlu::Tianlu;

/// How many of a kind are named.
const NAMED: usize = 5;

/// What became of the readings sent. An empty list is a good one.
#[derive(Debug, Default)]
pub struct Audit {
    /// Readings of which each value stands exactly once, at its own time, as it was sent.
    pub exactly_once: u64,
    /// Sent and not stored.
    pub missing: BTreeSet<At>,
    /// Stored with another value.
    pub other: BTreeSet<At>,
    /// Stored more than once.
    pub twice: BTreeSet<At>,
    /// Stored and never sent.
    pub strange: BTreeSet<At>,
}

type Of = fn(&Sample) -> f64;

impl Audit {
    /// Looks into the measurement `soil` of InfluxDB, at the devices whose name begins with `prefix`.
    #[must_use]
    pub fn of_influx(influx: &Influx, prefix: &str, samples: &[Sample]) -> Self {
        Self::of(samples, |field| influx.values("soil", field, prefix))
    }

    /// Asks the service itself for the values of its embedded history, device by device.
    #[must_use]
    pub fn of_history(service: &Tianlu, samples: &[Sample]) -> Self {
        let devices: BTreeSet<&str> = samples.iter().map(|sample| sample.device.as_str()).collect();
        Self::of(samples, |field| {
            devices.iter().flat_map(|device| service.history(device, field)).collect()
        })
    }

    fn of(samples: &[Sample], stored: impl Fn(&str) -> Vec<(At, Value)>) -> Self {
        let mut audit = Self::default();
        let values: [(&str, Of); 2] =
            [("soil_moisture_10cm", Sample::moisture), ("soil_temp", Sample::temp)];
        for (field, of) in values {
            let told = samples.iter().map(|sample| (sample.at(), Value::from(of(sample))));
            audit.add(&told.collect(), stored(field));
        }
        let told: BTreeSet<At> = samples.iter().map(Sample::at).collect();
        let is_good = |at: &&At| {
            ![&audit.missing, &audit.other, &audit.twice].iter().any(|s| s.contains(*at))
        };
        audit.exactly_once = u64::try_from(told.iter().filter(is_good).count()).unwrap();
        audit
    }

    fn add(&mut self, told: &BTreeMap<At, Value>, stored: Vec<(At, Value)>) {
        let mut found = BTreeSet::new();
        for (at, value) in stored {
            match told.get(&at) {
                None => drop(self.strange.insert(at.clone())),
                Some(sent) if *sent != value => drop(self.other.insert(at.clone())),
                Some(_) => {}
            }
            if !found.insert(at.clone()) {
                self.twice.insert(at);
            }
        }
        self.missing.extend(told.keys().filter(|at| !found.contains(*at)).cloned());
    }

    /// Takes what another one found in other readings.
    pub fn join(&mut self, other: Self) {
        self.exactly_once += other.exactly_once;
        self.missing.extend(other.missing);
        self.other.extend(other.other);
        self.twice.extend(other.twice);
        self.strange.extend(other.strange);
    }

    /// Returns what is wrong, the first few readings of each kind by name.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let kinds = [
            ("missing", &self.missing),
            ("with another value", &self.other),
            ("stored twice", &self.twice),
            ("never sent, but stored", &self.strange),
        ];
        let texts: Vec<String> = kinds
            .iter()
            .filter(|(_, all)| !all.is_empty())
            .map(|(kind, all)| {
                let named: Vec<_> = all.iter().take(NAMED).collect();
                format!("{} {kind}: {named:?}", all.len())
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_by_its_name() {
        let samples: Vec<Sample> = (0..4).map(|n| Sample::new("d", i64::from(n), n)).collect();
        let stored = |field: &str| {
            let of: Of = if field == "soil_temp" { Sample::temp } else { Sample::moisture };
            let mut all: Vec<_> = samples.iter().map(|s| (s.at(), Value::from(of(s)))).collect();
            all[1].1 = Value::from(9.5);
            all[2] = all[3].clone();
            all.push((("e".to_owned(), 7), Value::from(1.5)));
            all
        };
        let audit = Audit::of(&samples, stored);
        let only = |n: usize| BTreeSet::from([samples[n].at()]);
        assert_eq!((audit.exactly_once, &audit.other, &audit.missing), (1, &only(1), &only(2)));
        assert_eq!((&audit.twice, audit.strange.len()), (&only(3), 1));
        assert_eq!(Audit::default().wrong(), None);
        assert!(audit.wrong().unwrap().starts_with("1 missing: [(\"d\", 2000000)]"), "{audit:?}");
    }
}
