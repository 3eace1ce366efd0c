//! Gathers the values of one reading, whatever the wire format, and judges each by its property.

use smallvec::SmallVec;

use super::plan::Target;
use crate::flag::ValueFlags;
use crate::profile::{Profile, Property, PropertyType};
use crate::reading::{Element, Observation, Reading, Value};
use crate::time::EventTime;
use crate::topic::{NAME_BYTES_MAX, is_name};
use crate::unit::Conversion;

/// A value as a wire format has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Bool(bool),
    Int(i64),
    /// Also whole numbers beyond `i64`.
    Float(f64),
    Text(&'a str),
    /// An object, an array, or what the source itself could not read.
    Other,
}

#[derive(Debug, Default)]
enum Device {
    #[default]
    Absent,
    Name(Box<str>),
    Wrong,
}

type Slot = Option<(Option<Value>, ValueFlags)>;

/// Gathers one reading after another; of a name that comes twice the last value counts.
pub(crate) struct Collector<'p> {
    profile: &'p Profile,
    slots: SmallVec<[Slot; 8]>,
    time: Option<EventTime>,
    sequence: Option<i64>,
    device: Device,
    tags: SmallVec<[(u16, Box<str>); 1]>,
}

impl<'p> Collector<'p> {
    pub(crate) fn new(profile: &'p Profile) -> Self {
        let mut slots = SmallVec::new();
        slots.resize_with(profile.properties.len(), || None);
        Self {
            profile,
            slots,
            time: None,
            sequence: None,
            device: Device::Absent,
            tags: SmallVec::new(),
        }
    }

    /// Takes a value.
    pub(crate) fn set(&mut self, target: Target, scalar: Scalar<'_>) {
        match target {
            Target::Property(index) => self.set_property(index, scalar),
            Target::Tag(index) => self.set_tag(index, scalar),
            Target::Time => self.time = self.time_of(scalar),
            Target::Sequence => self.sequence = whole(scalar),
            Target::Device => self.device = device(scalar),
            Target::Batch => {}
        }
    }

    /// Takes a property's value in a unit of the source's own, with the conversion to the property's.
    pub(crate) fn set_converted(
        &mut self,
        index: u16,
        scalar: Scalar<'_>,
        convert: Option<&Conversion>,
    ) {
        let at = usize::from(index);
        if let (Some(slot), Some(property)) =
            (self.slots.get_mut(at), self.profile.properties.get(at))
        {
            *slot = Some(judge(property, scalar, convert));
        }
    }

    /// Takes the event time as the format itself carries it.
    pub(crate) fn set_time(&mut self, at: Option<EventTime>) {
        self.time = at;
    }

    /// Returns whether a property has been set.
    pub(crate) fn has(&self, property: u16) -> bool {
        self.slots.get(usize::from(property)).is_some_and(Option::is_some)
    }

    /// Returns the reading and begins the next one.
    pub(crate) fn finish(&mut self) -> Element {
        let mut reading = Reading {
            device: None,
            sampled_at: self.time.take(),
            sequence: self.sequence.take(),
            observations: SmallVec::new(),
            tags: std::mem::take(&mut self.tags),
        };
        for ((index, slot), property) in (0..).zip(&mut self.slots).zip(&self.profile.properties) {
            if let Some((value, flags)) = slot.take() {
                reading.observations.push(Observation { property: index, value, flags });
            } else if property.required {
                let flags = ValueFlags::MISSING;
                reading.observations.push(Observation { property: index, value: None, flags });
            }
        }
        match std::mem::take(&mut self.device) {
            Device::Wrong => return Element::Bad("the element's device is not a name".into()),
            Device::Absent => {}
            Device::Name(name) => reading.device = Some(name),
        }
        Element::Reading(reading)
    }

    fn set_property(&mut self, index: u16, scalar: Scalar<'_>) {
        let at = usize::from(index);
        if let (Some(slot), Some(property)) =
            (self.slots.get_mut(at), self.profile.properties.get(at))
        {
            *slot = Some(judge(property, scalar, property.convert.as_ref()));
        }
    }

    fn set_tag(&mut self, index: u16, scalar: Scalar<'_>) {
        self.tags.retain(|(known, _)| *known != index);
        let text: Box<str> = match scalar {
            Scalar::Text(text) if !text.is_empty() && text.len() <= NAME_BYTES_MAX => text.into(),
            Scalar::Bool(truth) => truth.to_string().into(),
            Scalar::Int(number) => number.to_string().into(),
            Scalar::Float(number) => number.to_string().into(),
            // A tag of any length would make a series of any length; the reading goes on without it.
            Scalar::Text(_) | Scalar::Null | Scalar::Other => return,
        };
        self.tags.push((index, text));
    }

    fn time_of(&self, scalar: Scalar<'_>) -> Option<EventTime> {
        let format = &self.profile.time.format;
        match scalar {
            Scalar::Int(number) => format.of_int(number),
            Scalar::Float(number) => format.of_float(number),
            Scalar::Text(text) => format.of_text(text),
            Scalar::Null | Scalar::Bool(_) | Scalar::Other => None,
        }
    }
}

fn judge(
    property: &Property,
    scalar: Scalar<'_>,
    convert: Option<&Conversion>,
) -> (Option<Value>, ValueFlags) {
    if scalar == Scalar::Null {
        return (None, ValueFlags::MISSING);
    }
    let value = match property.kind {
        PropertyType::Float => float(scalar, convert).map(Value::Float),
        PropertyType::Int => int(scalar).map(Value::Int),
        PropertyType::Bool => {
            if let Scalar::Bool(truth) = scalar {
                Some(Value::Bool(truth))
            } else {
                None
            }
        }
        PropertyType::Text => {
            if let Scalar::Text(text) = scalar {
                Some(Value::Text(text.into()))
            } else {
                None
            }
        }
    };
    let Some(value) = value else { return (None, ValueFlags::TYPE) };
    let number = property.range.and_then(|range| Some((range, value.as_number()?)));
    let is_outside =
        number.is_some_and(|((least, most), number)| !(least..=most).contains(&number));
    (Some(value), if is_outside { ValueFlags::RANGE } else { ValueFlags::GOOD })
}

#[expect(clippy::cast_precision_loss, reason = "a float property holds what a double can")]
fn float(scalar: Scalar<'_>, convert: Option<&Conversion>) -> Option<f64> {
    let number = match scalar {
        Scalar::Int(number) => number as f64,
        Scalar::Float(number) => number,
        Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) | Scalar::Other => return None,
    };
    let number = match convert {
        Some(conversion) => conversion.apply(number)?,
        None => number,
    };
    // Plus zero: `-0` and `0` are one value, and must be one text.
    number.is_finite().then_some(number + 0.0)
}

fn int(scalar: Scalar<'_>) -> Option<i64> {
    /// 2^63, the first double beyond `i64`.
    const END: f64 = 9_223_372_036_854_775_808.0;
    match scalar {
        Scalar::Int(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "whole and within i64 by the guard")]
        Scalar::Float(number)
            if number.fract().abs() < f64::MIN_POSITIVE && (-END..END).contains(&number) =>
        {
            Some(number as i64)
        }
        Scalar::Float(_) | Scalar::Null | Scalar::Bool(_) | Scalar::Text(_) | Scalar::Other => None,
    }
}

fn whole(scalar: Scalar<'_>) -> Option<i64> {
    if let Scalar::Text(text) = scalar { text.trim().parse().ok() } else { int(scalar) }
}

fn device(scalar: Scalar<'_>) -> Device {
    match scalar {
        Scalar::Null => Device::Absent,
        Scalar::Text(name) if is_name(name) => Device::Name(name.into()),
        Scalar::Int(number) => Device::Name(number.to_string().into()),
        Scalar::Text(_) | Scalar::Bool(_) | Scalar::Float(_) | Scalar::Other => Device::Wrong,
    }
}

/// Returns a cell of a CSV row as a value: empty is `null`, the rest is read by the type that is wanted.
pub(crate) fn cell(kind: PropertyType, text: &str) -> Scalar<'_> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Scalar::Null;
    }
    match kind {
        PropertyType::Text => Scalar::Text(text),
        PropertyType::Bool if trimmed.eq_ignore_ascii_case("true") || trimmed == "1" => {
            Scalar::Bool(true)
        }
        PropertyType::Bool if trimmed.eq_ignore_ascii_case("false") || trimmed == "0" => {
            Scalar::Bool(false)
        }
        PropertyType::Bool => Scalar::Other,
        PropertyType::Int => match trimmed.parse() {
            Ok(number) => Scalar::Int(number),
            Err(_) => trimmed.parse().map_or(Scalar::Other, Scalar::Float),
        },
        PropertyType::Float => trimmed.parse().map_or(Scalar::Other, Scalar::Float),
    }
}
