//! Drives the state machine of one connection with any bytes, for fuzzing: no socket, no clock.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::connection::{Connection, Wish};
use super::fault::Fault;
use super::sessions::Sessions;
use super::terms::{Identity, Limits, Terms};
use super::turn::Turn;
use crate::source::SourceId;

/// Turns of the loop without an end; far more than any input of a fuzzer needs.
const TURNS_MAX: usize = 1 << 20;

/// What became of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driven {
    /// What the client was sent.
    pub answers: Vec<u8>,
    /// Topic and payload of each record.
    pub records: Vec<(Bytes, Bytes)>,
    /// Why the connection ended, if it did.
    pub end: Option<&'static str>,
    /// Most bytes of answers that waited at a time.
    pub answers_most: usize,
}

/// Hands the chunks in one after the other, lets everybody in, and makes every record durable in the end. The outcome
/// depends on the bytes alone, not on where they are cut; only `answers_most` may differ.
pub fn drive<'b>(chunks: impl IntoIterator<Item = &'b [u8]>, now: Instant) -> Driven {
    let terms = Arc::new(Terms { limits: Limits::default(), patterns: Vec::new(), generation: 0 });
    let mut driver = Driver {
        connection: Connection::new(now, 0),
        sessions: Sessions::default(),
        turn: Turn::new(terms, SourceId(0)),
        bytes: BytesMut::new(),
        now,
        driven: Driven { answers: Vec::new(), records: Vec::new(), end: None, answers_most: 0 },
    };
    for chunk in chunks {
        driver.bytes.extend_from_slice(chunk);
        driver.go_on();
    }
    for _ in 0..TURNS_MAX {
        let before = driver.bytes.len();
        driver.connection.handle_durable(driver.turn.sequence());
        driver.go_on();
        if driver.bytes.len() == before {
            break;
        }
    }
    driver.driven.end = driver.connection.ended().map(Fault::code);
    driver.driven
}

struct Driver {
    connection: Connection,
    sessions: Sessions,
    turn: Turn,
    bytes: BytesMut,
    now: Instant,
    driven: Driven,
}

impl Driver {
    fn go_on(&mut self) {
        for _ in 0..TURNS_MAX {
            let before = self.bytes.len();
            self.connection.handle_bytes(self.now, &mut self.bytes, &mut self.turn);
            let is_granted = self.grant();
            let answers = self.connection.answers.split();
            self.driven.answers_most = self.driven.answers_most.max(answers.len());
            self.driven.answers.extend_from_slice(&answers);
            let records = self.turn.take().into_iter();
            self.driven.records.extend(records.map(|record| (record.topic, record.payload)));
            if !is_granted && self.bytes.len() == before {
                return;
            }
        }
    }

    fn grant(&mut self) -> bool {
        match self.connection.poll_wish() {
            Wish::Nothing => false,
            Wish::Proof(_) => {
                let anyone = Ok(Identity::Anyone);
                self.connection.handle_proven(self.now, anyone, "assigned", &mut self.turn);
                true
            }
            Wish::Session(key, is_clean) => {
                let limits = self.turn.terms.limits;
                let opened = self.sessions.open(self.now, &key, (1, is_clean), &limits);
                let opened = opened.map(|o| (o.session, o.is_present)).map_err(|_| Fault::Quota);
                self.connection.handle_session(self.now, opened, &mut self.turn);
                true
            }
        }
    }
}
