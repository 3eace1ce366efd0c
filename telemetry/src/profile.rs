//! A device profile: what one kind of device sends, and what becomes of it.

mod check;
mod time_rule;

use std::time::Duration;

use crate::codec::plan::Plan;
use crate::line_protocol::FieldOrder;
use crate::path::Path;
use crate::time_format::TimeFormat;
use crate::unit::{Conversion, Unit};

pub(crate) use time_rule::time_format;

/// Most properties of a profile: a reading has a slot for each.
pub const PROPERTIES_MAX: usize = 1000;
/// Most tags of a profile; each distinct value of a tag is a series of its own in the store.
pub const TAGS_MAX: usize = 16;

/// What a device is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// Soil moisture, temperature, salinity.
    Soil,
    /// Vehicles: flow, speed, occupancy.
    Traffic,
    /// Air quality.
    Air,
    /// Weather.
    Weather,
    /// Water level, flow, quality.
    Water,
    /// Animals and their houses.
    Livestock,
    /// Pumps, tractors, valves.
    Machine,
}

impl Domain {
    /// Each domain with the word for it.
    pub const ALL: [(&'static str, Self); 7] = [
        ("soil", Self::Soil),
        ("traffic", Self::Traffic),
        ("air", Self::Air),
        ("weather", Self::Weather),
        ("water", Self::Water),
        ("livestock", Self::Livestock),
        ("machine", Self::Machine),
    ];

    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Soil => "soil",
            Self::Traffic => "traffic",
            Self::Air => "air",
            Self::Weather => "weather",
            Self::Water => "water",
            Self::Livestock => "livestock",
            Self::Machine => "machine",
        }
    }

    /// Reads the word for it.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, domain)| *domain)
    }
}

/// Type of a property's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PropertyType {
    /// Any finite number.
    Float,
    /// A whole number within 64 bits; `5.0` is one, `5.5` is not.
    Int,
    /// Truth.
    Bool,
    /// Text; `string` in a profile.
    Text,
}

/// How the payload is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// JSON with values at paths.
    Json,
    /// The compact bincode frame.
    Frame,
    /// InfluxDB line protocol.
    LineProtocol,
    /// CSV with a header row.
    Csv,
}

/// One property of a device: one field of its points.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    /// Name, also of the field: a letter, then letters, digits and `_`.
    pub name: String,
    /// Where the value stands in the payload.
    pub path: Path,
    /// Type of the values.
    pub kind: PropertyType,
    /// Unit of the values as stored.
    pub unit: Unit,
    /// Least and largest value that is not flagged `range`, in [`Property::unit`].
    pub range: Option<(f64, f64)>,
    /// Step of the sensor, in [`Property::unit`]. Documentation; nothing is rounded to it.
    pub resolution: Option<f64>,
    /// From the unit of the payload to [`Property::unit`].
    pub convert: Option<Conversion>,
    /// Whether its absence is flagged `missing`.
    pub required: bool,
}

/// A tag of the points beside tenant, site and device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSource {
    /// Name of the tag: the last name on the path.
    pub name: String,
    /// Where its value stands in the payload. Where the payload has none, the registry column of that name counts.
    pub path: Path,
}

/// Several readings in one uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the array stands; empty: the payload is the array.
    pub path: Path,
    /// Where each element names its device, seen from the element.
    pub device: Option<Path>,
}

/// How the time of a reading is read and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeRule {
    /// Where the time stands in a reading; `None`: readings have none.
    pub path: Option<Path>,
    /// How it is written.
    pub format: TimeFormat,
    /// Whether [`TimeRule::future`] and [`TimeRule::past`] do not count.
    pub trust_device: bool,
    /// Later than `received_at` by more than this: untrusted.
    pub future: Duration,
    /// Earlier than `received_at` by more than this: untrusted.
    pub past: Duration,
}

/// A checked device profile. Only [`Profile::parse`] makes one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Profile {
    /// Name that uplinks, registry and rules refer to.
    pub name: String,
    /// What it is about.
    pub domain: Domain,
    /// Measurement of the points.
    pub measurement: String,
    /// Expected time between two uplinks; liveness is judged by it.
    pub interval: Duration,
    /// How the payload is written.
    pub codec: CodecKind,
    /// Tags beside tenant, site and device, in the order of the file.
    pub tags: Vec<TagSource>,
    /// Several readings in one uplink.
    pub batch: Option<Batch>,
    /// How time is read and judged.
    pub time: TimeRule,
    /// Where the sequence number stands.
    pub sequence: Option<Path>,
    /// The properties; an [`Observation`](crate::reading::Observation) refers to them by index.
    pub properties: Vec<Property>,
    pub(crate) plan: Plan,
    pub(crate) fields: FieldOrder,
}

impl Profile {
    /// Returns whether the elements of this profile's uplinks name their own devices.
    #[must_use]
    pub fn names_devices(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.device.is_some())
    }

    /// Parses a profile file; notes every problem. `None` where one of them leaves no usable profile.
    #[must_use]
    pub fn parse(file: &str, text: &str, problems: &crate::document::Problems) -> Option<Self> {
        check::profile(file, text, problems)
    }

    /// Returns the index of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<u16> {
        let at = self.properties.iter().position(|property| property.name == name)?;
        u16::try_from(at).ok()
    }

    /// Returns a property by the index that an observation holds.
    #[must_use]
    pub fn property_at(&self, index: u16) -> Option<&Property> {
        self.properties.get(usize::from(index))
    }
}

/// Parses a profile in a test, which has no problem.
///
/// # Panics
/// Where there is a problem.
#[cfg(test)]
pub(crate) fn sample(text: &str) -> Profile {
    let problems = crate::document::Problems::default();
    let profile = Profile::parse("test.toml", text, &problems);
    let found: Vec<String> = problems.take().iter().map(ToString::to_string).collect();
    assert!(found.is_empty(), "{found:#?}");
    profile.unwrap()
}

#[cfg(test)]
mod tests;
