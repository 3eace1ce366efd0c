//! What the history should hold: every taken point in a map.

use std::collections::BTreeMap;
use std::time::Duration;

use journal::sim::Dice;
use store::history::{History, Window};
use store::{EntryKey, RangeQuery};
use telemetry::time::{EventTime, parse_rfc3339};

pub(crate) const HOUR: i64 = 3_600_000_000_000;
pub(crate) const DEVICES: u64 = 4;

/// Value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Float(f64),
    Int(i64),
    Bool(bool),
    Text(String),
}

/// A point that the engine offers.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) measurement: &'static str,
    pub(crate) device: u64,
    pub(crate) time: i64,
    pub(crate) fields: Vec<(&'static str, Value)>,
    pub(crate) now: EventTime,
    /// Whether it is taken; known once it was offered.
    pub(crate) is_taken: Option<bool>,
}

impl Offer {
    /// Throws a point near `now`: late ones, and times that others have too.
    pub(crate) fn throw(dice: &mut Dice, now: EventTime) -> Self {
        let back = match dice.below(10) {
            0 => dice.below(40 * 24 * 4),
            1..=3 => dice.below(3 * 24 * 4),
            _ => dice.below(8),
        };
        let quarter = HOUR / 4;
        let time = (now.as_nanos() / quarter - back as i64) * quarter;
        let mut fields = Vec::new();
        if dice.below(4) > 0 {
            fields.push(("f", Value::Float(dice.below(500) as f64 / 8.0)));
        }
        if dice.below(3) == 0 {
            fields.push(("i", Value::Int(dice.below(1_000) as i64 - 500)));
        }
        if dice.below(3) == 0 {
            fields.push(("b", Value::Bool(dice.below(2) == 0)));
        }
        if dice.below(4) == 0 {
            fields.push(("f_flag", Value::Text("range,late".repeat(dice.below(3) as usize))));
        }
        if fields.is_empty() || dice.below(12) == 0 {
            let value = dice.below(9);
            let float = Value::Float(value as f64);
            fields.push(("c", if dice.below(8) > 0 { float } else { Value::Int(value as i64) }));
        }
        Self {
            measurement: if dice.below(3) > 0 { "soil" } else { "空气 1" },
            device: dice.below(DEVICES),
            time,
            fields,
            now,
            is_taken: None,
        }
    }

    /// Returns it as line protocol.
    pub(crate) fn line(&self) -> String {
        let measurement = self.measurement.replace(' ', "\\ ");
        let device = format!("device=d{}", self.device);
        let site = if self.device.is_multiple_of(2) { ",site=north\\ east" } else { "" };
        // The same series, written in two ways.
        let mut line = if (self.time / HOUR) % 3 == 0 {
            format!("{measurement},tenant=t{site},{device} ")
        } else {
            format!("{measurement},{device}{site},tenant=t ")
        };
        for (at, (name, value)) in self.fields.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            line.push_str(&match value {
                Value::Float(value) => format!("{comma}{name}={value}"),
                Value::Int(value) => format!("{comma}{name}={value}i"),
                Value::Bool(value) => format!("{comma}{name}={value}"),
                Value::Text(value) => format!("{comma}{name}=\"{value}\""),
            });
        }
        line + &format!(" {}\n", self.time)
    }

    /// Offers it.
    pub(crate) fn offer(&self, history: &History, position: usize) -> Result<(), &'static str> {
        let key = EntryKey { position: position as u64, index: 0 };
        history.take(key, &self.line(), self.now).map_or(Ok(()), |refused| {
            assert_eq!(refused.key, key);
            assert!(!refused.detail.is_empty());
            Err(refused.reason.code())
        })
    }
}

type Fields = BTreeMap<&'static str, Value>;

/// All points, by measurement, device and time.
#[derive(Debug, Default)]
pub(crate) struct Model {
    rows: BTreeMap<(&'static str, u64, i64), Fields>,
    types: BTreeMap<(&'static str, String, &'static str), &'static str>,
}

impl Model {
    /// Takes a point, or returns `false` where a field has another type than in that month.
    pub(crate) fn take(&mut self, offer: &Offer) -> bool {
        let month = EventTime::from_nanos(offer.time).to_string().get(..7).unwrap().to_owned();
        let kind = |value: &Value| match value {
            Value::Float(_) => "float",
            Value::Int(_) => "int",
            Value::Bool(_) => "bool",
            Value::Text(_) => "text",
        };
        let key = |name: &'static str| (offer.measurement, month.clone(), name);
        let fits = |(name, value): &(&'static str, Value)| {
            self.types.get(&key(name)).is_none_or(|known| *known == kind(value))
        };
        if !offer.fields.iter().all(fits) {
            return false;
        }
        let row = self.rows.entry((offer.measurement, offer.device, offer.time)).or_default();
        for (name, value) in &offer.fields {
            self.types.insert(key(name), kind(value));
            row.insert(name, value.clone());
        }
        true
    }

    fn points(&self, query: &RangeQuery) -> Vec<(EventTime, f64)> {
        let measurement = query.measurement.as_deref();
        let mut points = Vec::new();
        for ((name, device, time), row) in &self.rows {
            let is_within = (query.from.as_nanos()..query.to.as_nanos()).contains(time);
            if measurement.is_none_or(|wanted| wanted == *name)
                && query.device == format!("d{device}")
                && is_within
            {
                points.extend(number(row.get(&*query.property)).map(|value| (*time, value)));
            }
        }
        points.sort_by_key(|(time, _)| *time);
        points.into_iter().map(|(time, value)| (EventTime::from_nanos(time), value)).collect()
    }

    fn windows(&self, query: &RangeQuery) -> Vec<Window> {
        let step = query.step.unwrap().as_nanos() as i64;
        let mut windows: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (time, value) in self.points(query) {
            let start = time.as_nanos().div_euclid(step) * step;
            windows.entry(start).or_default().push(value);
        }
        let window = |(start, values): (i64, Vec<f64>)| Window {
            start: EventTime::from_nanos(start),
            mean: values.iter().sum::<f64>() / values.len() as f64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            count: values.len() as u64,
        };
        windows.into_iter().map(window).collect()
    }

    /// Compares everything that can be read, and some parts of it.
    pub(crate) fn check(&self, history: &History, dice: &mut Dice) {
        for device in 0..DEVICES {
            for property in ["f", "i", "b", "c", "f_flag", "none"] {
                let mut query = query(device, property);
                query.measurement = match dice.below(3) {
                    0 => Some("soil".to_owned()),
                    1 => Some("空气 1".to_owned()),
                    _ => None,
                };
                if dice.below(2) == 0 {
                    let start = at("2026-09-20T00:00:00Z").as_nanos();
                    let from = start + dice.below(2_000) as i64 * HOUR / 4;
                    query.from = EventTime::from_nanos(from);
                    query.to = EventTime::from_nanos(from + dice.below(4_000) as i64 * HOUR / 4);
                }
                self.compare(history, &mut query, dice);
            }
        }
    }

    fn compare(&self, history: &History, query: &mut RangeQuery, dice: &mut Dice) {
        let (points, expected) = (history.range(query).unwrap(), self.points(query));
        // Two measurements may have a value each at one time, in either order.
        let sorted = |points: &[(EventTime, f64)]| {
            let mut points: Vec<(i64, u64)> =
                points.iter().map(|(time, value)| (time.as_nanos(), value.to_bits())).collect();
            points.sort_unstable();
            points
        };
        assert_eq!(sorted(&points), sorted(&expected), "{query:?}");
        assert!(points.is_sorted_by_key(|(time, _)| *time));
        let latest = history.latest(query).unwrap();
        assert_eq!(latest.map(|(time, _)| time), expected.last().map(|(time, _)| *time));
        query.step =
            Some(Duration::from_secs([1_800, 7_000, 86_400, 700_000][dice.below(4) as usize]));
        let (windows, expected) = (history.windows(query).unwrap(), self.windows(query));
        assert_eq!(windows.len(), expected.len(), "{query:?}");
        for (window, expected) in windows.iter().zip(&expected) {
            assert!((window.mean - expected.mean).abs() < 1e-9, "{window:?} {expected:?}");
            assert_eq!(Window { mean: expected.mean, ..*window }, *expected);
        }
        let means: Vec<_> = windows.iter().map(|window| (window.start, window.mean)).collect();
        assert_eq!(history.range(query).unwrap(), means);
    }
}

fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Float(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Text(_) => None,
    }
}

pub(crate) fn at(text: &str) -> EventTime {
    parse_rfc3339(text).unwrap()
}

pub(crate) fn query(device: u64, property: &str) -> RangeQuery {
    RangeQuery {
        measurement: None,
        tenant: "t".to_owned(),
        device: format!("d{device}"),
        property: property.to_owned(),
        from: EventTime::from_nanos(i64::MIN),
        to: EventTime::from_nanos(i64::MAX),
        step: None,
    }
}
