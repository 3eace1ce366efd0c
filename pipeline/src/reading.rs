//! Stage 2, keyed by device: time policy, identity, quality, the point, and on to the rules.

use smallvec::SmallVec;
use telemetry::flag::ValueFlags;
use telemetry::line_protocol::{PointHead, Stamp, write_reading};
use telemetry::profile::Profile;
use telemetry::reading::{Observation, Reading};
use telemetry::registry::Device as Registered;
use telemetry::time::EventTime;
use telemetry::topic::is_name;

use crate::account::Reason;
use crate::clock::clock_of;
use crate::config::UnknownDevice;
use crate::core::Pipeline;
use crate::device::{Device, NO_MEASUREMENT, NOT_ARMED, device_hash};
use crate::intake::{Context, Fault, SITE, marker};
use crate::newest::Draft;
use crate::outbox::{EntryKind, OutboxRecord};
use crate::repeat::{Fate, timed_fate, untimed_fate};
use crate::time_policy::judge_time;

/// A device and what the registry says of it.
pub(crate) struct Owner<'a> {
    pub(crate) place: (usize, u32),
    pub(crate) known: Option<&'a Registered>,
}

impl Pipeline {
    /// Takes one reading: exactly one of point, dead letter, duplicate comes of it.
    pub(crate) fn take_reading(
        &mut self,
        ctx: &mut Context<'_>,
        index: u32,
        reading: &mut Reading,
        out: &mut OutboxRecord,
    ) {
        let own = reading.device.take();
        let name = own.as_deref().or(ctx.device).unwrap_or_default();
        if !is_name(name) {
            let detail = "it names no device".into();
            let fault = Fault { reason: Reason::BadElement, detail, device: "" };
            return self.set_reading_aside(ctx, index, fault, out);
        }
        let Some(profile) = ctx.config.profile(ctx.profile) else { return };
        let owner = match self.owner_of(ctx, name) {
            Ok(owner) => owner,
            Err(detail) => {
                let detail = detail.into();
                let fault = Fault { reason: Reason::UnknownDevice, detail, device: name };
                return self.set_reading_aside(ctx, index, fault, out);
            }
        };
        let stamp = stamp_of(profile, reading, ctx);
        self.count_gaps(&owner, reading);
        if reading.observations.iter().all(|seen| seen.value.is_none()) {
            let detail = "no property has a value".into();
            let fault = Fault { reason: Reason::NoValue, detail, device: name };
            return self.set_reading_aside(ctx, index, fault, out);
        }
        match self.fate(ctx, &owner, reading, &stamp) {
            Fate::Duplicate => {
                self.account.readings_duplicate += 1;
                out.push(marker(EntryKind::Duplicate, ctx.is_redriven(), index));
            }
            Fate::Conflict(property) => {
                let measurement = ctx
                    .config
                    .place(ctx.profile)
                    .and_then(|at| ctx.config.measurement(at.measurement));
                let property = measurement
                    .and_then(|known| known.properties.get(property))
                    .map_or("", |name| name);
                let at = EventTime::from_nanos(stamp.at_nanos);
                let detail =
                    format!("`{property}` has another value at {at}; the first stays").into();
                self.set_reading_aside(
                    ctx,
                    index,
                    Fault { reason: Reason::TimeConflict, detail, device: name },
                    out,
                );
            }
            Fate::News => self.keep(ctx, &owner, (index, reading, stamp, &[]), out),
            Fate::More(known) => {
                // A value that is there already is not missing, whatever this reading lacks.
                reading.observations.retain(|one| {
                    let is_known = ctx.slot(one.property).and_then(|slot| known.get(slot).copied());
                    one.value.is_some() || is_known != Some(true)
                });
                // What the store refused is not there, so it is told whole.
                let told = if ctx.was_refused() { &[] } else { known.as_slice() };
                self.keep(ctx, &owner, (index, reading, stamp, told), out);
            }
        }
    }

    /// Finds the device, or makes room for it. The error says why it stays unknown.
    fn owner_of<'a>(&mut self, ctx: &Context<'a>, name: &str) -> Result<Owner<'a>, &'static str> {
        let known = ctx.config.device(ctx.tenant, name);
        if known.is_none() && ctx.config.unknown == UnknownDevice::Quarantine {
            return Err("not in the registry");
        }
        let hash = device_hash(ctx.tenant, name);
        let shard = self.shard_of(ctx.tenant, hash, known.and_then(|known| known.group.as_deref()));
        let measurement =
            ctx.config.place(ctx.profile).map_or(NO_MEASUREMENT, |place| place.measurement);
        let found = self
            .shards
            .get(shard)
            .and_then(|held| held.find(hash, (ctx.tenant, name), measurement));
        if let Some(at) = found {
            self.settle(ctx.config, (shard, at), ctx.profile);
            return Ok(Owner { place: (shard, at), known });
        }
        if known.is_none() && self.is_full() {
            return Err("not in the registry, and the table of devices is full");
        }
        let device =
            Device::new((ctx.tenant, name, site_of(known, ctx.site)), ctx.config, ctx.profile);
        // Also one that is known by a redrive alone: it could not be heard before.
        let device = Device { heard_live_ms: self.clocks.live_ms(0), ..device };
        let place = (shard, self.shards.get_mut(shard).map_or(0, |held| held.add(hash, device)));
        self.watch(ctx.config, place);
        Ok(Owner { place, known })
    }

    /// Counts gaps of the device's sequence.
    fn count_gaps(&mut self, owner: &Owner<'_>, reading: &Reading) {
        let Some(sequence) = reading.sequence else { return };
        let Some(device) = self.device_mut(owner.place) else { return };
        let expected = device.sequence.replace(sequence).and_then(|last| last.checked_add(1));
        let gap = expected
            .map_or(0, |expected| u64::try_from(sequence.saturating_sub(expected)).unwrap_or(0));
        // More than a day of 30 s readings at once is a reset, not a gap.
        self.account.sequence_gaps += if gap > 2880 { 0 } else { gap };
    }

    /// Notes that the device gave data: its silence begins anew.
    fn hear(&mut self, ctx: &Context<'_>, place: (usize, u32)) {
        // A redrive is nothing that the device has just said.
        if ctx.redrive.is_some() {
            if self.device(place).is_some_and(|device| device.armed == NOT_ARMED) {
                self.arm(ctx.config, place);
            }
            return;
        }
        if let Some(device) = self.device_mut(place) {
            device.heard_at = ctx.uplink.received_at.as_nanos();
        }
        self.restart_silence(place, clock_of(ctx.uplink.source));
    }

    /// Asks the memory what the reading is, and remembers it.
    fn fate(
        &mut self,
        ctx: &Context<'_>,
        owner: &Owner<'_>,
        reading: &Reading,
        stamp: &Stamp,
    ) -> Fate {
        let mut seen = std::mem::take(&mut self.scratch.seen);
        let slots = self.device(owner.place).map_or(0, |device| device.newest.slots());
        let valued = reading
            .observations
            .iter()
            .filter_map(|one| Some((ctx.slot(one.property)?, one.value.as_ref()?)));
        seen.take(slots, valued);
        let most = ctx.config.identity_memory;
        let replaces = ctx.was_refused();
        let fate = match self.device_mut(owner.place) {
            Some(device) if stamp.flag.is_none() => {
                timed_fate(device, stamp.at_nanos, &seen, (most, replaces))
            }
            Some(device) => {
                let uplink = (most, replaces, ctx.uplink.received_at);
                untimed_fate(device, reading.sequence, &seen, uplink)
            }
            None => Fate::News,
        };
        self.scratch.seen = seen;
        fate
    }

    /// Keeps a reading: flags, point, rules. `told`: by slot, which of its values have been told before.
    fn keep(
        &mut self,
        ctx: &mut Context<'_>,
        owner: &Owner<'_>,
        (index, reading, stamp, told): (u32, &mut Reading, Stamp, &[bool]),
        out: &mut OutboxRecord,
    ) {
        let Some(profile) = ctx.config.profile(ctx.profile) else { return };
        let mut values = std::mem::take(&mut self.scratch.values);
        values.clear();
        values.resize(profile.properties.len(), None);
        let late = self.note(ctx, owner, (reading, stamp.at_nanos, told), &mut values);
        self.hear(ctx, owner.place);
        self.account.late += late;
        self.account.points += 1;
        if let Some(device) = self.device(owner.place) {
            let tags = tags_of(profile, reading, owner.known);
            let head = PointHead {
                tenant: device.tenant(),
                site: device.site(),
                device: device.name(),
                tags: &tags,
            };
            out.push_with(EntryKind::Point, ctx.is_redriven(), index, |bytes| {
                let has_value = write_reading(bytes, profile, &head, reading, &stamp);
                debug_assert!(has_value, "a reading without a value was set aside before");
            });
        }
        // What the store refused had been judged when it came.
        if !ctx.was_refused() {
            let seen = (index, EventTime::from_nanos(stamp.at_nanos), values.as_slice());
            if ctx.alerts_wait {
                let mut alerts = std::mem::take(&mut self.scratch.alerts);
                self.judge(ctx, owner, seen, &mut alerts);
                self.scratch.alerts = alerts;
            } else {
                self.judge(ctx, owner, seen, out);
            }
        }
        self.scratch.values = values;
    }

    /// Notes the good values of a reading as the newest and hands them to the rules; returns how many are late.
    fn note(
        &mut self,
        ctx: &Context<'_>,
        owner: &Owner<'_>,
        (reading, at, told): (&mut Reading, i64, &[bool]),
        values: &mut [Option<f64>],
    ) -> u64 {
        let mut draft = std::mem::take(&mut self.scratch.newest);
        let seen = std::mem::take(&mut self.scratch.seen);
        let mut late = 0;
        if let Some(device) = self.device_mut(owner.place) {
            // No value of the device is newer than its newest reading, so none of this one is late.
            let is_renewed = at >= device.newest_at
                && all_good(reading)
                && device.newest.renew(&mut draft, at, &seen);
            if !is_renewed {
                device.newest.change(&mut draft, |newest| {
                    late = flag_and_note(ctx, newest, (reading, at, told));
                });
            }
            device.newest_at = device.newest_at.max(at);
            hand_over(ctx, reading, device.newest.slots(), values);
        }
        (self.scratch.newest, self.scratch.seen) = (draft, seen);
        late
    }
}

/// Returns whether every value there is is good.
fn all_good(reading: &Reading) -> bool {
    let is_good = |seen: &Observation| seen.value.is_none() || seen.flags.is_good();
    reading.observations.iter().all(is_good)
}

/// Hands the good values to the rules, by property.
fn hand_over(ctx: &Context<'_>, reading: &Reading, slots: usize, values: &mut [Option<f64>]) {
    for seen in reading.observations.iter().filter(|seen| seen.flags.is_good()) {
        let is_placed = ctx.slot(seen.property).is_some_and(|slot| slot < slots);
        let value = seen.value.as_ref().filter(|_| is_placed);
        if let (Some(value), Some(place)) = (value, values.get_mut(usize::from(seen.property))) {
            *place = value.as_number();
        }
    }
}

/// Adds the flag `late` and notes good values as the newest; returns how many are late.
///
/// One that has been told before is left out rather than flagged: it may have been in time when it was told first,
/// and the point that says so stands.
fn flag_and_note(
    ctx: &Context<'_>,
    newest: &mut Draft,
    (reading, at, told): (&mut Reading, i64, &[bool]),
) -> u64 {
    let mut late = 0;
    reading.observations.retain(|seen| {
        let Some(place) = ctx.slot(seen.property).filter(|slot| newest.has(*slot)) else {
            return true;
        };
        if seen.value.is_some() && at < newest.at(place) {
            if told.get(place) == Some(&true) {
                return false;
            }
            seen.flags = seen.flags.with(ValueFlags::LATE);
            late += 1;
        }
        if let Some(value) = seen.value.as_ref().filter(|_| seen.flags.is_good()) {
            newest.set(place, at, value);
        }
        true
    });
    late
}

/// Applies the time policy: where the point stands, and what is wrong with its time.
fn stamp_of(profile: &Profile, reading: &Reading, ctx: &Context<'_>) -> Stamp {
    let received_at = ctx.uplink.received_at;
    match judge_time(&profile.time, reading.sampled_at, received_at) {
        Ok(at) => Stamp { at_nanos: at.as_nanos(), flag: None, sampled_at_raw: None },
        Err(flag) => Stamp {
            at_nanos: received_at.as_nanos().saturating_add(ctx.before),
            flag: Some(flag),
            sampled_at_raw: reading.sampled_at.map(EventTime::as_nanos),
        },
    }
}

/// Returns the site: the registry's, else the topic's.
pub(crate) fn site_of<'a>(known: Option<&'a Registered>, topic: Option<&'a str>) -> &'a str {
    known.and_then(|known| known.site.as_deref()).or(topic).unwrap_or(SITE)
}

/// Returns the profile's tags: what the payload says, else the registry's column of that name.
fn tags_of<'a>(
    profile: &'a Profile,
    reading: &'a Reading,
    known: Option<&'a Registered>,
) -> SmallVec<[(&'a str, &'a str); 4]> {
    let mut tags = SmallVec::new();
    for (index, tag) in (0_u16..).zip(&profile.tags) {
        let said = reading.tags.iter().find(|(at, _)| *at == index).map(|(_, value)| &**value);
        let column = || known.and_then(|known| known.columns.get(&tag.name)).map(String::as_str);
        if let Some(value) = said.or_else(column) {
            tags.push((tag.name.as_str(), value));
        }
    }
    tags.sort_unstable();
    tags
}
