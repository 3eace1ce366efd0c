//! What the broker grants, and the trap of its persistence.

use std::fmt::Display;

use super::{Finding, Level};
use crate::config::{Mqtt, Protocol, show_size};
use crate::probe::{self, BrokerAnswer};

const PART: &str = "broker";
/// Below this window a consumer that acknowledges after an fsync is slower than the link.
const SMALL_WINDOW: u16 = 100;
/// Fixed header, topic and properties around a payload.
const AROUND: u64 = 1024;
/// A session that ends sooner loses what a weekend's outage left behind.
const SHORT_SESSION_S: u32 = 3 * 86_400;

pub(super) fn examine(mqtt: &Mqtt) -> Vec<Finding> {
    let mut findings = match probe::broker(mqtt) {
        Ok(answer) => granted(mqtt, &answer),
        Err(trouble) => vec![Finding::from((PART, *trouble))],
    };
    // No broker tells how it keeps sessions, so that this is said in any case.
    let advice = Finding::bad(Level::Ok, PART, "tianlu.doctor.broker.persistence", &[]);
    findings.push(advice);
    findings
}

fn granted(mqtt: &Mqtt, answer: &BrokerAnswer) -> Vec<Finding> {
    let broker = &mqtt.broker;
    let mut findings =
        vec![Finding::ok(PART, "tianlu.doctor.broker.answers", &[("broker", broker)])];
    let is_shared = mqtt.topics.iter().any(|topic| topic.starts_with("$share/"));
    if is_shared {
        findings.push(Finding::bad(Level::Warn, PART, "tianlu.doctor.broker.one_instance", &[]));
    }
    if mqtt.protocol == Protocol::V311 {
        findings.push(Finding::bad(
            Level::Warn,
            PART,
            "tianlu.doctor.broker.v3",
            &[("broker", broker)],
        ));
        return findings;
    }
    let mut find = |level: Level, name: &str, args: &[(&str, &dyn Display)]| {
        findings.push(Finding::bad(level, PART, name, args))
    };
    // Its Receive Maximum bounds what we publish, not what comes to us: that is our own.
    if mqtt.receive_maximum < SMALL_WINDOW {
        find(Level::Warn, "tianlu.doctor.broker.window", &[("window", &mqtt.receive_maximum)]);
    }
    let packet = mqtt.max_payload.saturating_add(AROUND);
    if let Some(most) = answer.maximum_packet_size.map(u64::from).filter(|most| *most < packet) {
        find(
            Level::Warn,
            "tianlu.doctor.broker.packet",
            &[("most", &show_size(most)), ("payload", &show_size(mqtt.max_payload))],
        );
    }
    if let Some(seconds) = answer.session_expiry_s.filter(|seconds| *seconds < SHORT_SESSION_S) {
        find(Level::Warn, "tianlu.doctor.broker.session", &[("seconds", &seconds)]);
    }
    if answer.maximum_qos == Some(0) {
        find(Level::Fail, "tianlu.doctor.broker.qos", &[("broker", broker)]);
    }
    if is_shared && !answer.has_shared {
        find(Level::Fail, "tianlu.doctor.broker.shared", &[("broker", broker)]);
    }
    findings
}
