//! The embedded history's writer, beside its sink: makes what the sink froze durable, while the next points are taken.
//!
//! The files carry the cursor: a flush makes points and cursor durable together, so that a crash between two flushes
//! only means that the outbox is read again from the older cursor.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use journal::CursorFile;
use store::history::{History, HistoryError};
use telemetry::problem::chain;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::engine::driver::Shared;
use crate::engine::health::{Health, Part};
use crate::engine::history_sink::{Flush, WriteOrder};
use crate::engine::orders::Orders;
use crate::engine::refusal::refuse_all;
use crate::engine::store_sink::StoreView;
use crate::meter::{self, BatchOutcome};

/// Pause after a flush that failed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Longest single pause: how fast a shutdown is heard.
const NAP: Duration = Duration::from_millis(100);

/// The embedded history's writer.
pub(crate) struct HistoryWriter {
    pub(crate) history: Arc<History>,
    /// Name of the history in messages: its folder.
    pub(crate) name: String,
    pub(crate) health: Arc<Health>,
    /// Follows behind, for a store of another kind.
    pub(crate) file: CursorFile,
    pub(crate) view: Arc<StoreView>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Orders,
    /// Told of each flush; waits where it lags far behind.
    pub(crate) upkeep: SyncSender<()>,
    pub(crate) shutdown: watch::Receiver<bool>,
}

impl HistoryWriter {
    /// Writes until the sink is gone, or a flush fails at the shutdown: then no later one is tried, since its cursor
    /// would pass what the failed one has refused. Blocks its thread.
    pub(crate) fn run(mut self, given: &Receiver<WriteOrder>, runtime: &Handle) {
        while let Ok(order) = given.recv() {
            let WriteOrder::Write(mut flush) = order else { continue };
            if !self.write(&mut flush, runtime) {
                return;
            }
            // It is gone at the shutdown only.
            let _told = self.upkeep.send(());
        }
    }

    /// Makes it durable, however long the disk fails. Returns `false` at the shutdown.
    fn write(&mut self, flush: &mut Flush, runtime: &Handle) -> bool {
        while !self.write_once(flush, runtime) {
            let again = Instant::now() + TRY_AGAIN_AFTER;
            while Instant::now() < again {
                if *self.shutdown.borrow() {
                    return false;
                }
                std::thread::sleep(NAP);
            }
        }
        true
    }

    /// Makes points and cursor durable. Refusals are records before.
    fn write_once(&mut self, flush: &mut Flush, runtime: &Handle) -> bool {
        let has_refused = !flush.refused.is_empty();
        if has_refused && !runtime.block_on(self.set_aside(flush)) {
            return false;
        }
        flush.refused.clear();
        if let Err(error) = self.history.write(&flush.frozen) {
            meter::store_retry();
            meter::store_batch(BatchOutcome::Failed);
            self.report(&error);
            return false;
        }
        meter::store_batch(if has_refused { BatchOutcome::Rejected } else { BatchOutcome::Stored });
        self.health.clear(Part::Store, &self.name);
        if let Err(error) = self.file.store(&flush.passage.next.to_bytes()) {
            // The history's own cursor counts; this one serves only a store of another kind.
            tracing::warn!(error = %chain(&error), "the cursor file follows later");
        }
        flush.passage.show(&self.view, &self.shared);
        true
    }

    /// Makes refusals records; `false` at the shutdown, where the journal's writer has ended: they come again.
    async fn set_aside(&self, flush: &Flush) -> bool {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = refuse_all(&self.orders, &flush.refused, |key| flush.passage.element(key)) => true,
            _ = shutdown.wait_for(|stop| *stop) => false,
        }
    }

    fn report(&self, error: &HistoryError) {
        self.health.report(Part::Store, &self.name, error.message(), error.advice());
    }
}
