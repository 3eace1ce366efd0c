//! What the connections gave in one turn of the loop: it goes to the journal as one batch. Pure.

use std::sync::Arc;

use bytes::Bytes;

use super::mailbox::Mailbox;
use super::packet::Will;
use super::terms::{Identity, Terms};
use crate::source::{AckToken, Incoming, SourceId};

/// Bytes that one turn gathers before the connections stop reading.
const TURN_BYTES_MAX: usize = 1 << 20;
/// What a record costs beside its bytes.
const OVERHEAD: usize = 128;

/// What was dropped on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    /// A QoS 0 message to a topic that is not its sender's.
    NotPermitted = 0,
    /// A will that its client may not publish any more.
    Will = 1,
    /// A command longer than its client takes.
    CommandTooLong = 2,
}

/// One turn of the loop.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) terms: Arc<Terms>,
    source: SourceId,
    /// Grows when records could not be made durable: earlier tokens are void.
    pub(crate) epoch: u64,
    uplinks: Vec<Incoming>,
    bytes: usize,
    /// Number of the last record that wants an acknowledgement.
    sequence: u64,
    /// Subscriptions made in this turn.
    pub(crate) subscribed: Vec<Arc<Mailbox>>,
    /// What was dropped in this turn, by [`Drop`].
    pub(crate) dropped: [u64; 3],
}

impl Turn {
    pub(crate) const fn new(terms: Arc<Terms>, source: SourceId) -> Self {
        Self {
            terms,
            source,
            epoch: 0,
            uplinks: Vec::new(),
            bytes: 0,
            sequence: 0,
            subscribed: Vec::new(),
            dropped: [0; 3],
        }
    }

    /// Takes a message that is to be acknowledged; returns the number of its record.
    pub(crate) fn record(&mut self, topic: Bytes, payload: Bytes) -> u64 {
        self.sequence += 1;
        self.push(topic, payload, Some(AckToken::new(self.epoch, self.sequence)));
        self.sequence
    }

    /// Takes a message of QoS 0, or a will.
    pub(crate) fn record_unanswered(&mut self, topic: Bytes, payload: Bytes) {
        self.push(topic, payload, None);
    }

    /// Publishes a will, if its client still may.
    pub(crate) fn publish_will(&mut self, identity: &Identity, will: Will) {
        if self.terms.may_publish(identity, &will.topic) {
            self.record_unanswered(will.topic.into_bytes(), will.payload);
        } else {
            self.drop(Drop::Will);
        }
    }

    /// Counts what is dropped on purpose.
    pub(crate) fn drop(&mut self, what: Drop) {
        if let Some(count) = self.dropped.get_mut(what as usize) {
            *count += 1;
        }
    }

    fn push(&mut self, topic: Bytes, payload: Bytes, ack: Option<AckToken>) {
        self.bytes += topic.len() + payload.len() + OVERHEAD;
        let source = self.source;
        self.uplinks.push(Incoming { source, topic, payload, ack, oversize: None });
    }

    /// Returns the number of the last record that wants an acknowledgement.
    pub(crate) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns whether nothing waits to be handed over.
    pub(crate) const fn is_empty(&self) -> bool {
        self.uplinks.is_empty()
    }

    /// Returns whether connections must stop reading until this is handed over.
    pub(crate) const fn is_full(&self) -> bool {
        self.bytes >= TURN_BYTES_MAX
    }

    /// Takes what was gathered.
    pub(crate) fn take(&mut self) -> Vec<Incoming> {
        self.bytes = 0;
        std::mem::take(&mut self.uplinks)
    }
}
