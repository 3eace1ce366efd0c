//! What the connections of one loop share: the turn, the sessions, who waits for what. One thread, no locks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use super::acks::Acks;
use super::connection::Connection;
use super::fault::Fault;
use super::mailbox::{Change, Commands};
use super::prover::Prover;
use super::session::Session;
use super::sessions::{ConnectionNumber, SessionKey, Sessions};
use super::terms::Terms;
use super::turn::Turn;
use crate::meter;

/// A connection and the task that serves it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) number: ConnectionNumber,
    pub(crate) connection: RefCell<Connection>,
    waker: RefCell<Option<Waker>>,
    /// The record whose durability it will be woken for.
    registered: Cell<u64>,
}

impl Member {
    pub(crate) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.connection.borrow().ended().is_some()
    }
}

/// What the connections share.
pub(crate) struct Hub {
    pub(crate) turn: RefCell<Turn>,
    pub(crate) prover: RefCell<Prover>,
    pub(crate) acks: Arc<Acks>,
    pub(crate) commands: Commands,
    /// Rings when the turn has its first record.
    pub(crate) filled: Notify,
    /// Bounds the checks of passwords that run at a time.
    pub(crate) checkers: Arc<Semaphore>,
    /// The intake buffer is full, or the listener stops: nothing is read.
    is_blocked: Cell<bool>,
    is_stopping: Cell<bool>,
    sessions: RefCell<Sessions>,
    members: RefCell<HashMap<ConnectionNumber, Rc<Member>>>,
    /// Connections that have proven nothing yet, oldest first.
    unproven: RefCell<BTreeSet<ConnectionNumber>>,
    unproven_max: usize,
    /// Who waits for which record to become durable.
    awaiting: RefCell<BTreeMap<(u64, ConnectionNumber), Rc<Member>>>,
    /// Who waits for room in the intake buffer.
    paused: RefCell<Vec<Rc<Member>>>,
    next_number: Cell<ConnectionNumber>,
    durable: Cell<u64>,
}

impl Hub {
    pub(crate) fn new(
        turn: Turn,
        prover: Prover,
        acks: Arc<Acks>,
        commands: Commands,
        max_connections: usize,
    ) -> Self {
        let checkers = std::thread::available_parallelism().map_or(1, |count| count.get() / 2);
        Self {
            turn: RefCell::new(turn),
            prover: RefCell::new(prover),
            acks,
            commands,
            filled: Notify::new(),
            checkers: Arc::new(Semaphore::new(checkers.max(1))),
            is_blocked: Cell::new(false),
            is_stopping: Cell::new(false),
            sessions: RefCell::default(),
            members: RefCell::default(),
            unproven: RefCell::default(),
            unproven_max: (max_connections / 4).max(16),
            awaiting: RefCell::default(),
            paused: RefCell::default(),
            next_number: Cell::new(0),
            durable: Cell::new(0),
        }
    }

    /// Takes in a connection. Where too many have proven nothing yet, the oldest of them makes room.
    pub(crate) fn admit(&self, now: Instant) -> Rc<Member> {
        let number = self.next_number.get() + 1;
        self.next_number.set(number);
        let member = Rc::new(Member {
            number,
            connection: RefCell::new(Connection::new(now, self.durable.get())),
            waker: RefCell::default(),
            registered: Cell::new(0),
        });
        self.members.borrow_mut().insert(number, Rc::clone(&member));
        self.unproven.borrow_mut().insert(number);
        let oldest = {
            let unproven = self.unproven.borrow();
            unproven.first().copied().filter(|_| unproven.len() > self.unproven_max)
        };
        if let Some(oldest) = oldest.and_then(|number| self.member(number)) {
            self.end(now, &oldest, Fault::Busy);
        }
        self.show_counts();
        member
    }

    /// Gives up a connection whose task ends.
    pub(crate) fn dismiss(&self, now: Instant, member: &Member) {
        member.connection.borrow_mut().end(now, Fault::Lost, &mut self.turn.borrow_mut());
        self.settle(now, member);
        self.members.borrow_mut().remove(&member.number);
        self.unproven.borrow_mut().remove(&member.number);
        if let Some(fault) = member.connection.borrow().ended() {
            meter::listener_ended(fault);
        }
        self.show_counts();
    }

    /// Opens a session for a connection; an older connection of the same client ends.
    pub(crate) fn open(
        &self,
        now: Instant,
        number: ConnectionNumber,
        wish: (&SessionKey, bool),
    ) -> Result<(Box<Session>, bool), Fault> {
        let (key, is_clean) = wish;
        let holder = self.sessions.borrow().holder(key);
        if let Some(holder) = holder.and_then(|number| self.member(number)) {
            self.end(now, &holder, Fault::TakenOver);
        }
        let mut turn = self.turn.borrow_mut();
        let limits = turn.terms.limits;
        let opened = self.sessions.borrow_mut().open(now, key, (number, is_clean), &limits);
        let opened = opened.map_err(|_| Fault::Quota)?;
        for due in opened.wills {
            turn.publish_will(&due.identity, due.will);
        }
        self.unproven.borrow_mut().remove(&number);
        Ok((opened.session, opened.is_present))
    }

    /// Ends a connection from outside its task.
    fn end(&self, now: Instant, member: &Member, fault: Fault) {
        member.connection.borrow_mut().end(now, fault, &mut self.turn.borrow_mut());
        self.settle(now, member);
        member.wake();
    }

    /// Puts what an ended connection left behind in its place.
    pub(crate) fn settle(&self, now: Instant, member: &Member) {
        let Some(left) = member.connection.borrow_mut().release() else { return };
        let mut turn = self.turn.borrow_mut();
        let limits = turn.terms.limits;
        let released = (left.session, left.lasts);
        let wills = self.sessions.borrow_mut().close(now, &left.key, released, &limits);
        for due in wills {
            turn.publish_will(&due.identity, due.will);
        }
        drop(turn);
        self.note_records();
    }

    /// Wakes the handing over, registers new subscriptions, counts what was dropped.
    pub(crate) fn note_records(&self) {
        let mut turn = self.turn.borrow_mut();
        if !turn.is_empty() {
            self.filled.notify_one();
        }
        for mailbox in turn.subscribed.drain(..) {
            self.commands.register(&mailbox);
        }
        if turn.dropped != [0; 3] {
            meter::listener_dropped(std::mem::take(&mut turn.dropped));
        }
    }

    /// Wakes a connection once the record it waits for is durable.
    pub(crate) fn await_durable(&self, member: &Rc<Member>, record: u64) {
        if record > member.registered.get() {
            member.registered.set(record);
            let key = (record, member.number);
            self.awaiting.borrow_mut().insert(key, Rc::clone(member));
        }
    }

    /// Wakes a connection once there is room in the intake buffer.
    pub(crate) fn await_room(&self, member: &Rc<Member>) {
        let mut paused = self.paused.borrow_mut();
        if !paused.iter().any(|known| known.number == member.number) {
            paused.push(Rc::clone(member));
        }
    }

    /// Returns whether connections may read.
    pub(crate) fn is_reading(&self) -> bool {
        !self.is_blocked.get() && !self.is_stopping.get() && !self.turn.borrow().is_full()
    }

    pub(crate) fn set_blocked(&self, is_blocked: bool) {
        self.is_blocked.set(is_blocked);
        if !is_blocked {
            self.paused.borrow_mut().drain(..).for_each(|member| member.wake());
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.get()
    }

    /// Takes what the journal's side has told.
    pub(crate) fn handle_progress(&self, now: Instant) {
        let progress = self.acks.progress();
        let before = self.durable.get();
        if progress.epoch != self.turn.borrow().epoch {
            tracing::warn!("records were not durable; connections that wait for them are ended");
            for member in self.all() {
                let mut turn = self.turn.borrow_mut();
                member.connection.borrow_mut().handle_not_durable(now, before, &mut turn);
                drop(turn);
                self.settle(now, &member);
                member.wake();
            }
            self.sessions.borrow_mut().forget_after(before);
            self.turn.borrow_mut().epoch = progress.epoch;
        }
        self.durable.set(progress.durable);
        let mut awaiting = self.awaiting.borrow_mut();
        while let Some(first) = awaiting.first_entry() {
            if first.key().0 > progress.durable {
                break;
            }
            first.remove().wake();
        }
    }

    /// Takes a change of the configuration.
    pub(crate) fn handle_change(&self, now: Instant, change: Change) {
        match change {
            Change::Patterns(patterns) => {
                let mut turn = self.turn.borrow_mut();
                let generation = turn.terms.generation + 1;
                turn.terms = Arc::new(Terms { limits: turn.terms.limits, patterns, generation });
            }
            Change::Credentials(credentials) => {
                let replaced = self.prover.borrow_mut().replace(credentials);
                let Some(before) = replaced else { return };
                for member in self.all() {
                    let agrees = member
                        .connection
                        .borrow()
                        .identity()
                        .is_none_or(|identity| self.prover.borrow().agrees(&before, identity));
                    if !agrees {
                        self.end(now, &member, Fault::NotAuthorized);
                    }
                }
            }
        }
    }

    /// Ends sessions that expired; publishes wills that are due.
    pub(crate) fn handle_timeout(&self, now: Instant) {
        let due = self.sessions.borrow_mut().handle_timeout(now);
        let mut turn = self.turn.borrow_mut();
        due.into_iter().for_each(|due| turn.publish_will(&due.identity, due.will));
        drop(turn);
        self.note_records();
        self.commands.forget_gone();
    }

    /// Stops reading.
    pub(crate) fn stop(&self) {
        self.is_stopping.set(true);
    }

    /// Returns whether nothing waits to become durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.turn.borrow().is_empty()
            && self.all().iter().all(|member| member.connection.borrow().unacked() == 0)
    }

    /// Ends every connection.
    pub(crate) fn end_all(&self, now: Instant) {
        for member in self.all() {
            member.connection.borrow_mut().handle_durable(self.durable.get());
            self.end(now, &member, Fault::ShuttingDown);
        }
    }

    pub(crate) fn wake_all(&self) {
        self.all().iter().for_each(|member| member.wake());
    }

    pub(crate) fn connections(&self) -> usize {
        self.members.borrow().len()
    }

    fn show_counts(&self) {
        let count = self.connections();
        let each = usize::from(self.turn.borrow().terms.limits.receive_maximum);
        self.acks.set_window(count * each);
        meter::listener_connections(count);
    }

    fn member(&self, number: ConnectionNumber) -> Option<Rc<Member>> {
        self.members.borrow().get(&number).cloned()
    }

    /// In the order of admission, so that what follows has an order of its own.
    fn all(&self) -> Vec<Rc<Member>> {
        let mut all: Vec<Rc<Member>> = self.members.borrow().values().cloned().collect();
        all.sort_unstable_by_key(|member| member.number);
        all
    }
}
