//! A broker's inside without sockets: connections, sessions, a journal that is durable when the test says so.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rmqtt_codec::types::{Protocol, Publish, QoS};
use rmqtt_codec::{v3, v5};
use telemetry::topic::TopicPattern;
use tokio_util::codec::{Decoder, Encoder};

use super::super::connection::{Connection, Wish};
use super::super::fault::Fault;
use super::super::mailbox::Commands;
use super::super::sessions::Sessions;
use super::super::terms::{Device, Identity, Limits, Terms};
use super::super::turn::Turn;
use crate::source::SourceId;

pub(super) struct Rig {
    pub(super) now: Instant,
    pub(super) turn: Turn,
    pub(super) sessions: Sessions,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) identity: Result<Identity, Fault>,
    pub(super) records: Vec<(String, Bytes)>,
    pub(super) durable: u64,
    pub(super) commands: Commands,
    next: u64,
}

pub(super) fn device(name: &str) -> Identity {
    let publishes = Vec::new();
    Identity::Device(Arc::new(Device { tenant: "default".into(), name: name.into(), publishes }))
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let patterns = vec![TopicPattern::parse("up/{device}").unwrap()];
        let terms = Arc::new(Terms { limits, patterns, generation: 0 });
        Self {
            now: Instant::now(),
            turn: Turn::new(terms, SourceId(0)),
            sessions: Sessions::default(),
            connections: BTreeMap::new(),
            identity: Ok(Identity::Anyone),
            records: Vec::new(),
            durable: 0,
            commands: Commands::new().0,
            next: 0,
        }
    }

    pub(super) fn connect(&mut self) -> u64 {
        self.next += 1;
        self.connections.insert(self.next, Connection::new(self.now, self.durable));
        self.next
    }

    pub(super) fn at(&mut self, number: u64) -> &mut Connection {
        self.connections.get_mut(&number).unwrap()
    }

    /// Sends bytes, returns the answers.
    pub(super) fn send(&mut self, number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::from(bytes);
        loop {
            let before = bytes.len();
            let connection = self.connections.get_mut(&number).unwrap();
            connection.handle_bytes(self.now, &mut bytes, &mut self.turn);
            let is_granted = self.grant(number);
            self.settle();
            if !is_granted && bytes.len() == before {
                break;
            }
        }
        self.answers(number)
    }

    fn grant(&mut self, number: u64) -> bool {
        let connection = self.connections.get_mut(&number).unwrap();
        match connection.poll_wish() {
            Wish::Nothing => false,
            Wish::Proof(_) => {
                let proven = self.identity.clone();
                connection.handle_proven(self.now, proven, "assigned-1", &mut self.turn);
                true
            }
            Wish::Session(key, is_clean) => {
                if let Some(holder) = self.sessions.holder(&key) {
                    let old = self.connections.get_mut(&holder).unwrap();
                    old.end(self.now, Fault::TakenOver, &mut self.turn);
                    self.settle();
                }
                let limits = self.turn.terms.limits;
                let opened = self.sessions.open(self.now, &key, (number, is_clean), &limits);
                let opened = opened.map(|opened| {
                    for due in opened.wills {
                        self.turn.publish_will(&due.identity, due.will);
                    }
                    (opened.session, opened.is_present)
                });
                let opened = opened.map_err(|_| Fault::Quota);
                let connection = self.connections.get_mut(&number).unwrap();
                connection.handle_session(self.now, opened, &mut self.turn);
                true
            }
        }
    }

    pub(super) fn settle(&mut self) {
        let limits = self.turn.terms.limits;
        for connection in self.connections.values_mut() {
            if let Some(left) = connection.release() {
                let released = (left.session, left.lasts);
                for due in self.sessions.close(self.now, &left.key, released, &limits) {
                    self.turn.publish_will(&due.identity, due.will);
                }
            }
        }
        for mailbox in self.turn.subscribed.drain(..) {
            self.commands.register(&mailbox);
        }
        let taken = self.turn.take().into_iter();
        self.records.extend(taken.map(|record| (record.topic().to_owned(), record.payload)));
    }

    pub(super) fn answers(&mut self, number: u64) -> Vec<u8> {
        self.at(number).answers.split().to_vec()
    }

    /// Makes records up to this one durable; returns the answers of a connection.
    pub(super) fn durable_up_to(&mut self, number: u64, durable: u64) -> Vec<u8> {
        self.durable = durable;
        self.connections.values_mut().for_each(|connection| connection.handle_durable(durable));
        self.answers(number)
    }

    pub(super) fn all_durable(&mut self, number: u64) -> Vec<u8> {
        self.durable_up_to(number, self.turn.sequence())
    }

    pub(super) fn lose(&mut self, number: u64) {
        let connection = self.connections.get_mut(&number).unwrap();
        connection.end(self.now, Fault::Lost, &mut self.turn);
        self.settle();
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        let wills = self.sessions.handle_timeout(self.now);
        wills.into_iter().for_each(|due| self.turn.publish_will(&due.identity, due.will));
        for connection in self.connections.values_mut() {
            connection.handle_timeout(self.now, true, &mut self.turn);
        }
        self.settle();
    }

    /// Connects a client; returns its connection and the CONNACK.
    pub(super) fn v5(&mut self, connect: v5::Connect) -> (u64, Vec<u8>) {
        let number = self.connect();
        let answers = self.send(number, &five(connect.into()));
        (number, answers)
    }

    pub(super) fn v3(&mut self, connect: v3::Connect) -> (u64, Vec<u8>) {
        let number = self.connect();
        let answers = self.send(number, &three(connect.into()));
        (number, answers)
    }

    pub(super) fn ended(&mut self, number: u64) -> Option<Fault> {
        self.at(number).ended()
    }
}

pub(super) fn connect5(client_id: &str) -> v5::Connect {
    v5::Connect { client_id: client_id.into(), clean_start: true, ..v5::Connect::default() }
}

pub(super) fn connect3(client_id: &str) -> v3::Connect {
    let clean_session = true;
    v3::Connect {
        client_id: client_id.into(),
        clean_session,
        protocol: Protocol(4),
        ..v3::Connect::default()
    }
}

pub(super) fn five(packet: v5::Packet) -> Vec<u8> {
    let mut out = BytesMut::new();
    v5::Codec::new(0, 0).encode(packet, &mut out).unwrap();
    out.to_vec()
}

pub(super) fn three(packet: v3::Packet) -> Vec<u8> {
    let mut out = BytesMut::new();
    v3::Codec::new(0).encode(packet, &mut out).unwrap();
    out.to_vec()
}

pub(super) fn read5(bytes: &[u8]) -> Vec<v5::Packet> {
    let mut bytes = BytesMut::from(bytes);
    let mut codec = v5::Codec::new(0, 0);
    std::iter::from_fn(|| codec.decode(&mut bytes).unwrap().map(|(packet, _)| packet)).collect()
}

pub(super) fn message(topic: &str, qos: u8, id: u16) -> Box<Publish> {
    Box::new(Publish {
        dup: false,
        retain: false,
        qos: QoS::try_from(qos).unwrap(),
        topic: topic.into(),
        packet_id: NonZeroU16::new(id),
        payload: Bytes::from_static(b"x"),
        properties: None,
    })
}

pub(super) fn publish3(topic: &str, qos: u8, id: u16) -> Vec<u8> {
    three(v3::Packet::Publish(message(topic, qos, id)))
}

pub(super) fn publish5(topic: &str, qos: u8, id: u16) -> Vec<u8> {
    five(v5::Packet::Publish(message(topic, qos, id)))
}

/// The DISCONNECT code in the answers, if there is one.
pub(super) fn disconnect_code(answers: &[u8]) -> Option<u8> {
    read5(answers).into_iter().find_map(|packet| {
        let v5::Packet::Disconnect(goodbye) = packet else { return None };
        Some(goodbye.reason_code.into())
    })
}

/// Writes a PUBLISH of one of the versions.
pub(super) type Publishing = fn(&str, u8, u16) -> Vec<u8>;
