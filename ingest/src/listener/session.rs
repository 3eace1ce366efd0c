//! What is kept for a client from one connection to the next: open QoS 2 exchanges, subscriptions, commands. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use super::answer::Command;
use super::mailbox::Mailbox;
use super::packet::Will;
use super::terms::Identity;

/// Subscriptions of one session.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 16;
/// Commands in flight to one client, however many it would take.
const COMMANDS_IN_FLIGHT_MAX: usize = 16;

/// The state of one client.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Packet ids of QoS 2 messages that were recorded and not released, with the number of their record.
    pub(crate) exchanges: BTreeMap<u16, u64>,
    /// What the client is subscribed to.
    pub(crate) subscriptions: Vec<Arc<Mailbox>>,
    /// Commands sent and not acknowledged, in the order of sending.
    in_flight: VecDeque<Command>,
    last_id: u16,
    /// The will of a connection that ended, until it is due.
    pub(crate) will: Option<Testament>,
}

/// A will whose connection ended.
#[derive(Debug)]
pub(crate) struct Testament {
    /// Whose will, so that what it may publish is judged again.
    pub(crate) identity: Identity,
    pub(crate) will: Will,
    pub(crate) due: Instant,
}

impl Session {
    /// Forgets QoS 2 messages whose record was not durable: the client sends them again.
    pub(crate) fn forget_after(&mut self, durable: u64) {
        self.exchanges.retain(|_, record| *record <= durable);
    }

    /// Returns the commands that a new connection sends again, in their old order ([MQTT-4.6.0-1]).
    pub(crate) fn resend(&mut self) -> impl Iterator<Item = &Command> {
        for command in &mut self.in_flight {
            command.is_resent = true;
        }
        self.in_flight.iter()
    }

    /// Takes the next command to send, if the client's window has room.
    pub(crate) fn next_command(&mut self, receive_maximum: u16) -> Option<Command> {
        let window = usize::from(receive_maximum).min(COMMANDS_IN_FLIGHT_MAX);
        if self.in_flight.len() >= window {
            return None;
        }
        let (mailbox, payload) =
            self.subscriptions.iter().find_map(|mailbox| Some((mailbox, mailbox.take()?)))?;
        let topic = Arc::clone(mailbox.topic());
        let is_at_least_once = mailbox.is_at_least_once();
        let id = is_at_least_once.then(|| self.free_id());
        let command = Command { topic, payload, id, is_resent: false };
        if id.is_some() {
            self.in_flight.push_back(command.clone());
        }
        Some(command)
    }

    /// Notes the PUBACK of a command. One for an unknown id changes nothing.
    pub(crate) fn acknowledged(&mut self, id: u16) {
        self.in_flight.retain(|command| command.id.map(NonZeroU16::get) != Some(id));
    }

    /// Returns the subscription to a topic.
    pub(crate) fn subscription(&self, topic: &str) -> Option<&Arc<Mailbox>> {
        self.subscriptions.iter().find(|mailbox| &**mailbox.topic() == topic)
    }

    /// Subscribes to a topic that it is not subscribed to. `false`: there are too many.
    pub(crate) fn subscribe(&mut self, mailbox: Arc<Mailbox>) -> bool {
        debug_assert!(
            self.subscription(mailbox.topic()).is_none(),
            "its commands would come twice"
        );
        let has_room = self.subscriptions.len() < SUBSCRIPTIONS_MAX;
        if has_room {
            self.subscriptions.push(mailbox);
        }
        has_room
    }

    /// Unsubscribes; returns whether it was subscribed.
    pub(crate) fn unsubscribe(&mut self, filter: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|mailbox| &**mailbox.topic() != filter);
        self.subscriptions.len() < before
    }

    fn free_id(&mut self) -> NonZeroU16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let Some(id) = NonZeroU16::new(self.last_id) else { continue };
            // At most 16 are in use, so that a free one comes soon.
            if self.in_flight.iter().all(|command| command.id != Some(id)) {
                return id;
            }
        }
    }
}
