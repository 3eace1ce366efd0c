//! One connection as a state machine: bytes in, answers and records out, time as an argument. Pure.
//!
//! ```text
//! Greeting ──CONNECT──▶ Proving ──proven──▶ Opening ──session──▶ Open ──▶ Ended
//!     └──────────────────┴──────── refused ──────┴─────────────────────────▲
//! ```
//!
//! Order of use: `handle_*` for what happened; then [`Connection::poll_wish`] for what it waits for,
//! `answers` for what goes to the client, [`Connection::poll_timeout`] for when to wake it; once
//! [`Connection::ended`] says so, [`Connection::release`] gives the session back.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::answer::Welcome;
use super::codec::Codec;
use super::connect;
use super::fault::Fault;
use super::open::Open;
use super::packet::{Connect, Packet};
use super::session::{Session, Testament};
use super::sessions::SessionKey;
use super::terms::{Identity, Terms};
use super::turn::Turn;

/// Longest CONNECT: a will and a password at their longest, before anybody has proven anything.
const CONNECT_BYTES_MAX: usize = 128 << 10;
/// Bytes of unsent answers beyond which nothing more is read.
const ANSWERS_BYTES_MAX: usize = 64 << 10;

/// What a connection waits for.
#[derive(Debug)]
pub(crate) enum Wish<'c> {
    /// For packets and durable records only.
    Nothing,
    /// That somebody looks who this is; answer with [`Connection::handle_proven`].
    Proof(&'c Connect),
    /// A session, clean or not; answer with [`Connection::handle_session`].
    Session(SessionKey, bool),
}

#[derive(Debug)]
enum Phase {
    Greeting,
    Proving(Box<Connect>),
    Opening(Box<Connect>, SessionKey),
    Open(Box<Open>),
    Ended(Fault),
}

/// What a connection leaves behind.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) key: SessionKey,
    pub(crate) session: Box<Session>,
    /// How long the session is kept.
    pub(crate) lasts: Duration,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    codec: Codec,
    phase: Phase,
    /// What goes to the client.
    pub(crate) answers: BytesMut,
    accepted: Instant,
    heard: Instant,
    durable: u64,
    released: Option<Released>,
}

impl Connection {
    /// `durable`: number of the last durable record at this moment.
    pub(crate) fn new(now: Instant, durable: u64) -> Self {
        Self {
            codec: Codec::Unknown,
            phase: Phase::Greeting,
            answers: BytesMut::new(),
            accepted: now,
            heard: now,
            durable,
            released: None,
        }
    }

    /// Takes whole packets from the front of `bytes`, for as long as [`Connection::wants_bytes`].
    pub(crate) fn handle_bytes(&mut self, now: Instant, bytes: &mut BytesMut, turn: &mut Turn) {
        while self.wants_bytes(&turn.terms) && !turn.is_full() {
            let packet_bytes_max = match self.phase {
                Phase::Open(_) => {
                    usize::try_from(turn.terms.limits.packet_bytes_max).unwrap_or(usize::MAX)
                }
                Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) | Phase::Ended(_) => {
                    CONNECT_BYTES_MAX
                }
            };
            match self.codec.decode(bytes, packet_bytes_max) {
                Ok(Some(packet)) => self.handle_packet(now, packet, turn),
                Ok(None) => return,
                Err(fault) => self.end(now, fault, turn),
            }
        }
    }

    /// Takes one packet.
    pub(crate) fn handle_packet(&mut self, now: Instant, packet: Packet, turn: &mut Turn) {
        self.heard = now;
        let done = match (&mut self.phase, packet) {
            (Phase::Greeting, Packet::Connect(connect)) => {
                match connect::check(&connect, &turn.terms.limits) {
                    Ok(()) => {
                        self.phase = Phase::Proving(connect);
                        Ok(())
                    }
                    Err(fault) => Err(fault),
                }
            }
            (Phase::Open(open), packet) => {
                let done = open.handle(packet, (&mut self.codec, &mut self.answers), turn);
                // What waits for no record, or for one that is durable already.
                open.answer_durable(self.durable, &mut self.codec, &mut self.answers);
                done
            }
            (Phase::Greeting, _) => Err(Fault::NotConnect),
            (Phase::Proving(_) | Phase::Opening(..) | Phase::Ended(_), _) => Err(Fault::Protocol),
        };
        if let Err(fault) = done {
            self.end(now, fault, turn);
        }
    }

    /// Takes the outcome of [`Wish::Proof`].
    pub(crate) fn handle_proven(
        &mut self,
        now: Instant,
        proven: Result<Identity, Fault>,
        assigned_id: &str,
        turn: &mut Turn,
    ) {
        let phase = std::mem::replace(&mut self.phase, Phase::Greeting);
        let Phase::Proving(connect) = phase else {
            self.phase = phase;
            return;
        };
        let permitted = proven.and_then(|identity| {
            connect::check_will(&connect, &identity, &turn.terms).map(|()| identity)
        });
        match permitted {
            Ok(identity) => {
                let is_named = !connect.client_id.is_empty();
                let client_id = if is_named { &*connect.client_id } else { assigned_id };
                let key = SessionKey { identity, client_id: client_id.into() };
                self.phase = Phase::Opening(connect, key);
            }
            Err(fault) => {
                self.phase = Phase::Proving(connect);
                self.end(now, fault, turn);
            }
        }
    }

    /// Takes the outcome of [`Wish::Session`], and whether the session was there before.
    pub(crate) fn handle_session(
        &mut self,
        now: Instant,
        opened: Result<(Box<Session>, bool), Fault>,
        turn: &mut Turn,
    ) {
        let phase = std::mem::replace(&mut self.phase, Phase::Greeting);
        let Phase::Opening(connect, key) = phase else {
            self.phase = phase;
            return;
        };
        match opened {
            Ok((session, is_session_present)) => {
                let welcome = Welcome {
                    is_session_present,
                    ..connect::welcome(&connect, &key.client_id, &turn.terms.limits)
                };
                self.codec.welcome(welcome, &mut self.answers);
                let mut open = Open::new(&connect, key, session, &turn.terms.limits);
                open.answer_durable(self.durable, &mut self.codec, &mut self.answers);
                open.resend_commands(&mut self.codec, &mut self.answers);
                self.phase = Phase::Open(Box::new(open));
                self.heard = now;
            }
            Err(fault) => {
                self.phase = Phase::Opening(connect, key);
                self.end(now, fault, turn);
            }
        }
    }

    /// Notes up to which record all is durable; answers what waited for it.
    pub(crate) fn handle_durable(&mut self, durable: u64) {
        self.durable = durable;
        if let Phase::Open(open) = &mut self.phase {
            open.answer_durable(durable, &mut self.codec, &mut self.answers);
        }
    }

    /// Notes that records after `durable` will never be: what is not answered, the client must send again.
    pub(crate) fn handle_not_durable(&mut self, now: Instant, durable: u64, turn: &mut Turn) {
        if let Phase::Open(open) = &mut self.phase {
            open.session.forget_after(durable);
        }
        if self.unacked() > 0 {
            self.end(now, Fault::NotDurable, turn);
        }
    }

    /// Sends commands that wait, as far as the client's window and our buffer allow.
    pub(crate) fn handle_commands(&mut self, turn: &mut Turn) {
        if let Phase::Open(open) = &mut self.phase {
            while self.answers.len() < ANSWERS_BYTES_MAX {
                if !open.send_command(&mut self.codec, &mut self.answers, turn) {
                    break;
                }
            }
        }
    }

    /// Looks at the clock. `is_read`: whether the shell reads from the client at all; where it does not, the silence
    /// is ours.
    pub(crate) fn handle_timeout(&mut self, now: Instant, is_read: bool, turn: &mut Turn) {
        if !is_read {
            self.heard = now;
        }
        if self.poll_timeout(&turn.terms).is_none_or(|due| now < due) {
            return;
        }
        let fault = match self.phase {
            Phase::Open(_) => Fault::KeepAlive,
            // Ours is the delay while a password is checked, but nobody waits longer than this.
            Phase::Proving(_) | Phase::Opening(..) => Fault::Busy,
            Phase::Greeting | Phase::Ended(_) => Fault::Silent,
        };
        self.end(now, fault, turn);
    }

    /// Ends the connection: the answer to it, the will and the session follow from the reason.
    pub(crate) fn end(&mut self, now: Instant, fault: Fault, turn: &mut Turn) {
        match std::mem::replace(&mut self.phase, Phase::Ended(fault)) {
            Phase::Ended(earlier) => self.phase = Phase::Ended(earlier),
            Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) => {
                self.codec.refuse(fault, &mut self.answers);
            }
            Phase::Open(open) => {
                self.codec.disconnect(fault, &mut self.answers);
                self.released = Some(leave(now, *open, fault, turn));
            }
        }
    }

    /// Returns when to call [`Connection::handle_timeout`].
    pub(crate) fn poll_timeout(&self, terms: &Terms) -> Option<Instant> {
        match &self.phase {
            Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) => {
                Some(self.accepted + terms.limits.connect_timeout)
            }
            Phase::Open(open) => Some(self.heard + open.silence_max),
            Phase::Ended(_) => None,
        }
    }

    /// Returns what it waits for.
    pub(crate) fn poll_wish(&self) -> Wish<'_> {
        match &self.phase {
            Phase::Proving(connect) => Wish::Proof(connect),
            Phase::Opening(connect, key) => Wish::Session(key.clone(), connect.is_clean),
            Phase::Greeting | Phase::Open(_) | Phase::Ended(_) => Wish::Nothing,
        }
    }

    /// Returns whether packets are taken: not while a password is checked, while the client leaves its answers unread,
    /// or while an MQTT 3 client has as many messages in flight as it may.
    pub(crate) fn wants_bytes(&self, terms: &Terms) -> bool {
        self.answers.len() < ANSWERS_BYTES_MAX
            && match &self.phase {
                Phase::Greeting => true,
                Phase::Open(open) => self.codec.is_v5() || open.has_room(&terms.limits),
                Phase::Proving(_) | Phase::Opening(..) | Phase::Ended(_) => false,
            }
    }

    /// Returns why it ended, once it has.
    pub(crate) const fn ended(&self) -> Option<Fault> {
        match self.phase {
            Phase::Ended(fault) => Some(fault),
            Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) | Phase::Open(_) => None,
        }
    }

    /// Returns who it is, once it is open.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Open(open) => Some(&open.key.identity),
            Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) | Phase::Ended(_) => None,
        }
    }

    /// Returns how many messages wait to become durable.
    pub(crate) fn unacked(&self) -> usize {
        match &self.phase {
            Phase::Open(open) => open.unacked(),
            Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) | Phase::Ended(_) => 0,
        }
    }

    /// Returns the number of the record that the first unanswered message waits for.
    pub(crate) fn awaits(&self) -> Option<u64> {
        match &self.phase {
            Phase::Open(open) => open.awaits(),
            Phase::Greeting | Phase::Proving(_) | Phase::Opening(..) | Phase::Ended(_) => None,
        }
    }

    /// Takes what the connection left behind.
    pub(crate) const fn release(&mut self) -> Option<Released> {
        self.released.take()
    }
}

/// Settles the will and the session of a connection that ends.
fn leave(now: Instant, open: Open, fault: Fault, turn: &mut Turn) -> Released {
    let Open { key, mut session, will, lasts, .. } = open;
    // [MQTT-3.1.2-10] The will goes with an orderly DISCONNECT. At our own end it is left to the next start of the
    // device, as [MQTT-3.1.2-8] allows.
    let is_wanted = !matches!(fault, Fault::Goodbye | Fault::ShuttingDown);
    if let Some(will) = will.filter(|_| is_wanted) {
        let delay = Duration::from_secs(will.delay_seconds.into()).min(lasts);
        if delay.is_zero() {
            turn.publish_will(&key.identity, will);
        } else {
            let identity = key.identity.clone();
            session.will = Some(Testament { identity, will, due: now + delay });
        }
    }
    Released { key, session, lasts }
}
