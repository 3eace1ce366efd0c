//! Whether the store answers: asked all the time by a task of its own, so that a long back-off is cut short.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use store::{Readiness, Store, WriteError};
use telemetry::text::{Text, say};
use tokio::sync::{Notify, watch};

use crate::engine::health::{Health, Part};

/// Whether the store answers, asked all the time by a task of its own.
pub struct StoreHealth<S> {
    pub(crate) store: S,
    /// Address, for messages.
    pub(crate) name: String,
    pub(crate) describe: fn(&S, &WriteError) -> (Text, Text),
    pub(crate) health: Arc<Health>,
    pub(crate) readiness: Mutex<Readiness>,
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
        let readiness = Mutex::new(Readiness::new());
        Self { store, name, describe, health, readiness, back: Notify::new() }
    }

    /// Asks the store again and again until the shutdown.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        loop {
            match self.store.probe().await {
                Ok(_) => {
                    if let Err(error) = self.store.settle().await {
                        tracing::debug!(code = error.code(), "replay window not sent");
                    }
                    self.note(|readiness| readiness.handle_probe(Duration::ZERO, true), None);
                }
                Err(error) => self
                    .note(|readiness| readiness.handle_probe(Duration::ZERO, false), Some(&error)),
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(store::readiness::PROBE_INTERVAL) => {}
                _ = shutdown.wait_for(|stop| *stop) => return,
            }
        }
    }

    pub(crate) fn handle_write(&self, failed: Option<&WriteError>) {
        self.note(|readiness| readiness.handle_write(failed.map(WriteError::remedy)), failed);
    }

    fn note(&self, change: impl FnOnce(&mut Readiness), error: Option<&WriteError>) {
        let (was_ready, is_ready) = {
            let mut readiness = self.readiness.lock().unwrap_or_else(PoisonError::into_inner);
            let was_ready = readiness.is_ready();
            change(&mut readiness);
            (was_ready, readiness.is_ready())
        };
        if is_ready {
            self.health.clear(Part::Store, &self.name);
        } else if let Some(error) = error {
            let (message, remedy) = (self.describe)(&self.store, error);
            self.health.report(Part::Store, &self.name, message, remedy);
        }
        // A halted writer is told of every probe that passes: what a person had to repair may be repaired.
        if (is_ready && !was_ready) || error.is_none() {
            self.back.notify_one();
        }
    }
}
