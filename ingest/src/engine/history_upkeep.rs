//! The embedded history's upkeep, beside its sink: merges, retention, damaged files. Points are taken and flushed
//! meanwhile.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use store::history::History;
use telemetry::problem::chain;
use telemetry::time::{EventTime, IngestTime};
use tokio::sync::watch;

use crate::engine::clock::{HostClock, JournalClock, wall_nanos};
use crate::engine::driver::Shared;

/// Flushes that the upkeep may lag behind; then writer and sink wait, so that the number of files has a bound.
const FLUSHES_BEHIND_MAX: usize = 16;
/// Pause between two looks while nothing is flushed.
const EVERY: Duration = Duration::from_secs(30);

/// The time by which the history refuses and deletes what is too old: the host's clock, but as in the journal no jump
/// ahead of it before a restart, since what is deleted does not come back.
#[derive(Debug)]
pub(crate) struct HistoryClock {
    pub(crate) host: HostClock,
    /// Begins with the host's clock and goes on without it. Records are not enough: where the journal's disk is full
    /// none comes, and what has become too old makes room.
    pub(crate) steady: JournalClock,
    /// Tells the time of the newest record: a host may begin without knowing the time.
    pub(crate) shared: Arc<Shared>,
}

impl HistoryClock {
    /// Starts at the host's clock.
    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let steady = JournalClock::starting_after(IngestTime::default());
        Self { host: wall_nanos, steady, shared }
    }

    /// Returns the time now.
    pub(crate) fn now(&mut self) -> EventTime {
        let (steady, recorded) = (self.steady.now().as_nanos(), self.shared.cut().now_nanos);
        EventTime::from_nanos((self.host)().min(steady.max(recorded)))
    }
}

/// What keeps the files of the history few.
pub(crate) struct Upkeep {
    history: Arc<History>,
    clock: HistoryClock,
    flushes: Receiver<()>,
    shutdown: watch::Receiver<bool>,
}

impl Upkeep {
    /// Returns it with the way to tell it of a flush. It ends when that is dropped.
    pub(crate) fn new(
        history: Arc<History>,
        clock: HistoryClock,
        shutdown: watch::Receiver<bool>,
    ) -> (Self, SyncSender<()>) {
        let (flushed, flushes) = sync_channel(FLUSHES_BEHIND_MAX);
        (Self { history, clock, flushes, shutdown }, flushed)
    }

    /// Looks after the files until the writer is gone. Blocks its thread.
    pub(crate) fn run(mut self) {
        loop {
            match self.flushes.recv_timeout(EVERY) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => self.maintain(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Merges until nothing is due: while it does not come to an end, flushes wait, so that no day is left behind.
    fn maintain(&mut self) {
        loop {
            // A merge of many days takes seconds: none begins once the service is to end.
            if *self.shutdown.borrow() {
                return;
            }
            match self.history.maintain(self.clock.now()) {
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
    use journal::sim::SimDisk;
    use std::collections::BTreeMap;
    use std::ffi::OsStr;
    use std::path::PathBuf;
    use store::EntryKey;
    use store::history::HistoryOptions;

    const DAY: Duration = Duration::from_hours(24);
    const DAY_NANOS: i64 = 86_400_000_000_000;

    fn history(disk: &SimDisk, days: u32) -> Arc<History> {
        let options = HistoryOptions::new("/history".into(), days * DAY);
        Arc::new(History::open_on(Arc::new(disk.clone()), options).unwrap().0)
    }

    fn take(history: &History, n: u32, at: i64) {
        let line = format!("soil,device=d{n} moisture=0.2 {at}");
        let key = EntryKey { position: u64::from(n) + 1, index: 0 };
        let refused = history.take(key, &line, EventTime::from_nanos(wall_nanos()));
        assert!(refused.is_none(), "{refused:?}");
    }

    fn upkeep(history: &Arc<History>, clock: HistoryClock) -> (Upkeep, SyncSender<()>) {
        // Nobody ends it.
        let (_stop, stopped) = watch::channel(false);
        Upkeep::new(Arc::clone(history), clock, stopped)
    }

    /// Guarantees: files become fewer while flushes go on, and it ends with them.
    #[test]
    fn flushes_are_merged_beside_the_sink() {
        let history = history(&SimDisk::new(1), 400);
        let (upkeep, flushed) = upkeep(&history, HistoryClock::start(Arc::default()));
        let upkeep = std::thread::spawn(move || upkeep.run());
        let noon = wall_nanos() / DAY_NANOS * DAY_NANOS + DAY_NANOS / 2;
        for n in 0_u32..40 {
            take(&history, n, noon + i64::from(n));
            history.flush(&n.to_be_bytes()).unwrap();
            flushed.send(()).unwrap();
        }
        drop(flushed);
        upkeep.join().unwrap();
        let (files, _) = history.files();
        assert!(files < 20, "{files} files of 40 flushes");
    }

    /// Scenario: each flush has points of 40 days, as after an outage of a fleet that keeps what it measured.
    /// Guarantees: H6: no day is left behind with all its files.
    #[test]
    fn no_day_is_left_behind() {
        let disk = SimDisk::new(1);
        let history = history(&disk, 400);
        let (mut upkeep, _flushed) = upkeep(&history, HistoryClock::start(Arc::default()));
        let now = wall_nanos();
        for n in 0_u32..50 {
            for day in 0..40 {
                take(&history, n, now - day * DAY_NANOS + i64::from(n));
            }
            history.flush(&n.to_be_bytes()).unwrap();
            upkeep.maintain();
        }
        let mut files: BTreeMap<String, usize> = BTreeMap::new();
        let is_file = |path: &&PathBuf| path.extension() == Some(OsStr::new("parquet"));
        for path in disk.paths().iter().filter(is_file) {
            let name = path.file_name().unwrap().to_str().unwrap();
            *files.entry(name.split('.').next().unwrap().to_owned()).or_default() += 1;
        }
        assert_eq!(files.len(), 40);
        assert!(files.values().all(|files| *files <= 40), "{files:?}");
    }

    /// Scenario: the host's clock jumps ahead by more than the retention; later the service is started again.
    /// Guarantees: nothing is deleted before the restart.
    #[test]
    fn a_jump_of_the_hosts_clock_deletes_nothing() {
        let (right, ahead): (HostClock, HostClock) = (wall_nanos, || wall_nanos() + 3 * DAY_NANOS);
        let history = history(&SimDisk::new(1), 2);
        take(&history, 0, wall_nanos() - DAY_NANOS);
        history.flush(b"1").unwrap();
        for (started_by, left) in [(right, 1), (ahead, 0)] {
            let steady = JournalClock::on(started_by, IngestTime::default());
            let clock = HistoryClock { host: ahead, steady, shared: Arc::default() };
            let (mut upkeep, _flushed) = upkeep(&history, clock);
            upkeep.maintain();
            assert_eq!(history.files().0, left);
        }
    }
}
