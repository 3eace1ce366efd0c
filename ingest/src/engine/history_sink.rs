//! The embedded history's sink: follows the outbox, takes each point into memory at once and writes files in turns.
//!
//! The files carry the cursor: a flush makes points and cursor durable together, so that a crash between two flushes
//! only means that the outbox is read again from the older cursor.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use journal::{CursorFile, ReadError, Reader, Record};
use store::Rejected;
use store::history::{History, HistoryError};
use telemetry::problem::chain;
use telemetry::time::EventTime;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::engine::clock::wall_nanos;
use crate::engine::driver::Shared;
use crate::engine::health::{Health, Part};
use crate::engine::orders::Orders;
use crate::engine::passage::Passage;
use crate::engine::refusal::refuse_all;
use crate::engine::store_cursor::StoreCursor;
use crate::engine::store_sink::StoreView;
use crate::meter::{self, BatchOutcome};

/// A point is on disk in the history at the latest after this.
const FLUSH_AFTER: Duration = Duration::from_secs(10);
/// Outbox records in one flush at most: what a restart reads again.
const FLUSH_RECORDS: usize = 2_000_000;
/// Longest single wait for the outbox: how fast a shutdown is heard.
const NAP: Duration = Duration::from_millis(100);
/// Pause after a flush that failed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The embedded history's sink.
pub(crate) struct HistorySink {
    pub(crate) history: Arc<History>,
    /// Name of the history in messages: its folder.
    pub(crate) name: String,
    pub(crate) health: Arc<Health>,
    pub(crate) outbox: Reader,
    /// Follows behind, for a store of another kind.
    pub(crate) file: CursorFile,
    pub(crate) view: Arc<StoreView>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Orders,
    /// Told of each flush; waits where it lags far behind.
    pub(crate) upkeep: SyncSender<()>,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// What has been taken since the last flush.
struct Load {
    passage: Passage,
    /// When the first of it was taken.
    since: Option<Instant>,
    refused: Vec<Rejected>,
}

impl HistorySink {
    /// Follows the outbox until the shutdown begins, then writes what is there. Blocks its thread.
    pub(crate) fn run(mut self, runtime: &Handle) {
        let mut load = Load::after(self.view.cursor());
        while !*self.shutdown.borrow() {
            self.fill(&mut load);
            if self.is_due(&load) {
                if self.flush(&mut load, runtime) {
                    // It is gone at the shutdown only.
                    let _told = self.upkeep.send(());
                } else {
                    std::thread::sleep(NAP);
                }
                continue;
            }
            let _has_more = self.outbox.wait(NAP);
        }
        self.fill(&mut load);
        if load.passage.records > 0 && !self.flush_once(&mut load, runtime) {
            tracing::info!("the rest waits in the outbox");
        }
    }

    fn is_due(&self, load: &Load) -> bool {
        load.passage.records >= FLUSH_RECORDS
            || self.history.tail().bytes >= self.history.options().flush_bytes
            || load.since.is_some_and(|since| since.elapsed() >= FLUSH_AFTER)
    }

    /// Takes outbox records until there are no more or a flush is due.
    fn fill(&mut self, load: &mut Load) {
        let now = EventTime::from_nanos(wall_nanos());
        let bytes_max = self.history.options().flush_bytes;
        while load.passage.records < FLUSH_RECORDS && self.history.tail().bytes < bytes_max {
            match self.outbox.next() {
                Ok(Some(record)) => {
                    load.take(&self.history, now, &record);
                }
                Ok(None) => return,
                // What was cut had been passed; the next call goes on with the oldest record kept.
                Err(ReadError::Cut { .. }) => {}
                Err(error) => {
                    tracing::error!(%error, "the outbox could not be read");
                    return;
                }
            }
        }
    }

    /// Flushes, however long the disk fails. Returns `false` at the shutdown.
    fn flush(&mut self, load: &mut Load, runtime: &Handle) -> bool {
        while !self.flush_once(load, runtime) {
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
    fn flush_once(&mut self, load: &mut Load, runtime: &Handle) -> bool {
        if !load.refused.is_empty() {
            if !runtime.block_on(self.set_aside(load)) {
                return false;
            }
            load.passage.next.refuse(load.refused.len());
        }
        let has_refused = !load.refused.is_empty();
        load.refused.clear();
        if let Err(error) = self.history.flush(&load.passage.next.to_bytes()) {
            meter::store_retry();
            meter::store_batch(BatchOutcome::Failed);
            self.report(&error);
            return false;
        }
        meter::store_batch(if has_refused { BatchOutcome::Rejected } else { BatchOutcome::Stored });
        self.health.clear(Part::Store, &self.name);
        if let Err(error) = self.file.store(&load.passage.next.to_bytes()) {
            // The history's own cursor counts; this one serves only a store of another kind.
            tracing::warn!(error = %chain(&error), "the cursor file follows later");
        }
        load.passage.show(&self.view, &self.shared);
        *load = Load::after(load.passage.next);
        true
    }

    /// Makes refusals records; `false` at the shutdown, where the journal's writer has ended: they come again.
    async fn set_aside(&self, load: &Load) -> bool {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = refuse_all(&self.orders, &load.refused, |key| load.passage.element(key)) => true,
            _ = shutdown.wait_for(|stop| *stop) => false,
        }
    }

    fn report(&self, error: &HistoryError) {
        self.health.report(Part::Store, &self.name, error.message(), error.advice());
    }
}

impl Load {
    const fn after(cursor: StoreCursor) -> Self {
        Self { passage: Passage::after(cursor), since: None, refused: Vec::new() }
    }

    /// Takes one outbox record whole.
    fn take(&mut self, history: &History, now: EventTime, record: &Record<'_>) {
        let Self { passage, refused, since } = self;
        passage.take(record, |key, line| {
            let line = std::str::from_utf8(line).unwrap_or_default();
            let answer = history.take(key, line, now);
            let is_refused = answer.is_some();
            refused.extend(answer);
            is_refused
        });
        if passage.records > 0 {
            since.get_or_insert_with(Instant::now);
        }
    }
}
