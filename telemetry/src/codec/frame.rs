//! The compact frame: a versioned envelope around bincode, less than half the size of JSON.
//!
//! ```text
//! byte 0..2  magic `TL` (0x54 0x4c)
//! byte 2     version, now 1
//! byte 3..7  CRC32C of the version byte and the body, little-endian
//! byte 7..   body: bincode 2 "standard" (variable-length integers, little-endian), version 1:
//!   schema     0 + count u16 + hash u64   the first `count` properties of the profile, by `schema_hash`
//!              1 + list of names          the names themselves, for a sender that cannot hash
//!   readings   list of
//!     device      0 | 1 + text            counts only where the profile's [batch] names a device
//!     sampled_at  0 | 1 + i64             nanoseconds since 1970
//!     sequence    0 | 1 + i64
//!     tags        list of (name, text)
//!     values      list of (u16 index into the schema, value)
//!       value     0 missing | 1 unreadable at the source | 2 f64 | 3 f32 | 4 i64 | 5 bool | 6 text
//!                 7 + mantissa i64 + decimals u8: mantissa / 10^decimals, exact
//! ```
//!
//! A list or text is its length and its items. Numbers stand in the unit of the payload: `convert`
//! applies as in every codec. A profile that gains properties **at its end** still reads old frames; one
//! that renames or reorders them does not, and the frame is malformed rather than misread. Frames with
//! names survive reordering too. Bytes after the body are refused.
//!
//! Bounds: [`BODY_BYTES_MAX`] of body, and as much memory while decoding, so some hundred readings.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use super::plan::Target;
use super::{Collector, DecodeError, Scalar};
use crate::flag::ValueFlags;
use crate::hash::hash64_parts;
use crate::profile::Profile;
use crate::reading::{Decoded, Observation, Reading, Value};
use crate::time::EventTime;

/// Most bytes of a body.
pub const BODY_BYTES_MAX: usize = 65_536;

const MAGIC: [u8; 2] = *b"TL";
const VERSION: u8 = 1;
/// Most digits after the point that are tried, and that are read.
const DECIMALS_MAX: u8 = 9;

/// Never without the limit: a length in nine hostile bytes would abort the process.
fn config() -> Configuration<LittleEndian, Varint, Limit<BODY_BYTES_MAX>> {
    bincode::config::standard().with_limit::<BODY_BYTES_MAX>()
}

/// Why readings do not go into a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Too much for one frame: send several.
    #[error("{readings} readings do not fit one frame")]
    TooLarge {
        /// How many there were.
        readings: usize,
    },
}

#[derive(Debug, PartialEq, Encode, Decode)]
struct BodyV1 {
    schema: SchemaV1,
    readings: Vec<ReadingV1>,
}

#[derive(Debug, PartialEq, Encode, Decode)]
enum SchemaV1 {
    First { count: u16, hash: u64 },
    Names(Vec<String>),
}

#[derive(Debug, PartialEq, Encode, Decode)]
struct ReadingV1 {
    device: Option<String>,
    sampled_at: Option<i64>,
    sequence: Option<i64>,
    tags: Vec<(String, String)>,
    values: Vec<(u16, ValueV1)>,
}

// The order of the variants is the wire format: only ever add at the end.
#[derive(Debug, PartialEq, Encode, Decode)]
enum ValueV1 {
    Missing,
    Unreadable,
    Double(f64),
    Single(f32),
    Int(i64),
    Bool(bool),
    Text(String),
    Decimal { mantissa: i64, decimals: u8 },
}

/// Returns the hash of the first `count` property names of a profile, as a frame carries it.
///
/// XXH3-64 over each name with its length (u64, little-endian) before it.
#[must_use]
pub fn schema_hash(profile: &Profile, count: u16) -> u64 {
    let names: Vec<&[u8]> = profile
        .properties
        .iter()
        .take(usize::from(count))
        .map(|property| property.name.as_bytes())
        .collect();
    hash64_parts(&names)
}

/// Encodes readings; the receiver finds the properties by the hash of their names.
///
/// # Errors
/// Where they are too many for a receiver to take.
pub fn encode(profile: &Profile, readings: &[Reading]) -> Result<Vec<u8>, FrameError> {
    let count = u16::try_from(profile.properties.len()).unwrap_or(u16::MAX);
    seal(profile, SchemaV1::First { count, hash: schema_hash(profile, count) }, readings)
}

/// Encodes readings with the names of the properties, for a receiver whose profile has another order.
///
/// # Errors
/// Where they are too many for a receiver to take.
pub fn encode_named(profile: &Profile, readings: &[Reading]) -> Result<Vec<u8>, FrameError> {
    let names = profile.properties.iter().map(|property| property.name.clone()).collect();
    seal(profile, SchemaV1::Names(names), readings)
}

fn seal(profile: &Profile, schema: SchemaV1, readings: &[Reading]) -> Result<Vec<u8>, FrameError> {
    let too_large = FrameError::TooLarge { readings: readings.len() };
    let body = BodyV1 {
        schema,
        readings: readings.iter().map(|reading| wire_reading(profile, reading)).collect(),
    };
    let body = bincode::encode_to_vec(&body, config()).map_err(|_| too_large.clone())?;
    // A receiver's limit counts memory, not bytes: only decoding tells whether it will take the frame.
    bincode::decode_from_slice::<BodyV1, _>(&body, config()).map_err(|_| too_large)?;
    let mut frame = Vec::with_capacity(body.len() + 7);
    frame.extend_from_slice(&MAGIC);
    frame.push(VERSION);
    frame.extend_from_slice(&checksum(VERSION, &body).to_le_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

fn checksum(version: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[version]), body)
}

fn wire_reading(profile: &Profile, reading: &Reading) -> ReadingV1 {
    let tag = |(index, text): &(u16, Box<str>)| {
        let source = profile.tags.get(usize::from(*index))?;
        Some((source.name.clone(), text.to_string()))
    };
    ReadingV1 {
        device: reading.device.as_deref().map(str::to_owned),
        sampled_at: reading.sampled_at.map(EventTime::as_nanos),
        sequence: reading.sequence,
        tags: reading.tags.iter().filter_map(tag).collect(),
        values: reading
            .observations
            .iter()
            .map(|one| (one.property, wire_value(profile, one)))
            .collect(),
    }
}

fn wire_value(profile: &Profile, observation: &Observation) -> ValueV1 {
    match &observation.value {
        None if observation.flags.has(ValueFlags::TYPE) => ValueV1::Unreadable,
        None => ValueV1::Missing,
        Some(Value::Int(number)) => ValueV1::Int(*number),
        Some(Value::Bool(truth)) => ValueV1::Bool(*truth),
        Some(Value::Text(text)) => ValueV1::Text(text.to_string()),
        Some(Value::Float(number)) => {
            let convert =
                profile.property_at(observation.property).and_then(|property| property.convert);
            let raw = convert.and_then(|conversion| conversion.invert(*number)).unwrap_or(*number);
            decimal(raw).unwrap_or(ValueV1::Double(raw))
        }
    }
}

/// Returns the number as a decimal where that is exact and shorter than eight bytes.
fn decimal(number: f64) -> Option<ValueV1> {
    /// A mantissa below this takes at most five bytes.
    const MANTISSA_END: f64 = 2_147_483_648.0;
    (0..=DECIMALS_MAX).find_map(|decimals| {
        let scaled = (number * 10f64.powi(i32::from(decimals))).round();
        if scaled.abs() >= MANTISSA_END {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 2^31 by the check")]
        let mantissa = scaled as i64;
        let is_exact =
            of_decimal(mantissa, decimals).is_some_and(|read| read.to_bits() == number.to_bits());
        is_exact.then_some(ValueV1::Decimal { mantissa, decimals })
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what the encoder writes is far below 2^53; the rest is rounded once"
)]
fn of_decimal(mantissa: i64, decimals: u8) -> Option<f64> {
    // Powers of ten up to 1e22 are exact, so one division rounds correctly on every machine.
    (decimals <= DECIMALS_MAX).then(|| mantissa as f64 / 10f64.powi(i32::from(decimals)))
}

/// Decodes a frame. Property indices that the schema lacks are ignored, as JSON ignores unknown names.
///
/// # Errors
/// Anything that is not a whole frame of a known version, written for this profile's properties.
pub fn decode(profile: &Profile, payload: &[u8]) -> Result<Decoded, DecodeError> {
    let body = open(payload)?;
    let properties = match &body.schema {
        SchemaV1::First { count, hash } => {
            let is_known = usize::from(*count) <= profile.properties.len()
                && schema_hash(profile, *count) == *hash;
            is_known.then(|| (0..*count).map(Some).collect::<Vec<_>>())
        }
        SchemaV1::Names(names) => Some(names.iter().map(|name| profile.property(name)).collect()),
    };
    let Some(properties) = properties else {
        return Err(DecodeError::malformed(
            "the frame was written for other properties than the profile's",
        ));
    };
    let names_device = profile.names_devices();
    let mut collector = Collector::new(profile);
    let mut elements = Vec::with_capacity(body.readings.len());
    for reading in &body.readings {
        if names_device && let Some(device) = &reading.device {
            collector.set(Target::Device, Scalar::Text(device));
        }
        collector.set_time(reading.sampled_at.map(EventTime::from_nanos));
        collector.set(Target::Sequence, reading.sequence.map_or(Scalar::Null, Scalar::Int));
        for (name, text) in &reading.tags {
            let at = profile.tags.iter().position(|tag| tag.name == *name);
            if let Some(index) = at.and_then(|at| u16::try_from(at).ok()) {
                collector.set(Target::Tag(index), Scalar::Text(text));
            }
        }
        for (index, value) in &reading.values {
            if let Some(Some(property)) = properties.get(usize::from(*index)) {
                collector.set(Target::Property(*property), scalar(value));
            }
        }
        elements.push(collector.finish());
    }
    Ok(Decoded { is_batch: profile.batch.is_some() || elements.len() != 1, elements })
}

fn open(payload: &[u8]) -> Result<BodyV1, DecodeError> {
    let Some(([m0, m1, version, c0, c1, c2, c3], body)) = payload.split_first_chunk() else {
        return Err(DecodeError::malformed("shorter than the envelope of a frame"));
    };
    if [*m0, *m1] != MAGIC {
        return Err(DecodeError::malformed("not a frame: the magic bytes are absent"));
    }
    if *version != VERSION {
        return Err(DecodeError::malformed(&format!("frame version {version} is not known")));
    }
    if checksum(*version, body) != u32::from_le_bytes([*c0, *c1, *c2, *c3]) {
        return Err(DecodeError::malformed("the checksum of the frame does not match"));
    }
    if body.len() > BODY_BYTES_MAX {
        return Err(DecodeError::malformed("the frame is larger than 64 KiB"));
    }
    match bincode::decode_from_slice::<BodyV1, _>(body, config()) {
        Ok((decoded, read)) if read == body.len() => Ok(decoded),
        Ok((_, read)) => {
            Err(DecodeError::malformed(&format!("{} bytes after the frame", body.len() - read)))
        }
        Err(error) => Err(DecodeError::malformed(&format!("not the body of a frame: {error}"))),
    }
}

fn scalar(value: &ValueV1) -> Scalar<'_> {
    match value {
        ValueV1::Missing => Scalar::Null,
        ValueV1::Unreadable => Scalar::Other,
        ValueV1::Double(number) => Scalar::Float(*number),
        ValueV1::Single(number) => Scalar::Float(f64::from(*number)),
        ValueV1::Int(number) => Scalar::Int(*number),
        ValueV1::Bool(truth) => Scalar::Bool(*truth),
        ValueV1::Text(text) => Scalar::Text(text),
        ValueV1::Decimal { mantissa, decimals } => {
            of_decimal(*mantissa, *decimals).map_or(Scalar::Other, Scalar::Float)
        }
    }
}

#[cfg(test)]
mod tests;
