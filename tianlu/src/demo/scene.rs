//! What the demo shows: the fleet, the profiles and rules it is judged by, and the settings of the service.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ingest::engine::settings::{Settings, StoreSettings};
use ingest::listener::ListenerConfig;
use ingest::source::SourceId;
use pipeline::config::{Route, SourceFile, UnknownDevice};
use pipeline::{ActiveConfig, Bundle};
use simulator::{Fleet, Scenario};
use store::history::HistoryOptions;
use telemetry::problem::Problem;
use telemetry::time::EventTime;
use telemetry::topic::TopicPattern;

use super::sensors::Sensors;
use crate::packs;
use crate::playback::publisher::TOPIC;

/// The scenario of the demo.
const SCENARIO: &str = "demo";
/// Where the listener is, if the port is free: that of the documents.
const LISTEN_AT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1884);
/// Bytes of the demo's logs at most.
const LOG_BYTES_MAX: u64 = 1 << 30;
/// How much of the journal is kept beyond need.
const KEEP: Duration = Duration::from_hours(24);
/// Least time between two fsyncs under load.
const COMMIT_INTERVAL: Duration = Duration::from_millis(2);
/// How long points are kept: longer than a demo may begin ago.
const RETENTION: Duration = Duration::from_hours(500 * 24);

/// The devices and what judges them.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) sensors: Sensors,
    bundle: Bundle,
}

impl Scene {
    /// Sets the scene of a seed and a first moment.
    ///
    /// # Errors
    ///
    /// Never with what is built in; the problems would say what.
    pub(super) fn set(seed: u64, start: EventTime) -> Result<Self, Vec<Problem>> {
        let scenario = Scenario::named(SCENARIO).ok_or_else(Vec::new)?;
        let fleet = Fleet::new(&scenario, seed, start, None);
        let fleet = fleet.map_err(|error| vec![error.problem(SCENARIO)])?;
        let bundle = bundle(&fleet);
        let sensors = Sensors::of(fleet).ok_or_else(Vec::new)?;
        Ok(Self { sensors, bundle })
    }

    /// Returns the settings of the service that the demo runs.
    ///
    /// # Errors
    ///
    /// Every problem of what is built in.
    pub(super) fn settings(&self, dir: &Path, http: SocketAddr) -> Result<Settings, Vec<Problem>> {
        let active = ActiveConfig::build(&self.bundle)?;
        let patterns = TopicPattern::parse(TOPIC).into_iter().collect();
        let mut listener = ListenerConfig::new(SourceId(0), LISTEN_AT, patterns);
        // A demo beside another.
        listener.or_any_port = true;
        Ok(Settings {
            dir: dir.to_owned(),
            max_bytes: LOG_BYTES_MAX,
            keep: KEEP,
            commit_interval: COMMIT_INTERVAL,
            bundle: self.bundle.clone(),
            active,
            sources: Vec::new(),
            listener: Some(listener),
            store: StoreSettings::History(HistoryOptions::new(dir.join("history"), RETENTION)),
            notifiers: Vec::new(),
            http,
            http_token_file: None,
        })
    }
}

/// Returns what influences the demo's results.
fn bundle(fleet: &Fleet) -> Bundle {
    // The past of a demo may be long ago, and its readings come late on purpose.
    let trusting = |mut source: SourceFile| {
        source.text = source.text.replacen("[time]\n", "[time]\npolicy = \"trust_device\"\n", 1);
        source
    };
    let default = fleet.devices().next().map(|device| device.profile).unwrap_or_default();
    Bundle {
        profiles: packs::files(&packs::PROFILES).into_iter().map(trusting).collect(),
        // Silence is judged in real time, and a demo that is told twice has to tell the same.
        rules: packs::files(&packs::RULES)
            .into_iter()
            .filter(|rule| !rule.name.ends_with("no-data.toml"))
            .collect(),
        registry: Some(SourceFile { name: "devices.csv".to_owned(), text: fleet.registry_csv() }),
        uplinks: vec![Route { topic: TOPIC.to_owned(), profile: default }],
        unknown: UnknownDevice::Accept,
        identity_memory: 64,
        max_payload: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_fits_together() {
        let scene = Scene::set(1, EventTime::from_nanos(1_763_856_000_000_000_000)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let settings = scene.settings(dir.path(), "127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(settings.bundle.rules.len() > 20);
        let profiles: Vec<&str> =
            settings.bundle.profiles.iter().map(|p| p.text.as_str()).collect();
        assert!(profiles.iter().all(|text| text.contains("policy = \"trust_device\"")));
        assert_eq!(scene.sensors.topic(0).unwrap().split('/').count(), 6);
    }
}
