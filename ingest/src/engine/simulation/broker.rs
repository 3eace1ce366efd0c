//! A broker with a persistent session: an in-flight window, and everything unacknowledged again on each connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use journal::sim::{Dice, SimDisk};
use telemetry::text::Text;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use super::clock;
use super::fleet::Fleet;
use super::planted::Planted;
use super::tape::Tape;
use crate::source::{AckToken, Acknowledge, Batch, Incoming, LinkState, SourceId};

/// The broker, and our connection to it.
#[derive(Debug)]
pub(super) struct Broker {
    state: Mutex<State>,
    changed: Notify,
    link: watch::Sender<LinkState>,
    disk: SimDisk,
    fleet: Arc<Mutex<Fleet>>,
    tape: Arc<Mutex<Tape>>,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    window: usize,
    slow_acks: bool,
    /// Numbers of messages that wait for room in the window.
    queue: VecDeque<usize>,
    /// Sent on this connection and not acknowledged: sequence and message.
    in_flight: VecDeque<(u64, usize)>,
    /// Acknowledgements on their way.
    in_transit: VecDeque<u64>,
    connected: bool,
    connects_at: Instant,
    epoch: u64,
    sequence: u64,
    /// Acknowledged before it was durable, or out of order.
    broken: Option<String>,
    planted: Option<Planted>,
}

/// What the connection does next.
enum Turn {
    Hand(Batch),
    Wait(Duration),
}

fn down() -> LinkState {
    let text = || Text::plain("the simulated broker is away".to_owned());
    LinkState::Down { reason: text(), remedy: text() }
}

impl Broker {
    pub(super) fn new(
        (plan, planted): (&super::step::Plan, Option<Planted>),
        disk: SimDisk,
        (fleet, tape): (Arc<Mutex<Fleet>>, Arc<Mutex<Tape>>),
    ) -> Arc<Self> {
        let state = State {
            dice: Dice::new(plan.seed ^ 0xb20c),
            window: plan.window,
            slow_acks: plan.slow_acks,
            queue: VecDeque::new(),
            in_flight: VecDeque::new(),
            in_transit: VecDeque::new(),
            connected: false,
            connects_at: Instant::now(),
            epoch: 0,
            sequence: 0,
            broken: None,
            planted,
        };
        let (link, _) = watch::channel(LinkState::Connecting);
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new(), link, disk, fleet, tape })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn link(&self) -> watch::Receiver<LinkState> {
        self.link.subscribe()
    }

    /// Takes a message for us.
    pub(super) fn publish(&self, message: usize) {
        self.state().queue.push_back(message);
        self.fleet.lock().unwrap().sent[message].published.push(clock::now());
        self.changed.notify_one();
    }

    /// Returns a promise of the source that was broken.
    pub(super) fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    /// Returns whether nothing waits for us any more.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.queue.is_empty() && state.in_flight.is_empty()
    }

    /// Ends the connection; another may be made after `away`.
    pub(super) fn disconnect(&self, away: Duration) {
        let mut state = self.state();
        let connects_at = state.connects_at.max(Instant::now() + away);
        state.disconnect(connects_at);
        if state.planted != Some(Planted::CountsWhileAway) {
            self.link.send_replace(down());
        }
        self.changed.notify_one();
    }

    /// Ends the connection and forgets the session.
    pub(super) fn lose_session(&self) {
        let mut state = self.state();
        let in_flight =
            std::mem::take(&mut state.in_flight).into_iter().map(|(_, message)| message);
        let lost: Vec<usize> = in_flight.chain(state.queue.drain(..)).collect();
        state.in_transit.clear();
        let mut fleet = self.fleet.lock().unwrap();
        lost.into_iter().for_each(|message| fleet.sent[message].published.clear());
    }

    /// Hands messages over until the source is stopped.
    pub(super) async fn deliver(
        self: Arc<Self>,
        uplinks: mpsc::Sender<Batch>,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow() {
            match self.turn() {
                Turn::Hand(batch) => {
                    if uplinks.send(batch).await.is_err() {
                        return;
                    }
                }
                Turn::Wait(most) => tokio::select! {
                    biased;
                    () = self.changed.notified() => {
                        if self.state().slow_acks {
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                    }
                    () = tokio::time::sleep(most) => {}
                    _ = stop.changed() => {}
                },
            }
        }
    }

    fn turn(&self) -> Turn {
        let mut state = self.state();
        if self.disk.is_stopped() {
            return Turn::Wait(Duration::from_secs(1));
        }
        if !state.connected {
            let wait = state.connects_at.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Turn::Wait(wait);
            }
            state.connected = true;
            state.epoch += 1;
            self.link.send_replace(LinkState::Subscribed);
        }
        state.take_acknowledgements();
        let room = state.window.saturating_sub(state.in_flight.len()).min(state.queue.len());
        if room == 0 {
            return Turn::Wait(Duration::from_secs(60));
        }
        let most = 1 + state.dice.below(u64::try_from(room).unwrap());
        let fleet = self.fleet.lock().unwrap();
        let mut uplinks = Vec::new();
        for _ in 0..most {
            let Some(message) = state.queue.pop_front() else { break };
            state.sequence += 1;
            let sequence = state.sequence;
            state.in_flight.push_back((sequence, message));
            let sent = &fleet.sent[message];
            uplinks.push(Incoming {
                source: SourceId(0),
                topic: Bytes::from(sent.topic.clone()),
                payload: sent.payload.clone(),
                ack: Some(AckToken::new(state.epoch, sequence)),
                oversize: None,
            });
        }
        Turn::Hand(Batch::new(uplinks, None))
    }
}

impl State {
    /// What was in flight comes again, oldest first; acknowledgements under way are lost.
    fn disconnect(&mut self, connects_at: Instant) {
        self.connected = false;
        self.connects_at = connects_at;
        self.in_transit.clear();
        while let Some((_, message)) = self.in_flight.pop_back() {
            self.queue.push_front(message);
        }
    }

    fn take_acknowledgements(&mut self) {
        while let Some(sequence) = self.in_transit.pop_front() {
            self.in_flight.retain(|(known, _)| *known != sequence);
        }
    }
}

impl Acknowledge for Broker {
    fn acknowledge(&self, tokens: &[AckToken]) {
        let mut state = self.state();
        if self.disk.is_stopped() || !state.connected {
            return;
        }
        let epoch = state.epoch;
        for token in tokens.iter().filter(|token| token.epoch() == epoch) {
            let next = state
                .in_flight
                .iter()
                .find(|(sequence, _)| state.in_transit.back().is_none_or(|last| sequence > last));
            let Some((sequence, message)) = next.copied() else {
                state.broken = Some(format!("P2: {token:?} was acknowledged twice"));
                return;
            };
            if sequence != token.sequence() {
                state.broken = Some(format!("P2: {token:?} was acknowledged before {sequence}"));
                return;
            }
            state.in_transit.push_back(sequence);
            let payload = self.fleet.lock().unwrap().sent[message].payload.clone();
            let mut fleet = self.fleet.lock().unwrap();
            let count = fleet.acknowledged.entry(payload.clone()).or_default();
            *count += 1;
            if self.tape.lock().unwrap().times_taken_in(&payload) < *count {
                let payload = String::from_utf8_lossy(&payload);
                state.broken = Some(format!("P2: acknowledged and not in the journal: {payload}"));
            }
        }
        self.changed.notify_one();
    }

    fn send_again(&self) {
        self.disconnect(Duration::from_millis(1_000));
    }

    fn unacked(&self) -> usize {
        let state = self.state();
        if state.planted == Some(Planted::NeverCaughtUp) {
            return state.window;
        }
        state.in_flight.len().saturating_sub(state.in_transit.len())
    }

    fn window(&self) -> usize {
        self.state().window
    }
}
