//! The embedded history's upkeep, beside its sink: merges, retention, damaged files. Points are taken and flushed
//! meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use store::history::History;
use telemetry::problem::chain;
use telemetry::time::EventTime;
use tokio::sync::watch;

use crate::engine::clock::wall_nanos;

/// Flushes that the upkeep may lag behind; then writer and sink wait, so that the number of files has a bound.
const FLUSHES_BEHIND_MAX: usize = 16;
/// Merges after a flush at most.
const MERGES_AT_ONCE: u32 = 4;
/// Pause between two looks while nothing is flushed.
const EVERY: Duration = Duration::from_secs(30);

/// What keeps the files of the history few.
pub(crate) struct Upkeep {
    history: Arc<History>,
    flushes: Receiver<()>,
    shutdown: watch::Receiver<bool>,
}

impl Upkeep {
    /// Returns it with the way to tell it of a flush. It ends when that is dropped.
    pub(crate) fn new(
        history: Arc<History>,
        shutdown: watch::Receiver<bool>,
    ) -> (Self, SyncSender<()>) {
        let (flushed, flushes) = sync_channel(FLUSHES_BEHIND_MAX);
        (Self { history, flushes, shutdown }, flushed)
    }

    /// Looks after the files until the writer is gone. Blocks its thread.
    pub(crate) fn run(self) {
        loop {
            match self.flushes.recv_timeout(EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => self.maintain(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn maintain(&self) {
        for _ in 0..MERGES_AT_ONCE {
            // A merge of many days takes seconds: none begins once the service is to end.
            if *self.shutdown.borrow() {
                return;
            }
            match self.history.maintain(EventTime::from_nanos(wall_nanos())) {
                Ok(maintained) if maintained.has_more => {}
                Ok(_) => return,
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(%error, "the history was not compacted; tried again");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::EntryKey;
    use store::history::HistoryOptions;

    const DAY: Duration = Duration::from_hours(24);
    const DAY_NANOS: i64 = 86_400_000_000_000;

    /// Guarantees: files become fewer while flushes go on, and it ends with them.
    #[test]
    fn flushes_are_merged_beside_the_sink() {
        let dir = tempfile::tempdir().unwrap();
        let options = HistoryOptions::new(dir.path().join("history"), 400 * DAY);
        let (history, _) = History::open(options).unwrap();
        let history = Arc::new(history);
        let (_stop, stopped) = watch::channel(false);
        let (upkeep, flushed) = Upkeep::new(Arc::clone(&history), stopped);
        let upkeep = std::thread::spawn(move || upkeep.run());
        let noon = wall_nanos() / DAY_NANOS * DAY_NANOS + DAY_NANOS / 2;
        for n in 0_u32..40 {
            let line = format!("soil,device=d{n} moisture=0.2 {}", noon + i64::from(n));
            let key = EntryKey { position: u64::from(n) + 1, index: 0 };
            let refused = history.take(key, &line, EventTime::from_nanos(noon));
            assert!(refused.is_none(), "{refused:?}");
            history.flush(&n.to_be_bytes()).unwrap();
            flushed.send(()).unwrap();
        }
        drop(flushed);
        upkeep.join().unwrap();
        let (files, _) = history.files();
        assert!(files < 20, "{files} files of 40 flushes");
    }
}
