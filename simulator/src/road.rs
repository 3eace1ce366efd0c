//! Traffic on one lane of a road: what comes by the hour, what incidents make of it, what a detector counts.

use std::time::Duration;

use crate::incident::{Effect, Incidents};
use crate::maths::{around, exp, floor};
use crate::moment::{Moment, is_weekend};
use crate::noise::{Noise, Stream};
use crate::payload::Payload;
use crate::scenario::RoadPart;

/// What a lane carries by the hour of a working day, as a share of the busiest hour. Rush hours at 8 and at 18;
/// the night at 3 carries a thirtieth.
const WORKING_DAY: [f64; 24] = [
    0.13, 0.075, 0.045, 0.033, 0.042, 0.12, 0.40, 0.80, 0.97, 0.74, 0.64, 0.64, 0.63, 0.64, 0.66,
    0.71, 0.80, 0.96, 1.0, 0.70, 0.46, 0.35, 0.28, 0.20,
];
/// The same of a weekend day, in shares of its own volume: late, without a morning rush.
const WEEKEND_DAY: [f64; 24] = [
    0.25, 0.16, 0.10, 0.065, 0.055, 0.08, 0.18, 0.33, 0.54, 0.75, 0.90, 0.97, 0.95, 0.93, 0.95,
    0.98, 1.0, 1.0, 0.93, 0.78, 0.62, 0.52, 0.43, 0.33,
];
/// Volume of that table over the volume of the other, so that [`RoadPart::weekend`] is what it says.
const WEEKEND_SHAPE: f64 = 13.84 / 12.035;
/// Mean length of a vehicle and of the detection zone, m: 4.5 and 2.
const ZONE_M: f64 = 6.5;
/// Variance of what arrives in five minutes over its mean. Vehicles of a busy lane keep their distance, so that it is
/// less than chance alone gives; with the rise and fall within an hour it comes to the 1.25 that real hours have.
const BUNCHING: f64 = 0.8;

/// One detector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Detector<'a> {
    part: &'a RoadPart,
    /// Which one along the road, from 0.
    number: u32,
    road: Noise,
    own: Noise,
    incidents: Incidents,
}

impl<'a> Detector<'a> {
    /// Makes a detector; `road` is the same for all of a road, `own` is not.
    pub(crate) const fn new(
        part: &'a RoadPart,
        number: u32,
        (road, own): (Noise, Noise),
        incidents: Incidents,
    ) -> Self {
        Self { part, number, road, own, incidents }
    }

    /// Writes what it has counted within its interval.
    pub(crate) fn report(&self, at: &Moment, interval: Duration, payload: &mut Payload<'_>) {
        let [flow, speed, occupancy] = self.counted(at, interval);
        payload.number("flow_veh_per_h", flow, 0);
        payload.number("speed_km_h", speed, 1);
        payload.number("occupancy_pct", occupancy, 1);
    }

    /// Returns flow in veh/h, mean speed in km/h and occupancy in % of an interval.
    ///
    /// Where nobody passed all three are 0, as a loop has it.
    pub(crate) fn counted(&self, at: &Moment, interval: Duration) -> [f64; 3] {
        let (flow, speed) = self.state(at);
        let hours = interval.as_secs_f64() / 3600.0;
        let mean = flow * hours;
        let sensor = self.own.stream(Stream::Sensor);
        let spread = (BUNCHING * mean).sqrt() * sensor.normal(at.sample);
        let count = floor(mean + spread + 0.5).max(0);
        if count == 0 {
            return [0.0; 3];
        }
        // A mean of few vehicles varies more; in a queue speeds differ more.
        let count = crate::maths::float(count);
        let own = if speed < 50.0 { 0.12 } else { 0.08 } / count.sqrt() + 0.012;
        let varied = speed * (1.0 + own * self.own.stream(Stream::SensorSecond).normal(at.sample));
        let speed = floor(varied.clamp(3.0, 140.0) * 10.0 + 0.5);
        let (flow, speed) = (floor(count / hours + 0.5), crate::maths::float(speed) / 10.0);
        let flow = crate::maths::float(flow);
        [flow, speed, (flow / speed * ZONE_M / 10.0).min(96.0)]
    }

    /// Returns flow and speed without the chance of counting.
    fn state(&self, at: &Moment) -> (f64, f64) {
        let demand = self.demand(at);
        let free = self.part.free_km_h * exp(0.02 * self.trait_of(1));
        let mut queue: Option<(f64, f64)> = None;
        let (mut slow, mut most, mut is_discharge) = (f64::INFINITY, f64::INFINITY, false);
        self.incidents.felt(at, |incident| {
            let ahead = f64::from(incident.detector) - f64::from(self.number);
            let before_km = ahead * self.part.spacing_km + 0.3 * self.part.spacing_km;
            match incident.effect(at.ms, before_km, (demand, free)) {
                Effect::Free => {}
                Effect::Slow { speed } => slow = slow.min(speed),
                Effect::Queue { flow, speed } if queue.is_none_or(|(_, least)| speed < least) => {
                    queue = Some((flow, speed));
                }
                Effect::Queue { .. } => {}
                Effect::Discharge => is_discharge = true,
                Effect::Thinned { flow } => most = most.min(flow),
            }
        });
        if let Some((flow, speed)) = queue {
            return (flow, speed);
        }
        let capacity = self.capacity();
        let flow = if is_discharge { 0.9 * capacity } else { demand }.min(most);
        let share = flow / capacity;
        let own = free * (1.0 - 0.13 * share * share);
        (flow, if is_discharge { own * 0.85 } else { own }.min(slow))
    }

    /// Returns what the road wants to carry here, veh/h on a lane.
    fn demand(&self, at: &Moment) -> f64 {
        let day = self.road.stream(Stream::Demand).normal(at.day());
        let swell = self.road.stream(Stream::Swell).smooth(at.days() * 96.0);
        // Ramps: each place of the road carries a little more or less, always the same.
        let here = exp(0.06 * self.trait_of(0));
        let asked =
            self.part.peak_veh_per_h * self.shape(at) * here * exp(0.035 * day + 0.02 * swell);
        asked.min(0.93 * self.capacity())
    }

    fn shape(&self, at: &Moment) -> f64 {
        // The tables have the means of hours, so an entry stands in the middle of its hour.
        let hour = at.hour() - 0.5;
        if is_weekend(at.day()) {
            around(&WEEKEND_DAY, hour) * self.part.weekend / WEEKEND_SHAPE
        } else {
            around(&WORKING_DAY, hour)
        }
    }

    /// Returns the most that a lane carries, veh/h: the tip of the diagram.
    fn capacity(&self) -> f64 {
        self.part.free_km_h * crate::incident::density(self.part.free_km_h)
    }

    fn trait_of(&self, which: i64) -> f64 {
        self.own.stream(Stream::Self_).normal(which)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_the_tables_are_what_the_constants_say() {
        let (working, weekend): (f64, f64) = (WORKING_DAY.iter().sum(), WEEKEND_DAY.iter().sum());
        assert!((weekend / working / WEEKEND_SHAPE - 1.0).abs() < 0.01, "{working} {weekend}");
    }
}
