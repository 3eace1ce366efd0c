//! What rules need to know of a device profile.

use std::time::Duration;

use telemetry::profile::{Profile, PropertyType};

/// A profile as rules see it.
#[derive(Debug, Clone)]
pub(crate) struct Schema<'a> {
    pub(crate) name: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) interval: Duration,
    /// In the order of the profile, with whether rules can compare it.
    pub(crate) properties: Vec<(&'a str, bool)>,
}

impl<'a> Schema<'a> {
    pub(crate) fn of(profile: &'a Profile) -> Self {
        let properties =
            profile.properties.iter().map(|p| (p.name.as_str(), p.kind != PropertyType::Text));
        let (name, domain) = (&profile.name, profile.domain.as_str());
        Self { name, domain, interval: profile.interval, properties: properties.collect() }
    }

    /// Returns the index of a property that can be compared.
    pub(crate) fn slot(&self, property: &str) -> Option<u16> {
        let at =
            self.properties.iter().position(|(name, is_number)| *name == property && *is_number)?;
        u16::try_from(at).ok()
    }

    pub(crate) fn has_text(&self, property: &str) -> bool {
        self.properties.iter().any(|(name, is_number)| *name == property && !is_number)
    }

    /// Returns the properties that can be compared.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = &'a str> {
        self.properties.iter().filter(|(_, is_number)| *is_number).map(|(name, _)| *name)
    }
}
