//! What a client says, in one form for all versions.

use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;

use super::frame::Version;

/// How surely a message is to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Qos {
    /// At most once: nothing is answered.
    Zero,
    /// At least once: PUBACK.
    One,
    /// Exactly once: PUBREC, PUBREL, PUBCOMP.
    Two,
}

/// One packet of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    /// PUBACK of a command.
    Acknowledged(u16),
    /// PUBREL.
    Release(u16),
    Subscribe(Subscribe),
    Unsubscribe {
        id: u16,
        filters: Vec<ByteString>,
    },
    Ping,
    Disconnect {
        with_will: bool,
        expiry_seconds: Option<u32>,
    },
    Auth,
    /// A packet that only servers send, or that answers nothing we sent.
    Foreign,
}

/// CONNECT. Its `Debug` shows no password.
#[derive(PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) client_id: ByteString,
    pub(crate) username: Option<ByteString>,
    pub(crate) password: Option<Bytes>,
    /// Clean session, or clean start.
    pub(crate) is_clean: bool,
    pub(crate) keep_alive_seconds: u16,
    /// How long the session outlives the connection; `u32::MAX` is for ever.
    pub(crate) expiry_seconds: u32,
    /// How many commands the client takes at a time.
    pub(crate) receive_maximum: u16,
    /// Longest packet that the client takes.
    pub(crate) packet_bytes_max: u32,
    pub(crate) will: Option<Will>,
    pub(crate) has_auth_method: bool,
    pub(crate) has_auth_data: bool,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

/// What is published for a client that vanished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    pub(crate) is_retained: bool,
    /// How long to wait for the client to come back.
    pub(crate) delay_seconds: u32,
}

/// PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) topic: ByteString,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    /// 0 for QoS 0.
    pub(crate) id: u16,
    pub(crate) is_resent: bool,
    pub(crate) is_retained: bool,
    pub(crate) oddity: Option<Oddity>,
}

/// What a PUBLISH has that it must not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oddity {
    /// A topic alias, while Topic Alias Maximum is 0.
    TopicAlias,
    /// A subscription identifier, which only servers send.
    SubscriptionIdentifier,
    /// A response topic with wildcards, or NUL in a text.
    BadProperty,
}

/// SUBSCRIBE.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subscribe {
    pub(crate) id: u16,
    pub(crate) filters: Vec<(ByteString, Qos)>,
    pub(crate) has_identifier: bool,
}
