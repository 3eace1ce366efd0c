//! Reads where results go: `[store]` and `[[notifiers]]`.

use std::time::Duration;

use rules::Severity;
use telemetry::document::Section;

use super::broker::parse_broker;
use super::read::{Base, duration, fault, secret_file, url};
use super::secret::Endpoint;
use super::settings::{Broker, InfluxDb, Notifier, NotifierTarget, Store};

#[derive(Clone, Copy)]
enum Kind {
    InfluxDb,
    Embedded,
}

pub(super) fn store(root: &mut Section, base: &Base) -> Store {
    let Some(mut section) = root.table("store") else { return Store::Embedded };
    if !section.has("kind") {
        section.missing("kind", "kind.string");
    }
    let kind =
        section.choice("kind", &[("influxdb2", Kind::InfluxDb), ("embedded", Kind::Embedded)]);
    if let Some(Kind::Embedded) = kind {
        for key in ["url", "org", "bucket", "token_file", "gzip", "replay_window"] {
            if section.node(key).is_some() {
                fault(&section, key, "tianlu.store.unused", &[]);
            }
        }
        section.finish();
        return Store::Embedded;
    }
    let influx = influx(&mut section, base);
    section.finish();
    influx.map_or(Store::Embedded, Store::InfluxDb)
}

fn influx(section: &mut Section, base: &Base) -> Option<InfluxDb> {
    let url = url(section, "url", &["http", "https"], "token_file");
    if url.as_ref().is_some_and(|url| url.query().is_some() || url.fragment().is_some()) {
        fault(section, "url", "tianlu.store.query", &[]);
    }
    let (org, bucket) = (section.required_text("org"), section.required_text("bucket"));
    if !section.has("token_file") {
        section.missing("token_file", "kind.string");
    }
    let token_file = secret_file(section, "token_file", base);
    let gzip = section.truth("gzip").unwrap_or(false);
    let window = duration(section, "replay_window", Duration::ZERO..=Duration::from_hours(1));
    Some(InfluxDb {
        url: Endpoint::new(url?),
        org: org?,
        bucket: bucket?,
        token_file: token_file?,
        gzip,
        replay_window: window.unwrap_or(Duration::from_secs(10)),
    })
}

#[derive(Clone, Copy)]
enum Way {
    Webhook,
    Mqtt,
}

/// Reads a notifier; `before` are those that stand before it.
pub(super) fn notifier(
    mut section: Section,
    base: &Base,
    (brokers, before): (&[Broker], &[Notifier]),
) -> Option<Notifier> {
    let written = section.choice("kind", &[("webhook", Way::Webhook), ("mqtt", Way::Mqtt)]);
    let way = if section.has("kind") { written } else { Some(Way::Webhook) };
    let min_severity =
        section.choice("min_severity", &Severity::CHOICES).unwrap_or(Severity::Yellow);
    let target = match way {
        Some(Way::Webhook) => webhook(&mut section, base),
        Some(Way::Mqtt) => publisher(&mut section, brokers),
        // Which keys belong here is not known.
        None => return None,
    };
    let is_known = |target: &NotifierTarget| before.iter().any(|b| b.target.is_same_place(target));
    if target.as_ref().is_some_and(is_known) {
        let key = if section.has("topic") { "topic" } else { "url" };
        fault(&section, key, "tianlu.notifier.twice", &[]);
    }
    section.finish();
    target.map(|target| Notifier { target, min_severity })
}

fn webhook(section: &mut Section, base: &Base) -> Option<NotifierTarget> {
    let url = url(section, "url", &["http", "https"], "secret_file");
    let secret_file = secret_file(section, "secret_file", base);
    Some(NotifierTarget::Webhook { url: Endpoint::new(url?), secret_file })
}

fn publisher(section: &mut Section, brokers: &[Broker]) -> Option<NotifierTarget> {
    let topic = section.required_text("topic");
    if topic.as_ref().is_some_and(|topic| topic.contains(['+', '#', '\0'])) {
        fault(section, "topic", "tianlu.notifier.wildcard", &[]);
    }
    let source = if section.node("url").is_some() {
        let broker =
            url(section, "url", &["mqtt", "mqtts"], "[mqtt]").as_ref().and_then(parse_broker);
        let source = broker.as_ref().map(|broker| brokers.iter().position(|known| known == broker));
        if let Some(None) = source {
            fault(section, "url", "tianlu.notifier.broker", &[]);
        }
        source.flatten()
    } else {
        if brokers.is_empty() {
            fault(section, "kind", "tianlu.notifier.no_broker", &[]);
        }
        (!brokers.is_empty()).then_some(0)
    };
    Some(NotifierTarget::Mqtt { source: source?, topic: topic? })
}
