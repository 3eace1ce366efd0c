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
use crate::engine::history_sink::{Flush, NAP, WriteOrder};
use crate::engine::orders::Orders;
use crate::engine::refusal::refuse_all;
use crate::engine::store_sink::StoreView;
use crate::meter::{self, BatchOutcome};

/// Pause after a flush that failed.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(3);

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
        let outcome =
            if flush.refused.is_empty() { BatchOutcome::Stored } else { BatchOutcome::Rejected };
        while !self.write_once(flush, runtime) {
            let again = Instant::now() + TRY_AGAIN_AFTER;
            while Instant::now() < again {
                if *self.shutdown.borrow() {
                    return false;
                }
                std::thread::sleep(NAP);
            }
        }
        meter::store_batch(outcome);
        true
    }

    /// Makes points and cursor durable. Refusals are records before.
    fn write_once(&mut self, flush: &mut Flush, runtime: &Handle) -> bool {
        if !flush.refused.is_empty() && !runtime.block_on(self.set_aside(flush)) {
            return false;
        }
        flush.refused.clear();
        if let Err(error) = self.history.write(&flush.frozen) {
            meter::store_retry();
            meter::store_batch(BatchOutcome::Failed);
            self.report(&error);
            return false;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::{HostClock, wall_nanos};
    use crate::engine::history_sink::HistorySink;
    use crate::engine::history_upkeep::{HistoryClock, Upkeep};
    use crate::engine::store_cursor::StoreCursor;
    use journal::sim::{Faults, SimDisk};
    use journal::{Appended, Disk, Log, LogOptions, ReadFrom, Visible};
    use pipeline::OutboxRecord;
    use pipeline::outbox::{Entry, EntryKind};
    use std::path::{Path, PathBuf};
    use std::sync::mpsc::sync_channel;
    use store::history::HistoryOptions;
    use telemetry::time::IngestTime;
    use tokio::sync::mpsc;

    const POINTS: u64 = 2_000;
    const FLUSH_BYTES: usize = 8 << 10;

    fn options() -> HistoryOptions {
        let retention = Duration::from_hours(24 * 400);
        HistoryOptions {
            flush_bytes: FLUSH_BYTES,
            ..HistoryOptions::new(PathBuf::from("/history"), retention)
        }
    }

    /// Returns an outbox with a point in each record; the history refuses the one at `refused`.
    fn outbox(disk: &SimDisk, refused: u64) -> Log {
        let options = LogOptions { visible: Visible::Written, ..LogOptions::default() };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut log, _) = Log::open(disk, Path::new("/outbox"), options).unwrap();
        let (mut out, begun) = (OutboxRecord::default(), wall_nanos());
        for position in 1..=POINTS {
            let value = if position == refused { "\"wet\"" } else { "0.2" };
            let (device, time) = (position % 7, begun + position.cast_signed());
            let line = format!("soil,device=d{device} moisture={value} {time}");
            out.begin(IngestTime::from_nanos(begun));
            out.push(Entry {
                kind: EntryKind::Point,
                redriven: false,
                element: 0,
                data: line.as_bytes(),
            });
            let record = Appended { kind: 1, position, ordinal: position, payload: out.bytes() };
            log.append(record).unwrap();
        }
        log.write().unwrap();
        log
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A history with its threads, over a full outbox.
    struct Rig {
        disk: SimDisk,
        history: Arc<History>,
        health: Arc<Health>,
        view: Arc<StoreView>,
        stop: watch::Sender<bool>,
        threads: Vec<std::thread::JoinHandle<()>>,
        _outbox: Log,
        _runtime: tokio::runtime::Runtime,
        /// Nobody answers them.
        _orders: mpsc::Receiver<crate::engine::orders::Order>,
    }

    fn rig(refused: u64, faults: Faults) -> Rig {
        rig_by(wall_nanos, refused, faults)
    }

    /// Returns the threads by a host whose clock has jumped to `host` since they began.
    fn rig_by(host: HostClock, refused: u64, faults: Faults) -> Rig {
        let clock = || HistoryClock { host, ..HistoryClock::start(Arc::default()) };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let disk = SimDisk::new(1);
        let outbox = outbox(&disk, refused);
        let (history, _) = History::open_on(Arc::new(disk.clone()), options()).unwrap();
        let history = Arc::new(history);
        let (stop, stopped) = watch::channel(false);
        let (upkeep, flushed) = Upkeep::new(Arc::clone(&history), clock(), stopped.clone());
        let (orders, orders_taken) = mpsc::channel(1);
        let (health, view) = (Arc::new(Health::default()), Arc::new(StoreView::default()));
        let writer = HistoryWriter {
            history: Arc::clone(&history),
            name: "history".to_owned(),
            health: Arc::clone(&health),
            file: CursorFile::open(&SimDisk::new(2), Path::new("/cursor")).unwrap(),
            view: Arc::clone(&view),
            shared: Arc::default(),
            orders: Orders(orders),
            upkeep: flushed,
            shutdown: stopped.clone(),
        };
        let (given, taken) = sync_channel(0);
        let sink = HistorySink {
            history: Arc::clone(&history),
            clock: clock(),
            outbox: outbox.reader(ReadFrom::Oldest),
            cursor: StoreCursor::default(),
            writer: given,
            shutdown: stopped,
        };
        disk.set_faults(faults);
        let handle = runtime.handle().clone();
        let threads = vec![
            std::thread::spawn(move || sink.run()),
            std::thread::spawn(move || writer.run(&taken, &handle)),
            std::thread::spawn(move || upkeep.run()),
        ];
        Rig {
            disk,
            history,
            health,
            view,
            stop,
            threads,
            _outbox: outbox,
            _runtime: runtime,
            _orders: orders_taken,
        }
    }

    impl Rig {
        /// Ends it and opens the history again; returns the cursor of its files.
        fn end(self) -> Option<StoreCursor> {
            self.stop.send(true).unwrap();
            for thread in self.threads {
                thread.join().unwrap();
            }
            drop(self.history);
            let (history, cursor) = History::open_on(Arc::new(self.disk), options()).unwrap();
            assert_eq!(history.damaged_files(), 0);
            cursor.and_then(|bytes| StoreCursor::from_bytes(&bytes))
        }
    }

    /// Scenario: the history's disk fails while the outbox is full of points; later it is well again, and the service
    /// ends.
    /// Guarantees: at most two tails are in memory, the cursor stands still meanwhile, readiness names the history;
    /// in the end each point is stored once and nothing is left to report.
    #[test]
    fn a_failing_disk_costs_two_tails_of_memory_and_no_point() {
        let rig = rig(0, Faults { sync_error: 1024, ..Faults::default() });
        let Rig { disk, history, health, view, .. } = &rig;
        let is_reported = || health.has(Part::Store);
        wait_until("two tails are full", || {
            is_reported() && history.tail().bytes >= 2 * FLUSH_BYTES
        });
        std::thread::sleep(Duration::from_millis(100));
        let most = 2 * (FLUSH_BYTES + 1024);
        assert!(history.tail().bytes < most, "{:?}", history.tail());
        assert_eq!(view.cursor(), StoreCursor::default());
        disk.set_faults(Faults::default());
        wait_until("it goes on to the end", || {
            view.cursor().position + history.tail().rows as u64 == POINTS
        });
        wait_until("nothing is left to report", || !is_reported());
        let view = Arc::clone(view);
        let cursor = rig.end();
        assert_eq!(cursor, Some(view.cursor()));
        assert_eq!((view.cursor().position, view.cursor().totals.stored), (POINTS, POINTS));
    }

    /// Scenario: a point is refused, its refusal does not become durable, the next flush waits, and the service ends.
    /// Guarantees: no cursor passes the refusal, of neither flush.
    #[test]
    fn no_cursor_passes_a_refusal_that_is_not_on_record() {
        let refused = 10;
        let rig = rig(refused, Faults::default());
        wait_until("two tails are full", || rig.history.tail().bytes >= 2 * FLUSH_BYTES);
        let view = Arc::clone(&rig.view);
        let cursor = rig.end();
        assert!(cursor.is_none_or(|cursor| cursor.position < refused), "{cursor:?}");
        assert!(view.cursor().position < refused);
    }

    /// Scenario: the host's clock jumps ahead by more than the history keeps, while points are taken.
    /// Guarantees: none of them is refused as too old.
    #[test]
    fn a_jump_of_the_hosts_clock_refuses_no_point() {
        let rig = rig_by(|| wall_nanos() + 500 * 86_400_000_000_000, 0, Faults::default());
        wait_until("all points are taken", || {
            rig.view.cursor().position + rig.history.tail().rows as u64 == POINTS
        });
        let cursor = rig.end();
        assert_eq!(cursor.map(|cursor| cursor.totals.stored), Some(POINTS));
    }

    /// Scenario: the disk does not let the outbox be read.
    /// Guarantees: it is asked again after a pause each time, not as fast as it can say no.
    #[test]
    fn an_outbox_that_cannot_be_read_is_asked_with_pauses() {
        let disk = SimDisk::new(1);
        let outbox = outbox(&disk, 0);
        for path in disk.paths() {
            Disk::remove(&disk, &path).unwrap();
        }
        let (history, _) = History::open_on(Arc::new(SimDisk::new(2)), options()).unwrap();
        let (writer, _given) = sync_channel(0);
        let (stop, shutdown) = watch::channel(false);
        let sink = HistorySink {
            history: Arc::new(history),
            clock: HistoryClock::start(Arc::default()),
            outbox: outbox.reader(ReadFrom::Oldest),
            cursor: StoreCursor::default(),
            writer,
            shutdown,
        };
        let before = disk.calls();
        let sink = std::thread::spawn(move || sink.run());
        std::thread::sleep(5 * NAP);
        stop.send(true).unwrap();
        sink.join().unwrap();
        let asked = disk.calls() - before;
        assert!((1..=10).contains(&asked), "{asked} calls in five pauses");
    }
}
