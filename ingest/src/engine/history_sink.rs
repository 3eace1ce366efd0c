//! The embedded history's sink: follows the outbox, takes each point into memory at once and freezes it in turns for
//! the writer beside it.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use journal::{ReadError, Reader, Record};
use store::Rejected;
use store::history::{Frozen, History};
use telemetry::problem::chain;
use telemetry::time::EventTime;
use tokio::sync::watch;

use crate::engine::history_upkeep::HistoryClock;
use crate::engine::passage::Passage;
use crate::engine::store_cursor::StoreCursor;

/// A point is on its way to the disk in the history at the latest after this.
const FLUSH_AFTER: Duration = Duration::from_secs(10);
/// Outbox records in one flush at most; two of them are what a restart reads again.
const FLUSH_RECORDS: usize = 2_000_000;
/// Refused points in one flush at most.
const REFUSED: usize = 10_000;
/// Longest single wait of sink and writer: how fast a shutdown is heard.
pub(crate) const NAP: Duration = Duration::from_millis(100);

/// What the sink asks of the writer. The channel has no room: an order is given once the one before is done, so that
/// at most two tails are in memory, whatever the disk does.
pub(crate) enum WriteOrder {
    /// Make this durable.
    Write(Flush),
    /// Nothing: it is given once all before is durable.
    Rest,
}

/// A frozen tail with all that becomes true once it is written.
pub(crate) struct Flush {
    pub(crate) frozen: Frozen,
    pub(crate) passage: Passage,
    pub(crate) refused: Vec<Rejected>,
}

/// The embedded history's sink.
pub(crate) struct HistorySink {
    pub(crate) history: Arc<History>,
    pub(crate) clock: HistoryClock,
    pub(crate) outbox: Reader,
    /// How far the history's files reach.
    pub(crate) cursor: StoreCursor,
    pub(crate) writer: SyncSender<WriteOrder>,
    pub(crate) shutdown: watch::Receiver<bool>,
}

/// What has been taken since the last freeze.
struct Load {
    passage: Passage,
    /// When the first of it was taken.
    since: Option<Instant>,
    refused: Vec<Rejected>,
}

impl HistorySink {
    /// Follows the outbox until the shutdown begins, then hands on what is there. Blocks its thread.
    pub(crate) fn run(mut self) {
        let mut load = Load::after(self.cursor);
        loop {
            let is_readable = self.fill(&mut load);
            let (ends, is_full) = (*self.shutdown.borrow(), self.is_full(&load));
            if !(ends || is_full || load.is_old()) {
                if is_readable {
                    let _has_more = self.outbox.wait(NAP);
                } else {
                    // There is more, so that waiting for it would be no pause.
                    std::thread::sleep(NAP);
                }
                continue;
            }
            if load.passage.records > 0 && !self.hand_over(&mut load) {
                return self.tell_of_the_rest();
            }
            if ends {
                return;
            }
            // The shutdown came while the writer was behind: another such flush would not end in time.
            if is_full && *self.shutdown.borrow() {
                return self.tell_of_the_rest();
            }
        }
    }

    fn tell_of_the_rest(&self) {
        if *self.shutdown.borrow() {
            tracing::info!("the rest waits in the outbox");
        } else {
            tracing::error!(
                "the history's writer has ended; points wait in the outbox until a restart"
            );
        }
    }

    fn is_full(&self, load: &Load) -> bool {
        load.passage.records >= FLUSH_RECORDS
            || load.refused.len() >= REFUSED
            || self.history.unfrozen().bytes >= self.history.options().flush_bytes
    }

    /// Takes outbox records until there are no more or a flush is due. Returns `false` where the disk does not let
    /// them be read.
    fn fill(&mut self, load: &mut Load) -> bool {
        let now = self.clock.now();
        while !self.is_full(load) {
            match self.outbox.next() {
                Ok(Some(record)) => load.take(&self.history, now, &record),
                Ok(None) => return true,
                // What was cut had been passed; the next call goes on with the oldest record kept.
                Err(ReadError::Cut { .. }) => {}
                Err(error) => {
                    tracing::error!(error = %chain(&error), "the outbox could not be read; tried again");
                    return false;
                }
            }
        }
        true
    }

    /// Freezes what was taken and waits until the writer has it. Returns `false` where the writer is gone.
    fn hand_over(&self, load: &mut Load) -> bool {
        load.passage.next.refuse(load.refused.len());
        let next = load.passage.next;
        let frozen = self.history.freeze(&next.to_bytes());
        let wants_rest = frozen.wants_rest();
        let Load { passage, refused, .. } = std::mem::replace(load, Load::after(next));
        let flush = Flush { frozen, passage, refused };
        self.writer.send(WriteOrder::Write(flush)).is_ok()
            && (!wants_rest || self.writer.send(WriteOrder::Rest).is_ok())
    }
}

impl Load {
    const fn after(cursor: StoreCursor) -> Self {
        Self { passage: Passage::after(cursor), since: None, refused: Vec::new() }
    }

    fn is_old(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= FLUSH_AFTER)
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
