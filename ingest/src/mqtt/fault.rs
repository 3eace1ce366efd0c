//! What ended a connection, in words, with the remedy.

use std::error::Error;
use std::fmt::Display;
use std::io;

use telemetry::text::{Text, say};

use super::config::{MqttConfig, Protocol};
use super::link::{Grant, Loss, Refusal};
use super::tls_fault;
use crate::source::LinkState;

/// A reason and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: Text,
    pub(crate) remedy: Text,
}

impl Fault {
    fn new(reason: Text, remedy: &str) -> Self {
        Self { reason, remedy: say(remedy, &[]) }
    }

    pub(crate) fn state(&self) -> LinkState {
        LinkState::Down { reason: self.reason.clone(), remedy: self.remedy.clone() }
    }

    /// Puts the end of a connection into words.
    pub(crate) fn of(loss: &Loss, config: &MqttConfig) -> Self {
        let address: (&str, &dyn Display) = ("address", &config.address);
        let client_id: (&str, &dyn Display) = ("client_id", &config.client_id);
        match loss {
            Loss::Refused(refusal) => refused(refusal, config),
            Loss::Io(error) => unreachable(error, config),
            Loss::Silent => Self::silent(config),
            Loss::TakenOver => Self::new(
                say("ingest.mqtt.taken_over", &[client_id]),
                "ingest.mqtt.remedy_taken_over",
            ),
            Loss::SentAway(code) => Self::new(
                say("ingest.mqtt.sent_away", &[address, ("code", code)]),
                "ingest.mqtt.remedy_broker_log",
            ),
            // Some brokers end a session that was taken over without a word, and MQTT 3.1.1 has none for it.
            Loss::Closed => Self {
                reason: say("ingest.mqtt.closed", &[address]),
                remedy: say("ingest.mqtt.remedy_closed", &[client_id]),
            },
            Loss::NoSignOfLife => Self::new(
                say("ingest.mqtt.no_sign_of_life", &[address]),
                "ingest.mqtt.remedy_reach",
            ),
            Loss::Malformed(error) => Self::new(
                say("ingest.mqtt.malformed", &[address, ("error", error)]),
                "ingest.mqtt.remedy_malformed",
            ),
            Loss::Other(error) => Self::new(
                say("ingest.mqtt.other", &[address, ("error", error)]),
                "ingest.mqtt.remedy_broker_log",
            ),
        }
    }

    /// No CONNACK or no SUBACK came.
    pub(crate) fn silent(config: &MqttConfig) -> Self {
        let reason = say("ingest.mqtt.timeout", &[("address", &config.address)]);
        Self::new(reason, "ingest.mqtt.remedy_reach")
    }

    /// Puts the refusal of a subscription into words; `None` if it was granted.
    pub(crate) fn of_subscription(grant: &Grant, topic: &str) -> Option<Self> {
        let topic: (&str, &dyn Display) = ("topic", &topic);
        match grant {
            Grant::Granted => None,
            Grant::Downgraded => Some(Self::new(
                say("ingest.mqtt.downgraded", &[topic]),
                "ingest.mqtt.remedy_downgraded",
            )),
            Grant::Refused(code) => Some(Self::new(
                say("ingest.mqtt.subscription_refused", &[topic, ("code", code)]),
                "ingest.mqtt.remedy_subscription",
            )),
        }
    }

    /// Puts topic filters that the client itself refuses into words.
    pub(crate) fn of_filters(error: &str) -> Self {
        Self::new(say("ingest.mqtt.filters", &[("error", &error)]), "ingest.mqtt.remedy_filters")
    }
}

fn refused(refusal: &Refusal, config: &MqttConfig) -> Fault {
    let address: (&str, &dyn Display) = ("address", &config.address);
    let client_id: (&str, &dyn Display) = ("client_id", &config.client_id);
    match refusal {
        Refusal::Credentials => Fault::new(
            say("ingest.mqtt.bad_credentials", &[address]),
            "ingest.mqtt.remedy_credentials",
        ),
        Refusal::NotAuthorised => {
            let named = config.credentials.as_ref().and_then(|known| known.username.as_deref());
            let user = named.unwrap_or_default();
            Fault::new(
                say("ingest.mqtt.not_authorised", &[address, ("user", &user), client_id]),
                "ingest.mqtt.remedy_authorise",
            )
        }
        Refusal::ClientId => Fault::new(
            say("ingest.mqtt.client_id_rejected", &[address, client_id]),
            "ingest.mqtt.remedy_client_id",
        ),
        Refusal::Version => {
            let (version, remedy) = match config.protocol {
                Protocol::V5 => ("MQTT 5", "ingest.mqtt.remedy_version"),
                Protocol::V3 => ("MQTT 3.1.1", "ingest.mqtt.remedy_version_5"),
            };
            Fault::new(say("ingest.mqtt.version", &[address, ("version", &version)]), remedy)
        }
        Refusal::Other(code) => Fault::new(
            say("ingest.mqtt.refused", &[address, ("code", code)]),
            "ingest.mqtt.remedy_broker_log",
        ),
    }
}

fn unreachable(error: &io::Error, config: &MqttConfig) -> Fault {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(cause) = cause {
        return tls_fault::of(cause, config);
    }
    let reason =
        say("ingest.mqtt.unreachable", &[("address", &config.address), ("error", &chain(error))]);
    Fault::new(reason, "ingest.mqtt.remedy_reach")
}

/// The error and its causes on one line, without saying anything twice.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceId;

    #[test]
    fn every_refusal_says_what_to_change() {
        let address = super::super::Address { host: "b".to_owned(), port: 1, tls: None };
        let config =
            MqttConfig::new(SourceId(0), address, "tianlu-7".to_owned(), vec!["a".to_owned()]);
        let of = |loss| Fault::of(&loss, &config);
        let cases = [
            (of(Loss::Refused(Refusal::Credentials)), "", "password_file"),
            (of(Loss::Refused(Refusal::NotAuthorised)), "tianlu-7", "access"),
            (of(Loss::Refused(Refusal::ClientId)), "tianlu-7", "client_id"),
            (of(Loss::Refused(Refusal::Version)), "MQTT 5", "protocol = 3"),
            (of(Loss::Refused(Refusal::Other("ServerBusy".to_owned()))), "ServerBusy", ""),
            (of(Loss::TakenOver), "tianlu-7", "client_id"),
            (of(Loss::Closed), "mqtt://b:1", "tianlu-7"),
            (of(Loss::SentAway("ServerShuttingDown".to_owned())), "ServerShuttingDown", ""),
            (of(Loss::Io(io::ErrorKind::ConnectionRefused.into())), "mqtt://b:1", "url"),
            (of(Loss::Io(io::Error::other(rustls::Error::DecryptError))), "TLS", "ca_file"),
        ];
        for (fault, reason, remedy) in cases {
            assert!(fault.reason.en.contains(reason), "{fault:?}");
            assert!(fault.remedy.en.contains(remedy), "{fault:?}");
        }
    }
}
