//! Where the devices of a scenario stand, and what they are called.

use std::collections::BTreeMap;

use telemetry::text::Text;

use crate::scenario::{Kind, Part, RoadPart, Scenario, Site};

/// A device of a scenario as it is written, by numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Index of its site.
    pub(crate) site: u32,
    /// Index of its part within the site.
    pub(crate) part: u32,
    /// Which device of the part, from 0.
    pub(crate) number: u32,
    /// How many parts of the same kind stand before its own.
    pub(crate) rank: u32,
}

/// Where a device stands: its part, and which repetition of the scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) site: &'a Site,
    pub(crate) part: &'a Part,
    /// Which site and part of the scenario, in one number.
    pub(crate) part_id: u64,
    /// Which device of the part, from 0.
    pub(crate) number: u32,
    /// Which repetition, from 0.
    pub(crate) copy: u32,
}

impl Spot<'_> {
    /// Returns the site's name in topics.
    pub(crate) fn site_id(&self) -> String {
        if self.copy == 0 {
            return self.site.site.clone();
        }
        format!("{}-{}", self.site.site, self.copy + 1)
    }

    /// Returns the device's name in topics.
    pub(crate) fn device_id(&self) -> String {
        let Part { prefix, .. } = self.part;
        if self.copy == 0 {
            return format!("{prefix}{:02}", self.number + 1);
        }
        format!("{prefix}{:02}-{}", self.number + 1, self.copy + 1)
    }

    /// Returns a name, with the number of the repetition.
    pub(crate) fn numbered(&self, text: &Text) -> Text {
        if self.copy == 0 {
            return text.clone();
        }
        let numbered = |name: &str| format!("{name} {}", self.copy + 1);
        Text { zh: numbered(&text.zh), en: numbered(&text.en) }
    }

    /// Returns the device's name for people.
    pub(crate) fn name(&self, km: Option<f64>) -> Text {
        let metres = crate::maths::floor(km.unwrap_or_default() * 1000.0 + 0.5);
        let km = format!("K{}+{:03}", metres / 1000, metres % 1000);
        let filled =
            |name: &str| name.replace("{n}", &(self.number + 1).to_string()).replace("{km}", &km);
        let Text { zh, en } = &self.part.name;
        self.numbered(&Text { zh: filled(zh), en: filled(en) })
    }
}

/// Returns the devices of a scenario in its order.
pub(crate) fn places_of(scenario: &Scenario) -> Vec<Place> {
    let mut places = Vec::new();
    let mut ranks: BTreeMap<&str, u32> = BTreeMap::new();
    for (site, parts) in (0_u32..).zip(scenario.sites.iter().map(|site| &site.parts)) {
        for (part, of) in (0_u32..).zip(parts) {
            let rank = ranks.entry(of.kind.as_str()).or_default();
            places.extend((0..of.devices).map(|number| Place { site, part, number, rank: *rank }));
            *rank += 1;
        }
    }
    places
}

/// Returns where a device stands: along its road, or around its site; a repetition stands elsewhere.
pub(crate) fn place(spot: &Spot<'_>) -> (f64, f64) {
    let (lat, lon) = match &spot.part.kind {
        Kind::Road(road) => along(spot.site.place, road, spot),
        Kind::Soil(_) | Kind::Air(_) if spot.part.devices == 1 => spot.site.place,
        Kind::Soil(_) | Kind::Air(_) => {
            // On a spiral of the golden angle around the middle, about 300 m from each other; parts turn on.
            let part = f64::from(u32::try_from(spot.part_id & 0xff).unwrap_or(0));
            around(spot.site.place, f64::from(spot.number) + 1.0 + 0.5 * part, 0.0022)
        }
    };
    let (lat, lon) = around((lat, lon), f64::from(spot.copy), 0.08);
    let round = |degrees: f64| crate::maths::float(crate::maths::floor(degrees * 1e5 + 0.5)) / 1e5;
    (round(lat.clamp(-85.0, 85.0)), round(lon.clamp(-180.0, 180.0)))
}

fn around((lat, lon): (f64, f64), turn: f64, degrees: f64) -> (f64, f64) {
    let (angle, far) = (turn * 0.381_966, degrees * turn.sqrt());
    (lat + far * crate::maths::sin(angle), lon + far * crate::maths::cos(angle))
}

fn along(first: (f64, f64), road: &RoadPart, spot: &Spot<'_>) -> (f64, f64) {
    let points: Vec<(f64, f64)> = std::iter::once(first).chain(road.line.iter().copied()).collect();
    let legs = u32::try_from(points.len().saturating_sub(1)).unwrap_or(0);
    let steps = spot.part.devices.saturating_sub(1).max(1);
    let way = f64::from(spot.number) / f64::from(steps) * f64::from(legs);
    let leg = crate::maths::floor(way).clamp(0, i64::from(legs.saturating_sub(1)));
    let at = |index: i64| usize::try_from(index).ok().and_then(|index| points.get(index)).copied();
    let (Some(from), Some(to)) = (at(leg), at(leg + 1)) else { return first };
    let part = way - crate::maths::float(leg);
    (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part)
}
