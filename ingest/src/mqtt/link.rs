//! One connection in either protocol: the narrow place where MQTT 5 and MQTT 3.1.1 differ.
//!
//! Everything above sees [`Link`], [`Heard`] and [`Loss`]; what is in `v5` and `v3` translates and decides nothing.

use std::io;

use bytes::Bytes;

use super::client::Dialer;
use super::config::Protocol;
use super::oversize::Stubs;
use super::{v3, v5};

/// Our own messages in flight. We publish none, and the client goes over this table with every flush.
pub(crate) const OUTGOING_MOST: u16 = 100;
/// Packets that the client takes from one read.
pub(crate) const READ_BATCH: usize = 128;
/// Requests that may wait: one SUBSCRIBE, and a PUBREC for each `QoS` 2 message of an older subscription.
pub(crate) const REQUESTS_MOST: usize = 1024;
/// How long CONNACK may take.
pub(crate) const CONNECT_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// A PUBLISH as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) receipt: Receipt,
}

/// What a PUBLISH asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// `QoS` 0: nothing.
    None,
    /// `QoS` 1: PUBACK.
    AtLeastOnce(u16),
    /// `QoS` 2: PUBREC.
    ExactlyOnce(u16),
}

/// What the broker said about one topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// `QoS` 1 or better.
    Granted,
    /// `QoS` 0 only.
    Downgraded,
    /// Refused, with the broker's code.
    Refused(String),
}

/// What one turn of a link brought, to be taken in the order of the fields.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// CONNACK, and whether it said that the session was kept.
    pub(crate) connack: Option<bool>,
    /// SUBACK, in the order of the topics.
    pub(crate) suback: Option<Vec<Grant>>,
    pub(crate) arrived: Vec<Arrived>,
}

/// Why the broker took no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Credentials,
    NotAuthorised,
    ClientId,
    Version,
    Other(String),
}

/// What ended a connection, or an attempt at one.
#[derive(Debug)]
pub(crate) enum Loss {
    Refused(Refusal),
    /// TCP or TLS.
    Io(io::Error),
    /// No answer in time.
    Silent,
    /// Another client has our id.
    TakenOver,
    /// DISCONNECT of MQTT 5, with its reason.
    SentAway(String),
    /// Closed without a word.
    Closed,
    /// No answer to a ping.
    NoSignOfLife,
    /// Bytes that are no MQTT.
    Malformed(String),
    Other(String),
}

/// A client for one connection; the next connection gets a new one.
pub(crate) enum Link {
    V5(Box<v5::Link>),
    V3(Box<v3::Link>),
}

/// Sends through a link from elsewhere.
#[derive(Clone)]
pub(crate) enum Sender {
    V5(rumqttc::AsyncClient),
    V3(rumqttc_v4::AsyncClient),
}

impl Link {
    /// Makes a client; polling it connects.
    pub(crate) fn new(dialer: &Dialer, stubs: &Stubs) -> Self {
        match dialer.config.protocol {
            Protocol::V5 => Self::V5(Box::new(v5::Link::new(dialer, stubs))),
            Protocol::V3 => Self::V3(Box::new(v3::Link::new(dialer, stubs))),
        }
    }

    /// Waits for packets and adds them to `heard`. Dropping it half-way loses nothing once connected.
    pub(crate) async fn poll(&mut self, heard: &mut Heard) -> Result<(), Loss> {
        match self {
            Self::V5(link) => link.poll(heard).await,
            Self::V3(link) => link.poll(heard).await,
        }
    }

    pub(crate) fn sender(&self) -> Sender {
        match self {
            Self::V5(link) => Sender::V5(link.client.clone()),
            Self::V3(link) => Sender::V3(link.client.clone()),
        }
    }

    /// Asks for every topic at `QoS` 1; the error is that of a filter that is none.
    pub(crate) fn subscribe(&self, topics: &[String]) -> Result<(), String> {
        match self {
            Self::V5(link) => link.subscribe(topics),
            Self::V3(link) => link.subscribe(topics),
        }
    }

    /// Disconnects in order. Acknowledgements that were settled go out before; polling ends with an error then.
    /// Returns whether there is anything to wait for.
    pub(crate) fn disconnect(&self) -> bool {
        match self {
            Self::V5(link) => link.disconnect(),
            Self::V3(link) => link.disconnect(),
        }
    }
}

impl Sender {
    /// Answers a `QoS` 2 message; the error says why it could not.
    pub(crate) fn pubrec(&self, id: u16) -> Result<(), String> {
        match self {
            Self::V5(client) => {
                let ack = rumqttc::ManualAck::PubRec(rumqttc::PubRec::new(id, None));
                client.try_manual_ack(ack).map_err(|error| error.to_string())
            }
            Self::V3(client) => {
                let ack = rumqttc_v4::ManualAck::PubRec(rumqttc_v4::PubRec::new(id));
                client.try_manual_ack(ack).map_err(|error| error.to_string())
            }
        }
    }
}

/// Writes a PUBACK; the same four bytes in both protocols.
pub(crate) const fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}
