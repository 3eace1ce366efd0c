//! Answers of the listener, written by the codec library.

use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use rmqtt_codec::types::{Publish as Message, QoS};
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Encoder;

use super::codec::Codec;
use super::fault::Fault;
use super::packet::Qos;

/// Answer to a PUBLISH or PUBREL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// PUBACK.
    Acknowledged,
    /// PUBREC.
    Received,
    /// PUBCOMP.
    Complete,
    /// PUBACK 0x87 (MQTT 5).
    RefusedOne,
    /// PUBREC 0x87 (MQTT 5).
    RefusedTwo,
    /// PUBCOMP, in MQTT 5 with 0x92: nothing is known by this id.
    Unknown,
}

/// Answer to one filter of SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    Granted(Qos),
    NotAuthorized,
    Shared,
    Wildcard,
    Invalid,
    Quota,
}

/// CONNACK of a connection that is let in. What is `None` is as the client asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Welcome {
    pub(crate) is_session_present: bool,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) keep_alive_seconds: Option<u16>,
    pub(crate) expiry_seconds: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
}

/// A message to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Bytes,
    /// Packet id of QoS 1; `None` for QoS 0.
    pub(crate) id: Option<NonZeroU16>,
    pub(crate) is_resent: bool,
}

impl Codec {
    pub(crate) fn welcome(&mut self, welcome: Welcome, out: &mut BytesMut) {
        let v5_ack = v5::ConnectAck {
            session_present: welcome.is_session_present,
            session_expiry_interval_secs: welcome.expiry_seconds,
            receive_max: NonZeroU16::new(welcome.receive_maximum).unwrap_or(NonZeroU16::MIN),
            max_packet_size: Some(welcome.packet_bytes_max),
            assigned_client_id: welcome.assigned_client_id.map(ByteString::from),
            retain_available: false,
            wildcard_subscription_available: false,
            subscription_identifiers_available: false,
            shared_subscription_available: false,
            server_keepalive_sec: welcome.keep_alive_seconds,
            ..v5::ConnectAck::default()
        };
        let v3_ack = v3::ConnectAck {
            return_code: v3::ConnectAckReason::ConnectionAccepted,
            session_present: welcome.is_session_present,
        };
        self.either(v3::Packet::ConnectAck(v3_ack), v5_ack.into(), out);
    }

    /// Writes the CONNACK that refuses a connection; nothing where MQTT has none for it.
    pub(crate) fn refuse(&mut self, fault: Fault, out: &mut BytesMut) {
        if let Self::V5(codec) = self {
            let Some(reason_code) = fault.refusal_v5() else { return };
            put_v5(codec, v5::ConnectAck { reason_code, ..v5::ConnectAck::default() }.into(), out);
        } else if let Some(return_code) = fault.refusal_v3() {
            let ack = v3::ConnectAck { return_code, session_present: false };
            put_v3(v3::Packet::ConnectAck(ack), out);
        }
    }

    /// Writes the answer to a PUBLISH or PUBREL. Without a reason it is the same in all versions.
    pub(crate) fn answer(&mut self, answer: Answer, packet_id: NonZeroU16, out: &mut BytesMut) {
        let refused = v5::PublishAck {
            packet_id,
            reason_code: v5::PublishAckReason::NotAuthorized,
            ..v5::PublishAck::default()
        };
        match (answer, self) {
            (Answer::RefusedOne, Self::V5(codec)) => {
                put_v5(codec, v5::Packet::PublishAck(refused), out);
            }
            (Answer::RefusedTwo, Self::V5(codec)) => {
                put_v5(codec, v5::Packet::PublishReceived(refused), out);
            }
            (Answer::Unknown, Self::V5(codec)) => {
                let reason_code = v5::PublishAck2Reason::PacketIdNotFound;
                let ack = v5::PublishAck2 { packet_id, reason_code, ..v5::PublishAck2::default() };
                put_v5(codec, v5::Packet::PublishComplete(ack), out);
            }
            (Answer::Acknowledged | Answer::RefusedOne, _) => {
                put_v3(v3::Packet::PublishAck { packet_id }, out);
            }
            (Answer::Received | Answer::RefusedTwo, _) => {
                put_v3(v3::Packet::PublishReceived { packet_id }, out);
            }
            (Answer::Complete | Answer::Unknown, _) => {
                put_v3(v3::Packet::PublishComplete { packet_id }, out);
            }
        }
    }

    pub(crate) fn suback(&mut self, packet_id: NonZeroU16, grants: &[Grant], out: &mut BytesMut) {
        let v3_ack = v3::Packet::SubscribeAck {
            packet_id,
            status: grants.iter().copied().map(grant_v3).collect(),
        };
        let v5_ack = v5::SubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: grants.iter().copied().map(grant_v5).collect(),
        };
        self.either(v3_ack, v5_ack.into(), out);
    }

    /// `existed`: for each filter, whether it was subscribed.
    pub(crate) fn unsuback(&mut self, packet_id: NonZeroU16, existed: &[bool], out: &mut BytesMut) {
        let reason = |existed: &bool| {
            if *existed {
                v5::UnsubscribeAckReason::Success
            } else {
                v5::UnsubscribeAckReason::NoSubscriptionExisted
            }
        };
        let v5_ack = v5::UnsubscribeAck {
            packet_id,
            properties: Vec::new(),
            reason_string: None,
            status: existed.iter().map(reason).collect(),
        };
        let v5_ack = v5::Packet::UnsubscribeAck(v5_ack);
        self.either(v3::Packet::UnsubscribeAck { packet_id }, v5_ack, out);
    }

    pub(crate) fn pong(out: &mut BytesMut) {
        put_v3(v3::Packet::PingResponse, out);
    }

    /// Writes an MQTT 5 DISCONNECT; MQTT 3 has none from a server.
    pub(crate) fn disconnect(&mut self, fault: Fault, out: &mut BytesMut) {
        if let (Self::V5(codec), Some(code)) = (self, fault.disconnect()) {
            put_v5(codec, v5::Disconnect::new(code).into(), out);
        }
    }

    pub(crate) fn command(&mut self, command: &Command, out: &mut BytesMut) {
        let message = Message {
            dup: command.is_resent,
            retain: false,
            qos: command.id.map_or(QoS::AtMostOnce, |_| QoS::AtLeastOnce),
            topic: ByteString::from(&*command.topic),
            packet_id: command.id,
            payload: command.payload.clone(),
            properties: None,
        };
        let v3_message = v3::Packet::Publish(Box::new(message.clone()));
        self.either(v3_message, v5::Packet::Publish(Box::new(message)), out);
    }

    fn either(&mut self, for_v3: v3::Packet, for_v5: v5::Packet, out: &mut BytesMut) {
        match self {
            Self::V5(codec) => put_v5(codec, for_v5, out),
            Self::V3(..) | Self::Unknown => put_v3(for_v3, out),
        }
    }
}

fn put_v3(packet: v3::Packet, out: &mut BytesMut) {
    let written = v3::Codec::new(0).encode(packet, out);
    debug_assert!(written.is_ok(), "an answer of ours cannot be written: {written:?}");
}

fn put_v5(codec: &mut v5::Codec, packet: v5::Packet, out: &mut BytesMut) {
    let written = codec.encode(packet, out);
    debug_assert!(written.is_ok(), "an answer of ours cannot be written: {written:?}");
}

const fn grant_v3(grant: Grant) -> v3::SubscribeReturnCode {
    match grant {
        Grant::Granted(Qos::Zero) => v3::SubscribeReturnCode::Success(QoS::AtMostOnce),
        Grant::Granted(Qos::One | Qos::Two) => v3::SubscribeReturnCode::Success(QoS::AtLeastOnce),
        Grant::NotAuthorized | Grant::Shared | Grant::Wildcard | Grant::Invalid | Grant::Quota => {
            v3::SubscribeReturnCode::Failure
        }
    }
}

const fn grant_v5(grant: Grant) -> v5::SubscribeAckReason {
    use v5::SubscribeAckReason as C;
    match grant {
        Grant::Granted(Qos::Zero) => C::GrantedQos0,
        Grant::Granted(Qos::One | Qos::Two) => C::GrantedQos1,
        Grant::NotAuthorized => C::NotAuthorized,
        Grant::Shared => C::SharedSubscriptionNotSupported,
        Grant::Wildcard => C::WildcardSubscriptionsNotSupported,
        Grant::Invalid => C::TopicFilterInvalid,
        Grant::Quota => C::QuotaExceeded,
    }
}
