//! What was done to the simulated world, and when: what a rule should have seen.

use telemetry::time::EventTime;

use crate::air::plumes_between;
use crate::fleet::Fleet;
use crate::maths::floor;
use crate::moment::{DAY_MS, Moment};
use crate::place::Spot;
use crate::scenario::Kind;
use crate::soil::{Probe, millis};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TruthKind {
    /// Rain on the field; the magnitude is mm.
    Rain,
    /// A watering; the magnitude is what it adds at 10 cm, m3/m3.
    Irrigation,
    /// An incident just behind the detector; the magnitude is the share of the road's capacity that it takes.
    Incident,
    /// The queue of every working day; the magnitude as of an incident.
    Bottleneck,
    /// A plume; the magnitude is what it adds to PM2.5 at its height, µg/m3.
    Episode,
}

/// One thing that was done to one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// The device.
    pub device: String,
    /// What it was.
    pub kind: TruthKind,
    /// When it began.
    pub began_at: EventTime,
    /// When it was over, or hardly anything was left of it.
    pub ended_at: EventTime,
    /// How much.
    pub magnitude: f64,
}

impl TruthKind {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rain => "rain",
            Self::Irrigation => "irrigation",
            Self::Incident => "incident",
            Self::Bottleneck => "bottleneck",
            Self::Episode => "episode",
        }
    }
}

impl Fleet {
    /// Returns all that was done within a span and to whom, by time, then by device.
    #[must_use]
    pub fn truth(&self, from: EventTime, to: EventTime) -> Vec<Truth> {
        let mut all: Vec<Truth> =
            (0..self.len()).flat_map(|device| self.truth_of(device, from, to)).collect();
        all.sort_by(|a, b| (a.began_at, a.kind, &a.device).cmp(&(b.began_at, b.kind, &b.device)));
        all
    }

    /// Returns what was done to one device: all that lasts at a time from `from` on and begins before `to`.
    #[must_use]
    pub fn truth_of(&self, device: u32, from: EventTime, to: EventTime) -> Vec<Truth> {
        let Some(spot) = self.spot(device) else { return Vec::new() };
        let ms = |at: EventTime| at.as_nanos().div_euclid(1_000_000);
        let span = (ms(from), ms(to).saturating_sub(1));
        let mut told = Told { device: spot.device_id(), span, all: Vec::new() };
        match &spot.part.kind {
            Kind::Soil(_) => self.soil_truth(&spot, &mut told),
            Kind::Road(_) => self.road_truth(&spot, &mut told),
            Kind::Air(air) => {
                let Some(episode) = &air.episode else { return Vec::new() };
                for plume in plumes_between(episode, self.sky_noise(&spot), self.start_ms(), span) {
                    told.add(TruthKind::Episode, (plume.began_ms, plume.ended_ms()), plume.peak);
                }
            }
        }
        told.all
    }

    fn soil_truth(&self, spot: &Spot<'_>, told: &mut Told) {
        let Kind::Soil(soil) = &spot.part.kind else { return };
        let (from_ms, to_ms) = told.span;
        let sky = self.sky(spot);
        let moment = |ms| Moment::new(ms, self.scenario().utc_offset_ms, 0);
        let days = moment(from_ms.saturating_sub(DAY_MS)).day()..=moment(to_ms).day();
        for rain in days.filter_map(|day| sky.rain_on(&moment(from_ms), day)) {
            if !soil.is_covered {
                let ends = rain.began_ms.saturating_add(floor(rain.lasts_s * 1000.0));
                told.add(TruthKind::Rain, (rain.began_ms, ends), rain.mm);
            }
        }
        let Some(irrigation) = &soil.irrigation else { return };
        let first =
            Probe::new(soil, sky, self.own(spot), self.start_ms()).first_watering_ms(irrigation);
        let every = millis(irrigation.every).max(1);
        let wet_ms = 2 * 3_600_000;
        let turn = |ms: i64| ms.saturating_sub(first).div_euclid(every);
        for index in turn(from_ms.saturating_sub(wet_ms))..=turn(to_ms) {
            let began = first.saturating_add(index.saturating_mul(every));
            told.add(TruthKind::Irrigation, (began, began.saturating_add(wet_ms)), irrigation.rise);
        }
    }

    fn road_truth(&self, spot: &Spot<'_>, told: &mut Told) {
        let Kind::Road(road) = &spot.part.kind else { return };
        let (from_ms, to_ms) = told.span;
        let place = Moment::new(from_ms, self.scenario().utc_offset_ms, 0);
        let capacity = road.free_km_h * crate::incident::density(road.free_km_h);
        let from = from_ms.saturating_sub(3 * 3_600_000);
        self.incidents(spot, road).between(&place, (from, to_ms), |incident| {
            if incident.detector == spot.number {
                let ends = incident.began_ms.saturating_add(floor(incident.lasts_h * 3_600_000.0));
                let kind =
                    if incident.is_recurrent { TruthKind::Bottleneck } else { TruthKind::Incident };
                told.add(kind, (incident.began_ms, ends), 1.0 - incident.passes() / capacity);
            }
        });
    }
}

/// What has been found for one device.
struct Told {
    device: String,
    /// First and last millisecond asked for.
    span: (i64, i64),
    all: Vec<Truth>,
}

impl Told {
    fn add(&mut self, kind: TruthKind, (began_ms, ended_ms): (i64, i64), magnitude: f64) {
        let (from, to) = self.span;
        if began_ms > to || ended_ms < from {
            return;
        }
        let time = |ms: i64| EventTime::from_nanos(ms.saturating_mul(1_000_000));
        let device = self.device.clone();
        // Three decimals say all there is to say.
        let magnitude = crate::maths::float(floor(magnitude * 1000.0 + 0.5)) / 1000.0;
        self.all.push(Truth {
            device,
            kind,
            began_at: time(began_ms),
            ended_at: time(ended_ms),
            magnitude,
        });
    }
}
