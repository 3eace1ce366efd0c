//! What is remembered of one device, and the shards that hold the devices.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use bincode::{BorrowDecode, Decode, Encode};
use hashbrown::HashTable;
use rules::RuleState;
use telemetry::hash::hash64_parts;
use telemetry::reading::Value;

use crate::config::ActiveConfig;
use crate::identity::Memory;

/// Index of a profile that is gone: the next uplink brings another.
pub(crate) const NO_PROFILE: u16 = u16::MAX;
/// Index of a measurement that is gone: the state is dropped once its alerts have ended.
pub(crate) const NO_MEASUREMENT: u16 = u16::MAX;
/// A time that is not there.
pub(crate) const NEVER: i64 = i64::MIN;

/// The newest good value of a property.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Latest {
    /// Its `sampled_at`, nanoseconds; `i64::MIN`: none yet.
    pub at_nanos: i64,
    /// The value.
    pub value: Option<Value>,
}

impl Latest {
    const NONE: Self = Self { at_nanos: NEVER, value: None };
}

/// A reading without a time to be trusted, remembered for ten minutes of journal time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Untimed {
    pub(crate) sequence: i64,
    pub(crate) content: u64,
    pub(crate) received_at: i64,
}

/// State of one device in one measurement; a device that has two measurements has two states.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(crate) struct Device {
    pub(crate) tenant: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) site: Box<str>,
    /// Index of the measurement in the active configuration.
    pub(crate) measurement: u16,
    /// Index of the profile that decoded it last.
    pub(crate) profile: u16,
    /// Clock of liveness: 0 all sources, else source + 1.
    pub(crate) clock: u16,
    /// Live milliseconds of that clock when the device was last heard.
    pub(crate) heard_live_ms: u64,
    /// Journal time when it was last heard, nanoseconds; `NEVER`: not yet.
    pub(crate) heard_at: i64,
    /// `sampled_at` of the newest reading; of a device never heard, the activation.
    pub(crate) newest_at: i64,
    /// `began_at` of the last silence raised, so that no two have the same.
    pub(crate) silent_from: i64,
    pub(crate) sequence: Option<i64>,
    /// Position of the last uplink that brought readings, and how many: untrusted times are told apart by it.
    pub(crate) last_position: u64,
    pub(crate) in_position: u32,
    /// By slot of the property in the measurement.
    pub(crate) latest: Vec<Latest>,
    pub(crate) memory: Memory,
    pub(crate) untimed: VecDeque<Untimed>,
    /// States that are not normal, by the index of the rule in its set, in that order.
    pub(crate) states: Vec<(u16, RuleState)>,
    /// Entries of the profile's bound rules that watch this device; derived from the configuration.
    pub(crate) watching: Watching,
    /// Whether a silence deadline of this device waits in its clock's heap; derived.
    pub(crate) is_armed: bool,
}

/// A list shared by all devices with the same scope; not part of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Watching(pub(crate) Option<Arc<[u16]>>);

impl Encode for Watching {
    fn encode<E: bincode::enc::Encoder>(
        &self,
        _: &mut E,
    ) -> Result<(), bincode::error::EncodeError> {
        Ok(())
    }
}

impl<C> Decode<C> for Watching {
    fn decode<D: bincode::de::Decoder<Context = C>>(
        _: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self::default())
    }
}

impl<'de, C> BorrowDecode<'de, C> for Watching {
    fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
        _: &mut D,
    ) -> Result<Self, bincode::error::DecodeError> {
        Ok(Self::default())
    }
}

impl Device {
    /// Makes a device that was never heard.
    pub(crate) fn new(
        (tenant, name, site): (&str, &str, &str),
        config: &ActiveConfig,
        profile: u16,
    ) -> Self {
        let measurement = config.place(profile).map_or(NO_MEASUREMENT, |place| place.measurement);
        Self::in_measurement((tenant, name, site), measurement, slots(config, measurement), profile)
    }

    fn in_measurement(
        (tenant, name, site): (&str, &str, &str),
        measurement: u16,
        slots: usize,
        profile: u16,
    ) -> Self {
        Self {
            tenant: tenant.into(),
            name: name.into(),
            site: site.into(),
            measurement,
            profile,
            clock: 0,
            heard_live_ms: 0,
            heard_at: NEVER,
            newest_at: NEVER,
            silent_from: NEVER,
            sequence: None,
            last_position: 0,
            in_position: 0,
            latest: vec![Latest::NONE; slots],
            memory: Memory::default(),
            untimed: VecDeque::new(),
            states: Vec::new(),
            watching: Watching::default(),
            is_armed: false,
        }
    }

    /// Carries values and memory over to a measurement whose properties moved: `places[old]` is the new slot.
    pub(crate) fn rearrange(&mut self, places: &[Option<usize>], properties: usize) {
        let mut moved = vec![Latest::NONE; properties];
        for (latest, place) in self.latest.drain(..).zip(places) {
            if let Some(slot) = place.and_then(|place| moved.get_mut(place)) {
                *slot = latest;
            }
        }
        self.latest = moved;
        self.memory.rearrange(places, properties);
    }

    pub(crate) fn watching(&self) -> Option<Arc<[u16]>> {
        self.watching.0.clone()
    }

    /// Returns the state of a rule, normal where none is kept.
    pub(crate) fn take_state(&mut self, rule: u16) -> RuleState {
        match self.states.binary_search_by_key(&rule, |(known, _)| *known) {
            Ok(at) => {
                self.states.get_mut(at).map(|(_, state)| std::mem::take(state)).unwrap_or_default()
            }
            Err(_) => RuleState::default(),
        }
    }

    /// Puts a rule's state back; a normal one needs no place.
    pub(crate) fn put_state(&mut self, rule: u16, state: RuleState) {
        match self.states.binary_search_by_key(&rule, |(known, _)| *known) {
            Ok(at) if state.is_normal() => {
                self.states.remove(at);
            }
            Ok(at) => {
                if let Some(slot) = self.states.get_mut(at) {
                    slot.1 = state;
                }
            }
            Err(_) if state.is_normal() => {}
            Err(at) => self.states.insert(at, (rule, state)),
        }
    }

    /// Returns since when the device is silent: its newest reading, unless a silence was raised from it already
    /// and something older came since; then when that came.
    pub(crate) fn silent_since(&self) -> i64 {
        if self.newest_at == self.silent_from {
            self.heard_at.max(self.newest_at)
        } else {
            self.newest_at
        }
    }

    /// Returns whether a rule's state is kept, that is, not normal.
    pub(crate) fn has_state(&self, rule: u16) -> bool {
        self.states.binary_search_by_key(&rule, |(known, _)| *known).is_ok()
    }

    /// Returns bytes on heap and stack.
    pub(crate) fn bytes(&self) -> usize {
        let text = self.tenant.len() + self.name.len() + self.site.len();
        size_of::<Self>()
            + text
            + self.latest.capacity() * size_of::<Latest>()
            + self.memory.heap_bytes()
            + self.untimed.capacity() * size_of::<Untimed>()
            + self.states.capacity() * size_of::<(u16, RuleState)>()
    }
}

/// Returns how many properties a measurement has.
pub(crate) fn slots(config: &ActiveConfig, measurement: u16) -> usize {
    config.measurement(measurement).map_or(0, |measurement| measurement.properties.len())
}

/// Returns the stable hash of a device.
pub(crate) fn device_hash(tenant: &str, device: &str) -> u64 {
    hash64_parts(&[tenant.as_bytes(), device.as_bytes()])
}

/// One shard: a plain struct without locks. Which devices it holds is decided by the partition key alone.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) devices: Vec<Device>,
    index: HashTable<u32>,
    /// By clock: when a device's silence may be long enough; entries may be outdated and are checked when due.
    silence: Vec<BinaryHeap<Reverse<(u64, u32)>>>,
}

impl Shard {
    /// Finds the state of a device in a measurement.
    pub(crate) fn find(
        &self,
        hash: u64,
        (tenant, device): (&str, &str),
        measurement: u16,
    ) -> Option<u32> {
        let same = |at: &u32| {
            let known = self.get(*at);
            known.is_some_and(|known| {
                *known.name == *device
                    && known.measurement == measurement
                    && *known.tenant == *tenant
            })
        };
        self.index.find(hash, same).copied()
    }

    pub(crate) fn add(&mut self, hash: u64, device: Device) -> u32 {
        let at = u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
        self.devices.push(device);
        let devices = &self.devices;
        let rehash = |at: &u32| {
            let known = usize::try_from(*at).ok().and_then(|at| devices.get(at));
            known.map_or(0, |known| device_hash(&known.tenant, &known.name))
        };
        self.index.insert_unique(hash, at, rehash);
        at
    }

    pub(crate) fn get(&self, at: u32) -> Option<&Device> {
        self.devices.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut Device> {
        self.devices.get_mut(usize::try_from(at).ok()?)
    }

    pub(crate) fn arm(&mut self, clock: u16, due_ms: u64, at: u32) {
        let clock = usize::from(clock);
        if self.silence.len() <= clock {
            self.silence.resize_with(clock + 1, BinaryHeap::new);
        }
        if let Some(heap) = self.silence.get_mut(clock) {
            heap.push(Reverse((due_ms, at)));
        }
    }

    /// Takes the next device whose silence may be long enough at `live_ms` of a clock.
    pub(crate) fn pop_due(&mut self, clock: u16, live_ms: u64) -> Option<u32> {
        let heap = self.silence.get_mut(usize::from(clock))?;
        let Reverse((due, _)) = heap.peek()?;
        if *due > live_ms {
            return None;
        }
        heap.pop().map(|Reverse((_, at))| at)
    }

    pub(crate) fn clocks(&self) -> u16 {
        u16::try_from(self.silence.len()).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_device_is_known() {
        assert!(size_of::<Device>() <= 296, "{}", size_of::<Device>());
        assert_eq!(size_of::<Latest>(), 32);
    }

    #[test]
    fn devices_are_found_by_tenant_name_and_measurement() {
        let mut shard = Shard::default();
        for n in 0..500 {
            let (tenant, name) = (format!("t{}", n % 3), format!("d{n}"));
            shard.add(
                device_hash(&tenant, &name),
                Device::in_measurement((&tenant, &name, "s"), 0, 1, 0),
            );
        }
        assert_eq!(shard.find(device_hash("t1", "d7"), ("t1", "d7"), 0), Some(7));
        assert_eq!(shard.find(device_hash("t1", "d7"), ("t1", "d7"), 1), None);
        assert_eq!(shard.find(device_hash("t2", "d7"), ("t2", "d7"), 0), None);
    }
}
