//! The configuration that influences results, as one bundle of texts named by its hash.
//!
//! `ConfigActivated` names a bundle by hash; the shell keeps the bundle's file while a record or snapshot names it.
//! The same bundle always builds the same [`ActiveConfig`], so that a replay judges as production did.

use std::collections::BTreeMap;
use std::sync::Arc;

use rules::RuleSet;
use serde::{Deserialize, Serialize};
use telemetry::document::Problems;
use telemetry::problem::Problem;
use telemetry::profile::Profile;
use telemetry::registry::{Device, Registry};
use telemetry::text::say;
use telemetry::topic::{TopicLevels, TopicPattern};

/// A configuration file: its name and its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceFile {
    /// Name, as problems and rules show it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Which profile decodes the uplinks of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Pattern with named levels.
    pub topic: String,
    /// Name of the profile.
    pub profile: String,
}

/// What becomes of a device that the registry does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownDevice {
    /// Its readings are taken like any other's.
    #[default]
    Accept,
    /// They are dead letters until the device is adopted.
    Quarantine,
}

/// Everything that influences results, as texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Device profiles.
    pub profiles: Vec<SourceFile>,
    /// Rule files.
    pub rules: Vec<SourceFile>,
    /// The registry, if there is one.
    pub registry: Option<SourceFile>,
    /// Routes in the order of the configuration; the first that matches decides.
    pub uplinks: Vec<Route>,
    /// What becomes of unknown devices.
    pub unknown: UnknownDevice,
    /// Readings remembered per device.
    pub identity_memory: u32,
    /// Largest payload that is decoded, bytes, by source in the order of the configuration.
    pub max_payload: Vec<u64>,
}

/// Largest payload of a source that the configuration does not name, bytes: 256 KiB.
const MAX_PAYLOAD: u64 = 256 << 10;

impl Bundle {
    /// Returns the bundle's bytes; equal bundles have equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let written = serde_json::to_vec(self);
        debug_assert!(written.is_ok(), "a bundle of texts is always JSON");
        written.unwrap_or_default()
    }

    /// Reads a bundle's bytes. `None`: not a bundle, or of a newer version.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Returns the bundle's hash, hexadecimal.
    #[must_use]
    pub fn hash(&self) -> String {
        telemetry::hash::sha256_hex(&self.to_bytes())
    }
}

/// The configuration in force, checked and bound.
#[derive(Debug)]
pub struct ActiveConfig {
    /// Hash of the bundle.
    pub hash: String,
    /// Profiles.
    pub profiles: Vec<Profile>,
    /// Patterns and the index of their profile.
    pub routes: Vec<(TopicPattern, u16)>,
    /// Known devices.
    pub registry: Registry,
    /// Rules.
    pub rules: RuleSet,
    /// Measurements of the profiles, in the order of their names.
    pub measurements: Vec<Measurement>,
    /// For each profile, where its properties stand in its measurement.
    pub places: Vec<Place>,
    /// What becomes of unknown devices.
    pub unknown: UnknownDevice,
    /// Readings remembered per device.
    pub identity_memory: usize,
    /// Largest payload that is decoded, bytes, by source.
    pub max_payload: Vec<u64>,
}

/// A measurement: what is remembered of a device is kept by it, whichever of its profiles decodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measurement {
    /// Its name.
    pub name: String,
    /// The properties of all its profiles, each once.
    pub properties: Vec<String>,
}

/// Where the properties of a profile stand in its measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index of the measurement.
    pub measurement: u16,
    /// For each property of the profile, its slot in the measurement.
    pub slots: Vec<u16>,
}

impl ActiveConfig {
    /// Builds the configuration of a bundle.
    ///
    /// # Errors
    ///
    /// Every problem of every text, at once.
    pub fn build(bundle: &Bundle) -> Result<Arc<Self>, Vec<Problem>> {
        let problems = Problems::default();
        let profiles: Vec<Profile> = bundle
            .profiles
            .iter()
            .filter_map(|file| Profile::parse(&file.name, &file.text, &problems))
            .collect();
        let registry = match &bundle.registry {
            Some(file) => Registry::parse(&file.name, &file.text, &problems),
            None => Registry::default(),
        };
        let files: Vec<(String, String)> =
            bundle.rules.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let rules = RuleSet::load(&files, &profiles, &problems);
        let routes = bundle
            .uplinks
            .iter()
            .filter_map(|route| build_route(route, &profiles, &problems))
            .collect();
        let found = problems.take();
        if !found.is_empty() {
            return Err(found);
        }
        let (measurements, places) = measurements_of(&profiles);
        Ok(Arc::new(Self {
            hash: bundle.hash(),
            measurements,
            places,
            profiles,
            routes,
            registry,
            rules,
            unknown: bundle.unknown,
            identity_memory: usize::try_from(bundle.identity_memory).unwrap_or(usize::MAX),
            max_payload: bundle.max_payload.clone(),
        }))
    }

    /// Returns the first route that matches a topic: its profile and the topic's levels.
    #[must_use]
    pub fn route<'t>(&self, topic: &'t str) -> Option<(u16, TopicLevels<'t>)> {
        self.routes.iter().find_map(|(pattern, profile)| Some((*profile, pattern.matches(topic)?)))
    }

    /// Returns a profile by its index.
    #[must_use]
    pub fn profile(&self, index: u16) -> Option<&Profile> {
        self.profiles.get(usize::from(index))
    }

    /// Returns the index of a profile by its name.
    #[must_use]
    pub fn profile_index(&self, name: &str) -> Option<u16> {
        u16::try_from(self.profiles.iter().position(|profile| profile.name == name)?).ok()
    }

    /// Returns where the properties of a profile stand in its measurement.
    #[must_use]
    pub fn place(&self, profile: u16) -> Option<&Place> {
        self.places.get(usize::from(profile))
    }

    /// Returns the largest payload of a source that is decoded, bytes.
    #[must_use]
    pub fn max_payload(&self, source: u16) -> u64 {
        self.max_payload.get(usize::from(source)).copied().unwrap_or(MAX_PAYLOAD)
    }

    /// Returns a measurement by its index.
    #[must_use]
    pub fn measurement(&self, index: u16) -> Option<&Measurement> {
        self.measurements.get(usize::from(index))
    }

    /// Returns a registered device.
    #[must_use]
    pub fn device(&self, tenant: &str, device: &str) -> Option<&Device> {
        self.registry.get(tenant, device)
    }
}

fn measurements_of(profiles: &[Profile]) -> (Vec<Measurement>, Vec<Place>) {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for profile in profiles {
        let known = by_name.entry(&profile.measurement).or_default();
        for property in &profile.properties {
            if !known.contains(&property.name) {
                known.push(property.name.clone());
            }
        }
    }
    let named = by_name
        .into_iter()
        .map(|(name, properties)| Measurement { name: name.to_owned(), properties });
    let measurements: Vec<Measurement> = named.collect();
    let short = |index: usize| u16::try_from(index).unwrap_or(u16::MAX);
    let place = |profile: &Profile| {
        let at = measurements
            .iter()
            .position(|known| known.name == profile.measurement)
            .unwrap_or(usize::MAX);
        let slot = |name: &String| {
            let known = measurements
                .get(at)
                .and_then(|known| known.properties.iter().position(|p| p == name));
            short(known.unwrap_or(usize::MAX))
        };
        Place {
            measurement: short(at),
            slots: profile.properties.iter().map(|p| slot(&p.name)).collect(),
        }
    };
    let places = profiles.iter().map(place).collect();
    (measurements, places)
}

fn build_route(
    route: &Route,
    profiles: &[Profile],
    problems: &Problems,
) -> Option<(TopicPattern, u16)> {
    let problem = |key: &str, value: &str, detail: String| {
        problems.add(Problem {
            file: "uplinks".to_owned(),
            line: None,
            key: format!("uplinks.{key}"),
            value: format!("\"{value}\""),
            what: say("pipeline.route", &[("detail", &detail)]),
            remedy: say("pipeline.route.remedy", &[]),
        });
    };
    let pattern = match TopicPattern::parse(&route.topic) {
        Ok(pattern) => pattern,
        Err(error) => {
            problem("topic", &route.topic, error.to_string());
            return None;
        }
    };
    let Some(index) = profiles.iter().position(|profile| profile.name == route.profile) else {
        problem("profile", &route.profile, format!("no profile `{}`", route.profile));
        return None;
    };
    Some((pattern, u16::try_from(index).ok()?))
}
