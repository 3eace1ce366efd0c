//! Reads where uplinks come from: `[mqtt]`, `[listener]`, `[[uplinks]]`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use telemetry::document::{NodeValue, Section};
use telemetry::topic::TopicPattern;

use super::read::{
    Base, address, fault, file, integer, optional_text, secret_file, size, text_or, texts, url,
};
use super::secret::{Secret, SecretFile};
use super::settings::{Broker, Listener, Mqtt, Protocol, Tls, UplinkRoute};

/// MQTT's own bound on names, in bytes.
const MOST_NAME: usize = 65_535;
/// The transport takes no packet above 16 MiB.
const MOST_PAYLOAD: u64 = 16 << 20;
const DEFAULT_PAYLOAD: u64 = 256 << 10;

/// What was read of the sources, each with its section, for the checks across sections.
pub(super) struct Parts {
    pub(super) mqtt: Vec<(Section, Option<Mqtt>)>,
    pub(super) listener: Option<(Section, Listener)>,
    pub(super) uplinks: Vec<(Section, Option<UplinkRoute>)>,
}

impl Parts {
    /// Returns the brokers in order.
    pub(super) fn brokers(&self) -> Vec<Broker> {
        self.mqtt.iter().filter_map(|(_, mqtt)| Some(mqtt.as_ref()?.broker.clone())).collect()
    }

    /// Returns the address of the listener.
    pub(super) fn listens_on(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(|(_, listener)| listener.bind)
    }
}

pub(super) fn mqtt(mut section: Section, base: &Base) -> (Section, Option<Mqtt>) {
    let broker = broker(&mut section);
    let protocol = protocol(&mut section);
    let client_id = text_or(&mut section, "client_id", "tianlu-1");
    if client_id.len() > MOST_NAME || client_id.chars().any(char::is_control) {
        fault(&section, "client_id", "tianlu.mqtt.client_id", &[]);
    }
    let topics = topics(&mut section);
    let receive_maximum = integer(&mut section, "receive_maximum", 1..=65_535).unwrap_or(1000);
    let max_payload =
        size(&mut section, "max_payload", 64..=MOST_PAYLOAD).unwrap_or(DEFAULT_PAYLOAD);
    let username = optional_text(&mut section, "username");
    let password_file = secret_file(&mut section, "password_file", base);
    let password = password_of_environment(&mut section);
    if password_file.is_some() && username.is_none() && protocol == Protocol::V311 {
        fault(&section, "password_file", "tianlu.mqtt.password_alone", &[]);
    }
    let tls = tls(&mut section, base);
    if let Some(broker) = &broker
        && !broker.is_tls
        && let Some(key) =
            ["ca_file", "cert_file", "key_file"].into_iter().find(|key| section.has(key))
    {
        fault(&section, key, "tianlu.mqtt.tls_unused", &[("host", &broker.host)]);
    }
    let mqtt = broker.map(|broker| Mqtt {
        broker,
        protocol,
        client_id,
        topics,
        receive_maximum,
        max_payload,
        username,
        password,
        password_file,
        tls,
    });
    (section, mqtt)
}

/// Takes `TIANLU__MQTT__PASSWORD`. In the file the key stays unknown, since that is no place for a secret.
fn password_of_environment(section: &mut Section) -> Option<Secret> {
    let is_of_environment = section.has("password") && section.line_of("password").is_none();
    if !is_of_environment {
        return None;
    }
    section.text("password").map(Secret::new)
}

fn broker(section: &mut Section) -> Option<Broker> {
    let url = url(section, "url", &["mqtt", "mqtts"], "username, password_file")?;
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        fault(section, "url", "tianlu.mqtt.path", &[]);
    }
    parse_broker(&url)
}

/// Reads the parts of a broker's address; the port has its default.
pub(super) fn parse_broker(url: &url::Url) -> Option<Broker> {
    let is_tls = url.scheme() == "mqtts";
    let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
    Some(Broker { is_tls, host, port: url.port().unwrap_or(if is_tls { 8883 } else { 1883 }) })
}

fn protocol(section: &mut Section) -> Protocol {
    let node = section.node("protocol");
    match node.map(|node| node.value) {
        None | Some(NodeValue::Integer(5)) => return Protocol::V5,
        Some(NodeValue::Integer(3)) => return Protocol::V311,
        Some(NodeValue::Text(text)) if text == "5" => return Protocol::V5,
        Some(NodeValue::Text(text)) if text == "3" => return Protocol::V311,
        Some(_) => {}
    }
    fault(section, "protocol", "tianlu.mqtt.protocol", &[]);
    Protocol::V5
}

fn topics(section: &mut Section) -> Vec<String> {
    if !section.has("topics") {
        section.missing("topics", "kind.strings");
    }
    let written = section.texts("topics");
    if written.as_ref().is_some_and(Vec::is_empty) {
        fault(section, "topics", "document.empty", &[]);
    }
    let topics = written.unwrap_or_default();
    let bad: Vec<&String> = topics.iter().filter(|topic| !is_filter(topic)).collect();
    for topic in bad {
        let (what, remedy) = texts("tianlu.mqtt.filter", &[]);
        section.problem_with(
            "topics",
            telemetry::problem::excerpt(&format!("\"{topic}\"")),
            what,
            remedy,
        );
    }
    topics
}

/// Returns the filter that a broker matches: without `$share/group/`.
pub(super) fn shared(filter: &str) -> &str {
    let rest = filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/'));
    rest.map_or(filter, |(_, filter)| filter)
}

fn is_filter(filter: &str) -> bool {
    let inner = match filter.strip_prefix("$share/").map(|rest| rest.split_once('/')) {
        Some(Some((group, inner))) if !group.is_empty() && !group.contains(['+', '#']) => inner,
        Some(_) => return false,
        None => filter,
    };
    let last = inner.split('/').count().saturating_sub(1);
    let mut levels = inner.split('/').enumerate();
    let is_good = |(at, level): (usize, &str)| match level {
        "+" => true,
        "#" => at == last,
        other => !other.contains(['+', '#', '\0']),
    };
    !inner.is_empty() && filter.len() <= MOST_NAME && levels.all(is_good)
}

fn tls(section: &mut Section, base: &Base) -> Tls {
    Tls { ca_file: file(section, "ca_file", base), identity: identity(section, base) }
}

/// Reads a certificate and its key, which belong together.
fn identity(section: &mut Section, base: &Base) -> Option<(PathBuf, SecretFile)> {
    let (cert, key) = (file(section, "cert_file", base), secret_file(section, "key_file", base));
    match (section.has("cert_file"), section.has("key_file")) {
        (true, false) => fault(section, "cert_file", "tianlu.tls.half", &[("other", &"key_file")]),
        (false, true) => fault(section, "key_file", "tianlu.tls.half", &[("other", &"cert_file")]),
        (true, true) | (false, false) => {}
    }
    cert.zip(key)
}

pub(super) fn listener(mut section: Section, base: &Base) -> (Section, Listener) {
    let written = secret_file(&mut section, "credentials_file", base);
    let default =
        || Some(base.join("secrets/devices.csv")).filter(|file| file.exists()).map(SecretFile::new);
    let credentials_file = if section.has("credentials_file") { written } else { default() };
    let listener = Listener {
        bind: address(&mut section, "bind")
            .unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 1884))),
        credentials_file,
        max_connections: integer(&mut section, "max_connections", 1..=1_000_000).unwrap_or(10_000),
        identity: identity(&mut section, base),
        client_ca_file: file(&mut section, "client_ca_file", base),
        insecure: section.truth("insecure").unwrap_or(false),
    };
    let is_guarded =
        listener.credentials_file.is_some() || section.has("client_ca_file") || listener.insecure;
    if !listener.bind.ip().is_loopback() && !is_guarded {
        fault(&section, "bind", "tianlu.listener.open", &[]);
    }
    if section.has("client_ca_file") && !section.has("cert_file") {
        fault(&section, "client_ca_file", "tianlu.tls.half", &[("other", &"cert_file, key_file")]);
    }
    (section, listener)
}

pub(super) fn uplink(mut section: Section) -> (Section, Option<UplinkRoute>) {
    let topic = section.required_text("topic");
    let profile = section.required_text("profile");
    let pattern = topic.as_deref().and_then(|topic| match TopicPattern::parse(topic) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            fault(&section, "topic", "tianlu.uplinks.pattern", &[("error", &error)]);
            None
        }
    });
    let parts = topic.zip(pattern).zip(profile);
    (section, parts.map(|((topic, pattern), profile)| UplinkRoute { topic, pattern, profile }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_told_from_what_is_none() {
        for good in ["a", "+", "#", "a/+/b", "a/#", "/", "$share/g/a/+", "$share/g/#"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in
            ["", "a/#/b", "a+", "a/b#", "$share/a", "$share//a", "$share/+/a", "$share/g/", "a\0b"]
        {
            assert!(!is_filter(bad), "{bad}");
        }
    }
}
