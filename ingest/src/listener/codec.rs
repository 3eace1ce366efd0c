//! Bytes to packets and answers to bytes, by the codec library. Pure.

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish as Message, QoS};
use rmqtt_codec::{error::DecodeError, v3, v5};
use tokio_util::codec::{Decoder, Encoder};

use super::fault::Fault;
use super::frame::{self, Version};
use super::packet::{Connect, Oddity, Packet, Publish, Qos, Subscribe, Will};

/// How long a session lasts for which MQTT 3 says nothing.
const FOR_EVER: u32 = u32::MAX;
/// Commands in flight to a client that cannot say how many it takes.
const V3_RECEIVE_MAXIMUM: u16 = 16;

/// The codec of one connection; the first packet decides the version.
#[derive(Debug)]
pub(crate) enum Codec {
    /// Nothing came yet.
    Unknown,
    /// MQTT 3.1 and 3.1.1.
    V3(v3::Codec, Version),
    /// MQTT 5.
    V5(v5::Codec),
}

impl Codec {
    pub(crate) const fn is_v5(&self) -> bool {
        matches!(self, Self::V5(_))
    }

    /// Takes the first packet from the front of `bytes`. `Ok(None)`: not all of it is there.
    pub(crate) fn decode(
        &mut self,
        bytes: &mut BytesMut,
        packet_bytes_max: usize,
    ) -> Result<Option<Packet>, Fault> {
        let Some(frame) = frame::find(bytes, packet_bytes_max)? else { return Ok(None) };
        let body = bytes.get(frame.header..frame.total).unwrap_or_default();
        if matches!(self, Self::Unknown) {
            *self = match frame::version(frame, body)? {
                Version::V5 => Self::V5(v5::Codec::new(0, 0)),
                version @ (Version::V31 | Version::V311) => Self::V3(v3::Codec::new(0), version),
            };
        }
        match self {
            Self::Unknown => Err(Fault::NotMqtt),
            Self::V3(codec, version) => {
                frame::check(frame, body, *version)?;
                let body = is_read_loosely(frame.first).then(|| Bytes::copy_from_slice(body));
                let found = codec.decode(bytes).map_err(|error| fault_of(&error))?;
                let Some((packet, _)) = found else { return Err(Fault::Malformed) };
                if body.is_some_and(|body| !is_written_so(codec, &packet, &body)) {
                    return Err(Fault::Malformed);
                }
                Ok(Some(from_v3(packet, *version)))
            }
            Self::V5(codec) => {
                frame::check(frame, body, Version::V5)?;
                let found = codec.decode(bytes).map_err(|error| fault_of(&error))?;
                let Some((packet, _)) = found else { return Err(Fault::Malformed) };
                Ok(Some(from_v5(packet)))
            }
        }
    }
}

/// Returns whether the codec skips what must be zero or must not be there: bytes behind the last field of CONNECT,
/// and the reserved bits of a QoS in SUBSCRIBE, [MQTT-3.8.3-4].
const fn is_read_loosely(first: u8) -> bool {
    first == 0x10 || first == 0x82
}

/// Returns whether the packet would be written as it was read, but for the level in CONNECT, which the codec loses.
fn is_written_so(codec: &mut v3::Codec, packet: &v3::Packet, body: &[u8]) -> bool {
    let mut again = BytesMut::new();
    if codec.encode(packet.clone(), &mut again).is_err() {
        return false;
    }
    let Ok(Some(frame)) = frame::find(&again, usize::MAX) else { return false };
    let is_connect = matches!(packet, v3::Packet::Connect(_));
    let written = again.get(frame.header..).unwrap_or_default();
    written.len() == body.len() && (is_connect || written == body)
}

fn fault_of(error: &DecodeError) -> Fault {
    match error {
        DecodeError::InvalidClientId => Fault::ClientId,
        DecodeError::InvalidTopicName => Fault::TopicInvalid,
        DecodeError::UnsupportedProtocolLevel => Fault::UnsupportedVersion,
        DecodeError::MaxSizeExceeded { .. } => Fault::PacketTooLarge,
        DecodeError::InvalidTopicFilter => Fault::Protocol,
        DecodeError::InvalidProtocol
        | DecodeError::InvalidLength
        | DecodeError::MalformedPacket
        | DecodeError::ConnectReservedFlagSet
        | DecodeError::InvalidConnectFlags
        | DecodeError::ConnAckReservedFlagSet
        | DecodeError::UnsupportedPacketType
        | DecodeError::PacketIdRequired
        | DecodeError::Utf8Error
        | DecodeError::Io(_) => Fault::Malformed,
    }
}

const fn qos_of(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::Zero,
        QoS::AtLeastOnce => Qos::One,
        QoS::ExactlyOnce => Qos::Two,
    }
}

fn from_v3(packet: v3::Packet, version: Version) -> Packet {
    use v3::Packet as P;
    match packet {
        P::Connect(connect) => Packet::Connect(Box::new(connect_v3(*connect, version))),
        P::Publish(message) => Packet::Publish(publish(*message)),
        P::PublishAck { packet_id } => Packet::Acknowledged(packet_id.get()),
        P::PublishRelease { packet_id } => Packet::Release(packet_id.get()),
        P::Subscribe { packet_id, topic_filters } => Packet::Subscribe(Subscribe {
            id: packet_id.get(),
            filters: topic_filters.into_iter().map(|(filter, qos)| (filter, qos_of(qos))).collect(),
            has_identifier: false,
        }),
        P::Unsubscribe { packet_id, topic_filters } => {
            Packet::Unsubscribe { id: packet_id.get(), filters: topic_filters }
        }
        P::PingRequest => Packet::Ping,
        P::Disconnect => Packet::Disconnect { with_will: false, expiry_seconds: None },
        P::ConnectAck(_)
        | P::PublishReceived { .. }
        | P::PublishComplete { .. }
        | P::SubscribeAck { .. }
        | P::UnsubscribeAck { .. }
        | P::PingResponse => Packet::Foreign,
    }
}

fn from_v5(packet: v5::Packet) -> Packet {
    use v5::Packet as P;
    match packet {
        P::Connect(connect) => Packet::Connect(Box::new(connect_v5(*connect))),
        P::Publish(message) => Packet::Publish(publish(*message)),
        P::PublishAck(ack) => Packet::Acknowledged(ack.packet_id.get()),
        P::PublishRelease(release) => Packet::Release(release.packet_id.get()),
        P::Subscribe(asked) => Packet::Subscribe(Subscribe {
            id: asked.packet_id.get(),
            filters: asked.topic_filters.into_iter().map(|(f, o)| (f, qos_of(o.qos))).collect(),
            has_identifier: asked.id.is_some(),
        }),
        P::Unsubscribe(asked) => {
            Packet::Unsubscribe { id: asked.packet_id.get(), filters: asked.topic_filters }
        }
        P::PingRequest => Packet::Ping,
        P::Disconnect(goodbye) => Packet::Disconnect {
            with_will: goodbye.reason_code != v5::DisconnectReasonCode::NormalDisconnection,
            expiry_seconds: goodbye.session_expiry_interval_secs,
        },
        P::Auth(_) => Packet::Auth,
        P::ConnectAck(_)
        | P::PublishReceived(_)
        | P::PublishComplete(_)
        | P::SubscribeAck(_)
        | P::UnsubscribeAck(_)
        | P::PingResponse => Packet::Foreign,
    }
}

fn connect_v3(connect: v3::Connect, version: Version) -> Connect {
    Connect {
        version,
        client_id: connect.client_id,
        username: connect.username,
        password: connect.password,
        is_clean: connect.clean_session,
        keep_alive_seconds: connect.keep_alive,
        expiry_seconds: if connect.clean_session { 0 } else { FOR_EVER },
        receive_maximum: V3_RECEIVE_MAXIMUM,
        packet_bytes_max: u32::MAX,
        will: connect.last_will.map(|will| Will {
            topic: will.topic,
            payload: will.message,
            is_retained: will.retain,
            delay_seconds: 0,
        }),
        has_auth_method: false,
        has_auth_data: false,
    }
}

fn connect_v5(connect: v5::Connect) -> Connect {
    Connect {
        version: Version::V5,
        client_id: connect.client_id,
        username: connect.username,
        password: connect.password,
        is_clean: connect.clean_start,
        keep_alive_seconds: connect.keep_alive,
        expiry_seconds: connect.session_expiry_interval_secs,
        receive_maximum: connect.receive_max.map_or(u16::MAX, NonZeroU16::get),
        packet_bytes_max: connect.max_packet_size.map_or(u32::MAX, std::num::NonZeroU32::get),
        will: connect.last_will.map(|will| Will {
            topic: will.topic,
            payload: will.message,
            is_retained: will.retain,
            delay_seconds: will.will_delay_interval_sec.unwrap_or(0),
        }),
        has_auth_method: connect.auth_method.is_some(),
        has_auth_data: connect.auth_data.is_some(),
    }
}

fn publish(message: Message) -> Publish {
    let oddity = message.properties.as_ref().and_then(oddity_of);
    Publish {
        topic: message.topic,
        payload: message.payload,
        qos: qos_of(message.qos),
        id: message.packet_id.map_or(0, NonZeroU16::get),
        is_resent: message.dup,
        is_retained: message.retain,
        oddity,
    }
}

fn oddity_of(properties: &v5::PublishProperties) -> Option<Oddity> {
    let has_nul = |text: &ByteString| text.as_bytes().contains(&0);
    if properties.topic_alias.is_some() {
        return Some(Oddity::TopicAlias);
    }
    if !properties.subscription_ids.is_empty() {
        return Some(Oddity::SubscriptionIdentifier);
    }
    // [MQTT-3.3.2-14] No wildcards in the topic of a response. [MQTT-1.5.4-2] No NUL in a text.
    let is_response_wrong =
        |topic: &ByteString| topic.is_empty() || topic.contains(['+', '#', '\0']);
    let is_wrong = properties.response_topic.as_ref().is_some_and(is_response_wrong)
        || properties.content_type.as_ref().is_some_and(has_nul)
        || properties.user_properties.iter().any(|(key, value)| has_nul(key) || has_nul(value));
    is_wrong.then_some(Oddity::BadProperty)
}
