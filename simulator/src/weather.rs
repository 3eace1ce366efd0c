//! The weather under one sky: temperature, moisture of the air, rain, wind, pressure.

use crate::maths::{around, cos, float, ramp};
use crate::moment::{DAY_S, Moment};
use crate::noise::{Noise, Stream};
use crate::scenario::Climate;

/// The air of a day by the hour, -1 to 1: warmest at 15, coldest before sunrise.
const DAY_OF_AIR: [f64; 24] = [
    -0.52, -0.61, -0.70, -0.79, -0.88, -0.97, -1.0, -0.85, -0.50, -0.08, 0.32, 0.62, 0.82, 0.94,
    1.0, 1.0, 0.90, 0.68, 0.40, 0.14, -0.07, -0.22, -0.33, -0.43,
];
/// Hour at which sun-warmed air is at its mean on the way up.
const SOIL_NOON_H: f64 = 15.0;

/// One fall of rain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rain {
    /// When it begins, milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) began_ms: i64,
    /// How long it lasts, in seconds.
    pub(crate) lasts_s: f64,
    /// How much falls.
    pub(crate) mm: f64,
}

/// Air at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Air {
    /// Its temperature, °C.
    pub(crate) air_c: f64,
    /// Its dew point, °C.
    pub(crate) dew_point_c: f64,
    /// Its relative humidity, %.
    pub(crate) rh_pct: f64,
    /// Rain of the hour before, mm.
    pub(crate) rain_mm: f64,
}

/// The weather of a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sky {
    climate: Climate,
    rainy: Noise,
    rain_hour: Noise,
    rain_length: Noise,
    rain: Noise,
    warmth: Noise,
    cloud: Noise,
    moisture: Noise,
    wind: Noise,
    pressure: Noise,
}

impl Sky {
    /// Makes the weather of a place.
    pub(crate) const fn new(climate: Climate, noise: Noise) -> Self {
        let noise = noise.stream(Stream::Sky);
        let rain = noise.stream(Stream::Rain);
        Self {
            climate,
            rainy: rain,
            rain: rain.among(1),
            rain_hour: noise.stream(Stream::RainHour),
            rain_length: noise.stream(Stream::RainLength),
            warmth: noise.stream(Stream::Warmth),
            cloud: noise.stream(Stream::Cloud),
            moisture: noise.stream(Stream::Moisture),
            wind: noise.stream(Stream::Wind),
            pressure: noise.stream(Stream::Pressure),
        }
    }

    /// Returns the rain that begins on a day of the place, if any does.
    pub(crate) fn rain_on(&self, at: &Moment, day: i64) -> Option<Rain> {
        if self.rainy.uniform(day) >= self.climate.rainy {
            return None;
        }
        let began_s = self.rain_hour.uniform(day) * DAY_S;
        let began_ms = at.day_began_ms(day).saturating_add(crate::maths::floor(began_s * 1000.0));
        // Short and heavy, or long and light; many small ones, few large ones: the mean of the square is 1/3.
        let lasts_s = 3600.0 * (1.0 + 4.0 * self.rain_length.uniform(day));
        let much = self.rain.uniform(day);
        let mm = self.climate.rain_mm * (0.2 + 2.4 * much * much);
        Some(Rain { began_ms, lasts_s, mm })
    }

    /// Returns how much rain has fallen in the hour before.
    fn rain_last_hour(&self, at: &Moment) -> f64 {
        let fallen = |day: i64| {
            self.rain_on(at, day).map_or(0.0, |rain| {
                let since = float(at.ms - rain.began_ms) / 1000.0;
                let part = |s: f64| (s / rain.lasts_s).clamp(0.0, 1.0);
                rain.mm * (part(since) - part(since - 3600.0))
            })
        };
        fallen(at.day()) + fallen(at.day() - 1)
    }

    /// Returns the air.
    pub(crate) fn air(&self, at: &Moment) -> Air {
        let days = at.days();
        let season = self.climate.mean_c + self.climate.annual_c * at.season();
        // The mean of the day, around which the temperature swings: less under clouds.
        let level = season + 2.4 * self.warmth.smooth(days / 2.5);
        let clear = ramp(0.5 + 0.3 * self.cloud.smooth(days / 1.3));
        let swing = self.climate.daily_c * (0.45 + 1.1 * clear);
        let air_c = level + swing * around(&DAY_OF_AIR, at.hour());
        let rain_mm = self.rain_last_hour(at);
        let dry = 0.75 * swing + 4.0 - 3.0 * self.moisture.smooth(days / 1.1);
        let dry = if rain_mm > 0.0 { dry * 0.4 } else { dry };
        let dew_point_c = (level - dry.max(0.5)).min(air_c - 0.3);
        // Falls 5 to 6 % for each degree between air and dew point (Lawrence 2005), less so where it is low.
        let rh_pct = (100.0 * crate::maths::exp(-0.06 * (air_c - dew_point_c))).clamp(5.0, 100.0);
        Air { air_c, dew_point_c, rh_pct, rain_mm }
    }

    /// Returns the soil temperature at a depth, °C: the swing of the day is damped and late there.
    ///
    /// A wave of one day falls to e^-1 over about 12 cm of loam, and comes late by one radian for that.
    pub(crate) fn soil_c(&self, at: &Moment, depth_cm: f64) -> f64 {
        let depths = depth_cm / 12.0;
        // The surface under a crop swings less than half as far as the air.
        let swing = 0.4 * self.climate.daily_c * crate::maths::exp(-depths);
        let late_h = depths * 24.0 / (2.0 * std::f64::consts::PI);
        let spell = 0.6 * self.warmth.smooth(at.days() / 2.5 - depths * 0.2);
        let season = self.climate.mean_c + 1.0 + 0.93 * self.climate.annual_c * at.season();
        season + 2.4 * spell + swing * cos((at.hour() - SOIL_NOON_H - late_h) / 24.0)
    }

    /// Returns the wind speed, m/s.
    pub(crate) fn wind_m_s(&self, at: &Moment) -> f64 {
        let gusts = 0.7 * self.wind.smooth(at.days() * 2.0)
            + 0.7 * self.wind.among(1).smooth(at.days() * 9.0);
        let by_day = 1.0 + 0.35 * around(&DAY_OF_AIR, at.hour());
        1.9 * by_day * crate::maths::exp(0.45 * gusts)
    }

    /// Returns the pressure at the ground, hPa.
    pub(crate) fn pressure_hpa(&self, at: &Moment) -> f64 {
        1012.0 - 0.55 * self.climate.annual_c * at.season()
            + 4.0 * self.pressure.smooth(at.days() / 2.0)
    }
}
