//! MQTT 5: a session that stays, acknowledgements by hand, a transport of ours.

use std::pin::Pin;

use rumqttc::{
    AckMode, AsyncClient, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event,
    EventLoop, MqttOptions, Packet, PersistedAckMode, PersistedSession, QoS, RetainForwardRule,
    SessionStore, SessionStoreError, SessionStoreKey, StateError, SubscribeFilterInput,
    SubscribeReasonCode,
};

use super::client::Dialer;
use super::config::{Credentials, MqttConfig};
use super::fault::chain;
use super::link::{
    Arrived, CONNECT_WITHIN, Grant, Heard, Loss, OUTGOING_MOST, READ_BATCH, REQUESTS_MOST, Receipt,
    Refusal,
};
use super::oversize::Stubs;

pub(crate) struct Link {
    pub(crate) client: AsyncClient,
    eventloop: EventLoop,
}

/// The type of the client's trait, whose name it does not export.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SessionStoreError>> + Send + 'a>>;

impl Link {
    pub(crate) fn new(dialer: &Dialer, stubs: &Stubs) -> Self {
        let mut options = options(&dialer.config);
        let (dialer, stubs) = (dialer.clone(), stubs.clone());
        options.set_socket_connector(move |_address, _network| {
            let (dialer, stubs) = (dialer.clone(), stubs.clone());
            async move { dialer.wire(stubs).await }
        });
        let (client, eventloop) = AsyncClient::builder(options).capacity(REQUESTS_MOST).build();
        Self { client, eventloop }
    }

    pub(crate) async fn poll(&mut self, heard: &mut Heard) -> Result<(), Loss> {
        let first = self.eventloop.poll().await.map_err(loss)?;
        self.take(first, heard);
        while let Some(event) = self.eventloop.state.events.pop_front() {
            self.take(event, heard);
        }
        Ok(())
    }

    fn take(&mut self, event: Event, heard: &mut Heard) {
        let Event::Incoming(packet) = event else { return };
        if let Packet::Publish(publish) = packet {
            let receipt = match publish.qos {
                QoS::AtMostOnce => Receipt::None,
                QoS::AtLeastOnce => Receipt::AtLeastOnce(publish.pkid),
                QoS::ExactlyOnce => Receipt::ExactlyOnce(publish.pkid),
            };
            let (topic, payload) = (publish.topic, publish.payload);
            heard.arrived.push(Arrived { topic, payload, receipt });
        } else if let Packet::ConnAck(connack) = packet {
            self.eventloop.options.clear_session_store();
            heard.connack = Some(connack.session_present);
        } else if let Packet::SubAck(suback) = packet {
            heard.suback = Some(suback.return_codes.iter().map(grant).collect());
        }
    }

    /// What a topic has retained comes once, when it is new.
    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), String> {
        let filters = topics.iter().map(|topic| {
            SubscribeFilterInput::new(topic, QoS::AtLeastOnce)
                .retain_forward_rule(RetainForwardRule::OnNewSubscribe)
        });
        self.client.try_subscribe_many(filters).map_err(|error| error.to_string())
    }

    pub(crate) fn disconnect(&self) -> bool {
        self.eventloop.diagnostics().connected && self.client.try_disconnect_now().is_ok()
    }
}

fn options(config: &MqttConfig) -> MqttOptions {
    let broker = (config.address.host.clone(), config.address.port);
    let mut options = MqttOptions::new(config.client_id.clone(), broker);
    options
        .set_keep_alive(config.keep_alive.get())
        .set_clean_start(false)
        .set_session_expiry_interval(Some(u32::MAX))
        .set_receive_maximum(Some(config.receive_maximum.get()))
        .set_ack_mode(AckMode::Manual)
        .set_outgoing_inflight_upper_limit(OUTGOING_MOST)
        .set_read_batch_size(READ_BATCH)
        .set_connect_timeout(CONNECT_WITHIN)
        .set_session_store(NothingInFlight);
    if config.announce_packet_limit {
        options.set_max_packet_size(Some(config.packet_limit));
    } else {
        // The transport cuts what is longer.
        options.set_unlimited_incoming_packet_size();
    }
    if let Some(known) = &config.credentials {
        set_credentials(&mut options, known);
    }
    options
}

/// Sets name and password; MQTT 5 takes either alone.
pub(crate) fn set_credentials(options: &mut MqttOptions, known: &Credentials) {
    let password = || known.password.as_ref().map(|password| password.reveal().to_vec());
    match (known.username.clone(), password()) {
        (Some(username), Some(password)) => options.set_credentials(username, password),
        (Some(username), None) => options.set_username(username),
        (None, Some(password)) => options.set_password(password),
        (None, None) => options,
    };
}

#[expect(clippy::wildcard_enum_match_arm, reason = "every code that is no success refuses")]
fn grant(code: &SubscribeReasonCode) -> Grant {
    match code {
        SubscribeReasonCode::Success(QoS::AtMostOnce) => Grant::Downgraded,
        SubscribeReasonCode::Success(_) => Grant::Granted,
        refused => Grant::Refused(format!("{refused:?}")),
    }
}

fn loss(error: ConnectionError) -> Loss {
    if let ConnectionError::ConnectionRefused(code) = error {
        return Loss::Refused(refusal(code));
    }
    if let ConnectionError::Io(error) = error {
        return Loss::Io(error);
    }
    if matches!(error, ConnectionError::Timeout(_)) {
        return Loss::Silent;
    }
    let ConnectionError::MqttState(error) = error else { return Loss::Other(chain(&error)) };
    if let StateError::ServerDisconnect { reason_code, reason_string } = &error {
        if *reason_code == DisconnectReasonCode::SessionTakenOver {
            return Loss::TakenOver;
        }
        let code = format!("{reason_code:?} {}", reason_string.as_deref().unwrap_or_default());
        return Loss::SentAway(code.trim_end().to_owned());
    }
    if let StateError::Io(error) | StateError::Deserialization(rumqttc::Error::Io(error)) = error {
        return Loss::Io(error);
    }
    if matches!(error, StateError::ConnectionAborted) {
        Loss::Closed
    } else if matches!(error, StateError::AwaitPingResp) {
        Loss::NoSignOfLife
    } else if matches!(error, StateError::Deserialization(_) | StateError::ProtocolViolation(_)) {
        Loss::Malformed(error.to_string())
    } else {
        Loss::Other(chain(&error))
    }
}

fn refusal(code: ConnectReturnCode) -> Refusal {
    use ConnectReturnCode as C;
    if matches!(code, C::BadUserNamePassword | C::BadAuthenticationMethod) {
        Refusal::Credentials
    } else if matches!(code, C::NotAuthorized | C::Banned) {
        Refusal::NotAuthorised
    } else if matches!(code, C::BadClientId | C::ClientIdentifierNotValid) {
        Refusal::ClientId
    } else if matches!(code, C::RefusedProtocolVersion | C::UnsupportedProtocolVersion) {
        Refusal::Version
    } else {
        Refusal::Other(format!("{code:?}"))
    }
}

/// Tells a new client that its side of the session is known and empty.
///
/// A consumer that only subscribes has nothing of its own in flight, so that is always true. Without
/// it the client refuses a session that the broker has kept, or resumes it and refuses to SUBSCRIBE
/// in it; but a session can be kept without its subscriptions: where the last process ended between
/// CONNACK and SUBACK, and where the configuration has a new topic. To be taken away after CONNACK,
/// since the client would save after every packet.
#[derive(Debug)]
struct NothingInFlight;

impl SessionStore for NothingInFlight {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> Answer<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            session_expiry_interval: Some(u32::MAX),
            outgoing_inflight_upper_limit: Some(OUTGOING_MOST),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> Answer<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_says_keeps_its_meaning() {
        let refused = |code| {
            let lost = loss(ConnectionError::ConnectionRefused(code));
            let Loss::Refused(refusal) = lost else { panic!("{lost:?}") };
            refusal
        };
        assert_eq!(refused(ConnectReturnCode::BadUserNamePassword), Refusal::Credentials);
        assert_eq!(refused(ConnectReturnCode::NotAuthorized), Refusal::NotAuthorised);
        assert_eq!(refused(ConnectReturnCode::ClientIdentifierNotValid), Refusal::ClientId);
        assert_eq!(refused(ConnectReturnCode::UnsupportedProtocolVersion), Refusal::Version);
        assert_eq!(refused(ConnectReturnCode::ServerBusy), Refusal::Other("ServerBusy".to_owned()));
        let sent_away = |reason_code| {
            loss(StateError::ServerDisconnect { reason_code, reason_string: None }.into())
        };
        assert!(matches!(sent_away(DisconnectReasonCode::SessionTakenOver), Loss::TakenOver));
        let shutting_down = sent_away(DisconnectReasonCode::ServerShuttingDown);
        assert!(matches!(shutting_down, Loss::SentAway(code) if code == "ServerShuttingDown"));
        assert!(matches!(loss(StateError::ConnectionAborted.into()), Loss::Closed));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(loss(StateError::from(reset).into()), Loss::Io(_)));
    }

    #[test]
    fn a_grant_below_what_was_asked_is_none() {
        assert_eq!(grant(&SubscribeReasonCode::Success(QoS::AtLeastOnce)), Grant::Granted);
        assert_eq!(grant(&SubscribeReasonCode::Success(QoS::AtMostOnce)), Grant::Downgraded);
        let refused = grant(&SubscribeReasonCode::NotAuthorized);
        assert_eq!(refused, Grant::Refused("NotAuthorized".to_owned()));
    }
}
