//! Golden payloads: one file for each wire format, which every later version must still read.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what is wrong")]

use std::fmt::Write as _;

use telemetry::codec::{decode, frame};
use telemetry::document::Problems;
use telemetry::line_protocol::{PointHead, Stamp, write_reading};
use telemetry::profile::Profile;
use telemetry::reading::{Element, Reading};

const PROFILE: &str = include_str!("golden/profile.toml");
const JSON: &[u8] = include_bytes!("golden/json_v1.json");
const CSV: &[u8] = include_bytes!("golden/csv_v1.csv");
const LINES: &[u8] = include_bytes!("golden/line_protocol_v1.lp");
/// Hexadecimal, so that a change shows in a review.
const FRAME: &str = include_str!("golden/frame_v1.hex");
const FRAME_WITH_NAMES: &str = include_str!("golden/frame_v1_names.hex");
const POINTS: &str = include_str!("golden/points.lp");

fn profile(codec: &str) -> Profile {
    let text = PROFILE.replace("codec = \"json\"", &format!("codec = \"{codec}\""));
    Profile::parse("golden/profile.toml", &text, &Problems::default())
        .expect("the golden profile is good")
}

fn readings(codec: &str, payload: &[u8]) -> Vec<Reading> {
    let decoded = decode(&profile(codec), payload).unwrap();
    assert!(decoded.is_batch);
    let reading =
        |element| if let Element::Reading(reading) = element { Some(reading) } else { None };
    decoded.elements.into_iter().map(|element| reading(element).unwrap()).collect()
}

fn points(readings: &[Reading]) -> String {
    let profile = profile("json");
    let mut out = Vec::new();
    for reading in readings {
        let device = reading.device.as_deref().unwrap_or("topic");
        let tags: Vec<(&str, &str)> =
            reading.tags.iter().map(|(_, text)| ("depth", &**text)).collect();
        let head = PointHead { tenant: "farm", site: "北 田", device, tags: &tags };
        let at_nanos = reading.sampled_at.map_or(1, telemetry::time::EventTime::as_nanos);
        assert!(write_reading(
            &mut out,
            &profile,
            &head,
            reading,
            &Stamp { at_nanos, flag: None, sampled_at_raw: None }
        ));
    }
    String::from_utf8(out).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
    let byte = |two: &[char]| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(32) {
        line.iter().for_each(|byte| write!(out, "{byte:02x}").unwrap());
        out.push('\n');
    }
    out
}

#[test]
fn every_format_reads_the_same_readings_for_ever() {
    let expected = readings("json", JSON);
    assert_eq!(expected.len(), 3);
    assert_eq!(points(&expected), POINTS);
    assert_eq!(readings("csv", CSV), expected, "CSV");
    assert_eq!(readings("line_protocol", LINES), expected, "line protocol");
    assert_eq!(readings("frame", &bytes(FRAME)), expected, "frame");
    assert_eq!(readings("frame", &bytes(FRAME_WITH_NAMES)), expected, "frame with names");
}

#[test]
fn a_frame_of_this_version_has_the_golden_bytes() {
    let readings = readings("json", JSON);
    assert_eq!(hex(&frame::encode(&profile("frame"), &readings).unwrap()), FRAME);
    assert_eq!(hex(&frame::encode_named(&profile("frame"), &readings).unwrap()), FRAME_WITH_NAMES);
}
