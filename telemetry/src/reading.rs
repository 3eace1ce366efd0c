//! A reading: all observations of one device at one time, as its codec found them.

use bincode::{Decode, Encode};
use smallvec::SmallVec;

use crate::flag::ValueFlags;
use crate::time::EventTime;

/// One value as stored: the field of a point.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Value {
    /// A finite number in the property's unit.
    Float(f64),
    /// A number of a property of type `int`.
    Int(i64),
    /// Truth.
    Bool(bool),
    /// Text.
    Text(Box<str>),
}

impl Value {
    /// Returns the number that rules compare; truth counts as 0 and 1, text has none.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            #[expect(
                clippy::cast_precision_loss,
                reason = "a comparison with a limit needs no more than 53 bits"
            )]
            Self::Int(number) => Some(*number as f64),
            Self::Bool(truth) => Some(f64::from(u8::from(*truth))),
            Self::Text(_) => None,
        }
    }
}

/// One property of a reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Index of the property in the profile.
    pub property: u16,
    /// The value; `None` where it is missing or of a wrong type.
    pub value: Option<Value>,
    /// Its quality so far: `range`, `type`, `missing`. The pipeline adds `late`.
    pub flags: ValueFlags,
}

/// All observations of one device at one time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The device named by an element of a batch; `None`: the topic's.
    pub device: Option<Box<str>>,
    /// The time the payload gives; `None`: it has none.
    pub sampled_at: Option<EventTime>,
    /// The sequence number the payload gives.
    pub sequence: Option<i64>,
    /// In the order of the profile's properties, at most one of each.
    pub observations: SmallVec<[Observation; 6]>,
    /// Tags read from the payload: index in the profile's `tags`, value.
    pub tags: SmallVec<[(u16, Box<str>); 1]>,
}

/// One element of an uplink: a reading, or what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every element is a reading; a box would cost an allocation each"
)]
pub enum Element {
    /// A reading; it may still lack every value.
    Reading(Reading),
    /// Not readable; the detail is for the dead letter.
    Bad(Box<str>),
}

/// What a codec made of a payload.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// The elements in the order of the payload.
    pub elements: Vec<Element>,
    /// Whether the payload is an array by the profile; dead letters then name the element.
    pub is_batch: bool,
}
