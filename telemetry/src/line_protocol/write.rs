//! The writer of points.

use smallvec::SmallVec;

use super::escape::{write_key, write_measurement, write_text};
use super::number::{write_float, write_whole};
use crate::flag::{TimeFlag, ValueFlags};
use crate::profile::{Profile, Property};
use crate::reading::{Observation, Reading, Value};

/// Tags of a point beside its measurement; an empty value is left out.
#[derive(Debug, Clone, Copy)]
pub struct PointHead<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The site.
    pub site: &'a str,
    /// The device.
    pub device: &'a str,
    /// The profile's tags, name and value, in any order. A payload tag of a reading belongs here too.
    pub tags: &'a [(&'a str, &'a str)],
}

/// The time of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Where the point stands, in nanoseconds since 1970.
    pub at_nanos: i64,
    /// What is wrong with the reading's own time.
    pub flag: Option<TimeFlag>,
    /// The time that is not trusted, in nanoseconds since 1970.
    pub sampled_at_raw: Option<i64>,
}

/// The fields that a profile's points may have, sorted, each with a comma, its escaped name and `=`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FieldOrder {
    measurement: Vec<u8>,
    fields: Vec<(Vec<u8>, Field)>,
    /// Those of a reading of which nothing is wrong.
    good: Vec<(Vec<u8>, Field)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Value(usize),
    Flags(usize),
    TimeFlag,
    SampledAtRaw,
}

impl FieldOrder {
    pub(crate) fn of(measurement: &str, properties: &[Property]) -> Self {
        let mut names = vec![
            ("time_flag".to_owned(), Field::TimeFlag),
            ("sampled_at_raw".to_owned(), Field::SampledAtRaw),
        ];
        for (index, property) in properties.iter().enumerate() {
            names.push((property.name.clone(), Field::Value(index)));
            names.push((format!("{}_flag", property.name), Field::Flags(index)));
        }
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let escaped = |(name, field): (String, Field)| {
            let mut key = vec![b','];
            write_key(&mut key, &name);
            key.push(b'=');
            (key, field)
        };
        let fields: Vec<_> = names.into_iter().map(escaped).collect();
        let is_value = |(_, field): &&(Vec<u8>, Field)| matches!(field, Field::Value(_));
        let good = fields.iter().filter(is_value).cloned().collect();
        let mut order = Self { measurement: Vec::new(), fields, good };
        write_measurement(&mut order.measurement, measurement);
        order
    }
}

/// Appends one reading as one line with a line break at its end.
///
/// Returns `false`, and appends nothing, where the reading has no value at all.
pub fn write_reading(
    out: &mut Vec<u8>,
    profile: &Profile,
    head: &PointHead<'_>,
    reading: &Reading,
    stamp: &Stamp,
) -> bool {
    let start = out.len();
    write_prefix(out, profile, head);
    let is_written = write_fields(out, profile, reading, stamp);
    if !is_written {
        out.truncate(start);
    }
    is_written
}

/// Appends measurement and tags: the same for every reading of a device, so a caller may keep it.
pub fn write_prefix(out: &mut Vec<u8>, profile: &Profile, head: &PointHead<'_>) {
    out.extend_from_slice(&profile.fields.measurement);
    if head.tags.is_empty() {
        write_tag(out, b",device=", head.device);
        write_tag(out, b",site=", head.site);
        write_tag(out, b",tenant=", head.tenant);
        return;
    }
    let mut tags: SmallVec<[(&str, &str); 8]> = SmallVec::from_slice(head.tags);
    tags.extend([("device", head.device), ("site", head.site), ("tenant", head.tenant)]);
    tags.sort_by_key(|(name, _)| *name);
    for (name, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(b',');
        write_key(out, name);
        write_tag(out, b"=", value);
    }
}

fn write_tag(out: &mut Vec<u8>, name: &[u8], value: &str) {
    if !value.is_empty() {
        out.extend_from_slice(name);
        write_key(out, value);
    }
}

/// Appends fields, time and line break after a prefix.
///
/// Returns `false`, and appends nothing, where the reading has no value at all.
pub fn write_fields(
    out: &mut Vec<u8>,
    profile: &Profile,
    reading: &Reading,
    stamp: &Stamp,
) -> bool {
    if !reading.observations.iter().any(|one| one.value.as_ref().is_some_and(is_writable)) {
        return false;
    }
    let is_good = stamp.flag.is_none()
        && stamp.sampled_at_raw.is_none()
        && reading.observations.iter().all(|one| one.flags.is_good());
    let fields = if is_good { &profile.fields.good } else { &profile.fields.fields };
    let start = out.len();
    for (key, field) in fields {
        match field {
            Field::Value(index) => {
                let value = observation(reading, *index).and_then(|one| one.value.as_ref());
                if let Some(value) = value.filter(|value| is_writable(value)) {
                    out.extend_from_slice(key);
                    write_value(out, value);
                }
            }
            Field::Flags(index) => {
                let flags = observation(reading, *index).map(|one| one.flags);
                if let Some(flags) = flags.filter(|flags| !flags.is_good()) {
                    out.extend_from_slice(key);
                    write_flags(out, flags);
                }
            }
            Field::TimeFlag => {
                if let Some(flag) = stamp.flag {
                    out.extend_from_slice(key);
                    write_text(out, flag.code());
                }
            }
            Field::SampledAtRaw => {
                if let Some(nanos) = stamp.sampled_at_raw {
                    out.extend_from_slice(key);
                    write_int(out, nanos);
                }
            }
        }
    }
    // The first of them has a space before it.
    if let Some(comma) = out.get_mut(start) {
        *comma = b' ';
    }
    out.push(b' ');
    write_whole(out, stamp.at_nanos);
    out.push(b'\n');
    true
}

/// Finds the observation of a property: at its own place where there is one of each.
fn observation(reading: &Reading, property: usize) -> Option<&Observation> {
    let is_it = |one: &&Observation| usize::from(one.property) == property;
    let in_place = reading.observations.get(property).filter(is_it);
    in_place.or_else(|| reading.observations.iter().rfind(is_it))
}

fn is_writable(value: &Value) -> bool {
    let is_finite = if let Value::Float(number) = value { number.is_finite() } else { true };
    debug_assert!(is_finite, "a value is finite");
    is_finite
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Float(number) => write_float(out, *number),
        Value::Int(number) => write_int(out, *number),
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Text(text) => write_text(out, text),
    }
}

fn write_flags(out: &mut Vec<u8>, flags: ValueFlags) {
    out.push(b'"');
    for (index, code) in flags.codes().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(code.as_bytes());
    }
    out.push(b'"');
}

fn write_int(out: &mut Vec<u8>, number: i64) {
    write_whole(out, number);
    out.push(b'i');
}

#[cfg(test)]
mod tests;
