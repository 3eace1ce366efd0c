//! What a scenario says: sites, what stands there, and what happens to it.

use std::time::Duration;

use telemetry::document::Problems;
use telemetry::text::Text;

use crate::{builtin, read};

/// A scenario, free of problems.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a line.
    pub about: Text,
    /// Tenant of every device.
    pub tenant: String,
    /// How far the clocks of the place are ahead of UTC, in milliseconds.
    pub utc_offset_ms: i64,
    /// Where devices stand, at least one.
    pub sites: Vec<Site>,
}

/// A farm, a road, a quarter of a city.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its name in topics and points.
    pub site: String,
    /// Its name for people.
    pub name: Text,
    /// GB/T 2260 code.
    pub region: String,
    /// Latitude and longitude in degrees; of a road those of its beginning.
    pub place: (f64, f64),
    /// Sites with the same sky have the same weather and air.
    pub sky: String,
    /// The weather there.
    pub climate: Climate,
    /// What stands there, at least one.
    pub parts: Vec<Part>,
}

/// The weather of a place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Climate {
    /// Mean air temperature of the year, °C.
    pub mean_c: f64,
    /// July above the mean, °C.
    pub annual_c: f64,
    /// Afternoon above the mean of a clear day, °C.
    pub daily_c: f64,
    /// Share of days with rain.
    pub rainy: f64,
    /// Mean rain of a rainy day, mm.
    pub rain_mm: f64,
}

/// Devices of one kind at a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What their names begin with; a number follows.
    pub prefix: String,
    /// How many there are.
    pub devices: u32,
    /// Their names for people; `{n}` is the number, `{km}` the kilometre along a road.
    pub name: Text,
    /// The device profile.
    pub profile: String,
    /// Time between two readings.
    pub interval: Duration,
    /// What they measure.
    pub kind: Kind,
}

/// What a device measures.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Soil.
    Soil(SoilPart),
    /// Traffic.
    Road(RoadPart),
    /// Air.
    Air(AirPart),
}

/// Soil of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct SoilPart {
    /// Volumetric water content that does not dry away, m3/m3.
    pub residual: f64,
    /// Time in which a third of the rest is left, days.
    pub dry_days: f64,
    /// Whether a roof keeps the rain off.
    pub is_covered: bool,
    /// Watering by plan.
    pub irrigation: Option<Irrigation>,
}

/// Watering by plan, counted from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Irrigation {
    /// Time between two waterings.
    pub every: Duration,
    /// The first one after the start.
    pub first: Duration,
    /// What one adds at 10 cm, m3/m3.
    pub rise: f64,
}

/// A road with detectors in one lane each, in the order of the traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct RoadPart {
    /// Kilometre of the first detector.
    pub first_km: f64,
    /// Distance between two detectors, km.
    pub spacing_km: f64,
    /// Points of the road, latitude and longitude in turn, after the site's own place.
    pub line: Vec<(f64, f64)>,
    /// Speed of a free road, km/h.
    pub free_km_h: f64,
    /// Vehicles of the busiest hour of a working day on one lane.
    pub peak_veh_per_h: f64,
    /// Volume of a weekend day, as a share of a working day's.
    pub weekend: f64,
    /// Mean time between two incidents; none without it.
    pub incident_every: Option<Duration>,
    /// Whether a queue forms in each rush hour.
    pub has_bottleneck: bool,
}

/// Air of a quarter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AirPart {
    /// Median of PM2.5, µg/m3.
    pub pm2_5_median: f64,
    /// How far clean and foul days lie apart: standard deviation of the logarithm.
    pub spread: f64,
    /// Plumes.
    pub episode: Option<Episode>,
}

/// Plumes that come by, counted from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// Time between two.
    pub every: Duration,
    /// The first one after the start.
    pub first: Duration,
    /// What one adds to PM2.5 at its height, µg/m3.
    pub peak: f64,
}

impl Scenario {
    /// Returns the built-in scenario of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = builtin::SCENARIOS.iter().find(|(known, _)| *known == name)?;
        Self::parse(name, text, &Problems::default())
    }

    /// Returns the names of the built-in scenarios.
    pub fn names() -> impl Iterator<Item = &'static str> {
        builtin::SCENARIOS.iter().map(|(name, _)| *name)
    }

    /// Returns the built-in scenarios.
    pub fn list() -> impl Iterator<Item = Self> {
        Self::names().filter_map(Self::named)
    }

    /// Reads a scenario file; notes every problem.
    #[must_use]
    pub fn parse(file: &str, text: &str, problems: &Problems) -> Option<Self> {
        read::scenario(file, text, problems)
    }

    /// Returns how many devices it has unless told otherwise.
    #[must_use]
    pub fn devices(&self) -> u32 {
        let parts = self.sites.iter().flat_map(|site| &site.parts);
        parts.map(|part| part.devices).fold(0, u32::saturating_add)
    }
}

impl Kind {
    /// Returns the word for it in a scenario.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Soil(_) => "soil",
            Self::Road(_) => "road",
            Self::Air(_) => "air",
        }
    }
}
