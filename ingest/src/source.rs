//! The seam between a source of uplinks and the journal.
//!
//! A source hands over [`Batch`]es; once their records are on disk the journal's side gives the
//! [`AckToken`]s back through [`Acknowledge`]. Nothing here knows a protocol.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use telemetry::text::{Text, say};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// Number of a source within one configuration, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);

/// Permission to acknowledge one message, valid on the connection it came by and on no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckToken {
    epoch: u64,
    sequence: u64,
}

impl AckToken {
    /// Makes the token of the message number `sequence` of connection number `epoch`.
    #[must_use]
    pub const fn new(epoch: u64, sequence: u64) -> Self {
        Self { epoch, sequence }
    }

    /// Returns the number of the connection.
    #[must_use]
    pub const fn epoch(self) -> u64 {
        self.epoch
    }

    /// Returns the place of the message in the order of arrival on its connection.
    #[must_use]
    pub const fn sequence(self) -> u64 {
        self.sequence
    }
}

/// One message as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Where it came from.
    pub source: SourceId,
    /// Topic in UTF-8, checked by the source; see [`Incoming::topic`].
    pub topic: Bytes,
    /// Body; cut where `oversize` says so. It may share one buffer with its neighbours, so what is
    /// kept for long is to be copied.
    pub payload: Bytes,
    /// What to give back once it is on disk; `None` where the sender asked for no acknowledgement.
    pub ack: Option<AckToken>,
    /// True length of the body in bytes, where the transport discarded most of it.
    pub oversize: Option<u64>,
}

impl Incoming {
    /// Returns the topic as text; empty for bytes that are not UTF-8, which no source passes on.
    #[must_use]
    pub fn topic(&self) -> &str {
        let text = std::str::from_utf8(&self.topic);
        debug_assert!(text.is_ok(), "a source passed on a topic that is not UTF-8");
        text.unwrap_or_default()
    }
}

/// What one turn of a source gave, in order of arrival; never empty.
///
/// It holds its share of the intake buffer until it is dropped: keep it until its bytes are written.
#[derive(Debug)]
pub struct Batch {
    uplinks: Vec<Incoming>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// Makes a batch that holds `room` of the intake buffer.
    #[must_use]
    pub const fn new(uplinks: Vec<Incoming>, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { uplinks, _room: room }
    }

    /// Returns the messages in order of arrival.
    #[must_use]
    pub fn uplinks(&self) -> &[Incoming] {
        &self.uplinks
    }

    /// Returns the tokens of all messages that ask for an acknowledgement, in order of arrival.
    pub fn tokens(&self) -> impl Iterator<Item = AckToken> + '_ {
        self.uplinks.iter().filter_map(|uplink| uplink.ack)
    }
}

/// Takes back what may be acknowledged. Callable from any thread; never waits for the network.
pub trait Acknowledge: Debug + Send + Sync {
    /// Acknowledges messages that are on disk. Tokens of an older connection are dropped.
    ///
    /// Acknowledgements leave in order of arrival: one that is settled early waits for the earlier ones.
    /// Hand in the tokens of one fsync together; they are written together.
    fn acknowledge(&self, tokens: &[AckToken]);

    /// Ends the connection and makes another: what is not acknowledged could not be made durable, and the other
    /// side sends it again only on a new connection.
    fn send_again(&self);

    /// Returns how many messages of the current connection are not acknowledged.
    fn unacked(&self) -> usize;

    /// Returns how many unacknowledged messages the other side may send at most.
    fn window(&self) -> usize;

    /// Returns whether the other side sends nothing more before an acknowledgement, as far as is known: it may
    /// have a smaller window than we allow it.
    fn is_used_up(&self) -> bool {
        self.unacked() >= self.window()
    }
}

/// How a source stands with its other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected yet, first try under way.
    Connecting,
    /// Connected; subscriptions are not confirmed.
    Connected {
        /// Whether the broker had kept the session, with what it holds for us.
        session_present: bool,
    },
    /// Every subscription is confirmed: uplinks flow.
    Subscribed,
    /// Disconnected by ourselves, because the intake buffer stayed full; the session is kept.
    Blocked,
    /// Not connected; tried again with growing pauses.
    Down {
        /// What happened.
        reason: Text,
        /// What to do about it.
        remedy: Text,
    },
}

impl LinkState {
    /// Returns what is wrong and what to do about it, or `None` while uplinks flow.
    #[must_use]
    pub fn problem(&self) -> Option<(Text, Text)> {
        let waiting = || say("ingest.source.remedy_wait", &[]);
        match self {
            Self::Subscribed => None,
            Self::Connecting => Some((say("ingest.source.connecting", &[]), waiting())),
            Self::Connected { .. } => Some((say("ingest.source.subscribing", &[]), waiting())),
            Self::Blocked => {
                Some((say("ingest.source.blocked", &[]), say("ingest.source.remedy_blocked", &[])))
            }
            Self::Down { reason, remedy } => Some((reason.clone(), remedy.clone())),
        }
    }
}

/// Alarms about a source that stand at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alarms {
    /// The same error ended the connection again and again.
    pub repeated: Option<Text>,
    /// Connected, and yet nothing has come for longer than configured.
    pub silence: Option<Text>,
}

impl Alarms {
    /// Sets one of the alarms; whoever watches them hears of a change alone.
    pub(crate) fn set(
        alarms: &watch::Sender<Self>,
        which: impl FnOnce(&mut Self) -> &mut Option<Text>,
        told: Option<Text>,
    ) {
        alarms.send_if_modified(|alarms| {
            let alarm = which(alarms);
            let is_new = *alarm != told;
            *alarm = told;
            is_new
        });
    }
}

/// What a running source offers to the rest of the process.
#[derive(Debug)]
pub struct Intake {
    /// Which source this is.
    pub source: SourceId,
    /// What it takes in. Dropping it ends the source.
    pub batches: mpsc::Receiver<Batch>,
    /// Where acknowledgements go.
    pub acks: Arc<dyn Acknowledge>,
    /// How it stands with its other side.
    pub link: watch::Receiver<LinkState>,
    /// Alarms that stand at the moment.
    pub alarms: watch::Receiver<Alarms>,
}
