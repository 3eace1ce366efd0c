//! The devices, and the reference: what each message says, kept apart from the product's code.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::clock;
use super::config::PAYLOAD_MAX;
use super::step::Shape;

/// A device and a time, nanoseconds since 1970.
pub(super) type Key = (String, i64);
/// Values by name.
pub(super) type Fields = Vec<(&'static str, f64)>;

/// A message as it was published.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// When the broker took it, in true time, each time; none where the broker has lost it.
    pub(super) published: Vec<i64>,
}

/// Everything that was ever published, and what became of it at the broker.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) sent: Vec<Message>,
    /// For each message, the readings in it that say what and when.
    pub(super) readings: Vec<Vec<(Key, Fields)>>,
    /// How often a payload was acknowledged.
    pub(super) acknowledged: BTreeMap<Bytes, u64>,
    /// Every value that was ever said, by device, time and name.
    pub(super) said: BTreeMap<(Key, &'static str), Vec<f64>>,
    newest: BTreeMap<u64, i64>,
    /// How much each device has said.
    counts: BTreeMap<u64, u32>,
}

impl Fleet {
    /// A device sends one reading; returns the number of the message.
    pub(super) fn send(&mut self, device: u64, shape: Shape) -> usize {
        let number = self.sent.len();
        let (body, reading) = self.reading(device, shape);
        let payload = format!("{{{body},\"id\":{number}}}");
        self.publish(format!("up/s/d{device}"), payload, reading.into_iter().collect())
    }

    /// A gateway sends readings of several devices.
    pub(super) fn batch(&mut self, elements: &[(u64, Shape)]) -> usize {
        let number = self.sent.len();
        let (mut bodies, mut readings) = (Vec::new(), Vec::new());
        for (device, shape) in elements {
            let (body, reading) = self.reading(*device, *shape);
            bodies.push(format!("{{\"d\":\"d{device}\",{body},\"id\":{number}}}"));
            readings.extend(reading);
        }
        bodies.push(format!("{{\"id\":{number}}}"));
        let payload = format!("[{}]", bodies.join(","));
        if payload.len() > usize::try_from(PAYLOAD_MAX).unwrap() {
            readings.clear();
        }
        self.publish("gw/g".to_owned(), payload, readings)
    }

    /// A device sends what cannot be read.
    pub(super) fn malformed(&mut self, device: u64) -> usize {
        let payload = format!("{{\"ts\":{}", self.sent.len());
        self.publish(format!("up/s/d{device}"), payload, Vec::new())
    }

    /// Somebody sends where nobody listens.
    pub(super) fn unknown_topic(&mut self) -> usize {
        let payload = format!("{{\"id\":{}}}", self.sent.len());
        self.publish("nowhere".to_owned(), payload, Vec::new())
    }

    /// A device sends too much.
    pub(super) fn too_large(&mut self, device: u64) -> usize {
        let room = usize::try_from(PAYLOAD_MAX).unwrap();
        let payload = format!("{{\"id\":{}{}}}", self.sent.len(), " ".repeat(room));
        self.publish(format!("up/s/d{device}"), payload, Vec::new())
    }

    fn publish(&mut self, topic: String, payload: String, readings: Vec<(Key, Fields)>) -> usize {
        for (key, fields) in &readings {
            for (name, value) in fields {
                self.said.entry((key.clone(), name)).or_default().push(*value);
            }
        }
        self.sent.push(Message { topic, payload: Bytes::from(payload), published: Vec::new() });
        self.readings.push(readings);
        self.sent.len() - 1
    }

    /// Returns the text of a reading, and what must be known of it where it has a time and a value.
    fn reading(&mut self, device: u64, shape: Shape) -> (String, Option<(Key, Fields)>) {
        let count = self.counts.entry(device).or_default();
        *count += 1;
        let number = *count;
        let now = clock::now() / 1_000_000;
        let newest = self.newest.get(&device).copied().unwrap_or(now);
        let at = match shape {
            Shape::Late(seconds) => now - i64::try_from(seconds * 1_000).unwrap(),
            Shape::Conflict | Shape::Merge => newest,
            Shape::Good | Shape::Untimed | Shape::OutOfRange | Shape::NoValue => now,
        };
        self.newest.insert(device, newest.max(at));
        let moisture = match shape {
            Shape::OutOfRange => 0.9,
            _ => f64::from(8 + (number * 7) % 12) / 100.0,
        };
        let temp = f64::from(number % 40);
        let fields: Fields = match shape {
            Shape::NoValue => Vec::new(),
            Shape::Merge => vec![("temp", temp)],
            Shape::Good | Shape::Conflict | Shape::Untimed => {
                if number.is_multiple_of(3) {
                    vec![("moisture", moisture)]
                } else {
                    vec![("moisture", moisture), ("temp", temp)]
                }
            }
            Shape::Late(_) | Shape::OutOfRange => vec![("moisture", moisture)],
        };
        let mut text = match shape {
            Shape::Untimed => format!("\"seq\":{number}"),
            _ => format!("\"ts\":{at},\"seq\":{number}"),
        };
        for (name, value) in &fields {
            let path = if *name == "moisture" { "m" } else { "t" };
            text.push_str(&format!(",\"{path}\":{value}"));
        }
        let is_told = !fields.is_empty() && shape != Shape::Untimed;
        (text, is_told.then(|| ((format!("d{device}"), at * 1_000_000), fields)))
    }
}
