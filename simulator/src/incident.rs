//! Incidents and bottlenecks of a road, after the kinematic wave of Lighthill, Whitham and Richards on a triangular
//! fundamental diagram (Newell 1993): where the road passes less than comes, a queue grows against the traffic,
//! and from the end of the incident on it is eaten up from its head.

use std::time::Duration;

use crate::maths::{float, floor};
use crate::moment::{DAY_MS, Moment, is_weekend};
use crate::noise::{Noise, Stream};
use crate::soil::millis;

/// Speed at which a queue's head moves against the traffic, km/h.
pub(crate) const WAVE_KM_H: f64 = 18.0;
/// Vehicles that stand on a kilometre of a lane in a jam.
pub(crate) const JAM_VEH_PER_KM: f64 = 140.0;
/// The fastest that a queue's tail grows, km/h: it must stay behind the head for the queue to end.
const GROWTH_MAX_KM_H: f64 = 12.0;
/// Nothing is left of an incident after so long.
const LASTS_MAX_H: f64 = 3.0;
/// Road before an incident on which everybody slows down, km.
const SLOW_KM: f64 = 0.6;

/// Something that takes a part of the road for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Incident {
    /// When it begins, milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) began_ms: i64,
    /// How long the road is narrow, hours.
    pub(crate) lasts_h: f64,
    /// The detector before it.
    pub(crate) detector: u32,
    /// Speed of the vehicles that squeeze by, km/h.
    pub(crate) speed_km_h: f64,
    /// Whether it comes every working day.
    pub(crate) is_recurrent: bool,
}

/// What incidents make of one place at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// Nothing.
    Free,
    /// Vehicles pass slowly, as many as come.
    Slow {
        /// Their speed, km/h.
        speed: f64,
    },
    /// A queue.
    Queue {
        /// What passes, veh/h on a lane.
        flow: f64,
        /// Its speed, km/h.
        speed: f64,
    },
    /// Behind the head of the queue: as many as the road carries.
    Discharge,
    /// After the incident: no more than passed it.
    Thinned {
        /// What passes, veh/h on a lane.
        flow: f64,
    },
}

impl Incident {
    /// Returns what passes, veh/h on a lane: the flow of the diagram's congested branch at that speed.
    pub(crate) fn passes(&self) -> f64 {
        self.speed_km_h * density(self.speed_km_h)
    }

    /// Returns what it makes of a place `before_km` before it (negative: after it), where `demand` arrives.
    pub(crate) fn effect(
        &self,
        at_ms: i64,
        before_km: f64,
        (demand, free_km_h): (f64, f64),
    ) -> Effect {
        let since = float(at_ms.saturating_sub(self.began_ms)) / 3_600_000.0;
        if !(0.0..LASTS_MAX_H).contains(&since) {
            return Effect::Free;
        }
        let passes = self.passes();
        let queue = density(self.speed_km_h) - demand / free_km_h;
        // How fast the tail of the queue moves against the traffic.
        let growth = ((demand - passes) / queue.max(1.0)).clamp(0.0, GROWTH_MAX_KM_H);
        let ends = self.lasts_h + growth * self.lasts_h / (WAVE_KM_H - growth);
        if before_km < 0.0 {
            return self.after(since, (-before_km / free_km_h, ends), growth > 0.0);
        }
        let leaves = self.lasts_h + before_km / WAVE_KM_H;
        if growth > 0.0 && before_km / growth < leaves {
            if since >= before_km / growth && since < leaves {
                return Effect::Queue { flow: passes, speed: self.speed_km_h };
            }
            if since >= leaves && since < ends {
                return Effect::Discharge;
            }
        }
        let is_slow = before_km <= SLOW_KM && since < self.lasts_h;
        if is_slow { Effect::Slow { speed: self.speed_km_h } } else { Effect::Free }
    }

    fn after(&self, since: f64, (travel, ends): (f64, f64), is_queued: bool) -> Effect {
        let seen = since - travel;
        if !is_queued || seen < 0.0 || seen >= ends {
            Effect::Free
        } else if seen < self.lasts_h {
            Effect::Thinned { flow: self.passes() }
        } else {
            Effect::Discharge
        }
    }
}

/// Returns the vehicles on a kilometre of a lane in a queue of that speed.
pub(crate) fn density(speed_km_h: f64) -> f64 {
    WAVE_KM_H * JAM_VEH_PER_KM / (WAVE_KM_H + speed_km_h)
}

/// All incidents of a road, each found by its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incidents {
    /// Mean time between two, milliseconds; 0: none.
    every_ms: i64,
    has_bottleneck: bool,
    detectors: u32,
    noise: Noise,
    bottleneck: Noise,
    start_ms: i64,
}

impl Incidents {
    /// Makes the incidents of a road with so many detectors.
    pub(crate) fn new(
        (every, has_bottleneck): (Option<Duration>, bool),
        detectors: u32,
        noise: Noise,
        start_ms: i64,
    ) -> Self {
        let every_ms = every.map_or(0, millis);
        let (noise, bottleneck) =
            (noise.stream(Stream::Incident), noise.stream(Stream::Bottleneck));
        Self { every_ms, has_bottleneck, detectors, noise, bottleneck, start_ms }
    }

    /// Calls `each` for every incident that may still be felt.
    pub(crate) fn felt(&self, at: &Moment, each: impl FnMut(&Incident)) {
        let back = floor(LASTS_MAX_H * 3_600_000.0);
        self.between(at, (at.ms.saturating_sub(back), at.ms), each);
    }

    /// Calls `each` for every incident that begins within a span, ends included.
    pub(crate) fn between(
        &self,
        place: &Moment,
        (from_ms, to_ms): (i64, i64),
        mut each: impl FnMut(&Incident),
    ) {
        let mut tell = |incident: Incident| {
            if (from_ms..=to_ms).contains(&incident.began_ms) {
                each(&incident);
            }
        };
        if self.every_ms > 0 {
            let turn = |ms: i64| ms.saturating_sub(self.start_ms).div_euclid(self.every_ms);
            // One begins in the first half of each turn.
            (turn(from_ms)..=turn(to_ms)).for_each(|index| tell(self.incident(index)));
        }
        if self.has_bottleneck {
            let offset = place.ms.saturating_sub(place.day_began_ms(0)).saturating_sub(place.ms);
            let day = |ms: i64| ms.saturating_add(offset).div_euclid(DAY_MS);
            for day in (day(from_ms)..=day(to_ms)).filter(|day| !is_weekend(*day)) {
                let began = place.day_began_ms(day);
                tell(self.rush(began, 7.4, day * 2));
                tell(self.rush(began, 17.2, day * 2 + 1));
            }
        }
    }

    fn incident(&self, index: i64) -> Incident {
        let begins = 0.5 * self.noise.uniform(index) * float(self.every_ms);
        let turn = self.start_ms.saturating_add(index.saturating_mul(self.every_ms));
        let force = self.noise.stream(Stream::IncidentForce);
        let place = self.noise.stream(Stream::IncidentPlace).uniform(index);
        Incident {
            began_ms: turn.saturating_add(floor(begins)),
            lasts_h: 0.33 + 0.3 * force.uniform(index * 2),
            detector: self.detector(place),
            speed_km_h: 9.0 + 34.0 * force.uniform(index * 2 + 1),
            is_recurrent: false,
        }
    }

    fn rush(&self, day_began_ms: i64, hour: f64, index: i64) -> Incident {
        let late = 0.2 * self.bottleneck.normal(index);
        Incident {
            began_ms: day_began_ms.saturating_add(floor((hour + late) * 3_600_000.0)),
            lasts_h: 1.0 + 0.3 * self.bottleneck.uniform(index),
            // Two thirds down the road, always at the same place.
            detector: self.detector(0.66),
            speed_km_h: 24.0 + 10.0 * self.bottleneck.among(1).uniform(index),
            is_recurrent: true,
        }
    }

    fn detector(&self, share: f64) -> u32 {
        let most = self.detectors.saturating_sub(1);
        u32::try_from(floor(share * f64::from(self.detectors))).unwrap_or(0).min(most)
    }
}
