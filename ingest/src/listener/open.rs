//! A connection that has its session: messages in, acknowledgements once they are durable. Pure.
//!
//! - **L1** No PUBACK or PUBREC precedes the durability of its record, and they leave in order of arrival.
//! - **L2** A QoS 2 message is recorded once, from its first PUBLISH to its PUBREL, also across connections.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use super::answer::{Answer, Grant};
use super::codec::Codec;
use super::connect;
use super::fault::Fault;
use super::mailbox::Mailbox;
use super::packet::{Connect, Oddity, Packet, Publish, Qos, Subscribe, Will};
use super::session::Session;
use super::sessions::SessionKey;
use super::terms::{Limits, Terms};
use super::turn::{Drop, Turn};

/// QoS 2 messages that an MQTT 3 client may leave without PUBREL: it cannot be told a Receive Maximum.
const EXCHANGES_MAX: usize = 10_000;
/// Answers and their buffer.
type Wire<'c> = (&'c mut Codec, &'c mut BytesMut);

/// An answer that waits for its record.
#[derive(Debug, Clone, Copy)]
struct Unacked {
    record: u64,
    id: NonZeroU16,
    answer: Answer,
}

/// The state of an open connection.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) key: SessionKey,
    pub(crate) session: Box<Session>,
    pub(crate) will: Option<Will>,
    /// How long the session outlives the connection.
    pub(crate) lasts: Duration,
    /// Longest silence: one and a half times the keep-alive, [MQTT-3.1.2-22].
    pub(crate) silence_max: Duration,
    expires_at_all: bool,
    unacked: VecDeque<Unacked>,
    /// Number of the last durable record.
    durable: u64,
    /// Messages of QoS 1 and 2 of this connection that are not settled: what Receive Maximum bounds.
    unsettled: u32,
    receive_maximum: u16,
    packet_bytes_max: u32,
    /// The topic that was permitted last, under which generation of the terms.
    permitted: (u64, String),
}

impl Open {
    pub(crate) fn new(
        asked: &Connect,
        key: SessionKey,
        session: Box<Session>,
        limits: &Limits,
    ) -> Self {
        // What is kept for long must not hold the read buffer.
        let own = |will: &Will| Will {
            topic: ByteString::from(&*will.topic),
            payload: Bytes::copy_from_slice(&will.payload),
            ..will.clone()
        };
        Self {
            key,
            session,
            will: asked.will.as_ref().map(own),
            lasts: connect::lasts(asked.expiry_seconds, limits),
            silence_max: connect::keep_alive(asked, limits) * 3 / 2,
            expires_at_all: asked.expiry_seconds > 0,
            unacked: VecDeque::new(),
            durable: 0,
            unsettled: 0,
            receive_maximum: asked.receive_maximum,
            packet_bytes_max: asked.packet_bytes_max,
            permitted: (u64::MAX, String::new()),
        }
    }

    /// Takes one packet.
    pub(crate) fn handle(
        &mut self,
        packet: Packet,
        wire: Wire<'_>,
        turn: &mut Turn,
    ) -> Result<(), Fault> {
        let (codec, answers) = wire;
        match packet {
            Packet::Publish(publish) => return self.publish(publish, codec.is_v5(), turn),
            Packet::Acknowledged(id) => self.session.acknowledged(id),
            Packet::Release(id) => self.release(id, codec, answers)?,
            Packet::Subscribe(asked) => self.subscribe(&asked, (codec, answers), turn)?,
            Packet::Unsubscribe { id, filters } => {
                self.unsubscribe(id, &filters, codec, answers)?
            }
            Packet::Ping => Codec::pong(answers),
            Packet::Disconnect { with_will, expiry_seconds } => {
                return Err(self.disconnect(with_will, expiry_seconds, &turn.terms.limits));
            }
            // [MQTT-3.1.0-2] A second CONNECT. AUTH belongs to a method that CONNECT did not name.
            Packet::Connect(_) | Packet::Auth | Packet::Foreign => return Err(Fault::Protocol),
        }
        Ok(())
    }

    fn publish(&mut self, publish: Publish, is_v5: bool, turn: &mut Turn) -> Result<(), Fault> {
        self.refuse_oddities(&publish, is_v5)?;
        let is_permitted = self.may_publish(&publish.topic, &turn.terms);
        // [MQTT-3.3.5-2] MQTT 3 has no answer that refuses a message, so the connection ends.
        if !is_permitted && !is_v5 {
            return Err(Fault::NotAuthorized);
        }
        let Some(id) = NonZeroU16::new(publish.id).filter(|_| publish.qos != Qos::Zero) else {
            if is_permitted {
                turn.record_unanswered(publish.topic.into_bytes(), publish.payload);
            } else {
                turn.drop(Drop::NotPermitted);
            }
            return Ok(());
        };
        if self.is_a_repeat(&publish, id) {
            return Ok(());
        }
        self.count_unsettled(is_v5, &turn.terms.limits)?;
        let answer = match (publish.qos, is_permitted) {
            (Qos::Two, true) => Answer::Received,
            (Qos::Two, false) => Answer::RefusedTwo,
            (Qos::One | Qos::Zero, true) => Answer::Acknowledged,
            (Qos::One | Qos::Zero, false) => Answer::RefusedOne,
        };
        let record = self.record_of(publish, is_permitted, turn);
        self.unacked.push_back(Unacked { record, id, answer });
        Ok(())
    }

    fn refuse_oddities(&self, publish: &Publish, is_v5: bool) -> Result<(), Fault> {
        match publish.oddity {
            Some(Oddity::TopicAlias) => return Err(Fault::TopicAlias),
            Some(Oddity::SubscriptionIdentifier | Oddity::BadProperty) => {
                return Err(Fault::Protocol);
            }
            None => {}
        }
        // [MQTT-3.3.2-1], [MQTT-3.3.2-2]; what was permitted before is a topic name.
        let is_known = !publish.topic.is_empty() && *publish.topic == *self.permitted.1;
        if !is_known && Terms::is_no_topic(&publish.topic) {
            return Err(Fault::TopicInvalid);
        }
        // [MQTT-3.2.2-14] Retain Available is 0. MQTT 3 cannot say so: there it is a message like others.
        if publish.is_retained && is_v5 { Err(Fault::Retain) } else { Ok(()) }
    }

    fn may_publish(&mut self, topic: &str, terms: &Terms) -> bool {
        if self.permitted.0 == terms.generation && self.permitted.1 == topic {
            return true;
        }
        let is_permitted = terms.may_publish(&self.key.identity, topic);
        if is_permitted {
            self.permitted.0 = terms.generation;
            self.permitted.1.clear();
            self.permitted.1.push_str(topic);
        }
        is_permitted
    }

    /// Returns whether the message waits for its record already: its answer comes with it.
    fn is_a_repeat(&self, publish: &Publish, id: NonZeroU16) -> bool {
        let waits = |answer| {
            self.unacked.iter().any(|unacked| unacked.id == id && unacked.answer == answer)
        };
        match publish.qos {
            Qos::Two => self.session.exchanges.contains_key(&publish.id) && waits(Answer::Received),
            // [MQTT-3.3.1-1] A message that is sent again says so, which saves the search for the others.
            Qos::One | Qos::Zero => publish.is_resent && waits(Answer::Acknowledged),
        }
    }

    fn count_unsettled(&mut self, is_v5: bool, limits: &Limits) -> Result<(), Fault> {
        if is_v5 && self.unsettled >= u32::from(limits.receive_maximum) {
            return Err(Fault::ReceiveMaximum);
        }
        if self.session.exchanges.len() >= EXCHANGES_MAX {
            return Err(Fault::Quota);
        }
        self.unsettled += 1;
        Ok(())
    }

    /// Records the message, unless it was before or may not be; returns the record that its answer waits for.
    fn record_of(&mut self, publish: Publish, is_permitted: bool, turn: &mut Turn) -> u64 {
        if !is_permitted {
            return self.unacked.back().map_or(0, |last| last.record);
        }
        if publish.qos == Qos::Two
            && let Some(record) = self.session.exchanges.get(&publish.id)
        {
            return *record;
        }
        let record = turn.record(publish.topic.into_bytes(), publish.payload);
        if publish.qos == Qos::Two {
            self.session.exchanges.insert(publish.id, record);
        }
        record
    }

    /// PUBREL. One for an unknown id is answered as well, or a client that lost our PUBCOMP would ask for ever.
    fn release(&mut self, id: u16, codec: &mut Codec, answers: &mut BytesMut) -> Result<(), Fault> {
        let Some(packet_id) = NonZeroU16::new(id) else { return Err(Fault::Malformed) };
        let known = self.session.exchanges.get(&id).copied();
        // PUBREL before our PUBREC: completing it now would promise what is not durable.
        if known.is_some_and(|record| record > self.durable) {
            return Err(Fault::Protocol);
        }
        self.unsettled = self.unsettled.saturating_sub(1);
        self.session.exchanges.remove(&id);
        let answer = if known.is_some() { Answer::Complete } else { Answer::Unknown };
        codec.answer(answer, packet_id, answers);
        Ok(())
    }

    fn subscribe(
        &mut self,
        asked: &Subscribe,
        wire: Wire<'_>,
        turn: &mut Turn,
    ) -> Result<(), Fault> {
        let (codec, answers) = wire;
        if asked.has_identifier {
            return Err(Fault::SubscriptionIdentifier);
        }
        let Some(id) = NonZeroU16::new(asked.id) else { return Err(Fault::Malformed) };
        let grants: Vec<Grant> =
            asked.filters.iter().map(|(filter, qos)| self.grant(filter, *qos, turn)).collect();
        codec.suback(id, &grants, answers);
        Ok(())
    }

    fn grant(&mut self, filter: &str, qos: Qos, turn: &mut Turn) -> Grant {
        if filter.is_empty() || filter.contains('\0') {
            return Grant::Invalid;
        }
        let Some(owner) = self.key.identity.commanded_by(filter) else {
            return if filter.starts_with("$share/") {
                Grant::Shared
            } else if filter.contains(['+', '#']) {
                Grant::Wildcard
            } else {
                Grant::NotAuthorized
            };
        };
        let qos = qos.min(Qos::One);
        // [MQTT-3.8.4-4] Whoever subscribes again, as devices do at each connection, loses nothing that waits.
        if let Some(known) = self.session.subscription(filter) {
            known.set_at_least_once(qos == Qos::One);
            turn.subscribed.push(Arc::clone(known));
            return Grant::Granted(qos);
        }
        let mailbox = Arc::new(Mailbox::new(owner, filter, qos == Qos::One));
        if !self.session.subscribe(Arc::clone(&mailbox)) {
            return Grant::Quota;
        }
        turn.subscribed.push(mailbox);
        Grant::Granted(qos)
    }

    fn unsubscribe(
        &mut self,
        id: u16,
        filters: &[ByteString],
        codec: &mut Codec,
        answers: &mut BytesMut,
    ) -> Result<(), Fault> {
        let Some(id) = NonZeroU16::new(id) else { return Err(Fault::Malformed) };
        let existed: Vec<bool> =
            filters.iter().map(|filter| self.session.unsubscribe(filter)).collect();
        codec.unsuback(id, &existed, answers);
        Ok(())
    }

    fn disconnect(&mut self, with_will: bool, expiry: Option<u32>, limits: &Limits) -> Fault {
        if let Some(seconds) = expiry {
            // [MQTT-3.14.2-2] A session that was to end with its connection stays so.
            if seconds > 0 && !self.expires_at_all {
                return Fault::Protocol;
            }
            self.lasts = connect::lasts(seconds, limits);
        }
        if with_will {
            return Fault::Lost;
        }
        self.will = None;
        Fault::Goodbye
    }

    /// Answers what waited for records up to this one, in order of arrival.
    pub(crate) fn answer_durable(
        &mut self,
        durable: u64,
        codec: &mut Codec,
        answers: &mut BytesMut,
    ) {
        self.durable = durable;
        while let Some(first) = self.unacked.front().filter(|first| first.record <= durable) {
            codec.answer(first.answer, first.id, answers);
            if first.answer != Answer::Received {
                self.unsettled = self.unsettled.saturating_sub(1);
            }
            self.unacked.pop_front();
        }
        if self.unacked.is_empty() && self.unacked.capacity() > 64 {
            self.unacked.shrink_to(16);
        }
    }

    /// Sends again what an earlier connection did not acknowledge.
    pub(crate) fn resend_commands(&mut self, codec: &mut Codec, answers: &mut BytesMut) {
        for command in self.session.resend() {
            codec.command(command, answers);
        }
    }

    /// Sends one command, if one waits and the window has room; returns whether there may be more.
    pub(crate) fn send_command(
        &mut self,
        codec: &mut Codec,
        answers: &mut BytesMut,
        turn: &mut Turn,
    ) -> bool {
        let Some(command) = self.session.next_command(self.receive_maximum) else { return false };
        let before = answers.len();
        codec.command(&command, answers);
        let most = usize::try_from(self.packet_bytes_max).unwrap_or(usize::MAX);
        if answers.len() - before > most {
            // [MQTT-3.1.2-25] As if it had been sent.
            answers.truncate(before);
            command.id.inspect(|id| self.session.acknowledged(id.get()));
            turn.drop(Drop::CommandTooLong);
        }
        true
    }

    /// Returns whether an MQTT 3 client may send another message.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.unacked.len() < usize::from(limits.receive_maximum)
    }

    /// Returns how many messages wait to become durable.
    pub(crate) fn unacked(&self) -> usize {
        self.unacked.len()
    }

    /// Returns the record that the first unanswered message waits for.
    pub(crate) fn awaits(&self) -> Option<u64> {
        self.unacked.front().map(|first| first.record)
    }
}
