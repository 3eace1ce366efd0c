//! What is remembered of one device.

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use rules::{AlertState, RuleState};
use telemetry::hash::hash64_parts;

use crate::config::ActiveConfig;
use crate::identity::Memory;
use crate::newest::Newest;

/// Index of a profile that is gone: the next uplink brings another.
pub(crate) const NO_PROFILE: u16 = u16::MAX;
/// Index of a measurement that is gone: the state is dropped once its alerts have ended.
pub(crate) const NO_MEASUREMENT: u16 = u16::MAX;
/// A time that is not there.
pub(crate) const NEVER: i64 = i64::MIN;

/// A reading without a time to be trusted, remembered for ten minutes of journal time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Untimed {
    pub(crate) sequence: i64,
    pub(crate) content: u64,
    pub(crate) received_at: i64,
}

/// Tenant, name and site in one allocation: most are shorter than what an allocation takes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Tenant, name, site.
    text: Box<str>,
    name_at: u32,
    site_at: u32,
}

impl Names {
    pub(crate) fn new(tenant: &str, name: &str, site: &str) -> Self {
        let short = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let (name_at, site_at) = (short(tenant.len()), short(tenant.len() + name.len()));
        let mut text = String::with_capacity(tenant.len() + name.len() + site.len());
        [tenant, name, site].iter().for_each(|part| text.push_str(part));
        Self { text: text.into(), name_at, site_at }
    }

    fn part(&self, from: u32, to: Option<u32>) -> &str {
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let to = to.map_or(self.text.len(), place);
        self.text.get(place(from)..to).unwrap_or_default()
    }
}

/// What few devices have, so that the others need no place for it.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Rare {
    /// `began_at` of the last silence raised, so that no two have the same.
    pub(crate) silent_from: i64,
    /// The last readings without a time.
    pub(crate) untimed: VecDeque<Untimed>,
    /// States that are not normal, by the index of the rule in its set, in that order.
    pub(crate) states: Vec<(u16, RuleState)>,
}

impl Default for Rare {
    fn default() -> Self {
        Self { silent_from: NEVER, untimed: VecDeque::new(), states: Vec::new() }
    }
}

impl Rare {
    pub(crate) fn is_empty(&self) -> bool {
        self.silent_from == NEVER && self.untimed.is_empty() && self.states.is_empty()
    }
}

/// State of one device in one measurement; a device that has two measurements has two states.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Device {
    pub(crate) names: Names,
    /// Index of the measurement in the active configuration.
    pub(crate) measurement: u16,
    /// Index of the profile that decoded it last.
    pub(crate) profile: u16,
    /// Clock of liveness: 0 all sources, else source + 1.
    pub(crate) clock: u16,
    /// Which silence deadline of this device waits in its clock's heap: see [`armed_for`]; derived.
    pub(crate) armed: u32,
    /// Which list of its shard says what rules watch this device; derived from the configuration.
    pub(crate) watching: u32,
    /// Live milliseconds of that clock when the device was last heard.
    pub(crate) heard_live_ms: u64,
    /// Journal time when it was last heard, nanoseconds; `NEVER`: not yet.
    pub(crate) heard_at: i64,
    /// `sampled_at` of the newest reading; of a device never heard, the activation.
    pub(crate) newest_at: i64,
    pub(crate) sequence: Option<i64>,
    pub(crate) newest: Newest,
    pub(crate) memory: Memory,
    pub(crate) rare: Option<Box<Rare>>,
}

impl Device {
    /// Makes a device that was never heard.
    pub(crate) fn new(
        (tenant, name, site): (&str, &str, &str),
        config: &ActiveConfig,
        profile: u16,
    ) -> Self {
        let measurement = config.place(profile).map_or(NO_MEASUREMENT, |place| place.measurement);
        let newest = Newest::new(slots(config, measurement));
        Self::in_measurement(Names::new(tenant, name, site), (measurement, profile), newest)
    }

    pub(crate) fn in_measurement(
        names: Names,
        (measurement, profile): (u16, u16),
        newest: Newest,
    ) -> Self {
        Self {
            names,
            measurement,
            profile,
            clock: 0,
            armed: NOT_ARMED,
            watching: 0,
            heard_live_ms: 0,
            heard_at: NEVER,
            newest_at: NEVER,
            sequence: None,
            newest,
            memory: Memory::default(),
            rare: None,
        }
    }

    pub(crate) fn tenant(&self) -> &str {
        self.names.part(0, Some(self.names.name_at))
    }

    pub(crate) fn name(&self) -> &str {
        self.names.part(self.names.name_at, Some(self.names.site_at))
    }

    pub(crate) fn site(&self) -> &str {
        self.names.part(self.names.site_at, None)
    }

    pub(crate) fn set_site(&mut self, site: &str) {
        if self.site() != site {
            self.names = Names::new(self.tenant(), self.name(), site);
        }
    }

    /// Returns the stable hash of the device.
    pub(crate) fn hash(&self) -> u64 {
        device_hash(self.tenant(), self.name())
    }

    /// Carries values and memory over to a measurement whose properties moved: `places[old]` is the new slot.
    pub(crate) fn rearrange(&mut self, places: &[Option<usize>], properties: usize) {
        self.newest.rearrange(places, properties);
        self.memory.rearrange(places, properties);
    }

    /// Returns what few devices have, with room for it.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn states(&self) -> &[(u16, RuleState)] {
        self.rare.as_ref().map_or(&[], |rare| &rare.states)
    }

    /// Returns the alerts of this device that stand. A state holds no other; damaged bytes may say that one has ended,
    /// which each restore would list anew.
    pub(crate) fn alerts(&self) -> impl Iterator<Item = &rules::Alert> {
        let alerts = self.states().iter().filter_map(|(_, state)| state.alert());
        alerts.filter(|alert| alert.state == AlertState::Firing)
    }

    /// Takes all states that are not normal.
    pub(crate) fn take_states(&mut self) -> Vec<(u16, RuleState)> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.states)).unwrap_or_default()
    }

    /// Returns the state of a rule, normal where none is kept.
    pub(crate) fn take_state(&mut self, rule: u16) -> RuleState {
        let Some(rare) = &mut self.rare else { return RuleState::default() };
        match rare.states.binary_search_by_key(&rule, |(known, _)| *known) {
            Ok(at) => {
                rare.states.get_mut(at).map(|(_, state)| std::mem::take(state)).unwrap_or_default()
            }
            Err(_) => RuleState::default(),
        }
    }

    /// Puts a rule's state back; a normal one needs no place.
    pub(crate) fn put_state(&mut self, rule: u16, state: RuleState) {
        if self.rare.is_none() && state.is_normal() {
            return;
        }
        let states = &mut self.rare_mut().states;
        match states.binary_search_by_key(&rule, |(known, _)| *known) {
            Ok(at) if state.is_normal() => {
                states.remove(at);
            }
            Ok(at) => {
                if let Some(slot) = states.get_mut(at) {
                    slot.1 = state;
                }
            }
            Err(_) if state.is_normal() => {}
            Err(at) => states.insert(at, (rule, state)),
        }
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }

    /// Returns since when the device is silent: its newest reading, unless a silence was raised from it already
    /// and something older came since; then when that came. A silence that lasts (`is_silent`) keeps its beginning.
    pub(crate) fn silent_since(&self, is_silent: bool) -> i64 {
        match self.rare.as_ref().map_or(NEVER, |rare| rare.silent_from) {
            NEVER => self.newest_at,
            silent_from if is_silent => silent_from,
            // Also where it was not heard since: a configuration took the rule away, and another brought it back.
            silent_from if self.newest_at <= silent_from => {
                self.heard_at.max(silent_from.saturating_add(1))
            }
            _ => self.newest_at,
        }
    }

    /// Returns whether the state of any rule is not normal.
    pub(crate) fn has_states(&self) -> bool {
        !self.states().is_empty()
    }

    /// Returns whether a rule's state is kept, that is, not normal.
    pub(crate) fn has_state(&self, rule: u16) -> bool {
        self.states().binary_search_by_key(&rule, |(known, _)| *known).is_ok()
    }

    /// Returns bytes on heap and stack.
    pub(crate) fn bytes(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| {
            size_of::<Rare>()
                + rare.untimed.capacity() * size_of::<Untimed>()
                + rare.states.capacity() * size_of::<(u16, RuleState)>()
        });
        size_of::<Self>()
            + self.names.text.len()
            + self.newest.heap_bytes()
            + self.memory.heap_bytes()
            + rare
    }
}

/// The value of [`Device::armed`] where no deadline waits.
pub(crate) const NOT_ARMED: u32 = 0;

/// Returns what marks a deadline as the one that counts; one that was set before it is outdated.
pub(crate) fn armed_for(due_ms: u64) -> u32 {
    // The low half tells those of 49 days apart.
    u32::try_from(due_ms & u64::from(u32::MAX)).map_or(1, |low| low.max(1))
}

/// Returns how many properties a measurement has.
pub(crate) fn slots(config: &ActiveConfig, measurement: u16) -> usize {
    config.measurement(measurement).map_or(0, |measurement| measurement.properties.len())
}

/// Returns the stable hash of a device.
pub(crate) fn device_hash(tenant: &str, device: &str) -> u64 {
    hash64_parts(&[tenant.as_bytes(), device.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_device_is_known() {
        assert!(size_of::<Device>() <= 192, "{}", size_of::<Device>());
    }

    #[test]
    fn names_are_told_apart() {
        let newest = Newest::new(1);
        let mut device = Device::in_measurement(Names::new("田", "d1", ""), (0, 0), newest);
        device.set_site("东");
        assert_eq!([device.tenant(), device.name(), device.site()], ["田", "d1", "东"]);
        assert_eq!(device.hash(), device_hash("田", "d1"));
    }
}
