//! Why a connection is refused or ended, with the codes that MQTT has for it.

use rmqtt_codec::{v3, v5};

/// Why a connection is refused or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client said DISCONNECT.
    Goodbye,
    /// The network ended it.
    Lost,
    /// The first packet is none of MQTT.
    NotMqtt,
    /// The first packet is not CONNECT.
    NotConnect,
    /// CONNECT did not come in time.
    Silent,
    /// Bytes that are no packet.
    Malformed,
    /// A packet that must not come here.
    Protocol,
    /// A version that nobody here speaks.
    UnsupportedVersion,
    /// Longer than the limit.
    PacketTooLarge,
    /// A client identifier that cannot be used.
    ClientId,
    /// User name and password, or certificate, do not prove anything.
    BadCredentials,
    /// Proven, and yet not allowed.
    NotAuthorized,
    /// An authentication method beyond user name and password.
    BadAuthMethod,
    /// More connections, sessions or checks of passwords than the limits allow.
    Busy,
    /// One device has more connections than it may.
    Quota,
    /// A topic name that is none.
    TopicInvalid,
    /// A topic alias, where none was allowed.
    TopicAlias,
    /// A retained message.
    Retain,
    /// More messages in flight than allowed.
    ReceiveMaximum,
    /// A subscription identifier.
    SubscriptionIdentifier,
    /// Nothing came for one and a half times the keep-alive.
    KeepAlive,
    /// It does not read what it is sent.
    Stuck,
    /// The same client connected again.
    TakenOver,
    /// What it sent could not be made durable.
    NotDurable,
    /// This process ends.
    ShuttingDown,
}

impl Fault {
    /// Every fault, in the order of their numbers.
    pub(crate) const ALL: [Self; 25] = [
        Self::Goodbye,
        Self::Lost,
        Self::NotMqtt,
        Self::NotConnect,
        Self::Silent,
        Self::Malformed,
        Self::Protocol,
        Self::UnsupportedVersion,
        Self::PacketTooLarge,
        Self::ClientId,
        Self::BadCredentials,
        Self::NotAuthorized,
        Self::BadAuthMethod,
        Self::Busy,
        Self::Quota,
        Self::TopicInvalid,
        Self::TopicAlias,
        Self::Retain,
        Self::ReceiveMaximum,
        Self::SubscriptionIdentifier,
        Self::KeepAlive,
        Self::Stuck,
        Self::TakenOver,
        Self::NotDurable,
        Self::ShuttingDown,
    ];

    /// Returns the metric label.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Lost => "lost",
            Self::NotMqtt => "not_mqtt",
            Self::NotConnect => "not_connect",
            Self::Silent => "silent",
            Self::Malformed => "malformed",
            Self::Protocol => "protocol",
            Self::UnsupportedVersion => "unsupported_version",
            Self::PacketTooLarge => "packet_too_large",
            Self::ClientId => "client_id",
            Self::BadCredentials => "bad_credentials",
            Self::NotAuthorized => "not_authorized",
            Self::BadAuthMethod => "bad_auth_method",
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::TopicInvalid => "topic_invalid",
            Self::TopicAlias => "topic_alias",
            Self::Retain => "retain",
            Self::ReceiveMaximum => "receive_maximum",
            Self::SubscriptionIdentifier => "subscription_identifier",
            Self::KeepAlive => "keep_alive",
            Self::Stuck => "stuck",
            Self::TakenOver => "taken_over",
            Self::NotDurable => "not_durable",
            Self::ShuttingDown => "shutting_down",
        }
    }

    /// Returns the reason code of an MQTT 5 DISCONNECT; `None` where there is nobody to say it to.
    pub(crate) const fn disconnect(self) -> Option<v5::DisconnectReasonCode> {
        use v5::DisconnectReasonCode as C;
        Some(match self {
            Self::Goodbye | Self::Lost | Self::NotMqtt | Self::NotConnect | Self::Silent => {
                return None;
            }
            Self::Malformed => C::MalformedPacket,
            Self::Protocol | Self::UnsupportedVersion | Self::ClientId => C::ProtocolError,
            Self::PacketTooLarge => C::PacketTooLarge,
            Self::BadCredentials | Self::NotAuthorized => C::NotAuthorized,
            Self::BadAuthMethod => C::BadAuthenticationMethod,
            Self::Busy | Self::NotDurable => C::ServerBusy,
            Self::Quota => C::QuotaExceeded,
            Self::TopicInvalid => C::TopicNameInvalid,
            Self::TopicAlias => C::TopicAliasInvalid,
            Self::Retain => C::RetainNotSupported,
            Self::ReceiveMaximum => C::ReceiveMaximumExceeded,
            Self::SubscriptionIdentifier => C::SubscriptionIdentifiersNotSupported,
            Self::KeepAlive => C::KeepAliveTimeout,
            Self::Stuck => C::UnspecifiedError,
            Self::TakenOver => C::SessionTakenOver,
            Self::ShuttingDown => C::ServerShuttingDown,
        })
    }

    /// Returns the reason code of an MQTT 5 CONNACK; `None` where the connection is closed without a word.
    pub(crate) const fn refusal_v5(self) -> Option<v5::ConnectAckReason> {
        use v5::ConnectAckReason as C;
        Some(match self {
            Self::Malformed => C::MalformedPacket,
            Self::Protocol => C::ProtocolError,
            Self::UnsupportedVersion => C::UnsupportedProtocolVersion,
            Self::PacketTooLarge => C::PacketTooLarge,
            Self::ClientId => C::ClientIdentifierNotValid,
            Self::BadCredentials => C::BadUserNameOrPassword,
            Self::NotAuthorized => C::NotAuthorized,
            Self::BadAuthMethod => C::BadAuthenticationMethod,
            Self::Busy => C::ServerBusy,
            Self::ShuttingDown => C::ServerUnavailable,
            Self::Quota => C::QuotaExceeded,
            Self::TopicInvalid => C::TopicNameInvalid,
            Self::Retain => C::RetainNotSupported,
            Self::Goodbye
            | Self::Lost
            | Self::NotMqtt
            | Self::NotConnect
            | Self::Silent
            | Self::TopicAlias
            | Self::ReceiveMaximum
            | Self::SubscriptionIdentifier
            | Self::KeepAlive
            | Self::Stuck
            | Self::TakenOver
            | Self::NotDurable => return None,
        })
    }

    /// Returns the return code of an MQTT 3 CONNACK; `None` where the connection is closed without a word.
    pub(crate) const fn refusal_v3(self) -> Option<v3::ConnectAckReason> {
        use v3::ConnectAckReason as C;
        Some(match self {
            Self::UnsupportedVersion => C::UnacceptableProtocolVersion,
            Self::ClientId => C::IdentifierRejected,
            Self::Busy | Self::Quota | Self::ShuttingDown => C::ServiceUnavailable,
            Self::BadCredentials => C::BadUserNameOrPassword,
            Self::NotAuthorized | Self::TopicInvalid => C::NotAuthorized,
            Self::Goodbye
            | Self::Lost
            | Self::NotMqtt
            | Self::NotConnect
            | Self::Silent
            | Self::Malformed
            | Self::Protocol
            | Self::PacketTooLarge
            | Self::BadAuthMethod
            | Self::TopicAlias
            | Self::Retain
            | Self::ReceiveMaximum
            | Self::SubscriptionIdentifier
            | Self::KeepAlive
            | Self::Stuck
            | Self::TakenOver
            | Self::NotDurable => return None,
        })
    }
}
