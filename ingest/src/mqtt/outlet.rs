//! What the journal's side, the polling task and the transport share: the ledger, the
//! acknowledgements on their way out, and the gate that stops reading.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::{Bytes, BytesMut};

use super::ledger::{Ledger, Packet};
use super::link::{Arrived, Receipt, Sender, puback};
use crate::source::{AckToken, Acknowledge};

/// Learnt windows from this on are taken for the broker's when it is asked whether a backlog waits there.
const BROKER_WINDOW_MIN: usize = 8;

/// Shared by one consumer and its connections.
pub(crate) struct Outlet {
    inner: Mutex<Inner>,
    /// Copy of the ledger's count for the transport, which looks after every read.
    unacked: AtomicUsize,
    /// Greatest count since the transport last asked.
    peak: AtomicUsize,
    /// Reading is stopped while this is set.
    shut: AtomicBool,
    /// The connection is to be made anew.
    again: AtomicBool,
    /// Our Receive Maximum.
    window: usize,
    /// The broker's window, as far as this connection has shown it; at most ours.
    learnt: AtomicUsize,
    /// How many reads were followed by a pause.
    pauses: AtomicU64,
}

#[derive(Default)]
struct Inner {
    ledger: Ledger,
    /// Encoded acknowledgements that no connection has taken yet; at most four bytes for each of the window.
    bytes: BytesMut,
    /// Wakes whoever polls the connection.
    waker: Option<Waker>,
    /// Carries what is not a plain PUBACK.
    client: Option<Sender>,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet")
            .field("unacked", &self.unacked)
            .field("shut", &self.shut)
            .finish_non_exhaustive()
    }
}

impl Outlet {
    pub(crate) fn new(window: usize) -> Self {
        Self {
            inner: Mutex::default(),
            unacked: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            shut: AtomicBool::new(false),
            again: AtomicBool::new(false),
            window,
            learnt: AtomicUsize::new(window),
            pauses: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change under the lock is complete when it ends, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the epoch of a connection that the broker has just confirmed.
    pub(crate) fn open(&self, client: Sender) {
        let mut inner = self.lock();
        inner.ledger.open();
        inner.bytes.clear();
        // Whatever was to come again comes on this connection.
        self.again.store(false, Ordering::Release);
        self.learnt.store(self.window, Ordering::Relaxed);
        inner.client = Some(client);
        self.count(&inner);
    }

    /// Ends the epoch: what was not written is void.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.ledger.close();
        inner.bytes.clear();
        inner.client = None;
        inner.waker = None;
        self.count(&inner);
    }

    /// Enters messages that have just arrived; `None` for those without an acknowledgement.
    pub(crate) fn enter(&self, arrived: &[Arrived], tokens: &mut Vec<Option<AckToken>>) {
        let mut inner = self.lock();
        for publish in arrived {
            tokens.push(match publish.receipt {
                Receipt::None => None,
                Receipt::AtLeastOnce(id) => Some(inner.ledger.enter(Packet::AtLeastOnce(id))),
                Receipt::ExactlyOnce(id) => Some(inner.ledger.enter(Packet::ExactlyOnce(id))),
            });
        }
        self.count(&inner);
    }

    fn count(&self, inner: &Inner) {
        let unacked = inner.ledger.unacked();
        self.unacked.store(unacked, Ordering::Relaxed);
        self.peak.fetch_max(unacked, Ordering::Relaxed);
    }

    /// Takes the acknowledgements that are to be written now, and remembers whom to wake for the next.
    pub(crate) fn take(&self, waker: &Waker) -> Option<Bytes> {
        let mut inner = self.lock();
        if !inner.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        if inner.bytes.is_empty() { None } else { Some(inner.bytes.split().freeze()) }
    }

    /// Stops or resumes reading. Acknowledgements and pings go on.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Release);
        if !shut && let Some(waker) = self.lock().waker.take() {
            waker.wake();
        }
    }

    /// Returns whether reading is stopped.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// Returns whether the connection is to be made anew; once.
    pub(crate) fn take_again(&self) -> bool {
        self.again.swap(false, Ordering::AcqRel)
    }

    /// Notes how many messages can be in flight, as far as the connection has shown it.
    pub(crate) fn learn(&self, window: usize) {
        self.learnt.store(window, Ordering::Relaxed);
    }

    /// Notes a pause after a read.
    pub(crate) fn paused(&self) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many pauses there were.
    #[cfg(test)]
    pub(crate) fn pauses(&self) -> u64 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Returns the greatest number of unacknowledged messages since the last call.
    pub(crate) fn take_peak(&self) -> usize {
        self.peak.swap(self.unacked.load(Ordering::Relaxed), Ordering::Relaxed)
    }
}

impl Outlet {
    /// Returns our own Receive Maximum.
    pub(crate) const fn receive_maximum(&self) -> usize {
        self.window
    }
}

impl Inner {
    fn send(&mut self, packet: Packet) {
        match packet {
            Packet::AtLeastOnce(id) => self.bytes.extend_from_slice(&puback(id)),
            Packet::ExactlyOnce(id) => {
                if let Some(Err(error)) = self.client.as_ref().map(|client| client.pubrec(id)) {
                    // The broker sends it again on the next connection.
                    tracing::debug!(%error, "a PUBREC found no room");
                }
            }
        }
    }
}

impl Acknowledge for Outlet {
    fn acknowledge(&self, tokens: &[AckToken]) {
        let mut inner = self.lock();
        for token in tokens {
            // A token of an older connection: the broker sends that message again.
            let counted = inner.ledger.settle(*token);
            tracing::trace!(counted, sequence = token.sequence(), "settled");
        }
        let mut any = false;
        while let Some(packet) = inner.ledger.release() {
            any = true;
            inner.send(packet);
        }
        self.count(&inner);
        let waker = if any { inner.waker.take() } else { None };
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn send_again(&self) {
        self.again.store(true, Ordering::Release);
    }

    fn unacked(&self) -> usize {
        self.unacked.load(Ordering::Relaxed)
    }

    fn window(&self) -> usize {
        let learnt = self.learnt.load(Ordering::Relaxed);
        // A few messages at a time are a calm load, not a window.
        if learnt >= BROKER_WINDOW_MIN { learnt } else { self.window }
    }

    fn is_used_up(&self) -> bool {
        self.unacked() >= self.learnt.load(Ordering::Relaxed)
    }
}
