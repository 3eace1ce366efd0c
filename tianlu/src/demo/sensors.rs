//! The simulated devices, with the names they publish under.

use simulator::Fleet;
use telemetry::time::EventTime;

use crate::playback::publisher::topic;

/// A fleet, and what does not change from one uplink to the next.
#[derive(Debug)]
pub(super) struct Sensors {
    pub(super) fleet: Fleet,
    /// Name and topic, by device.
    names: Vec<(String, String)>,
}

impl Sensors {
    /// Names the devices of a fleet. `None`: a name does not fit into a topic.
    pub(super) fn of(fleet: Fleet) -> Option<Self> {
        let named = fleet.devices().map(|device| {
            let topic = topic(&device.tenant, &device.site, &device.device)?;
            Some((device.device, topic))
        });
        let names = named.collect::<Option<_>>()?;
        Some(Self { fleet, names })
    }

    /// Returns the first moment of the fleet.
    pub(super) const fn start(&self) -> EventTime {
        self.fleet.start()
    }

    /// Returns the names, by device.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the topic of a device.
    pub(super) fn topic(&self, device: u32) -> Option<&str> {
        let named = self.names.get(usize::try_from(device).ok()?)?;
        Some(&named.1)
    }
}
