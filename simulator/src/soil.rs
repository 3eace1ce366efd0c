//! Soil moisture at two depths, and what a probe of a field reports.
//!
//! Every fall of rain and every watering adds its own wave: up within hours, then a fast part that drains and a
//! slow one that dries. Waves add up and are bent where the pores are full, so that the value of any time is a sum
//! over the last ninety days, with nothing to remember.

use std::time::Duration;

use crate::maths::{around, exp, float, ramp};
use crate::moment::{DAY_S, Moment};
use crate::noise::{Noise, Stream};
use crate::payload::Payload;
use crate::scenario::{Irrigation, SoilPart};
use crate::weather::Sky;

/// Days after which a wave is below the sensor's resolution: e^-6 of what it was.
const DAYS_BACK: i64 = 90;
/// Waterings that are looked back at, at most.
const WATERINGS_BACK: i64 = 40;
/// Pore space above the residual, m3/m3: loam holds 0.46 (AquaCrop texture table).
const PORES: f64 = 0.34;
/// What a millimetre of rain adds at 10 cm at first, m3/m3.
const RISE_PER_MM: f64 = 0.0072;
/// Share of a wave that drains within a day or two rather than dries.
const DRAINS: f64 = 0.45;
/// Time in which a third of that is left.
const DRAIN_S: f64 = 0.7 * DAY_S;
/// The moisture of a day around its mean: most in the early morning, when nothing evaporates.
const DAY_OF_SOIL: [f64; 24] = [
    0.3, 0.45, 0.6, 0.75, 0.88, 0.97, 1.0, 0.95, 0.8, 0.55, 0.25, -0.1, -0.42, -0.7, -0.9, -1.0,
    -0.98, -0.88, -0.72, -0.54, -0.36, -0.18, -0.02, 0.14,
];

/// One probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe<'a> {
    part: &'a SoilPart,
    sky: Sky,
    own: Noise,
    start_ms: i64,
}

/// A wave that rain or a watering sends down.
#[derive(Debug, Clone, Copy)]
struct Wave {
    /// Seconds since it began.
    since_s: f64,
    /// What it adds at 10 cm at first, m3/m3.
    rise: f64,
    /// Seconds until the water has come.
    comes_s: f64,
}

impl<'a> Probe<'a> {
    /// Makes a probe of a part of a site; `own` is what sets it apart.
    pub(crate) const fn new(part: &'a SoilPart, sky: Sky, own: Noise, start_ms: i64) -> Self {
        Self { part, sky, own, start_ms }
    }

    /// Writes what it reports.
    pub(crate) fn report(&self, at: &Moment, payload: &mut Payload<'_>) {
        let [shallow, deep] = self.moisture(at);
        let sensor = self.own.stream(Stream::Sensor);
        let tenth = 0.05 * sensor.normal(at.sample);
        let soil_c = self.sky.soil_c(at, 5.0) + 0.4 * self.trait_of(3) + tenth;
        let air = self.sky.air(at);
        let air_c = air.air_c + 0.3 * self.trait_of(4) + 2.0 * tenth;
        let rh = (air.rh_pct + 1.5 * self.trait_of(5) + 10.0 * tenth).clamp(5.0, 100.0);
        payload.number("soil_moisture_10cm", shallow, 3);
        payload.number("soil_moisture_30cm", deep, 3);
        payload.number("soil_temp", soil_c, 1);
        payload.number("air_temp", air_c, 1);
        payload.number("rh", rh, 1);
        // Water carries the current: a bulk conductivity that follows the moisture.
        payload.number("ec", 60.0 + 1400.0 * shallow * (1.0 + 0.1 * self.trait_of(6)), 0);
        // A lithium cell of 3.6 V that gives less when it is cold.
        payload.number(
            "battery",
            3.6 + 0.02 * self.trait_of(7) + 0.003 * (air_c - 20.0).min(0.0),
            2,
        );
    }

    /// Returns the moisture at 10 and at 30 cm, m3/m3.
    pub(crate) fn moisture(&self, at: &Moment) -> [f64; 2] {
        let dry_days = self.part.dry_days * exp(0.15 * self.trait_of(0));
        let gain = exp(0.08 * self.trait_of(1));
        let mut shallow = 0.0;
        let mut deep = 0.0;
        self.waves(at, |wave| {
            // Below the last decimal after two weeks.
            let is_drained = wave.since_s > 20.0 * DRAIN_S;
            let fast = if is_drained { 0.0 } else { exp(-wave.since_s / DRAIN_S) };
            let slow = exp(-wave.since_s / (dry_days * DAY_S));
            let left = if self.part.irrigation.is_some() {
                slow
            } else {
                DRAINS * fast + (1.0 - DRAINS) * slow
            };
            shallow += wave.rise * ramp(wave.since_s / wave.comes_s) * left;
            // A good third of it arrives there, hours later, and stays about twice as long.
            let arrived = ramp((wave.since_s - 7200.0) / (5.0 * wave.comes_s));
            deep += 0.38 * wave.rise * arrived * exp(-wave.since_s / (2.2 * dry_days * DAY_S));
        });
        // Beds that are filled and watered alike differ less than fields.
        let differs = if self.part.irrigation.is_some() { 0.006 } else { 0.023 };
        let residual = self.part.residual + differs * self.trait_of(2);
        let drift = self.own.stream(Stream::Drift).smooth(at.days() / 4.0);
        let by_day = around(&DAY_OF_SOIL, at.hour());
        let noise = self.own.stream(Stream::Sensor).normal(at.sample);
        let second = self.own.stream(Stream::SensorSecond).normal(at.sample);
        [
            residual + filled(gain * shallow) + 0.0008 * by_day + 0.001 * drift + 0.00015 * noise,
            residual
                + 0.04
                + filled(gain * deep)
                + 0.0004 * by_day
                + 0.001 * drift
                + 0.0001 * second,
        ]
        .map(|moisture| moisture.clamp(0.02, 0.55))
    }

    fn waves(&self, at: &Moment, mut each: impl FnMut(Wave)) {
        if let Some(irrigation) = &self.part.irrigation {
            let (every, last) = self.last_watering(irrigation, at);
            for back in 0..WATERINGS_BACK {
                let began_ms = last.saturating_sub(every.saturating_mul(back));
                let since_s = float(at.ms.saturating_sub(began_ms)) / 1000.0;
                if since_s > float(DAYS_BACK) * DAY_S {
                    break;
                }
                each(Wave { since_s, rise: irrigation.rise, comes_s: 2.0 * 3600.0 });
            }
        }
        if self.part.is_covered {
            return;
        }
        let today = at.day();
        for day in today - DAYS_BACK..=today {
            let Some(rain) = self.sky.rain_on(at, day) else { continue };
            let since_s = float(at.ms - rain.began_ms) / 1000.0;
            if since_s > 0.0 {
                // What runs off does not wet: the first 25 mm do.
                let rise = RISE_PER_MM * rain.mm.min(25.0);
                each(Wave { since_s, rise, comes_s: rain.lasts_s.max(2.0 * 3600.0) });
            }
        }
    }

    /// Returns the time between waterings and when the last one began, in milliseconds.
    fn last_watering(&self, irrigation: &Irrigation, at: &Moment) -> (i64, i64) {
        let every = millis(irrigation.every).max(1);
        let first = self.first_watering_ms(irrigation);
        let passed = at.ms.saturating_sub(first).div_euclid(every);
        (every, first.saturating_add(passed.saturating_mul(every)))
    }

    /// Returns when the first watering after the start begins: within an hour of the plan, valve by valve.
    pub(crate) fn first_watering_ms(&self, irrigation: &Irrigation) -> i64 {
        let late = crate::maths::floor(self.trait_of(8) * 1_000_000.0);
        self.start_ms.saturating_add(millis(irrigation.first)).saturating_add(late)
    }

    fn trait_of(&self, which: i64) -> f64 {
        self.own.stream(Stream::Self_).normal(which)
    }
}

/// Bends what would be more than the pores hold; below half of it hardly anything changes.
fn filled(water: f64) -> f64 {
    let part = water / PORES;
    let fourth = part * part * part * part;
    water / (1.0 + fourth).sqrt().sqrt()
}

pub(crate) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
