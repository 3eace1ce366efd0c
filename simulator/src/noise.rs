//! Chance without state: the n-th number of a stream is a function of seed, stream and n.

use crate::maths::{float, floor};

/// What a number is drawn for. Streams of one device have nothing to do with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// All that is shared under one sky.
    Sky = 1,
    /// Days with rain, and what falls.
    Rain,
    /// When in the day it rains.
    RainHour,
    /// How long it rains.
    RainLength,
    /// Warm and cold spells.
    Warmth,
    /// Clear and cloudy days.
    Cloud,
    /// Moist and dry air.
    Moisture,
    /// Wind.
    Wind,
    /// High and low pressure.
    Pressure,
    /// What sets one device apart from the others.
    Self_,
    /// The error of the sensor, first property.
    Sensor,
    /// The error of the sensor, second property.
    SensorSecond,
    /// Slow wandering of one device.
    Drift,
    /// Incidents on a road.
    Incident,
    /// Where an incident stands.
    IncidentPlace,
    /// How much of the road it takes.
    IncidentForce,
    /// Queues of every working day.
    Bottleneck,
    /// Busy and quiet days of a road.
    Demand,
    /// Busy and quiet quarters of an hour.
    Swell,
    /// Clean and foul air over days.
    Haze,
    /// Clean and foul air over hours.
    Gust,
    /// Plumes.
    Episode,
}

/// A stream of numbers, any of which can be had at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noise(u64);

/// Steps of the generator SplitMix64, and its finalizer (Steele, Lea, Flood 2014).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

const fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Noise {
    /// Begins with a seed.
    pub(crate) const fn of(seed: u64) -> Self {
        Self(mixed(seed.wrapping_add(STEP)))
    }

    /// Returns the stream of one among many: a device, a site, a sky.
    pub(crate) const fn among(self, which: u64) -> Self {
        Self(mixed(self.0 ^ which.wrapping_add(1).wrapping_mul(STEP)))
    }

    /// Returns the stream for one purpose.
    pub(crate) const fn stream(self, stream: Stream) -> Self {
        self.among(stream as u64 | 1 << 40)
    }

    const fn bits(self, index: i64) -> u64 {
        mixed(self.0.wrapping_add(index.cast_unsigned().wrapping_mul(STEP)))
    }

    /// Returns a number in 0..1, each as likely.
    pub(crate) fn uniform(self, index: i64) -> f64 {
        let bits = self.bits(index) >> 11;
        float(bits.cast_signed()) / float(1 << 53)
    }

    /// Returns a number of mean 0 and variance 1: the sum of four even ones, so that it never leaves ±3.47.
    pub(crate) fn normal(self, index: i64) -> f64 {
        let bits = self.bits(index);
        let quarters = [bits, bits >> 16, bits >> 32, bits >> 48].map(|part| part & 0xffff);
        let sum: u64 = quarters.iter().sum();
        // Four times the mean of 0..=65535; the variance of each part is 65536² / 12.
        (float(sum.cast_signed()) - 131_070.0) / 65_536.0 * 1.732_050_807_568_877_2
    }

    /// Returns a smooth curve of mean 0 and variance 1 that has forgotten itself after 1 to 2.
    pub(crate) fn smooth(self, x: f64) -> f64 {
        let below = x.floor();
        let part = x - below;
        let weight = part * part * part * (part * (part * 6.0 - 15.0) + 10.0);
        let index = floor(below);
        let (here, next) = (self.normal(index), self.normal(index + 1));
        // Without the root the curve would be flatter between its points than on them.
        let norm = ((1.0 - weight) * (1.0 - weight) + weight * weight).sqrt();
        (here * (1.0 - weight) + next * weight) / norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_variance_are_what_they_should_be() {
        let noise = Noise::of(7).stream(Stream::Rain);
        let n = 100_000;
        let of = |draw: &dyn Fn(i64) -> f64| {
            let all: Vec<f64> = (0..n).map(draw).collect();
            let mean = all.iter().sum::<f64>() / float(n);
            let variance = all.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / float(n);
            (mean, variance)
        };
        let close = |(mean, variance): (f64, f64), wanted: (f64, f64)| {
            assert!((mean - wanted.0).abs() < 0.02, "{mean} {wanted:?}");
            assert!((variance - wanted.1).abs() < 0.03, "{variance} {wanted:?}");
        };
        close(of(&|i| noise.uniform(i)), (0.5, 1.0 / 12.0));
        close(of(&|i| noise.normal(i)), (0.0, 1.0));
        close(of(&|i| noise.smooth(float(i) * 0.37)), (0.0, 1.0));
    }

    #[test]
    fn streams_of_neighbours_have_nothing_in_common() {
        let root = Noise::of(1);
        let product = |a: Noise, b: Noise| {
            (0..20_000).map(|i| a.normal(i) * b.normal(i)).sum::<f64>() / 20_000.0
        };
        for which in 0..20 {
            assert!(product(root.among(which), root.among(which + 1)).abs() < 0.04);
            let own = root.among(which);
            assert!(product(own.stream(Stream::Rain), own.stream(Stream::RainHour)).abs() < 0.04);
        }
        assert!(product(Noise::of(1), Noise::of(2)).abs() < 0.04);
    }
}
