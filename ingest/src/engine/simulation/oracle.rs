//! The oracle for alerts: holds every alert that was told against a reference and against the true time.
//!
//! [`Reference`] is told of the journal, record by record, and what must come of each is compared with what came of
//! it: rule, device, values, all times, order. That finds an alert that is wrong each time in the same way, which
//! deriving it again does not. Which readings were kept is read from their points, which `judge` holds against the
//! fleet; what they say is read from the payloads.
//!
//! The reference believes the ticks. So silence is held against the true time as well: a device is told silent only
//! where nothing of it was heard for as long as the rule says, and where nothing of it waited for us.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pipeline::outbox::{Entries, Entry, EntryKind};
use pipeline::record::{Record, SourceState, Tick};
use serde::Deserialize;
use serde_json::Value;
use telemetry::time::EventTime;

use super::config::Configs;
use super::fleet::Fleet;
use super::line;
use super::reference::{Alert, Reading, Reference, SILENCE, Way, rules};
use super::tape::{Kept, Tape};

/// How much too early an alert of silence may come: a reading counts from the tick before it.
const EARLY_MAX: Duration = Duration::from_secs(1);
/// How long a message may be on its way while the device that sent it is told silent.
const ON_ITS_WAY_MAX: Duration = Duration::from_secs(2);

/// What a device says in one reading.
#[derive(Deserialize)]
struct Said<'p> {
    #[serde(borrow, rename = "d")]
    device: Option<&'p str>,
    /// Milliseconds since 1970.
    ts: Option<i64>,
    #[serde(rename = "m")]
    moisture: Option<f64>,
    /// Number of the message.
    id: usize,
}

/// What must be known of a dead letter.
#[derive(Deserialize)]
struct Letter<'e> {
    #[serde(borrow)]
    id: &'e str,
    device: Option<&'e str>,
    reason: &'e str,
}

/// A payload, and how it came.
struct Came<'r> {
    topic: &'r str,
    payload: &'r [u8],
    received_at: i64,
    way: Way,
}

struct Oracle<'w> {
    fleet: &'w Fleet,
    configs: &'w Configs,
    reference: Reference,
    /// Letters of what the store refused.
    refused: BTreeSet<String>,
    /// When each device was last heard, in true time.
    heard_at: BTreeMap<String, i64>,
    /// Devices that are told silent, and when they were, in true time.
    told_at: BTreeMap<String, i64>,
    /// What each id was given to.
    ids: BTreeMap<String, String>,
}

/// Holds all alerts of a tape against what must come of it. `is_hushed`: at its end every device was silent for so
/// long, and could be heard, that it must be told so.
pub(super) fn judge(
    tape: &Tape,
    (fleet, configs): (&Fleet, &Configs),
    is_hushed: bool,
) -> Result<(), String> {
    let mut oracle = Oracle {
        fleet,
        configs,
        reference: Reference::default(),
        refused: BTreeSet::new(),
        heard_at: BTreeMap::new(),
        told_at: BTreeMap::new(),
        ids: BTreeMap::new(),
    };
    for (position, kept) in &tape.journal {
        let shown = tape.outbox.get(position).and_then(|(_, bytes)| Entries::of(bytes));
        let entries: Vec<Entry<'_>> = shown.into_iter().flatten().collect();
        let judged = oracle.take(kept, &entries).and_then(|due| oracle.hold(&due, &entries));
        judged.map_err(|what| format!("alerts at {position}: {what}"))?;
    }
    match oracle.reference.untold().filter(|_| is_hushed) {
        Some(device) => Err(format!("alerts: {device} is silent, and nobody was told")),
        None => Ok(()),
    }
}

impl Oracle<'_> {
    /// Takes the next record; returns the alerts that must come of it.
    fn take(&mut self, kept: &Kept, entries: &[Entry<'_>]) -> Result<Vec<Alert>, String> {
        let mut due = Vec::new();
        self.know(entries, kept.seen_at);
        match Record::decode(kept.kind, &kept.payload).unwrap() {
            Record::Uplink(uplink) => {
                let (topic, payload) = (uplink.topic, uplink.payload);
                let received_at = uplink.received_at.as_nanos();
                let came = Came { topic, payload, received_at, way: Way::Sent };
                self.read(&came, (entries, kept.seen_at), &mut due)?;
            }
            Record::Redrive(redrive) => {
                let origin = &redrive.origin;
                let is_of_store = self.refused.contains(&redrive.letter);
                let way = if is_of_store { Way::Repaired } else { Way::Redriven };
                let (topic, payload) = (origin.topic.as_str(), origin.payload.as_slice());
                let came = Came { topic, payload, received_at: origin.received_at_nanos, way };
                self.read(&came, (entries, kept.seen_at), &mut due)?;
            }
            Record::Tick(tick) => {
                let passed = (tick.elapsed_ms, is_live(&tick));
                self.reference.tick(tick.at_nanos, passed, &mut due);
                due.iter().try_for_each(|alert| self.is_silent(&alert.device, kept.seen_at))?;
            }
            Record::ConfigActivated(change) => {
                let rules = rules(self.configs.number(&change.hash).unwrap());
                self.reference.activate(rules, change.at_nanos, &mut due);
                for alert in due.iter().filter(|alert| alert.rule == "silent") {
                    self.told_at.remove(&alert.device);
                }
                for registered in ["d0", "d1"] {
                    self.heard_at.entry(registered.to_owned()).or_insert(kept.seen_at);
                }
            }
            Record::Started(_) | Record::Rejected(_) => {}
        }
        Ok(due)
    }

    /// Notes what is no reading to be kept: devices that it names, letters of the store.
    fn know(&mut self, entries: &[Entry<'_>], seen_at: i64) {
        for entry in entries {
            if !matches!(entry.kind, EntryKind::DeadReading | EntryKind::StoreLetter) {
                continue;
            }
            let letter: Letter<'_> = serde_json::from_slice(entry.data).unwrap();
            if entry.kind == EntryKind::StoreLetter {
                self.refused.insert(letter.id.to_owned());
            } else if let ("no_value", Some(device)) = (letter.reason, letter.device) {
                self.reference.know(device);
                self.heard_at.entry(device.to_owned()).or_insert(seen_at);
            }
        }
    }

    /// Takes the readings of a payload that were kept, in the order of time.
    fn read(
        &mut self,
        came: &Came<'_>,
        (entries, seen_at): (&[Entry<'_>], i64),
        due: &mut Vec<Alert>,
    ) -> Result<(), String> {
        for reading in kept_of(came, entries)? {
            self.reference.read(&reading, (came.way, came.received_at), due);
            let heard_at = self.heard_at.entry(reading.device.clone()).or_insert(seen_at);
            if came.way == Way::Sent {
                *heard_at = seen_at;
                self.has_not_waited(&reading)?;
            }
        }
        Ok(())
    }

    /// A device is told silent: it was not heard for as long as the rule says, in true time.
    fn is_silent(&mut self, device: &str, now: i64) -> Result<(), String> {
        let heard_at = self.heard_at.get(device).copied().unwrap_or(i64::MIN);
        self.told_at.insert(device.to_owned(), now);
        if now.saturating_sub(heard_at) >= nanos(SILENCE - EARLY_MAX) {
            return Ok(());
        }
        Err(format!("{device} is told silent at {now}, and was heard at {heard_at}"))
    }

    /// The first reading of a device after it was told silent: it was not sent before that.
    fn has_not_waited(&mut self, reading: &Reading) -> Result<(), String> {
        let Some(told_at) = self.told_at.remove(&reading.device) else { return Ok(()) };
        // What was lost at the broker, or sent again, was not sent to us at any one time.
        let [sent_at] = self.fleet.sent[reading.message].published[..] else { return Ok(()) };
        let had_waited = sent_at < told_at - nanos(ON_ITS_WAY_MAX);
        if had_waited && sent_at > told_at - nanos(SILENCE - EARLY_MAX) {
            let device = &reading.device;
            return Err(format!(
                "{device} was told silent at {told_at}, while a message of {sent_at} waited for us"
            ));
        }
        Ok(())
    }

    /// Compares the alerts that came of a record with those that must.
    fn hold(&mut self, due: &[Alert], entries: &[Entry<'_>]) -> Result<(), String> {
        let told = entries.iter().filter(|entry| entry.kind == EntryKind::Alert);
        let told: Vec<Value> =
            told.map(|entry| serde_json::from_slice(entry.data).unwrap()).collect();
        if told.len() != due.len() || !told.iter().zip(due).all(|(line, alert)| says(line, alert)) {
            let told: Vec<String> = told.iter().map(Value::to_string).collect();
            return Err(format!("told is {told:?}, and must be {due:?}"));
        }
        told.iter().try_for_each(|line| self.is_known_by_its_id(line))
    }

    /// Each id is given once, and what ends has the id with which it began.
    fn is_known_by_its_id(&mut self, line: &Value) -> Result<(), String> {
        let id = line["id"].as_str().unwrap_or_default();
        let about = ["rule", "rule_version", "device", "began_at"].map(|key| line[key].to_string());
        let about = about.join(" ");
        let known = self.ids.get(id);
        let is_right = if line["state"] == "firing" {
            known.is_none()
        } else {
            known.is_some_and(|known| *known == about)
        };
        if !is_right {
            return Err(format!("the id of {line} was given to {known:?}"));
        }
        self.ids.insert(id.to_owned(), about);
        Ok(())
    }
}

/// Whether devices can be heard from a tick on.
fn is_live(tick: &Tick) -> bool {
    let can_hear = |source: &SourceState| source.connected && source.caught_up;
    !tick.sources.is_empty() && tick.sources.iter().all(can_hear)
}

/// Returns the readings of a payload that were kept, in the order of time, then of the payload.
fn kept_of(came: &Came<'_>, entries: &[Entry<'_>]) -> Result<Vec<Reading>, String> {
    let points: Vec<&Entry<'_>> =
        entries.iter().filter(|entry| entry.kind == EntryKind::Point).collect();
    if points.is_empty() {
        return Ok(Vec::new());
    }
    let said: Vec<Said<'_>> = if came.payload.first() == Some(&b'[') {
        serde_json::from_slice(came.payload).unwrap()
    } else {
        vec![serde_json::from_slice(came.payload).unwrap()]
    };
    let own = came.topic.rsplit('/').next().unwrap_or_default();
    let untimed = came.received_at..=came.received_at + i64::try_from(said.len()).unwrap();
    let mut kept = Vec::new();
    for point in points {
        let one = &said[usize::try_from(point.element).unwrap()];
        let stands_at = || line::read(point.data).0.1;
        let at = one.ts.map_or_else(stands_at, |ms| ms * 1_000_000);
        if one.ts.is_none() && !untimed.contains(&at) {
            return Err(format!("a reading without a time stands at {at}, not in {untimed:?}"));
        }
        kept.push(Reading {
            device: one.device.unwrap_or(own).to_owned(),
            at,
            moisture: one.moisture,
            message: one.id,
            element: point.element,
        });
    }
    kept.sort_by_key(|reading| (reading.at, reading.element));
    Ok(kept)
}

/// Whether a line tells an alert, by the contract.
fn says(line: &Value, alert: &Alert) -> bool {
    let time = |at: i64| Value::from(EventTime::from_nanos(at).to_string());
    let number = |key: &str, value: f64| {
        line[key].as_f64().is_some_and(|told| (told - value).abs() <= value.abs() * 1e-12)
    };
    let state = if alert.resolved_at.is_some() { "resolved" } else { "firing" };
    let (severity, property) = match alert.rule {
        "dry" => ("yellow", Value::from("moisture")),
        _ => ("orange", Value::Null),
    };
    line["rule"] == alert.rule
        && line["tenant"] == "default"
        && line["device"] == alert.device.as_str()
        && line["state"] == state
        && line["severity"] == severity
        && line["property"] == property
        && number("value", alert.value)
        && number("limit", alert.limit)
        && line["began_at"] == time(alert.began_at)
        && line["raised_at"] == time(alert.raised_at)
        && line["resolved_at"] == alert.resolved_at.map_or(Value::Null, time)
        && line["received_at"] == time(alert.received_at)
        && line["reason"] == alert.reason.map_or(Value::Null, Value::from)
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap()
}
