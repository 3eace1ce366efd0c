//! Another configuration takes effect: states move over, alerts of changed rules end, registered devices appear.

use std::sync::Arc;

use telemetry::registry::Device as Registered;

use crate::config::{ActiveConfig, Measurement};
use crate::core::Pipeline;
use crate::device::{Device, NO_MEASUREMENT, NO_PROFILE, NOT_ARMED, device_hash};
use crate::intake::profile_of;
use crate::outbox::OutboxRecord;
use crate::reading::site_of;
use crate::shard::{Shard, watching_of};

/// How an old configuration's profiles and measurements stand in a new one.
#[derive(Default)]
struct Moves {
    profiles: Vec<Option<u16>>,
    measurements: Vec<Option<Move>>,
}

/// How the properties of an old measurement stand in a new one.
struct Move {
    measurement: u16,
    /// `None`: the properties stand where they stood.
    places: Option<Vec<Option<usize>>>,
    properties: usize,
}

impl Pipeline {
    /// Makes a configuration the active one. The one that is active already, as at most starts, changes nothing.
    pub(crate) fn activate(&mut self, config: &Arc<ActiveConfig>, out: &mut OutboxRecord) {
        if self.config.as_ref().is_some_and(|active| active.hash == config.hash) {
            return;
        }
        self.drop_snapshot();
        let old = self.config.replace(Arc::clone(config));
        let carried =
            old.as_ref().map(|old| old.rules.carried_into(&config.rules)).unwrap_or_default();
        let moves = old.as_ref().map(|old| moves(old, config)).unwrap_or_default();
        for shard in &mut self.shards {
            for device in &mut shard.devices {
                move_device(device, config, &moves);
            }
        }
        for place in self.in_order(Device::has_states) {
            self.carry_states(place, (config, &carried), out);
        }
        self.place_anew(config);
        self.add_registered(config);
        for shard in &mut self.shards {
            let devices = u32::try_from(shard.devices.len()).unwrap_or(u32::MAX);
            for at in 0..devices {
                shard.watch(config, at);
                shard.arm(config, at);
            }
        }
    }

    /// Puts every device into the shard of its partition key, since the registry's groups may have changed.
    pub(crate) fn place_anew(&mut self, config: &ActiveConfig) {
        let devices: Vec<Device> =
            self.shards.iter_mut().flat_map(|shard| std::mem::take(&mut shard.devices)).collect();
        self.shards.iter_mut().for_each(|shard| *shard = Shard::default());
        for mut device in devices {
            if device.measurement == NO_MEASUREMENT {
                continue;
            }
            device.armed = NOT_ARMED;
            let hash = device.hash();
            let known = config.device(device.tenant(), device.name());
            let group = known.and_then(|known| known.group.as_deref());
            let shard = self.shard_of(device.tenant(), hash, group);
            if let Some(shard) = self.shards.get_mut(shard) {
                shard.add(hash, device);
            }
        }
    }

    /// Keeps the states of rules that mean the same, ends the others.
    fn carry_states(
        &mut self,
        place: (usize, u32),
        (config, carried): (&ActiveConfig, &[Option<u16>]),
        out: &mut OutboxRecord,
    ) {
        let at = self.journal_time();
        let Some(device) = self.device_mut(place) else { return };
        let states = device.take_states();
        if states.is_empty() {
            return;
        }
        let watching = watching_of(config, device);
        let bound = config.rules.of_profile(usize::from(device.profile));
        let watched: Vec<u16> = watching
            .iter()
            .filter_map(|entry| bound.get(usize::from(*entry)))
            .map(rules::Bound::rule_index)
            .collect();
        let mut ended = Vec::new();
        for (rule, mut state) in states {
            let place = carried
                .get(usize::from(rule))
                .copied()
                .flatten()
                .filter(|rule| watched.contains(rule));
            match place {
                Some(rule) => device.put_state(rule, state),
                None => ended.extend(state.rule_changed(at)),
            }
        }
        for alert in ended {
            self.emit_or_wait(*alert, out);
        }
    }

    /// Makes registered devices known before their first uplink, so that their silence can be judged.
    fn add_registered(&mut self, config: &ActiveConfig) {
        for known in config.registry.iter() {
            let Some(profile) = profile_of(config, known) else { continue };
            let hash = device_hash(&known.tenant, &known.device);
            let shard = self.shard_of(&known.tenant, hash, known.group.as_deref());
            let (newest_at, heard_live_ms) = (self.now, self.clocks.live_ms(0));
            let Some(shard) = self.shards.get_mut(shard) else { continue };
            let measurement =
                config.place(profile).map_or(NO_MEASUREMENT, |place| place.measurement);
            if shard.find(hash, (&known.tenant, &known.device), measurement).is_some() {
                continue;
            }
            let names = (known.tenant.as_str(), known.device.as_str(), site_of(Some(known), None));
            let device = Device::new(names, config, profile);
            shard.add(hash, Device { newest_at, heard_live_ms, ..device });
        }
    }

    /// Notes the profile that decodes a device now; its rules watch from here on.
    pub(crate) fn settle(&mut self, config: &ActiveConfig, place: (usize, u32), profile: u16) {
        let Some(device) = self.device_mut(place).filter(|device| device.profile != profile) else {
            return;
        };
        device.profile = profile;
        // The interval, and so the silence deadline, is the profile's.
        device.armed = NOT_ARMED;
        self.watch(config, place);
        // Also where what it says now has no value, and so is not heard.
        self.arm(config, place);
    }

    /// Gives a device the list of rules that watch it.
    pub(crate) fn watch(&mut self, config: &ActiveConfig, place: (usize, u32)) {
        if let Some(shard) = self.shards.get_mut(place.0) {
            shard.watch(config, place.1);
        }
    }
}

fn moves(old: &ActiveConfig, config: &ActiveConfig) -> Moves {
    let measurement = |old: &Measurement| {
        let at = config.measurements.iter().position(|new| new.name == old.name)?;
        let new = config.measurements.get(at)?;
        let place = |name: &String| new.properties.iter().position(|known| known == name);
        let places =
            (old.properties != new.properties).then(|| old.properties.iter().map(place).collect());
        Some(Move {
            measurement: u16::try_from(at).ok()?,
            places,
            properties: new.properties.len(),
        })
    };
    Moves {
        profiles: old.profiles.iter().map(|profile| config.profile_index(&profile.name)).collect(),
        measurements: old.measurements.iter().map(measurement).collect(),
    }
}

fn move_device(device: &mut Device, config: &ActiveConfig, moves: &Moves) {
    let known: Option<&Registered> = config.device(device.tenant(), device.name());
    if let Some(site) = known.and_then(|known| known.site.as_deref()) {
        device.set_site(site);
    }
    device.profile =
        moves.profiles.get(usize::from(device.profile)).copied().flatten().unwrap_or(NO_PROFILE);
    match moves.measurements.get(usize::from(device.measurement)).and_then(Option::as_ref) {
        Some(moved) => {
            device.measurement = moved.measurement;
            if let Some(places) = &moved.places {
                device.rearrange(places, moved.properties);
            }
        }
        None => device.measurement = NO_MEASUREMENT,
    }
    // The registry's profile beats the topic's: a state of another measurement will never be heard again.
    if let Some(profile) = known.and_then(|known| profile_of(config, known)) {
        device.profile = profile;
        let measurement = config.place(profile).map_or(NO_MEASUREMENT, |place| place.measurement);
        if measurement != device.measurement {
            (device.measurement, device.profile) = (NO_MEASUREMENT, NO_PROFILE);
        }
    }
    // A profile may have moved to another measurement.
    let is_at_home =
        config.place(device.profile).is_some_and(|place| place.measurement == device.measurement);
    if !is_at_home {
        device.profile = NO_PROFILE;
    }
}
