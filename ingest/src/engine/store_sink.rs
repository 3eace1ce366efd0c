//! The store's sink: follows the outbox with a durable cursor, batch after batch.
//!
//! The cursor passes a position only when each of its points is stored, or its refusal is a durable record.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use journal::{CursorFile, ReadError, Reader, Record};
use store::{Backoff, BatchBuilder, BatchLimits, Entry, Outcome, Remedy, Store, WriteError};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::engine::driver::Shared;
use crate::engine::orders::Orders;
use crate::engine::passage::Passage;
use crate::engine::refusal::refuse_all;
use crate::engine::store_cursor::StoreCursor;
use crate::engine::store_health::StoreHealth;
use crate::meter::{self, BatchOutcome};

/// Lines and bytes of a load at which it is written, and how long it may wait to fill.
const LIMITS: BatchLimits =
    BatchLimits { lines_max: 5_000, bytes_max: 4 << 20, wait_max: Duration::from_millis(200) };
/// Pause between two looks at the outbox while a load waits to fill.
const FILL_PAUSE: Duration = Duration::from_millis(20);
/// How long the shutdown waits for the store to take what is in the outbox; the rest waits there.
const DRAIN: Duration = Duration::from_secs(4);
/// Pause before a cursor that did not become durable is stored again.
const CURSOR_RETRY: Duration = Duration::from_millis(500);

/// What the store sink tells of itself.
#[derive(Debug, Default)]
pub struct StoreView {
    cursor: Mutex<StoreCursor>,
}

impl StoreView {
    /// Returns position and totals, as one pair.
    #[must_use]
    pub fn cursor(&self) -> StoreCursor {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets position and totals.
    pub fn set(&self, cursor: StoreCursor) {
        *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
    }
}

/// The store sink.
pub struct StoreSink<S> {
    pub(crate) health: Arc<StoreHealth<S>>,
    pub(crate) outbox: Reader,
    pub(crate) file: CursorFile,
    pub(crate) view: Arc<StoreView>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) orders: Orders,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// Points on their way, and what the cursor becomes once they are settled.
struct Load {
    builder: BatchBuilder,
    bytes: usize,
    /// Taken out of the builder, not yet settled.
    sealed: Option<store::Batch>,
    passage: Passage,
}

impl<S: Store> StoreSink<S> {
    /// Follows the outbox until the shutdown begins, then settles what the store takes at once.
    pub async fn run(mut self) {
        let more = Arc::new(Notify::new());
        let wake = Arc::clone(&more);
        let _watch = self.outbox.published().watch(move || wake.notify_one());
        let mut load = Load::after(self.view.cursor());
        let mut due: Option<Instant> = None;
        while !*self.shutdown.borrow() {
            let full = self.fill(&mut load);
            if load.has_moved() {
                due.get_or_insert_with(|| Instant::now() + LIMITS.wait_max);
            }
            if full || due.is_some_and(|due| Instant::now() >= due) {
                if !self.settle(&mut load).await {
                    break;
                }
                due = None;
                continue;
            }
            // While a load fills, it is filled a few times rather than at each publication.
            let look = due.map(|due| due.min(Instant::now() + FILL_PAUSE));
            tokio::select! {
                biased;
                () = more.notified(), if due.is_none() => {}
                () = sleep_until(look) => {}
                _ = self.shutdown.changed() => {}
            }
        }
        if tokio::time::timeout(DRAIN, self.drain(load)).await.is_err() {
            tracing::info!("the rest waits in the outbox");
        }
    }

    /// Settles what is in the outbox for as long as the store takes it at once.
    async fn drain(&mut self, mut load: Load) {
        loop {
            self.fill(&mut load);
            if !load.has_moved() || self.settle_once(&mut load).await.is_err() {
                return;
            }
        }
    }

    /// Reads outbox records into the load; returns whether it is full. A record is never divided between two
    /// positions of the cursor.
    fn fill(&mut self, load: &mut Load) -> bool {
        while !load.is_full() {
            match self.outbox.next() {
                Ok(Some(record)) => load.take(&record),
                Ok(None) => return false,
                // What was cut had been passed; the next call goes on with the oldest record kept.
                Err(ReadError::Cut { .. }) => {}
                Err(error) => {
                    tracing::error!(%error, "the outbox could not be read");
                    return false;
                }
            }
        }
        true
    }

    /// Settles the load, however long the store is away. Returns `false` at the shutdown.
    async fn settle(&mut self, load: &mut Load) -> bool {
        let mut backoff = Backoff::new();
        loop {
            let mut shutdown = self.shutdown.clone();
            let written = tokio::select! {
                biased;
                written = self.settle_once(load) => written,
                _ = shutdown.wait_for(|stop| *stop) => return false,
            };
            let Err(error) = written else {
                self.health.handle_write(None);
                return true;
            };
            self.health.handle_write(Some(&error));
            meter::store_retry();
            meter::store_batch(BatchOutcome::Failed);
            let wait = backoff.handle_failure(error.remedy(), fastrand::u32(..));
            let may_hurry = !matches!(error.remedy(), Remedy::After(_));
            tokio::select! {
                biased;
                () = tokio::time::sleep(wait) => {}
                () = self.health.back.notified(), if may_hurry => {}
                _ = shutdown.wait_for(|stop| *stop) => return false,
            }
        }
    }

    /// Writes the load once and moves the cursor. On an error the load is as it was.
    async fn settle_once(&mut self, load: &mut Load) -> Result<(), WriteError> {
        // More than one where records came after a batch was sealed: the cursor passes them all.
        while let Some(batch) = load.sealed() {
            // Until it is settled it stays in the load, also where this future is dropped at the shutdown.
            load.sealed = Some(batch.clone());
            let outcome = self.health.store.write(&batch).await?;
            meter::store_batch(if outcome.rejected.is_empty() {
                BatchOutcome::Stored
            } else {
                BatchOutcome::Rejected
            });
            self.set_aside(load, &outcome).await;
            load.sealed = None;
        }
        self.pass(load).await;
        Ok(())
    }

    /// Makes the store's refusals records before the cursor passes them.
    async fn set_aside(&self, load: &mut Load, outcome: &Outcome) {
        refuse_all(&self.orders, &outcome.rejected, |key| load.passage.element(key)).await;
        load.passage.next.refuse(outcome.rejected.len());
    }

    /// Moves the cursor durably, however long the disk fails: what is cut, and counted as stored, is below it.
    async fn pass(&mut self, load: &mut Load) {
        while let Err(error) = self.file.store(&load.passage.next.to_bytes()) {
            tracing::error!(%error, "the store's cursor is not durable; tried again");
            tokio::time::sleep(CURSOR_RETRY).await;
        }
        load.passage.show(&self.view, &self.shared);
        *load = Load::after(load.passage.next);
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Load {
    fn after(cursor: StoreCursor) -> Self {
        Self {
            builder: BatchBuilder::new(BatchLimits {
                lines_max: usize::MAX,
                bytes_max: usize::MAX,
                ..LIMITS
            }),
            bytes: 0,
            sealed: None,
            passage: Passage::after(cursor),
        }
    }

    /// Takes one outbox record whole.
    fn take(&mut self, record: &Record<'_>) {
        let Self { passage, builder, bytes, .. } = self;
        passage.take(record, |key, line| {
            let pushed = builder.push(Entry { key, line });
            debug_assert!(pushed.is_ok(), "the load's bounds are looked at between records");
            *bytes += line.len() + 1;
            true
        });
    }

    /// Returns whether anything was passed at all.
    const fn has_moved(&self) -> bool {
        self.passage.records > 0
    }

    fn is_full(&self) -> bool {
        self.builder.len() >= LIMITS.lines_max
            || self.bytes >= LIMITS.bytes_max
            || self.passage.records >= LIMITS.lines_max
    }

    fn sealed(&mut self) -> Option<store::Batch> {
        self.sealed.take().or_else(|| self.builder.seal())
    }
}
