//! The messages, as MQTT packets that only need their packet id.

use std::fmt::Write as _;

use proof::mqtt::{PUBLISH, packet, put_text};
use smallvec::SmallVec;
use telemetry::codec::frame;
use telemetry::document::Problems;
use telemetry::flag::ValueFlags;
use telemetry::profile::Profile;
use telemetry::reading::{Observation, Reading, Value};
use telemetry::time::EventTime;

use super::Shape;

/// The profile of all devices of the benchmark: five of its properties are sent.
pub(crate) const PROFILE: &str = include_str!("../../../../packs/profiles/soil-5in1.toml");
/// Values repeat after so many messages; their texts are made once.
const TAILS: u64 = 1000;
/// First sequence number: all have six digits, so that all packets of a shape are equally long.
const FIRST_SEQUENCE: u64 = 100_000;
/// Sequence numbers begin again after so many.
const SEQUENCES: u64 = 900_000;

/// Returns the profile as the shape needs it.
pub(crate) fn profile(shape: Shape) -> String {
    match shape {
        Shape::Json => PROFILE.to_owned(),
        Shape::Frame => PROFILE.replace("codec = \"json\"", "codec = \"frame\""),
        Shape::Batch => PROFILE.replace("[time]", "[batch]\npath = \"\"\ndevice = \"d\"\n\n[time]"),
    }
}

/// Returns the name of a device.
pub(crate) fn device_name(device: u64) -> String {
    format!("dev{device:07}")
}

fn topic(device: u64) -> String {
    format!("tianlu/v1/demo/s1/{}/up", device_name(device))
}

/// The five values of a message: none crosses a rule of the benchmark.
fn values(number: u64) -> [f64; 5] {
    let x = (number.wrapping_mul(2_654_435_761) >> 7) % TAILS;
    let part = |first: u64, most: u64, digits: f64| (first + x % most) as f64 / digits;
    [
        part(110, 400, 1000.0),
        part(120, 380, 1000.0),
        part(100, 150, 10.0),
        part(100, 250, 10.0),
        part(200, 700, 10.0),
    ]
}

fn tail(number: u64) -> String {
    let [shallow, deep, soil, air, humidity] = values(number);
    format!(
        ",\"soil_moisture_10cm\":{shallow:.3},\"soil_moisture_30cm\":{deep:.3},\"soil_temp\":{soil:.1},\
         \"air_temp\":{air:.1},\"rh\":{humidity:.1}}}"
    )
}

/// Returns one JSON uplink.
pub(crate) fn json(number: u64, at_ms: i64, sequence: u64) -> String {
    format!(
        "{{\"ts\":{at_ms:013},\"seq\":{}{}",
        FIRST_SEQUENCE + sequence % SEQUENCES,
        tail(number)
    )
}

/// Writes JSON uplinks into a buffer by patching one packet.
#[derive(Debug)]
pub(crate) struct Writer {
    packet: Vec<u8>,
    tails: Vec<String>,
    at: Places,
}

/// Where in the packet stands what changes.
#[derive(Debug)]
struct Places {
    device: usize,
    packet_id: usize,
    time: usize,
    sequence: usize,
    tail: usize,
}

impl Writer {
    /// Prepares the packet and the texts of the values.
    pub(crate) fn new() -> Self {
        let topic = topic(0);
        let packet = publish(&topic, json(0, 0, 0).as_bytes());
        let body = packet.len() - 2 - topic.len() - 2 - json(0, 0, 0).len();
        let packet_id = body + 2 + topic.len();
        let payload = packet_id + 2;
        let time = payload + "{\"ts\":".len();
        let sequence = time + 13 + ",\"seq\":".len();
        let device = body + 2 + "tianlu/v1/demo/s1/dev".len();
        let at = Places { device, packet_id, time, sequence, tail: sequence + 6 };
        Self { packet, tails: (0..TAILS).map(tail).collect(), at }
    }

    /// Appends the message `number` of a device.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, device: u64, number: u64, stamp: Stamp) {
        let (packet, at) = (&mut self.packet, &self.at);
        put_digits(&mut packet[at.device..at.device + 7], device);
        packet[at.packet_id..at.packet_id + 2].copy_from_slice(&stamp.packet_id.to_be_bytes());
        put_digits(&mut packet[at.time..at.time + 13], stamp.at_ms.unsigned_abs());
        put_digits(
            &mut packet[at.sequence..at.sequence + 6],
            FIRST_SEQUENCE + stamp.sequence % SEQUENCES,
        );
        packet[at.tail..].copy_from_slice(self.tails[(number % TAILS) as usize].as_bytes());
        out.extend_from_slice(packet);
    }

    /// Returns topic and payload of a packet of this writer.
    pub(crate) fn parts<'p>(&self, packet: &'p [u8]) -> (&'p str, &'p [u8]) {
        let topic = &packet[self.at.device - "tianlu/v1/demo/s1/dev".len()..self.at.packet_id];
        (str::from_utf8(topic).unwrap(), &packet[self.at.packet_id + 2..])
    }
}

/// What tells a message from the device's others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// The packet id.
    pub(crate) packet_id: u16,
    /// The time in the payload, milliseconds since 1970.
    pub(crate) at_ms: i64,
    /// Number of the message among those of its device.
    pub(crate) sequence: u64,
}

fn put_digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Returns a QoS 1 packet with the packet id 0.
fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    proof::mqtt::publish(topic, 0, payload, false)
}

/// A packet made before the run, and where its packet id stands.
#[derive(Debug)]
pub(crate) struct Made {
    packet: Vec<u8>,
    id_at: usize,
}

impl Made {
    fn new(topic: &str, payload: &[u8]) -> Self {
        let packet = publish(topic, payload);
        let id_at = packet.len() - payload.len() - 2;
        Self { packet, id_at }
    }

    /// Appends it with a packet id.
    pub(crate) fn put(&self, out: &mut Vec<u8>, packet_id: u16) {
        let begin = out.len() + self.id_at;
        out.extend_from_slice(&self.packet);
        out[begin..begin + 2].copy_from_slice(&packet_id.to_be_bytes());
    }
}

/// Makes frames: message `number` of each of `devices` in turn, the last one about now.
pub(crate) fn frames(devices: &[u64], count: u64, now_ms: i64) -> Vec<Made> {
    let problems = Problems::default();
    let profile = Profile::parse("soil-5in1.toml", &profile(Shape::Frame), &problems).unwrap();
    let each = devices.len() as u64;
    let make = |number: u64| {
        let device = devices[(number % each) as usize];
        let sequence = number / each;
        let at_ms = time_of(sequence, count / each, now_ms);
        let payload = frame::encode(&profile, &[reading(number, at_ms, sequence)]).unwrap();
        Made::new(&topic(device), &payload)
    };
    (0..count).map(make).collect()
}

/// Makes arrays of 50 uplinks: each of another device, all of one gateway.
pub(crate) fn batches(devices: &[u64], count: u64, now_ms: i64) -> Vec<Made> {
    let size = Shape::Batch.readings();
    let each = devices.len() as u64;
    let make = |number: u64| {
        let mut payload = String::from("[");
        for reading in number * size..(number + 1) * size {
            let device = device_name(devices[(reading % each) as usize]);
            let sequence = reading / each;
            let uplink = json(reading, time_of(sequence, count * size / each, now_ms), sequence);
            let separator = if payload.len() > 1 { "," } else { "" };
            write!(payload, "{separator}{{\"d\":\"{device}\",{}", &uplink[1..]).unwrap();
        }
        payload.push(']');
        Made::new(&topic(devices[0]), payload.as_bytes())
    };
    (0..count).map(make).collect()
}

/// Times a second apart that end about now.
fn time_of(sequence: u64, sequences: u64, now_ms: i64) -> i64 {
    now_ms - 1000 * (sequences.saturating_sub(sequence) as i64)
}

fn reading(number: u64, at_ms: i64, sequence: u64) -> Reading {
    let observation = |(property, value): (usize, f64)| Observation {
        property: property as u16,
        value: Some(Value::Float(value)),
        flags: ValueFlags::default(),
    };
    Reading {
        device: None,
        sampled_at: Some(EventTime::from_nanos(at_ms * 1_000_000)),
        sequence: Some((FIRST_SEQUENCE + sequence) as i64),
        observations: values(number).into_iter().enumerate().map(observation).collect(),
        tags: SmallVec::new(),
    }
}

/// Returns a CONNECT packet of MQTT 3.1.1 with a clean session and ten minutes of keep-alive.
pub(crate) fn connect(id: &str) -> Vec<u8> {
    let mut body = Vec::new();
    put_text(&mut body, "MQTT");
    body.extend([4, 2, 2, 88]);
    put_text(&mut body, id);
    debug_assert_ne!(PUBLISH, 0x10);
    packet(0x10, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_packet_is_the_packet() {
        let mut writer = Writer::new();
        for (device, number, at_ms, sequence) in
            [(0, 0, 1_764_000_000_000, 0), (9_999_999, 777, 1_764_000_000_123, 42)]
        {
            let mut out = Vec::new();
            writer.put(&mut out, device, number, Stamp { packet_id: 300, at_ms, sequence });
            let told = proof::mqtt::publish(
                &topic(device),
                300,
                json(number, at_ms, sequence).as_bytes(),
                false,
            );
            assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&told));
        }
    }

    #[test]
    fn each_shape_is_read_by_its_profile() {
        let devices: Vec<u64> = (0..60).collect();
        let now = 1_764_000_000_000;
        let one = [Made::new(&topic(1), json(1, now, 0).as_bytes())];
        let frames = frames(&devices, 3, now);
        let batches = batches(&devices, 3, now);
        for (shape, made) in
            [(Shape::Json, &one[..]), (Shape::Frame, &frames), (Shape::Batch, &batches)]
        {
            let problems = Problems::default();
            let profile = Profile::parse("p.toml", &profile(shape), &problems).unwrap();
            for message in made {
                let payload = &message.packet[message.id_at + 2..];
                let decoded = telemetry::codec::decode(&profile, payload).unwrap();
                assert_eq!(decoded.elements.len() as u64, shape.readings(), "{shape:?}");
            }
        }
    }
}
