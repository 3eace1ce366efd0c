//! The writer of points.

use std::io::Write as _;

use smallvec::SmallVec;

use super::escape::{write_key, write_measurement, write_text};
use crate::flag::TimeFlag;
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

/// The fields that a profile's points may have, sorted, each with its escaped name and `=`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct FieldOrder {
    measurement: Vec<u8>,
    fields: Vec<(Vec<u8>, Field)>,
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
            let mut key = Vec::new();
            write_key(&mut key, &name);
            key.push(b'=');
            (key, field)
        };
        let mut order =
            Self { measurement: Vec::new(), fields: names.into_iter().map(escaped).collect() };
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
    let mut tags: SmallVec<[(&str, &str); 8]> = SmallVec::from_slice(head.tags);
    tags.extend([("device", head.device), ("site", head.site), ("tenant", head.tenant)]);
    tags.sort_by_key(|(name, _)| *name);
    for (name, value) in tags.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(b',');
        write_key(out, name);
        out.push(b'=');
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
    let mut found: SmallVec<[Option<&Observation>; 16]> = SmallVec::new();
    found.resize(profile.properties.len(), None);
    for observation in &reading.observations {
        if let Some(slot) = found.get_mut(usize::from(observation.property)) {
            *slot = Some(observation);
        }
    }
    let of = |index: &usize| found.get(*index).copied().flatten();
    let mut separator = b' ';
    for (key, field) in &profile.fields.fields {
        let start = out.len();
        out.push(separator);
        out.extend_from_slice(key);
        let is_written = match field {
            Field::Value(index) => of(index).is_some_and(|one| write_value(out, one)),
            Field::Flags(index) => of(index).is_some_and(|one| write_flags(out, one)),
            Field::TimeFlag => stamp.flag.is_some_and(|flag| {
                write_text(out, flag.code());
                true
            }),
            Field::SampledAtRaw => stamp.sampled_at_raw.is_some_and(|nanos| write_int(out, nanos)),
        };
        if is_written {
            separator = b',';
        } else {
            out.truncate(start);
        }
    }
    out.push(b' ');
    write_number(out, stamp.at_nanos);
    out.push(b'\n');
    true
}

fn is_writable(value: &Value) -> bool {
    if let Value::Float(number) = value { number.is_finite() } else { true }
}

fn write_value(out: &mut Vec<u8>, observation: &Observation) -> bool {
    match &observation.value {
        None => return false,
        Some(Value::Float(number)) if !number.is_finite() => {
            debug_assert!(false, "a value is finite");
            return false;
        }
        Some(Value::Float(number)) => {
            let mut digits = ryu::Buffer::new();
            let text = digits.format_finite(*number);
            out.extend_from_slice(text.strip_suffix(".0").unwrap_or(text).as_bytes());
        }
        Some(Value::Int(number)) => return write_int(out, *number),
        Some(Value::Bool(truth)) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Some(Value::Text(text)) => write_text(out, text),
    }
    true
}

fn write_flags(out: &mut Vec<u8>, observation: &Observation) -> bool {
    if observation.flags.is_good() {
        return false;
    }
    out.push(b'"');
    for (index, code) in observation.flags.codes().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(code.as_bytes());
    }
    out.push(b'"');
    true
}

fn write_int(out: &mut Vec<u8>, number: i64) -> bool {
    write_number(out, number);
    out.push(b'i');
    true
}

fn write_number(out: &mut Vec<u8>, number: i64) {
    let written = write!(out, "{number}");
    debug_assert!(written.is_ok(), "a vector takes any bytes");
}

#[cfg(test)]
mod tests;
