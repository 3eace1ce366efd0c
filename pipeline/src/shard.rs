//! The shards that hold the devices.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hashbrown::{HashMap, HashTable};

use crate::config::ActiveConfig;
use crate::device::{Device, NEVER, NO_PROFILE, armed_for};

/// One shard: a plain struct without locks. Which devices it holds is decided by the partition key alone.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    pub(crate) devices: Vec<Device>,
    index: HashTable<u32>,
    /// By clock: when a device's silence may be long enough; entries may be outdated and are checked when due.
    silence: Vec<BinaryHeap<Reverse<(u64, u32)>>>,
    watching: Watching,
}

/// Lists of the entries of a profile's bound rules that watch a device, one for all devices with the same.
#[derive(Debug, Default)]
struct Watching {
    places: HashMap<Vec<u16>, u32>,
    lists: Vec<Arc<[u16]>>,
}

impl Shard {
    /// Makes a shard with room for so many devices.
    pub(crate) fn with_capacity(devices: usize) -> Self {
        Self {
            devices: Vec::with_capacity(devices),
            index: HashTable::with_capacity(devices),
            ..Self::default()
        }
    }

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
                known.measurement == measurement
                    && known.name() == device
                    && known.tenant() == tenant
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
            known.map_or(0, Device::hash)
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

    /// Gives a device the list of rules that watch it.
    pub(crate) fn watch(&mut self, config: &ActiveConfig, at: u32) {
        let Some(list) = self.get(at).map(|device| watching_of(config, device)) else { return };
        let place = self.watching.place(list);
        if let Some(device) = self.get_mut(at) {
            device.watching = place;
        }
    }

    /// Returns the entries of the profile's bound rules that watch a device.
    pub(crate) fn watching(&self, at: u32) -> Option<Arc<[u16]>> {
        let list = usize::try_from(self.get(at)?.watching).ok()?;
        self.watching.lists.get(list).map(Arc::clone)
    }

    /// Lets a device wait for its next silence deadline, if a rule that is quiet now watches its silence.
    pub(crate) fn arm(&mut self, config: &ActiveConfig, at: u32) {
        let Some(device) = self.get(at) else { return };
        // One that has never said anything, like a gateway named by its topic, cannot fall silent.
        if device.newest_at == NEVER {
            return;
        }
        let Some(watching) = self.watching(at) else { return };
        let bound = config.rules.of_profile(usize::from(device.profile));
        let quiet = watching.iter().filter_map(|entry| bound.get(usize::from(*entry)));
        let limits = quiet
            .filter(|rule| !device.has_state(rule.rule_index()))
            .filter_map(|rule| rule.silence_ms_max());
        let Some(least) = limits.min() else { return };
        let (clock, due) = (usize::from(device.clock), device.heard_live_ms.saturating_add(least));
        if self.silence.len() <= clock {
            self.silence.resize_with(clock + 1, BinaryHeap::new);
        }
        if let Some(heap) = self.silence.get_mut(clock) {
            heap.push(Reverse((due, at)));
        }
        if let Some(device) = self.get_mut(at) {
            device.armed = armed_for(due);
        }
    }

    /// Takes the next deadline that is over at `live_ms` of a clock: when it was due, and whose.
    pub(crate) fn pop_due(&mut self, clock: u16, live_ms: u64) -> Option<(u64, u32)> {
        let heap = self.silence.get_mut(usize::from(clock))?;
        let Reverse((due, _)) = heap.peek()?;
        if *due > live_ms {
            return None;
        }
        heap.pop().map(|Reverse(deadline)| deadline)
    }

    pub(crate) fn clocks(&self) -> u16 {
        u16::try_from(self.silence.len()).unwrap_or(u16::MAX)
    }
}

impl Watching {
    fn place(&mut self, list: Vec<u16>) -> u32 {
        if let Some(place) = self.places.get(&list) {
            return *place;
        }
        let place = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.lists.push(list.as_slice().into());
        self.places.insert(list, place);
        place
    }
}

/// Returns the entries of the profile's bound rules that watch a device.
pub(crate) fn watching_of(config: &ActiveConfig, device: &Device) -> Vec<u16> {
    match device.profile {
        NO_PROFILE => Vec::new(),
        profile => config.rules.watching(
            usize::from(profile),
            device.tenant(),
            device.site(),
            device.name(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Names, device_hash};
    use crate::newest::Newest;

    #[test]
    fn devices_are_found_by_tenant_name_and_measurement() {
        let mut shard = Shard::default();
        for n in 0..500 {
            let (tenant, name) = (format!("t{}", n % 3), format!("d{n}"));
            let names = Names::new(&tenant, &name, "s");
            let device = Device::in_measurement(names, (0, 0), Newest::new(1));
            shard.add(device_hash(&tenant, &name), device);
        }
        assert_eq!(shard.find(device_hash("t1", "d7"), ("t1", "d7"), 0), Some(7));
        assert_eq!(shard.find(device_hash("t1", "d7"), ("t1", "d7"), 1), None);
        assert_eq!(shard.find(device_hash("t2", "d7"), ("t2", "d7"), 0), None);
    }
}
