//! One connection from CONNECT to its end.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use telemetry::text::say;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::client::{Connection, Dialer};
use super::fault::Fault;
use super::handover::{Handover, Refused};
use super::link::{Arrived, Grant, Heard, Link, Loss};
use super::oversize::Stubs;
use super::watchdog::Silence;
use crate::source::{AckToken, Acknowledge, Alarms, Incoming, LinkState};

/// Messages that are handed over together at most.
const BATCH_MOST: usize = 512;
/// How long the end waits for acknowledgements of what was handed over.
const DRAIN_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection must last before its failure counts as a new one.
const HOLDS_AFTER: Duration = Duration::from_secs(10);
/// How often the timers are looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long an orderly DISCONNECT may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// We were told to stop.
    Stopped,
    /// The journal's side is gone.
    Gone,
    /// We left, because the buffer stayed full.
    Blocked,
    /// We left, because the disk failed and the broker is to send again what was not acknowledged.
    Again,
    /// The connection, or an attempt at one, failed.
    Lost(Box<Fault>),
}

/// What the connection shares with those before and after it.
pub(crate) struct Desk {
    pub(crate) dialer: Dialer,
    pub(crate) handover: Handover,
    pub(crate) link: watch::Sender<LinkState>,
    pub(crate) alarms: watch::Sender<Alarms>,
    pub(crate) silence: Silence,
}

/// State of one connection.
pub(crate) struct Session<'d> {
    desk: &'d mut Desk,
    stubs: Stubs,
    /// When CONNACK came.
    connected: Option<Instant>,
    subscribed: bool,
    /// Whether the connection has lasted.
    pub(crate) held: bool,
    /// When we were told to stop.
    stopping: Option<Instant>,
    /// Since when the buffer has been full.
    full: Option<Instant>,
    tokens: Vec<Option<AckToken>>,
    /// Entered, not handed over yet.
    pub(crate) batch: Vec<Incoming>,
    ticks: Interval,
    ticked: Instant,
}

enum Turn {
    Polled(Result<(), Loss>),
    Stop,
    Tick,
    Room,
    HandOver,
}

impl<'d> Session<'d> {
    /// Makes the session of a connection, and the link to run it on.
    pub(crate) fn new(desk: &'d mut Desk) -> (Self, Link) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Connection { link, stubs } = desk.dialer.connection();
        let session = Self {
            desk,
            stubs,
            connected: None,
            subscribed: false,
            held: false,
            stopping: None,
            full: None,
            tokens: Vec::new(),
            batch: Vec::new(),
            ticks,
            ticked: Instant::now(),
        };
        (session, link)
    }

    /// Runs the connection to its end.
    pub(crate) async fn run(&mut self, mut link: Link, stop: &mut watch::Receiver<bool>) -> End {
        let mut heard = Heard::default();
        let end = loop {
            let turned = match self.turn(&mut link, &mut heard, stop).await {
                Turn::Polled(Ok(())) => self.take(&mut heard, &link),
                Turn::Polled(Err(loss)) => Err(self.lost(&loss)),
                Turn::Stop => self.stop(),
                Turn::Tick => self.tick(),
                Turn::Room | Turn::HandOver => self.hand_over(),
            };
            if let Err(end) = turned {
                break end;
            }
        };
        leave(&mut link).await;
        end
    }

    /// Waits for the next thing to do. Dropping a poll half-way loses nothing once connected: what
    /// was read or is to be written lies in the link and in the transport. While connecting it
    /// would begin anew, so there only the order to stop interrupts it.
    async fn turn(
        &mut self,
        link: &mut Link,
        heard: &mut Heard,
        stop: &mut watch::Receiver<bool>,
    ) -> Turn {
        let mut poll = pin!(link.poll(heard));
        if !self.batch.is_empty() && self.full.is_none() {
            let at_once = std::future::poll_fn(|cx| match poll.as_mut().poll(cx) {
                Poll::Ready(polled) => Poll::Ready(Some(polled)),
                Poll::Pending => Poll::Ready(None),
            });
            return at_once.await.map_or(Turn::HandOver, Turn::Polled);
        }
        tokio::select! {
            biased;
            polled = &mut poll => Turn::Polled(polled),
            () = stopped(stop), if self.stopping.is_none() => Turn::Stop,
            _ = self.ticks.tick(), if self.connected.is_some() => Turn::Tick,
            () = self.desk.handover.room_for(&self.batch), if self.full.is_some() => Turn::Room,
        }
    }

    fn take(&mut self, heard: &mut Heard, link: &Link) -> Result<(), End> {
        if let Some(session_present) = heard.connack.take() {
            self.confirm(session_present, link)?;
        }
        if let Some(grants) = heard.suback.take() {
            self.subscribe(&grants)?;
        }
        self.enter(&mut heard.arrived);
        if self.batch.len() >= BATCH_MOST { self.hand_over() } else { Ok(()) }
    }

    fn lost(&self, loss: &Loss) -> End {
        End::Lost(Box::new(Fault::of(loss, &self.desk.dialer.config)))
    }

    fn confirm(&mut self, session_present: bool, link: &Link) -> Result<(), End> {
        let now = Instant::now();
        self.connected = Some(now);
        self.ticked = now;
        self.ticks.reset();
        self.desk.dialer.outlet.open(link.sender());
        self.desk.link.send_replace(LinkState::Connected { session_present });
        tracing::info!(
            session_present,
            source = self.desk.dialer.config.source.0,
            "connected to the broker"
        );
        // Also in a session that was kept: its subscriptions may be missing (see `v5::NothingInFlight`).
        link.subscribe(&self.desk.dialer.config.topics)
            .map_err(|error| End::Lost(Box::new(Fault::of_filters(&error))))
    }

    fn subscribe(&mut self, grants: &[Grant]) -> Result<(), End> {
        let topics = self.desk.dialer.config.topics.iter();
        let refused =
            grants.iter().zip(topics).find_map(|(grant, t)| Fault::of_subscription(grant, t));
        if let Some(fault) = refused {
            return Err(End::Lost(Box::new(fault)));
        }
        self.subscribed = true;
        self.desk.link.send_replace(LinkState::Subscribed);
        tracing::info!(source = self.desk.dialer.config.source.0, "subscriptions confirmed");
        Ok(())
    }

    /// Enters what has arrived in the ledger and adds it to the batch.
    fn enter(&mut self, arrived: &mut Vec<Arrived>) {
        if arrived.is_empty() {
            return;
        }
        self.desk.dialer.outlet.enter(arrived, &mut self.tokens);
        let source = self.desk.dialer.config.source;
        for (Arrived { topic, mut payload, .. }, ack) in
            arrived.drain(..).zip(self.tokens.drain(..))
        {
            let oversize = self.stubs.true_length(&mut payload);
            self.batch.push(Incoming { source, topic, payload, ack, oversize });
        }
        self.desk.silence.heard();
        Alarms::set(&self.desk.alarms, |alarms| &mut alarms.silence, None);
    }

    fn hand_over(&mut self) -> Result<(), End> {
        match self.desk.handover.give(std::mem::take(&mut self.batch)) {
            Ok(()) => {
                if self.full.take().is_some() {
                    self.desk.dialer.outlet.shut(self.stopping.is_some());
                }
                Ok(())
            }
            Err(Refused::Full(batch)) => {
                self.batch = batch;
                self.full.get_or_insert_with(Instant::now);
                self.desk.dialer.outlet.shut(true);
                Ok(())
            }
            Err(Refused::Closed) => Err(End::Gone),
        }
    }

    fn stop(&mut self) -> Result<(), End> {
        self.stopping = Some(Instant::now());
        self.desk.dialer.outlet.shut(true);
        if self.connected.is_some() { Ok(()) } else { Err(End::Stopped) }
    }

    fn tick(&mut self) -> Result<(), End> {
        if self.desk.dialer.outlet.take_again() {
            return Err(End::Again);
        }
        let now = Instant::now();
        let passed = now.duration_since(self.ticked);
        self.ticked = now;
        // While we owe acknowledgements the broker may hold the next message back: an outage of ours.
        let owes = self.full.is_some() || self.desk.dialer.outlet.unacked() > 0;
        if self.subscribed && !owes {
            let lasting = self.desk.silence.listened(passed);
            let silence =
                lasting.map(|seconds| say("ingest.mqtt.silence", &[("seconds", &seconds)]));
            Alarms::set(&self.desk.alarms, |alarms| &mut alarms.silence, silence);
        }
        if !self.held
            && self.connected.is_some_and(|since| now.duration_since(since) >= HOLDS_AFTER)
        {
            if !self.subscribed {
                return Err(End::Lost(Box::new(Fault::silent(&self.desk.dialer.config))));
            }
            self.held = true;
            self.desk.alarms.send_if_modified(|alarms| alarms.repeated.take().is_some());
        }
        if let Some(since) = self.stopping {
            let drained = self.batch.is_empty() && self.desk.dialer.outlet.unacked() == 0;
            if drained || now.duration_since(since) >= DRAIN_WITHIN {
                return Err(End::Stopped);
            }
        }
        let limit = self.desk.dialer.config.blocked_after;
        if self.full.is_some_and(|since| now.duration_since(since) >= limit) {
            return Err(End::Blocked);
        }
        if self.desk.handover.is_closed() { Err(End::Gone) } else { Ok(()) }
    }
}

/// Waits for the order to stop; also when nobody is left to give it.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

/// Disconnects in order, keeping the session. Acknowledgements that were settled go out before.
async fn leave(link: &mut Link) {
    if !link.disconnect() {
        return;
    }
    let mut unread = Heard::default();
    let gone = async {
        while link.poll(&mut unread).await.is_ok() {
            // The broker sends it again.
            unread.arrived.clear();
        }
    };
    if tokio::time::timeout(LEAVE_WITHIN, gone).await.is_err() {
        tracing::debug!("the broker did not take our DISCONNECT in time");
    }
}
