//! MQTT 3.1.1: what `v5` does, as far as the older protocol has it.
//!
//! The broker has no way to hear our window, our packet limit, or how long to keep the session. Its own
//! in-flight window bounds what is unacknowledged, and it does not tell us either.

use rumqttc_v4::{
    AckMode, AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions,
    NetworkOptions, Packet, QoS, StateError, SubscribeFilterInput, SubscribeReasonCode,
};

use super::client::Dialer;
use super::config::MqttConfig;
use super::fault::chain;
use super::link::{
    Arrived, CONNECT_WITHIN, Grant, Heard, Loss, OUTGOING_MOST, READ_BATCH, REQUESTS_MOST, Receipt,
    Refusal,
};
use super::oversize::Stubs;

/// Greatest packet that MQTT knows.
const PACKET_MOST: usize = 268_435_455 + 5;

pub(crate) struct Link {
    pub(crate) client: AsyncClient,
    eventloop: EventLoop,
}

impl Link {
    pub(crate) fn new(dialer: &Dialer, stubs: &Stubs) -> Self {
        let mut options = options(&dialer.config);
        let (dialer, stubs) = (dialer.clone(), stubs.clone());
        options.set_socket_connector(move |_address, _network| {
            let (dialer, stubs) = (dialer.clone(), stubs.clone());
            async move { dialer.wire(stubs).await }
        });
        let (client, mut eventloop) = AsyncClient::builder(options).capacity(REQUESTS_MOST).build();
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(CONNECT_WITHIN.as_secs());
        eventloop.set_network_options(network);
        Self { client, eventloop }
    }

    pub(crate) async fn poll(&mut self, heard: &mut Heard) -> Result<(), Loss> {
        let first = self.eventloop.poll().await.map_err(loss)?;
        take(first, heard);
        while let Some(event) = self.eventloop.state.events.pop_front() {
            take(event, heard);
        }
        Ok(())
    }

    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), String> {
        let filters = topics.iter().map(|topic| SubscribeFilterInput::new(topic, QoS::AtLeastOnce));
        self.client.try_subscribe_many(filters).map_err(|error| error.to_string())
    }

    pub(crate) fn disconnect(&self) -> bool {
        self.eventloop.diagnostics().connected && self.client.try_disconnect_now().is_ok()
    }
}

fn take(event: Event, heard: &mut Heard) {
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
        heard.connack = Some(connack.session_present);
    } else if let Packet::SubAck(suback) = packet {
        heard.suback = Some(suback.return_codes.iter().copied().map(grant).collect());
    }
}

fn options(config: &MqttConfig) -> MqttOptions {
    let broker = (config.address.host.clone(), config.address.port);
    let mut options = MqttOptions::new(config.client_id.clone(), broker);
    options
        .set_keep_alive(config.keep_alive.get())
        .set_clean_session(false)
        .set_ack_mode(AckMode::Manual)
        .set_inflight(OUTGOING_MOST)
        .set_read_batch_size(READ_BATCH)
        // The transport cuts what is longer than our limit.
        .set_max_packet_size(PACKET_MOST, PACKET_MOST);
    let credentials = config.credentials.as_ref();
    if let Some((known, username)) = credentials.and_then(|all| Some((all, all.username.clone()?)))
    {
        match &known.password {
            Some(password) => options.set_credentials(username, password.reveal().to_vec()),
            None => options.set_username(username),
        };
    }
    options
}

fn grant(code: SubscribeReasonCode) -> Grant {
    match code {
        SubscribeReasonCode::Success(QoS::AtMostOnce) => Grant::Downgraded,
        SubscribeReasonCode::Success(_) => Grant::Granted,
        SubscribeReasonCode::Failure => Grant::Refused("0x80".to_owned()),
    }
}

fn loss(error: ConnectionError) -> Loss {
    if let ConnectionError::ConnectionRefused(code) = error {
        return Loss::Refused(refusal(code));
    }
    if let ConnectionError::Io(error) = error {
        return Loss::Io(error);
    }
    if matches!(error, ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout) {
        return Loss::Silent;
    }
    let ConnectionError::MqttState(error) = error else { return Loss::Other(chain(&error)) };
    if let StateError::Io(error) | StateError::Deserialization(rumqttc_v4::Error::Io(error)) = error
    {
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
    match code {
        ConnectReturnCode::BadUserNamePassword => Refusal::Credentials,
        ConnectReturnCode::NotAuthorized => Refusal::NotAuthorised,
        ConnectReturnCode::BadClientId => Refusal::ClientId,
        ConnectReturnCode::RefusedProtocolVersion => Refusal::Version,
        ConnectReturnCode::Success | ConnectReturnCode::ServiceUnavailable => {
            Refusal::Other(format!("{code:?}"))
        }
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
        assert_eq!(refused(ConnectReturnCode::BadClientId), Refusal::ClientId);
        assert_eq!(refused(ConnectReturnCode::RefusedProtocolVersion), Refusal::Version);
        assert!(matches!(refused(ConnectReturnCode::ServiceUnavailable), Refusal::Other(_)));
        assert!(matches!(loss(ConnectionError::NetworkTimeout), Loss::Silent));
        assert!(matches!(loss(StateError::ConnectionAborted.into()), Loss::Closed));
        assert!(matches!(loss(StateError::AwaitPingResp.into()), Loss::NoSignOfLife));
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(loss(StateError::from(reset).into()), Loss::Io(_)));
        assert_eq!(grant(SubscribeReasonCode::Success(QoS::AtMostOnce)), Grant::Downgraded);
        assert_eq!(grant(SubscribeReasonCode::Failure), Grant::Refused("0x80".to_owned()));
    }
}
