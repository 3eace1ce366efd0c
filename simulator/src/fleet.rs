//! A scenario with seed, start and number of devices: any device, any uplink, any time.

use std::time::Duration;

use telemetry::problem::Problem;
use telemetry::text::{Text, say};
use telemetry::time::EventTime;

use crate::air::Station;
use crate::incident::Incidents;
use crate::moment::Moment;
use crate::noise::Noise;
use crate::payload::Payload;
use crate::place::{Place, Spot, place, places_of};
use crate::road::Detector;
use crate::scenario::{Kind, RoadPart, Scenario};
use crate::schedule::ms_from;
use crate::soil::{Probe, millis};
use crate::weather::Sky;

/// Why a fleet cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// A fleet of no device.
    #[error("a fleet needs at least one device")]
    Empty,
    /// A scenario with more devices than can be numbered.
    #[error("the scenario has no part, or more than {} devices", u32::MAX)]
    Parts,
}

impl FleetError {
    /// Returns the error as a problem of an argument or file.
    #[must_use]
    pub fn problem(self, place: &str) -> Problem {
        let key = match self {
            Self::Empty => "simulator.fleet.empty",
            Self::Parts => "simulator.fleet.parts",
        };
        Problem {
            file: place.to_owned(),
            line: None,
            key: String::new(),
            value: String::new(),
            what: say(key, &[]),
            remedy: say(&format!("{key}.remedy"), &[]),
        }
    }
}

/// One device of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct SimDevice {
    /// Its tenant.
    pub tenant: String,
    /// Its site.
    pub site: String,
    /// Its name in topics and points.
    pub device: String,
    /// Its profile.
    pub profile: String,
    /// Latitude in degrees.
    pub lat: f64,
    /// Longitude in degrees.
    pub lon: f64,
    /// GB/T 2260 code.
    pub region: String,
    /// Its name for people.
    pub name: Text,
    /// The name of its site for people.
    pub site_name: Text,
    /// Kilometre along the road, of a detector.
    pub km: Option<f64>,
    /// Time between two readings.
    pub interval: Duration,
    /// What it measures: `soil`, `road` or `air`.
    pub kind: &'static str,
}

/// A fleet of devices.
#[derive(Debug, Clone)]
pub struct Fleet {
    scenario: Scenario,
    seed: u64,
    start_ms: i64,
    devices: u32,
    /// Each device of the scenario, in its order.
    places: Vec<Place>,
    is_held: bool,
    live: Option<(i64, i64)>,
}

impl Fleet {
    /// Makes a fleet; without `devices` it is as large as the scenario says. A larger one repeats the scenario
    /// at other places, a smaller one has the first devices of each part, of each kind in turn.
    ///
    /// `start` counts in whole milliseconds; what a scenario plans is counted from it.
    ///
    /// # Errors
    ///
    /// [`FleetError`] for no device, or more than can be numbered.
    pub fn new(
        scenario: &Scenario,
        seed: u64,
        start: EventTime,
        devices: Option<u32>,
    ) -> Result<Self, FleetError> {
        let mut places = places_of(scenario);
        let own = u32::try_from(places.len()).map_err(|_| FleetError::Parts)?;
        let devices = devices.unwrap_or(own);
        if own == 0 {
            return Err(FleetError::Parts);
        }
        if devices == 0 {
            return Err(FleetError::Empty);
        }
        if devices < own {
            places.sort_unstable_by_key(|place| (place.number, place.rank));
            places.truncate(usize::try_from(devices).unwrap_or(usize::MAX));
            places.sort_unstable_by_key(|place| (place.site, place.part, place.number));
        }
        let start_ms = start.as_nanos().div_euclid(1_000_000);
        let scenario = scenario.clone();
        Ok(Self { scenario, seed, start_ms, devices, places, is_held: true, live: None })
    }

    /// Holds the values of the last point of the interval's grid between two of them (as it is unless told
    /// otherwise), or measures anew at any time.
    #[must_use]
    pub const fn held(mut self, is_held: bool) -> Self {
        self.is_held = is_held;
        self
    }

    /// Tells that devices send each `every` from `since` on instead of at their interval; sequence numbers count
    /// what is sent.
    ///
    /// The first such time is the one at or after `since` that is a multiple of `every` from the start: where that
    /// divides the intervals, a held value still changes at the same time, whenever `since` is.
    #[must_use]
    pub fn live(mut self, since: EventTime, every: Duration) -> Self {
        let every = millis(every).max(1);
        let turns = -self.start_ms.saturating_sub(ms_from(since)).div_euclid(every);
        self.live = Some((self.start_ms.saturating_add(turns.saturating_mul(every)), every));
        self
    }

    /// Returns the scenario.
    #[must_use]
    pub const fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Returns the start.
    #[must_use]
    pub const fn start(&self) -> EventTime {
        EventTime::from_nanos(self.start_ms.saturating_mul(1_000_000))
    }

    /// Returns how many devices there are.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.devices
    }

    /// Returns whether there is none; there always is one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.devices == 0
    }

    /// Returns the devices in order. A detector comes after the one before it on the road.
    pub fn devices(&self) -> impl Iterator<Item = SimDevice> + '_ {
        (0..self.devices).filter_map(|device| self.device(device))
    }

    /// Returns one device, by its number from 0.
    #[must_use]
    pub fn device(&self, device: u32) -> Option<SimDevice> {
        let spot = self.spot(device)?;
        let (lat, lon) = place(&spot);
        let km = match &spot.part.kind {
            Kind::Road(road) => Some(road.first_km + road.spacing_km * f64::from(spot.number)),
            Kind::Soil(_) | Kind::Air(_) => None,
        };
        Some(SimDevice {
            tenant: self.scenario.tenant.clone(),
            site: spot.site_id(),
            device: spot.device_id(),
            profile: spot.part.profile.clone(),
            lat,
            lon,
            region: spot.site.region.clone(),
            name: spot.name(km),
            site_name: spot.numbered(&spot.site.name),
            km,
            interval: spot.part.interval,
            kind: spot.part.kind.as_str(),
        })
    }

    /// Returns the uplink of a device at a time; nothing for a device that is not there.
    #[must_use]
    pub fn uplink(&self, device: u32, at: EventTime) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write_uplink(device, at, &mut out);
        out
    }

    /// Appends the uplink of a device at a time; `false`, and nothing, for a device that is not there.
    ///
    /// It depends on scenario, seed, start, `held`, `live`, device and time alone. The time it carries is the one
    /// that is asked for, in whole milliseconds.
    pub fn write_uplink(&self, device: u32, at: EventTime, out: &mut Vec<u8>) -> bool {
        let Some(spot) = self.spot(device) else { return false };
        let at_ms = at.as_nanos().div_euclid(1_000_000);
        let interval_ms = millis(spot.part.interval).max(1);
        let turn = at_ms.saturating_sub(self.start_ms).div_euclid(interval_ms);
        let moment = if self.is_held {
            let held = self.start_ms.saturating_add(turn.saturating_mul(interval_ms));
            Moment::new(held, self.scenario.utc_offset_ms, turn)
        } else {
            Moment::new(at_ms, self.scenario.utc_offset_ms, at_ms)
        };
        let mut payload = Payload::begin(out, at_ms, self.sequence(at_ms, interval_ms));
        let sky = self.sky(&spot);
        match &spot.part.kind {
            Kind::Soil(soil) => {
                Probe::new(soil, sky, self.own(&spot), self.start_ms).report(&moment, &mut payload);
            }
            Kind::Road(road) => {
                let noises = (self.shared(&spot), self.own(&spot));
                let incidents = self.incidents(&spot, road);
                let detector = Detector::new(road, spot.number, noises, incidents);
                detector.report(&moment, spot.part.interval, &mut payload);
            }
            Kind::Air(air) => {
                let noises = (self.sky_noise(&spot), self.own(&spot));
                Station::new(air, sky, noises, self.start_ms).report(&moment, &mut payload);
            }
        }
        payload.end();
        true
    }

    /// Returns how many uplinks a device has sent up to a time, less one; from the start on.
    fn sequence(&self, at_ms: i64, interval_ms: i64) -> i64 {
        let turns = |ms: i64| ms.saturating_sub(self.start_ms).div_euclid(interval_ms);
        let sent = match self.live {
            Some((since, every)) if at_ms >= since => {
                // Everything of the grid before `since`, then one each `every` with the first at `since` itself.
                turns(since.saturating_sub(1)) + 1 + (at_ms - since).div_euclid(every)
            }
            Some(_) | None => turns(at_ms),
        };
        sent.max(0)
    }

    /// Finds a device: which repetition of the scenario, and where in it.
    pub(crate) fn spot(&self, device: u32) -> Option<Spot<'_>> {
        if device >= self.devices {
            return None;
        }
        let own = u32::try_from(self.places.len()).ok()?;
        let (copy, index) = (device / own, device % own);
        let place = self.places.get(usize::try_from(index).ok()?)?;
        let site = self.scenario.sites.get(usize::try_from(place.site).ok()?)?;
        let part = site.parts.get(usize::try_from(place.part).ok()?)?;
        let part_id = u64::from(place.site) << 32 | u64::from(place.part);
        Some(Spot { site, part, part_id, number: place.number, copy })
    }

    /// Returns from when on devices send at another interval, and which, in milliseconds.
    pub(crate) const fn live_ms(&self) -> Option<(i64, i64)> {
        self.live
    }

    /// Returns the time between two readings of a device.
    pub(crate) fn interval_ms(&self, device: u32) -> Option<i64> {
        self.spot(device).map(|spot| millis(spot.part.interval).max(1))
    }

    fn root(&self, spot: &Spot<'_>) -> Noise {
        Noise::of(self.seed).among(u64::from(spot.copy))
    }

    /// Returns the chance of one device.
    pub(crate) fn own(&self, spot: &Spot<'_>) -> Noise {
        self.shared(spot).among(u64::from(spot.number) + 1)
    }

    /// Returns the chance that all of a part share.
    pub(crate) fn shared(&self, spot: &Spot<'_>) -> Noise {
        self.root(spot).among(spot.part_id + 1)
    }

    /// Returns the chance that all under a sky share.
    pub(crate) fn sky_noise(&self, spot: &Spot<'_>) -> Noise {
        self.root(spot).among(telemetry::hash::hash64(spot.site.sky.as_bytes()))
    }

    /// Returns the weather of a device.
    pub(crate) fn sky(&self, spot: &Spot<'_>) -> Sky {
        Sky::new(spot.site.climate, self.sky_noise(spot))
    }

    /// Returns the incidents of a device's road.
    pub(crate) fn incidents(&self, spot: &Spot<'_>, road: &RoadPart) -> Incidents {
        let wanted = (road.incident_every, road.has_bottleneck);
        Incidents::new(wanted, spot.part.devices, self.shared(spot), self.start_ms)
    }

    /// Returns the start in milliseconds.
    pub(crate) const fn start_ms(&self) -> i64 {
        self.start_ms
    }
}
