//! What the service has of the demo's devices already.

use std::collections::BTreeMap;

use ingest::engine::desk::Desk;
use ingest::http::Desk as _;
use jiff::Timestamp;
use telemetry::time::EventTime;

use super::event_time;
use super::sensors::Sensors;

/// `sampled_at` of the newest reading, by device; `None`: it has none.
pub(super) struct Known(Vec<Option<EventTime>>);

impl Known {
    /// Asks once the pipeline has passed everything in the journal. `None`: it has ended, and what it has is not known.
    pub(super) async fn ask(desk: &Desk, sensors: &Sensors) -> Option<Self> {
        desk.derived_all().await;
        let newest = desk.devices().await.ok()?.into_iter().filter_map(|device| {
            let at = device.sampled_at?.parse::<Timestamp>().ok()?;
            Some((device.device, event_time(at)))
        });
        let newest: BTreeMap<String, EventTime> = newest.collect();
        Some(Self(sensors.names().map(|name| newest.get(name).copied()).collect()))
    }

    /// Returns whether a device's reading of a time has been sent.
    pub(super) fn has(&self, device: u32, at: EventTime) -> bool {
        let newest = usize::try_from(device).ok().and_then(|device| self.0.get(device)?.as_ref());
        newest.is_some_and(|newest| *newest >= at)
    }

    /// Returns a time before which nothing is missing. `None`: that is the first moment.
    pub(super) fn oldest_missing(&self) -> Option<EventTime> {
        // A device without any reading comes before all others.
        self.0.iter().min().copied().flatten()
    }
}
