//! Air of a city: particles and gases with the day of their sources and of the sun, and plumes that come by.

use std::time::Duration;

use crate::maths::{around, exp, float, floor, ramp};
use crate::moment::Moment;
use crate::noise::{Noise, Stream};
use crate::payload::Payload;
use crate::scenario::{AirPart, Episode};
use crate::soil::millis;
use crate::weather::Sky;

/// PM2.5 by the hour around its mean: most at night, when air does not rise.
const DAY_OF_PM: [f64; 24] = [
    1.09, 1.08, 1.06, 1.04, 1.01, 0.99, 0.97, 0.96, 0.97, 0.99, 0.99, 0.97, 0.95, 0.93, 0.92, 0.92,
    0.93, 0.95, 0.98, 1.02, 1.06, 1.09, 1.09, 1.09,
];
/// NO2 by the hour: after the rush hours, least in the afternoon sun.
const DAY_OF_NO2: [f64; 24] = [
    1.14, 1.11, 1.06, 1.02, 0.99, 0.99, 1.02, 1.04, 1.02, 0.98, 0.92, 0.86, 0.81, 0.78, 0.78, 0.80,
    0.86, 0.96, 1.08, 1.16, 1.20, 1.20, 1.18, 1.16,
];
/// O3 by the hour: made by the sun, eaten by the NO of the morning rush.
const DAY_OF_O3: [f64; 24] = [
    0.66, 0.63, 0.61, 0.59, 0.56, 0.52, 0.46, 0.44, 0.50, 0.65, 0.87, 1.11, 1.34, 1.54, 1.69, 1.78,
    1.80, 1.71, 1.50, 1.22, 0.98, 0.84, 0.76, 0.70,
];

/// One station.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Station<'a> {
    part: &'a AirPart,
    sky: Sky,
    /// What all stations under a sky share.
    shared: Noise,
    own: Noise,
    start_ms: i64,
}

/// One plume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Plume {
    /// When it comes, milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) began_ms: i64,
    /// How long it stays at its height, hours.
    pub(crate) stays_h: f64,
    /// What it adds to PM2.5 at its height, µg/m3.
    pub(crate) peak: f64,
}

/// Hours in which a plume comes up.
const COMES_H: f64 = 2.0;
/// Hours in which a third of it is left after it has gone.
const GOES_H: f64 = 1.4;

impl Plume {
    /// Returns when hardly anything of it is left.
    pub(crate) fn ended_ms(&self) -> i64 {
        let hours = COMES_H + self.stays_h + 3.0 * GOES_H;
        self.began_ms.saturating_add(floor(hours * 3_600_000.0))
    }

    fn adds(&self, at_ms: i64) -> f64 {
        let since = float(at_ms.saturating_sub(self.began_ms)) / 3_600_000.0;
        let gone = (since - COMES_H - self.stays_h).max(0.0);
        self.peak * ramp(since / COMES_H) * exp(-gone / GOES_H)
    }
}

/// Returns the plumes of a sky by their number, counted from the start.
pub(crate) fn plume(episode: &Episode, noise: Noise, start_ms: i64, index: i64) -> Plume {
    let noise = noise.stream(Stream::Episode);
    let planned = millis(episode.first).saturating_add(index.saturating_mul(millis(episode.every)));
    let late = floor(noise.normal(index) * 1_200_000.0);
    Plume {
        began_ms: start_ms.saturating_add(planned).saturating_add(late),
        stays_h: 2.5 + 2.0 * noise.among(1).uniform(index),
        peak: episode.peak * (0.85 + 0.3 * noise.among(2).uniform(index)),
    }
}

impl<'a> Station<'a> {
    /// Makes a station; `shared` is the same for all under a sky.
    pub(crate) const fn new(
        part: &'a AirPart,
        sky: Sky,
        (shared, own): (Noise, Noise),
        start_ms: i64,
    ) -> Self {
        Self { part, sky, shared, own, start_ms }
    }

    /// Writes what it reports: means of the hour before.
    pub(crate) fn report(&self, at: &Moment, payload: &mut Payload<'_>) {
        let air = self.sky.air(at);
        let haze = self.haze(at);
        let (plume, pm2_5) = (self.plumes(at), self.pm2_5(at, haze));
        let sensor = self.own.stream(Stream::SensorSecond);
        let varied = |which: i64, share: f64| {
            exp(share * sensor.normal(at.sample.saturating_mul(8).saturating_add(which)))
        };
        let level = exp(0.35 * haze);
        // A city with twice the particles has about half as much NO2 again.
        let no2 = 6.2 * self.part.pm2_5_median.sqrt() * level * around(&DAY_OF_NO2, at.hour());
        let no2 = (no2 + 0.12 * plume) * varied(0, 0.06);
        let sun = 0.75 + 0.35 * at.season();
        // What the haze and the NO of the traffic leave of it.
        let o3 = 62.0 * sun * around(&DAY_OF_O3, at.hour()) * exp(-0.15 * haze) * varied(1, 0.05);
        payload.number("pm2_5_ug_m3", pm2_5 + plume, 0);
        payload.number("pm10_ug_m3", (18.0 + 1.25 * pm2_5 + 1.2 * plume) * varied(2, 0.06), 0);
        payload.number("so2_ug_m3", (4.0 + 5.0 * level) * varied(3, 0.1), 0);
        payload.number("no2_ug_m3", no2, 0);
        payload.number("co_mg_m3", (0.3 + 0.009 * (pm2_5 + plume)) * varied(4, 0.06), 1);
        payload.number("o3_ug_m3", o3, 0);
        payload.number("air_temp_c", air.air_c + 0.3 * self.trait_of(1), 1);
        payload.number("rh_pct", air.rh_pct, 0);
        payload.number("dew_point_c", air.dew_point_c, 1);
        payload.number("pressure_hpa", self.sky.pressure_hpa(at), 1);
        payload.number("rain_mm", air.rain_mm, 1);
        payload.number("wind_speed_m_s", self.sky.wind_m_s(at), 1);
    }

    /// Returns how foul the air is: mean 0, variance about 1; days of it over the city, hours of it over the quarter.
    fn haze(&self, at: &Moment) -> f64 {
        let days = self.shared.stream(Stream::Haze);
        let (slow, fast) = (days.smooth(at.days() / 2.6), days.among(1).smooth(at.days() / 0.6));
        let own = self.own.stream(Stream::Gust).smooth(at.days() / 0.28);
        0.78 * slow + 0.54 * fast + 0.30 * own
    }

    fn pm2_5(&self, at: &Moment, haze: f64) -> f64 {
        // Clean air is cleaner than foul air is foul: north wind sweeps within hours.
        let bent = haze - 0.1 * haze * haze;
        let here = exp(0.08 * self.trait_of(0));
        let noise = exp(0.09 * self.own.stream(Stream::Sensor).normal(at.sample));
        let mean = self.part.pm2_5_median * exp(self.part.spread * bent) * here * noise;
        (mean * around(&DAY_OF_PM, at.hour())).clamp(1.0, 900.0)
    }

    fn plumes(&self, at: &Moment) -> f64 {
        let Some(episode) = &self.part.episode else { return 0.0 };
        let every = millis(episode.every).max(1);
        let passed = at.ms.saturating_sub(self.start_ms).saturating_sub(millis(episode.first));
        let turn = passed.div_euclid(every);
        // The next may come early, the last may still be there.
        let adds = |index| plume(episode, self.shared, self.start_ms, index).adds(at.ms);
        let all: f64 = (turn - 1..=turn + 1).map(adds).sum();
        all * exp(0.05 * self.trait_of(2))
    }

    fn trait_of(&self, which: i64) -> f64 {
        self.own.stream(Stream::Self_).normal(which)
    }
}

/// Returns the plumes whose time overlaps a span.
pub(crate) fn plumes_between(
    episode: &Episode,
    shared: Noise,
    start_ms: i64,
    (from_ms, to_ms): (i64, i64),
) -> impl Iterator<Item = Plume> {
    let every = millis(episode.every).max(1);
    let turn = move |ms: i64| {
        let passed = ms.saturating_sub(start_ms).saturating_sub(millis(episode.first));
        passed.div_euclid(every)
    };
    let longest = millis(Duration::from_hours(12));
    let first = turn(from_ms.saturating_sub(longest));
    (first - 1..=turn(to_ms) + 1)
        .map(move |index| plume(episode, shared, start_ms, index))
        .filter(move |plume| plume.began_ms <= to_ms && plume.ended_ms() >= from_ms)
}
