//! What ended a connection, in words, with the remedy.

use std::error::Error;
use std::io;

use rumqttc::{
    ConnectReturnCode, ConnectionError, DisconnectReasonCode, StateError, SubscribeReasonCode,
};
use telemetry::text::{Text, say};

use super::config::MqttConfig;
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

    /// Puts an error of the client into words.
    pub(crate) fn of(error: &ConnectionError, config: &MqttConfig) -> Self {
        if let ConnectionError::ConnectionRefused(code) = error {
            return refused(*code, config);
        }
        if let ConnectionError::Io(error) = error {
            return unreachable(error, config);
        }
        if let ConnectionError::Timeout(_) = error {
            return Self::silent(config);
        }
        if let ConnectionError::MqttState(error) = error {
            return broken(error, config);
        }
        other(error, config)
    }

    /// No CONNACK or no SUBACK came.
    pub(crate) fn silent(config: &MqttConfig) -> Self {
        let reason = say("ingest.mqtt.timeout", &[("address", &config.address)]);
        Self::new(reason, "ingest.mqtt.remedy_reach")
    }

    /// Puts the refusal of a subscription into words; `None` if it was granted.
    pub(crate) fn of_subscription(code: &SubscribeReasonCode, topic: &str) -> Option<Self> {
        let topic: (&str, &dyn std::fmt::Display) = ("topic", &topic);
        if let SubscribeReasonCode::Success(qos) = code {
            return (*qos == rumqttc::QoS::AtMostOnce).then(|| {
                Self::new(say("ingest.mqtt.downgraded", &[topic]), "ingest.mqtt.remedy_downgraded")
            });
        }
        let code = format!("{code:?}");
        Some(Self::new(
            say("ingest.mqtt.subscription_refused", &[topic, ("code", &code)]),
            "ingest.mqtt.remedy_subscription",
        ))
    }

    /// Puts topic filters that the client itself refuses into words.
    pub(crate) fn of_filters(error: &rumqttc::ClientError) -> Self {
        Self::new(say("ingest.mqtt.filters", &[("error", error)]), "ingest.mqtt.remedy_filters")
    }
}

fn refused(code: ConnectReturnCode, config: &MqttConfig) -> Fault {
    use ConnectReturnCode as C;
    let address = &config.address;
    if matches!(code, C::BadUserNamePassword | C::BadAuthenticationMethod) {
        let reason = say("ingest.mqtt.bad_credentials", &[("address", address)]);
        return Fault::new(reason, "ingest.mqtt.remedy_credentials");
    }
    if matches!(code, C::NotAuthorized | C::Banned) {
        let user = config.credentials.as_ref().map_or("", |known| &known.username);
        let reason = say(
            "ingest.mqtt.not_authorised",
            &[("address", address), ("user", &user), ("client_id", &config.client_id)],
        );
        return Fault::new(reason, "ingest.mqtt.remedy_authorise");
    }
    if matches!(code, C::BadClientId | C::ClientIdentifierNotValid) {
        let reason = say(
            "ingest.mqtt.client_id_rejected",
            &[("address", address), ("client_id", &config.client_id)],
        );
        return Fault::new(reason, "ingest.mqtt.remedy_client_id");
    }
    if matches!(code, C::RefusedProtocolVersion | C::UnsupportedProtocolVersion) {
        return Fault::new(
            say("ingest.mqtt.version", &[("address", address)]),
            "ingest.mqtt.remedy_version",
        );
    }
    let code = format!("{code:?}");
    let reason = say("ingest.mqtt.refused", &[("address", address), ("code", &code)]);
    Fault::new(reason, "ingest.mqtt.remedy_broker_log")
}

fn unreachable(error: &io::Error, config: &MqttConfig) -> Fault {
    let address = &config.address;
    let tls = error.get_ref().is_some_and(|inner| inner.downcast_ref::<rustls::Error>().is_some());
    let (key, remedy) = if tls {
        ("ingest.mqtt.tls", "ingest.mqtt.remedy_tls")
    } else {
        ("ingest.mqtt.unreachable", "ingest.mqtt.remedy_reach")
    };
    Fault::new(say(key, &[("address", address), ("error", &chain(error))]), remedy)
}

fn broken(error: &StateError, config: &MqttConfig) -> Fault {
    let address = &config.address;
    if let StateError::ServerDisconnect { reason_code, reason_string } = error {
        if *reason_code == DisconnectReasonCode::SessionTakenOver {
            let reason = say("ingest.mqtt.taken_over", &[("client_id", &config.client_id)]);
            return Fault::new(reason, "ingest.mqtt.remedy_taken_over");
        }
        let code = format!("{reason_code:?} {}", reason_string.as_deref().unwrap_or_default());
        let reason =
            say("ingest.mqtt.sent_away", &[("address", address), ("code", &code.trim_end())]);
        return Fault::new(reason, "ingest.mqtt.remedy_broker_log");
    }
    if matches!(error, StateError::ConnectionAborted) {
        // Some brokers end a session that was taken over without a word.
        let reason = say("ingest.mqtt.closed", &[("address", address)]);
        let remedy = say("ingest.mqtt.remedy_closed", &[("client_id", &config.client_id)]);
        return Fault { reason, remedy };
    }
    if matches!(error, StateError::AwaitPingResp) {
        let reason = say("ingest.mqtt.no_sign_of_life", &[("address", address)]);
        return Fault::new(reason, "ingest.mqtt.remedy_reach");
    }
    if let StateError::Io(error) = error {
        return unreachable(error, config);
    }
    if let StateError::Deserialization(rumqttc::Error::Io(error)) = error {
        return unreachable(error, config);
    }
    if matches!(error, StateError::Deserialization(_) | StateError::ProtocolViolation(_)) {
        let reason = say("ingest.mqtt.malformed", &[("address", address), ("error", error)]);
        return Fault::new(reason, "ingest.mqtt.remedy_malformed");
    }
    other(error, config)
}

fn other(error: &dyn Error, config: &MqttConfig) -> Fault {
    let reason =
        say("ingest.mqtt.other", &[("address", &config.address), ("error", &chain(error))]);
    Fault::new(reason, "ingest.mqtt.remedy_broker_log")
}

/// The error and its causes on one line, without saying anything twice.
fn chain(error: &dyn Error) -> String {
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
        let refused = |code| Fault::of(&ConnectionError::ConnectionRefused(code), &config);
        let sent_away = |reason_code| {
            let error = StateError::ServerDisconnect { reason_code, reason_string: None };
            Fault::of(&ConnectionError::MqttState(error), &config)
        };
        let io = |error| Fault::of(&ConnectionError::Io(error), &config);
        let cases = [
            (refused(ConnectReturnCode::BadUserNamePassword), "", "password_file"),
            (refused(ConnectReturnCode::NotAuthorized), "tianlu-7", "access"),
            (refused(ConnectReturnCode::ClientIdentifierNotValid), "tianlu-7", "client_id"),
            (refused(ConnectReturnCode::UnsupportedProtocolVersion), "MQTT 5", ""),
            (refused(ConnectReturnCode::ServerBusy), "ServerBusy", ""),
            (sent_away(DisconnectReasonCode::SessionTakenOver), "tianlu-7", "client_id"),
            (
                Fault::of(&ConnectionError::MqttState(StateError::ConnectionAborted), &config),
                "mqtt://b:1",
                "tianlu-7",
            ),
            (sent_away(DisconnectReasonCode::ServerShuttingDown), "ServerShuttingDown", ""),
            (io(io::ErrorKind::ConnectionRefused.into()), "mqtt://b:1", "url"),
            (io(io::Error::other(rustls::Error::DecryptError)), "TLS", "ca_file"),
        ];
        for (fault, reason, remedy) in cases {
            assert!(fault.reason.en.contains(reason), "{fault:?}");
            assert!(fault.remedy.en.contains(remedy), "{fault:?}");
        }
    }
}
