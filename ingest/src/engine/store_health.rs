//! Whether the store answers: asked all the time by a task of its own, so that a long back-off is cut short.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::{Readiness, Store, WriteError};
use telemetry::text::{Text, say};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::engine::health::{Health, Part};

/// Whether the store answers, asked all the time by a task of its own.
pub struct StoreHealth<S> {
    pub(crate) store: S,
    /// Address, for messages.
    pub(crate) name: String,
    pub(crate) describe: fn(&S, &WriteError) -> (Text, Text),
    pub(crate) health: Arc<Health>,
    pub(crate) readiness: Mutex<Readiness>,
    /// Where the times of the readiness begin.
    began: Instant,
    /// What is wrong with the writes, and what to do, since one failed and none succeeded.
    failed_write: Mutex<Option<(Text, Text)>>,
    /// The store has just come back.
    pub(crate) back: Notify,
}

impl<S: Store> StoreHealth<S> {
    /// Watches a store.
    pub fn new(
        store: S,
        name: String,
        describe: fn(&S, &WriteError) -> (Text, Text),
        health: Arc<Health>,
    ) -> Self {
        let remedy = say("ingest.store.not_asked.remedy", &[]);
        health.report(Part::Store, &name, say("ingest.store.not_asked", &[("url", &name)]), remedy);
        Self {
            store,
            name,
            describe,
            health,
            readiness: Mutex::new(Readiness::new()),
            began: Instant::now(),
            failed_write: Mutex::default(),
            back: Notify::new(),
        }
    }

    /// Asks the store again and again until the shutdown.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        loop {
            match self.store.probe().await {
                Ok(_) => {
                    if let Err(error) = self.store.settle().await {
                        tracing::debug!(code = error.code(), "replay window not sent");
                    }
                    self.note(|readiness, now| readiness.handle_probe(now, true), None);
                }
                Err(error) => {
                    self.note(|readiness, now| readiness.handle_probe(now, false), Some(&error));
                }
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(store::readiness::PROBE_INTERVAL) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    pub(crate) fn handle_write(&self, failed: Option<&WriteError>) {
        let told = failed.map(|error| (self.describe)(&self.store, error));
        *self.failed_write.lock().unwrap_or_else(PoisonError::into_inner) = told;
        let remedy = failed.map(WriteError::remedy);
        self.note(|readiness, now| readiness.handle_write(now, remedy), failed);
    }

    fn note(&self, change: impl FnOnce(&mut Readiness, Duration), error: Option<&WriteError>) {
        let (was_ready, is_ready) = {
            let mut readiness = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
            let was_ready = readiness.is_ready();
            change(&mut readiness, self.began.elapsed());
            (was_ready, readiness.is_ready())
        };
        if is_ready {
            self.health.clear(Part::Store, &self.name);
        } else if let Some((message, remedy)) = self.trouble(error) {
            self.health.report(Part::Store, &self.name, message, remedy);
        }
        // A halted writer is told of every probe that passes: what a person had to repair may be repaired.
        if (is_ready && !was_ready) || error.is_none() {
            self.back.notify_one();
        }
    }

    /// Returns what to tell of a store that is not ready: this error, else that of the writes.
    fn trouble(&self, error: Option<&WriteError>) -> Option<(Text, Text)> {
        let of_writes = || self.failed_write.lock().unwrap_or_else(PoisonError::into_inner).clone();
        error.map(|error| (self.describe)(&self.store, error)).or_else(of_writes)
    }
}
