//! Payloads and rows that become readings.

use telemetry::codec::{ELEMENTS_MAX, decode, frame as wire};
use telemetry::document::Problems;
use telemetry::line_protocol::{PointHead, Stamp, lines, write_reading};
use telemetry::mapping::Mapping;
use telemetry::profile::{CodecKind, Profile};
use telemetry::reading::{Decoded, Element, Observation, Reading, Value};
use telemetry::topic::is_name;

use crate::sample::{CSV, FRAME, JSON, LINES, MAPPED};
use crate::texts::{places, text_of};

/// Rows of a mapping that are read of one input: a wide row of a small file may have a reading a column.
const ROWS_MAX: usize = 10_000;

/// A byte that chooses the profile, and a JSON payload.
///
/// Readings are well formed, and what can be written as a point is one line that reads back as the same reading.
pub fn json(data: &[u8]) {
    let Some((choice, payload)) = data.split_first() else { return };
    let profile = &JSON[usize::from(*choice) % JSON.len()];
    let Some(decoded) = decoded(profile, payload) else { return };
    if profile.name == "everything" {
        decoded.elements.iter().for_each(reads_back);
    }
}

/// A CSV payload; as JSON.
pub fn csv(data: &[u8]) {
    if let Some(decoded) = decoded(&CSV, data) {
        decoded.elements.iter().for_each(reads_back);
    }
}

/// Lines of points as a payload; as JSON.
pub fn line_protocol(data: &[u8]) {
    if let Some(decoded) = decoded(&LINES, data) {
        decoded.elements.iter().for_each(reads_back);
    }
}

/// A byte that chooses profile and form, and a frame, or the body of one whose envelope is right.
///
/// What was read is written as a frame that reads back the same, by hash and by names.
pub fn frame(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let profile = &FRAME[usize::from(choice & 1)];
    let payload = if choice & 2 == 0 { rest.to_vec() } else { sealed(rest) };
    let Some(decoded) = decoded(profile, &payload) else { return };
    decoded.elements.iter().for_each(reads_back);
    let whole = decoded.elements.iter().map(|element| match element {
        Element::Reading(reading) => Some(reading.clone()),
        Element::Bad(_) => None,
    });
    let Some(readings) = whole.collect::<Option<Vec<_>>>() else { return };
    for encode in [wire::encode, wire::encode_named] {
        // The envelope may take more than the hostile one did: names instead of a hash.
        let Ok(again) = encode(profile, &readings) else { continue };
        assert_eq!(decode(profile, &again).as_ref(), Ok(&decoded));
    }
}

/// Puts a body into an envelope whose checksum is right, so that hostile bodies are read at all.
fn sealed(body: &[u8]) -> Vec<u8> {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&[1]), body);
    [b"TL\x01", &checksum.to_le_bytes()[..], body].concat()
}

/// A mapping file, a NUL, and the rows of a file.
///
/// Every problem and every bad row names its place; rows are well formed and no more than the input has cells.
pub fn mapping(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (head, rows) = data.split_at(end);
    let rows = rows.get(1..).unwrap_or_default();
    let Some(text) = text_of(head) else { return };
    let problems = Problems::default();
    let mapping = Mapping::parse("mapping.toml", text, &problems);
    let bound = mapping.as_ref().and_then(|mapping| mapping.bind(&MAPPED, &problems));
    places("mapping.toml", text, &problems);
    let Some(bound) = bound else { return };
    let read = match bound.read("air_station-1.csv", rows) {
        Ok(read) => read,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let lines = rows.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64 + 1;
    let mut count = 0;
    for row in read.take(ROWS_MAX) {
        count += 1;
        match row {
            Ok(row) => {
                assert!((1..=lines).contains(&row.line), "line {} of {lines}", row.line);
                assert!(is_name(&row.device), "{:?}", row.device);
                well_formed(&MAPPED, &row.reading);
                reads_back(&Element::Reading(row.reading));
            }
            Err(error) => assert!((1..=lines).contains(&error.line), "{error} of {lines}"),
        }
    }
    assert!(count <= rows.len(), "{count} rows of {} bytes", rows.len());
}

/// Decodes twice with the same result; `None`: malformed, and says why.
fn decoded(profile: &Profile, payload: &[u8]) -> Option<Decoded> {
    let decoded = decode(profile, payload);
    assert_eq!(decode(profile, payload), decoded);
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => {
            let told = error.to_string();
            assert!(!told.is_empty() && told.chars().count() <= 200, "{told}");
            return None;
        }
    };
    assert!(decoded.elements.len() <= ELEMENTS_MAX.min(payload.len()));
    assert!(decoded.is_batch || decoded.elements.len() == 1);
    for element in &decoded.elements {
        match element {
            Element::Reading(reading) => well_formed(profile, reading),
            Element::Bad(why) => assert!(!why.is_empty()),
        }
    }
    Some(decoded)
}

/// What every reader of a reading relies on.
fn well_formed(profile: &Profile, reading: &Reading) {
    let rising = reading.observations.windows(2).all(|pair| pair[0].property < pair[1].property);
    assert!(rising, "{reading:?}");
    for Observation { property, value, flags } in &reading.observations {
        let property = profile.property_at(*property).expect("a property of the profile");
        match value {
            None => assert!(!flags.is_good(), "{}", property.name),
            Some(Value::Float(number)) => {
                let is_minus_zero = number.to_bits() == (-0.0_f64).to_bits();
                assert!(number.is_finite() && !is_minus_zero, "{}: {number}", property.name);
            }
            Some(Value::Int(_) | Value::Bool(_) | Value::Text(_)) => {}
        }
    }
    assert!(reading.device.as_deref().is_none_or(is_name));
    assert!(reading.tags.iter().all(|(tag, text)| {
        usize::from(*tag) < profile.tags.len() && !text.is_empty() && text.len() <= 256
    }));
}

/// Writes a reading as a point, of the profile with all kinds of properties: one line, which reads back the same.
/// Control characters in texts become blanks on the way, so that texts are compared after that.
fn reads_back(element: &Element) {
    let Element::Reading(reading) = element else { return };
    let device = reading.device.as_deref().unwrap_or("d");
    // Line protocol has no way to write a backslash at the end of a name: the writer puts a slash there.
    let written = device.strip_suffix('\\').map_or(device.to_owned(), |rest| format!("{rest}/"));
    let tags: Vec<_> = reading.tags.iter().map(|(_, text)| ("depth", &**text)).collect();
    let head = PointHead { tenant: "t", site: "s, 1", device, tags: &tags };
    let at_nanos = reading.sampled_at.map_or(7, telemetry::time::EventTime::as_nanos);
    let stamp = Stamp { at_nanos, flag: None, sampled_at_raw: None };
    let mut line = Vec::new();
    let has_value = reading.observations.iter().any(|one| one.value.is_some());
    assert_eq!(write_reading(&mut line, &LINES, &head, reading, &stamp), has_value);
    if !has_value {
        return assert!(line.is_empty());
    }
    let text = std::str::from_utf8(&line).expect("a line is text");
    assert_eq!((text.matches('\n').count(), lines(text).count()), (1, 1), "{text}");
    debug_assert_eq!(LINES.codec, CodecKind::LineProtocol);
    let again = decode(&LINES, &line).expect("our own line");
    let [Element::Reading(again)] = &*again.elements else { panic!("{text}: {again:?}") };
    assert_eq!(
        (again.device.as_deref(), again.sampled_at),
        (Some(&*written), Some(telemetry::time::EventTime::from_nanos(at_nanos))),
        "{text}"
    );
    let plain = |text: &str| text.replace(|c: char| c.is_ascii_control(), " ");
    let observed = |reading: &Reading| {
        let plain = |one: &Observation| match &one.value {
            Some(Value::Text(text)) => {
                Observation { value: Some(Value::Text(plain(text).into())), ..one.clone() }
            }
            _ => one.clone(),
        };
        reading.observations.iter().map(plain).collect::<Vec<_>>()
    };
    assert_eq!(observed(again), observed(reading), "{text}");
}
