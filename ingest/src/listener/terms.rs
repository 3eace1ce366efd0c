//! Under which terms devices are served: limits, and who may publish and be commanded by which topic. Pure.

use std::sync::Arc;
use std::time::Duration;

use telemetry::topic::{TopicPattern, is_name};

/// The tenant of a topic or user name that names none.
pub(crate) const DEFAULT_TENANT: &str = "default";

/// Bounds of the listener, each with what happens beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest packet, header included. MQTT 5 clients are told; beyond it the connection ends (0x95).
    pub packet_bytes_max: u32,
    /// Messages a client may have in flight. Beyond it MQTT 5 clients are sent away (0x93), others are not read.
    pub receive_maximum: u16,
    /// From the first byte to CONNECT, the TLS handshake included; then the connection ends.
    pub connect_timeout: Duration,
    /// Longest keep-alive; MQTT 5 clients are told. One and a half times it without a packet ends the connection.
    pub keep_alive_max: Duration,
    /// How long a session outlives its connection at most; MQTT 5 clients are told.
    pub session_expiry_max: Duration,
    /// Sessions without a connection; beyond it the one that would expire first is dropped.
    pub sessions_kept_max: usize,
    /// Connections and sessions of one device; beyond it sessions are dropped, then connections refused (0x97).
    pub sessions_per_device_max: usize,
    /// Longest payload of a will; beyond it CONNECT is refused (0x95).
    pub will_bytes_max: usize,
    /// How long a client may leave its answers unread; then the connection ends.
    pub stuck_timeout: Duration,
    /// Bytes of records that wait for the journal.
    pub buffer_bytes: u32,
    /// How long a stop waits for what was handed over to become durable.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The pipeline's `max_payload` of 256 KiB, a topic and properties.
            packet_bytes_max: 384 << 10,
            receive_maximum: 1000,
            connect_timeout: Duration::from_secs(10),
            keep_alive_max: Duration::from_hours(1),
            session_expiry_max: Duration::from_hours(24),
            sessions_kept_max: 20_000,
            sessions_per_device_max: 16,
            will_bytes_max: 16 << 10,
            stuck_timeout: Duration::from_secs(20),
            buffer_bytes: 64 << 20,
            stop_timeout: Duration::from_secs(2),
        }
    }
}

/// Who a connection has proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Nobody in particular: a listener without credentials trusts all alike.
    Anyone,
    /// A device, or a gateway with more topics than its own.
    Device(Arc<Device>),
}

/// One line of the credentials, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) tenant: Box<str>,
    pub(crate) name: Box<str>,
    /// What it may publish beside its own topics.
    pub(crate) publishes: Vec<TopicPattern>,
}

impl Identity {
    /// Returns the name that sessions are kept by; client identifiers of two devices never meet.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Anyone => String::new(),
            Self::Device(device) => format!("{}/{}", device.tenant, device.name),
        }
    }

    /// Returns the device that this topic commands, where this identity may subscribe to it.
    ///
    /// The only topics to subscribe to are `tianlu/v1/{tenant}/{site}/{device}/cmd` of the device itself, without
    /// wildcards. Without credentials anyone may have the commands of any device.
    pub(crate) fn commanded_by<'t>(&self, filter: &'t str) -> Option<(&'t str, &'t str)> {
        let mut levels = filter.split('/');
        let head = (levels.next(), levels.next());
        let (tenant, site, device) = (levels.next()?, levels.next()?, levels.next()?);
        let is_command = head == (Some("tianlu"), Some("v1"))
            && levels.next() == Some("cmd")
            && levels.next().is_none()
            && [tenant, site, device]
                .iter()
                .all(|name| is_name(name) && !name.contains(['+', '#']));
        let is_own = match self {
            Self::Anyone => true,
            Self::Device(own) => *own.tenant == *tenant && *own.name == *device,
        };
        (is_command && is_own).then_some((tenant, device))
    }
}

/// What holds for every connection, until the next reload.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    /// Patterns of `[[uplinks]]`; the first that matches tells whose topic it is.
    pub(crate) patterns: Vec<TopicPattern>,
    /// Grows with each change, so that a remembered permission ends.
    pub(crate) generation: u64,
}

impl Terms {
    /// Returns whether a topic name is none: empty, with a wildcard or with NUL.
    pub(crate) fn is_no_topic(topic: &str) -> bool {
        topic.is_empty() || topic.bytes().any(|byte| matches!(byte, b'+' | b'#' | 0))
    }

    /// Returns whether `identity` may publish to `topic`.
    pub(crate) fn may_publish(&self, identity: &Identity, topic: &str) -> bool {
        let Identity::Device(device) = identity else { return !topic.starts_with('$') };
        let levels = self.patterns.iter().find_map(|pattern| pattern.matches(topic));
        let is_own = levels.is_some_and(|levels| {
            levels.device == Some(&device.name)
                && levels.tenant.unwrap_or(DEFAULT_TENANT) == &*device.tenant
        });
        is_own || device.publishes.iter().any(|pattern| pattern.matches(topic).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(tenant: &str, name: &str, publishes: &[&str]) -> Identity {
        let publishes = publishes.iter().map(|text| TopicPattern::parse(text).unwrap()).collect();
        Identity::Device(Arc::new(Device { tenant: tenant.into(), name: name.into(), publishes }))
    }

    #[test]
    fn a_device_publishes_its_own_topics_and_a_gateway_what_its_filters_say() {
        let patterns = ["tianlu/v1/{tenant}/{site}/{device}/up", "up/{device}"];
        let patterns = patterns.map(|text| TopicPattern::parse(text).unwrap()).to_vec();
        let terms = Terms { limits: Limits::default(), patterns, generation: 0 };
        let (own, other) = (device("default", "a", &[]), device("farm", "a", &["gw/+/#"]));
        for (identity, topic, expected) in [
            (&own, "tianlu/v1/default/s/a/up", true),
            (&own, "up/a", true),
            (&own, "up/b", false),
            (&own, "tianlu/v1/farm/s/a/up", false),
            (&own, "tianlu/v1/default/s/b/up", false),
            (&own, "elsewhere", false),
            (&own, "$SYS/a", false),
            (&other, "tianlu/v1/farm/s/a/up", true),
            (&other, "up/a", false),
            (&other, "gw/1/up", true),
            (&other, "gw", false),
            (&Identity::Anyone, "any/thing", true),
            (&Identity::Anyone, "$SYS/thing", false),
        ] {
            assert_eq!(terms.may_publish(identity, topic), expected, "{identity:?} {topic}");
        }
    }

    #[test]
    fn commands_are_for_the_device_itself_by_a_topic_without_wildcards() {
        let own = device("farm", "a", &[]);
        for (identity, filter, expected) in [
            (&own, "tianlu/v1/farm/north/a/cmd", Some(("farm", "a"))),
            (&own, "tianlu/v1/farm/+/a/cmd", None),
            (&own, "tianlu/v1/farm/north/b/cmd", None),
            (&own, "tianlu/v1/other/north/a/cmd", None),
            (&own, "tianlu/v1/farm/north/a/up", None),
            (&own, "tianlu/v1/farm/north/a/cmd/x", None),
            (&own, "#", None),
            (&Identity::Anyone, "tianlu/v1/farm/north/b/cmd", Some(("farm", "b"))),
            (&Identity::Anyone, "tianlu/v1/farm/+/b/cmd", None),
            (&Identity::Anyone, "tianlu/v1/farm/north/#", None),
        ] {
            assert_eq!(identity.commanded_by(filter), expected, "{identity:?} {filter}");
        }
    }
}
