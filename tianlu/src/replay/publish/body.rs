//! A reading as the JSON uplink that the profile decodes to it.

use serde_json::{Map, Value};
use telemetry::path::{Path, Step};
use telemetry::profile::{CodecKind, Profile, Property};
use telemetry::reading::{Reading, Value as Seen};
use telemetry::time::EventTime;
use telemetry::time_format::TimeFormat;

use crate::playback::fault::Fault;

/// Most elements of an array on the way to a value; a path of a profile that is beyond it is left out.
const ITEMS_MAX: usize = 10_000;

/// Refuses a profile whose uplinks cannot be written: another codec, or a time by a pattern.
pub(super) fn check(profile: &Profile) -> Result<(), Fault> {
    let args: [(&str, &dyn std::fmt::Display); 1] = [("profile", &profile.name)];
    if profile.codec != CodecKind::Json {
        return Err(Fault::wrong("--to", "tianlu.replay.to_codec", &args));
    }
    if profile.time.path.is_some() && matches!(profile.time.format, TimeFormat::Pattern(..)) {
        return Err(Fault::wrong("--to", "tianlu.replay.to_time", &args));
    }
    Ok(())
}

/// Writes a reading: each value at its path, in the unit of the payload.
pub(super) fn of(profile: &Profile, device: &str, reading: &Reading) -> Vec<u8> {
    let mut one = Value::Object(Map::new());
    if let (Some(path), Some(at)) = (&profile.time.path, reading.sampled_at) {
        put(&mut one, path, time(&profile.time.format, at));
    }
    if let (Some(path), Some(sequence)) = (&profile.sequence, reading.sequence) {
        put(&mut one, path, sequence.into());
    }
    for (index, value) in &reading.tags {
        if let Some(tag) = profile.tags.get(usize::from(*index)) {
            put(&mut one, &tag.path, (&**value).into());
        }
    }
    for seen in &reading.observations {
        let Some(property) = profile.property_at(seen.property) else { continue };
        let value = seen.value.as_ref().map_or(Value::Null, |value| value_of(property, value));
        put(&mut one, &property.path, value);
    }
    let mut whole = match &profile.batch {
        None => one,
        Some(batch) => {
            if let Some(path) = &batch.device {
                put(&mut one, path, device.into());
            }
            let mut whole = Value::Null;
            put(&mut whole, &batch.path, Value::Array(vec![one]));
            whole
        }
    };
    if whole.is_null() {
        whole = Value::Object(Map::new());
    }
    whole.to_string().into_bytes()
}

fn value_of(property: &Property, value: &Seen) -> Value {
    match value {
        Seen::Float(number) => {
            let converted =
                property.convert.as_ref().map_or(Some(*number), |by| by.invert(*number));
            converted.map_or(Value::Null, Value::from)
        }
        Seen::Int(number) => (*number).into(),
        Seen::Bool(truth) => (*truth).into(),
        Seen::Text(text) => (&**text).into(),
    }
}

fn time(format: &TimeFormat, at: EventTime) -> Value {
    let nanos = at.as_nanos();
    match format {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a double holds microseconds of today's seconds"
        )]
        TimeFormat::UnixS if nanos % 1_000_000_000 != 0 => (nanos as f64 / 1e9).into(),
        TimeFormat::UnixS => (nanos / 1_000_000_000).into(),
        TimeFormat::UnixMs => nanos.div_euclid(1_000_000).into(),
        TimeFormat::UnixUs => nanos.div_euclid(1_000).into(),
        TimeFormat::UnixNs => nanos.into(),
        TimeFormat::Rfc3339(_) | TimeFormat::Pattern(..) => at.to_string().into(),
    }
}

/// Puts a value at a path, making the objects and arrays on the way.
fn put(root: &mut Value, path: &Path, value: Value) {
    let mut at = root;
    for step in path.steps() {
        at = match step {
            Step::Key(name) => {
                if !at.is_object() {
                    *at = Value::Object(Map::new());
                }
                let Value::Object(map) = at else { return };
                map.entry(&**name).or_insert(Value::Null)
            }
            Step::Index(index) => {
                if !at.is_array() {
                    *at = Value::Array(Vec::new());
                }
                let Value::Array(items) = at else { return };
                let Some(index) = usize::try_from(*index).ok().filter(|index| *index < ITEMS_MAX)
                else {
                    return;
                };
                if items.len() <= index {
                    items.resize(index + 1, Value::Null);
                }
                let Some(item) = items.get_mut(index) else { return };
                item
            }
        };
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use telemetry::codec::decode;
    use telemetry::document::Problems;
    use telemetry::reading::Element;

    use super::*;

    #[test]
    fn what_is_written_decodes_to_the_same_reading() {
        let text = "name = 'x'\ndomain = 'soil'\nmeasurement = 'soil'\ninterval = '1m'\ncodec = 'json'\ntags = ['meta.depth']\n\
            [batch]\npath = 'data.readings'\ndevice = 'id'\n[time]\npath = 't.at'\nformat = 'unix_ms'\n[sequence]\npath = 'seq'\n\
            [[properties]]\nname = 'wet'\npath = 'v[1]'\nunit = 'm3/m3'\nconvert = { from = '%' }\n\
            [[properties]]\nname = 'n'\npath = 'n'\ntype = 'int'\nunit = '1'\nrequired = true\n";
        let problems = Problems::default();
        let profile = Profile::parse("x.toml", text, &problems).unwrap();
        let payload = br#"{"data":{"readings":[{"id":"d","t":{"at":1763856000123},"seq":7,"meta":{"depth":"10"},"v":[null,23.1],"n":null}]}}"#;
        let decoded = decode(&profile, payload).unwrap();
        let Element::Reading(reading) = &decoded.elements[0] else { panic!("{decoded:?}") };
        let written = of(&profile, "d", reading);
        assert_eq!(
            decode(&profile, &written).unwrap(),
            decoded,
            "{}",
            String::from_utf8_lossy(&written)
        );
    }
}
