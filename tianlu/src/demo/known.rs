//! What the service has of the demo's devices already.

use std::collections::BTreeMap;

use ingest::engine::desk::Desk;
use ingest::http::Desk as _;
use jiff::Timestamp;
use telemetry::time::EventTime;

use super::event_time;
use super::scene::Scene;

/// `sampled_at` of the newest reading of each device.
pub(super) struct Known {
    newest: BTreeMap<String, EventTime>,
}

impl Known {
    /// Asks once the pipeline has passed everything in the journal.
    pub(super) async fn ask(desk: &Desk) -> Self {
        desk.derived_all().await;
        let newest = desk.devices().await.into_iter().filter_map(|device| {
            let at = device.sampled_at?.parse::<Timestamp>().ok()?;
            Some((device.device, event_time(at)))
        });
        Self { newest: newest.collect() }
    }

    /// Returns whether a device's reading of a time has been sent.
    pub(super) fn has(&self, scene: &Scene, device: u32, at: EventTime) -> bool {
        let device = scene.fleet.device(device);
        let newest = device.and_then(|device| self.newest.get(&device.device).copied());
        newest.is_some_and(|newest| newest >= at)
    }

    /// Returns a time before which nothing is missing.
    pub(super) fn oldest_missing(&self, scene: &Scene) -> EventTime {
        let start = scene.fleet.start();
        if self.newest.len() < usize::try_from(scene.fleet.len()).unwrap_or(usize::MAX) {
            return start;
        }
        self.newest.values().min().copied().unwrap_or(start)
    }
}
