//! What users ask of the state: devices, alerts, dead letters, the account.

use std::sync::Arc;

use rules::Alert;
use serde::Serialize;
use telemetry::profile::Profile;
use telemetry::reading::Value;
use telemetry::time::{EventTime, IngestTime};

use crate::account::Account;
use crate::config::ActiveConfig;
use crate::core::Pipeline;
use crate::device::{Device, NEVER};
use crate::letter::Letters;

/// A device in the list of devices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceSummary {
    /// Whose it is.
    pub tenant: String,
    /// Its id.
    pub device: String,
    /// Where it stands.
    pub site: String,
    /// Its name in the registry.
    pub name: Option<String>,
    /// Its English name in the registry.
    pub name_en: Option<String>,
    /// Name of its profile.
    pub profile: String,
    /// Domain of its profile.
    pub domain: String,
    /// Latitude, degrees.
    pub lat: Option<f64>,
    /// Longitude, degrees.
    pub lon: Option<f64>,
    /// Region, GB/T 2260.
    pub region: Option<String>,
    /// `sampled_at` of its newest reading.
    pub sampled_at: Option<String>,
    /// When it was last heard.
    pub received_at: Option<String>,
    /// Ids of its alerts that stand.
    pub alerts: Vec<String>,
}

/// The newest good value of a property.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatestValue {
    /// The property.
    pub property: String,
    /// Its unit.
    pub unit: String,
    /// The value; `null`: none yet.
    pub value: Option<serde_json::Value>,
    /// Its `sampled_at`.
    pub sampled_at: Option<String>,
}

/// A device with its newest values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceDetail {
    /// The device.
    #[serde(flatten)]
    pub summary: DeviceSummary,
    /// Its newest good values, in the order of the profile.
    pub latest: Vec<LatestValue>,
}

/// Size of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StateSize {
    /// Devices known.
    pub devices: usize,
    /// Bytes of their state.
    pub device_bytes: usize,
    /// Open dead letters.
    pub letters: usize,
    /// Bytes of the open dead letters.
    pub letter_bytes: u64,
    /// Alerts that stand.
    pub alerts_firing: usize,
}

impl Pipeline {
    /// Returns the account.
    #[must_use]
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the position of the last record applied.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Returns journal time: the newest time of any record.
    #[must_use]
    pub fn now(&self) -> IngestTime {
        self.journal_time()
    }

    /// Returns the hash of the active configuration.
    #[must_use]
    pub fn active_config(&self) -> Option<&str> {
        self.config.as_ref().map(|config| config.hash.as_str())
    }

    /// Returns the active configuration. `None`: none was activated yet.
    #[must_use]
    pub const fn config(&self) -> Option<&Arc<ActiveConfig>> {
        self.config.as_ref()
    }

    /// Returns the open dead letters.
    #[must_use]
    pub const fn letters(&self) -> &Letters {
        &self.letters
    }

    /// Returns the alerts that stand, the newest first.
    #[must_use]
    pub fn firing(&self) -> Vec<&Alert> {
        self.alerts.firing()
    }

    /// Returns the alerts that ended in the last 24 hours, the newest first.
    pub fn resolved(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.resolved()
    }

    /// Returns every device, ordered by tenant and name.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceSummary> {
        self.in_order(|_| true)
            .into_iter()
            .filter_map(|place| self.summary(self.device(place)?))
            .collect()
    }

    /// Returns a device with its newest values. One with several measurements is shown by the one heard last.
    #[must_use]
    pub fn device_detail(&self, tenant: &str, name: &str) -> Option<DeviceDetail> {
        let all = self.shards.iter().flat_map(|shard| &shard.devices);
        let device = all
            .filter(|one| one.tenant() == tenant && one.name() == name)
            .max_by_key(|one| one.heard_at)?;
        let profile = self.profile(device)?;
        let slots = &self.config.as_ref()?.place(device.profile)?.slots;
        let known: Vec<_> = device.newest.values().collect();
        let newest = profile.properties.iter().zip(slots).filter_map(|(property, slot)| {
            let slot = usize::from(*slot);
            let latest = known.iter().find(|(known, _, _)| *known == slot);
            (slot < device.newest.slots()).then(|| LatestValue {
                property: property.name.clone(),
                unit: property.unit.as_str().to_owned(),
                value: latest.map(|(_, _, value)| to_json(value)),
                sampled_at: latest.and_then(|(_, at, _)| shown(*at)),
            })
        });
        Some(DeviceDetail { summary: self.summary(device)?, latest: newest.collect() })
    }

    /// Returns the size of the state.
    #[must_use]
    pub fn size(&self) -> StateSize {
        let all = || self.shards.iter().flat_map(|shard| &shard.devices);
        StateSize {
            devices: all().count(),
            device_bytes: all().map(Device::bytes).sum(),
            letters: self.letters.len(),
            letter_bytes: self.letters.bytes(),
            alerts_firing: self.alerts.firing_len(),
        }
    }

    fn profile(&self, device: &Device) -> Option<&Profile> {
        self.config.as_ref()?.profile(device.profile)
    }

    fn summary(&self, device: &Device) -> Option<DeviceSummary> {
        let profile = self.profile(device)?;
        let known = self.config.as_ref()?.device(device.tenant(), device.name());
        let alerts = device.alerts();
        Some(DeviceSummary {
            tenant: device.tenant().to_owned(),
            device: device.name().to_owned(),
            site: device.site().to_owned(),
            name: known.and_then(|known| known.name.clone()),
            name_en: known.and_then(|known| known.name_en()).map(str::to_owned),
            profile: profile.name.clone(),
            domain: profile.domain.as_str().to_owned(),
            lat: known.and_then(|known| known.lat),
            lon: known.and_then(|known| known.lon),
            region: known.and_then(|known| known.region.clone()),
            sampled_at: newest(device),
            received_at: shown(device.heard_at),
            alerts: alerts.map(|alert| alert.id.to_string()).collect(),
        })
    }
}

/// Returns the time of the newest good observation; of a device without one, of its newest reading. Before it is
/// heard, `newest_at` is the activation, which is none.
fn newest(device: &Device) -> Option<String> {
    let observed = device.newest.values().map(|(_, at, _)| at).max();
    observed
        .and_then(shown)
        .or_else(|| (device.heard_at != NEVER).then(|| shown(device.newest_at)).flatten())
}

fn shown(at: i64) -> Option<String> {
    (at != NEVER).then(|| EventTime::from_nanos(at).to_string())
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Float(number) => (*number).into(),
        Value::Int(number) => (*number).into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Text(text) => (**text).into(),
    }
}
