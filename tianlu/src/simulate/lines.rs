//! Uplinks as lines: NDJSON, or the points that the pipeline makes of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use simulator::SimDevice;
use telemetry::codec::decode;
use telemetry::document::Problems;
use telemetry::line_protocol::{PointHead, Stamp, write_reading};
use telemetry::profile::Profile;
use telemetry::reading::Element;
use telemetry::time::EventTime;

use super::plan::Plan;
use super::target::{Form, PROFILE, Target, create};
use crate::cli::Output;
use crate::packs;
use crate::playback::fault::Fault;
use crate::playback::sink::Sink;

/// Devices whose names are kept ready; a larger fleet has them made for each line.
const HEADS_MAX: u32 = 100_000;

/// Lines on their way to one file, or to one for each profile.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    plan: &'a Plan,
    form: Form,
    sinks: Vec<Sink>,
    /// Which sink a profile has.
    places: BTreeMap<String, usize>,
    profiles: BTreeMap<String, Profile>,
    heads: Vec<Option<Box<Head>>>,
    payload: Vec<u8>,
    line: Vec<u8>,
}

/// What is the same in every line of a device.
#[derive(Debug, Clone)]
struct Head {
    device: SimDevice,
    /// The beginning of its JSON object.
    json: Vec<u8>,
    sink: usize,
}

impl<'a> Lines<'a> {
    /// Creates the files.
    pub(super) fn create(plan: &'a Plan, target: &Target) -> Result<Self, Fault> {
        let form = target.form();
        let parts = plan.fleet.scenario().sites.iter().flat_map(|site| &site.parts);
        let mut places: BTreeMap<String, usize> =
            parts.map(|part| (part.profile.clone(), 0)).collect();
        let profiles = match form {
            Form::Json => BTreeMap::new(),
            Form::Points => profiles(places.keys())?,
        };
        let mut sinks = Vec::new();
        match target {
            Target::File(path) if path.to_string_lossy().contains(PROFILE) => {
                for (profile, place) in &mut places {
                    *place = sinks.len();
                    let name = path.to_string_lossy().replace(PROFILE, profile);
                    sinks.push(create(Path::new(&name))?);
                }
            }
            Target::File(path) => sinks.push(create(path)?),
            Target::Stdout | Target::Broker(_) => sinks.push(Sink::create(&Output::Stdout)?),
        }
        let ready = usize::try_from(plan.fleet.len().min(HEADS_MAX)).unwrap_or(0);
        let (payload, line) = (Vec::new(), Vec::new());
        Ok(Self { plan, form, sinks, places, profiles, heads: vec![None; ready], payload, line })
    }

    /// Writes the uplink of a device.
    pub(super) fn write(&mut self, device: u32, at: EventTime) -> Result<(), Fault> {
        let Some(head) = self.head(device) else { return Ok(()) };
        self.payload.clear();
        self.plan.fleet.write_uplink(device, at, &mut self.payload);
        self.line.clear();
        match self.form {
            Form::Json => {
                self.line.extend_from_slice(&head.json);
                // The members of the uplink follow those of the head.
                self.line.extend_from_slice(self.payload.get(1..).unwrap_or_default());
            }
            Form::Points => self.point(&head, at),
        }
        let sink = head.sink;
        self.keep(device, head);
        match self.sinks.get_mut(sink) {
            Some(sink) => sink.line(&self.line),
            None => Ok(()),
        }
    }

    /// Hands everything gathered to the system.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        self.sinks.iter_mut().try_for_each(Sink::flush)
    }

    /// Ends the files.
    pub(super) fn finish(self) -> Result<(), Fault> {
        self.sinks.into_iter().try_for_each(Sink::finish)
    }

    /// Takes the head of a device out of those kept, or makes it.
    fn head(&mut self, device: u32) -> Option<Box<Head>> {
        let index = usize::try_from(device).ok()?;
        if let Some(head) = self.heads.get_mut(index).and_then(Option::take) {
            return Some(head);
        }
        let device = self.plan.fleet.device(device)?;
        let quoted = |text: &str| Value::from(text).to_string();
        let json = format!(
            "{{\"tenant\":{},\"site\":{},\"device\":{},\"profile\":{},",
            quoted(&device.tenant),
            quoted(&device.site),
            quoted(&device.device),
            quoted(&device.profile)
        );
        let sink = self.places.get(&device.profile).copied().unwrap_or_default();
        Some(Box::new(Head { device, json: json.into_bytes(), sink }))
    }

    fn keep(&mut self, device: u32, head: Box<Head>) {
        let place = usize::try_from(device).ok().and_then(|index| self.heads.get_mut(index));
        if let Some(place) = place {
            *place = Some(head);
        }
    }

    fn point(&mut self, head: &Head, at: EventTime) {
        let SimDevice { tenant, site, device, profile, .. } = &head.device;
        let Some(profile) = self.profiles.get(profile) else { return };
        let decoded = decode(profile, &self.payload);
        debug_assert!(decoded.is_ok(), "a simulated uplink is JSON: {decoded:?}");
        let stamp = Stamp { at_nanos: at.as_nanos(), flag: None, sampled_at_raw: None };
        let named = PointHead { tenant, site, device, tags: &[] };
        for element in decoded.map(|decoded| decoded.elements).unwrap_or_default() {
            if let Element::Reading(reading) = element {
                write_reading(&mut self.line, profile, &named, &reading, &stamp);
            }
        }
    }
}

/// Returns the profiles of the packs that a scenario names: points are written by them.
fn profiles<'n>(
    names: impl Iterator<Item = &'n String>,
) -> Result<BTreeMap<String, Profile>, Fault> {
    let unheard = Problems::default();
    let known: BTreeMap<String, Profile> = packs::PROFILES
        .iter()
        .filter_map(|(file, text)| Profile::parse(file, text, &unheard))
        .map(|profile| (profile.name.clone(), profile))
        .collect();
    for name in names {
        if !known.contains_key(name) {
            return Err(Fault::wrong("--to", "tianlu.simulate.profile", &[("profile", name)]));
        }
    }
    Ok(known)
}
